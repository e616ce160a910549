//! The function app as it is deployed: the real executable under a double of the Functions host, over
//! Azurite, with doubles of Event Grid and Azure OpenAI.

mod api;
mod faults;
mod instances;
mod money;
mod quota;
mod refusals;
mod uploads;

use crate::harness;
use serde_json::Value;
use softlabel_doubles::azure_openai::{
    Config, Excuse, Kind, Latency, Loss, Record, Repeats, repeats,
};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::dataset::{self, Size};
use softlabel_doubles::faulty_line::FaultyLine;
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A result may lie so long before it is appended.
const UNFLUSHED: Duration = Duration::from_secs(2);

/// A bucket file, and the file that it becomes.
const SHORT: &str = "v4/train/short_3_to_5_turns.json";
const SHORT_LABELED: &str = "LABELED_v4/train/short_3_to_5_turns.jsonl";

fn options() -> Options {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Options::new(repository, env!("CARGO_BIN_EXE_softlabel"))
        .setting("SOFTLABEL_CHUNK_TURNS", "32")
        .setting("SOFTLABEL_STALL_AFTER", "3s")
}

/// A service whose answers take that long.
fn slow(milliseconds: f64) -> Config {
    Config {
        latency: Latency::Fixed { ms: milliseconds },
        ..Config::default()
    }
}

async fn cloud(mut options: Options) -> LocalCloud {
    options.service.keep_bodies = true;
    let account = Azurite::shared().await.unwrap().account().unwrap();
    LocalCloud::start(account, options).await.unwrap()
}

/// A cloud whose app reaches blob storage over a line that a test makes bad.
async fn behind_a_line(options: Options) -> (LocalCloud, FaultyLine) {
    let azurite = Azurite::shared().await.unwrap();
    let line = FaultyLine::start(azurite.blob_endpoint()).await.unwrap();
    let options = Options {
        blob_endpoint: Some(line.endpoint()),
        ..options
    };
    (cloud(options).await, line)
}

/// Runs a test on the runtime that the servers of all tests share.
fn on_the_cloud(test: impl Future<Output = ()>) {
    harness::runtime().block_on(test);
}

/// The content of a bucket file, and ids of its turns in order.
fn bucket(seed: u64, conversations: u64) -> (Vec<u8>, Vec<(String, String)>) {
    let mut content = Vec::new();
    let options = dataset::Options {
        seed,
        size: Size::Conversations(conversations),
        ..dataset::Options::default()
    };
    dataset::write(&options, &mut content).unwrap();
    let turns = turns_of(&content);
    (content, turns)
}

/// The ids of the turns of a bucket file, in order.
fn turns_of(content: &[u8]) -> Vec<(String, String)> {
    let conversations: Vec<Value> = serde_json::from_slice(content).unwrap();
    let turns = conversations.iter().flat_map(|conversation| {
        let id = conversation["conversationId"].as_str().unwrap();
        let turns = conversation["turnsArray"].as_array().unwrap();
        turns.iter().map(|turn| {
            (
                id.to_owned(),
                turn["messageId"].as_str().unwrap().to_owned(),
            )
        })
    });
    turns.collect()
}

/// Checks that the labelled file has one line a turn, in raw order, each with a label.
async fn assert_labeled(cloud: &LocalCloud, path: &str, turns: &[(String, String)]) {
    let lines = cloud.lines(path).await.unwrap().unwrap();
    let found = lines.iter().map(|line| {
        assert!(line["soft_label"].is_number(), "{line}");
        let id = |key: &str| line[key].as_str().unwrap().to_owned();
        (id("conversationId"), id("messageId"))
    });
    assert_eq!(found.collect::<Vec<_>>(), turns);
}

/// How often each turn was classified, the probe left out.
fn asked(cloud: &LocalCloud) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for record in cloud.service().log() {
        if record.kind == Kind::Classification && harness::message(&record) != harness::PROBE {
            *asked.entry(harness::message(&record)).or_default() += 1;
        }
    }
    asked
}

/// The states of runs, in order.
fn states(runs: &[Value]) -> Vec<&str> {
    let states = runs.iter().map(|run| run["state"].as_str().unwrap());
    let mut states = states.collect::<Vec<_>>();
    states.sort_unstable();
    states
}

/// Whether a call is about no turn, but settles the request parameters.
fn is_probe(call: &Record) -> bool {
    softlabel_doubles::prompt::is_probe(call)
}

/// Checks that nothing was asked twice but what may have been lost when a worker was `killed`.
fn counted(log: &[Record], killed: Loss) -> Repeats {
    let excuse = Excuse {
        losses: &[killed],
        unflushed: UNFLUSHED,
    };
    let most = |call: &Record| match is_probe(call) {
        true => usize::MAX,
        false => 1,
    };
    repeats(log, excuse, most).unwrap()
}
