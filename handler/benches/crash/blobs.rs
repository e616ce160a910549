//! Freezing processes over blobs, for longer than their leases last.

use super::command::{Process, heard, label, run, service};
use super::data::{Bucket, Failures, raw};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Double, Fault};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::faulty_line::{FaultyLine, Passed};
use softlabel_doubles::storage::{Blob, Container};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Conversations of a bucket file.
const CONVERSATIONS: u64 = 10;

/// How often an instant is drawn again that comes after the process's end.
const DRAWS: usize = 20;

/// A process that was frozen has little to do any more.
const END: Duration = Duration::from_secs(60);

/// Turns that fail, where some do.
const FAILING: usize = 6;

/// Where the labelled dataset lies.
const LABELED: &str = "base/LABELED_raw";

/// The exit code of a run that is not complete.
const PARTIAL: i32 = 3;

/// The requests to storage of a whole run.
#[derive(Debug)]
pub(crate) struct Life {
    all: usize,
    /// Those from the moment on when the last bucket is about to be published.
    publishing: usize,
}

impl Life {
    /// Lets a run come to its end.
    pub(crate) async fn measure(seed: u64) -> Result<Self> {
        let world = World::new("life", seed, false).await?;
        let (code, said) = run(world.command(), &world.stderr("life")).await?;
        ensure!(code == Some(0), "softlabel ended with {code:?}: {said}");
        let all = world.line.log_since(0);
        let mut staged = Staged::default();
        let labeling = all.iter().position(|passed| staged.have_all(passed));
        let labeling = labeling.context("nothing was published")?;
        Ok(Self {
            all: all.len(),
            publishing: all.len() - labeling,
        })
    }
}

/// Labelled files that a process is about to publish: a first block of each was staged to find out whether
/// that can be done, and a second one is a part of it.
#[derive(Default)]
struct Staged(BTreeMap<String, usize>);

impl Staged {
    /// Whether it is about to publish the last one, or did.
    fn have_all(&mut self, passed: &Passed) -> bool {
        if passed.path.ends_with(".jsonl")
            && passed.query.split('&').any(|pair| pair == "comp=block")
        {
            *self.0.entry(passed.path.clone()).or_default() += 1;
        }
        self.0.values().filter(|blocks| **blocks > 1).count() == 2
    }
}

/// When a process is frozen.
#[derive(Clone, Copy, Debug)]
enum Instant {
    /// After so many requests to storage.
    Requests(usize),
    /// After so many from the last bucket's publication on.
    Publishing(usize),
}

/// A container with RAW, and a service.
struct World {
    container: Container,
    line: FaultyLine,
    url: String,
    buckets: Vec<Bucket>,
    double: Double,
    folder: PathBuf,
}

/// What was frozen.
struct Frozen {
    process: Process,
    after: Instant,
    /// It held a lock.
    held: bool,
    /// Its work was done.
    done: bool,
}

/// Freezes a process at a random instant. Gives what became of it, as a sentence.
pub(crate) async fn freeze(number: usize, seed: u64, life: &Life) -> Result<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let fails = number % 3 == 1;
    for draw in 0..DRAWS {
        let world = World::new(&format!("freeze-{number}-{draw}"), seed, fails).await?;
        let after = match rng.random_bool(0.5) {
            true => Instant::Publishing(rng.random_range(0..life.publishing)),
            false => Instant::Requests(rng.random_range(0..life.all)),
        };
        let told = match world.frozen(after, &mut rng).await? {
            Some(frozen) => Some(world.outlive(frozen, fails).await?),
            None => None,
        };
        world.double.stop().await;
        if let Some(told) = told {
            return Ok(told);
        }
    }
    Ok("over blobs, it always ended before".into())
}

impl World {
    async fn new(name: &str, seed: u64, fails: bool) -> Result<Self> {
        let azurite = Azurite::shared().await?;
        let container = azurite.account()?.storage().container("data");
        container.create().await?;
        let buckets = raw(seed, CONVERSATIONS)?;
        for bucket in &buckets {
            let path = format!("base/raw/{}", bucket.raw_path());
            container.put(&path, bucket.content.clone()).await?;
        }
        let mut config = service(seed)?;
        if fails {
            fail_some(&mut config, &buckets);
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder)?;
        let line = FaultyLine::start(azurite.blob_endpoint()).await?;
        let url = container.url("base")?.to_string();
        Ok(Self {
            url: url.replace(azurite.blob_endpoint(), &line.endpoint()),
            double: Double::start(config).await?,
            container,
            line,
            buckets,
            folder,
        })
    }

    fn command(&self) -> std::process::Command {
        let mut command = label(&format!("{}/raw", self.url), &self.url, &self.double);
        // What fails always is to be given up soon.
        command
            .env("SOFTLABEL_ATTEMPTS", "4")
            .env("SOFTLABEL_FIRST_BACKOFF", "20ms");
        command
    }

    fn stderr(&self, who: &str) -> PathBuf {
        self.folder.join(who)
    }

