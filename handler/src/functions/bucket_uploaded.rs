//! `bucket-uploaded`: an event says that a blob was written. Where it is a bucket file of RAW, its run
//! begins.
//!
//! Safe to run twice: a run's name follows from the blob and its ETag. That is the ETag which the blob has
//! now, not the event's: metadata, properties and access control change it without an event of their own,
//! and where a newer version has an event, that event finds the same run.

use super::FunctionError;
use crate::dataset::layout;
use crate::host::Invocation;
use crate::steps::{App, Message};
use serde::Deserialize;
use serde_json::Value;

/// The operations after which a blob is whole. With a hierarchical namespace `CreateFile` comes first,
/// of an empty file, and `FlushWithClose` at the end; over SFTP `SftpCreate`, and `SftpCommit` at the end.
const WHOLE_AFTER: [&str; 5] = [
    "PutBlob",
    "PutBlockList",
    "CopyBlob",
    "FlushWithClose",
    "SftpCommit",
];

/// An event of Event Grid's schema, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    subject: String,
    event_type: String,
    data: BlobCreated,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobCreated {
    #[serde(default)]
    api: String,
    content_length: Option<u64>,
}

/// A bucket file that an event is about.
#[derive(Debug, PartialEq, Eq)]
struct Upload {
    dataset: String,
    file: String,
}

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Vec<Message>, FunctionError> {
    let events = match invocation.message("event")? {
        Value::Array(events) => events,
        event => vec![event],
    };
    let mut messages = Vec::new();
    for event in events {
        let event =
            serde_json::from_value::<Event>(event).map_err(|error| FunctionError::Message {
                binding: "event",
                error,
            })?;
        match upload(app, &event) {
            Err(reason) => ignored(&event, reason),
            Ok(Upload { dataset, file }) => match app.raw_version(&dataset, &file).await? {
                None => ignored(&event, "the blob is gone"),
                Some(version) if version.length == 0 => ignored(&event, EMPTY),
                Some(version) => messages.extend(app.take_up(&dataset, &file, version).await?),
            },
        }
    }
    Ok(messages)
}

const EMPTY: &str = "the blob is empty";

fn ignored(event: &Event, reason: &str) {
    let blob = &event.subject;
    tracing::info!(
        event = "event_ignored",
        blob,
        reason,
        "the event begins nothing"
    );
}

/// Which bucket file an event is about, or why it is about none.
fn upload(app: &App, event: &Event) -> Result<Upload, &'static str> {
    if event.event_type != "Microsoft.Storage.BlobCreated" {
        return Err("it is no BlobCreated event");
    }
    if !WHOLE_AFTER.contains(&event.data.api.as_str()) {
        return Err("its operation does not complete a blob");
    }
    let path = event
        .subject
        .strip_prefix("/blobServices/default/containers/");
    let (container, path) = path
        .and_then(|path| path.split_once("/blobs/"))
        .ok_or("its subject is no blob")?;
    let path = app
        .data
        .below_base(container, path)
        .ok_or("the blob does not lie below the base path")?;
    let (dataset, file) = layout::bucket_file(path)?;
    if event.data.content_length == Some(0) {
        return Err(EMPTY);
    }
    Ok(Upload {
        dataset: dataset.to_owned(),
        file: file.to_owned(),
    })
}
