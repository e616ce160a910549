//! Admission: who may send now. A call is admitted once its money is set aside, one of the slots is free,
//! the pace of the deployment allows it, and the breaker lets it through; then it has a [`Permit`], and
//! settles it with what came back.
//!
//! The money comes first, since reserving it may need a write to storage, during which the call should
//! hold neither a slot nor a place in the deployment's count.

use super::bill::Bill;
use super::breaker::{Breaker, Endurance, Outage, Outcome, Passage};
use super::disposition::Disposition;
use super::pace::{Pace, Pause, WAITING};
use super::pacing::Sent;
use super::purse::{Hold, Purse, Refused};
use super::transport::Exchange;
use crate::dataset::figures::Tokens;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a call takes of quota and purse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Tokens of the longest answer.
    pub answer: u64,
}

impl Cost {
    /// What the quota is charged.
    pub fn tokens(self) -> u64 {
        self.prompt.saturating_add(self.answer)
    }
}

/// Why a call is not admitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Denied {
    /// Sending has stopped.
    Closed,
    /// It cannot be paid.
    Unaffordable(Refused),
}

/// The one door for the calls of a teacher.
#[derive(Debug)]
pub struct Admission {
    /// One for each call that may be in flight; several teachers of a process may share them.
    slots: Arc<Semaphore>,
    /// Teachers of one deployment share it.
    pace: Arc<Pace>,
    /// Places for calls that have money and are not sent yet: others may need it more.
    paid: Semaphore,
    breaker: Mutex<Breaker>,
    /// A harmless message is on its way to find something out, and nothing else goes.
    suspended: AtomicBool,
    /// Notified when waiting calls may be admitted.
    changed: Notify,
    closed: CancellationToken,
}

/// Leave to send one call. Dropped without being settled, it counts as sent and not answered.
#[derive(Debug)]
pub struct Permit<'a> {
    admission: &'a Admission,
    _slot: SemaphorePermit<'a>,
    hold: Option<Hold<'a>>,
    sent: Sent,
    since: Instant,
    probe: bool,
    settled: bool,
}

/// Money for a call that is not sent yet; it is free again when this is dropped.
struct Unsent<'a>(Option<Hold<'a>>);

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.settle(&Bill::Nothing, None);
        }
    }
}

/// Nothing but a probe is admitted until this is dropped.
#[derive(Debug)]
pub struct Suspension<'a>(&'a Admission);

impl Drop for Suspension<'_> {
    fn drop(&mut self) {
        self.0.suspended.store(false, Relaxed);
        self.0.changed.notify_waiters();
    }
}

