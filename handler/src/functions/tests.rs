//! The functions over local folders and a double of Azure OpenAI, with a queue that is a list.

use super::{FunctionApp, over};
use crate::clock::Clock;
use crate::config::{Cli, Subcommands};
use crate::host::{Answer, Functions, Invocation};
use crate::run::month::Month;
use crate::run::record::{Origin, Record, State};
use crate::run::runs::Runs;
use crate::steps::{App, ChunkMessage, Data, RunMessage};
use crate::store::OwnFolder;
use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, Double};
use softlabel_doubles::dataset::{self, Options, Size};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

mod hourly;
mod instances;
mod listing;
mod money;
mod openapi;
mod recovery;
mod requests;
mod storage;
mod tasks;
mod uploads;
mod wishes;

thread_local! {
    /// How much later it is than the machine thinks, in seconds. A test has a thread of its own.
    static LATER: Cell<i64> = const { Cell::new(0) };
}

fn now() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(LATER.get())
}

const FILE: &str = "v4/train/short_3_to_5_turns.json";

impl Deref for FunctionApp {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

impl DerefMut for FunctionApp {
    fn deref_mut(&mut self) -> &mut App {
        &mut self.0
    }
}

fn instance(home: &TempDir, args: &[String]) -> FunctionApp {
    let data = home.path().join("data");
    let work = OwnFolder::local(home.path().join("work"), &data).unwrap();
    let Subcommands::Serve(args) = Cli::parse_from(args).command else {
        panic!("serve was meant");
    };
    let runs = Runs::new(work, Clock::from_fn(now));
    over(Data::local(data), runs, *args, CancellationToken::new())
}

/// Storage, service, app and queues.
struct World {
    home: TempDir,
    service: Double,
    args: Vec<String>,
    app: FunctionApp,
    /// Function, binding, message.
    queue: VecDeque<(&'static str, &'static str, Value)>,
    /// What the answers to requests met in `docs/openapi.yaml`.
    met: BTreeSet<String>,
}

impl World {
    async fn new(args: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let service = Double::start(Config::default()).await.unwrap();
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
        let args = usual.iter().chain(args).map(|arg| (*arg).to_owned());
        let args = args.collect::<Vec<_>>();
        Self {
            app: instance(&home, &args),
            home,
            service,
            args,
            queue: VecDeque::new(),
            met: BTreeSet::new(),
        }
    }

    /// Another instance of the app.
    fn another_instance(&self) -> FunctionApp {
        instance(&self.home, &self.args)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join("data").join(path)
    }

    fn work(&self, path: &str) -> PathBuf {
        self.home.path().join("work").join(path)
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

    /// A relabel is asked for, some time after everything before; gives the status and the answer.
    async fn relabel(&mut self, body: Value) -> (u64, Value) {
        LATER.set(LATER.get() + 5);
        self.http("relabel", "POST", "relabel", &body).await
    }

    /// The dataset's `metadata.json` is written a moment later than everything before.
    async fn marker(&mut self, dataset: &str) {
        LATER.set(LATER.get() + 2);
        let written = now().to_string();
        let metadata = json!({"dataset": dataset, "Properties": {"LastModified": written}});
        let body = json!({"Data": {"metadata": "e30="}, "Metadata": metadata}).to_string();
        let invocation = Invocation::decode("dataset-uploaded", "i", body.as_bytes()).unwrap();
        let answer = self.app.invoke(invocation).await.unwrap();
        let plans = answer.messages("plans").iter();
        self.queue
            .extend(plans.map(|message| ("plan-bucket", "plan", message.clone())));
    }

    /// Reconciles every five minutes until nothing goes on any more.
    async fn until_settled(&mut self) {
        for _ in 0..20 {
            self.until_quiet().await;
            self.reconcile_later(300).await;
        }
        self.until_quiet().await;
    }

    /// Gives a file another version without another content.
    fn touch(&self, path: &str) {
        let file = fs::File::options().write(true).open(self.path(path));
        let later = std::time::SystemTime::from(now() + SignedDuration::from_secs(60));
        file.unwrap().set_modified(later).unwrap();
    }

    async fn event(&mut self, path: &str) -> Answer {
        let (dataset, file) = path.split_once('/').unwrap();
        let version = self.app.raw_version(dataset, file).await.unwrap().unwrap();
        self.event_of(path, &version.etag).await
    }

    /// Word of a version of a file, which need not be the one that is there.
    async fn event_of(&mut self, path: &str, etag: &str) -> Answer {
        let event = self.written(path, etag);
        self.call("bucket-uploaded", "event", event).await
    }

    fn written(&self, path: &str, etag: &str) -> Value {
        let length = fs::metadata(self.path(path)).unwrap().len();
        json!({
            "subject": format!("/blobServices/default/containers/data/blobs/{path}"),
            "eventType": "Microsoft.Storage.BlobCreated",
            "data": {"api": "PutBlockList", "eTag": etag, "contentLength": length},
        })
    }

    /// One invocation; what it sends goes into the queue.
    async fn call(&mut self, function: &str, binding: &str, value: Value) -> Answer {
        let body = json!({"Data": {binding: value}, "Metadata": {}}).to_string();
        let invocation = Invocation::decode(function, "i", body.as_bytes()).unwrap();
        let answer = self.app.invoke(invocation).await.unwrap();
        if binding == "req" {
            self.met.extend(openapi::hold_answer(&value, &answer));
        }
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
        let headers = json!({"Content-Type": ["application/json"]});
        self.http_with(function, method, path, body, headers).await
    }

    async fn http_with(
        &mut self,
        function: &str,
        method: &str,
        path: &str,
        body: &Value,
        headers: Value,
    ) -> (u64, Value) {
        let mut names = path.split('/').skip(1);
        let mut params = BTreeMap::new();
        for name in ["run", "action"] {
            params.extend(names.next().map(|value| (name, value)));
        }
        let request = json!({
            "Url": format!("https://app.example/api/{path}"), "Method": method, "Query": {},
            "Params": params, "Body": body.to_string(), "Headers": headers,
        });
        let answer = self.call(function, "req", request).await;
        let (status, body) = answer.response("res").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Asks that something is done with a run.
    async fn act(&mut self, run: &str, action: &str, body: &Value) -> (u64, Value) {
        let path = format!("runs/{run}/{action}");
        self.http("runs", "POST", &path, body).await
    }

    async fn runs(&self) -> Vec<Record> {
        let mut records = self.app.runs.all().await.unwrap();
        records.sort_by_key(|record| record.created);
        records
    }

    async fn states(&self) -> Vec<State> {
        let runs = self.runs().await;
        runs.iter().map(|run| run.state).collect()
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

    /// What it cost to settle the request parameters of a dataset, in US dollars.
    async fn probe_cost(&self) -> f64 {
        let account = self.app.runs.account(Month::of(now())).await.unwrap();
        let earlier = now() - SignedDuration::from_hours(24 * 20);
        let earlier = self.app.runs.account(Month::of(earlier)).await.unwrap();
        let mut probes = account.probes.values().chain(earlier.probes.values());
        probes.next().unwrap().as_f64()
    }

    /// Questions about turns, the probe's left out.
    fn asked(&self) -> usize {
        self.service.log().len() - 1
    }
}

const LABELED: &str = "LABELED_v4/train/short_3_to_5_turns.jsonl";
