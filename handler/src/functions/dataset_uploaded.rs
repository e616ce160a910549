//! `dataset-uploaded`: a dataset's `metadata.json` was written, which the exporter uploads last. Begins
//! the run of every bucket file that has none, and compares the counts again.
//!
//! Safe to run twice: runs under way and published files stay as they are, see [`wish`](crate::steps).

use super::FunctionError;
use crate::dataset::layout;
use crate::host::Invocation;
use crate::steps::{App, Message, metadata};
use jiff::Timestamp;
use serde_json::Value;

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Vec<Message>, FunctionError> {
    let dataset = invocation.metadata("dataset").unwrap_or_default();
    // The trigger's pattern may match more than one expects.
    if let Err(reason) = layout::raw_dataset(&dataset) {
        tracing::info!(
            event = "event_ignored",
            dataset,
            reason,
            "the upload starts no run"
        );
        return Ok(Vec::new());
    }
    let made = written(invocation).unwrap_or_else(|| app.runs.clock().now());
    let taken_up = app.take_up_all(&dataset, Some(made)).await;
    let messages = app.or_overlook(&dataset, taken_up).await?;
    let planned = messages.len();
    tracing::info!(
        event = "dataset_uploaded",
        dataset,
        planned,
        "the dataset is there, its bucket files are planned"
    );
    metadata::refresh_if_possible(app, &dataset).await;
    Ok(messages)
}

/// When the file was written, according to the trigger.
fn written(invocation: &Invocation) -> Option<Timestamp> {
    let properties = invocation.metadata("Properties")?;
    let properties = serde_json::from_str::<Value>(&properties).ok()?;
    properties.get("LastModified")?.as_str()?.parse().ok()
}
