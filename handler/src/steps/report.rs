//! The report of a labelled dataset, written when its runs have ended.
//!
//! It is made of what is published, so it can be written twice, and no run fails for it.

use super::world::App;
use crate::dataset::{layout, seal};
use crate::labeled::{Labeled, Location, ReadError};
use crate::report::{Options, ReportError, report};
use crate::run::RunError;
use std::time::Duration;

/// The reconciler waits for a report no longer than this: what it decided is sent afterwards.
const LONGEST: Duration = Duration::from_secs(240);

/// The outcome of writing a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    There(String),
    /// Something else is there, which was left as it is.
    Foreign(String),
    /// Something could not be read or written.
    Failed(String),
}

/// Writes the report of a labelled dataset in place of the last one; a file that softlabel did not write
/// is kept.
pub(crate) async fn write(app: &App, dataset: &str) -> Written {
    match try_to_write(app, dataset, app.settings.report).await {
        Ok(written) => written,
        Err(error) => {
            let reason = error.to_string();
            tracing::warn!(
                event = "report_failed",
                dataset,
                reason,
                "there is no report"
            );
            Written::Failed(reason)
        }
    }
}

/// The report of a labelled dataset, if one is there that softlabel wrote and nobody changed.
pub(crate) async fn read(app: &App, dataset: &str) -> Result<Option<String>, RunError> {
    let folder = app.data.metadata(dataset)?;
    let there = folder.read(layout::REPORT).await?;
    let ours = there.filter(|there| !there.is_empty() && seal::is_ours(there));
    Ok(ours.and_then(|ours| String::from_utf8(ours).ok()))
}

/// Writes it where all runs of the dataset have ended.
pub(super) async fn write_when_ended(app: &App, dataset: &str) -> Result<(), RunError> {
    let runs = app.runs.of_dataset(dataset).await?;
    if runs.iter().all(|(_, record)| record.state.is_over()) {
        let written = tokio::time::timeout(LONGEST, write(app, dataset));
        if written.await.is_err() {
            let reason = "it took too long; softlabel report makes one";
            tracing::warn!(
                event = "report_failed",
                dataset,
                reason,
                "there is no report"
            );
        }
    }
    Ok(())
}

async fn try_to_write(app: &App, dataset: &str, options: Options) -> Result<Written, ReportError> {
    let folder = app.data.metadata(dataset).map_err(ReadError::from)?;
    let there = folder.read(layout::REPORT).await.map_err(ReadError::from)?;
    let place = folder.locate(layout::REPORT);
    if !app.settings.overwrite && there.as_ref().is_some_and(|there| !seal::is_ours(there)) {
        return Ok(Written::Foreign(place));
    }
    let to_read = app.data.to_read(dataset).map_err(ReadError::from)?;
    let to_read = Location {
        work: Some(app.runs.work().clone()),
        dataset: Some(dataset.to_owned()),
        ..to_read
    };
    let mut labeled = Labeled::open(&to_read).await?;
    let raw = match options.texts {
        true => Some(app.data.raw(dataset).map_err(ReadError::from)?),
        false => None,
    };
    let page = report(&mut labeled, raw.as_ref(), options).await?;
    if there.as_ref() == Some(&page) {
        return Ok(Written::There(place));
    }
    folder
        .replace(layout::REPORT, page)
        .await
        .map_err(ReadError::from)?;
    Ok(Written::There(place))
}
