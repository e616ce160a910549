//! One chunk over a local RAW, a fickle part and a double of Azure OpenAI.

use super::*;
use crate::clock::Clock;
use crate::config::{Cli, Subcommands};
use crate::dataset::layout::BucketName;
use crate::labeling::cut::TokenCounter;
use crate::labeling::label::HardLabel;
use crate::labeling::prompt::{self, Prompt};
use crate::labeling::strategy::{Limits, UserMessageOnly};
use crate::labeling::task::Task;
use crate::run::entry::Part;
use crate::run::ledger::FinishedChunk;
use crate::run::manifest::ChunkLimits;
use crate::run::plan::plan;
use crate::run::settings::LabelSettings;
use crate::store::RawFile;
use crate::store::fickle::{Fickle, Mood};
use crate::teacher::Teacher;
use crate::teacher::credential::Surroundings;
use crate::teacher::endpoint::{Api, Endpoint};
use crate::teacher::pace::Pace;
use crate::teacher::pacing::{Concurrency, Quota};
use crate::teacher::profile::Profile;
use crate::teacher::transport::Transport;
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use softlabel_doubles::azure_openai::{Config, Double, Latency};
use std::fs;
use tempfile::TempDir;
use tokio::sync::Semaphore;

const FILE: &str = "train/short.json";

/// Calls in flight.
const SLOTS: usize = 2;

/// A planned file of one chunk, and who labels it.
struct World {
    home: TempDir,
    service: Double,
    labeler: Arc<Labeler>,
    raw: RawFolder,
    work: OwnFolder,
    manifest: Manifest,
    part: Fickle,
}

impl World {
    /// One conversation of `turns` turns, no two alike.
    async fn new(latency_ms: f64, turns: usize) -> Self {
        let config = Config {
            latency: Latency::Fixed { ms: latency_ms },
            ..Config::default()
        };
        let service = Double::start(config).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("raw").join(FILE);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let turn = |i| json!({"messageId": format!("m{i}"), "userMessage": format!("message {i}")});
        let turns = (0..turns).map(turn).collect::<Vec<_>>();
        let content = json!([{"conversationId": "c", "turnsArray": turns}]);
        fs::write(path, content.to_string()).unwrap();
        let raw = RawFolder::local(home.path().join("raw"));
        let work = OwnFolder::local(home.path().join("work"), &home.path().join("raw")).unwrap();
        let name = BucketName {
            split: Some("train".into()),
            bucket: Some("short".into()),
        };
        let file = RawFile {
            name,
            path: FILE.into(),
        };
        let limits = ChunkLimits {
            turns: 1000,
            ..ChunkLimits::default()
        };
        let progress = Arc::default();
        let manifest = plan(&raw, &file, None, limits, &progress);
        Self {
            manifest: manifest.await.unwrap(),
            labeler: Arc::new(labeler(&service).await),
            home,
            service,
            raw,
            work,
            part: Fickle::default(),
        }
    }

    fn job(&self) -> ChunkJob {
        ChunkJob {
            manifest: Arc::new(self.manifest.clone()),
            number: 0,
            paths: BucketPaths::of_run("run"),
            bases: Vec::new(),
            round: 0,
            flush_every: Duration::from_millis(100),
            stop: CancellationToken::new(),
        }
    }

    /// Labels what the part does not hold yet.
    async fn run(&self) -> Result<ChunkEnd, RunError> {
        self.run_job(&self.job()).await
    }

    async fn run_job(&self, job: &ChunkJob) -> Result<ChunkEnd, RunError> {
        let window = Arc::new(Semaphore::new(1000)).acquire_many_owned(1000);
        let part = (self.part.appender(), self.part.text().into_bytes());
        let window = window.await.unwrap();
        let run = job.run(&self.labeler, &self.raw, &self.work, part, window, None);
        run.await.map(|(end, _)| end)
    }

    fn asked(&self) -> usize {
        self.service.log().len()
    }

