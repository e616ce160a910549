//! One question to the teacher, with its retries.
//!
//! Faults and throttling are patient in different ways: a fault costs one of a few attempts, a 429
//! costs time only, and pauses everybody.

use super::breaker::{Counted, Endurance, Outage};
use super::disposition::{Disposition, Stop};
use super::gate::{Gate, Pass};
use super::meter::Reading;
use super::profile::Profile;
use super::purse::{Purse, Refused};
use super::transport::{Exchange, Transport};
use super::turnstile::Turnstile;
use super::wire::{Choice, Request};
use crate::dataset::figures::Tokens;
use crate::dataset::line::{ErrorCode, LabelingError};
use crate::labeling::prompt::Prompt;
use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_retry::RetryIf;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long to go on when the service does not answer as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts a call for faults, the first one counted.
    pub attempts: u32,
    /// Longest wait before the second attempt; it doubles from one to the next, with full jitter.
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

    /// The waits between the attempts, each drawn evenly from zero to its bound.
    fn backoffs(self, rng: &Mutex<StdRng>) -> impl Iterator<Item = Duration> {
        (0..self.attempts.saturating_sub(1))
            .map(move |retry| self.backoff(retry).mul_f64(draw(rng)))
    }

    /// What the service asks to wait after a fault, within the longest wait that is set.
    pub(super) fn bounded(self, after: Option<Duration>) -> Duration {
        after.unwrap_or_default().min(self.longest_backoff)
    }
}