impl Admission {
    /// Admits as many calls at a time as there are `slots`, at the `pace` of their deployment.
    pub fn new(slots: Arc<Semaphore>, pace: Arc<Pace>, endurance: Endurance) -> Self {
        Self {
            paid: Semaphore::new(pace.most().div_ceil(WAITING) as usize),
            slots,
            pace,
            breaker: Mutex::new(Breaker::new(endurance)),
            suspended: AtomicBool::new(false),
            changed: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Its breaker.
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pace that it keeps.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Waits until a call may be sent, which `payer` pays. Where nothing else is admitted for now, a
    /// `harmless` one is.
    ///
    /// # Errors
    /// That it cannot be paid; [`Denied::Closed`] at once when the admission is or gets closed.
    pub async fn admit<'a>(
        &'a self,
        cost: Cost,
        payer: &'a Purse,
        harmless: bool,
    ) -> Result<Permit<'a>, Denied> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Denied::Closed),
            permit = self.wait(cost, payer, harmless) => permit,
        }
    }

    async fn wait<'a>(
        &'a self,
        cost: Cost,
        payer: &'a Purse,
        harmless: bool,
    ) -> Result<Permit<'a>, Denied> {
        loop {
            // Semaphores are never closed: an error cannot come.
            let paid = match harmless {
                // All others may be waiting for it.
                true => None,
                false => Some(self.paid.acquire().await.map_err(|_| Denied::Closed)?),
            };
            let hold = payer.hold(cost.prompt, cost.answer).await;
            let mut unsent = Unsent(Some(hold.map_err(Denied::Unaffordable)?));
            let room = self.pace.room().await;
            let slot = self.slots.acquire().await.map_err(|_| Denied::Closed)?;
            let place = self.pace.queue().await;
            let (not_before, changed) = loop {
                let changed = self.changed.notified();
                match self.go(cost.tokens(), harmless) {
                    Ok((sent, probe)) => {
                        return Ok(Permit {
                            admission: self,
                            _slot: slot,
                            hold: unsent.0.take(),
                            sent,
                            since: Instant::now(),
                            probe,
                            settled: false,
                        });
                    }
                    Err(Pause::Shared(instant)) => break (instant, changed),
                    Err(Pause::Kept(instant)) => tokio::select! {
                        () = tokio::time::sleep_until(instant) => {}
                        () = self.pace.moved() => {}
                        () = changed => {}
                    },
                }
            };
            drop((place, slot, room, unsent, paid));
            tokio::select! {
                () = tokio::time::sleep_until(not_before) => {}
                () = changed => {}
            }
        }
    }

    /// Counts a call of `tokens` as sent, and says whether it is the breaker's probe. The caller is the
    /// first in the queue.
    fn go(&self, tokens: u64, harmless: bool) -> Result<(Sent, bool), Pause> {
        let mut breaker = self.breaker();
        let now = Instant::now();
        if self.suspended.load(Relaxed) && !harmless {
            return Err(Pause::Shared(now + breaker.probe_every()));
        }
        if let Some(instant) = breaker.not_before(now) {
            return Err(Pause::Shared(instant));
        }
        let sent = self.pace.send(tokens)?;
        Ok((sent, breaker.pass(now) == Passage::Probe))
    }

    /// Admits nothing but harmless calls until what this gives is dropped.
    pub fn suspend(&self) -> Suspension<'_> {
        self.suspended.store(true, Relaxed);
        self.changed.notify_waiters();
        Suspension(self)
    }

    /// The outage that the breaker is open for, if so.
    pub fn outage(&self) -> Option<Outage> {
        self.breaker().outage(Instant::now())
    }

    /// The outage, once it has lasted for too long.
    pub fn exhausted(&self) -> Option<Outage> {
        self.breaker().exhausted(Instant::now())
    }

    /// Stops admitting calls. Calls in flight go on.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Resolves when it is closed.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

