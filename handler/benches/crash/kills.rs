//! Killing processes.

use super::command::{HANG, label, service, wait_at_most};
use super::data::{Failures, raw};
use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use softlabel_doubles::azure_openai::{Double, Excuse, Loss, Record, repeats};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A result may wait so long for the disk.
const UNFLUSHED: Duration = Duration::from_secs(2);

/// A run that needs more processes than this does not come to its end.
const MOST_PROCESSES: usize = 500;

/// US dollars per million tokens, prompts and answers: enough to tell a call from the next.
const PRICES: [(&str, f64); 2] = [("--price-input", 1_000.0), ("--price-output", 2_000.0)];

/// The exit code of a run that is not complete.
const PARTIAL: i32 = 3;

/// What all runs together came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: usize,
    pub(crate) kills: usize,
    turns: usize,
    calls: usize,
    repeated: usize,
    most_repeated: usize,
    stopped_by_cap: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills in {} runs: {} turns, each with one line in raw order; {} calls answered, {} of \
             them twice, all in flight or unflushed at a kill, {} at most in one run; {} runs stopped \
             by their caps, none billed more",
            self.kills,
            self.runs,
            self.turns,
            self.calls,
            self.repeated,
            self.most_repeated,
            self.stopped_by_cap
        )
    }
}

/// One run to its end, through up to `kills` kills; under a cap until it reaches it, if it is `capped`.
pub(crate) async fn run(
    seed: u64,
    kills: usize,
    capped: bool,
    rng: &mut StdRng,
    tally: &mut Tally,
) -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash");
    let _ = fs::remove_dir_all(&folder);
    let buckets = raw(seed, 50)?;
    for bucket in &buckets {
        let path = folder.join("raw").join(bucket.raw_path());
        fs::create_dir_all(path.parent().context("it is in a folder")?)?;
        fs::write(path, &bucket.content)?;
    }
    let place = |name: &str| folder.join(name).display().to_string();
    let double = Double::start(service(seed)?).await?;
    let command = || {
        let mut command = label(&place("raw"), &place("out"), &double);
        command.args(
            PRICES
                .iter()
                .flat_map(|(flag, usd)| [(*flag).to_owned(), usd.to_string()]),
        );
        command
    };
    let mut cap = match capped {
        true => Some(forecast(command()).await? * rng.random_range(0.02..0.5)),
        false => None,
    };
    let mut killed = Vec::new();
    let mut processes = 0;
    loop {
        processes += 1;
        ensure!(
            processes < MOST_PROCESSES,
            "the run does not come to its end"
        );
        let mut command = command();
        command.args(
            cap.iter()
                .flat_map(|usd| ["--max-cost".to_owned(), usd.to_string()]),
        );
        let mut child = command.spawn()?;
        let kill = killed.len() < kills;
        let wait = match kill {
            true => Duration::from_millis(rng.random_range(50..6000)),
            false => HANG,
        };
        let ended = wait_at_most(&mut child, wait).await?;
        if let Some(cap) = cap {
            let billed = billed(&double);
            ensure!(
                billed <= cap,
                "{billed} US dollars were billed under a cap of {cap}"
            );
        }
        match ended.map(|ended| (ended, ended.code())) {
            Some((_, Some(0))) => break,
            Some((_, Some(PARTIAL))) if cap.is_some() => {
                tally.stopped_by_cap += 1;
                cap = None;
            }
            Some((ended, _)) => bail!("softlabel ended with {ended}"),
            None if kill => {
                let began = double.now();
                child.kill()?;
                child.wait()?;
                killed.push(Loss {
                    caller: None,
                    began,
                    ended: double.now(),
                });
            }
            None => {
                child.kill()?;
                bail!("softlabel hangs")
            }
        }
    }
    for bucket in &buckets {
        let path = folder.join("out/LABELED_raw").join(bucket.labeled_path());
        let labeled = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        bucket.check(&labeled, Failures::None)?;
    }
    let excuse = Excuse {
        losses: &killed,
        unflushed: UNFLUSHED,
    };
    // The probe's message is asked once by each process until a run is pinned.
    let repeated = repeats(&double.log(), excuse, |_| 1)?.repeated;
    tally.runs += 1;
    tally.kills += killed.len();
    tally.turns += buckets.iter().map(|bucket| bucket.ids.len()).sum::<usize>();
    let calls = double.log();
    tally.calls += calls.iter().filter(|record| answered(record)).count();
    tally.repeated += repeated;
    tally.most_repeated = tally.most_repeated.max(repeated);
    double.stop().await;
    Ok(())
}

/// What the run may cost at most, in US dollars, as `--dry-run` says.
async fn forecast(mut command: Command) -> Result<f64> {
    let output = command
        .arg("--dry-run")
        .stdout(std::process::Stdio::piped())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let row = text
        .lines()
        .find(|line| line.contains("price with rationales"));
    let usd = row.and_then(|row| row.split_whitespace().rev().nth(1));
    let usd = usd.with_context(|| format!("--dry-run says no price: {text}"))?;
    Ok(usd.replace(',', "").parse()?)
}

/// What the double billed, in US dollars: also where it answered 504, or nothing.
fn billed(double: &Double) -> f64 {
    let stats = double.stats();
    let [(_, input), (_, output)] = PRICES;
    (stats.prompt_tokens as f64 * input + stats.completion_tokens as f64 * output) / 1e6
}

fn answered(record: &Record) -> bool {
    record.status == Some(200) && record.fully_sent
}
