//! Versions of RAW files of which no word came: their events got lost, or came while storage refused the
//! app.
//!
//! Only datasets that have runs are looked through. What was there before the app is labelled when
//! somebody asks for it.

use super::message::Message;
use super::world::App;
use crate::run::RunError;

/// Takes up what was overlooked, once an hour. Gives the messages that have it planned.
///
/// # Errors
/// If the datasets cannot be listed.
pub(crate) async fn take_up(app: &App) -> Result<Vec<Message>, RunError> {
    let now = app.runs.clock().now();
    // Half an hour from the removal of old work.
    if now.as_second() / 60 % 60 != 30 {
        return Ok(Vec::new());
    }
    let mut messages = Vec::new();
    for dataset in app.runs.datasets().await? {
        match app.take_up_all(&dataset).await {
            Ok(found) => messages.extend(found),
            // One that cannot be read is no reason not to look at the others.
            Err(error) => {
                tracing::warn!(dataset, %error, "the dataset cannot be looked through now")
            }
        }
    }
    Ok(messages)
}
