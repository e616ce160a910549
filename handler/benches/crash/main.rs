//! Kills and freezes the real binary at random instants and checks what it leaves: `cargo xtask crash --kills
//! 200 --freezes 20 --seed 1`.
//!
//! A dataset is labelled against a double of Azure OpenAI that fails, throttles and resets, leaves usage
//! out, and bills what a gateway then answers with 504. Again and again the process gets SIGKILL and the
//! same command is given again, until the run is complete; then the next run begins. After each run
//!
//! * every turn has exactly one line, in raw order;
//! * a call that was answered twice was in flight when a kill came, or answered at most two seconds
//!   before it;
//! * the double billed no more than `--max-cost`, which the run is under until it reaches it.
//!
//! Then processes get SIGSTOP. Over blobs another one finishes the work of each, sometimes asks again for
//! what failed, and the frozen one gets SIGCONT: nothing that the other published or wrote down changes. On
//! disk the other is refused, and the frozen one ends as if nothing had been.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod blobs;
mod command;
mod data;
mod disk;
mod kills;

use anyhow::{Context, Result};
use clap::Parser;
use futures::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::process::ExitCode;
use std::time::Instant;

/// Freezes at a time: most of one is waiting for leases.
const AT_ONCE: usize = 8;

/// Of the freezes one in so many is on disk.
const ON_DISK: usize = 4;

/// Kill and freeze softlabel at random instants, and check that nothing is lost, doubled, asked twice or
/// taken back.
#[derive(Debug, Parser)]
struct Args {
    /// How many kills.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How many freezes.
    #[arg(long, default_value_t = 8)]
    freezes: usize,
    /// Where the instants, the data and the faults come from; drawn and printed if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Kill without --max-cost.
    #[arg(long)]
    uncapped: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| rand::rng().random());
    println!(
        "seed {seed}, {} kills, {} freezes",
        args.kills, args.freezes
    );
    let mut rng = StdRng::seed_from_u64(seed);
    let runtime = tokio::runtime::Runtime::new()?;
    let mut tally = kills::Tally::default();
    while tally.kills < args.kills {
        let seed = rng.random();
        let left = args.kills - tally.kills;
        runtime
            .block_on(kills::run(seed, left, !args.uncapped, &mut rng, &mut tally))
            .with_context(|| format!("run {} with seed {seed}", tally.runs))?;
        println!("{tally}");
    }
    let began = Instant::now();
    let failures = runtime.block_on(freeze(args.freezes, &mut rng))?;
    println!(
        "{} freezes in {} s, {failures} failed",
        args.freezes,
        began.elapsed().as_secs()
    );
    Ok(match failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Freezes so many processes, some at a time. Gives how many of them did what they must not.
async fn freeze(freezes: usize, rng: &mut StdRng) -> Result<usize> {
    if freezes == 0 {
        return Ok(0);
    }
    let life = blobs::Life::measure(rng.random()).await?;
    let freezes = (0..freezes).map(|number| {
        let (seed, life) = (rng.random(), &life);
        async move {
            let frozen = match number % ON_DISK {
                0 => disk::freeze(number, seed).await,
                _ => blobs::freeze(number, seed, life).await,
            };
            (number, frozen)
        }
    });
    // They are made one after the other, so that each seed is the same whatever ends first.
    let freezes = freezes.collect::<Vec<_>>();
    let mut ended = stream::iter(freezes).buffer_unordered(AT_ONCE);
    let mut failures = 0;
    while let Some((number, frozen)) = ended.next().await {
        match frozen {
            Ok(told) => println!("freeze {number}: {told}"),
            Err(error) => {
                println!("freeze {number} FAILED: {error:#}");
                failures += 1;
            }
        }
    }
    Ok(failures)
}
