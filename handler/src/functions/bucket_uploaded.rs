//! `bucket-uploaded`: an event says that a blob was written, or that a blob or folder was renamed. Where that
//! brought a bucket file of RAW, its run begins, and is planned at once: another function would have to start
//! first. Work that takes too long or fails is left to `plan-bucket`, so that the event is not delivered
//! again.
//!
//! Safe to run twice: a run's name follows from the blob and its ETag. That is the ETag which the blob has
//! now, not the event's: metadata, properties and access control change it without an event of their own,
//! and where a newer version has an event, that event finds the same run.

use super::FunctionError;
use crate::dataset::layout;
use crate::host::Invocation;
use crate::run::RunError;
use crate::steps::{App, Message, RunMessage, metadata, plan_bucket};
use crate::store::azure::decode;
use crate::store::sentence;
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

/// The operations after which a blob is whole. With a hierarchical namespace `CreateFile` comes first,
/// of an empty file, and `FlushWithClose` at the end; over SFTP `SftpCreate`, and `SftpCommit` at the end.
const WHOLE_AFTER: [&str; 5] = [
    "PutBlob",
    "PutBlockList",
    "CopyBlob",
    "FlushWithClose",
    "SftpCommit",
];

const CREATED: &str = "Microsoft.Storage.BlobCreated";

/// With a hierarchical namespace: what Spark's commits, `mv` and Storage Explorer do.
const BLOB_RENAMED: &str = "Microsoft.Storage.BlobRenamed";

/// The same for a folder with what lies in it, of which nothing has an event of its own.
const FOLDER_RENAMED: &str = "Microsoft.Storage.DirectoryRenamed";

/// An event of Event Grid's schema, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    subject: String,
    event_type: String,
    #[serde(default)]
    event_time: Option<Timestamp>,
    data: Blob,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    #[serde(default)]
    api: String,
    content_length: Option<u64>,
    /// What a renamed blob or folder is called now, and was called.
    destination_url: Option<String>,
    source_url: Option<String>,
}

/// What an event is about.
#[derive(Debug, PartialEq, Eq)]
enum Upload {
    /// A bucket file of a dataset.
    Bucket { dataset: String, file: String },
    /// A whole dataset, or a split of one.
    Dataset(String),
}

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Vec<Message>, FunctionError> {
    let events = match invocation.message("event")? {
        Value::Array(events) => events,
        event => vec![event],
    };
    let until = app.settings.deadline.map(|after| Instant::now() + after);
    let mut messages = Vec::new();
    for event in events {
        let event =
            serde_json::from_value::<Event>(event).map_err(|error| FunctionError::Message {
                binding: "event",
                error,
            })?;
        match upload(app, &event) {
            Err(reason) => ignored(&event, reason),
            Ok(Upload::Bucket { dataset, file }) => {
                let taken_up = take_up(app, &event, &dataset, &file).await;
                for message in app.or_overlook(&dataset, taken_up).await? {
                    messages.extend(planned(app, message, until).await);
                }
            }
            Ok(Upload::Dataset(dataset)) => {
                let taken_up = app.take_up_all(&dataset, event.event_time).await;
                messages.extend(app.or_overlook(&dataset, taken_up).await?);
            }
        }
        if let Some(dataset) = left(app, &event) {
            // What was renamed is not in it any more.
            metadata::refresh_what_is_there(app, &dataset).await;
        }
    }
    Ok(messages)
}

/// Takes up one bucket file.
async fn take_up(
    app: &App,
    event: &Event,
    dataset: &str,
    file: &str,
) -> Result<Vec<Message>, RunError> {
    let version = app.raw_version(dataset, file).await;
    match version.map_err(RunError::Raw)? {
        None => ignored(event, "the blob is gone"),
        Some(version) if version.length == 0 => ignored(event, EMPTY),
        Some(version) => {
            let taken_up = app.take_up(dataset, file, version, event.event_time);
            return Ok(taken_up.await?.into_iter().collect());
        }
    }
    Ok(Vec::new())
}

/// Plans the run of a message here, until that moment; other messages are passed on.
async fn planned(app: &App, message: Message, until: Option<Instant>) -> Vec<Message> {
    match message {
        Message::Plan(message) => plan(app, message, until).await,
        message => vec![message],
    }
}

/// Plans a run until that moment.
async fn plan(app: &App, message: RunMessage, until: Option<Instant>) -> Vec<Message> {
    let planning = app.held(Message::Plan, message.clone(), plan_bucket::run);
    let planned = match until {
        Some(until) => timeout_at(until, planning).await,
        None => Ok(planning.await),
    };
    let why = match planned {
        Ok(Ok(messages)) => return messages,
        Ok(Err(error)) => sentence(&error),
        Err(_) => "it took too long".to_owned(),
    };
    let run = &message.run;
    tracing::warn!(run, why, "the run cannot be planned now");
    vec![Message::Plan(message)]
}