/// A number from 0 to 1.
fn draw(rng: &Mutex<StdRng>) -> f64 {
    rng.lock().unwrap_or_else(PoisonError::into_inner).random()
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// One token with its probabilities.
    Label {
        /// The system prompt.
        system: &'a str,
        /// The user prompt.
        user: &'a str,
        /// Tokens of the whole prompt.
        tokens: u32,
    },
    /// A few sentences.
    Rationale {
        /// The system prompt.
        system: &'a str,
        /// The user prompt.
        user: &'a str,
        /// Tokens of the whole prompt.
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
    /// Nothing is sent any more: the run stops, or somebody stopped it. Nothing is known of the
    /// turn.
    Stopped,
    /// The payer cannot pay for it. Nothing is known of the turn.
    Unaffordable(Refused),
}

/// A deployment under a settled profile, shared by everybody who asks.
#[derive(Debug)]
pub struct Teacher {
    transport: Transport,
    profile: Profile,
    /// Asks nothing that anybody's data could spoil.
    probe: Prompt,
    patience: Patience,
    gate: Gate,
    rng: Mutex<StdRng>,
    stop: OnceLock<Stop>,
}

impl Teacher {
    /// A teacher that asks through `transport`, as many questions at a time as there are `slots` and
    /// at the pace of `turnstile`, and finds out with `probe` whether an outage is over.
    pub fn new(
        transport: Transport,
        profile: Profile,
        probe: Prompt,
        patience: Patience,
        slots: Arc<Semaphore>,
        turnstile: Arc<Turnstile>,
        rng: StdRng,
    ) -> Self {
        Self {
            transport,
            profile,
            probe,
            patience,
            gate: Gate::new(slots, turnstile, patience.outage),
            rng: Mutex::new(rng),
            stop: OnceLock::new(),
        }
    }

    /// Stops sending; what is in flight is answered.
    pub fn close(&self) {
        self.gate.close();
    }

    /// Whether nothing is sent any more.
    pub fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }

    /// Stops sending for a reason that holds for every call; the first reason stays.
    pub fn halt(&self, stop: Stop) {
        let _ = self.stop.set(stop);
        self.gate.close();
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
    pub fn turnstile(&self) -> &Turnstile {
        self.gate.turnstile()
    }

    /// How much longer everybody waits for the service, if so.
    pub fn paused_for(&self) -> Option<Duration> {
        self.gate.paused_for()
    }

    /// The outage that nothing is sent for, if so.
    pub fn outage(&self) -> Option<Outage> {
        self.gate.outage()
    }

    /// Runs `with` on the teacher's source of randomness.
    pub fn with_rng<T>(&self, with: impl FnOnce(&mut StdRng) -> T) -> T {
        with(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks `question`, again where that helps, and pays from `payer`. Once `stop` is cancelled nothing
    /// more is sent for it; what is in flight is answered.
    ///
    /// # Errors
    /// The turn's error, that nothing is sent any more, or that it cannot be paid.
    pub async fn ask(
        &self,
        question: Question<'_>,
        payer: &Purse,
        stop: &CancellationToken,
    ) -> Result<Reply, AskError> {
        let model = self.transport.endpoint().model();
        let (request, tokens) = match question {
            Question::Label {
                system,
                user,
                tokens,
            } => (self.profile.classification(model, system, user), tokens),
            Question::Rationale {
                system,
                user,
                tokens,
            } => (self.profile.rationale(model, system, user), tokens),
        };
        let call = Call {
            teacher: self,
            payer,
            prompt: u64::from(tokens),
            answer: u64::from(request.answer_tokens()),
            request,
            met: Mutex::default(),
            sending: Default::default(),
        };
        let waits = self.patience.backoffs(&self.rng);
        let waits = waits.map(|wait| wait.max(std::mem::take(&mut call.met().asked_to_wait)));
        let stopped = || self.gate.is_closed() || stop.is_cancelled();
        let again = |failure: &Failure| matches!(failure, Failure::Fault(_)) && !stopped();
        let answered = RetryIf::start(waits, || call.attempt(), again);
        // A wait between two attempts ends when it is to stop, a call in flight does not.
        let interrupted = async {
            tokio::select! {
                () = self.gate.closed() => {}
                () = stop.cancelled() => {}
            }
            let _idle = call.sending.lock().await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = answered => outcome,
            () = interrupted => Err(Failure::Stopped),
        };
        let billed = call.met().billed;
        let outcome = outcome.map(|reply| Reply {
            tokens: billed,
            ..reply
        });
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Stopped => AskError::Stopped,
            // The attempts were not used up: this fault is no verdict on the turn.
            Failure::Fault(_) if stopped() => AskError::Stopped,
            Failure::Fault(reason) => {
                let message = format!(
                    "{} attempts failed, the last one with: {reason}.",
                    self.patience.attempts
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

/// Why an attempt brought nothing.
enum Failure {
    Fault(String),
    Turn(LabelingError),
    Stopped,
    Unaffordable(Refused),
}

/// One question on its way.
struct Call<'a> {
    teacher: &'a Teacher,
    payer: &'a Purse,
    request: Request<'a>,
    /// Tokens of the prompt and of the longest answer. Each attempt takes both of the quota.
    prompt: u64,
    answer: u64,
    met: Mutex<Met>,
    /// Held while a request is in flight.
    sending: tokio::sync::Mutex<()>,
}

/// What a call has met so far.
#[derive(Debug, Default)]
struct Met {
    /// What the service asked to wait after the last fault.
    asked_to_wait: Duration,
    /// When it first met 429.
    throttled: Option<Instant>,
    /// How often it met 429.
    throttlings: u32,
    /// How often it failed through no fault of its own.
    spared: u32,
    /// What its attempts were billed, and took of the quota.
    billed: Tokens,
    /// For the breaker.
    counted: Counted,
}

impl Call<'_> {
    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every other call would fail alike: nobody sends any more.
    fn stop(&self, stop: Stop) -> Failure {
        self.teacher.halt(stop);
        Failure::Stopped
    }

    /// Sends until something comes back that is neither 429 nor a fault that all calls share.
    async fn attempt(&self) -> Result<Reply, Failure> {
        let Teacher { gate, patience, .. } = self.teacher;
        loop {
            let exchange = {
                let pass = gate.enter(self.prompt + self.answer).await;
                let pass = pass.map_err(|_| Failure::Stopped)?;
                if pass.is_probe() {
                    self.probe(pass).await?;
                    continue;
                }
                let _sending = self.sending.lock().await;
                let (exchange, billed) = self.send(&self.request).await?;
                let mut met = self.met();
                met.billed += billed;
                let counted = &mut met.counted;
                match &exchange.result {
                    Err(Disposition::Retry { reason, .. }) => pass.failed(reason, counted),
                    Err(Disposition::Throttled { after }) => {
                        pass.throttled(&exchange.told, *after, counted);
                    }
                    _ => pass.answered(&exchange.told),
                }
                exchange
            };
            self.give_up_if_exhausted()?;
            match exchange.result {
                Ok(answer) => {
                    return Ok(Reply {
                        choice: answer.into_choice(),
                        tokens: Tokens::default(),
                        latency: exchange.latency,
                        client_request_id: exchange.client_request_id,
                        service_request_id: exchange.service_request_id,
                    });
                }
                // Where every call fails, it is not this turn's fault and costs it no attempt.
                Err(Disposition::Retry { after, .. }) if gate.in_trouble() => {
                    tokio::time::sleep(self.spared().max(patience.bounded(after))).await;
                }
                Err(Disposition::Retry { reason, after }) => {
                    self.met().asked_to_wait = patience.bounded(after);
                    return Err(Failure::Fault(reason));
                }
                Err(Disposition::NoRoom { message }) => {
                    let error = LabelingError::new(ErrorCode::Rejected, message);
                    return Err(Failure::Turn(error));
                }
                Err(Disposition::Turn(error)) => return Err(Failure::Turn(error)),
                Err(Disposition::Stop(stop)) => return Err(self.stop(stop)),
                Err(Disposition::Throttled { after }) => gate.pause(self.throttled(after)?),
            }
        }
    }

    /// Sends `request`, which takes of quota and purse what the call does, and gives what it was billed.
    async fn send(&self, request: &Request<'_>) -> Result<(Exchange, Tokens), Failure> {
        let Teacher { transport, .. } = self.teacher;
        let hold = self.payer.hold(self.prompt, self.answer).await;
        let hold = hold.map_err(Failure::Unaffordable)?;
        let exchange = transport.send(request).await;
        let billed = Tokens {
            reserved: self.prompt + self.answer,
            ..hold.settle(&exchange.bill, exchange.model.as_deref())
        };
        transport.meter().billed(billed);
        Ok((exchange, billed))
    }

    /// Finds out whether the service is back. Not with the call itself: one that fails for what is
    /// in it would look like an outage without an end.
    async fn probe(&self, pass: Pass<'_>) -> Result<(), Failure> {
        let Teacher { gate, probe, .. } = self.teacher;
        let model = self.teacher.transport.endpoint().model();
        let profile = &self.teacher.profile;
        let request = profile.classification(model, probe.system, &probe.user);
        let mut counted = Counted::default();
        let (exchange, billed) = self.send(&request).await?;
        self.payer.add_beside(billed);
        let told = exchange.told;
        match exchange.result {
            Err(Disposition::Retry { reason, .. }) => pass.failed(&reason, &mut counted),
            Err(Disposition::Throttled { after }) => {
                pass.throttled(&told, after, &mut counted);
                gate.pause(self.throttled(after)?);
            }
            Err(Disposition::Stop(stop)) => return Err(self.stop(stop)),
            _ => pass.answered(&told),
        }
        self.give_up_if_exhausted()
    }

    /// The end of the patience with an outage.
    fn give_up_if_exhausted(&self) -> Result<(), Failure> {
        match self.teacher.gate.exhausted() {
            Some(Outage { lasts, why }) => Err(self.stop(Stop::Outage(lasts.as_secs(), why))),
            None => Ok(()),
        }
    }

    /// How long to wait after a fault that all calls share.
    fn spared(&self) -> Duration {
        let retry = self.met().spared;
        self.met().spared = retry.saturating_add(1);
        let bound = self.teacher.patience.backoff(retry);
        bound.mul_f64(draw(&self.teacher.rng))
    }

    /// How long everybody is to wait after a 429, or the end of the patience with it.
    fn throttled(&self, after: Option<Duration>) -> Result<Duration, Failure> {
        let Teacher { gate, patience, .. } = self.teacher;
        let (since, throttlings) = {
            let mut met = self.met();
            let since = *met.throttled.get_or_insert_with(Instant::now);
            met.throttlings = met.throttlings.saturating_add(1);
            (since, met.throttlings)
        };
        // Time spent in an outage says nothing about this call.
        let since = since.max(gate.reopened().unwrap_or(since));
        if since.elapsed() >= patience.throttling && gate.outage().is_none() {
            let seconds = since.elapsed().as_secs();
            let message = format!("The service answered 429 for {seconds} seconds.");
            let error = LabelingError::new(ErrorCode::Throttled, message);
            return Err(Failure::Turn(error));
        }
        let wait = after.unwrap_or_else(|| {
            let jitter = 0.5 + 0.5 * draw(&self.teacher.rng);
            patience.backoff(throttlings - 1).mul_f64(jitter)
        });
        if wait > patience.throttling {
            return Err(self.stop(Stop::Busy(wait.as_secs())));
        }
        Ok(wait)
    }
}
