//! Versions of RAW files of which no word came: their events got lost, or came while storage refused the
//! app.
//!
//! Only datasets that have runs are looked through. What was there before the app is labelled when
//! somebody asks for it.

use super::hourly;
use super::message::Message;
use super::world::App;
use crate::run::RunError;
use tokio::time::Instant;

/// Takes up what was overlooked, once an hour, until `until`. Gives the messages that have it planned.
///
/// # Errors
/// If the datasets cannot be listed.
pub(crate) async fn take_up(app: &App, until: Instant) -> Result<Vec<Message>, RunError> {
    let datasets = async { Ok(app.runs.datasets().await?.into_iter().collect()) };
    let look = |dataset: String| async move { app.take_up_all(&dataset).await };
    hourly::each(app, "overlooked", until, datasets, look).await
}