const EMPTY: &str = "the blob is empty";

fn ignored(event: &Event, reason: &str) {
    let blob = &event.subject;
    tracing::info!(
        event = "event_ignored",
        blob,
        reason,
        "the event starts no run"
    );
}

/// What an event is about, or why it starts no run.
fn upload(app: &App, event: &Event) -> Result<Upload, &'static str> {
    let to = || {
        let path = event.data.destination_url.as_deref();
        let path = path.and_then(|url| renamed(app, url));
        path.ok_or("it was not renamed to a path below the base path")
    };
    match event.event_type.as_str() {
        CREATED => {}
        BLOB_RENAMED => return blob_renamed_to(&to()?),
        FOLDER_RENAMED => return folder_renamed_to(&to()?),
        _ => return Err("the event is not about a blob that was written or renamed"),
    }
    if !WHOLE_AFTER.contains(&event.data.api.as_str()) {
        return Err("its operation does not complete a blob");
    }
    let path = event
        .subject
        .strip_prefix("/blobServices/default/containers/");
    let (container, path) = path
        .and_then(|path| path.split_once("/blobs/"))
        .ok_or("its subject is not a blob")?;
    let path = app
        .data
        .below_base(container, path)
        .ok_or("the blob does not lie below the base path")?;
    let (dataset, file) = layout::bucket_file(path)?;
    if event.data.content_length == Some(0) {
        return Err(EMPTY);
    }
    Ok(Upload::Bucket {
        dataset: dataset.to_owned(),
        file: file.to_owned(),
    })
}

/// What a blob is about that was renamed to `path`, below the base path.
fn blob_renamed_to(path: &str) -> Result<Upload, &'static str> {
    match path.split_once('/') {
        // The marker that is put there last.
        Some((dataset, layout::RAW_METADATA)) => {
            layout::raw_dataset(dataset)?;
            Ok(Upload::Dataset(dataset.to_owned()))
        }
        _ => {
            let (dataset, file) = layout::bucket_file(path)?;
            Ok(Upload::Bucket {
                dataset: dataset.to_owned(),
                file: file.to_owned(),
            })
        }
    }
}

/// What a folder is about that was renamed to `path`, below the base path: a dataset's, or a split's.
fn folder_renamed_to(path: &str) -> Result<Upload, &'static str> {
    let (dataset, split) = path.split_once('/').unwrap_or((path, ""));
    layout::raw_dataset(dataset)?;
    match split.contains('/') {
        true => Err("the folder lies too deep for a split of a dataset"),
        false => Ok(Upload::Dataset(dataset.to_owned())),
    }
}

/// The dataset that a renamed blob or folder was in, or that the folder was, if there is one.
fn left(app: &App, event: &Event) -> Option<String> {
    let path = renamed(app, event.data.source_url.as_deref()?)?;
    let dataset = path.split('/').next()?;
    layout::raw_dataset(dataset).ok()?;
    Some(dataset.to_owned())
}

/// What the path of a URL of blobs or folders is below the base path.
fn renamed(app: &App, url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let path = decode(url.path().trim_matches('/'))?;
    let in_account = |path: &str| {
        let (container, path) = path.split_once('/')?;
        app.data.below_base(container, path).map(str::to_owned)
    };
    // An emulator has the account's name first.
    in_account(&path).or_else(|| in_account(path.split_once('/')?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_renamed_to_a_bucket_a_split_or_a_dataset_is_taken_up() {
        let dataset = Ok(Upload::Dataset("v4".into()));
        // A point in a folder's name makes it no file.
        for path in ["v4", "v4/train", "v4/train.2026-11", "v4/a.json"] {
            assert_eq!(folder_renamed_to(path), dataset, "{path}");
        }
        assert_eq!(blob_renamed_to("v4/metadata.json"), dataset);
        let bucket = Upload::Bucket {
            dataset: "v4".into(),
            file: "train/a.json".into(),
        };
        assert_eq!(blob_renamed_to("v4/train/a.json"), Ok(bucket));
        for path in ["LABELED_v4", "LABELED_v4/train", ".tmp/a", "v4/a/b", ""] {
            assert!(folder_renamed_to(path).is_err(), "{path}");
        }
        for path in [
            "v4",
            "v4/notes",
            "LABELED_v4/metadata.json",
            "LABELED_v4/train/a.json",
            "v4/a/b/c.json",
            "v4/train/a.jsonl",
            "",
        ] {
            assert!(blob_renamed_to(path).is_err(), "{path}");
        }
    }
}
