//! The functions over local folders and a double of Azure OpenAI, with a queue that is a list.

use super::message::{ChunkMessage, RunMessage};
use super::{App, Data};
use crate::cli::serve::app_over;
use crate::clock::Clock;
use crate::config::{Cli, Subcommands};
use crate::host::{Answer, Functions, Invocation};
use crate::run::record::{Origin, Record, State};
use crate::run::runs::Runs;
use crate::store::OwnFolder;
use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, Double};
use softlabel_doubles::dataset::{self, Options, Size};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

mod hourly;

thread_local! {
    /// How much later it is than the machine thinks, in seconds. A test has a thread of its own.
    static LATER: Cell<i64> = const { Cell::new(0) };
}

fn now() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(LATER.get())
}

const FILE: &str = "v4/train/short_3_to_5_turns.json";

/// Storage, service, app and queues.
struct World {
    home: TempDir,
    service: Double,
    app: App,
    /// Function, binding, message.
    queue: VecDeque<(&'static str, &'static str, Value)>,
}

impl World {
    async fn new(args: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let service = Double::start(Config::default()).await.unwrap();
        let data = home.path().join("data");
        let work = OwnFolder::local(home.path().join("work"), &data).unwrap();
        let endpoint = service.endpoint();
        let usual = [
            "softlabel",
            "serve",
            "--data=data",
            "--port=1",
            "--api-key=k",
            "--tpm=1000000000",
            "--rpm=10000000",
            "--chunk-turns=16",
            "--no-rationales",
            "--endpoint",
            &endpoint,
        ];
        let Subcommands::Serve(args) = Cli::parse_from(usual.iter().chain(args)).command else {
            panic!("serve was meant");
        };
        let runs = Runs::new(work, Clock::from_fn(now));
        let app = app_over(Data::local(data), runs, *args, CancellationToken::new());
        Self {
            home,
            service,
            app,
            queue: VecDeque::new(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join("data").join(path)
    }

    /// Puts a bucket file of `conversations` there and gives how many turns it has.
    fn put(&self, path: &str, seed: u64, conversations: u64) -> usize {
        let options = Options {
            seed,
            size: Size::Conversations(conversations),
            ..Options::default()
        };
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut content = Vec::new();
        let written = dataset::write(&options, &mut content).unwrap();
        fs::write(path, content).unwrap();
        usize::try_from(written.turns).unwrap()
    }

    async fn event(&mut self, path: &str) -> Answer {
        let (dataset, file) = path.split_once('/').unwrap();
        let version = self.app.raw_version(dataset, file).await.unwrap().unwrap();
        let event = json!({
            "subject": format!("/blobServices/default/containers/data/blobs/{path}"),
            "eventType": "Microsoft.Storage.BlobCreated",
            "data": {"api": "PutBlockList", "eTag": version.etag, "contentLength": version.length},
        });
        self.call("bucket-uploaded", "event", event).await
    }

    /// One invocation; what it sends goes into the queue.
    async fn call(&mut self, function: &str, binding: &str, value: Value) -> Answer {
        let body = json!({"Data": {binding: value}, "Metadata": {}}).to_string();
        let invocation = Invocation::decode(function, "i", body.as_bytes()).unwrap();
        let answer = self.app.invoke(invocation).await.unwrap();
        for (output, function, binding) in [
            ("plans", "plan-bucket", "plan"),
            ("chunks", "label-chunk", "chunk"),
            ("publishes", "publish-bucket", "publish"),
            ("abandoned", "abandon-chunk", "chunk"),
        ] {
            let messages = answer.messages(output).iter();
            self.queue
                .extend(messages.map(|message| (function, binding, message.clone())));
        }
        answer
    }

    /// Delivers one message; `false` if there is none.
    async fn step(&mut self) -> bool {
        let Some((function, binding, message)) = self.queue.pop_front() else {
            return false;
        };
        self.call(function, binding, message).await;
        true
    }

    async fn until_quiet(&mut self) {
        while self.step().await {}
    }

    async fn reconcile_later(&mut self, seconds: i64) {
        LATER.set(LATER.get() + seconds);
        self.call("reconcile", "timer", json!({})).await;
    }

    async fn http(
        &mut self,
        function: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u64, Value) {
        let mut names = path.split('/').skip(1);
        let mut params = BTreeMap::new();
        for name in ["run", "action"] {
            params.extend(names.next().map(|value| (name, value)));
        }
        let request = json!({
            "Url": format!("https://app.example/api/{path}"), "Method": method, "Query": {},
            "Params": params, "Body": body.to_string(),
        });
        let answer = self.call(function, "req", request).await;
        let (status, body) = answer.response("res").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    async fn runs(&self) -> Vec<Record> {
        let mut records = self.app.runs.all().await.unwrap();
        records.sort_by_key(|record| record.created);
        records
    }

    async fn only_run(&self) -> Record {
        let mut records = self.runs().await;
        assert_eq!(records.len(), 1);
        records.remove(0)
    }

    fn lines(&self, path: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(path)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn metadata(&self) -> Value {
        let path = self.path("LABELED_v4/labeling_metadata.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// What the runs of the dataset have taken and drawn.
    fn budget(&self) -> Value {
        let path = self.home.path().join("work/datasets/v4/budget.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// What a run is shown to have cost, in US dollars.
    async fn cost(&mut self, run: &str) -> f64 {
        let path = format!("runs/{run}");
        let (_, shown) = self.http("runs", "GET", &path, &json!("")).await;
        shown["cost_usd"].as_f64().unwrap()
    }

    /// Questions about turns, the probe's left out.
    fn asked(&self) -> usize {
        self.service.log().len() - 1
    }
}

const LABELED: &str = "LABELED_v4/train/short_3_to_5_turns.jsonl";

#[tokio::test]
async fn an_upload_is_labelled_once_however_often_it_is_told() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    for _ in 0..3 {
        world.event(FILE).await;
    }
    let twice = world.queue.clone();
    world.queue.extend(twice);
    world.until_quiet().await;
    assert_eq!(world.lines(LABELED).len(), turns);
    assert_eq!(world.asked(), turns);
    let run = world.only_run().await;
    assert_eq!(run.state, State::Complete);
    let metadata = world.metadata();
    assert_eq!(metadata["status"], "complete");
    assert_eq!(
        metadata["splits"]["train"]["short_3_to_5_turns"]["run"],
        run.run
    );
    assert_eq!(metadata["totals"]["turns"], turns);
    // Late words change nothing.
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(world.asked(), turns);
}

#[tokio::test]
async fn what_is_no_bucket_file_begins_no_run() {
    let mut world = World::new(&[]).await;
    for path in [
        "v4/metadata.json",
        "LABELED_v4/train/a.json",
        "v4/a/b/c.json",
    ] {
        world.put(path, 1, 1);
        let answer = world.event(path).await;
        assert_eq!(answer, Answer::done(), "{path}");
    }
    world.put(FILE, 1, 1);
    let event = json!({
        "subject": format!("/blobServices/default/containers/data/blobs/{FILE}"),
        "eventType": "Microsoft.Storage.BlobCreated",
        "data": {"api": "PutBlob", "eTag": "0x1", "contentLength": 5},
    });
    let answer = world.call("bucket-uploaded", "event", json!([event])).await;
    assert_eq!(answer, Answer::done());
    assert_eq!(world.runs().await, []);
}

#[tokio::test]
async fn the_marker_has_every_file_planned_and_its_counts_compared() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    world.put("v4/test/long.json", 2, 2);
    let metadata = json!({"actual_counts": {"train": {"short": 3}, "test": {"long": 5}}});
    fs::write(world.path("v4/metadata.json"), metadata.to_string()).unwrap();
    let body = json!({"Data": {"metadata": "e30="}, "Metadata": {"dataset": "v4"}}).to_string();
    let invocation = Invocation::decode("dataset-uploaded", "i", body.as_bytes()).unwrap();
    let answer = world.app.invoke(invocation).await.unwrap();
    let messages = answer.messages("plans").to_vec();
    assert_eq!(messages.len(), 2);
    world.queue.extend(
        messages
            .into_iter()
            .map(|message| ("plan-bucket", "plan", message)),
    );
    world.until_quiet().await;
    let metadata = world.metadata();
    assert_eq!(metadata["status"], "complete");
    let warnings = metadata["warnings"].to_string();
    assert!(warnings.contains("holds 2 conversations"), "{warnings}");
}

#[tokio::test]
async fn a_file_that_is_cut_off_ends_as_a_failed_run_with_the_place() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    let path = world.path(FILE);
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 100]).unwrap();
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::Failed);
    let reason = run.reason.unwrap();
    assert!(reason.contains("byte"), "{reason}");
    assert!(world.service.log().is_empty());
}

#[tokio::test]
async fn a_new_version_takes_the_place_of_the_run_over_the_old_one() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await && world.step().await);
    let turns = world.put(FILE, 2, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let states = world
        .runs()
        .await
        .iter()
        .map(|run| run.state)
        .collect::<Vec<_>>();
    assert!(states.contains(&State::Superseded) && states.contains(&State::Complete));
    assert_eq!(world.lines(LABELED).len(), turns);
}

#[tokio::test]
async fn a_version_whose_event_got_lost_is_taken_up_by_the_reconciler() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    assert!(world.step().await);
    let turns = world.put(FILE, 2, 6);
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Superseded);
    world.call("reconcile", "timer", json!({})).await;
    world.until_quiet().await;
    assert_eq!(world.lines(LABELED).len(), turns);
    // What was in flight is waited for.
    world.reconcile_later(200).await;
    assert_eq!(world.app.runs.active().await.unwrap(), []);
}

