//! One bad day, from its seed.

use crate::bucket::Bucket;
use crate::calls::UNFLUSHED;
use crate::check::{self, GivenUp};
use crate::refusal::Refusal;
use crate::tally::Tally;
use anyhow::{Context, Result};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, Faults, Latency, Loss};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::event_grid;
use softlabel_doubles::faulty_line::{Fault, FaultyLine, When};
use softlabel_doubles::functions_host::{Chaos, Host};
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use softlabel_doubles::until;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What goes wrong on a day, in an order that follows from the seed.
const EVENTS: [Event; 12] = [
    Event::Kill,
    Event::Kill,
    Event::Vanish,
    Event::Terminate,
    Event::KillAtAPoint,
    Event::KillAtAPoint,
    Event::LoseAnswers,
    Event::Unavailable,
    Event::Replace,
    Event::Relabel,
    Event::Relabel,
    Event::Cancel,
];

/// Milliseconds between two of them. A kill excuses some two seconds of calls, so most of a day lies
/// beyond.
const PAUSE: Range<u64> = 500..2000;

/// How long labelling may take to get under way.
const SOON: Duration = Duration::from_secs(20);

/// More than a call takes.
const LONGEST_CALL: Duration = Duration::from_secs(1);

/// How long is waited for a point to be reached.
const REACHED_IN: Duration = Duration::from_secs(5);

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

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A worker is killed.
    Kill,
    /// An instance is gone, and another comes.
    Vanish,
    /// A worker is asked to end.
    Terminate,
    /// All workers are killed at a point of their work.
    KillAtAPoint,
    /// Storage does something and does not tell.
    LoseAnswers,
    /// Storage refuses some requests.
    Unavailable,
    /// A bucket file is written anew.
    Replace,
    /// Everything is to be labelled again.
    Relabel,
    /// A run is cancelled.
    Cancel,
    /// Storage is down for a while.
    Outage,
}

/// The cloud and what is known of it.
pub(crate) struct Day {
    rng: StdRng,
    pub(crate) cloud: LocalCloud,
    line: FaultyLine,
    pub(crate) buckets: Vec<Bucket>,
    /// What may have cost answers.
    losses: Vec<Loss>,
    /// When instances vanished.
    vanished: Vec<Timestamp>,
    /// The runs that a person asked to be cancelled.
    pub(crate) cancelled: BTreeSet<String>,
    pub(crate) given_up: GivenUp,
    pub(crate) tally: Tally,
}

/// What a seed has beside what all have.
#[derive(Debug, Clone, Copy)]
struct Special {
    /// Storage is down for a while.
    outage: bool,
    /// The service refuses everything for a while.
    refusal: Option<Refusal>,
}

impl Special {
    /// Four seeds in a row have everything.
    fn of(seed: u64) -> Self {
        Self {
            outage: seed % 4 == 1,
            refusal: match seed % 4 {
                2 => Some(Refusal::Unavailable),
                3 => Some(Refusal::UnknownKeys),
                _ => None,
            },
        }
    }

    /// How often a run may stand still before it is given up. A killed execution's lease outlasts some
    /// tries, as they come so quickly here; few of them only where runs are to be given up.
    fn tries(self) -> &'static str {
        match self.refusal {
            Some(_) => "5",
            None => "12",
        }
    }
}

