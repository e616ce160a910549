//! One question to the teacher, with its retries.
//!
//! Faults and throttling are patient in different ways: a fault costs one of a few attempts, a 429
//! costs time only, and pauses everybody.

use super::admission::Admission;
use super::breaker::{Endurance, Outage};
use super::call::{Call, Failure};
use super::meter::Reading;
use super::pace::Pace;
use super::profile::Profile;
use super::purse::{Purse, Refused};
use super::refusals::Refusals;
use super::stop::Stop;
use super::transport::Transport;
use super::wire::Choice;
use crate::dataset::figures::Tokens;
use crate::dataset::line::{ErrorCode, LabelingError};
use crate::labeling::prompt::Prompt;
use crate::shown::counted;
use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_retry::RetryIf;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long to go on when the service does not answer as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts a call for faults, the first one counted.
    pub attempts: u32,
    /// Longest wait before the second attempt; it doubles with each attempt, with full jitter.
    pub first_backoff: Duration,
    /// Longest wait between two attempts.
    pub longest_backoff: Duration,
    /// How long a call may go on meeting 429.
    pub throttling: Duration,
    /// What happens when nothing but failures come.
    pub outage: Endurance,
}

impl Patience {
    /// The longest wait before attempt `retry + 2`, without jitter.
    pub(super) fn backoff(self, retry: u32) -> Duration {
        let doubled = self
            .first_backoff
            .saturating_mul(2_u32.saturating_pow(retry));
        doubled.min(self.longest_backoff)
    }

    /// The waits between attempts, each drawn evenly from zero to its bound. Which attempt is the last one
    /// is not known before: those that an outage costs do not count.
    fn backoffs(self, rng: &Mutex<StdRng>) -> impl Iterator<Item = Duration> {
        (0..).map(move |retry| self.backoff(retry).mul_f64(draw(rng)))
    }

    /// What the service asks to wait after a fault, within the longest wait that is set.
    pub(super) fn bounded(self, after: Option<Duration>) -> Duration {
        after.unwrap_or_default().min(self.longest_backoff)
    }
}

/// A number from 0 to 1.
pub(super) fn draw(rng: &Mutex<StdRng>) -> f64 {
    rng.lock().unwrap_or_else(PoisonError::into_inner).random()
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What for.
    pub kind: Kind,
    /// The system prompt.
    pub system: &'a str,
    /// The user prompt.
    pub user: &'a str,
    /// Tokens of the whole prompt.
    pub tokens: u32,
    /// The same for all questions about a message, whatever their random marks.
    pub message: u128,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One token with its probabilities.
    Label,
    /// A few sentences, of at most `tokens` tokens.
    Rationale {
        /// The longest answer, in tokens.
        tokens: u32,
    },
}

/// A usable answer.
#[derive(Debug)]
pub struct Reply {
    /// What the model said.
    pub choice: Choice,
    /// What was billed, and what all attempts took of the quota.
    pub tokens: Tokens,
    /// Of the attempt that succeeded.
    pub latency: Duration,
    /// `x-ms-client-request-id` of that attempt.
    pub client_request_id: Uuid,
    /// `apim-request-id` of that attempt.
    pub service_request_id: Option<String>,
}

/// Why a question has no answer.
#[derive(Debug, PartialEq)]
pub enum AskError {
    /// This turn's error, and what was billed all the same.
    Turn(LabelingError, Tokens),
    /// Sending has stopped: the run stops, or was stopped. Nothing is known about the turn.
    Stopped,
    /// The payer cannot pay for it. Nothing is known of the turn.
    Unaffordable(Refused),
}

/// A deployment under a settled profile, shared by everybody who asks.
#[derive(Debug)]
pub struct Teacher {
    pub(super) transport: Transport,
    pub(super) profile: Profile,
    /// A harmless question: nothing in it can be refused.
    pub(super) probe: Prompt,
    pub(super) patience: Patience,
    pub(super) admission: Admission,
    pub(super) suspects: Suspects,
    pub(super) rng: Mutex<StdRng>,
    stop: OnceLock<Stop>,
}

/// What is found out about refused and failing messages.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    pub(super) refusals: Mutex<Refusals>,
    pub(super) calls: Mutex<Calls>,
    /// Notified when a waiting call may learn more.
    pub(super) changed: Notify,
    /// The latest opinion, which was asked for at that instant. Held while one is asked for.
    pub(super) opinion: tokio::sync::Mutex<Option<(Instant, Opinion)>>,
}