#[tokio::test]
async fn messages_that_got_lost_are_sent_again() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..200 {
        // Half of the messages get lost.
        let lost = rng.random_bool(0.5);
        if world.queue.is_empty() {
            world.reconcile_later(3600).await;
        } else if lost {
            world.queue.pop_front();
        } else {
            world.step().await;
        }
        if world.only_run().await.state.is_over() {
            break;
        }
    }
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
}

#[tokio::test]
async fn a_run_that_never_moves_ends() {
    let mut world = World::new(&["--tries=2"]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    assert!(world.step().await);
    for _ in 0..6 {
        world
            .queue
            .retain(|(function, ..)| *function == "abandon-chunk");
        world.until_quiet().await;
        world.reconcile_later(3600).await;
    }
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::Failed);
    assert!(run.reason.unwrap().contains("2 tries"));
    let lines = world.lines(LABELED);
    assert_eq!(lines.len(), turns);
    assert_eq!(lines[0]["labeling_error"]["code"], "abandoned");
    assert_ne!(lines[0]["messageId"], "");
}

#[tokio::test]
async fn failed_turns_alone_are_asked_again() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    assert!(world.step().await);
    let run = world.only_run().await;
    // One chunk is given up before it is labelled.
    let message = serde_json::to_value(ChunkMessage::new(&run.run, 0)).unwrap();
    // However often it comes it gets further tries; one of those that fails too is given up.
    let mut again = message.clone();
    again["again"] = json!(true);
    for _ in 0..2 {
        let answer = world.call("abandon-chunk", "chunk", message.clone()).await;
        assert_eq!(answer.messages("chunks"), std::slice::from_ref(&again));
        world.queue.pop_back();
    }
    world.call("abandon-chunk", "chunk", again).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Partial);
    let asked = world.asked();
    assert!(asked < turns);
    let body = json!({"dataset": "v4", "only": "failed"});
    let (status, answer) = world.http("relabel", "POST", "relabel", &body).await;
    assert_eq!(status, 202, "{answer}");
    let again = world.http("relabel", "POST", "relabel", &body).await.1;
    assert_eq!(again["runs"][0]["run"], answer["runs"][0]["run"]);
    world.until_quiet().await;
    assert_eq!(world.asked(), turns);
    let lines = world.lines(LABELED);
    assert_eq!(lines.len(), turns);
    assert!(lines.iter().all(|line| line["labeling_error"].is_null()));
    assert_eq!(world.metadata()["status"], "complete");
    // Each has taken what it paid itself; the status counts what both did.
    world.reconcile_later(60).await;
    let taken = world.budget()["runs"].clone();
    let taken = taken.as_object().unwrap().values();
    let taken = taken.map(|share| share["taken_usd"].as_f64().unwrap());
    let taken = taken.collect::<Vec<_>>();
    assert!(
        taken.len() == 2 && taken.iter().all(|&usd| usd > 0.0),
        "{taken:?}"
    );
    let cost = world.cost(answer["runs"][0]["run"].as_str().unwrap()).await;
    assert!(
        (taken.iter().sum::<f64>() - cost).abs() < 1e-9,
        "{taken:?} {cost}"
    );
}

