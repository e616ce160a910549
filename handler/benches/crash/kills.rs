//! Kills the real binary at random instants and checks what it leaves.
//!
//! `cargo crash --kills 200 --seed 1`: a dataset is labelled against a double of Azure OpenAI that
//! fails, throttles and resets; again and again the process gets SIGKILL and the same command is
//! given again, until the run is complete; then the next run begins. After each run
//!
//! * every turn has exactly one line, in raw order;
//! * a call that was answered twice was in flight when a kill came, or answered at most two seconds
//!   before it.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use softlabel::dataset::conversation::Conversation;
use softlabel::dataset::scanner::{Found, Scanner};
use softlabel_doubles::azure_openai::{
    Config, Double, Excuse, Faults, Latency, Limits, Loss, Record, repeats,
};
use softlabel_doubles::dataset::{self, Options, Size};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// A result may wait so long for the disk.
const UNFLUSHED: Duration = Duration::from_secs(2);

/// A run that needs more processes than this does not come to its end.
const MOST_PROCESSES: usize = 500;

/// Kill softlabel at random instants, and check that nothing is lost, doubled or asked twice.
#[derive(Debug, Parser)]
struct Args {
    /// How many kills.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Where the instants, the data and the faults come from; drawn and printed if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all runs together came to.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    kills: usize,
    turns: usize,
    calls: usize,
    repeated: usize,
    most_repeated: usize,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| rand::rng().random());
    println!("seed {seed}, {} kills", args.kills);
    let mut rng = StdRng::seed_from_u64(seed);
    let runtime = tokio::runtime::Runtime::new()?;
    let mut tally = Tally::default();
    while tally.kills < args.kills {
        let seed = rng.random();
        let left = args.kills - tally.kills;
        runtime
            .block_on(run(seed, left, &mut rng, &mut tally))
            .with_context(|| format!("run {} with seed {seed}", tally.runs))?;
        println!("{tally:?}");
    }
    println!(
        "{} kills in {} runs: {} turns, each with one line in raw order; {} calls answered, {} of \
         them twice, all in flight or unflushed at a kill, {} at most in one run",
        tally.kills, tally.runs, tally.turns, tally.calls, tally.repeated, tally.most_repeated
    );
    Ok(ExitCode::SUCCESS)
}

/// One run to its end, through up to `kills` kills.
async fn run(seed: u64, kills: usize, rng: &mut StdRng, tally: &mut Tally) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/crash");
    let _ = fs::remove_dir_all(&folder);
    let expected = raw(&folder, seed)?;
    let double = Double::start(service(seed)?).await?;
    let mut killed = Vec::new();
    let mut processes = 0;
    loop {
        processes += 1;
        ensure!(
            processes < MOST_PROCESSES,
            "the run does not come to its end"
        );
        let mut child = label(&folder, &double).spawn()?;
        if killed.len() < kills {
            let wait = Duration::from_millis(rng.random_range(50..6000));
            if let Some(ended) = wait_at_most(&mut child, wait).await? {
                ensure!(ended.success(), "softlabel ended with {ended}");
                break;
            }
            let began = double.now();
            child.kill()?;
            child.wait()?;
            killed.push(Loss {
                caller: None,
                began,
                ended: double.now(),
            });
        } else {
            let ended = wait_at_most(&mut child, Duration::from_secs(300)).await?;
            let Some(ended) = ended else {
                bail!("softlabel hangs")
            };
            ensure!(ended.success(), "softlabel ended with {ended}");
            break;
        }
    }
    for (path, expected) in &expected {
        check_lines(&folder.join("out/LABELED_raw").join(path), expected)?;
    }
    let excuse = Excuse {
        losses: &killed,
        unflushed: UNFLUSHED,
    };
    // The probe's message is asked once by each process until a run is pinned.
    let repeated = repeats(&double.log(), excuse, |_| 1)?.repeated;
    tally.runs += 1;
    tally.kills += killed.len();
    tally.turns += expected.values().map(Vec::len).sum::<usize>();
    tally.calls += double
        .log()
        .iter()
        .filter(|record| answered(record))
        .count();
    tally.repeated += repeated;
    tally.most_repeated = tally.most_repeated.max(repeated);
    double.stop().await;
    Ok(())
}

