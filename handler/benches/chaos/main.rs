//! The function app on a very bad day: `cargo xtask chaos --seeds 8 --seed 1`.
//!
//! Each seed is a local cloud with two instances of the app, the real executable over Azurite, in which
//! messages and events come twice, late, out of order or not at all, storage loses answers, workers get
//! SIGKILL at random instants and at named points of their work, whole instances vanish, RAW is
//! replaced and buckets are labelled again while they are labelled. On some days storage is down for a
//! while, or the service refuses everything until runs are given up, and what they left is asked for.
//! In the end
//!
//! * every run is at its end, and every bucket is labelled as its current version of RAW is: exactly one
//!   line a turn, in raw order. A person helps only where no word of an upload reached the app, where a
//!   run had been cancelled, and with what was given up while the service refused everything;
//! * an answer of the service is kept by exactly one run, or was lost as its instance was killed while it
//!   was in flight or at most two seconds old; an outage of storage costs no more than a kill of all
//!   instances. So nothing is asked again beyond that;
//! * the labelled dataset's metadata agree with its files, and its budget with what its runs cost;
//! * nothing was written outside `LABELED_*` and the work container, RAW is as it was uploaded, and
//!   nothing that the app wrote began a run.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod books;
mod bucket;
mod calls;
mod check;
mod day;
mod refusal;
mod settle;
mod tally;

use anyhow::Result;
use clap::Parser;
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::process::ExitCode;
use std::time::Instant;
use tally::Tally;

/// Let everything go wrong in the function app, and check that nothing is lost, doubled or invented.
#[derive(Debug, Parser)]
struct Args {
    /// How many bad days.
    #[arg(long, default_value_t = 4)]
    seeds: u64,
    /// The first day's seed; the others follow. Drawn and printed if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Days at a time: most of a day is waiting for leases.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Print what the app logs.
    #[arg(long)]
    echo: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let seed = args
        .seed
        .unwrap_or_else(|| StdRng::from_rng(&mut rand::rng()).random_range(0..1_000_000));
    println!("seeds {seed} to {}", seed + args.seeds.saturating_sub(1));
    let runtime = tokio::runtime::Runtime::new()?;
    let (tally, failures) = runtime.block_on(async {
        let days = (seed..seed + args.seeds).map(|seed| async move {
            let began = Instant::now();
            let day = day::live(seed, args.echo).await;
            (seed, day, began.elapsed().as_secs())
        });
        let mut days = futures::stream::iter(days).buffer_unordered(args.jobs.max(1));
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        while let Some((seed, day, seconds)) = days.next().await {
            match day {
                Ok(day) => {
                    println!("seed {seed}, {seconds} s: {day}");
                    tally.add(&day);
                }
                Err(error) => {
                    println!("seed {seed}, {seconds} s, FAILED: {error:#}");
                    failures.push(seed);
                }
            }
        }
        (tally, failures)
    });
    println!("all {} days: {tally}", args.seeds);
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("failed: {failures:?}; one alone with --seeds 1 --seed N --echo");
    Ok(ExitCode::FAILURE)
}
