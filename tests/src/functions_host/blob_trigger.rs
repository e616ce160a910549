//! Functions that blobs wake.
//!
//! All hosts take messages from one queue of the host's own. A scan of the container sends one for each blob
//! that fits and has no receipt for its ETag, and writes the receipt. A notification of Event Grid sends one
//! without either: a function runs as often as it is notified, and with the content that the blob has then
//! (`BlobQueueTriggerExecutor` looks at the ETag for `LogsAndContainerScan` alone).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::app::App;
use super::blob_path::BlobPattern;
use super::function::{BlobSource, Function, Trigger};
use super::instance::{Call, Execution, Instance};
use super::lines::Level;
use super::outputs;
use super::payload::Payload;
use super::queue_listener::{QueueListener, Work};
use super::route;
use super::singleton::{Alone, CONTAINER, HOST_ID, Singleton};
use crate::storage::{BlobItem, Message, Queue, Storage};

/// Where blobs go with which a function failed too often, in the account that they are in.
const POISON: &str = "webjobs-blobtrigger-poison";

/// What says that a blob was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    r#type: String,
    function_id: Option<String>,
    blob_type: String,
    container_name: String,
    blob_name: String,
    e_tag: String,
}

/// Scans, and listens to the queue of what was found, until the host stops.
pub(super) async fn run(instance: Arc<Instance>) -> Result<()> {
    let storage = instance.storage()?.clone();
    let found = found_blobs(&storage);
    found.create().await?;
    let watcher = Arc::clone(&instance.found_blobs);
    let scan = Scan {
        instance: Arc::clone(&instance),
        storage: storage.clone(),
        found: found.clone(),
        watcher: Arc::clone(&watcher),
    };
    let listener = QueueListener {
        settings: instance.app.blobs.clone(),
        queue: found,
        watcher,
        work: FoundBlobs {
            instance: Arc::clone(&instance),
            storage,
        },
        instance: Arc::clone(&instance),
    };
    if !blob_functions(&instance.app).any(|(_, blobs)| blobs.source == BlobSource::Scan) {
        listener.listen().await;
        return Ok(());
    }
    let singleton = Singleton::new(&instance, "WebJobs.Internal.Blobs.Listener").await?;
    tokio::join!(singleton.hold(&scan), listener.listen());
    Ok(())
}

/// The queue of what was found.
fn found_blobs(storage: &Storage) -> Queue {
    storage.queue(&format!("azure-webjobs-blobtrigger-{HOST_ID}"))
}

/// What wakes a function.
struct Blobs<'a> {
    pattern: &'a BlobPattern,
    storage: &'a Storage,
    source: BlobSource,
}

/// The functions that blobs wake.
fn blob_functions(app: &App) -> impl Iterator<Item = (&Arc<Function>, Blobs<'_>)> {
    app.functions
        .iter()
        .filter_map(|function| match &function.trigger {
            Trigger::Blob {
                pattern,
                storage,
                source,
            } => Some((
                function,
                Blobs {
                    pattern,
                    storage,
                    source: *source,
                },
            )),
            _ => None,
        })
}

/// Sends word of the blob of an event to the function with that id. Nothing is known of the blob but what the
/// event says.
pub(super) async fn notified(instance: &Instance, id: Option<&str>, event: &Value) -> Result<()> {
    let data = |name: &str| {
        let text = event.get("data").and_then(|data| data.get(name)?.as_str());
        text.with_context(|| format!("the event has no data.{name}"))
    };
    let (container_name, blob_name) = container_and_blob(data("url")?)?;
    let found = Found {
        r#type: "BlobTrigger".to_owned(),
        function_id: id.map(str::to_owned),
        blob_type: data("blobType")?.to_owned(),
        container_name,
        blob_name,
        e_tag: format!("\"{}\"", data("eTag")?),
    };
    let message = outputs::encode(&serde_json::to_vec(&found)?, true)?;
    let queue = found_blobs(instance.storage()?);
    queue.put_or_create(&message, Duration::ZERO).await?;
    instance.found_blobs.notify_one();
    Ok(())
}

/// The two in the URL of a blob of Azurite's: `http://127.0.0.1:PORT/ACCOUNT/CONTAINER/BLOB`.
fn container_and_blob(url: &str) -> Result<(String, String)> {
    let no_blob = || format!("{url} is no URL of a blob");
    let parsed = Url::parse(url).with_context(no_blob)?;
    let mut path = parsed.path_segments().with_context(no_blob)?.skip(1);
    let container = path.next().with_context(no_blob)?.to_owned();
    let blob = path.map(route::decode).collect::<Vec<_>>().join("/");
    Ok((container, blob))
}

pub(super) fn function_id(function: &Function) -> String {
    format!("Host.Functions.{}", function.name)
}

