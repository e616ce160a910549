//! One question on its way, with its attempts.

use super::admission::{Cost, Denied, Permit};
use super::ask::{Calls, Kind, Opinion, Question, Reply, Suspects, Teacher, draw};
use super::breaker::Outage;
use super::disposition::Disposition;
use super::purse::{Purse, Refused};
use super::refusals::Meaning;
use super::stop::Stop;
use super::transport::Exchange;
use super::wire::Request;
use crate::dataset::figures::Tokens;
use crate::dataset::line::{ErrorCode, LabelingError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Why an attempt brought nothing.
pub(super) enum Failure {
    /// A passing fault that leaves another attempt.
    Fault(String),
    /// The last fault that it may meet.
    UsedUp(String),
    /// This turn's error.
    Turn(LabelingError),
    /// Sending has stopped.
    Stopped,
    /// The payer cannot pay for it.
    Unaffordable(Refused),
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Closed => Self::Stopped,
            Denied::Unaffordable(refused) => Self::Unaffordable(refused),
        }
    }
}

/// One question on its way.
pub(super) struct Call<'a> {
    teacher: &'a Teacher,
    payer: &'a Purse,
    kind: Kind,
    message: u128,
    /// Each attempt takes it of the quota.
    cost: Cost,
    request: Request<'a>,
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
    /// Attempts that it has used up.
    attempts: u32,
    /// Attempts that failed while every call failed; whether they count is not known yet.
    doubtful: u32,
    /// When the first of them failed.
    doubtful_since: Option<Instant>,
    /// When those of `attempts` failed that an outage may yet explain: nothing was answered so far that was
    /// sent later.
    unanswered: Vec<Instant>,
    /// What its attempts were billed, and took of the quota.
    billed: Tokens,
}

/// Counts a call among those under way, or among the waiting ones, until it is dropped.
struct Counted<'a>(&'a Suspects, fn(&mut Calls) -> &mut usize);

