//! Removing the work of runs that ended long ago: manifest, parts, ledger, record.
//!
//! Safe to run twice and to be killed in: the record goes last, and what is not there is fine. The
//! records that the metadata is made of stay, of a file's current run and of its last published one;
//! only their work goes.

use super::hourly;
use super::world::App;
use crate::run::RunError;
use crate::run::paths::BucketPaths;
use crate::run::record::Record;
use jiff::SignedDuration;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Removes what is past its retention, once an hour, until `until`. Kept are the runs whose
/// results others have `begun_with` that are not settled.
///
/// # Errors
/// If the runs cannot be listed.
pub(crate) async fn remove_old(
    app: &App,
    begun_with: &BTreeSet<String>,
    until: Instant,
) -> Result<(), RunError> {
    let old = async {
        app.runs.mend_list().await?;
        let now = app.runs.clock().now();
        let kept = SignedDuration::from_hours(24 * i64::from(app.settings.retention_days));
        let mut runs = app.runs.listed().await?;
        // A record is not changed after its end, so that it is as old as that.
        runs.retain(|(run, modified)| {
            now.duration_since(*modified) >= kept && !begun_with.contains(run)
        });
        Ok(runs.into_iter().map(|(run, _)| run).collect())
    };
    let removed = hourly::each(app, "retention", until, old, |run| async move {
        remove(app, &run).await.map(|()| Vec::new())
    });
    removed.await.map(drop)
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
    app.runs.unlist_run(&record).await?;
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
