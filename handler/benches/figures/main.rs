//! Prints the figures that the README shows, with machine and date: speed of scanning, memory and
//! speed of whole runs of the real binary against the double of Azure OpenAI, start-up, and
//! the function app in a cloud on this machine.
//!
//! `cargo xtask figures` runs all of it and ends with 1 where a goal is missed.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

mod app;
mod runs;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use softlabel::clock::Clock;
use softlabel::dataset::conversation::{ParseError, count_turns};
use softlabel::dataset::scanner::Scanner;
use softlabel_doubles::azure_openai::{Config, Double, Latency};
use softlabel_doubles::dataset::{self, Options, Size};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const LARGE: u64 = 1_200_000_000;
const SMALL: u64 = 100_000_000;

/// Measure softlabel on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure; everything by default.
    #[arg(value_enum)]
    only: Vec<Figure>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Scanning a file of 1.2 GB on one core.
    Scan,
    /// Calls a second without latency and limits.
    Calls,
    /// Calls a second with 200 ms of latency and 500 in flight.
    Latency,
    /// Peak memory of runs over 0.1 GB and 1.2 GB.
    Memory,
    /// Time to start.
    Start,
    /// The function app: speed, start, requests to storage.
    App,
    /// The function app: requests to storage a bucket and a turn.
    AppRequests,
    /// The function app over 10,000 runs that are not at their end.
    Runs,
    /// The function app's memory over a blob of 1.2 GB.
    AppMemory,
}

/// One line of the table.
struct Row {
    what: String,
    measured: String,
    goal: String,
    met: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let wanted = |figure| args.only.is_empty() || args.only.contains(&figure);
    println!("{}, {}", Clock::system().now(), machine());
    let mut rows = Vec::new();
    if wanted(Figure::Start) {
        rows.extend(start()?);
    }
    if wanted(Figure::Scan) {
        rows.extend(scan()?);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if wanted(Figure::Calls) {
        rows.push(runtime.block_on(calls())?);
    }
    if wanted(Figure::Latency) {
        rows.push(runtime.block_on(latency())?);
    }
    if wanted(Figure::Memory) {
        rows.extend(runtime.block_on(memory())?);
    }
    if wanted(Figure::App) {
        rows.extend(runtime.block_on(app::throughput())?);
    }
    if wanted(Figure::AppRequests) {
        rows.extend(runtime.block_on(app::requests())?);
    }
    if wanted(Figure::Runs) {
        rows.extend(runtime.block_on(runs::open())?);
    }
    if wanted(Figure::AppMemory) {
        rows.push(runtime.block_on(app::memory())?);
    }
    println!("\n| what | measured | goal | met |\n|---|---|---|---|");
    for Row {
        what,
        measured,
        goal,
        met,
    } in &rows
    {
        println!(
            "| {what} | {measured} | {goal} | {} |",
            if *met { "yes" } else { "NO" }
        );
    }
    let met = rows.iter().all(|row| row.met);
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Processor and cores, as Linux tells them.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(':').nth(1))
        .map_or("unknown processor", str::trim)
        .to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

fn folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/figures");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A generated bucket file of about `size` bytes, made once.
fn raw(size: u64) -> Result<PathBuf> {
    let path = folder()?.join(format!("raw-{size}.json"));
    let there = fs::metadata(&path).is_ok_and(|file| file.len() >= size);
    if !there {
        println!("generating {} …", path.display());
        let options = Options {
            size: Size::Bytes(size),
            ..Options::default()
        };
        let draft = path.with_extension("draft");
        dataset::write(&options, File::create(&draft)?)?;
        fs::rename(draft, &path)?;
    }
    Ok(path)
}

fn softlabel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_softlabel"));
    command
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    command
}

/// `softlabel label` over `input`, with `flags`, against `double`.
fn label(input: &Path, double: &Double, flags: &[&str]) -> Result<Command> {
    let output = folder()?.join("labeled.jsonl");
    let _ = fs::remove_file(&output);
    let _ = fs::remove_dir_all(folder()?.join("labeled.jsonl.softlabel"));
    let mut command = softlabel();
    command
        .args(["label", "--progress", "none", "--input"])
        .arg(input)
        .arg("--output")
        .arg(output)
        .args(flags)
        .env("AZURE_OPENAI_ENDPOINT", double.endpoint())
        // What is measured is not the pace of a quota.
        .env("SOFTLABEL_TPM", "4000000000")
        .env("SOFTLABEL_RPM", "4000000000")
        .env("AZURE_OPENAI_API_KEY", "key");
    Ok(command)
}

fn start() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (argument, goal) in [("info", 200.0), ("--help", 20.0)] {
        let mut times = Vec::new();
        for _ in 0..21 {
            let started = Instant::now();
            ensure!(
                softlabel().arg(argument).status()?.success(),
                "{argument} failed"
            );
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        rows.push(Row {
            what: format!("`softlabel {argument}`, median of 21"),
            measured: format!("{median:.1} ms"),
            goal: format!("≤ {goal} ms"),
            met: median <= goal,
        });
    }
    Ok(rows)
}

