//! What holds whatever the calls: the quota is never overrun in any window, and never idle while
//! there is work for it; nobody starves; and processes that share a quota never hold more than all
//! of it.

use super::shares::{LEASE, Record};
use super::{Concurrency, Pacer, Quota, RateLimitHeaders, Ready, Sent};
use proptest::prelude::*;
use softlabel_doubles::azure_openai::{Limits, Meter};
use std::collections::BTreeMap;
use std::time::Duration;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A call: when it comes, what it takes, how long its answer takes, and how late it wakes up from a
/// sleep.
#[derive(Clone, Copy, Debug)]
struct Call {
    comes: Duration,
    tokens: u64,
    latency: Duration,
    late: Duration,
}

/// Sends `calls`, in order, as early as `pacer` lets them. Gives when each was sent.
fn send(pacer: &mut Pacer, calls: &[Call]) -> Vec<Duration> {
    let mut in_flight: Vec<(Duration, Sent)> = Vec::new();
    let mut now = Duration::ZERO;
    let mut sent = Vec::new();
    for call in calls {
        now = now.max(call.comes);
        loop {
            in_flight.sort_by_key(|(ends, _)| *ends);
            while let Some(&(ends, sent)) = in_flight.first()
                && ends <= now
            {
                in_flight.remove(0);
                pacer.answered(ends, sent, &RateLimitHeaders::default());
            }
            match pacer.ready(now, call.tokens) {
                Ready::Now => break,
                Ready::At(at) | Ready::Paused(at) => {
                    assert!(at > now, "a wait has an end that is not past");
                    now = at + call.late;
                }
                Ready::Blocked => now = in_flight[0].0,
            }
        }
        in_flight.push((now + call.latency, pacer.send(now, call.tokens)));
        sent.push(now);
    }
    sent
}

fn calls(largest: u64) -> impl Strategy<Value = Vec<Call>> {
    let sizes = prop_oneof![8 => 1..=largest / 20, 1 => 1..=largest];
    let gaps = prop_oneof![6 => Just(0_u64), 3 => 0..200_u64, 1 => 0..90_000_u64];
    let late = prop_oneof![Just(0_u64), 0..10_000_u64];
    let call = (gaps, sizes, 0..5_000_u64, late);
    prop::collection::vec(call, 1..400).prop_map(|calls| {
        let mut comes = 0;
        let call = |(gap, tokens, latency, late)| {
            comes += gap;
            Call {
                comes: ms(comes),
                tokens,
                latency: ms(latency),
                late: Duration::from_micros(late),
            }
        };
        calls.into_iter().map(call).collect()
    })
}