#[tokio::test]
async fn a_relabel_is_a_run_of_its_own_and_a_bucket_in_progress_is_a_conflict() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    let others = world.put("v4/test/long.json", 2, 2);
    world.event("v4/test/long.json").await;
    world.event(FILE).await;
    let body = json!({"dataset": "v4", "splits": ["train"], "strategy": "with_response"});
    let (status, answer) = world.http("relabel", "POST", "relabel", &body).await;
    assert_eq!(status, 409, "{answer}");
    world.until_quiet().await;
    assert_eq!(world.asked(), turns + others);
    let (status, answer) = world.http("relabel", "POST", "relabel", &body).await;
    assert_eq!(status, 202, "{answer}");
    let run = answer["runs"][0]["run"].as_str().unwrap().to_owned();
    let (status, shown) = world
        .http("runs", "GET", &format!("runs/{run}"), &json!(""))
        .await;
    assert_eq!((status, &shown["state"]), (200, &json!("planning")));
    assert_eq!(
        shown["links"]["cancel"],
        format!("https://app.example/api/runs/{run}/cancel")
    );
    world.until_quiet().await;
    assert_eq!(world.asked(), 2 * turns + others);
    let bucket = &world.metadata()["splits"]["train"]["short_3_to_5_turns"];
    assert_eq!(bucket["settings"]["strategy"], "with_response");
    // Nothing is bought twice.
    let again = world.http("relabel", "POST", "relabel", &body).await.1;
    assert_eq!(again["runs"][0]["run"], run);
    world.until_quiet().await;
    assert_eq!(world.asked(), 2 * turns + others);
    let (_, all) = world.http("runs", "GET", "runs", &json!("")).await;
    assert_eq!(all["runs"].as_array().unwrap().len(), 3);
    let (status, _) = world
        .http("relabel", "POST", "relabel", &json!({"dataset": "nothing"}))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_run_can_be_cancelled_and_then_stays_as_it_is() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    assert!(world.step().await && world.step().await);
    let run = world.only_run().await.run;
    let (asked, cancel) = (world.asked(), format!("runs/{run}/cancel"));
    let (status, shown) = world.http("runs", "POST", &cancel, &json!("")).await;
    assert_eq!((status, &shown["state"]), (200, &json!("cancelled")));
    let message = serde_json::to_value(RunMessage::new(&run)).unwrap();
    world.call("publish-bucket", "publish", message).await;
    world.until_quiet().await;
    assert_eq!(world.asked(), asked);
    assert!(!world.path(LABELED).exists());
    let (status, _) = world
        .http("runs", "GET", "runs/nosuchrun", &json!(""))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_costs_more_than_the_cap_waits_until_somebody_approves_it() {
    let mut world = World::new(&["--max-cost=0.01"]).await;
    let turns = world.put(FILE, 1, 12);
    let others = world.put("v4/test/long.json", 2, 12);
    world.event(FILE).await;
    world.event("v4/test/long.json").await;
    world.until_quiet().await;
    for run in world.runs().await {
        assert_eq!(run.state, State::AwaitingApproval);
        assert!(run.reason.unwrap().contains("estimated to cost 0.0"));
    }
    assert_eq!(world.asked(), 0);
    // However long it takes.
    world.reconcile_later(100_000).await;
    world.until_quiet().await;
    assert_eq!(world.asked(), 0);
    let run = world.runs().await[0].run.clone();
    let approve = format!("runs/{run}/approve");
    let wrong = json!({"max_cost": 1});
    assert_eq!(world.http("runs", "POST", &approve, &wrong).await.0, 400);
    // Enough for one of the two.
    let estimate = world.runs().await[0].estimated_usd.unwrap();
    let some = json!({"max_cost_usd": estimate * 1.2});
    let (status, shown) = world.http("runs", "POST", &approve, &some).await;
    assert_eq!(
        (status, shown["estimated_usd"].as_f64()),
        (202, Some(estimate))
    );
    world.until_quiet().await;
    let states = world
        .runs()
        .await
        .iter()
        .map(|run| run.state)
        .collect::<Vec<_>>();
    assert!(states.contains(&State::Complete) && states.contains(&State::AwaitingApproval));
    let left = world
        .runs()
        .await
        .iter()
        .find(|run| !run.state.is_over())
        .unwrap()
        .run
        .clone();
    let approve = format!("runs/{left}/approve");
    assert_eq!(
        world
            .http("runs", "POST", &approve, &json!({"all": true}))
            .await
            .0,
        202
    );
    world.until_quiet().await;
    assert_eq!(world.asked(), turns + others);
    assert_eq!(world.metadata()["status"], "complete");
    assert_eq!(
        world
            .http("runs", "POST", &approve, &json!({"all": true}))
            .await
            .0,
        409
    );
}

