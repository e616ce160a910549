//! A service that fails: what is tried again, what is given up, what stops the run.

use crate::harness::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{
    AlwaysFail, Config, Double, Fault, Faults, Headers, Latency, Limits,
};
use std::collections::HashSet;
use std::path::PathBuf;

fn metadata(home: &Home) -> Value {
    json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"))
}

fn fails(contains: &str, fault: Fault) -> AlwaysFail {
    AlwaysFail {
        contains: contains.to_owned(),
        fault,
        code: None,
    }
}

/// Ids of requests are fresh each time, whether it is another try or not.
fn assert_fresh_ids(service: &Service) {
    let log = service.log();
    let ids = log.iter().map(|record| {
        record
            .client_request_id
            .clone()
            .expect("every call has an id")
    });
    let ids = ids.collect::<HashSet<_>>();
    assert_eq!(ids.len(), log.len());
    for id in ids {
        let groups = id.split('-').map(str::len).collect::<Vec<_>>();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id} is no UUID");
    }
}

#[test]
fn every_passing_fault_is_recovered_from() {
    let kinds = [
        "408",
        "409",
        "500",
        "502",
        "503",
        "504",
        "reset",
        "half_body",
    ];
    let faults = kinds.map(|kind| kind.parse::<Fault>().unwrap());
    let rates = faults.map(|fault| (fault, 1.0 / 8.0)).into();
    let service = Service::start(Config {
        seed: 3,
        faults: Faults {
            rates,
            ..Faults::default()
        },
        ..Config::default()
    });
    let home = Home::new();
    let messages = distinct(30);
    let out = home.path("out.jsonl");
    let outcome = Softlabel::label(&service, &home.messages(&borrowed(&messages)), &out).ends(0);
    assert!(
        lines(&out)
            .iter()
            .all(|line| line.contains_key("rationale"))
    );
    for asked in service.asked() {
        assert_eq!(
            (asked.attempts, asked.answered),
            (3, 1),
            "two faults each: {asked:?}"
        );
    }
    let stats = service.stats();
    assert_eq!(
        stats.by_fault.keys().copied().collect::<HashSet<_>>(),
        faults.into()
    );
    assert_fresh_ids(&service);
    let faults = stats.by_fault.values().sum::<u64>();
    assert!(
        outcome
            .row("this process")
            .contains(&format!("{faults} failed and tried again")),
        "{outcome}"
    );
    assert_eq!(metadata(&home)["api_profile"]["top_logprobs"], 5);
}