/// The most that `amounts` add up to in any window of this length, its end left out.
fn most(sent: &[Duration], amounts: &[u64], window: Duration) -> u64 {
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for (i, &at) in sent.iter().enumerate() {
        sum += amounts[i];
        while sent[first] + window <= at {
            sum -= amounts[first];
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

proptest! {
    #[test]
    fn never_over_the_allowance_in_any_window(
        tpm in 1_000..2_000_000_u32,
        rpm in prop_oneof![6..60_u32, 60..1_500_u32, 1_500..20_000_u32],
        cap in 1..300_u32,
        calls in calls(1_000),
    ) {
        // Calls of up to a third of the quota.
        let scale = u64::from(tpm) / 3_000 + 1;
        let calls = calls.iter().map(|call| Call { tokens: (call.tokens * scale).min(u64::from(tpm)), ..*call });
        let calls = calls.collect::<Vec<_>>();
        let mut pacer = Pacer::new(Quota::new(tpm, rpm), Concurrency::Fixed(cap), Duration::ZERO);
        let sent = send(&mut pacer, &calls);
        let tokens = calls.iter().map(|call| call.tokens).collect::<Vec<_>>();
        let minute = most(&sent, &tokens, ms(60_000));
        prop_assert!(minute <= u64::from(tpm), "{minute} of {tpm} tokens");
        let ones = vec![1; calls.len()];
        for (window, part) in [(1, 60), (10, 6), (60, 1)] {
            let requests = most(&sent, &ones, Duration::from_secs(window));
            let allowed = u64::from(rpm).div_ceil(part);
            prop_assert!(requests <= allowed, "{requests} of {allowed} requests in {window} s");
        }
        // The double's limiter sees it the same way.
        let limits = Limits {
            tpm: Some(u64::from(tpm)),
            rpm: Some(u64::from(rpm)),
            sliding_tokens: true,
            ..Limits::default()
        };
        let (mut sliding, mut by_the_minute) = (Meter::default(), Meter::default());
        let fixed = Limits { sliding_tokens: false, ..limits };
        for (call, &at) in calls.iter().zip(&sent) {
            prop_assert!(sliding.admit(&limits, at, call.tokens).is_ok());
            prop_assert!(by_the_minute.admit(&fixed, at, call.tokens).is_ok());
        }
    }

    #[test]
    fn never_idle_while_there_is_work_and_allowance(
        tpm in 100_000..2_000_000_u32,
        rpm in 600..20_000_u32,
        calls in calls(1_000),
    ) {
        // All there from the beginning, and calls of up to a fiftieth of the quota.
        let scale = f64::from(tpm) / 50_000.0;
        let calls = calls.iter().map(|call| Call {
            comes: Duration::ZERO,
            tokens: (call.tokens as f64 * scale) as u64 + 1,
            ..*call
        });
        let calls = calls.collect::<Vec<_>>();
        let quota = Quota::new(tpm, rpm);
        let mut pacer = Pacer::new(quota, Concurrency::Fixed(10_000), Duration::ZERO);
        let sent = send(&mut pacer, &calls);
        let before = &calls[..calls.len() - 1];
        let needed = before.iter().map(|call| quota.seconds(call.tokens as f64, 1.0)).sum::<f64>();
        let took = sent.last().unwrap().as_secs_f64();
        // 98.4 % of the quota is used, and each call may find the timer late.
        prop_assert!(took <= needed / 0.983 + 0.1, "{took} s for {needed} s of quota");
    }

    /// Calls go in the order in which they came, whatever their size, so none waits longer than those
    /// before it take.
    #[test]
    fn a_large_call_among_small_ones_waits_for_its_turn_and_no_longer(
        ahead in 0..200_usize,
        large in 1_000..50_000_u64,
    ) {
        let quota = Quota::new(1_000_000, 10_000);
        let small = Call { comes: Duration::ZERO, tokens: 500, latency: ms(1_000), late: ms(0) };
        let mut calls = vec![small; ahead + 200];
        calls[ahead].tokens = large;
        let mut pacer = Pacer::new(quota, Concurrency::Fixed(1_000), Duration::ZERO);
        let sent = send(&mut pacer, &calls);
        let bound = quota.seconds(500.0, 1.0) * ahead as f64 / 0.983 + 0.001;
        prop_assert!(sent[ahead].as_secs_f64() <= bound);
        prop_assert!(sent.is_sorted());
    }
}

/// What happens to one of the processes that share a quota.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// It reads the record, and swaps it after a number of milliseconds, if nobody else did meanwhile;
    /// whether it gets the answer to that.
    Renews(u64, bool),
    Dies,
    Leaves,
}

/// A process as the record's other end: its clock is off, and it knows its share.
#[derive(Clone, Debug)]
struct Process {
    clock_off_ms: i64,
    share: f64,
    until: u64,
    /// A renewal that has read the record.
    reading: Option<Reading>,
}

#[derive(Clone, Debug)]
struct Reading {
    version: u64,
    record: Record,
    began: u64,
    swaps: u64,
    answered: bool,
}

proptest! {
    /// Whatever they do and in whatever order, the shares that are held at any moment by those who
    /// believe they hold them are never more than all of it.
    #[test]
    fn processes_never_hold_more_than_all_of_it(
        events in prop::collection::vec(
            (
                0..3_000_u64,
                0..6_usize,
                prop_oneof![
                    30 => (0..1_500_u64, any::<bool>()).prop_map(|(takes, answered)| Happens::Renews(takes, answered)),
                    1 => Just(Happens::Dies),
                    1 => Just(Happens::Leaves),
                ],
                prop_oneof![Just(1.0), 0.0..1.0],
            ),
            1..400,
        ),
        clocks in prop::collection::vec(-1_000..=1_000_i64, 6),
    ) {
        let mut record = (0_u64, Record::default());
        let mut processes = BTreeMap::<usize, Process>::new();
        let mut now = 1_000_000_u64;
        for (gap, who, happens, wants) in events {
            now += gap;
            // Swaps that are due by now, in their order.
            loop {
                let due = processes.iter().filter_map(|(&who, p)| Some((p.reading.as_ref()?.swaps, who)));
                let Some((at, who)) = due.filter(|&(at, _)| at <= now).min() else { break };
                let process = processes.get_mut(&who).unwrap();
                let Reading { version, record: mut read, began, answered, .. } = process.reading.take().unwrap();
                let wall = began as i64 + process.clock_off_ms;
                let renewed = read.renew(&who.to_string(), wants, wall as u64);
                // What it gives up it gives up before anybody can read it.
                process.share = process.share.min(renewed.share);
                if version == record.0 {
                    record = (version + 1, read);
                    if answered {
                        process.share = renewed.share;
                        process.until = began + LEASE.as_millis() as u64;
                    }
                }
                held(&processes, at)?;
            }
            let fresh = Process {
                clock_off_ms: clocks[who], share: 0.0, until: 0, reading: None,
            };
            match happens {
                Happens::Renews(takes, answered) => {
                    let process = processes.entry(who).or_insert(fresh);
                    process.reading.get_or_insert(Reading {
                        version: record.0,
                        record: record.1.clone(),
                        began: now,
                        swaps: now + takes,
                        answered,
                    });
                }
                Happens::Dies => {
                    processes.remove(&who);
                }
                Happens::Leaves => {
                    if processes.remove(&who).is_some() {
                        record.0 += 1;
                        record.1.leave(&who.to_string());
                    }
                }
            }
            held(&processes, now)?;
        }
    }

    /// However it came about, soon after the last one came or went all of the quota is in the hands of
    /// those who want it, in even parts.
    #[test]
    fn soon_all_of_it_is_in_even_hands(
        begun in prop::collection::vec((0..20_000_u64, any::<bool>()), 1..17),
    ) {
        prop_assume!(begun.iter().any(|(_, lives)| *lives));
        let mut record = Record::default();
        let mut due = BTreeMap::new();
        for (who, &(at, lives)) in begun.iter().enumerate() {
            due.insert((1_000_000 + at, who), lives);
        }
        let mut shares = BTreeMap::new();
        // 20 s of coming and going, 14 s until the last dead one's lease is over, 6 s to settle.
        while let Some(((now, who), lives)) = due.pop_first() {
            if now > 1_000_000 + 40_000 {
                break;
            }
            let renewed = record.renew(&who.to_string(), 1.0, now);
            if lives {
                shares.insert(who, renewed.share);
                due.insert((now + renewed.next.as_millis() as u64, who), true);
            }
        }
        let fair = 1.0 / shares.len() as f64;
        for (who, share) in shares {
            prop_assert!((share - fair).abs() < 1e-9, "{who} has {share}, not {fair}");
        }
    }
}

fn held(processes: &BTreeMap<usize, Process>, now: u64) -> Result<(), TestCaseError> {
    let valid = processes.values().filter(|process| now < process.until);
    let sum = valid.map(|process| process.share).sum::<f64>();
    prop_assert!(sum <= 1.0 + 1e-9, "{sum} of it is held");
    Ok(())
}