#[tokio::test]
async fn a_run_that_ended_has_taken_what_it_cost_and_no_more() {
    let mut world = World::new(&["--max-cost=5"]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    world.reconcile_later(60).await;
    let cost = world.cost(&run.run).await;
    let settled = json!({"taken_usd": cost, "drawn_usd": {}, "settled": true});
    assert_eq!(world.budget()["runs"][&run.run], settled);
    assert_ne!(run.estimated_usd, Some(cost));
}

#[tokio::test]
async fn what_was_drawn_and_not_spent_is_given_back_with_the_last_call() {
    let mut world = World::new(&["--max-cost=5"]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await && world.step().await);
    let run = world.only_run().await.run;
    let cost = world.cost(&run).await;
    let drawn = world.budget()["runs"][&run]["drawn_usd"].clone();
    let drawn = drawn
        .as_object()
        .unwrap()
        .values()
        .map(|usd| usd.as_f64().unwrap());
    let drawn = drawn.collect::<Vec<_>>();
    assert_eq!(drawn.len(), 1);
    assert!((drawn[0] - cost).abs() < 1e-9, "{drawn:?}");
    assert!(drawn[0] > 0.0);
}

#[tokio::test]
async fn a_run_that_costs_more_than_it_was_to_waits_before_it_passes_the_cap() {
    let mut world = World::new(&["--max-cost=0.2", "--concurrency=2"]).await;
    let bills = |factor: f64| move |config: &mut Config| config.billed_prompt_factor = factor;
    world.service.update(bills(4.0)).unwrap();
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    let reason = run.reason.unwrap();
    assert!(
        reason.starts_with("what it may spend is used up: it is estimated to cost"),
        "{reason}"
    );
    let estimate = run.estimated_usd.unwrap();
    assert!(estimate > 0.2, "{estimate}");
    let asked = world.asked();
    assert!(asked > 0 && asked < turns, "{asked} of {turns}");
    // Nothing lets it go on but an approval, and no late word of a chunk.
    for _ in 0..3 {
        world.reconcile_later(10_000).await;
        world
            .queue
            .push_back(("label-chunk", "chunk", json!({"run": run.run, "chunk": 0})));
        world.until_quiet().await;
    }
    assert_eq!(world.asked(), asked);
    let approve = format!("runs/{}/approve", run.run);
    let enough = json!({"max_cost_usd": 10.0 * estimate});
    assert_eq!(world.http("runs", "POST", &approve, &enough).await.0, 202);
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
    assert!(world.cost(&run.run).await > 0.2);
}

#[tokio::test]
async fn a_cap_that_is_raised_lets_a_run_go_on_by_itself() {
    let mut world = World::new(&["--max-cost=0.2", "--concurrency=2"]).await;
    world
        .service
        .update(|config| config.billed_prompt_factor = 4.0)
        .unwrap();
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::AwaitingApproval);
    world.app.settings.max_cost = 10.0;
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.asked(), turns);
}

