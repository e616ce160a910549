//! One bad day, from its seed.

use crate::check::{self, Bucket};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, Faults, Latency};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::event_grid;
use softlabel_doubles::faulty_line::{Fault, FaultyLine, When};
use softlabel_doubles::functions_host::Chaos;
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use softlabel_doubles::until;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long things go wrong. After that only what is on its way does.
const DAY: Duration = Duration::from_secs(20);

/// Then everything must come to its end.
const EVENING: Duration = Duration::from_secs(300);

/// The points at which the app is killed: about to send this.
const POINTS: [(&str, &str, Option<&str>); 12] = [
    ("a run's record is written", ".json", None),
    ("the file is planned", "/manifest.json", None),
    ("a run becomes current", "/train/short.json", None),
    ("request parameters are pinned", "v4/settings.json", None),
    ("a part is begun", ".jsonl", None),
    ("a part is leased", ".jsonl", Some("comp=lease")),
    ("results are appended", ".jsonl", Some("comp=appendblock")),
    (
        "a chunk is entered as finished",
        "ledger.jsonl",
        Some("comp=appendblock"),
    ),
    ("a labelled file is staged", ".jsonl", Some("comp=block&")),
    (
        "a labelled file is committed",
        ".jsonl",
        Some("comp=blocklist"),
    ),
    ("the metadata is written", "labeling_metadata.json", None),
    ("money is taken", "budget.json", None),
];