#[test]
fn answers_that_never_come_or_never_end_time_out_and_are_tried_again() {
    let rates = [(Fault::Hang, 0.5), (Fault::SlowBody, 0.5)].into();
    let faults = Faults {
        rates,
        max_faults_per_key: 1,
        slow_body_ms: 600_000,
        ..Faults::default()
    };
    let service = Service::start(Config {
        faults,
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let messages = distinct(8);
    Softlabel::label(&service, &home.messages(&borrowed(&messages)), &out)
        .args([
            "--call-timeout",
            "700ms",
            "--no-rationales",
            "--attempts",
            "8",
        ])
        .ends(0);
    assert_eq!(lines(&out).len(), 8);
    let stats = service.stats();
    assert_eq!(
        stats.by_fault.values().sum::<u64>(),
        9,
        "the probe and eight messages"
    );
    assert_eq!(stats.by_fault.len(), 2);
}

#[test]
fn used_up_attempts_fail_that_turn_and_no_other() {
    let faults = Faults {
        always_fail: vec![fails("poison", Fault::Status(503))],
        ..Faults::default()
    };
    let service = Service::start(Config {
        faults,
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let input = home.messages(&["before", "poison", "between", "poison", "after"]);
    let outcome = Softlabel::label(&service, &input, &out).ends(3);
    let lines = lines(&out);
    let codes = lines.iter().map(error_code).collect::<Vec<_>>();
    assert_eq!(codes, ["", "transient", "", "transient", ""]);
    let error = lines[1]["labeling_error"]["message"].as_str().unwrap();
    assert_eq!(error, "5 attempts failed, the last one with: HTTP 503.");
    let poisoned = service
        .classifications()
        .into_iter()
        .filter(|r| message(r) == "poison")
        .count();
    assert_eq!(poisoned, 5, "five attempts, shared by identical turns");
    assert_fresh_ids(&service);
    let metadata = metadata(&home);
    assert_eq!(metadata["status"], "partial");
    assert_eq!(metadata["totals"]["errors"], json!({"transient": 2}));
    assert_eq!(
        (
            &metadata["totals"]["failed"],
            &metadata["totals"]["labeled"]
        ),
        (&json!(2), &json!(3))
    );
    assert!(outcome.stderr.contains("2 turns failed"), "{outcome}");
}

#[test]
fn the_number_of_attempts_is_a_setting() {
    let faults = Faults {
        always_fail: vec![fails("poison", Fault::Reset)],
        ..Faults::default()
    };
    let service = Service::start(Config {
        faults,
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    Softlabel::label(&service, &home.messages(&["poison"]), &out)
        .args(["--attempts", "2"])
        .ends(3);
    assert_eq!(service.classifications().len(), 2);
    assert_eq!(
        metadata(&home)["status"],
        "failed",
        "nothing could be labelled"
    );
}

#[test]
fn a_rationale_that_fails_leaves_the_label() {
    let faults = Faults {
        // Only the second call of a turn says this.
        always_fail: vec![fails("It was decided about", Fault::Status(500))],
        ..Faults::default()
    };
    let service = Service::start(Config {
        faults,
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let outcome = Softlabel::label(&service, &home.messages(&["one", "two"]), &out).ends(0);
    assert!(
        lines(&out)
            .iter()
            .all(|l| l.contains_key("soft_label") && !l.contains_key("rationale"))
    );
    let totals = &metadata(&home)["totals"];
    assert_eq!(
        (&totals["labeled"], &totals["rationale_failures"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(totals["rationales"], 0);
    assert_eq!(outcome.row("rationales"), "0, 2 failed");
}

#[test]
fn throttling_pauses_every_caller_and_costs_no_attempt() {
    // About ten calls a minute, of which nobody knows, and a minute takes half a second.
    let limits = Limits {
        tpm: Some(7_500),
        ..Limits::default()
    };
    let headers = Headers {
        rate_limit_tokens: false,
        ..Headers::default()
    };
    let service = Service::start(Config {
        limits,
        headers,
        speed: 120.0,
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let messages = distinct(32);
    Softlabel::label(&service, &home.messages(&borrowed(&messages)), &out)
        .args(["--no-rationales", "--attempts", "1", "--concurrency", "4"])
        .ends(0);
    assert!(lines(&out).iter().all(|line| error_code(line).is_empty()));
    assert!(service.asked().iter().all(|asked| asked.answered == 1));
    let log = service.log();
    let minute = |arrived_us: u64| arrived_us / 60_000_000;
    let mut throttled_minutes = 0;
    for (i, first) in log
        .iter()
        .enumerate()
        .filter(|(_, record)| record.status == Some(429))
    {
        let now = minute(first.arrived_us);
        if log[..i]
            .iter()
            .any(|r| r.status == Some(429) && minute(r.arrived_us) == now)
        {
            continue;
        }
        throttled_minutes += 1;
        let after = log[i + 1..]
            .iter()
            .filter(|record| minute(record.arrived_us) == now)
            .count();
        assert!(
            after < 4,
            "only what was in flight came after the first 429: {after}"
        );
    }
    assert!(
        throttled_minutes >= 2,
        "the quota was to run out again and again"
    );
}

#[test]
fn a_quota_that_drops_while_the_run_goes_on_is_followed() {
    let latency = Latency::Fixed { ms: 600.0 };
    let service = Service::start(Config {
        speed: 60.0,
        latency,
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let messages = distinct(48);
    let running = Softlabel::label(&service, &home.messages(&borrowed(&messages)), &out)
        .args(["--no-rationales", "--attempts", "1", "--concurrency", "6"])
        .start();
    service.wait_until(|double| double.stats().requests > 8);
    service.set_limits(Limits {
        rpm: Some(60),
        ..Limits::default()
    });
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(lines(&out).len(), 48);
    assert!(
        service.stats().throttled_calls > 0,
        "the new limit was to be met"
    );
    assert!(service.asked().iter().all(|asked| asked.answered == 1));
}

/// A run of 40 messages, four at a time, slow enough to change the service while it goes on.
struct Long {
    service: Service,
    home: Home,
    input: PathBuf,
}

impl Long {
    fn new() -> Self {
        let latency = Latency::Fixed { ms: 15.0 };
        let service = Service::start(Config {
            latency,
            ..Config::default()
        });
        let home = Home::new();
        let input = home.messages(&borrowed(&distinct(40)));
        Self {
            service,
            home,
            input,
        }
    }

    fn command(&self) -> Softlabel {
        Softlabel::label(&self.service, &self.input, &self.home.path("out.jsonl"))
            .args(["--concurrency", "4"])
    }

    /// What came at the service since its request number `since`.
    fn since(&self, since: usize) -> usize {
        self.service.log().len() - since
    }

    /// Asserts that `change` stops a run at its beginning and in its middle, that the error says
    /// `says`, and that the same command completes it once `restore` has been done.
    fn stops_and_continues(
        &self,
        change: impl Fn(&mut Config) + Copy,
        restore: impl Fn(&mut Config),
        says: &[&str],
    ) {
        let check = |outcome: &Outcome| {
            assert_eq!(outcome.code, Some(1), "{outcome}");
            let error = outcome.error();
            assert!(
                says.iter().all(|says| error.contains(says)),
                "{says:?}: {error}"
            );
            assert!(!self.home.path("out.jsonl").exists());
        };
        let Self { service, .. } = self;
        service.update(change).unwrap();
        let outcome = self.command().run();
        check(&outcome);
        assert_eq!(service.log().len(), 1, "one call is enough to know");

        service.update(&restore).unwrap();
        service.clear();
        let running = self.command().start();
        service.wait_until(|double| double.stats().requests > 20);
        service.update(change).unwrap();
        let before = service.log().len();
        check(&running.wait());
        assert!(
            self.since(before) <= 8,
            "only what was in flight, and nothing again"
        );

        service.update(&restore).unwrap();
        let before = service.log().len();
        self.command().ends(0);
        assert!(self.since(before) < 80, "not everything again");
        assert_eq!(lines(&self.home.path("out.jsonl")).len(), 40);
        let twice = service
            .asked()
            .into_iter()
            .filter(|asked| asked.answered != 1);
        assert_eq!(
            twice.collect::<Vec<_>>(),
            [],
            "every question was paid for exactly once"
        );
    }
}

#[test]
fn a_wrong_key_stops_the_run() {
    Long::new().stops_and_continues(
        |config| config.access.api_keys = vec!["rotated".to_owned()],
        |config| config.access.api_keys.clear(),
        &["401", "AZURE_OPENAI_API_KEY"],
    );
}

#[test]
fn a_missing_role_stops_the_run() {
    Long::new().stops_and_continues(
        |config| config.faults.always_fail = vec![fails("", Fault::Status(403))],
        |config| config.faults.always_fail.clear(),
        &["403", "Cognitive Services OpenAI User"],
    );
}

#[test]
fn a_missing_deployment_stops_the_run() {
    Long::new().stops_and_continues(
        |config| {
            config.deployments.remove("gpt-5.2");
        },
        |config| {
            config
                .deployments
                .insert("gpt-5.2".to_owned(), "gpt-5.2".to_owned());
        },
        &["404", "AZURE_OPENAI_DEPLOYMENT"],
    );
}

#[test]
fn no_quota_at_all_stops_the_run() {
    Long::new().stops_and_continues(
        |config| {
            config.limits = Limits {
                no_quota: true,
                ..Limits::default()
            }
        },
        |config| config.limits = Limits::default(),
        &["no quota", "capacity"],
    );
}

#[test]
fn logprobs_that_are_forbidden_stop_the_run() {
    use softlabel_doubles::azure_openai::NoLogprobs;
    Long::new().stops_and_continues(
        |config| config.quirks.no_logprobs = Some(NoLogprobs::Forbid),
        |config| config.quirks.no_logprobs = None,
        &["no log probabilities"],
    );
}

#[test]
fn logprobs_that_are_left_out_from_some_call_on_stop_the_run() {
    use softlabel_doubles::azure_openai::NoLogprobs;
    let Long {
        service,
        home,
        input,
    } = &Long::new();
    let out = home.path("out.jsonl");
    let command =
        || Softlabel::label(service, input, &out).args(["--concurrency", "4", "--no-rationales"]);
    let running = command().start();
    service.wait_until(|double| double.stats().requests > 8);
    service
        .update(|config| config.quirks.no_logprobs = Some(NoLogprobs::Omit))
        .unwrap();
    let before = service.log().len();
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome.error().contains("no log probabilities"),
        "{outcome}"
    );
    assert!(service.log().len() - before <= 28, "it stops soon");

    service
        .update(|config| config.quirks.no_logprobs = None)
        .unwrap();
    // Second questions wait behind first ones, so no turn had used up both.
    command().ends(0);
    assert_eq!(lines(&out).len(), 40);
}

#[test]
fn a_wait_beyond_all_patience_stops_the_run() {
    let service = Service::well();
    let home = Home::new();
    let out = home.path("out.jsonl");
    let run = || {
        Softlabel::label(&service, &home.path("in.json"), &out).args([
            "--throttle-patience",
            "2s",
            "--concurrency",
            "1",
            "--no-rationales",
        ])
    };
    home.messages(&["one", "two", "three", "four"]);
    // The probe and one message in a minute.
    service.set_limits(Limits {
        tpm: Some(1_500),
        ..Limits::default()
    });
    let outcome = run().ends(1);
    assert!(outcome.error().contains("--throttle-patience"), "{outcome}");
    // Where not even the probe is let through it is the same.
    let elsewhere = Softlabel::label(&service, &home.path("in.json"), &home.path("other.jsonl"));
    let outcome = elsewhere.args(["--throttle-patience", "2s"]).ends(1);
    assert!(outcome.error().contains("--throttle-patience"), "{outcome}");
    service.set_limits(Limits::default());
    run().ends(0);
    assert!(service.asked().iter().all(|asked| asked.answered == 1));
}

/// Nothing but failures from here on.
fn down(double: &Double) {
    double
        .update(|config| config.faults.always_fail = vec![fails("", Fault::Status(503))])
        .unwrap();
}

fn up(double: &Double) {
    double
        .update(|config| config.faults.always_fail.clear())
        .unwrap();
}

fn failures(double: &Double) -> u64 {
    double.stats().by_status.get(&503).copied().unwrap_or(0)
}

#[test]
fn an_outage_that_ends_costs_no_turn() {
    let long = Long::new();
    let running = long
        .command()
        .args(["--first-backoff", "20ms", "--longest-backoff", "50ms"])
        .args(["--outage-after", "100ms", "--outage-probe", "10ms"])
        .start();
    long.service
        .wait_until(|double| double.stats().requests > 20);
    down(&long.service);
    long.service.wait_until(|double| failures(double) > 60);
    up(&long.service);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stderr.contains("the service answers again"),
        "{outcome}"
    );
}

#[test]
fn an_outage_without_end_stops_the_run() {
    let long = Long::new();
    let running = long
        .command()
        .args([
            "--attempts",
            "20",
            "--first-backoff",
            "20ms",
            "--longest-backoff",
            "50ms",
        ])
        .args([
            "--outage-after",
            "100ms",
            "--outage-probe",
            "10ms",
            "--outage-patience",
            "300ms",
        ])
        .start();
    long.service
        .wait_until(|double| double.stats().requests > 20);
    down(&long.service);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.error().contains("--outage-patience"), "{outcome}");
    up(&long.service);
    long.command().ends(0);
    assert_eq!(metadata(&long.home)["totals"]["failed"], 0);
    assert!(long.service.asked().iter().all(|asked| asked.answered == 1));
}

#[test]
fn an_endpoint_where_nobody_listens_is_said() {
    let service = Service::well();
    let endpoint = service.endpoint();
    let home = Home::new();
    let label = Softlabel::label(&service, &home.messages(&["one"]), &home.path("out.jsonl"));
    drop(service);
    let outcome = label.env("AZURE_OPENAI_ENDPOINT", endpoint).ends(1);
    assert!(outcome.error().contains("cannot be reached"), "{outcome}");
    assert!(
        outcome.error().contains("AZURE_OPENAI_ENDPOINT"),
        "{outcome}"
    );
}