    /// Waits until nothing is asked for half a second, and gives what was asked until then.
    async fn quiet(&self) -> usize {
        loop {
            let asked = self.asked();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if self.asked() == asked {
                return asked;
            }
        }
    }
}

async fn labeler(service: &Double) -> Labeler {
    let endpoint = service.endpoint();
    let usual = [
        "softlabel",
        "label",
        "--input=in",
        "--output=out",
        "--api-key=k",
    ];
    let Subcommands::Label(args) = Cli::parse_from(usual).command else {
        panic!("label was meant");
    };
    let args = &args.service;
    let credential = args.credential(Surroundings::default()).obtain().await;
    let endpoint = Endpoint::new(&endpoint, args.deployment(), None).unwrap();
    let transport = Transport::new(
        endpoint,
        credential.unwrap(),
        args.timeouts(),
        SLOTS,
        Clock::system(),
    );
    let probe = Prompt {
        system: "Answer 1.".into(),
        user: "1?".into(),
    };
    let teacher = Teacher::new(
        transport.unwrap(),
        Profile::of_family(args.family()),
        probe,
        args.patience(),
        Arc::new(Semaphore::new(SLOTS)),
        Arc::new(Pace::new(
            Quota::new(1_000_000_000, 10_000_000),
            Concurrency::Fixed(1000),
        )),
        StdRng::seed_from_u64(1),
    );
    let settings = LabelSettings {
        api: Api::Azure,
        base_url: None,
        model: args.model.clone(),
        model_family: args.family(),
        deployment: args.deployment().to_owned(),
        encoding: args.encoding(),
        strategy: "user_message_only".into(),
        strategy_version: 1,
        prompt_version: prompt::PROMPT_VERSION.into(),
        task: Task::built_in(),
        with_rationales: true,
        hard_label: HardLabel::default(),
        limits: Limits::default(),
    };
    let teacher = Arc::new(teacher);
    let tariff = args.tariff(None);
    let progress = Arc::default();
    Labeler::new(teacher, &settings, &UserMessageOnly, true, progress, tariff)
}

#[tokio::test]
async fn a_chunk_is_labelled_and_no_turn_twice() {
    let world = World::new(0.0, 10).await;
    assert_eq!(world.run().await.unwrap(), ChunkEnd::Finished);
    assert_eq!(world.asked(), 20);
    assert_eq!(world.part.text().lines().count(), 20);
    assert_eq!(world.run().await.unwrap(), ChunkEnd::Finished);
    assert_eq!(world.asked(), 20);
}

#[tokio::test]
async fn no_call_is_begun_while_results_cannot_be_stored() {
    let world = World::new(50.0, 100).await;
    world.part.set(Mood::Slow);
    let slow = async {
        let asked = world.quiet().await;
        world.part.set(Mood::Good);
        asked
    };
    let (end, asked) = tokio::join!(world.run(), slow);
    assert!(asked > 0 && asked < 200, "{asked} were asked");
    assert_eq!(end.unwrap(), ChunkEnd::Finished);
    // What was in flight was answered, what was not was asked once it could be stored.
    assert_eq!(world.asked(), 200);
    assert_eq!(world.part.text().lines().count(), 200);
}

#[tokio::test]
async fn a_chunk_whose_results_cannot_be_stored_stops_asking() {
    let world = World::new(20.0, 100).await;
    world.part.set(Mood::Bad);
    let error = world.run().await.unwrap_err();
    assert!(matches!(error, RunError::Store(_)), "{error}");
    let asked = world.asked();
    assert!(asked > 0 && asked < 200, "{asked} were asked");
    world.part.set(Mood::Good);
    world.run().await.unwrap();
    assert!(world.asked() <= 200 + asked);
}

