//! `publish-bucket`: makes the labelled file of a run's parts, in one commit, and ends the run.
//!
//! Safe to run twice and in parallel: the same parts give the same file, and it is committed only over
//! the file that was there when the run was known to be the current one.

use super::FunctionError;
use super::app::App;
use super::message::{RunMessage, message};
use super::metadata;
use crate::dataset::layout;
use crate::dataset::metadata::{BucketReport, Status};
use crate::host::{Answer, Invocation};
use crate::run::RunError;
use crate::run::paths::BucketPaths;
use crate::run::publish::draft;
use crate::run::record::{Record, State};
use crate::store::PutMode;

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Answer, FunctionError> {
    let RunMessage { run } = message(invocation, "publish")?;
    let Some((record, manifest)) = app.chunk_of(&run).await? else {
        return Ok(Answer::done());
    };
    if app.ledger(&record).await?.count() < record.chunks.unwrap_or(u64::MAX) {
        tracing::info!(run, "not all chunks are finished yet");
        return Ok(Answer::done());
    }
    let output = app.data.labeled(&record.dataset)?;
    let path = layout::labeled_path(&manifest.name());
    // Before it is known who is current: whoever takes the place and publishes after that makes the
    // commit fail.
    let there = output.status(&path).await?.map(|status| status.version);
    if !may_publish(app, &run).await? {
        return Ok(Answer::done());
    }
    let paths = BucketPaths::of_run(&run);
    let (work, clock) = (app.runs.work(), app.runs.clock());
    let draft = draft(&manifest, (work, &paths), (&output, &path), clock).await?;
    if there.is_some() && draft.report().figures.labeled == 0 {
        let reason =
            "no turn got a label, so that the labelled file that is there was left as it is";
        let state = if draft.report().status == Status::Complete {
            State::Complete
        } else {
            State::Failed
        };
        app.runs.end(&run, state, Some(reason.to_owned())).await?;
        return Ok(Answer::done());
    }
    // Drafting takes a while, in which it may have been cancelled or replaced.
    if !may_publish(app, &run).await? {
        return Ok(Answer::done());
    }
    match draft.commit(PutMode::from(there)).await? {
        Some(report) => {
            let place = output.locate(&path);
            end(app, &record, report, &place).await?;
            metadata::refresh(app, &record.dataset).await?;
        }
        None => tracing::info!(run, "somebody else published the bucket just now"),
    }
    Ok(Answer::done())
}

/// Whether a run still is to be published: it goes on, is the current one of its file, and RAW is the
/// version that it is about. Where that is over, the run ends.
async fn may_publish(app: &App, run: &str) -> Result<bool, RunError> {
    let Some(record) = app.workable(run).await? else {
        return Ok(false);
    };
    let source = app.raw_version(&record.dataset, &record.file).await?;
    if source.map(|version| version.etag) == Some(record.source.etag.clone()) {
        return Ok(true);
    }
    let reason = "RAW changed before it was published".to_owned();
    app.runs.end(run, State::Superseded, Some(reason)).await?;
    Ok(false)
}

/// Ends a run whose bucket is published.
async fn end(
    app: &App,
    record: &Record,
    report: BucketReport,
    place: &str,
) -> Result<(), RunError> {
    let state = match report.status {
        Status::Complete => State::Complete,
        Status::Partial => State::Partial,
        Status::Failed => State::Failed,
    };
    let run = &record.run;
    let now = app.runs.clock().now();
    let report = BucketReport {
        run: Some(run.clone()),
        ..report
    };
    let ended = app.runs.update(run, |record| {
        let reason = record.reason.clone();
        // Who cancelled it in this very moment came too late: the file is there.
        record.end(state, reason, now);
        let tells = record.report.as_ref() != Some(&report);
        record.report = Some(report.clone());
        tells
    });
    ended.await?;
    tracing::info!(
        event = "run_ended",
        run,
        dataset = record.dataset,
        file = record.file,
        state = state.as_str(),
        place,
        turns = report.figures.turns,
        labeled = report.figures.labeled,
        failed = report.figures.failed,
        "the run is published"
    );
    Ok(())
}
