//! `dataset-uploaded`: a dataset's `metadata.json` was written, which the exporter uploads last. Every
//! bucket file that is there has its run begun, if it has none, and the counts are compared anew.
//!
//! Safe to run twice: a run's name follows from the file and its ETag.

use super::FunctionError;
use crate::dataset::layout;
use crate::host::Invocation;
use crate::steps::{App, Message, metadata};

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Vec<Message>, FunctionError> {
    let dataset = invocation.metadata("dataset").unwrap_or_default();
    // The trigger's pattern may match more than one expects.
    if let Err(reason) = layout::raw_dataset(&dataset) {
        tracing::info!(
            event = "event_ignored",
            dataset,
            reason,
            "the upload begins nothing"
        );
        return Ok(Vec::new());
    }
    let messages = app.take_up_all(&dataset).await?;
    let planned = messages.len();
    tracing::info!(
        event = "dataset_uploaded",
        dataset,
        planned,
        "the dataset is there, its bucket files are planned"
    );
    metadata::refresh(app, &dataset).await?;
    Ok(messages)
}
