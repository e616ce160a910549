//! Apps made for one test, run by the double of the Functions host over Azurite.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::azurite::{Account, Azurite};
use softlabel_doubles::functions_host::{Host, Invocation, Options, Outcome};
use softlabel_doubles::storage::Storage;
use softlabel_doubles::until;
use tempfile::TempDir;

/// Longer than anything here takes, even on a busy machine; only a hang reaches it.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// The custom handler of all apps here.
const WORKER: &str = env!("CARGO_BIN_EXE_scripted-worker");

/// An app in a folder, with a storage account of its own.
pub(crate) struct App {
    folder: TempDir,
    pub(crate) account: Account,
    pub(crate) storage: Storage,
}

/// A request as the worker got it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: Value,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl App {
    pub(crate) async fn new() -> Self {
        let account = Azurite::shared().await.unwrap().account().unwrap();
        let app = Self {
            folder: tempfile::tempdir().unwrap(),
            storage: account.storage(),
            account,
        };
        app.host_json(json!({}));
        app
    }

    /// Writes `host.json`, with these parts besides the usual ones.
    pub(crate) fn host_json(&self, parts: Value) {
        let mut host = json!({
            "version": "2.0",
            "extensionBundle": {
                "id": "Microsoft.Azure.Functions.ExtensionBundle",
                "version": "[4.*, 5.0.0)",
            },
            "customHandler": { "description": { "defaultExecutablePath": WORKER, "arguments": [] } },
            "extensions": { "queues": { "maxPollingInterval": "00:00:00.2" } },
        });
        merge(&mut host, parts);
        self.write("host.json", &host);
    }

    /// Adds a function with these bindings.
    pub(crate) fn function(&self, name: &str, bindings: Value) {
        fs::create_dir_all(self.path(name)).unwrap();
        self.write(
            &format!("{name}/function.json"),
            &json!({ "bindings": bindings }),
        );
    }

    /// Adds a function that a queue of its name wakes.
    pub(crate) fn queue_function(&self, name: &str) {
        self.function(name, json!([queue_trigger(name)]));
    }

    pub(crate) fn options(&self) -> Options {
        let options = Options::new(self.folder.path())
            .setting("AzureWebJobsStorage", self.account.connection_string())
            .setting("RECORD", self.path("record").to_string_lossy());
        Options {
            blob_polling: Duration::from_millis(50),
            singleton_lease: Duration::from_secs(2),
            ..options
        }
    }

    pub(crate) async fn start(&self) -> Host {
        Host::start(self.options()).await.unwrap()
    }

    /// Sends a message as users of queues do: in base64.
    pub(crate) async fn send(&self, queue: &str, message: impl ToString) {
        let text = BASE64_STANDARD.encode(message.to_string());
        self.storage
            .queue(queue)
            .put_or_create(&text, Duration::ZERO)
            .await
            .unwrap();
    }

    /// The visible messages of a queue, decoded.
    pub(crate) async fn messages(&self, queue: &str) -> Vec<String> {
        let messages = self
            .storage
            .queue(queue)
            .peek(32)
            .await
            .unwrap()
            .into_iter();
        let texts = messages.map(|message| BASE64_STANDARD.decode(message.text).unwrap());
        texts.map(|text| String::from_utf8(text).unwrap()).collect()
    }

    /// What the worker got so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        let record = fs::read_to_string(self.path("record")).unwrap_or_default();
        let requests = record.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            Received {
                method: text("method"),
                uri: text("uri"),
                headers: line["headers"].clone(),
                body: serde_json::from_str(&text("body")).unwrap_or_default(),
                text: text("body"),
            }
        });
        requests.collect()
    }

    /// Waits until a queue has no messages, visible or not.
    pub(crate) async fn drained(&self, queue: &str) {
        let queue = self.storage.queue(queue);
        until(HANG, "the queue is empty", async || {
            Ok(queue.count().await? == 0)
        })
        .await
        .unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &Value) {
        fs::write(self.path(name), content.to_string()).unwrap();
    }
}

pub(crate) fn queue_trigger(queue: &str) -> Value {
    json!({
        "type": "queueTrigger", "direction": "in", "name": "message",
        "queueName": queue, "connection": "AzureWebJobsStorage",
    })
}

pub(crate) fn queue_output(name: &str, queue: &str) -> Value {
    json!({
        "type": "queue", "direction": "out", "name": name,
        "queueName": queue, "connection": "AzureWebJobsStorage",
    })
}

/// Waits until so many invocations have ended, and returns all of them.
pub(crate) async fn ended(host: &Host, count: usize) -> Vec<Invocation> {
    let enough = async || {
        let invocations = host.invocations();
        let ended = invocations
            .iter()
            .filter(|invocation| invocation.ended.is_some());
        Ok(ended.count() >= count)
    };
    let waited = until(HANG, "enough invocations have ended", enough).await;
    assert!(
        waited.is_ok(),
        "{:#?} {:#?}",
        host.invocations(),
        host.lines()
    );
    host.invocations()
}

pub(crate) fn succeeded(invocation: &Invocation) -> bool {
    invocation.outcome == Some(Outcome::Succeeded)
}

/// Why it failed.
pub(crate) fn failure(invocation: &Invocation) -> &str {
    match &invocation.outcome {
        Some(Outcome::Failed(reason)) => reason,
        outcome => panic!("it did not fail: {outcome:?}"),
    }
}

fn merge(into: &mut Value, parts: Value) {
    match (into, parts) {
        (Value::Object(into), Value::Object(parts)) => {
            for (name, value) in parts {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, parts) => *into = parts,
    }
}
