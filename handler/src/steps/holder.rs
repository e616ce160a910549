//! What a process was handed by its host and has not answered yet, shown to the other instances.
//!
//! ```text
//! holders/<host>/<process>.json   what a process holds; written when it takes something, and now and then
//! holders/left/<message>.json     what an instance of an older version could not read
//! ```
//!
//! The host of an instance that died leaves its messages invisible for up to ten minutes. So a process
//! shows which messages it holds from the moment it takes them, also while they wait their turn; the time
//! of the file shows when the process was last alive. What a dead one held is [sent
//! again](super::orphans).
//!
//! Invariant: a message that returns to its queue is given back first, and that is shown. So no process
//! holds what waits in a queue. A message that is dealt with may be shown a little longer, which is harmless:
//! sent again, it finds nothing to do. If a worker dies and its host does not, the host puts the
//! worker's messages back into the queue, and the next worker of that host removes the dead worker's
//! file.

use super::message::Message;
use super::world::App;
use crate::run::{RunError, work};
use crate::store::OwnFolder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// The folder of the signs of life.
pub(super) const HOLDERS: &str = "holders";

/// Signs of life that a process gives within the time after which it counts as dead.
const SIGNS: u32 = 3;

/// What a process holds, as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sign {
    /// The messages.
    pub(super) held: Vec<Message>,
}

/// What this process holds.
#[derive(Debug)]
pub(crate) struct Holder {
    work: OwnFolder,
    /// Where its host's workers give signs of life.
    folder: String,
    path: String,
    every: Duration,
    state: Mutex<State>,
    /// The state that was written last. Held while one is written.
    written: tokio::sync::Mutex<u64>,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<Message>,
    /// Counts changes.
    number: u64,
    /// A task is giving signs of life.
    is_shown: bool,
}

impl Holder {
    /// A process that `host` started and that holds nothing. It counts as dead after `dead_after` without
    /// a sign of life.
    pub(super) fn new(work: OwnFolder, host: &str, dead_after: Duration) -> Self {
        let folder = format!("{HOLDERS}/{host}");
        Self {
            work,
            path: format!("{folder}/{}.json", Uuid::new_v4().simple()),
            folder,
            every: dead_after / SIGNS,
            state: Mutex::default(),
            written: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process holds `message` from now on, and shows that. Where it cannot be shown, the message is
    /// worked on all the same: should the process die, it comes back later.
    pub(crate) async fn hold(self: &Arc<Self>, message: Message) -> Held {
        let begins = {
            let mut state = self.state();
            state.held.push(message.clone());
            state.number += 1;
            !std::mem::replace(&mut state.is_shown, true)
        };
        let held = Held {
            holder: Arc::clone(self),
            message,
        };
        self.show().await;
        if begins {
            tokio::spawn(give_signs(Arc::downgrade(self), self.every));
        }
        held
    }

    /// Leaves a message of `step` whose `format`, or whose subject's format, is newer than this version:
    /// it is shown like the message of a dead holder, in that format, so that an instance of that version
    /// sends it again.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) async fn leave(
        &self,
        step: &str,
        mut message: Value,
        format: u32,
    ) -> Result<(), RunError> {
        if let Some(message) = message.as_object_mut() {
            message.insert("step".into(), step.into());
        }
        let sign = json!({"format_number": format, "held": [message]}).to_string();
        let path = format!("{HOLDERS}/left/{:016x}.json", xxh3_64(sign.as_bytes()));
        Ok(self.work.replace(&path, sign.into_bytes()).await?)
    }

    /// Writes what is held, if it changed since; one write serves all who wait for it.
    pub(crate) async fn show(&self) {
        let wanted = self.state().number;
        let mut written = self.written.lock().await;
        if *written < wanted {
            self.write(&mut written).await;
        }
    }

    async fn write(&self, written: &mut u64) {
        let (held, number) = {
            let state = self.state();
            (state.held.clone(), state.number)
        };
        match work::write(&self.work, &self.path, &Sign { held }).await {
            Ok(()) => *written = number,
            Err(error) => tracing::warn!(%error, "the sign of life cannot be written now"),
        }
    }

    /// A sign of life, while something is held; says whether that is so.
    async fn sign(&self) -> bool {
        let mut written = self.written.lock().await;
        if self.holds_something() {
            self.write(&mut written).await;
            return true;
        }
        if let Err(error) = self.work.remove_file(&self.path).await {
            tracing::debug!(%error, "the sign of life cannot be removed, though no message is held");
        }
        false
    }

    /// Whether something is held. If not, the next message that is held starts the signs of life again.
    fn holds_something(&self) -> bool {
        let mut state = self.state();
        state.is_shown = !state.held.is_empty();
        state.is_shown
    }

    /// Takes away what former workers of the same host showed: what they held, the host put back.
    ///
    /// # Errors
    /// If that cannot be listed or removed.
    pub(crate) async fn follow_former(&self) -> Result<(), RunError> {
        for former in self.work.list(&self.folder).await? {
            if former.path != self.path {
                self.work.remove_file(&former.path).await?;
            }
        }
        Ok(())
    }
}

impl App {
    /// Takes a `step` over a message, which this process shows to hold until the step has ended.
    pub(crate) async fn held<M: Clone>(
        &self,
        kind: impl Fn(M) -> Message,
        message: M,
        step: impl AsyncFnOnce(&Self, M) -> Result<Vec<Message>, RunError>,
    ) -> Result<Vec<Message>, RunError> {
        let held = self.holder.hold(kind(message.clone())).await;
        let done = step(self, message).await;
        let own = |message: &Message| message.asks_for_same(&held.message);
        let goes_back = |messages: &Vec<Message>| messages.iter().any(own);
        // The host delivers it again after a failure.
        if done.as_ref().map_or(true, goes_back) || held.is_last() {
            held.give_back().await;
        }
        done
    }
}

/// Gives signs of life, while there is something to be shown.
async fn give_signs(holder: Weak<Holder>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(holder) = holder.upgrade() else {
            return;
        };
        if !holder.sign().await {
            return;
        }
    }
}

