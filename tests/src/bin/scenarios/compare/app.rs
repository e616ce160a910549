//! The app, what is done to it, and what it saw.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::azurite::{Account, Azurite};
use softlabel_doubles::local_cloud::{Instance, Options, Setup};
use softlabel_doubles::storage::Storage;
use tempfile::TempDir;

use super::{Deeds, PATIENCE, normal};
use crate::stage::{Stage, until};

/// Where the blob triggers look.
const DATA: &str = "raw";

/// Deliveries of a message at most.
const DELIVERIES: u32 = 3;

/// The real host's lease on a message.
const LEASE: Duration = Duration::from_secs(600);

/// The functions that an app has. Blob triggers of both sources in one app share what takes the messages of their
/// queue, and with it the source of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Queues, HTTP, and a blob trigger that scans.
    Scans,
    /// A blob trigger that Event Grid wakes.
    Events,
}

/// The app with its storage.
pub(super) struct App {
    part: Part,
    folder: TempDir,
    account: Account,
    storage: Storage,
}

fn blob(file: &str, source: &str) -> Value {
    let path = format!("%BELOW%/{{dataset}}/{file}");
    json!({ "type": "blobTrigger", "direction": "in", "name": "marker", "path": path,
        "connection": "Data", "source": source })
}

fn with_scans() -> Vec<(&'static str, Value)> {
    let http = json!([
        { "type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous",
          "route": "runs/{run?}/{action?}", "methods": ["get", "post"] },
        { "type": "http", "direction": "out", "name": "res" },
        output("out", "sent"),
    ]);
    let work = json!([
        trigger("work"),
        output("out", "sent"),
        output("other", "also-sent"),
    ]);
    vec![
        ("work", work),
        ("work-failed", json!([trigger("work-poison")])),
        ("next", json!([trigger("next"), output("out", "sent")])),
        (
            "found",
            json!([blob("marker.json", "LogsAndContainerScan")]),
        ),
        ("asked", http),
    ]
}

fn trigger(queue: &str) -> Value {
    json!({ "type": "queueTrigger", "direction": "in", "name": "message", "queueName": queue,
        "connection": "AzureWebJobsStorage" })
}

fn output(name: &str, queue: &str) -> Value {
    json!({ "type": "queue", "direction": "out", "name": name, "queueName": queue,
        "connection": "AzureWebJobsStorage" })
}

/// A message that has the worker answer with these outputs.
fn sends(outputs: &Value) -> String {
    json!({ "outputs": outputs }).to_string()
}

impl App {
    pub(super) async fn new(part: Part) -> Result<Self> {
        let account = Azurite::shared().await?.account()?;
        let app = Self {
            part,
            folder: tempfile::tempdir()?,
            storage: account.storage(),
            account,
        };
        app.storage.container(DATA).create().await?;
        let worker = std::env::current_exe()?;
        app.write(
            "host.json",
            &json!({
                "version": "2.0",
                "extensionBundle": {
                    "id": "Microsoft.Azure.Functions.ExtensionBundle",
                    "version": "[4.*, 5.0.0)",
                },
                "customHandler": { "description": {
                    "defaultExecutablePath": worker.to_string_lossy(), "arguments": ["--worker"],
                } },
                "extensions": { "queues": {
                    "visibilityTimeout": "00:00:02", "maxDequeueCount": DELIVERIES,
                    "maxPollingInterval": "00:00:01",
                } },
            }),
        )?;
        let functions = match part {
            Part::Scans => with_scans(),
            Part::Events => vec![("told", json!([blob("{name}.event", "EventGrid")]))],
        };
        for (name, bindings) in functions {
            fs::create_dir_all(app.path(name))?;
            app.write(
                &format!("{name}/function.json"),
                &json!({ "bindings": bindings }),
            )?;
        }
        Ok(app)
    }

