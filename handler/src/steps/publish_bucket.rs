//! `publish-bucket`: makes the labelled file of a run's parts and the details of it, and ends the run.
//!
//! Safe to run twice and in parallel: the same parts give the same files, and each is committed only over
//! the file that was there when the run was known to be the current one. The loser of such a race
//! publishes both again.

use super::message::{Message, RunMessage};
use super::metadata;
use super::world::App;
use crate::dataset::metadata::{BucketReport, Status};
use crate::run::RunError;
use crate::run::paths::BucketPaths;
use crate::run::publish::{Draft, Target, draft};
use crate::run::record::{Origin, Record, State};
use crate::run::work;
use crate::store::{PutMode, Version};

/// Publishes a run whose chunks are all finished.
///
/// # Errors
/// If something cannot be read or written.
pub async fn run(app: &App, message: RunMessage) -> Result<Vec<Message>, RunError> {
    let mut messages = Vec::new();
    let published = publish(app, &message.run, &mut messages).await;
    messages.extend(app.or_wait(&message.run, published).await?);
    Ok(messages)
}

/// Publishes it. The `messages` for chunks of other runs that there is money for by now must be sent, whatever it
/// comes to.
async fn publish(
    app: &App,
    run: &str,
    messages: &mut Vec<Message>,
) -> Result<Vec<Message>, RunError> {
    let Some((record, manifest)) = app.chunk_of(run).await? else {
        return Ok(Vec::new());
    };
    let ledger = app.ledger(&record).await?;
    if !app.is_settled(&record, &manifest, &ledger).await? {
        tracing::info!(run, "not all chunks are finished yet");
        return Ok(Vec::new());
    }
    let woken = app.settle_run(&record, &ledger, Some(&manifest)).await?;
    messages.extend(woken);
    let targets = app.data.published(&record.dataset, &manifest.name())?;
    let paths = BucketPaths::of_run(run);
    let (work, clock) = (app.runs.work(), app.runs.clock());
    // Where a file has its first run nothing is there, as a rule.
    let mut is_first = record.origin == Origin::Upload && record.replaces.is_none();
    loop {
        // Read before the current run: if another run becomes current and publishes after that, the commit
        // fails.
        let there = match is_first {
            true => [None, None],
            false => there(&targets).await?,
        };
        let draft = draft(&manifest, (work, &paths), &targets, clock).await?;
        // Drafting takes a while, in which it may have been cancelled or replaced.
        let Some(record) = publishable(app, run).await? else {
            return Ok(Vec::new());
        };
        if matches!(there, [Some(_), _]) && draft.report().figures.labeled == 0 {
            let reason = "no turn got a label, so the existing labelled file was left as it is";
            let state = if draft.report().status == Status::Complete {
                State::Complete
            } else {
                State::Failed
            };
            app.runs.end(run, state, Some(reason.to_owned())).await?;
            return Ok(Vec::new());
        }
        let Some((record, report)) = commit(app, &record, draft, there).await? else {
            return Ok(Vec::new());
        };
        match report {
            Some(report) => {
                let [labels, _] = &targets;
                let place = labels.folder.locate(&labels.path);
                // Before it has ended: a process that is killed now publishes it once more.
                if let Some(asked) = record.sets_dataset {
                    app.set_dataset(&record.dataset, &record.settings, asked)
                        .await?;
                }
                end(app, &record, report, &place).await?;
                metadata::refresh_soon(app, &record.dataset).await?;
                return Ok(Vec::new());
            }
            None if is_first => is_first = false,
            None => {
                tracing::info!(run, "another process published the bucket just now");
                return Ok(vec![Message::publish(run)]);
            }
        }
    }
}