#[tokio::test]
async fn who_waits_for_a_call_that_another_chunk_stops_asks_it() {
    let world = World::new(50.0, 4).await;
    let (one, other) = (world.job(), world.job());
    let other_part = Fickle::default();
    let window = Arc::new(Semaphore::new(8));
    let run = |job: ChunkJob, part: Fickle| {
        let (labeler, raw, work) = (
            Arc::clone(&world.labeler),
            world.raw.clone(),
            world.work.clone(),
        );
        let window = Arc::clone(&window).acquire_many_owned(4);
        tokio::spawn(async move {
            let part = (part.appender(), Vec::new());
            let window = window.await.unwrap();
            let run = job.run(&labeler, &raw, &work, part, window, None);
            run.await.map(|(end, _)| end)
        })
    };
    let stop = one.stop.clone();
    let one = run(one, world.part.clone());
    while world.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let other = run(other, other_part.clone());
    stop.cancel();
    assert_eq!(one.await.unwrap().unwrap(), ChunkEnd::Interrupted);
    assert_eq!(other.await.unwrap().unwrap(), ChunkEnd::Finished);
    assert_eq!(other_part.text().lines().count(), 8);
    assert_eq!(world.asked(), 8);
}

#[tokio::test]
async fn a_panic_while_a_chunk_is_prepared_says_nothing_of_raw() {
    let mut world = World::new(0.0, 3).await;
    let labeler = Arc::get_mut(&mut world.labeler).unwrap();
    labeler.tokens = Arc::new(Panics);
    labeler.limits.message_tokens = 1;
    let error = world.run().await.unwrap_err();
    assert!(matches!(error, RunError::BrokeOff { .. }), "{error}");
    assert!(!error.is_raw_changed());
    assert!(error.to_string().contains(FILE), "{error}");
}

#[tokio::test]
async fn a_chunk_that_is_not_as_planned_says_nothing_of_raw() {
    let mut world = World::new(0.0, 3).await;
    world.manifest.chunks[0].turns += 1;
    let error = world.run().await.unwrap_err();
    assert!(
        matches!(error, RunError::OtherThanPlanned { .. }),
        "{error}"
    );
    assert!(!error.is_raw_changed());
    let text = error.to_string();
    assert!(
        text.contains("3 turns in 1") && text.contains("4 turns in 1"),
        "{text}"
    );
    assert_eq!(world.asked(), 0);
}

#[tokio::test]
async fn raw_that_is_another_version_or_gone_is_changed() {
    let world = World::new(0.0, 3).await;
    let path = world.home.path().join("raw").join(FILE);
    let content = fs::read(&path).unwrap();
    fs::write(&path, [content.as_slice(), b"\n"].concat()).unwrap();
    assert!(world.run().await.unwrap_err().is_raw_changed());
    fs::remove_file(&path).unwrap();
    assert!(world.run().await.unwrap_err().is_raw_changed());
    assert_eq!(world.asked(), 0);
}

#[tokio::test]
async fn turns_that_break_off_are_counted_and_their_chunk_is_not_handed_on() {
    let mut turns = JoinSet::new();
    turns.spawn(async { TurnEnd::Finished });
    assert_eq!(end_of(turns).await, Ok(ChunkEnd::Finished));
    let mut turns = JoinSet::new();
    turns.spawn(async { TurnEnd::Stopped });
    turns.spawn(async { TurnEnd::Finished });
    assert_eq!(end_of(turns).await, Ok(ChunkEnd::Interrupted));
    let mut turns = JoinSet::new();
    turns.spawn(async { TurnEnd::Stopped });
    turns.spawn(async { TurnEnd::BrokeOff });
    turns.spawn(async { panic!("meant to") });
    assert_eq!(end_of(turns).await, Err(2));
}

/// What the base of a run left.
impl World {
    const BASE: &str = "base";

    /// Labels all turns, and gives the part that this makes; then everything is new.
    async fn labelled(&mut self) -> String {
        self.run().await.unwrap();
        let text = self.part.text();
        self.part = Fickle::default();
        self.service.clear();
        self.labeler = Arc::new(labeler(&self.service).await);
        text
    }

