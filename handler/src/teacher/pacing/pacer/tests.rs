use super::*;

const QUOTA: Quota = Quota {
    tpm: 600_000.0,
    rpm: 60_000.0,
};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn pacer(concurrency: Concurrency) -> Pacer {
    Pacer::new(QUOTA, concurrency, Duration::ZERO)
}

/// Sends a call of `tokens` as soon as that may be from `now` on, and gives when it was.
fn send(pacer: &mut Pacer, now: Duration, tokens: u64) -> (Duration, Sent) {
    let mut now = now;
    loop {
        match pacer.ready(now, tokens) {
            Ready::Now => return (now, pacer.send(now, tokens)),
            Ready::At(at) | Ready::Paused(at) => now = at,
            Ready::Blocked => panic!("blocked at {now:?}: {pacer:?}"),
        }
    }
}

/// Sends calls of 1,000 tokens one after the other, each answered at once, from `now` until `end`.
/// Gives how many tokens a minute that was.
fn pace(pacer: &mut Pacer, mut now: Duration, end: Duration) -> f64 {
    let (begun, mut tokens) = (now, 0);
    while now < end {
        let (at, sent) = send(pacer, now, 1_000);
        pacer.answered(at, sent, &RateLimitHeaders::default());
        (now, tokens) = (at, tokens + 1_000);
    }
    tokens as f64 * 60.0 / (now - begun).as_secs_f64()
}

fn in_flight(pacer: &mut Pacer, now: Duration, calls: usize) -> Vec<Sent> {
    let mut now = now;
    let mut sent = Vec::new();
    for _ in 0..calls {
        let call = send(pacer, now, 10);
        now = call.0;
        sent.push(call.1);
    }
    sent
}

fn limits(pacer: &Pacer) -> (f64, f64) {
    (pacer.limit(), pacer.allowance.quota().tpm)
}

#[test]
fn calls_go_evenly_at_nearly_all_of_the_quota() {
    let mut pacer = pacer(Concurrency::Fixed(10));
    let used = pace(&mut pacer, seconds(0), seconds(300)) / QUOTA.tpm;
    assert!((0.985..0.995).contains(&used), "{used}");
    // After an idle hour it is the same, from the first call on.
    let (first, _) = send(&mut pacer, seconds(4_000), 1_000);
    assert_eq!(first, seconds(4_000));
    let (second, _) = send(&mut pacer, first, 1_000);
    assert!(second - first > Duration::from_millis(80), "{second:?}");
}

#[test]
fn a_burst_of_429_counts_once_and_the_next_one_again() {
    let mut pacer = pacer(Concurrency::Fixed(100));
    let burst = in_flight(&mut pacer, seconds(10), 40);
    for sent in burst {
        pacer.throttled(
            seconds(20),
            sent,
            &RateLimitHeaders::default(),
            Some(seconds(5)),
        );
    }
    assert_eq!(limits(&pacer), (30.0, 450_000.0));
    for sent in in_flight(&mut pacer, seconds(20), 20) {
        pacer.throttled(seconds(21), sent, &RateLimitHeaders::default(), None);
    }
    let (calls, tpm) = limits(&pacer);
    assert!(
        calls < 30.0 && (330_000.0..350_000.0).contains(&tpm),
        "{calls} {tpm}"
    );
}

#[test]
fn one_call_too_many_in_a_short_window_costs_little() {
    let mut pacer = pacer(Concurrency::Fixed(100));
    let sent = in_flight(&mut pacer, seconds(10), 1)[0];
    let wait = Duration::from_millis(80);
    pacer.throttled(seconds(11), sent, &RateLimitHeaders::default(), Some(wait));
    assert_eq!(limits(&pacer), (100.0, 0.97 * QUOTA.tpm));
}

#[test]
fn what_trouble_took_comes_back() {
    let mut pacer = pacer(Concurrency::Fixed(40));
    let burst = in_flight(&mut pacer, seconds(10), 40);
    for sent in burst {
        pacer.throttled(seconds(20), sent, &RateLimitHeaders::default(), None);
    }
    assert_eq!(pacer.limit(), 30.0);
    let mut now = seconds(30);
    for _ in 0..100 {
        let calls = pacer.limit() as usize;
        let round = in_flight(&mut pacer, now, calls);
        now += seconds(10);
        for sent in round {
            pacer.answered(now, sent, &RateLimitHeaders::default());
        }
    }
    assert_eq!(limits(&pacer), (40.0, QUOTA.tpm));
}

#[test]
fn a_pause_holds_for_all_and_no_burst_follows_it() {
    let mut pacer = pacer(Concurrency::Fixed(100));
    pacer.pause(seconds(30));
    pacer.pause(seconds(20));
    assert_eq!(pacer.ready(seconds(10), 1_000), Ready::Paused(seconds(30)));
    assert_eq!(pacer.paused(seconds(29)), Some(seconds(30)));
    let (first, _) = send(&mut pacer, seconds(10), 1_000);
    let (second, _) = send(&mut pacer, first, 1_000);
    assert_eq!(first, seconds(30));
    assert!(second - first > Duration::from_millis(80));
    assert_eq!(pacer.paused(seconds(30)), None);
}

