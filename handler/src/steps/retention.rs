//! Removing the work of runs that ended long ago: manifest, parts, ledger, record.
//!
//! Safe to run twice and to be killed in: the record goes last, and what is not there is fine. The
//! records that the metadata is made of stay, of a file's current run and of its last published one;
//! only their work goes.

use super::world::App;
use crate::run::RunError;
use crate::run::paths::BucketPaths;
use crate::run::record::Record;
use jiff::SignedDuration;

/// Removes what is past its retention, once an hour. `active` are the runs that are not settled.
///
/// # Errors
/// If the runs cannot be listed.
pub(crate) async fn remove_old(app: &App, active: &[Record]) -> Result<(), RunError> {
    let now = app.runs.clock().now();
    if now.as_second() / 60 % 60 != 0 {
        return Ok(());
    }
    let kept = SignedDuration::from_hours(24 * i64::from(app.settings.retention_days));
    for (run, modified) in app.runs.listed().await? {
        let begun_with = active
            .iter()
            .any(|record| record.base.as_ref() == Some(&run));
        // A record is not changed after its end, so that it is as old as that.
        if now.duration_since(modified) < kept || begun_with {
            continue;
        }
        // One run that cannot be removed is no reason to keep the others.
        if let Err(error) = remove(app, &run).await {
            tracing::error!(run, %error, "the run's work cannot be removed now");
        }
    }
    Ok(())
}

/// Removes the work of runs whose place another one took that is published.
///
/// # Errors
/// If something cannot be read or removed.
pub(crate) async fn remove_replaced(app: &App, dataset: &str) -> Result<(), RunError> {
    for (current, record) in app.runs.of_dataset(dataset).await? {
        if record.is_published() {
            for run in &current.before {
                remove(app, run).await?;
            }
        }
    }
    Ok(())
}

/// Removes the work of a run that is over, and its record if nothing is made of it.
async fn remove(app: &App, run: &str) -> Result<(), RunError> {
    let Some(record) = app.runs.read(run).await? else {
        return Ok(());
    };
    if !record.state.is_over() {
        return Ok(());
    }
    if !record.swept {
        let work = app.runs.work();
        work.remove(BucketPaths::of_run(run).folder()).await?;
    }
    if is_shown(app, &record).await? {
        let sweep = |record: &mut Record| !std::mem::replace(&mut record.swept, true);
        return app.runs.update(run, sweep).await.map(drop);
    }
    app.runs.forget(run).await?;
    tracing::info!(
        event = "run_forgotten",
        run,
        "the run is past its retention"
    );
    Ok(())
}

/// Whether the metadata is made of a run's record: it is the current one of its file, or the last that
/// was published while the current one is not.
async fn is_shown(app: &App, record: &Record) -> Result<bool, RunError> {
    let Some(current) = app.runs.current(&record.dataset, &record.file).await? else {
        return Ok(false);
    };
    if current.run == record.run {
        return Ok(true);
    }
    let now = app.runs.read(&current.run).await?;
    Ok(record.is_published() && !now.is_some_and(|now| now.is_published()))
}