/// Two bucket files; gives their message ids in order, by path of the labelled file.
fn raw(folder: &Path, seed: u64) -> Result<BTreeMap<PathBuf, Vec<String>>> {
    let mut expected = BTreeMap::new();
    for (number, split) in (0..).zip(["train", "test"]) {
        let path = folder.join("raw").join(split);
        fs::create_dir_all(&path)?;
        let mut content = Vec::new();
        let options = Options {
            seed: seed.wrapping_add(number),
            size: Size::Conversations(50),
            dirt: 0.05,
            ..Options::default()
        };
        dataset::write(&options, &mut content)?;
        fs::write(path.join("short.json"), &content)?;
        let mut ids = Vec::new();
        let mut scanner = Scanner::new(Conversation::parse);
        scanner.push(&content);
        scanner.finish();
        while let Some(found) = scanner.next() {
            if let Found::Conversation { value, .. } = found {
                ids.extend(value.turns.into_iter().map(|turn| turn.message_id));
            }
        }
        expected.insert(Path::new(split).join("short.jsonl"), ids);
    }
    Ok(expected)
}

/// A service on a bad day.
fn service(seed: u64) -> Result<Config> {
    let rates = r#"{"rates": {"500": 0.02, "503": 0.02, "408": 0.01, "reset": 0.03,
                    "half_body": 0.01}}"#;
    Ok(Config {
        seed,
        latency: Latency::LogNormal {
            median_ms: 60.0,
            sigma: 0.5,
        },
        faults: serde_json::from_str::<Faults>(rates)?,
        limits: Limits {
            rpm: Some(7200),
            ..Limits::default()
        },
        ..Config::default()
    })
}

fn label(folder: &Path, double: &Double) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_softlabel"));
    command
        .env_clear()
        .args([
            "label",
            "--progress",
            "none",
            "--concurrency",
            "8",
            "--chunk-turns",
            "40",
        ])
        .args([
            "--first-backoff",
            "50ms",
            "--attempts",
            "8",
            "--log",
            "error",
            "--input",
        ])
        .arg(folder.join("raw"))
        .arg("--output")
        .arg(folder.join("out"))
        .env("AZURE_OPENAI_ENDPOINT", double.endpoint())
        // More than the double takes, so that it refuses some.
        .env("SOFTLABEL_TPM", "4000000000")
        .env("AZURE_OPENAI_API_KEY", "key")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

async fn wait_at_most(
    child: &mut Child,
    time: Duration,
) -> Result<Option<std::process::ExitStatus>> {
    let until = Instant::now() + time;
    loop {
        if let Some(ended) = child.try_wait()? {
            return Ok(Some(ended));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn check_lines(path: &Path, expected: &[String]) -> Result<()> {
    let content =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut ids = Vec::new();
    for line in content.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let labeled = line
            .get("soft_label")
            .is_some_and(serde_json::Value::is_f64);
        let code = line
            .pointer("/labeling_error/code")
            .and_then(serde_json::Value::as_str);
        ensure!(labeled != code.is_some(), "a line has both or none: {line}");
        ensure!(
            labeled || code == Some("empty_message"),
            "a turn failed: {line}"
        );
        let id = line.get("messageId").and_then(serde_json::Value::as_str);
        ids.push(id.context("a line without messageId")?.to_owned());
    }
    ensure!(
        ids == expected,
        "{}: {} lines are not the {} turns",
        path.display(),
        ids.len(),
        expected.len()
    );
    Ok(())
}

fn answered(record: &Record) -> bool {
    record.status == Some(200) && record.fully_sent
}
