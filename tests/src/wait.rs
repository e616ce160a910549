//! Waiting for something to come true, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks. Short against what is waited for, long against a look.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `holds` says so, and no longer than `patience`.
///
/// # Errors
/// When it does not hold in time: the error says `what` was waited for. When looking fails.
pub async fn until(
    patience: Duration,
    what: &str,
    mut holds: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while !holds().await? {
        if start.elapsed() > patience {
            bail!("it never came to this in {patience:?}: {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
