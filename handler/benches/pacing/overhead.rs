//! What pacing costs a call, in real time.

use crate::Goals;
use anyhow::Result;
use softlabel::teacher::admission::{Admission, Cost};
use softlabel::teacher::bill::Bill;
use softlabel::teacher::breaker::Endurance;
use softlabel::teacher::pace::Pace;
use softlabel::teacher::pacing::{Concurrency, Pacer, Quota, RateLimitHeaders, Ready};
use softlabel::teacher::purse::Purse;
use softlabel::teacher::tariff::Tariff;
use softlabel::teacher::transport::Exchange;
use softlabel::teacher::wire::Answer;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const CALLS: u32 = 1_000_000;

/// Tasks that send at once.
const TASKS: u32 = 200;

/// Prints what a call costs in the pacer alone, and in the whole admission.
pub(crate) fn measure(goals: &mut Goals) -> Result<()> {
    println!("\n| overhead of a call | µs | goal | met |\n|---|---|---|---|");
    let runtime = tokio::runtime::Runtime::new()?;
    for (what, micros) in [
        ("the pacer, asked once too early and once in time", pacer()),
        ("admission, one task", runtime.block_on(admission(1))?),
        (
            "admission, 200 tasks on all cores",
            runtime.block_on(admission(TASKS))?,
        ),
    ] {
        println!(
            "| {what} | {micros:.2} | ≤ 20 | {} |",
            goals.cell(micros <= 20.0)
        );
    }
    Ok(())
}

fn pacer() -> f64 {
    let concurrency = Concurrency::Fixed(TASKS);
    let mut pacer = Pacer::new(
        Quota::new(crate::TPM, crate::RPM),
        concurrency,
        Duration::ZERO,
    );
    let mut now = Duration::ZERO;
    let started = Instant::now();
    for call in 0..CALLS {
        let tokens = 400 + u64::from(call % 200);
        if let Ready::At(at) = black_box(pacer.ready(now, tokens)) {
            now = at;
            black_box(pacer.ready(now, tokens));
        }
        let sent = pacer.send(now, tokens);
        pacer.answered(now, sent, &RateLimitHeaders::default());
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
}

/// Everything between wanting to send and sending, and after the answer, where the quota has room.
async fn admission(tasks: u32) -> Result<f64> {
    let endurance = Endurance {
        open_after: Duration::from_secs(5),
        probe_every: Duration::from_secs(10),
        give_up_after: Duration::from_secs(600),
    };
    let pace = Pace::new(Quota::new(u32::MAX, u32::MAX), Concurrency::Fixed(tasks));
    let slots = Arc::new(Semaphore::new(tasks as usize));
    let admission = Arc::new(Admission::new(slots, Arc::new(pace), endurance));
    let cost = Cost {
        prompt: 1,
        answer: 0,
    };
    let started = Instant::now();
    let sending = (0..tasks).map(|_| {
        let admission = Arc::clone(&admission);
        tokio::spawn(async move {
            let purse = Purse::unlimited(Arc::new(Tariff::new(None, "m", "d", None)));
            let exchange = Exchange {
                result: Ok(Answer::default()),
                bill: Bill::Nothing,
                model: None,
                headers: RateLimitHeaders::default(),
                latency: Duration::ZERO,
                client_request_id: uuid::Uuid::nil(),
                service_request_id: None,
            };
            for _ in 0..CALLS / tasks {
                if let Ok(permit) = admission.admit(cost, &purse, false).await {
                    permit.settle(&exchange, Some(0));
                }
            }
        })
    });
    for task in sending.collect::<Vec<_>>() {
        task.await?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS))
}