/// A message that this process holds. Dropped, it is held no more, which is shown a little later.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held {
    holder: Arc<Holder>,
    message: Message,
}

impl Held {
    /// Whether the process holds nothing else.
    fn is_last(&self) -> bool {
        self.holder.state().held.len() == 1
    }

    /// It is held no more, and that is shown.
    pub(crate) async fn give_back(self) {
        let holder = Arc::clone(&self.holder);
        drop(self);
        holder.show().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.holder.state();
        if let Some(place) = state.held.iter().position(|held| *held == self.message) {
            state.held.swap_remove(place);
            state.number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(work: &OwnFolder) -> Vec<Vec<Message>> {
        let mut shown = Vec::new();
        for listed in work.list(HOLDERS).await.unwrap() {
            let sign = work::read::<Sign>(work, &listed.path).await.unwrap();
            shown.push(sign.unwrap().held);
        }
        shown
    }

    #[tokio::test]
    async fn what_is_held_is_shown_from_the_beginning_to_the_end() {
        let home = tempfile::tempdir().unwrap();
        let work = OwnFolder::local_alone(home.path().join("work")).unwrap();
        let every = Duration::from_secs(3600);
        let holder = Arc::new(Holder::new(work.clone(), "h", every));
        let (one, two) = (Message::label("r", 1), Message::label("r", 2));
        let (held, also) = tokio::join!(holder.hold(one.clone()), holder.hold(two.clone()));
        let mut both = shown(&work).await.remove(0);
        both.sort_by_key(|message| message == &two);
        assert_eq!(both, [one, two.clone()]);
        held.give_back().await;
        assert_eq!(shown(&work).await, [[two]]);
        assert!(holder.sign().await);
        drop(also);
        // A process that holds nothing costs nothing.
        assert!(!holder.sign().await);
        assert_eq!(shown(&work).await, [[]; 0]);
        let held = holder.hold(Message::plan("r")).await;
        assert_eq!(shown(&work).await, [[Message::plan("r")]]);
        // What is dealt with is not shown at once.
        drop(held);
        assert_eq!(shown(&work).await, [[Message::plan("r")]]);
        let held = holder.hold(Message::publish("r")).await;
        assert_eq!(shown(&work).await, [[Message::publish("r")]]);
        // The host of a worker that died goes on with another one.
        let next = Holder::new(work.clone(), "h", every);
        next.follow_former().await.unwrap();
        drop(held);
        assert_eq!(shown(&work).await.len(), 0);
    }
}