#[tokio::test]
async fn a_chunk_that_ends_late_does_not_stop_a_run_that_was_let_go_on() {
    let mut world = World::new(&["--max-cost=5"]).await;
    world.put(FILE, 1, 6);
    world.event(FILE).await;
    assert!(world.step().await);
    let before = world.only_run().await;
    world.queue.clear();
    assert!(world.app.outgrown(&before, 1.0).await.unwrap());
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    assert!(run.estimated_usd.unwrap() >= 1.0);
    LATER.set(LATER.get() + 1);
    world.reconcile_later(0).await;
    assert!(world.step().await);
    let on = world.only_run().await;
    assert!(!world.app.outgrown(&before, 1.0).await.unwrap());
    assert_eq!(world.only_run().await, on);
}

#[tokio::test]
async fn an_unknown_price_is_not_taken_for_nothing() {
    let mut world = World::new(&["--model=gpt-4.1"]).await;
    let turns = world.put(FILE, 1, 3);
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::AwaitingApproval);
    assert!(run.reason.unwrap().contains("no price is known"));
    let approve = format!("runs/{}/approve", run.run);
    let (_, shown) = world
        .http("runs", "POST", &approve, &json!({"all": true}))
        .await;
    assert_eq!(shown["estimated_usd"], "unknown");
    world.until_quiet().await;
    assert_eq!(world.asked(), turns);
}

