//! Work that is done once an hour, and remembers how far it is.
//!
//! A round that was missed, came late or was cut short costs no hour: what is due is done with the next
//! one, from where the last one stopped.

use super::message::Message;
use super::world::App;
use crate::run::{RunError, work};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::pin::pin;
use tokio::time::Instant;

/// Rounds are a minute apart, and never to the second.
const HOUR: SignedDuration = SignedDuration::from_mins(59);

/// After a failure everything is looked at again after this time.
const RETRY: SignedDuration = SignedDuration::from_mins(10);

/// Names, files or runs that are worked on at a time.
pub(super) const AT_ONCE: usize = 16;

/// How far a kind of work is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Nothing to do before that.
    pub due: Option<Timestamp>,
    /// The last name that is done, while it is under way.
    pub up_to: Option<String>,
}

impl Progress {
    /// That of a `kind` of work.
    pub(super) async fn read(app: &App, kind: &str) -> Result<Self, RunError> {
        let there = work::read(app.runs.work(), &path(kind)).await?;
        Ok(there.unwrap_or_default())
    }

    pub(super) async fn write(&self, app: &App, kind: &str) -> Result<(), RunError> {
        work::write(app.runs.work(), &path(kind), self).await
    }
}

fn path(kind: &str) -> String {
    format!("rounds/{kind}.json")
}

/// Does a `kind` of work for each of the names that `list` gives, several at a time, until `until`, if an
/// hour has passed since all were done. Gives the messages that result.
///
/// # Errors
/// If the names cannot be listed, or the progress not be kept. What fails for one name is logged.
pub(super) async fn each<L, W>(
    app: &App,
    kind: &str,
    until: Instant,
    list: L,
    work: impl Fn(String) -> W,
) -> Result<Vec<Message>, RunError>
where
    L: Future<Output = Result<Vec<String>, RunError>>,
    W: Future<Output = Result<Vec<Message>, RunError>>,
{
    let now = app.runs.clock().now();
    let progress = Progress::read(app, kind).await?;
    if progress.due.is_some_and(|due| due > now) {
        return Ok(Vec::new());
    }
    let mut names = list.await?;
    names.sort_unstable();
    names.retain(|name| progress.up_to.as_ref().is_none_or(|done| name > done));
    let last = names.last().cloned();
    let in_time = names.into_iter().take_while(|_| Instant::now() < until);
    let worked = in_time.map(|name| {
        let done = work(name.clone());
        async move { (name, done.await) }
    });
    let mut worked = pin!(stream::iter(worked).buffered(AT_ONCE));
    let (mut messages, mut up_to, mut failed) = (Vec::new(), None, false);
    while let Some((name, done)) = worked.next().await {
        match done {
            Ok(found) => messages.extend(found),
            // A failure of one does not keep the others from being looked at.
            Err(error) => {
                failed = true;
                tracing::error!(kind, name, %error, "this item of the hourly work cannot be done now");
            }
        }
        up_to = Some(name);
    }
    let is_done = up_to == last;
    let after = if failed { RETRY } else { HOUR };
    let progress = Progress {
        due: is_done.then(|| now.saturating_add(after).unwrap_or(now)),
        up_to: up_to
            .filter(|_| !is_done)
            .or(progress.up_to.filter(|_| !is_done)),
    };
    progress.write(app, kind).await?;
    Ok(messages)
}