struct Scan {
    instance: Arc<Instance>,
    storage: Storage,
    found: Queue,
    watcher: Arc<Notify>,
}

impl Alone for Scan {
    async fn run(&self) {
        let mut known = HashSet::new();
        while !self.instance.is_stopping() {
            let functions = blob_functions(&self.instance.app);
            for (function, blobs) in functions.filter(|(_, it)| it.source == BlobSource::Scan) {
                if let Err(reason) = self.once(function, &blobs, &mut known).await {
                    let text = format!("The host, scanning for {}: {reason:#}", function.name);
                    self.instance.lines.of_host(Level::Error, text);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.instance.options.blob_polling) => {}
                () = self.instance.stop_begun() => {}
            }
        }
    }
}

impl Scan {
    async fn once(
        &self,
        function: &Function,
        blobs: &Blobs<'_>,
        known: &mut HashSet<String>,
    ) -> Result<()> {
        let Blobs {
            pattern, storage, ..
        } = blobs;
        let receipts = self.storage.container(CONTAINER);
        let id = function_id(function);
        let container = storage.container(&pattern.container);
        for blob in container.list(pattern.prefix()).await? {
            let receipt = format!(
                "blobreceipts/{HOST_ID}/{id}/{}/{}/{}",
                blob.etag, pattern.container, blob.name
            );
            if pattern.matches(&blob.name).is_none() || known.contains(&receipt) {
                continue;
            }
            if receipts.find(&receipt).await?.is_none() {
                let message = Found::message(&id, &pattern.container, &blob)?;
                self.found.put_or_create(&message, Duration::ZERO).await?;
                receipts.put(&receipt, "").await?;
                self.watcher.notify_one();
            }
            known.insert(receipt);
        }
        Ok(())
    }
}

impl Found {
    fn message(function_id: &str, container: &str, blob: &BlobItem) -> Result<String> {
        let found = Self {
            r#type: "BlobTrigger".to_owned(),
            function_id: Some(function_id.to_owned()),
            blob_type: blob.kind.name().to_owned(),
            container_name: container.to_owned(),
            blob_name: blob.name.clone(),
            e_tag: format!("\"{}\"", blob.etag),
        };
        outputs::encode(&serde_json::to_vec(&found)?, true)
    }
}

struct FoundBlobs {
    instance: Arc<Instance>,
    storage: Storage,
}

impl FoundBlobs {
    async fn execute(&self, message: &Message, text: &str) -> Result<Execution> {
        // What is no longer so is no failure: a changed blob is found by the next scan.
        let ignored = || Ok(Execution::Succeeded(Map::new()));
        let Ok(found) = serde_json::from_str::<Found>(text) else {
            return ignored();
        };
        let Some(id) = &found.function_id else {
            // `BlobQueueTriggerExecutor` throws "Invalid function ID.", which nobody catches.
            self.instance.begin_stop();
            bail!("a message names no function, which ends the host");
        };
        let Some((function, blobs)) = self.registered(id) else {
            return ignored();
        };
        let container = blobs.storage.container(&found.container_name);
        let etag = found.e_tag.trim_matches('"');
        let (item, blob) = tokio::try_join!(
            container.find(&found.blob_name),
            container.get(&found.blob_name)
        )?;
        let (Some(item), Some(blob)) = (item, blob) else {
            return ignored();
        };
        let Some(values) = blobs.pattern.matches(&found.blob_name) else {
            return ignored();
        };
        if blobs.source == BlobSource::Scan && (item.etag != etag || blob.etag != etag) {
            return ignored();
        }
        let url = container.url(&found.blob_name)?;
        let (binding, content) = (&function.binding, &blob.content);
        let payload = Payload::blob(binding, &item, url.as_str(), content, &values);
        let subject = format!("{}/{}", found.container_name, found.blob_name);
        let call = Call {
            function,
            subject: &subject,
            dequeue_count: Some(message.dequeue_count),
        };
        Ok(self.instance.execute(call, &payload).await)
    }

    fn registered(&self, id: &str) -> Option<(&Arc<Function>, Blobs<'_>)> {
        blob_functions(&self.instance.app).find(|(function, ..)| function_id(function) == id)
    }
}

impl Work for FoundBlobs {
    async fn run(&self, message: &Message, text: &str) -> Execution {
        self.execute(message, text).await.unwrap_or_else(|reason| {
            let text = format!("The host, reading a blob: {reason:#}");
            self.instance.lines.of_host(Level::Error, text);
            Execution::Failed
        })
    }

    fn poison(&self, text: Option<&str>) -> Option<Queue> {
        let found = text.and_then(|text| serde_json::from_str::<Found>(text).ok());
        let registered = found.and_then(|found| self.registered(found.function_id.as_deref()?));
        let storage = registered.map_or(&self.storage, |(_, blobs)| blobs.storage);
        Some(storage.queue(POISON))
    }
}
