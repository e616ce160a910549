//! Finds versions of RAW files whose event was lost, or came while storage refused the app, and what of RAW
//! is gone, which has no event.
//!
//! Only datasets that have runs are searched. Files older than the app are labelled when a request asks
//! for it.

use super::hourly;
use super::message::Message;
use super::metadata;
use super::world::App;
use crate::run::RunError;
use crate::store::sentence;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

impl App {
    /// What an upload into a dataset comes to. Where storage refuses to show it, the dataset is looked through every
    /// minute until it does: an event that failed again and again would be lost.
    pub(crate) async fn or_overlook(
        &self,
        dataset: &str,
        taken_up: Result<Vec<Message>, RunError>,
    ) -> Result<Vec<Message>, RunError> {
        match taken_up {
            Err(error @ (RunError::Raw(_) | RunError::Store(_))) => {
                self.runs.note_overlooked(dataset).await?;
                let error = sentence(&error);
                tracing::warn!(
                    event = "dataset_waiting",
                    dataset,
                    error,
                    "the dataset cannot be read now"
                );
                Ok(Vec::new())
            }
            taken_up => taken_up,
        }
    }
}

/// Looks again at the datasets that storage refused to show. Gives the messages that have them planned.
///
/// # Errors
/// If they cannot be listed.
pub(crate) async fn look_again(
    app: &App,
    overlooked: Vec<(String, Timestamp)>,
) -> Result<Vec<Message>, RunError> {
    let mut messages = Vec::new();
    for (dataset, made) in overlooked {
        match app.take_up_all(&dataset, Some(made)).await {
            Ok(found) => messages.extend(found),
            Err(error) if error.is_storage_not_found() => {}
            Err(error) => {
                tracing::warn!(dataset, %error, "the dataset cannot be looked through now");
                continue;
            }
        }
        app.runs.forget_overlooked(&dataset).await?;
    }
    Ok(messages)
}

/// Takes up what was overlooked, once an hour, until `until`, and brings the metadata up to date. Gives the
/// messages that have it planned.
///
/// # Errors
/// If the datasets cannot be listed.
pub(crate) async fn take_up(app: &App, until: Instant) -> Result<Vec<Message>, RunError> {
    let datasets = async { Ok(app.runs.datasets().await?.into_iter().collect()) };
    // RAW's own metadata may be large.
    let one_at_a_time = &Mutex::new(());
    let look = |dataset: String| async move {
        let messages = app.take_up_all(&dataset, None).await?;
        let _turn = one_at_a_time.lock().await;
        metadata::refresh_what_is_there(app, &dataset).await;
        Ok(messages)
    };
    hourly::each(app, "overlooked", until, datasets, look).await
}