/// Publishes a run again that has ended: its labelled file or the details are not there or were cut off, or
/// its lines are to have other names. Nothing is asked.
///
/// # Errors
/// [`RunError::Foreign`] if something else is there, and if something cannot be read or written.
pub(crate) async fn again(app: &App, record: &Record) -> Result<(), RunError> {
    let paths = BucketPaths::of_run(&record.run);
    let (work, clock) = (app.runs.work(), app.runs.clock());
    let plan = paths.manifest();
    let planned = work.status(&plan).await?;
    let (Some(planned), Some(manifest)) = (planned, app.manifest(record).await?) else {
        return Err(RunError::BaseGone {
            path: work.locate(&plan),
        });
    };
    let mut targets = app.data.published(&record.dataset, &manifest.name())?;
    let there = there(&targets).await?;
    let found = app
        .published_files(&record.dataset, &manifest.name())
        .await?;
    for (target, found) in targets.iter_mut().zip(&found) {
        target.beginning = found.as_ref().map_or(0, |found| found.length);
    }
    let draft = draft(&manifest, (work, &paths), &targets, clock).await?;
    for ((found, beginning), target) in found.iter().zip(draft.begin_with()).zip(&targets) {
        let is_ours = found
            .as_ref()
            .is_none_or(|found| record.made(found) || Some(found) == beginning);
        if !is_ours && !app.settings.overwrite {
            let path = target.folder.locate(&target.path);
            return Err(RunError::Foreign { path });
        }
    }
    let committed = commit(app, record, draft, there).await?;
    let Some((record, Some(report))) = committed else {
        tracing::info!(
            run = record.run,
            "another process published the bucket just now"
        );
        return Ok(());
    };
    let content = work::formatted(work, &plan, manifest.as_ref())?;
    work.swap(&plan, content, &planned.version).await?;
    let report = BucketReport {
        run: Some(record.run.clone()),
        ..report
    };
    let tell = app.runs.update(&record.run, |record| {
        record.report = Some(report.clone());
        true
    });
    tell.await.map(drop)
}

/// The versions of the files that are there.
async fn there([labels, details]: &[Target; 2]) -> Result<[Option<Version>; 2], RunError> {
    let labels = labels.folder.status(&labels.path).await?;
    let details = details.folder.status(&details.path).await?;
    Ok([labels, details].map(|status| status.map(|status| status.version)))
}

/// Makes the files of a draft appear over those that were `there`. The run's record has them before: a process
/// that is killed in between leaves no file that nobody knows.
/// Gives the record as it is then, and the report, or none if others were there meanwhile; nothing at all if the
/// run is gone.
async fn commit(
    app: &App,
    record: &Record,
    draft: Draft,
    there: [Option<Version>; 2],
) -> Result<Option<(Record, Option<BucketReport>)>, RunError> {
    let files = draft.files();
    let announce = app.runs.update_read(record, |record| {
        let before = record.publishing.replace(files.clone());
        before != record.publishing
    });
    let Some(record) = announce.await? else {
        return Ok(None);
    };
    let report = draft.commit(there.map(PutMode::from)).await?;
    Ok(Some((record, report)))
}

/// The record of a run that should still be published: it has not ended, is the current one of its file, and
/// RAW is the version that it is about. If not, the run ends.
async fn publishable(app: &App, run: &str) -> Result<Option<Record>, RunError> {
    let Some(record) = app.workable(run).await? else {
        return Ok(None);
    };
    if !app.runs.is_current(&record).await? {
        return Ok(None);
    }
    let raw = app.data.raw(&record.dataset)?;
    let version = raw.version(&record.file).await.map_err(RunError::Raw)?;
    if app.is_of(&record, &version).await? {
        return Ok(Some(record));
    }
    let reason = "RAW changed before it was published".to_owned();
    app.runs.end(run, State::Superseded, Some(reason)).await?;
    Ok(None)
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
    let ended = app.runs.update_read(record, |record| {
        // Another delivery of the message published the same, and recorded it first.
        if record.is_published() {
            return false;
        }
        let reason = record.reason.clone();
        // A cancellation in this very moment came too late: the file is there.
        record.end(state, reason, now);
        record.report = Some(report.clone());
        record.settled = true;
        true
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
