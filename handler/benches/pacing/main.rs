//! Simulates fleets of processes on one deployment, in simulated time, and prints what share of its
//! quota they use and how many calls it refuses. See `fleet` for what is simulated and how.
//!
//! `cargo xtask pacing` runs all of it and ends with 1 where a goal is missed.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

mod fleet;
mod overhead;
mod sizes;

use anyhow::Result;
use clap::Parser;
use fleet::{Fleet, LABEL, RATIONALE, SPREAD, Seen, Setup, Way};
use sizes::Sizes;
use softlabel::teacher::pacing::{Concurrency, Quota};
use softlabel_doubles::azure_openai::Limits;
use std::process::ExitCode;

/// The first tier of gpt-5.2.
const TPM: u32 = 1_000_000;
const RPM: u32 = 10_000;

/// Calls in flight at most, in each process.
const CAP: u32 = 200;

/// Mean seconds that a process lives.
const LIFE: f64 = 1_200.0;

/// What is left out of the steady state at its beginning, in seconds.
const RAMP: f64 = 120.0;

/// The dataset.
const TURNS: u64 = 940_000;

/// Simulate pacing, and measure what it costs.
#[derive(Debug, Parser)]
struct Args {
    /// Where everything random comes from.
    #[arg(long, default_value_t = 20_261_124)]
    seed: u64,
    /// Hours of steady state that are simulated.
    #[arg(long, default_value_t = 8)]
    hours: u32,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The goals, and whether all of them were met.
struct Goals(bool);

impl Goals {
    /// A cell of a table.
    fn cell(&mut self, met: bool) -> &'static str {
        self.0 &= met;
        if met { "yes" } else { "NO" }
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let sizes = Sizes::of_samples()?;
    let (mean, most) = sizes.mean_and_most();
    println!(
        "seed {}; latency log-normal, median {LABEL} s (label) and {RATIONALE} s (rationale), sigma \
         {SPREAD};\nturns as in samples/: {mean:.0} tokens charged for label and rationale on \
         average, {most} for the largest call",
        args.seed
    );
    let base = Setup {
        seed: args.seed,
        limits: vec![(0.0, limits(TPM, RPM))],
        processes: 1,
        life: Some(LIFE),
        way: Way::Paced(Quota::new(TPM, RPM), Concurrency::Fixed(CAP)),
        turns: None,
        seconds: RAMP + 3_600.0 * f64::from(args.hours),
        counted: 1.0,
        headers: true,
    };
    let mut goals = Goals(true);
    steady(&base, &sizes, &mut goals);
    changes(&base, &sizes, &mut goals);
    dataset(&base, &sizes, &mut goals);
    adversity(&base, &sizes);
    overhead::measure(&mut goals)?;
    Ok(match goals.0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn limits(tpm: u32, rpm: u32) -> Limits {
    Limits {
        tpm: Some(u64::from(tpm)),
        rpm: Some(u64::from(rpm)),
        ..Limits::default()
    }
}

/// The share of the limit that binds, from the end of the ramp on.
fn share(seen: &Seen, tpm: u32, rpm: u32, end: f64) -> f64 {
    let minutes = (end - RAMP) / 60.0;
    let tokens = Seen::sum(&seen.tokens, RAMP, end) as f64 / minutes / f64::from(tpm);
    let requests = Seen::sum(&seen.admitted, RAMP, end) as f64 / minutes / f64::from(rpm);
    tokens.max(requests)
}

/// The share of requests that were answered 429.
fn refused(seen: &Seen, from: f64, to: f64) -> f64 {
    let refused = Seen::sum(&seen.refused, from, to) as f64;
    refused / (refused + Seen::sum(&seen.admitted, from, to) as f64).max(1.0)
}

fn steady(base: &Setup, sizes: &Sizes, goals: &mut Goals) {
    println!(
        "\nSteady state over {:.0} h, cap {CAP}, {:.0} min mean life, one process in three killed. \
         Goals: ≥ 97 % of the binding limit, < 0.2 % answered 429\n",
        (base.seconds - RAMP) / 3_600.0,
        LIFE / 60.0
    );
    println!(
        "| quota | token minute | processes | killed | of the binding limit | answered 429 | reads \
         + swaps per process and hour | lost races | met |\n|---|---|---|---|---|---|---|---|---|"
    );
    // The second row of quotas is short of requests.
    for (tpm, rpm, sliding_tokens) in [(TPM, RPM, false), (TPM, RPM, true), (20 * TPM, RPM, false)]
    {
        for processes in [1, 4, 16] {
            let limits = Limits {
                sliding_tokens,
                ..limits(tpm, rpm)
            };
            // One process alone needs 250 calls in flight for 10,000 requests a minute.
            let cap = if tpm > TPM { 2 * CAP } else { CAP };
            let setup = Setup {
                limits: vec![(0.0, limits)],
                processes,
                way: Way::Paced(Quota::new(tpm, rpm), Concurrency::Fixed(cap)),
                ..base.clone()
            };
            let end = setup.seconds;
            let seen = Fleet::run(setup, sizes);
            let (used, refused) = (share(&seen, tpm, rpm, end), refused(&seen, 0.0, end));
            let hourly = |n: u64| n as f64 / end * 3_600.0 / processes as f64;
            println!(
                "| {tpm} TPM, {rpm} RPM | {} | {processes} | {} of {} | {:.2} % | {:.3} % | {:.0} + \
                 {:.0} | {:.1} % | {} |",
                if sliding_tokens { "sliding" } else { "reset" },
                seen.killed,
                seen.ended,
                100.0 * used,
                100.0 * refused,
                hourly(seen.reads),
                hourly(seen.swaps),
                100.0 * seen.lost_races as f64 / seen.swaps as f64,
                goals.cell(used >= 0.97 && refused < 0.002)
            );
        }
    }
}

fn changes(base: &Setup, sizes: &Sizes, goals: &mut Goals) {
    let (halved, restored, end) = (630.0, 1_530.0, 2_430.0);
    println!(
        "\nThe service halves its limits in the middle of a minute and restores them a quarter of an \
         hour later; no process ends meanwhile. Goal: ≥ 97 % of the new limit from two minutes later \
         on\n\n| processes | half: third minute | until restored | whole: third minute | until the end \
         | 429 in the two minutes after halving | met |\n|---|---|---|---|---|---|---|"
    );
    for processes in [1, 4, 16] {
        let setup = Setup {
            limits: vec![
                (0.0, limits(TPM, RPM)),
                (halved, limits(TPM / 2, RPM / 2)),
                (restored, limits(TPM, RPM)),
            ],
            processes,
            life: None,
            seconds: end,
            ..base.clone()
        };
        let seen = Fleet::run(setup, sizes);
        let share = |from: f64, to: f64, tpm: u32| {
            Seen::sum(&seen.tokens, from, to) as f64 / ((to - from) / 60.0) / f64::from(tpm)
        };
        let shares = [
            share(halved + 120.0, halved + 180.0, TPM / 2),
            share(halved + 120.0, restored, TPM / 2),
            share(restored + 120.0, restored + 180.0, TPM),
            share(restored + 120.0, end, TPM),
        ];
        let [a, b, c, d] = shares.map(|share| format!("{:.2} %", 100.0 * share));
        println!(
            "| {processes} | {a} | {b} | {c} | {d} | {} of {} | {} |",
            Seen::sum(&seen.refused, halved, halved + 120.0),
            Seen::sum(&seen.admitted, halved, halved + 120.0)
                + Seen::sum(&seen.refused, halved, halved + 120.0),
            goals.cell(shares.iter().all(|&share| share >= 0.97))
        );
    }
}

fn dataset(base: &Setup, sizes: &Sizes, goals: &mut Goals) {
    let bound = sizes.mean_and_most().0 * TURNS as f64 / f64::from(TPM) * 60.0;
    println!(
        "\n{TURNS} turns with rationales, processes that end as above. Goal of pacing: within 5 % of \
         the bound\n\n| way | hours | of the bound | answered 429 | met |\n|---|---|---|---|---|\n\
         | the quota's bound | {:.2} | 1.000 | | |",
        bound / 3_600.0
    );
    let quota = Quota::new(TPM, RPM);
    let paced = Way::Paced(quota, Concurrency::Fixed(CAP));
    for (name, way, processes) in [
        ("pacing, 1 process", paced, 1),
        ("pacing, 4 processes", paced, 4),
        ("pacing, 16 processes", paced, 16),
        (
            "pacing, 1 process, --concurrency auto",
            Way::Paced(quota, Concurrency::AUTO),
            1,
        ),
        ("semaphore of 50, 1 process", Way::Semaphore(50), 1),
        (
            "semaphore of 50 in each of 4 processes",
            Way::Semaphore(50),
            4,
        ),
        (
            "semaphore of 50 in each of 16 processes",
            Way::Semaphore(50),
            16,
        ),
    ] {
        let setup = Setup {
            way,
            processes,
            turns: Some(TURNS),
            seconds: f64::INFINITY,
            ..base.clone()
        };
        let seen = Fleet::run(setup, sizes);
        let over = seen.done_at / bound;
        let is_goal = matches!(way, Way::Paced(..));
        println!(
            "| {name} | {:.2} | {over:.3} | {:.3} % | {} |",
            seen.done_at / 3_600.0,
            100.0 * refused(&seen, 0.0, seen.done_at),
            if is_goal {
                goals.cell(over <= 1.05)
            } else {
                ""
            }
        );
    }
}

/// What is not a goal, but happens.
fn adversity(base: &Setup, sizes: &Sizes) {
    println!(
        "\nThe same over {:.0} h where things are not as configured; no goals\n\n\
         | what | processes | of the binding limit | answered 429 |\n|---|---|---|---|",
        (base.seconds - RAMP) / 3_600.0
    );
    let half = vec![(0.0, limits(TPM / 2, RPM / 2))];
    let cases = [
        (
            "the service counts 10 % more tokens than we do",
            1.1,
            true,
            None,
        ),
        ("the same, and sends no headers", 1.1, false, None),
        (
            "the limit is half of what is configured, and no headers say so",
            1.0,
            false,
            Some(half),
        ),
    ];
    for (what, counted, headers, limits) in cases {
        for processes in [1, 16] {
            let setup = Setup {
                processes,
                counted,
                headers,
                limits: limits.clone().unwrap_or_else(|| base.limits.clone()),
                ..base.clone()
            };
            let end = setup.seconds;
            let tpm = if limits.is_some() { TPM / 2 } else { TPM };
            let seen = Fleet::run(setup, sizes);
            println!(
                "| {what} | {processes} | {:.2} % | {:.3} % |",
                100.0 * share(&seen, tpm, RPM, end),
                100.0 * refused(&seen, 0.0, end)
            );
        }
    }
}
