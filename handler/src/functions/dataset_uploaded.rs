//! `dataset-uploaded`: a dataset's `metadata.json` was written, which the exporter uploads last. Every
//! bucket file that is there has its run begun, if it has none, and the counts are compared anew.
//!
//! Safe to run twice: a run's name follows from the file and its ETag.

use super::FunctionError;
use super::app::App;
use super::metadata;
use crate::dataset::layout;
use crate::host::{Answer, Invocation};

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Answer, FunctionError> {
    let dataset = invocation.metadata("dataset").unwrap_or_default();
    // The trigger's pattern may match more than one expects.
    if let Err(reason) = layout::raw_dataset(&dataset) {
        tracing::info!(
            event = "event_ignored",
            dataset,
            reason,
            "the upload begins nothing"
        );
        return Ok(Answer::done());
    }
    let raw = app.data.raw(&dataset)?;
    let (files, _) = raw.buckets().await?;
    let mut messages = Vec::new();
    for file in files {
        // JSON Lines are for local runs; an event would not bring them either.
        if layout::bucket_file(&format!("{dataset}/{}", file.path)).is_err() {
            continue;
        }
        match app.raw_version(&dataset, &file.path).await? {
            Some(version) if version.length > 0 => {
                messages.extend(app.take_up(&dataset, &file.path, version).await?);
            }
            _ => {}
        }
    }
    let planned = messages.len();
    tracing::info!(
        event = "dataset_uploaded",
        dataset,
        planned,
        "the dataset is there, its bucket files are planned"
    );
    metadata::refresh(app, &dataset).await?;
    Ok(Answer::done().send("plans", messages))
}