/// What happened on a day, or on several.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: usize,
    pub(crate) repeated: usize,
    pub(crate) turns: usize,
    pub(crate) states: BTreeMap<String, usize>,
    pub(crate) happened: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, what: &str) {
        *self.happened.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.repeated += other.repeated;
        self.turns += other.turns;
        for (what, times) in &other.happened {
            *self.happened.entry(what.clone()).or_default() += times;
        }
        for (state, runs) in &other.states {
            *self.states.entry(state.clone()).or_default() += runs;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<String, usize>| {
            let counts = counts
                .iter()
                .map(|(what, times)| format!("{times} × {what}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        write!(
            f,
            "{} turns with one line each; {} calls answered, {} of them again; runs: {}; what went \
             wrong: {}",
            self.turns,
            self.calls,
            self.repeated,
            list(&self.states),
            list(&self.happened)
        )
    }
}

/// The cloud and what is known of it.
struct Day {
    rng: StdRng,
    cloud: LocalCloud,
    line: FaultyLine,
    buckets: Vec<Bucket>,
    /// When something was killed, since the service's start.
    kills: Vec<Duration>,
    tally: Tally,
}

/// Lives through the day of a seed and checks what it leaves.
pub(crate) async fn live(seed: u64, echo: bool) -> Result<Tally> {
    let mut rng = StdRng::seed_from_u64(seed);
    let azurite = Azurite::shared().await?;
    let account = azurite.account()?;
    let line = FaultyLine::start(azurite.blob_endpoint()).await?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let options = Options {
        service: service(seed)?,
        blob_endpoint: Some(line.endpoint()),
        instances: 2,
        chaos: Chaos {
            seed,
            twice_at_once: 0.1,
            again_later: 0.1,
            late: 0.1,
            longest_delay: Duration::from_secs(2),
            lost: 0.05,
            reordered: 0.3,
            lost_output: 0.05,
            lost_outputs: 0.03,
            lost_answer: 0.05,
        },
        event_faults: event_grid::Faults {
            seed,
            twice: 0.3,
            late: 0.3,
            longest_delay: Duration::from_secs(2),
            reordered: 0.3,
            lost: 0.1,
        },
        echo,
        ..Options::new(repository, env!("CARGO_BIN_EXE_softlabel"))
    }
    .setting("SOFTLABEL_CHUNK_TURNS", "24")
    .setting("SOFTLABEL_CONCURRENCY", "8")
    .setting("SOFTLABEL_ATTEMPTS", "10")
    .setting("SOFTLABEL_STALL_AFTER", "4s")
    .setting("SOFTLABEL_TRIES", "60");
    let cloud = LocalCloud::start(account, options).await?;
    let buckets = ["train/short", "test/long"];
    let buckets = buckets.map(|name| Bucket::new(name, rng.random()));
    let mut day = Day {
        rng,
        cloud,
        line,
        buckets: buckets.into(),
        kills: Vec::new(),
        tally: Tally::default(),
    };
    for bucket in 0..day.buckets.len() {
        day.upload(bucket).await?;
    }
    let marker = json!({"actual_counts": {}}).to_string();
    let path = day.cloud.path("v4/metadata.json");
    day.cloud.data().put(&path, marker).await?;
    let evening = Instant::now() + DAY;
    while Instant::now() < evening {
        let pause = day.rng.random_range(100..2500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        day.something().await?;
    }
    day.line.clear();
    day.settle().await?;
    let excuse = day.kills.clone();
    check::all(&day.cloud, &day.buckets, &excuse, &mut day.tally).await?;
    day.cloud.stop().await;
    Ok(day.tally)
}

/// A service that fails now and then.
fn service(seed: u64) -> Result<Config> {
    let rates = r#"{"rates": {"500": 0.02, "503": 0.02, "reset": 0.02}}"#;
    Ok(Config {
        seed,
        keep_bodies: true,
        latency: Latency::LogNormal {
            median_ms: 80.0,
            sigma: 0.5,
        },
        faults: serde_json::from_str::<Faults>(rates)?,
        ..Config::default()
    })
}

impl Day {
    /// Uploads the next version of a bucket file.
    async fn upload(&mut self, bucket: usize) -> Result<()> {
        let bucket = self
            .buckets
            .get_mut(bucket)
            .context("there is no such bucket")?;
        let content = bucket.next_version()?;
        let path = self.cloud.path(&format!("v4/{}.json", bucket.name));
        let etag = self.cloud.data().put(&path, content).await?;
        bucket.uploaded(etag);
        Ok(())
    }

    fn killed(&mut self, what: &str) {
        self.kills.push(self.cloud.started().elapsed());
        self.tally.count(what);
    }

    /// One thing goes wrong.
    async fn something(&mut self) -> Result<()> {
        let hosts = self.cloud.hosts().len();
        match self.rng.random_range(0..12) {
            0..=2 => {
                let host = self.cloud.hosts().get(self.rng.random_range(0..hosts));
                let host = host.cloned().context("there is no instance")?;
                host.kill_worker().await;
                self.killed("worker killed");
            }
            3 => {
                let place = self.rng.random_range(0..hosts);
                let host = self.cloud.hosts().get(place).cloned();
                host.context("there is no instance")?.crash().await;
                self.killed("instance vanished");
                self.cloud.replace_instance(place).await?;
            }
            4 => {
                let host = self.cloud.hosts().get(self.rng.random_range(0..hosts));
                let host = host.cloned().context("there is no instance")?;
                host.terminate_worker().await;
                self.tally.count("worker asked to end");
            }
            5..=7 => self.kill_at_a_point().await,
            8 => {
                let comp = ["comp=appendblock", "comp=lease", "comp=blocklist"];
                let comp = comp.choose(&mut self.rng).copied().unwrap_or_default();
                let when = When::new(Method::PUT, "").query(comp);
                self.line.plan(Fault::LoseAnswer, when);
                self.tally.count("answer of storage lost");
            }
            9 => {
                let times = self.rng.random_range(1..3);
                let when = When::new(Method::PUT, ".json").times(times);
                self.line.plan(Fault::LoseAnswer, when);
                let when = When::get(".jsonl").times(times);
                self.line.plan(Fault::Status(503), when);
                self.tally.count("storage unavailable");
            }
            10 => {
                let bucket = self.rng.random_range(0..self.buckets.len());
                self.upload(bucket).await?;
                self.tally.count("RAW replaced");
            }
            _ => self.relabel_or_cancel().await,
        }
        Ok(())
    }

    /// Kills every worker at the moment in which one of them is about to do something in particular.
    async fn kill_at_a_point(&mut self) {
        let Some(&(name, path, query)) = POINTS.choose(&mut self.rng) else {
            return;
        };
        let after = self.rng.random_range(0..3);
        let when = When::new(Method::PUT, path).after(after);
        let when = match query {
            Some(query) => when.query(query),
            None => when,
        };
        let held = self.line.hold(when);
        let arrived = tokio::time::timeout(Duration::from_secs(4), held.arrived()).await;
        if arrived.is_ok() {
            for host in self.cloud.hosts().to_vec() {
                host.kill_worker().await;
            }
            self.killed(&format!("killed when {name}"));
        }
        drop(held);
        self.line.clear();
    }

    async fn relabel_or_cancel(&mut self) {
        let force = self.rng.random_bool(0.5);
        let body =
            json!({"dataset": "v4", "force": force, "rationales": self.rng.random_bool(0.5)});
        // An instance that was just killed answers nothing, which is no matter.
        let _ = self.cloud.call("POST", "relabel", Some(&body)).await;
        self.tally.count("relabel asked");
        if self.rng.random_bool(0.3)
            && let Ok(runs) = self.cloud.runs().await
            && let Some(run) = runs.choose(&mut self.rng)
            && let Some(run) = run.get("run").and_then(Value::as_str)
        {
            let _ = self
                .cloud
                .call("POST", &format!("runs/{run}/cancel"), None)
                .await;
            self.tally.count("cancel asked");
        }
    }

    /// Waits until everything is at its end. What no event, no marker and no reconciler can know of, an
    /// upload whose word was lost in every way, or a cancelled run, a person asks for.
    async fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + EVENING;
        loop {
            let runs = self.cloud.until_all_ended(0, EVENING).await?;
            let labeled = check::labeled(&self.cloud, &self.buckets).await?;
            let missing = labeled.iter().filter(|(_, labeled)| !labeled);
            let missing = missing
                .map(|(bucket, _)| bucket.clone())
                .collect::<Vec<_>>();
            let open = async || {
                let runs = self.cloud.runs().await?;
                Ok(runs
                    .iter()
                    .any(|run| run.get("links").is_some_and(|l| l.get("cancel").is_some())))
            };
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{missing:?} are not labelled as they are now; the runs are {}",
                json!(runs)
            );
            // The reconciler may still take up a version whose event was lost.
            if until(Duration::from_secs(3), "a run is open", open)
                .await
                .is_ok()
            {
                continue;
            }
            for bucket in missing {
                let (split, name) = bucket.split_once('/').unwrap_or_default();
                let body = json!({
                    "dataset": "v4", "splits": [split], "buckets": [name], "force": true,
                });
                let _ = self.cloud.call("POST", "relabel", Some(&body)).await;
                self.tally.count("bucket asked for by a person");
            }
        }
    }
}
