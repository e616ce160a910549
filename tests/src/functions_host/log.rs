//! What was invoked, and what became of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One execution of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The function's name.
    pub function: String,
    /// What the worker is told as the invocation's id.
    pub id: String,
    /// What woke it: the message's text, the blob's path, the timer's function, method and path of the request.
    pub subject: String,
    /// How often the message was received, this time included; for blobs the message that the host sends itself.
    pub dequeue_count: Option<u32>,
    /// When it began.
    pub started: Instant,
    /// When it ended; `None` while it runs.
    pub ended: Option<Instant>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The worker answered as it should, and its outputs were sent.
    Succeeded,
    /// Anything else, with the reason.
    Failed(String),
    /// The host ended, or crashed, before there was an answer.
    Abandoned,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Invocation>>>);

/// An invocation that runs. Dropped without an outcome, it was abandoned.
#[derive(Debug)]
pub(super) struct Running {
    log: Log,
    index: usize,
    ended: bool,
}

impl Log {
    pub(super) fn all(&self) -> Vec<Invocation> {
        self.lock().clone()
    }

    pub(super) fn begin(
        &self,
        function: &str,
        id: &str,
        subject: &str,
        dequeue_count: Option<u32>,
    ) -> Running {
        let mut invocations = self.lock();
        invocations.push(Invocation {
            function: function.to_owned(),
            id: id.to_owned(),
            subject: subject.to_owned(),
            dequeue_count,
            started: Instant::now(),
            ended: None,
            outcome: None,
        });
        Running {
            log: self.clone(),
            index: invocations.len() - 1,
            ended: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Invocation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    pub(super) fn end(mut self, outcome: Outcome) {
        self.note(outcome);
    }

    fn note(&mut self, outcome: Outcome) {
        self.ended = true;
        if let Some(invocation) = self.log.lock().get_mut(self.index) {
            invocation.ended = Some(Instant::now());
            invocation.outcome = Some(outcome);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.note(Outcome::Abandoned);
        }
    }
}