impl Permit<'_> {
    /// Whether the call must be a harmless one, to find out if the service is back.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// When the call was admitted.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The call ended with `exchange`; it asked about `message`, or about a harmless one. Gives what it
    /// was billed.
    pub fn settle(mut self, exchange: &Exchange, message: Option<u128>) -> Tokens {
        let hold = self.hold.take();
        let billed = hold.map(|hold| hold.settle(&exchange.bill, exchange.model.as_deref()));
        let billed = billed.unwrap_or_default();
        let (sent, headers) = (self.sent, &exchange.headers);
        let outcome = match &exchange.result {
            Err(Disposition::Retry { reason, .. }) => {
                self.admission.pace.update(|pacer, _| pacer.ended());
                Outcome::Failed(message, reason)
            }
            Err(Disposition::Throttled { reason, after }) => {
                let probe = self.probe;
                let throttled = |pacer: &mut super::pacing::Pacer, now| match probe {
                    true => pacer.probed(sent, headers),
                    false => pacer.throttled(now, sent, headers, *after),
                };
                self.admission.pace.update(throttled);
                Outcome::Failed(message, reason)
            }
            other => {
                self.admission
                    .pace
                    .update(|pacer, now| pacer.answered(now, sent, headers));
                match other {
                    Err(Disposition::Refused { .. } | Disposition::Stop(_)) => Outcome::Refused,
                    _ => Outcome::Answered(message),
                }
            }
        };
        self.settled = true;
        let (opened, outage) = {
            let mut breaker = self.admission.breaker();
            let now = Instant::now();
            let outage = breaker.outage(now);
            if self.probe && outcome == Outcome::Refused {
                breaker.abandoned();
            }
            (breaker.settle(outcome, now), outage)
        };
        if let Outcome::Failed(_, why) = outcome
            && opened
        {
            self.admission
                .pace
                .update(|pacer, now| pacer.broke_down(now));
            tracing::warn!(
                why,
                "only failures: sending stops, except for a probe now and then"
            );
        }
        if let (Some(outage), Outcome::Answered(_)) = (outage, outcome) {
            tracing::warn!(
                lasted_s = outage.lasts.as_secs(),
                "the service answers again"
            );
            self.admission.changed.notify_waiters();
        }
        billed
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.admission.pace.update(|pacer, _| pacer.ended());
            if self.probe {
                self.admission.breaker().abandoned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;
    use crate::teacher::model::Price;
    use crate::teacher::pacing::{Concurrency, Quota, RateLimitHeaders};
    use crate::teacher::purse::{Pot, Reserve, Wish};
    use crate::teacher::tariff::Tariff;
    use crate::teacher::wire::Answer;
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use std::time::Duration;
    use uuid::Uuid;

    const ENDURANCE: Endurance = Endurance {
        open_after: Duration::from_secs(5),
        probe_every: Duration::from_secs(10),
        give_up_after: Duration::from_secs(600),
    };

    /// Of whose calls of a token each the quota has room for many.
    fn admission_of(slots: usize) -> Admission {
        let pace = Pace::new(Quota::new(u32::MAX, u32::MAX), Concurrency::Fixed(100));
        let slots = Arc::new(Semaphore::new(slots));
        Admission::new(slots, Arc::new(pace), ENDURANCE)
    }

    fn exchange(result: Result<Answer, Disposition>) -> Exchange {
        Exchange {
            result,
            bill: Bill::Nothing,
            model: None,
            headers: RateLimitHeaders::default(),
            latency: Duration::ZERO,
            client_request_id: Uuid::nil(),
            service_request_id: None,
        }
    }

    fn answered() -> Exchange {
        exchange(Ok(Answer::default()))
    }

    impl Admission {
        /// Admits a call of `tokens` tokens.
        async fn enter(&self, tokens: u64) -> Result<Permit<'_>, Denied> {
            let cost = Cost {
                prompt: tokens,
                answer: 0,
            };
            self.admit(cost, purse(), false).await
        }
    }

    /// A purse that counts a dollar a token.
    fn purse() -> &'static Purse {
        let dollar = Usd::from_nanos(1_000_000_000_000_000);
        let price = Price {
            input: dollar,
            cached: dollar,
            output: dollar,
        };
        let tariff = Tariff::new(Some(price), "m", "d", None);
        Box::leak(Box::new(Purse::unlimited(Arc::new(tariff))))
    }

    /// A hundred dollars.
    struct Till;

    impl Reserve for Till {
        fn reserve(&self, wish: Wish) -> BoxFuture<'_, Result<Result<Usd, Pot>, Refused>> {
            let hundred = Usd::from_nanos(100_000_000_000);
            let reserved = match wish.least > hundred {
                true => Err(Pot::Dataset),
                false => Ok(wish.wanted.min(hundred)),
            };
            Box::pin(async move { Ok(reserved) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn money_is_free_again_when_a_call_gives_up_before_it_is_sent() {
        let tariff = Arc::clone(&purse().tariff);
        let purse = Purse::limited(tariff, Arc::new(Till), Usd::ZERO, Usd::ZERO);
        purse.written(Usd::from_nanos(1_000_000_000_000));
        let admission = admission_of(1);
        let cost = Cost {
            prompt: 60,
            answer: 0,
        };
        admission.pace().pause(Duration::from_secs(5));
        {
            let paused = admission.admit(cost, &purse, false);
            tokio::pin!(paused);
            assert!(futures::poll!(&mut paused).is_pending());
        }
        assert!(purse.hold(100, 0).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_harmless_message_is_on_its_way_nothing_else_goes() {
        let admission = admission_of(10);
        let suspension = admission.suspend();
        let waiting = admission.enter(1);
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        let cost = Cost {
            prompt: 1,
            answer: 0,
        };
        let harmless = admission.admit(cost, purse(), true).now_or_never();
        harmless.unwrap().unwrap().settle(&answered(), None);
        drop(suspension);
        assert!(waiting.now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_everybody_and_ends() {
        let admission = admission_of(2);
        let start = Instant::now();
        admission.pace().pause(Duration::from_secs(10));
        admission.pace().pause(Duration::from_secs(3));
        let (a, b) = tokio::join!(admission.enter(1), admission.enter(1));
        assert!(a.is_ok() && b.is_ok());
        assert!(start.elapsed() >= Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_begins_while_waiting_for_leave_holds_too() {
        let admission = admission_of(1);
        let first = admission.enter(1).await.unwrap();
        let start = Instant::now();
        let waiting = admission.enter(1);
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            admission.pace().pause(Duration::from_secs(5));
            drop(first);
        };
        let (second, ()) = tokio::join!(waiting, other);
        assert!(second.is_ok());
        assert!(start.elapsed() >= Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_every_wait() {
        let admission = admission_of(1);
        let permit = admission.enter(1).await.unwrap();
        let close = async { admission.close() };
        let (waiting, ()) = tokio::join!(admission.enter(1), close);
        assert_eq!(waiting.unwrap_err(), Denied::Closed);
        drop(permit);
        assert_eq!(admission.enter(1).await.unwrap_err(), Denied::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_one_probe_goes_out_and_its_answer_frees_everybody() {
        let admission = admission_of(10);
        let failed = exchange(Err(Disposition::Retry {
            reason: "HTTP 503".into(),
            status: Some(503),
            after: None,
        }));
        for message in 0..10 {
            admission
                .enter(1)
                .await
                .unwrap()
                .settle(&failed, Some(message));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(admission.outage().unwrap().why, "HTTP 503");
        let start = Instant::now();
        let (probe, ()) = tokio::join!(admission.enter(1), tokio::task::yield_now());
        let probe = probe.unwrap();
        assert!(probe.is_probe());
        let others = futures::future::join_all((0..5).map(|_| admission.enter(1)));
        let answer = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            probe.settle(&answered(), None);
        };
        let (others, ()) = tokio::join!(others, answer);
        assert!(others.iter().all(Result::is_ok));
        assert!(start.elapsed() < Duration::from_secs(15));
        assert_eq!(admission.outage(), None);
    }

    /// An admission at 1,000 tokens a second.
    fn paced() -> Admission {
        let pace = Pace::new(Quota::new(60_000, 60_000), Concurrency::Fixed(100));
        Admission::new(Arc::new(Semaphore::new(100)), Arc::new(pace), ENDURANCE)
    }

    #[tokio::test(start_paused = true)]
    async fn calls_go_in_the_order_in_which_they_come_and_a_large_one_is_not_passed_by() {
        let admission = paced();
        let start = Instant::now();
        let gone = Mutex::new(Vec::new());
        let calls = (0..40).map(|call| {
            let (admission, gone) = (&admission, &gone);
            async move {
                let tokens = if call == 20 { 5_000 } else { 100 };
                let permit = admission.enter(tokens).await.unwrap();
                gone.lock().unwrap().push((call, start.elapsed()));
                tokio::time::sleep(Duration::from_millis(700)).await;
                permit.settle(&answered(), Some(1));
            }
        });
        futures::future::join_all(calls).await;
        let gone = gone.into_inner().unwrap();
        assert!(gone.iter().map(|(call, _)| *call).eq(0..40), "{gone:?}");
        let seconds = |call: usize| gone[call].1.as_secs_f64();
        assert!((seconds(20) - 2.0).abs() < 0.1, "{gone:?}");
        // The next one waits until it is paid for.
        assert!((seconds(21) - 7.1).abs() < 0.2, "{gone:?}");
        assert!((seconds(39) - 8.9).abs() < 0.3, "{gone:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_its_turn_and_its_slot() {
        let admission = paced();
        admission
            .enter(60_000)
            .await
            .unwrap()
            .settle(&answered(), Some(1));
        let first = admission.enter(1);
        let second = admission.enter(1);
        tokio::pin!(first, second);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(admission.slots.available_permits(), 98);
        admission.close();
        assert_eq!(first.await.unwrap_err(), Denied::Closed);
        assert_eq!(second.await.unwrap_err(), Denied::Closed);
        assert_eq!(admission.slots.available_permits(), 100);
        assert!(admission.pace.queue().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn deployments_that_share_slots_do_not_wait_for_the_slowest() {
        let slots = Arc::new(Semaphore::new(8));
        let admission = |tpm| {
            let pace = Pace::new(Quota::new(tpm, 60_000), Concurrency::Fixed(8));
            Admission::new(Arc::clone(&slots), Arc::new(pace), ENDURANCE)
        };
        let (slow, fast) = (admission(600), admission(600_000));
        let waiting = futures::future::join_all((0..20).map(|_| slow.enter(100)));
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        // One is on its way, two wait with their slots, and the others without.
        assert_eq!(slots.available_permits(), 5);
        assert!(fast.enter(100).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_one_gate_holds_for_all_of_the_deployment() {
        let pace = Arc::new(Pace::new(
            Quota::new(u32::MAX, u32::MAX),
            Concurrency::Fixed(10),
        ));
        let slots = Arc::new(Semaphore::new(10));
        let admissions = [(); 2].map(|()| Admission::new(slots.clone(), pace.clone(), ENDURANCE));
        let start = Instant::now();
        admissions[0].pace().pause(Duration::from_secs(3));
        admissions[1]
            .enter(1)
            .await
            .unwrap()
            .settle(&answered(), Some(1));
        assert!(start.elapsed() >= Duration::from_secs(3));
    }
}