    pub(super) async fn start<H: Instance>(&self, stage: &Stage) -> Result<H> {
        let options = Options {
            message_lease: LEASE,
            echo: stage.echo,
            ..Options::new("", "")
        };
        let answer = json!({ "outputs": {
            "res": { "statusCode": 202, "headers": { "x-of": "the app" }, "body": "{\"a\": 1}" },
            "out": { "asked": true },
        } });
        let settings = [
            ("AzureWebJobsStorage", self.account.connection_string()),
            ("Data", self.account.connection_string()),
            ("BELOW", format!("{DATA}/base")),
            ("RECORD", self.path("record").to_string_lossy().into_owned()),
            ("ON_ASKED", answer.to_string()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        H::start(Setup {
            root: self.folder.path().to_owned(),
            settings: settings.into(),
            functions: Vec::new(),
            options: &options,
        })
        .await
    }

    /// Does everything to it that is compared, and waits until it is over.
    pub(super) async fn live<H: Instance>(&self, host: &H, long: bool) -> Result<()> {
        let done = match self.part {
            Part::Scans => self.live_with_scans(host, long).await,
            Part::Events => self.live_with_events(host).await,
        };
        done.with_context(|| {
            let lines = host.lines();
            let last = lines.get(lines.len().saturating_sub(5)..);
            format!("{} said at last {last:?}", H::NAME)
        })
    }

    /// A blob that is told of twice, with the ETag of another version, and for a function that is not there.
    async fn live_with_events<H: Instance>(&self, host: &H) -> Result<()> {
        let data = self.storage.container(DATA);
        data.put("base/d 1/a b.event", "its content").await?;
        for (function, etag) in [
            ("Host.Functions.told", "0x1"),
            ("Host.Functions.told", "0x1"),
            ("Host.Functions.told", "0x2"),
            ("Host.Functions.nobody", "0x1"),
        ] {
            self.tell(host, function, etag).await?;
        }
        self.settled(&[], "/told", 3).await
    }

    async fn live_with_scans<H: Instance>(&self, host: &H, long: bool) -> Result<()> {
        for message in [
            "a plain text".to_owned(),
            "{\"a\": 1}".to_owned(),
            json!({ "text": "ä \"quoted\"", "Id": "its own" }).to_string(),
            sends(&json!({ "out": [{ "a": 1, "b": ["ä", null] }, "a text!", 7, true, [1, 2]] })),
            sends(&json!({ "out": { "one": "object" }, "other": [] })),
            sends(&json!({ "out": null, "other": [{ "n": 1 }, { "n": 2 }] })),
            sends(&json!({ "out": "aGVsbG8hIGhlbGxv", "other": "no base64!" })),
            sends(&json!({ "out": "{\"json\": [1]}", "other": "[{\"n\": 3}, {\"n\": 4}]" })),
            sends(&json!({ "nobody": [1] })),
            json!({ "status": 500 }).to_string(),
            json!({ "status": 200, "content_type": "text/plain" }).to_string(),
            json!({ "body": "[]" }).to_string(),
        ] {
            self.send("work", &message).await?;
        }
        self.send("next", &sends(&json!({ "out": ["from next"] })))
            .await?;
        // No base64.
        self.storage.queue("next").put("hello!!").await?;
        let data = self.storage.container(DATA);
        data.put("base/d 1/marker.json", "{\"Uri\": \"x\"}").await?;
        data.put("base/d 1/other.json", "1").await?;
        self.ask(host).await?;
        self.settled(&["work", "next"], "/found", 1).await?;
        if long {
            self.fails_in_a_poison_queue().await?;
        }
        Ok(())
    }

    /// Waits until these queues are empty and the worker was asked so often, and for what should not come.
    async fn settled(&self, queues: &[&str], uri: &str, times: usize) -> Result<()> {
        let mut left = 0;
        let mut asked = 0;
        let settled = async || {
            left = 0;
            for queue in queues {
                left += self.storage.queue(queue).count().await?;
            }
            let requests = self.requests()?;
            asked = requests.iter().filter(|request| request.uri == uri).count();
            Ok(left == 0 && asked >= times)
        };
        let settled = until(PATIENCE, "everything is worked on", settled).await;
        settled
            .with_context(|| format!("{left} messages are left, {uri} was asked {asked} times"))?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(())
    }

    /// A message that fails there comes again after ten minutes, whatever `visibilityTimeout` says.
    async fn fails_in_a_poison_queue(&self) -> Result<()> {
        let message = json!({ "status": 503 }).to_string();
        self.send("work-poison", &message).await?;
        let began = Instant::now();
        let again = async || {
            let requests = self.requests()?.into_iter();
            let of_it = requests.filter(|it| it.uri == "/work-failed" && it.body.contains("503"));
            Ok(of_it.count() >= 2)
        };
        until(LEASE + PATIENCE, "the message comes again", again).await?;
        let took = began.elapsed();
        ensure!(
            took >= LEASE - Duration::from_secs(30),
            "it came again after {took:?}"
        );
        Ok(())
    }

    /// Requests from outside, and what they are answered.
    async fn ask<H: Instance>(&self, host: &H) -> Result<()> {
        let http = reqwest::Client::new();
        let url = |path: &str| format!("{}/api/{path}", host.endpoint());
        for path in ["runs", "runs/a%20b?x=1&x=2&y=z", "runs/a/cancel"] {
            let request = http.get(url(path)).header("a-header", "its value");
            self.note_answer(path, request.send().await?).await?;
        }
        let posted = http
            .post(url("runs/b"))
            .json(&json!({ "a": "ä" }))
            .send()
            .await?;
        self.note_answer("posted", posted).await?;
        let unknown = http.get(url("none")).send().await?;
        self.note_answer("unknown", unknown).await
    }

    /// Writes an answer down like a request to the worker.
    async fn note_answer(&self, about: &str, answer: reqwest::Response) -> Result<()> {
        let status = answer.status().as_u16();
        let of = answer
            .headers()
            .get("x-of")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let line = json!({ "status": status, "x-of": of, "body": answer.text().await? });
        let path = self.path(&format!(
            "answer-{}",
            about.replace(['/', '?', '&', '='], "_")
        ));
        fs::write(path, line.to_string())?;
        Ok(())
    }

    /// An event, as Event Grid tells of it.
    async fn tell<H: Instance>(&self, host: &H, function: &str, etag: &str) -> Result<()> {
        let blob = self.storage.container(DATA).url("base/d 1/a b.event")?;
        let event = json!([{ "eventType": "Microsoft.Storage.BlobCreated", "data": {
            "url": blob.as_str(), "blobType": "BlockBlob", "eTag": etag,
        } }]);
        let url = format!(
            "{}/runtime/webhooks/blobs?functionName={function}",
            host.endpoint()
        );
        let request = reqwest::Client::new().post(url);
        let answer = request
            .header("aeg-event-type", "Notification")
            .json(&event)
            .send()
            .await?;
        ensure!(
            answer.status() == 202,
            "the webhook answered {}",
            answer.status()
        );
        Ok(())
    }

    async fn send(&self, queue: &str, message: &str) -> Result<()> {
        let text = BASE64_STANDARD.encode(message);
        self.storage
            .queue(queue)
            .put_or_create(&text, Duration::ZERO)
            .await
    }

    /// What was done: requests to the worker by what they are about, answers, and the messages that are left.
    pub(super) async fn deeds(&self) -> Result<Deeds> {
        let mut deeds = Deeds::new();
        let blobs = self.account.blob_endpoint();
        for request in self.requests()? {
            let deed = normal::request(&request, blobs);
            let about = format!("{} {}", request.uri, normal::about(&deed));
            deeds.entry(about).or_default().push(deed);
        }
        for entry in fs::read_dir(self.folder.path())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("answer-") {
                let answer = serde_json::from_slice(&fs::read(entry.path())?)?;
                deeds.entry(name).or_default().push(answer);
            }
        }
        for name in self.storage.queues().await? {
            // Named after the host's own id.
            if name.starts_with("azure-webjobs-") {
                continue;
            }
            let queue = self.storage.queue(&name);
            let mut texts = Vec::new();
            for message in queue.peek(32).await? {
                let text = BASE64_STANDARD.decode(&message.text);
                let text = text.ok().and_then(|text| String::from_utf8(text).ok());
                texts.push(json!(text.map_or(message.text, normal::text)));
            }
            texts.sort_by_key(Value::to_string);
            let about = format!("queue {name}");
            deeds.insert(
                about,
                vec![json!({ "messages": queue.count().await?, "visible": texts })],
            );
        }
        for values in deeds.values_mut() {
            values.sort_by_key(|value| value["body"]["Metadata"]["DequeueCount"].to_string());
        }
        Ok(deeds)
    }

    /// What the worker was asked.
    fn requests(&self) -> Result<Vec<Request>> {
        let record = fs::read_to_string(self.path("record")).unwrap_or_default();
        let requests = record.lines().map(|line| {
            let line: Value = serde_json::from_str(line)?;
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            Ok(Request {
                method: text("method").context("a request has no method")?,
                uri: text("uri").context("a request has no URI")?,
                headers: line["headers"].clone(),
                body: text("body").context("a request has no body")?,
            })
        });
        requests.collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &Value) -> Result<()> {
        fs::write(self.path(name), content.to_string())?;
        Ok(())
    }
}

/// A request as the worker got it.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) headers: Value,
    pub(super) body: String,
}