impl<'a> Counted<'a> {
    fn new(suspects: &'a Suspects, field: fn(&mut Calls) -> &mut usize) -> Self {
        *field(&mut lock(&suspects.calls)) += 1;
        suspects.changed.notify_waiters();
        Self(suspects, field)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self(suspects, field) = *self;
        *field(&mut lock(&suspects.calls)) -= 1;
        suspects.changed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Call<'a> {
    pub(super) fn new(teacher: &'a Teacher, question: Question<'a>, payer: &'a Purse) -> Self {
        let model = teacher.transport.endpoint().model();
        let Question { system, user, .. } = question;
        let request = match question.kind {
            Kind::Label => teacher.profile.classification(model, system, user),
            Kind::Rationale { tokens } => teacher.profile.rationale(model, system, user, tokens),
        };
        Self {
            teacher,
            payer,
            kind: question.kind,
            message: question.message,
            cost: Cost {
                prompt: u64::from(question.tokens),
                answer: u64::from(request.answer_tokens()),
            },
            request,
            met: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        lock(&self.met)
    }

    /// What the service asked to wait after the last fault.
    pub(super) fn asked_to_wait(&self) -> Duration {
        std::mem::take(&mut self.met().asked_to_wait)
    }

    /// What its attempts were billed, and took of the quota.
    pub(super) fn billed(&self) -> Tokens {
        self.met().billed
    }

    /// Waits until no request is in flight.
    pub(super) async fn idle(&self) {
        let _idle = self.sending.lock().await;
    }

    /// Every other call would fail in the same way, so sending stops.
    fn stop(&self, stop: Stop) -> Failure {
        self.teacher.halt(stop);
        Failure::Stopped
    }

    /// Sends until something comes back that is no 429.
    pub(super) async fn attempt(&self) -> Result<Reply, Failure> {
        let Teacher {
            admission,
            patience,
            suspects,
            ..
        } = self.teacher;
        let _under_way = Counted::new(suspects, |calls| &mut calls.all);
        loop {
            let permit = admission.admit(self.cost, self.payer, false).await?;
            if permit.is_probe() {
                self.probe(permit).await?;
                continue;
            }
            let sent = permit.since();
            let exchange = {
                let _sending = self.sending.lock().await;
                let (exchange, billed) = self.send(&self.request, permit, Some(self.message)).await;
                self.met().billed += billed;
                exchange
            };
            self.give_up_if_exhausted()?;
            if matches!(
                exchange.result,
                Ok(_) | Err(Disposition::Turn(_) | Disposition::NoRoom { .. })
            ) {
                lock(&suspects.refusals).answered(sent);
                suspects.changed.notify_waiters();
            }
            match exchange.result {
                Ok(mut answer) => {
                    if self.teacher.profile.may_begin_blank() {
                        answer.choice.pass_over_blanks();
                    }
                    return Ok(Reply {
                        choice: answer.choice,
                        tokens: Tokens::default(),
                        latency: exchange.latency,
                        client_request_id: exchange.client_request_id,
                        service_request_id: exchange.service_request_id,
                    });
                }
                Err(Disposition::NoRoom { message }) => {
                    let error = LabelingError::new(ErrorCode::Rejected, message);
                    return Err(Failure::Turn(error));
                }
                Err(Disposition::Turn(error)) => return Err(Failure::Turn(error)),
                Err(Disposition::Stop(stop)) => return Err(self.stop(stop)),
                Err(Disposition::Refused { stop, error }) => {
                    return Err(self.refused(stop, error).await);
                }
                Err(Disposition::Retry { reason, after, .. }) => {
                    let is_spared = self.is_spared().await?;
                    let mut met = self.met();
                    met.asked_to_wait = patience.bounded(after);
                    return Err(match is_spared || met.attempts < patience.attempts {
                        true => Failure::Fault(reason),
                        false => Failure::UsedUp(reason),
                    });
                }
                Err(Disposition::Throttled { after, .. }) => {
                    admission.pace().pause(self.throttled(after)?);
                }
            }
        }
    }

    /// Sends `request`, settles `permit` with what comes back, and gives what that was billed.
    async fn send(
        &self,
        request: &Request<'_>,
        permit: Permit<'_>,
        message: Option<u128>,
    ) -> (Exchange, Tokens) {
        let transport = &self.teacher.transport;
        let reserved = self.cost.tokens();
        let exchange = transport.send(request).await;
        let billed = Tokens {
            reserved,
            ..permit.settle(&exchange, message)
        };
        transport.meter().billed(billed);
        (exchange, billed)
    }

    /// Finds out with a harmless message how the service is: the call's own may fail for what is in
    /// it. What the service refuses to it, it refuses to every message.
    async fn probe(&self, permit: Permit<'_>) -> Result<Opinion, Failure> {
        let Teacher { probe, profile, .. } = self.teacher;
        let model = self.teacher.transport.endpoint().model();
        let request = profile.classification(model, &probe.system, &probe.user);
        let (exchange, billed) = self.send(&request, permit, None).await;
        self.payer.add_beside(billed);
        let opinion = match exchange.result {
            Err(Disposition::Retry { reason, after, .. }) => {
                let admission = &self.teacher.admission;
                admission.pace().pause(self.teacher.patience.bounded(after));
                Opinion::Fails(reason)
            }
            Err(Disposition::Throttled { reason, after }) => {
                self.teacher.admission.pace().pause(self.throttled(after)?);
                Opinion::Fails(reason)
            }
            Err(Disposition::Stop(stop) | Disposition::Refused { stop, .. }) => {
                return Err(self.stop(stop));
            }
            Ok(_) | Err(Disposition::Turn(_) | Disposition::NoRoom { .. }) => Opinion::Answers,
        };
        self.give_up_if_exhausted()?;
        Ok(opinion)
    }

    /// How the service answers a harmless message sent after `since`. One message is sent for all callers
    /// that ask, and nothing else until it is answered.
    async fn opinion(&self, since: Instant) -> Result<Opinion, Failure> {
        let Teacher {
            admission,
            suspects,
            ..
        } = self.teacher;
        let mut latest = suspects.opinion.lock().await;
        if let Some((_, opinion)) = latest.as_ref().filter(|(asked, _)| *asked >= since) {
            return Ok(opinion.clone());
        }
        let _alone = admission.suspend();
        let permit = admission.admit(self.cost, self.payer, true).await?;
        let asked = permit.since();
        let opinion = {
            let _sending = self.sending.lock().await;
            self.probe(permit).await?
        };
        *latest = Some((asked, opinion.clone()));
        Ok(opinion)
    }

    /// Whether the latest fault costs no attempt because every call fails. After a while, and before an
    /// attempt that may be the last one counts, a later answer to another call or a harmless message shows
    /// whether the service is at fault.
    async fn is_spared(&self) -> Result<bool, Failure> {
        let Teacher {
            admission,
            patience,
            suspects,
            ..
        } = self.teacher;
        let failed = Instant::now();
        let in_trouble = admission.breaker().in_trouble();
        {
            let mut met = self.met();
            if met.doubtful_since.is_some() && admission.breaker().cleared() >= met.doubtful_since {
                met.attempts += std::mem::take(&mut met.doubtful);
                met.doubtful_since = None;
            }
            if in_trouble {
                met.doubtful += 1;
                met.doubtful_since.get_or_insert(failed);
            } else {
                met.attempts += 1;
                met.unanswered.push(failed);
                met.doubtful = 0;
                met.doubtful_since = None;
            }
            let is_last_next = met.attempts + met.doubtful + 1 >= patience.attempts;
            let lasts = in_trouble && admission.outage().is_some();
            if !(is_last_next || lasts) {
                return Ok(in_trouble);
            }
        }
        if !in_trouble && self.is_answered_after(failed).await {
            return Ok(false);
        }
        let opinion = self.opinion(failed).await?;
        let mut met = self.met();
        let doubtful = std::mem::take(&mut met.doubtful);
        met.doubtful_since = None;
        let unanswered = std::mem::take(&mut met.unanswered);
        if opinion == Opinion::Answers {
            met.attempts += doubtful;
            return Ok(false);
        }
        let refusals = lock(&suspects.refusals);
        for _ in unanswered
            .iter()
            .filter(|&&it| !refusals.answered_after(it))
        {
            met.attempts = met.attempts.saturating_sub(1);
        }
        Ok(true)
    }

    /// Waits until a call is answered that was sent after this one `failed`, or none of those under way can
    /// be, or the service is in trouble. Gives whether one was answered.
    async fn is_answered_after(&self, failed: Instant) -> bool {
        let Teacher {
            admission,
            suspects,
            ..
        } = self.teacher;
        let _waiting = Counted::new(suspects, |calls| &mut calls.waiting);
        loop {
            let changed = suspects.changed.notified();
            if lock(&suspects.refusals).answered_after(failed) {
                return true;
            }
            let calls = *lock(&suspects.calls);
            if calls.waiting >= calls.all || admission.breaker().in_trouble() {
                return false;
            }
            changed.await;
        }
    }

    /// What a refusal means: the end of the run with `stop`, or this turn's `error`. Waits until
    /// others were answered, or as many refused as prove that all are; where nothing else is under
    /// way, a harmless message decides.
    async fn refused(&self, stop: Stop, error: LabelingError) -> Failure {
        let suspects = &self.teacher.suspects;
        let refused = Instant::now();
        let _waiting = Counted::new(suspects, |calls| &mut calls.waiting);
        // Rationales may be refused for good while labels are answered.
        if self.kind == Kind::Label {
            lock(&suspects.refusals).add(self.message);
            suspects.changed.notify_waiters();
        }
        loop {
            let changed = suspects.changed.notified();
            let meaning = lock(&suspects.refusals).meaning(refused);
            let calls = *lock(&suspects.calls);
            match meaning {
                Meaning::ThisMessage => return Failure::Turn(error),
                Meaning::Everything => return self.stop(stop),
                Meaning::Unknown if calls.waiting < calls.all => changed.await,
                Meaning::Suspicious | Meaning::Unknown => match self.opinion(refused).await {
                    Err(failure) => return failure,
                    Ok(Opinion::Fails(reason)) => return Failure::Fault(reason),
                    Ok(Opinion::Answers) if meaning == Meaning::Unknown => {
                        return Failure::Turn(error);
                    }
                    Ok(Opinion::Answers) => {}
                },
            }
        }
    }

    /// The end of the patience with an outage.
    fn give_up_if_exhausted(&self) -> Result<(), Failure> {
        match self.teacher.admission.exhausted() {
            Some(Outage { lasts, why }) => {
                let stop = Stop::Outage(lasts.as_secs(), why);
                Err(self.stop(stop.tried(&self.teacher.transport.endpoint().tried())))
            }
            None => Ok(()),
        }
    }

    /// How long everybody waits after a 429, or the end of the patience with it.
    fn throttled(&self, after: Option<Duration>) -> Result<Duration, Failure> {
        let Teacher {
            admission,
            patience,
            ..
        } = self.teacher;
        let (since, throttlings) = {
            let mut met = self.met();
            let since = *met.throttled.get_or_insert_with(Instant::now);
            met.throttlings = met.throttlings.saturating_add(1);
            (since, met.throttlings)
        };
        // Time spent in an outage says nothing about this call.
        let since = since.max(admission.breaker().reopened().unwrap_or(since));
        if since.elapsed() >= patience.throttling && admission.outage().is_none() {
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