#[test]
fn the_services_own_account_of_its_minute_is_kept_to_until_the_minute_ends() {
    let mut pacer = pacer(Concurrency::Fixed(10));
    let (at, sent) = send(&mut pacer, seconds(30), 1_000);
    // Half of the minute is left, and others took 80 % of its tokens.
    let headers = RateLimitHeaders {
        remaining_tokens: Some(120_000),
        reset_tokens: Some(seconds(30)),
        ..RateLimitHeaders::default()
    };
    pacer.answered(at + seconds(1), sent, &headers);
    let used = pace(&mut pacer, seconds(31), seconds(60)) / QUOTA.tpm;
    assert!((0.35..0.41).contains(&used), "{used}");
    let used = pace(&mut pacer, seconds(60), seconds(100)) / QUOTA.tpm;
    assert!((0.98..1.0).contains(&used), "{used}");
}

#[test]
fn without_a_share_or_after_its_lease_nothing_goes() {
    let mut pacer = pacer(Concurrency::Fixed(10)).shared(seconds(0));
    assert_eq!(pacer.ready(seconds(1), 1_000), Ready::Blocked);
    pacer.set_share(seconds(1), 0.25, seconds(13));
    let used = pace(&mut pacer, seconds(1), seconds(12)) / QUOTA.tpm;
    assert!((0.22..0.27).contains(&used), "{used}");
    pacer.lower_share(seconds(12), 0.5);
    assert_eq!(pacer.share, 0.25);
    assert_eq!(pacer.ready(seconds(13), 1_000), Ready::Blocked);
}

#[test]
fn a_process_wants_what_it_used_and_a_half_and_all_if_it_had_to_wait() {
    let mut pacer = pacer(Concurrency::Fixed(10)).shared(seconds(0));
    assert_eq!(pacer.wants(seconds(1)), 0.0);
    assert_eq!(pacer.ready(seconds(1), 1_000), Ready::Blocked);
    assert_eq!(pacer.wants(seconds(2)), 1.0);
    pacer.set_share(seconds(2), 1.0, seconds(100));
    // A call a second is a tenth of this quota.
    for second in 2..7 {
        let (at, sent) = send(&mut pacer, seconds(second), 1_000);
        pacer.answered(at, sent, &RateLimitHeaders::default());
    }
    let wants = pacer.wants(seconds(7));
    assert!((wants - 0.15).abs() < 1e-6, "{wants}");
    pacer.pause(seconds(12));
    assert_eq!(pacer.ready(seconds(8), 1_000), Ready::Paused(seconds(12)));
    assert!((pacer.wants(seconds(12)) - 0.15).abs() < 1e-6);
    pace(&mut pacer, seconds(12), seconds(17));
    assert_eq!(pacer.wants(seconds(17)), 1.0);
    assert_eq!(pacer.wants(seconds(22)), 0.0);
}

#[test]
fn auto_takes_half_as_many_again_as_quota_and_latency_need() {
    let mut auto = pacer(Concurrency::Auto(1_000));
    assert_eq!(auto.limit(), 50.0);
    assert_eq!(auto.reach(), None);
    for second in 0..1_000 {
        let (at, sent) = send(&mut auto, seconds(second), 1_000);
        auto.answered(at + seconds(8), sent, &RateLimitHeaders::default());
    }
    // Ten calls a second of eight seconds each.
    assert_eq!(auto.limit(), 121.0);
    assert!((auto.reach().unwrap() - 12.5).abs() < 0.1);
    let mut few = Pacer {
        concurrency: Concurrency::Auto(60),
        ..auto.clone()
    };
    assert_eq!(few.limit(), 60.0);
    few.set_share(seconds(1_000), 0.1, seconds(2_000));
    assert_eq!(few.limit(), 13.0);
    let fixed = Pacer {
        concurrency: Concurrency::Fixed(40),
        ..auto
    };
    assert!((fixed.reach().unwrap() - 0.5).abs() < 0.01);
}

#[test]
fn where_nothing_is_answered_all_429_are_one_trouble() {
    let none = RateLimitHeaders::default();
    let mut pacer = pacer(Concurrency::Fixed(100));
    let before = limits(&pacer);
    let mut now = seconds(10);
    for _ in 0..10 {
        let (at, sent) = send(&mut pacer, now, 10);
        now = at + seconds(1);
        pacer.throttled(now, sent, &none, None);
    }
    assert!(limits(&pacer).1 < 0.5 * before.1);
    pacer.broke_down(now);
    let after = limits(&pacer);
    assert_eq!(after, (0.75 * before.0, 0.75 * before.1));
    for _ in 0..10 {
        let (at, sent) = send(&mut pacer, now, 10);
        now = at + seconds(1);
        pacer.probed(sent, &none);
    }
    assert!(limits(&pacer) >= after);
    // Once something was answered trouble counts as it always does.
    let (at, sent) = send(&mut pacer, now, 10);
    pacer.answered(at, sent, &none);
    let (at, sent) = send(&mut pacer, at, 10);
    let held = limits(&pacer).1;
    pacer.throttled(at + seconds(1), sent, &none, None);
    assert!(limits(&pacer).1 < 0.8 * held);
}
