//! Messages whose holder died: each is sent again once, without waiting until the host's queue shows it
//! again.
//!
//! The [holders](super::holder) show which messages those are. A message that is done, or that another
//! process holds, is not sent again. If the old message comes back, it finds nothing left to do, or the
//! lease of another execution.

use super::holder::{HOLDERS, Sign};
use super::message::Message;
use super::world::App;
use crate::run::record::State;
use crate::run::{RunError, work};
use crate::store::{Listed, Version};
use jiff::{SignedDuration, Timestamp};

/// Sends again what dead holders held, except what `is_sent` already.
///
/// # Errors
/// If the holders cannot be listed, or something cannot be read.
pub(super) async fn send_again(app: &App, is_sent: &[Message]) -> Result<Vec<Message>, RunError> {
    let now = app.runs.clock().now();
    let signs = app.runs.work().list(HOLDERS).await?;
    let signs = signs.into_iter();
    let (dead, alive) = signs.partition::<Vec<_>, _>(|sign| is_dead(app, sign, now));
    if dead.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = is_sent.to_vec();
    for sign in alive {
        match work::read::<Sign>(app.runs.work(), &sign.path).await {
            Ok(sign) => known.extend(sign.unwrap_or_default().held),
            Err(error) if error.newer().is_some() => {}
            Err(error) => return Err(error),
        }
    }
    let mut again = Vec::new();
    for Listed { path, .. } in dead {
        // A sign that cannot be read is no reason not to look at the others.
        match mourn(app, &path, &known).await {
            Ok(orphans) => {
                known.extend(orphans.clone());
                again.extend(orphans);
            }
            // It is left for a reconciler that knows it.
            Err(error) if error.newer().is_some() => {}
            Err(error) => tracing::error!(path, %error, "a dead holder cannot be looked at now"),
        }
    }
    Ok(again)
}

impl App {
    /// Whether several executions show that they hold `message`, of this process or of others that are alive.
    pub(super) async fn is_held_twice(&self, message: &Message) -> Result<bool, RunError> {
        let now = self.runs.clock().now();
        let work = self.runs.work();
        let mut holders = 0;
        for sign in work.list(HOLDERS).await? {
            if is_dead(self, &sign, now) {
                continue;
            }
            let held = match work::read::<Sign>(work, &sign.path).await {
                // What is written in a newer format may well be it.
                Err(error) if error.newer().is_some() => return Ok(true),
                sign => sign?.unwrap_or_default().held,
            };
            holders += held
                .iter()
                .filter(|held| held.asks_for_same(message))
                .count();
        }
        Ok(holders > 1)
    }
}

fn is_dead(app: &App, sign: &Listed, now: Timestamp) -> bool {
    let after = SignedDuration::try_from(app.settings.dead_after).unwrap_or(SignedDuration::MAX);
    now.duration_since(sign.modified) > after
}

/// Takes over what a dead holder held. Only one who looks does: the sign is emptied before.
async fn mourn(app: &App, path: &str, known: &[Message]) -> Result<Vec<Message>, RunError> {
    let work = app.runs.work();
    let Some((content, version)) = work.read_versioned(path).await? else {
        return Ok(Vec::new());
    };
    let held = work::parse::<Sign>(work, path, &content)?.held;
    if held.is_empty() {
        work.remove_file(path).await?;
        return Ok(Vec::new());
    }
    let mut orphans = Vec::new();
    for message in &held {
        let is_new = !known.contains(message) && !orphans.contains(message);
        if is_new && is_left(app, message, known).await? {
            orphans.push(message.clone());
        }
    }
    if !empty(app, path, &version).await? {
        // It is alive after all, or another reconciler was quicker.
        return Ok(Vec::new());
    }
    tracing::warn!(
        event = "holder_died",
        holder = path,
        held = held.len(),
        sent = orphans.len(),
        "a process gives no sign of life: what it held is sent again"
    );
    Ok(orphans)
}

async fn empty(app: &App, path: &str, over: &Version) -> Result<bool, RunError> {
    let work = app.runs.work();
    let content = work::formatted(work, path, &Sign::default())?;
    Ok(work.swap(path, content, over).await?)
}

/// Whether what a message asks for is still to be done, and nothing that `is_sent` asks for it too.
async fn is_left(app: &App, message: &Message, is_sent: &[Message]) -> Result<bool, RunError> {
    let run = match message {
        Message::Plan(message) | Message::Publish(message) => &message.run,
        Message::Label(message) | Message::Abandon(message) => &message.run,
    };
    let Some(record) = app.runs.read(run).await? else {
        return Ok(false);
    };
    if is_sent.contains(&Message::plan(run)) {
        return Ok(false);
    }
    Ok(match (message, record.state) {
        (Message::Plan(_), state) => state == State::Planning,
        (Message::Label(message) | Message::Abandon(message), State::Labeling) => {
            !record.given_up && !app.ledger(&record).await?.has(message.chunk)
        }
        (Message::Publish(_), State::Labeling) => app.ledger(&record).await?.is_full(&record),
        _ => false,
    })
}