#[tokio::test]
async fn a_run_whose_price_is_not_known_any_more_waits_until_it_is() {
    let prices = ["--model=gpt-4.1", "--price-input=2", "--price-output=8"];
    let mut world = World::new(&prices).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    assert!(world.step().await);
    assert!(world.only_run().await.estimated_usd.is_some());
    let price = world.app.settings.price.take();
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!((run.state, world.asked()), (State::AwaitingApproval, 0));
    assert!(run.reason.unwrap().contains("no price is known"));
    world.app.settings.price = price;
    world.reconcile_later(60).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!((run.state, world.asked()), (State::Complete, turns));
    assert!(run.estimated_usd.is_some());
}

#[tokio::test]
async fn a_forced_relabel_is_asked_anew() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let body = json!({"dataset": "v4", "force": true});
    assert_eq!(world.http("relabel", "POST", "relabel", &body).await.0, 202);
    world.until_quiet().await;
    assert_eq!(world.asked(), 2 * turns);
}

#[tokio::test]
async fn a_late_event_does_not_take_the_place_of_what_somebody_asked_for() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    let body = json!({"dataset": "v4", "strategy": "with_context"});
    assert_eq!(world.http("relabel", "POST", "relabel", &body).await.0, 202);
    world.until_quiet().await;
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(
        (world.only_run().await.state, world.asked()),
        (State::Complete, turns)
    );
}

#[tokio::test]
async fn a_relabel_that_comes_to_nothing_leaves_the_labels_that_are_there() {
    let mut world = World::new(&["--tries=1"]).await;
    world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let before = world.lines(LABELED);
    let body = json!({"dataset": "v4", "strategy": "with_context"});
    world.http("relabel", "POST", "relabel", &body).await;
    assert!(world.step().await);
    for _ in 0..4 {
        world
            .queue
            .retain(|(function, ..)| *function == "abandon-chunk");
        world.until_quiet().await;
        world.reconcile_later(7200).await;
    }
    world.until_quiet().await;
    let runs = world.runs().await.into_iter();
    let run = runs.into_iter().find(|run| run.origin == Origin::Relabel);
    let run = run.unwrap();
    assert_eq!((run.state, run.given_up), (State::Failed, true));
    assert_eq!(world.lines(LABELED), before);
    assert_eq!(world.metadata()["totals"]["labeled"], before.len());
}

#[tokio::test]
async fn an_old_request_does_not_decide_how_later_uploads_are_labelled() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    world.event(FILE).await;
    world.until_quiet().await;
    for strategy in ["with_context", "with_response", "with_context"] {
        let body = json!({"dataset": "v4", "strategy": strategy});
        world.http("relabel", "POST", "relabel", &body).await;
        world.until_quiet().await;
    }
    let settings = world.app.dataset_settings("v4").await.unwrap();
    assert_eq!(settings.strategy, "with_response");
}

#[tokio::test]
async fn a_run_of_another_prompt_version_is_not_labelled_on() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 6);
    world.event(FILE).await;
    assert!(world.step().await && world.step().await);
    let (run, asked) = (world.only_run().await.run, world.asked());
    let update = world.app.runs.update(&run, |record| {
        record.settings.prompt_version = "of another version".into();
        true
    });
    update.await.unwrap();
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!((run.state, world.asked()), (State::Failed, asked));
    assert!(run.reason.unwrap().contains("relabel the whole dataset"));
}

#[tokio::test]
async fn the_metadata_is_brought_up_to_date_before_an_end_is_settled() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    // As if whoever published had been killed before it wrote the metadata.
    let path = world.path("LABELED_v4/labeling_metadata.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    world.reconcile_later(60).await;
    assert_eq!(world.app.runs.active().await.unwrap().len(), 1);
    fs::remove_dir(&path).unwrap();
    world.reconcile_later(60).await;
    assert_eq!(world.app.runs.active().await.unwrap(), []);
    assert_eq!(world.metadata()["totals"]["turns"], turns);
}
