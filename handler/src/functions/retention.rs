//! Removing the work of runs that ended long ago: manifest, parts, ledger, record.
//!
//! Safe to run twice and to be killed in: the record goes last, and what is not there is fine. The
//! record of a file's current run stays, as the metadata is made of it; only its work goes.

use super::app::App;
use crate::run::RunError;
use crate::run::paths::BucketPaths;
use jiff::SignedDuration;

/// Removes what is past its retention.
///
/// # Errors
/// If something cannot be listed or removed.
pub(super) async fn remove_old(app: &App) -> Result<(), RunError> {
    let kept = SignedDuration::from_hours(24 * i64::from(app.settings.retention_days));
    let now = app.runs.clock().now();
    for (run, modified) in app.runs.listed().await? {
        // A record is not changed after its end, so that it is as old as that.
        if now.duration_since(modified) < kept {
            continue;
        }
        let Some(record) = app.runs.read(&run).await? else {
            continue;
        };
        if !record.state.is_over() {
            continue;
        }
        let work = app.runs.work();
        work.remove(BucketPaths::of_run(&run).folder()).await?;
        let current = app.runs.current(&record.dataset, &record.file).await?;
        if current.is_none_or(|current| current.run != run) {
            app.runs.forget(&run).await?;
            tracing::info!(
                event = "run_forgotten",
                run,
                "the run is past its retention"
            );
        }
    }
    Ok(())
}