/// Lives through the day of a seed and checks what it leaves.
pub(crate) async fn live(seed: u64, echo: bool) -> Result<Tally> {
    let mut rng = StdRng::seed_from_u64(seed);
    let special = Special::of(seed);
    let azurite = Azurite::shared().await?;
    let account = azurite.account()?;
    let line = FaultyLine::start(azurite.blob_endpoint()).await?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let options = Options {
        service: service(seed)?,
        blob_endpoint: Some(line.endpoint()),
        instances: 2,
        // As on the platform: nothing waits for it.
        message_lease: Duration::from_secs(600),
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
    // So many that calls in a row fail which are more than chance.
    .setting("SOFTLABEL_CONCURRENCY", "12")
    .setting("SOFTLABEL_ATTEMPTS", "20")
    .setting("SOFTLABEL_CALL_TIMEOUT", "5s")
    .setting("SOFTLABEL_STALL_AFTER", "2s")
    .setting("SOFTLABEL_DEAD_AFTER", "3s")
    .setting("SOFTLABEL_CHUNKS_OUT", "6")
    .setting("SOFTLABEL_TRIES", special.tries())
    .setting("SOFTLABEL_OUTAGE_AFTER", "100ms")
    .setting("SOFTLABEL_OUTAGE_PROBE", "200ms")
    .setting("SOFTLABEL_OUTAGE_PATIENCE", "500ms");
    let cloud = LocalCloud::start(account, options).await?;
    let buckets = ["train/short", "test/long"];
    let buckets = buckets.map(|name| Bucket::new(name, rng.random()));
    let mut day = Day {
        rng,
        cloud,
        line,
        buckets: buckets.into(),
        losses: Vec::new(),
        vanished: Vec::new(),
        cancelled: BTreeSet::new(),
        given_up: GivenUp::new(),
        tally: Tally::default(),
    };
    for bucket in 0..day.buckets.len() {
        day.upload(bucket, true).await?;
    }
    let marker = json!({"actual_counts": {}}).to_string();
    let path = day.cloud.path("v4/metadata.json");
    day.cloud.data().put(&path, marker).await?;
    let mut events = EVENTS.to_vec();
    events.extend(special.outage.then_some(Event::Outage));
    events.shuffle(&mut day.rng);
    if special.refusal.is_some() {
        // The rest of that day is long.
        events.truncate(EVENTS.len() * 2 / 3);
    }
    for event in events {
        let pause = day.rng.random_range(PAUSE);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if echo {
            println!("{:?}: {event:?}", day.cloud.service().now());
        }
        day.happen(event).await?;
    }
    day.line.clear();
    day.settle().await?;
    if let Some(refusal) = special.refusal {
        day.refuse(refusal).await?;
    }
    let (losses, given_up) = (&day.losses, &day.given_up);
    check::all(&day.cloud, &day.buckets, losses, given_up, &mut day.tally).await?;
    day.tally.sent_again = day.sent_again();
    day.cloud.stop().await;
    Ok(day.tally)
}

/// How long the service takes.
pub(crate) fn latency() -> Latency {
    Latency::LogNormal {
        median_ms: 120.0,
        sigma: 0.5,
    }
}

/// A service that fails now and then.
fn service(seed: u64) -> Result<Config> {
    let rates = r#"{"rates": {"500": 0.02, "503": 0.02, "reset": 0.02}}"#;
    Ok(Config {
        seed,
        keep_bodies: true,
        latency: latency(),
        faults: serde_json::from_str::<Faults>(rates)?,
        ..Config::default()
    })
}

impl Day {
    /// Uploads the next version of a bucket file.
    async fn upload(&mut self, bucket: usize, marked: bool) -> Result<()> {
        let bucket = self
            .buckets
            .get_mut(bucket)
            .context("there is no such bucket")?;
        let content = bucket.next_version(marked)?;
        let path = self.cloud.path(&format!("v4/{}", bucket.file()));
        let etag = self.cloud.data().put(&path, content).await?;
        bucket.uploaded(&etag);
        Ok(())
    }

    /// Does something to an instance after which it may not have answers any more.
    async fn lose(&mut self, host: &Host, kill: impl AsyncFnOnce(&Host)) {
        let service = self.cloud.service();
        let began = service.now();
        kill(host).await;
        self.losses.push(Loss {
            caller: Some(self.cloud.caller(host)),
            began,
            ended: service.now(),
        });
    }

    /// One of the instances, by its place.
    fn instance(&mut self) -> Result<(usize, Arc<Host>)> {
        let place = self.rng.random_range(0..self.cloud.hosts().len());
        let host = self.cloud.hosts().get(place).cloned();
        Ok((place, host.context("there is no instance")?))
    }

    async fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Kill => {
                let (_, host) = self.instance()?;
                self.lose(&host, Host::kill_worker).await;
                self.tally.count("worker killed");
            }
            Event::Vanish => {
                let (place, host) = self.instance()?;
                self.vanished.push(Timestamp::now());
                self.lose(&host, Host::crash).await;
                self.tally.count("instance vanished");
                self.cloud.replace_instance(place).await?;
            }
            Event::Terminate => {
                let (_, host) = self.instance()?;
                host.terminate_worker().await;
                self.tally.count("worker asked to end");
            }
            Event::KillAtAPoint => self.kill_at_a_point().await?,
            Event::LoseAnswers => {
                let comp = ["comp=appendblock", "comp=lease", "comp=blocklist"];
                let comp = comp.choose(&mut self.rng).copied().unwrap_or_default();
                let when = When::new(Method::PUT, "").query(comp);
                self.line.plan(Fault::LoseAnswer, when);
                self.tally.count("answer of storage lost");
            }
            Event::Unavailable => {
                let times = self.rng.random_range(1..3);
                let when = When::new(Method::PUT, ".json").times(times);
                self.line.plan(Fault::LoseAnswer, when);
                let when = When::get(".jsonl").times(times);
                self.line.plan(Fault::Status(503), when);
                self.tally.count("storage unavailable");
            }
            Event::Replace => {
                let bucket = self.rng.random_range(0..self.buckets.len());
                self.upload(bucket, false).await?;
                self.tally.count("RAW replaced");
            }
            Event::Relabel => self.relabel().await,
            Event::Cancel => self.cancel().await,
            Event::Outage => self.storage_outage().await?,
        }
        Ok(())
    }

    /// The longest time after which what a vanished instance held was sent again, by what the reconciler said.
    fn sent_again(&self) -> Option<Duration> {
        let said = self.cloud.said();
        let found = said.iter().filter(|line| line.contains("holder_died"));
        let found = found.filter_map(|line| {
            let line = serde_json::from_str::<Value>(line).ok()?;
            line.get("timestamp")?.as_str()?.parse::<Timestamp>().ok()
        });
        let found = found.collect::<Vec<_>>();
        let after = |vanished: &Timestamp| {
            let later = found.iter().filter(|found| *found > vanished);
            let after = later.min()?.duration_since(*vanished);
            Duration::try_from(after).ok()
        };
        self.vanished.iter().filter_map(after).max()
    }

    /// Kills every worker at the moment in which one of them is about to do something in particular.
    async fn kill_at_a_point(&mut self) -> Result<()> {
        let point = POINTS.choose(&mut self.rng);
        let &(name, path, query) = point.context("there is no point")?;
        let after = self.rng.random_range(0..2);
        let when = When::new(Method::PUT, path).after(after);
        let when = match query {
            Some(query) => when.query(query),
            None => when,
        };
        let held = self.line.hold(when);
        // So that there is something to be done. Asking may well be held, too.
        let place = self.rng.random_range(0..self.buckets.len());
        self.upload(place, false).await?;
        let body = self.asking_for(place)?;
        let asks = async {
            let _ = self.cloud.call("POST", "relabel", Some(&body)).await;
            std::future::pending::<()>().await;
        };
        let arrived = async {
            tokio::select! {
                () = held.arrived() => {}
                () = asks => {}
            }
        };
        if tokio::time::timeout(REACHED_IN, arrived).await.is_ok() {
            for host in self.cloud.hosts().to_vec() {
                self.lose(&host, Host::kill_worker).await;
            }
            self.tally.count(&format!("killed when {name}"));
        } else {
            self.tally.count(&format!("not seen in time that {name}"));
        }
        drop(held);
        self.line.clear();
        Ok(())
    }

    /// The request to label a bucket, whatever is under way.
    pub(crate) fn asking_for(&self, place: usize) -> Result<Value> {
        let bucket = self.buckets.get(place).context("there is no such bucket")?;
        let (split, name) = bucket.parts();
        Ok(json!({"dataset": "v4", "splits": [split], "buckets": [name], "force": true}))
    }

    /// Uploads new versions of all files and sees to it that they are labelled, whatever becomes of
    /// their events. What was asked before would be remembered.
    pub(crate) async fn label_anew(&mut self) -> Result<()> {
        for place in 0..self.buckets.len() {
            self.upload(place, false).await?;
            self.ask(&self.asking_for(place)?).await?;
        }
        Ok(())
    }

    async fn relabel(&mut self) {
        let (force, rationales) = (self.rng.random_bool(0.5), self.rng.random_bool(0.7));
        let body = json!({"dataset": "v4", "force": force, "rationales": rationales});
        // An instance that was just killed answers nothing, which is no matter.
        let _ = self.cloud.call("POST", "relabel", Some(&body)).await;
        self.tally.count("relabel asked");
    }

    async fn cancel(&mut self) {
        if let Ok(runs) = self.cloud.runs().await
            && let Some(run) = runs.choose(&mut self.rng)
            && let Some(run) = run.get("run").and_then(Value::as_str)
        {
            self.cancelled.insert(run.to_owned());
            let path = format!("runs/{run}/cancel");
            let _ = self.cloud.call("POST", &path, None).await;
            self.tally.count("cancel asked");
        }
    }

    /// While something is labelled every request of the app to blobs fails for some time. A chunk asks
    /// until its first result that cannot be appended is two seconds old; all that it asked since may be
    /// lost.
    async fn storage_outage(&mut self) -> Result<()> {
        let before = self.cloud.service().stats().requests;
        self.label_anew().await?;
        let service = self.cloud.service();
        let labels = async || Ok(service.stats().requests > before + 40);
        // After kills, shares of the quota and leases run out first.
        until(SOON * 3, "labelling is under way", labels).await?;
        self.line.down(Fault::Status(503));
        let began = service.now();
        self.losses.push(Loss {
            caller: None,
            began,
            ended: began + LONGEST_CALL + UNFLUSHED,
        });
        let length = self.rng.random_range(5_000..20_000);
        tokio::time::sleep(Duration::from_millis(length)).await;
        self.line.up();
        self.tally.count("outage of storage");
        Ok(())
    }
}