    async fn base_has(&self, part: &str) {
        let paths = BucketPaths::of_run(Self::BASE);
        let part = part.as_bytes().to_vec();
        self.work.replace(&paths.part(0), part).await.unwrap();
    }

    async fn base_is_planned(&self) {
        let path = BucketPaths::of_run(Self::BASE).manifest();
        self.work.replace(&path, b"{}".to_vec()).await.unwrap();
    }

    /// Labels what neither the part nor the base holds.
    async fn run_on_base(&self) -> Result<ChunkEnd, RunError> {
        let job = ChunkJob {
            bases: vec![BucketPaths::of_run(Self::BASE)],
            ..self.job()
        };
        self.run_job(&job).await
    }
}

#[tokio::test]
async fn what_the_base_has_is_not_asked_again_and_taken_over_once() {
    let mut world = World::new(0.0, 6).await;
    let all = world.labelled().await;
    let lines = all.split_inclusive('\n').collect::<Vec<_>>();
    let (some, more) = (lines[..4].concat(), lines[..7].concat());
    // The last line of the base is torn.
    world.base_has(&format!("{some}{{\"turn\":")).await;
    world.run_on_base().await.unwrap();
    let part = world.part.text();
    assert!(
        part.starts_with(&format!("{some}{{\"seeded\":4}}\n")),
        "{part}"
    );
    assert_eq!(world.asked(), 8);
    // The base learns of more, late.
    world.base_has(&more).await;
    world.run_on_base().await.unwrap();
    assert_eq!(world.part.text(), part);
    let read = Part::read(part.as_bytes(), 6);
    assert_eq!(read.unreadable, 0, "every line can be read");
    assert_eq!(world.asked(), 8);
}

#[tokio::test]
async fn taking_over_goes_on_where_it_was_killed() {
    let mut world = World::new(0.0, 6).await;
    let all = world.labelled().await;
    // The base had a base.
    let lines = all.split_inclusive('\n').collect::<Vec<_>>();
    let base = [&lines[..2], &["{\"seeded\":2}\n"], &lines[2..]].concat();
    world.base_has(&base.concat()).await;
    for there in 0..lines.len() {
        world.part = Fickle::default();
        let mut appender = world.part.appender();
        let there = lines[..there].concat();
        appender.append(there.as_bytes()).await.unwrap();
        world.run_on_base().await.unwrap();
        assert_eq!(world.part.text(), format!("{all}{{\"seeded\":12}}\n"));
    }
    assert_eq!(world.asked(), 0);
}

#[tokio::test]
async fn what_the_base_lost_is_not_asked_again_and_what_it_never_began_is_asked() {
    let world = World::new(0.0, 3).await;
    let removed = world.run_on_base().await.unwrap_err();
    assert!(matches!(removed, RunError::BaseGone { .. }), "{removed}");
    world.base_is_planned().await;
    let finished = FinishedChunk::of(0, &Part::read(b"", 3), Clock::system().now()).line();
    let ledger = BucketPaths::of_run(World::BASE).ledgers().next().unwrap();
    world.work.add_line(&ledger, &finished).await.unwrap();
    let lost = world.run_on_base().await.unwrap_err();
    assert!(matches!(lost, RunError::BaseGone { .. }), "{lost}");
    assert!(!lost.is_raw_changed());
    assert_eq!((world.asked(), world.part.text().as_str()), (0, ""));
    world.work.remove_file(&ledger).await.unwrap();
    world.run_on_base().await.unwrap();
    assert_eq!(world.asked(), 6);
    assert!(world.part.text().starts_with("{\"seeded\":0}\n"));
}

/// Counts no token.
struct Panics;

impl TokenCounter for Panics {
    fn count(&self, _: &str) -> usize {
        panic!("meant to")
    }

    fn head<'t>(&self, _: &'t str, _: usize) -> &'t str {
        panic!("meant to")
    }

    fn tail<'t>(&self, _: &'t str, _: usize) -> &'t str {
        panic!("meant to")
    }
}