/// Calls under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calls {
    pub(super) all: usize,
    /// Those that were refused or failed and wait to learn what that means.
    pub(super) waiting: usize,
}

/// How the service answers a harmless question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// As it should.
    Answers,
    /// It fails, for this reason.
    Fails(String),
}

impl Teacher {
    /// A teacher that asks through `transport`, as many questions at a time as there are `slots` and
    /// at `pace`, and finds out with `probe`, a harmless question, whether it is the service that fails.
    pub fn new(
        transport: Transport,
        profile: Profile,
        probe: Prompt,
        patience: Patience,
        slots: Arc<Semaphore>,
        pace: Arc<Pace>,
        rng: StdRng,
    ) -> Self {
        Self {
            transport,
            profile,
            probe,
            patience,
            admission: Admission::new(slots, pace, patience.outage),
            suspects: Suspects::default(),
            rng: Mutex::new(rng),
            stop: OnceLock::new(),
        }
    }

    /// Stops sending; what is in flight is answered.
    pub fn close(&self) {
        self.admission.close();
    }

    /// Whether sending has stopped.
    pub fn is_closed(&self) -> bool {
        self.admission.is_closed()
    }

    /// Stops sending for a reason that holds for every call; the first reason stays.
    pub fn halt(&self, stop: Stop) {
        let _ = self.stop.set(stop);
        self.admission.close();
    }

    /// Why the service made the run stop, if it did.
    pub fn stopped(&self) -> Option<&Stop> {
        self.stop.get()
    }

    /// The profile it asks under.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The totals so far.
    pub fn meter(&self) -> Reading {
        self.transport.meter().read()
    }

    /// The pace that it keeps.
    pub fn pace(&self) -> &Pace {
        self.admission.pace()
    }

    /// The outage that nothing is sent for, if so.
    pub fn outage(&self) -> Option<Outage> {
        self.admission.outage()
    }

    /// Runs `with` on the teacher's source of randomness.
    pub fn with_rng<T>(&self, with: impl FnOnce(&mut StdRng) -> T) -> T {
        with(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks `question`, repeats it if that helps, and pays from `payer`. Once `stop` is cancelled nothing
    /// more is sent for it; a call in flight is still answered.
    ///
    /// # Errors
    /// The turn's error, or that sending has stopped, or that the call cannot be paid.
    pub async fn ask(
        &self,
        question: Question<'_>,
        payer: &Purse,
        stop: &CancellationToken,
    ) -> Result<Reply, AskError> {
        let call = Call::new(self, question, payer);
        let waits = self.patience.backoffs(&self.rng);
        let waits = waits.map(|wait| wait.max(call.asked_to_wait()));
        let stopped = || self.is_closed() || stop.is_cancelled();
        let again = |failure: &Failure| matches!(failure, Failure::Fault(_)) && !stopped();
        let answered = RetryIf::start(waits, || call.attempt(), again);
        // When sending stops, a wait between two attempts ends, but a call in flight does not.
        let interrupted = async {
            tokio::select! {
                () = self.admission.closed() => {}
                () = stop.cancelled() => {}
            }
            call.idle().await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = answered => outcome,
            () = interrupted => Err(Failure::Stopped),
        };
        let billed = call.billed();
        let outcome = outcome.map(|reply| Reply {
            tokens: billed,
            ..reply
        });
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Stopped => AskError::Stopped,
            // The attempts were not used up: this fault is no verdict on the turn.
            Failure::Fault(_) if stopped() => AskError::Stopped,
            Failure::Fault(reason) | Failure::UsedUp(reason) => {
                let message = format!(
                    "{} failed, the last one with: {reason}.",
                    counted(self.patience.attempts.into(), "attempt")
                );
                AskError::Turn(LabelingError::new(ErrorCode::Transient, message), billed)
            }
            Failure::Turn(error) => AskError::Turn(error, billed),
            Failure::Unaffordable(refused) => AskError::Unaffordable(refused),
        });
        if let Err(AskError::Stopped | AskError::Unaffordable(_)) = &outcome {
            // No turn records what was asked in vain.
            payer.add_beside(billed);
        }
        outcome
    }
}