fn scan() -> Result<Vec<Row>> {
    fn any(_: &[u8]) -> Result<u32, ParseError> {
        Ok(0)
    }
    let path = raw(LARGE)?;
    // Once for the page cache.
    scan_once(&path, any)?;
    let (bytes, seconds, found) = scan_once(&path, any)?;
    let speed = bytes as f64 / seconds / 1e6;
    let (_, counting, _) = scan_once(&path, count_turns)?;
    Ok(vec![
        Row {
            what: format!(
                "scanning {:.1} GB, {found} conversations",
                bytes as f64 / 1e9
            ),
            measured: format!("{speed:.0} MB/s"),
            goal: "≥ 500 MB/s on one core".into(),
            met: speed >= 500.0,
        },
        Row {
            what: "the same, every conversation parsed and its turns counted".into(),
            measured: format!("{:.0} MB/s", bytes as f64 / counting / 1e6),
            goal: "none".into(),
            met: true,
        },
    ])
}

fn scan_once(path: &Path, accept: fn(&[u8]) -> Result<u32, ParseError>) -> Result<(u64, f64, u64)> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    let (mut bytes, mut found) = (0, 0);
    let mut scanner = Scanner::new(accept);
    let started = Instant::now();
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        scanner.push(&block[..read]);
        while scanner.next().is_some() {
            found += 1;
        }
    }
    scanner.finish();
    while scanner.next().is_some() {
        found += 1;
    }
    scanner.outcome().context("the generated file is sound")?;
    Ok((bytes, started.elapsed().as_secs_f64(), found))
}

async fn calls() -> Result<Row> {
    let double = Double::start(Config {
        keep_log: false,
        ..Config::default()
    })
    .await?;
    let flags = ["--no-rationales", "--concurrency", "200"];
    let (rate, _) = run(&raw(4 * SMALL)?, &double, &flags).await?;
    double.stop().await;
    Ok(Row {
        what:
            "calls/s of a run, first to last call, no latency and limits, double on the same cores"
                .into(),
        measured: format!("{rate:.0}"),
        goal: "≥ 8,000".into(),
        met: rate >= 8000.0,
    })
}

async fn latency() -> Result<Row> {
    let config = Config {
        keep_log: false,
        latency: Latency::Fixed { ms: 200.0 },
        ..Config::default()
    };
    let double = Double::start(config).await?;
    let flags = ["--no-rationales", "--concurrency", "500"];
    let (rate, _) = run(&raw(2 * SMALL)?, &double, &flags).await?;
    double.stop().await;
    Ok(Row {
        what: "calls/s, first to last call, with 200 ms latency and 500 in flight".into(),
        measured: format!("{rate:.0} ({:.0} % of the ceiling of 2,500)", rate / 25.0),
        goal: "≥ 2,300".into(),
        met: rate >= 2300.0,
    })
}

async fn memory() -> Result<Vec<Row>> {
    let double = Double::start(Config {
        keep_log: false,
        ..Config::default()
    })
    .await?;
    let mut peaks = Vec::new();
    for size in [SMALL, LARGE] {
        let (rate, peak) = run(&raw(size)?, &double, &[]).await?;
        println!(
            "{} MB: {rate:.0} calls/s, peak {peak:.1} MB",
            size / 1_000_000
        );
        peaks.push(peak);
    }
    double.stop().await;
    let (small, large) = (peaks[0], peaks[1]);
    Ok(vec![
        Row {
            what: "peak memory of a whole run with rationales over 1.2 GB".into(),
            measured: format!("{large:.1} MB"),
            goal: "≤ 150 MB".into(),
            met: large <= 150.0,
        },
        Row {
            what: "the same against 0.1 GB".into(),
            measured: format!("{small:.1} MB, {:+.1} %", 100.0 * (large / small - 1.0)),
            goal: "at most + 10 %".into(),
            met: large <= 1.1 * small,
        },
    ])
}

/// One run: calls a second from its first to its last call, and peak memory in MB.
async fn run(input: &Path, double: &Double, flags: &[&str]) -> Result<(f64, f64)> {
    let before = double.stats().requests;
    let mut child = label(input, double, flags)?.spawn()?;
    let (mut calls, mut peak) = (0, 0.0_f64);
    // The profile's probe is the first call; the run's own begin after the next look.
    let (mut first, mut last) = (Instant::now(), Instant::now());
    loop {
        let now = double.stats().requests - before;
        if now != calls {
            if calls <= 1 {
                first = last;
            }
            (calls, last) = (now, Instant::now());
        } else if calls <= 1 {
            last = Instant::now();
        }
        peak = peak.max(peak_memory(child.id()));
        if let Some(ended) = child.try_wait()? {
            ensure!(ended.success(), "softlabel label ended with {ended}");
            return Ok((calls as f64 / (last - first).as_secs_f64(), peak));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The most memory that a process held so far, in MB.
fn peak_memory(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