    /// A process that stands still from a moment `after` on; `None` where it ended before.
    async fn frozen(&self, after: Instant, rng: &mut StdRng) -> Result<Option<Frozen>> {
        let mut command = heard(self.command(), &self.stderr("frozen"))?;
        let mut process = Process(command.spawn()?);
        let mut staged = Staged::default();
        let (mut seen, mut publishing) = (0, None);
        loop {
            for passed in self.line.log_since(seen) {
                seen += 1;
                if publishing.is_none() && staged.have_all(&passed) {
                    publishing = Some(seen);
                }
            }
            let come = match (after, publishing) {
                (Instant::Requests(requests), _) => seen >= requests,
                (Instant::Publishing(requests), Some(since)) => seen >= since + requests,
                (Instant::Publishing(_), None) => false,
            };
            if come {
                break;
            }
            if process.0.try_wait()?.is_some() {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let later = rng.random_range(0..5000);
        tokio::time::sleep(Duration::from_micros(later)).await;
        process.signal("-STOP")?;
        if process.0.try_wait()?.is_some() {
            return Ok(None);
        }
        // What it sent before has taken effect by then.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let holder = format!("process {} ", process.id());
        let mut held = false;
        for lock in ["..softlabel-lock", ".softlabel/lock"] {
            let lock = self.container.get(&format!("{LABELED}/{lock}")).await?;
            held |= lock.is_some_and(|lock| lock.content.starts_with(holder.as_bytes()));
        }
        Ok(Some(Frozen {
            process,
            after,
            held,
            done: self.is_done().await?,
        }))
    }

    /// Whether the metadata say that all is published.
    async fn is_done(&self) -> Result<bool> {
        let metadata = format!("{LABELED}/labeling_metadata.json");
        let Some(metadata) = self.container.get(&metadata).await? else {
            return Ok(false);
        };
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.content)?;
        Ok(metadata.get("completed").is_some_and(|at| !at.is_null()))
    }

    /// Lets another process finish the work of one that is frozen, and then this one go on.
    async fn outlive(&self, frozen: Frozen, fails: bool) -> Result<String> {
        let second = self.stderr("second");
        let (code, said) = run(self.command(), &second).await?;
        let expected = if fails { PARTIAL } else { 0 };
        ensure!(
            code == Some(expected),
            "the second ended with {code:?}: {said}"
        );
        if fails {
            self.double
                .update(|config| config.faults.always_fail.clear())?;
            let mut again = self.command();
            again.args(["--only", "failed"]);
            let (code, said) = run(again, &second).await?;
            ensure!(code == Some(0), "--only failed ended with {code:?}: {said}");
        }
        let before = self.everything().await?;
        for bucket in &self.buckets {
            let path = format!("{LABELED}/{}", bucket.labeled_path());
            let labeled = before.get(&path).context("a bucket is not published")?;
            bucket.check(&labeled.content, Failures::None)?;
        }

        let Frozen {
            mut process,
            after,
            held,
            done,
        } = frozen;
        process.signal("-CONT")?;
        let (code, said) = process.end(END, &self.stderr("frozen")).await?;
        let told = format!("over blobs, after {after:?}: exit {code:?}");
        let case = format!("{told}, held {held}, done {done}: {said}");
        ensure!(
            code != Some(0) || !held || done,
            "what it lost was no failure: {case}"
        );
        ensure!(
            !held || code != Some(1) || said.contains("another process"),
            "it is not told why it ended: {case}"
        );
        let now = self.everything().await?;
        self.compare(&before, &now, held).context(case)?;

        // All is there, and what the frozen one left is in nobody's way.
        let calls = self.double.stats().requests;
        let (code, said) = run(self.command(), &second).await?;
        ensure!(code == Some(0), "the third ended with {code:?}: {said}");
        ensure!(
            self.double.stats().requests == calls,
            "something was asked again"
        );
        let more = now
            .keys()
            .filter(|path| !before.contains_key(*path))
            .count();
        Ok(match (held, done) {
            (false, _) => format!("{told}; it held no lock"),
            (_, true) => format!("{told}; its work was done"),
            _ => format!("{told}; nothing changed, {more} files of no use are left"),
        })
    }

    async fn everything(&self) -> Result<BTreeMap<String, Blob>> {
        let mut blobs = BTreeMap::new();
        for item in self.container.list("").await? {
            let blob = self.container.get(&item.name).await?;
            blobs.extend(blob.map(|blob| (item.name, blob)));
        }
        Ok(blobs)
    }

    /// What was published is as it was; and what was written down, if the process had lost its lock.
    fn compare(
        &self,
        before: &BTreeMap<String, Blob>,
        now: &BTreeMap<String, Blob>,
        held: bool,
    ) -> Result<()> {
        for (path, blob) in before {
            let work = path.contains("/.softlabel/");
            // A ledger takes a line twice.
            if work && (!held || path.ends_with("/ledger.jsonl")) {
                continue;
            }
            ensure!(now.get(path) == Some(blob), "{path} changed");
        }
        let published = |blobs: &BTreeMap<String, Blob>| {
            let paths = blobs.keys().filter(|path| !path.contains("/.softlabel/"));
            paths.cloned().collect::<Vec<_>>()
        };
        let (before, now) = (published(before), published(now));
        ensure!(before == now, "{before:?} were published, and now {now:?}");
        Ok(())
    }
}

/// Lets some turns fail whatever is tried.
fn fail_some(config: &mut Config, buckets: &[Bucket]) {
    let messages = buckets.iter().flat_map(|bucket| &bucket.messages);
    let words = messages.filter(|message| message.len() > 20 && message.is_ascii());
    let failing = words.step_by(5).take(FAILING).map(|message| AlwaysFail {
        contains: message.chars().take(30).collect(),
        fault: Fault::Status(503),
        code: None,
    });
    config.faults.always_fail.extend(failing);
}
