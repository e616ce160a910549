//! Calls keep to the quota, evenly from the first second, and use it.

use crate::harness::*;
use softlabel_doubles::azure_openai::{Config, Latency, Limits, Record};
use std::time::{Duration, Instant};

/// The most that `amount` adds up to in any window of so many service seconds.
fn most(log: &[Record], window_s: f64, amount: impl Fn(&Record) -> u64) -> u64 {
    let window = (window_s * 1e6) as u64;
    let sum = |first: &Record| {
        let inside =
            |r: &&Record| (first.arrived_us..first.arrived_us + window).contains(&r.arrived_us);
        log.iter().filter(inside).map(&amount).sum()
    };
    log.iter().map(sum).max().unwrap_or_default()
}

/// Arrivals and answers of the run's own calls, in order of arrival.
fn calls(service: &Service) -> Vec<Record> {
    let mut log = service.log();
    // The probe before the run is not paced: it is one call.
    log.remove(0);
    log
}

fn refused(log: &[Record]) -> usize {
    log.iter()
        .filter(|record| record.status == Some(429))
        .count()
}

#[test]
fn tokens_are_spent_evenly_from_the_first_second_and_the_quota_is_not_overrun() {
    // A minute takes six seconds, so that a machine that stops for a tenth of one moves a few calls alone.
    let tpm = 60_000;
    let service = Service::start(Config {
        speed: 10.0,
        limits: Limits {
            tpm: Some(tpm),
            sliding_tokens: true,
            ..Limits::default()
        },
        latency: Latency::Fixed { ms: 600.0 },
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let started = Instant::now();
    Softlabel::label(&service, &home.messages(&borrowed(&distinct(160))), &out)
        .args(["--no-rationales", "--tpm", "600000"])
        .ends(0);
    let took = started.elapsed();
    let log = calls(&service);
    assert_eq!(lines(&out).len(), 160);
    assert_eq!(refused(&log), 0);
    let tokens = |record: &Record| record.charged_tokens;
    // A tenth of the minute, and a call that began before it; machines under load wake up late.
    let most = most(&log, 6.0, tokens);
    assert!(
        most < tpm / 10 + 3 * log[0].charged_tokens,
        "{most} tokens in a tenth of a minute"
    );
    // Its own share of the quota was used from beginning to end.
    let charged = log.iter().map(tokens).sum::<u64>();
    let minutes = (log[log.len() - 1].arrived_us - log[0].arrived_us) as f64 / 60e6;
    let used = charged as f64 / minutes / tpm as f64;
    assert!(
        (0.85..1.01).contains(&used),
        "{used} of the quota in {took:?}"
    );
}

#[test]
fn requests_are_spread_over_the_services_short_windows() {
    let rpm = 1_200;
    let service = Service::start(Config {
        limits: Limits {
            rpm: Some(rpm),
            ..Limits::default()
        },
        ..Config::default()
    });
    let home = Home::new();
    let input = home.messages(&borrowed(&distinct(50)));
    Softlabel::label(&service, &input, &home.path("out.jsonl"))
        .args(["--no-rationales", "--rpm", "1200"])
        .ends(0);
    let log = calls(&service);
    // A machine that stops for a moment may send two at once.
    assert!(refused(&log) <= 1, "{}", refused(&log));
    assert!(most(&log, 1.0, |_| 1) <= rpm / 60 + 1);
    let first = log
        .iter()
        .filter(|record| record.arrived_us < log[0].arrived_us + 500_000);
    assert!(first.count() <= 12, "no burst at the beginning");
    let seconds = (log[log.len() - 1].arrived_us - log[0].arrived_us) as f64 / 1e6;
    assert!(seconds < 1.2 * log.len() as f64 / 20.0, "{seconds} s");
}

#[test]
fn a_lower_limit_that_the_service_tells_is_kept_to() {
    // The service takes a tenth of what is configured.
    let service = Service::start(Config {
        speed: 20.0,
        limits: Limits {
            tpm: Some(60_000),
            ..Limits::default()
        },
        ..Config::default()
    });
    let home = Home::new();
    let input = home.messages(&borrowed(&distinct(100)));
    Softlabel::label(&service, &input, &home.path("out.jsonl"))
        .args(["--no-rationales", "--tpm", "12000000"])
        .ends(0);
    let log = calls(&service);
    assert_eq!(refused(&log), 0);
    // What went before the first answer came is all that was too fast.
    let later = log[20..]
        .iter()
        .map(|record| record.charged_tokens)
        .sum::<u64>();
    let minutes = (log[log.len() - 1].arrived_us - log[20].arrived_us) as f64 / 60e6;
    let a_minute = later as f64 / minutes;
    assert!(
        (40_000.0..66_000.0).contains(&a_minute),
        "{a_minute} tokens a minute"
    );
}

#[test]
fn auto_takes_as_many_calls_in_flight_as_quota_and_latency_need() {
    // 100 calls a second of 800 ms: 80 in flight.
    let label = |concurrency: &str| {
        let service = Service::start(Config {
            latency: Latency::Fixed { ms: 800.0 },
            ..Config::default()
        });
        let home = Home::new();
        let input = home.messages(&borrowed(&distinct(400)));
        Softlabel::label(&service, &input, &home.path("out.jsonl"))
            .args([
                "--no-rationales",
                "--rpm",
                "6000",
                "--concurrency",
                concurrency,
            ])
            .ends(0);
        let log = calls(&service);
        let took = Duration::from_micros(log[log.len() - 1].arrived_us - log[0].arrived_us);
        (service.stats().peak_in_flight, took)
    };
    let (peak, took) = label("auto");
    assert!((65..=130).contains(&peak), "{peak} in flight");
    assert!(took < Duration::from_millis(5_200), "{took:?}");
    let (peak, longer) = label("50");
    assert!(peak <= 50, "{peak} in flight");
    assert!(longer > took, "{longer:?}, {took:?}");
}
