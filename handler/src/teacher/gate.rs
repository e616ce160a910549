//! Leave to send: at most so many calls at once, each at its turn and at the pace of the quota, and
//! nobody but a probe while the service is down.

use super::breaker::{self, Breaker, Counted, Endurance, Outage};
use super::pacing::{Sent, Told};
use super::turnstile::{Leave, Turnstile};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The one door that every call of a process goes through.
#[derive(Debug)]
pub struct Gate {
    /// One for each call that may be in flight; several gates of a process may share them.
    slots: Arc<Semaphore>,
    /// The pace of the deployment; gates to one deployment share it.
    turnstile: Arc<Turnstile>,
    breaker: Mutex<Breaker>,
    /// Told when those who wait may find the door open.
    changed: Notify,
    closed: CancellationToken,
}

/// The gate is closed: no further call may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Leave to send one call. Whoever has it says how the call went; dropping it gives it back.
#[derive(Debug)]
pub struct Pass<'a> {
    gate: &'a Gate,
    _slot: SemaphorePermit<'a>,
    sent: Sent,
    probe: bool,
    told: bool,
}

/// What stands in the way of a call.
enum Wait {
    /// Its turn has not come: it keeps its place and its slot.
    Turn(Instant),
    /// Something that holds for all: others may have its slot meanwhile.
    All(Instant),
}

impl Gate {
    /// A gate that lets as many calls through at a time as there are `slots`, at the pace of
    /// `turnstile`.
    pub fn new(slots: Arc<Semaphore>, turnstile: Arc<Turnstile>, endurance: Endurance) -> Self {
        Self {
            slots,
            turnstile,
            breaker: Mutex::new(Breaker::new(endurance)),
            changed: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pace that it keeps.
    pub fn turnstile(&self) -> &Turnstile {
        &self.turnstile
    }

    /// Waits for leave to send a call that takes `tokens` of the quota.
    ///
    /// # Errors
    /// [`Closed`] at once when the gate is or gets closed.
    pub async fn enter(&self, tokens: u64) -> Result<Pass<'_>, Closed> {
        let leave = async {
            loop {
                // The semaphore is never closed: an error cannot come.
                let slot = self.slots.acquire().await.map_err(|_| Closed)?;
                let turn = self.turnstile.turn().await;
                let (not_before, changed) = loop {
                    let changed = self.changed.notified();
                    match self.leave(tokens) {
                        Ok((sent, probe)) => {
                            let pass = self.pass(slot, sent, probe);
                            return if self.is_closed() {
                                Err(Closed)
                            } else {
                                Ok(pass)
                            };
                        }
                        Err(Wait::All(instant)) => break (instant, changed),
                        Err(Wait::Turn(instant)) => tokio::select! {
                            () = tokio::time::sleep_until(instant) => {}
                            () = self.turnstile.moved() => {}
                            () = changed => {}
                        },
                    }
                };
                drop((turn, slot));
                tokio::select! {
                    () = tokio::time::sleep_until(not_before) => {}
                    () = changed => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Closed),
            leave = leave => leave,
        }
    }

    /// Leave for a call of `tokens`, and whether it is the probe's. Whoever asks has the turn.
    fn leave(&self, tokens: u64) -> Result<(Sent, bool), Wait> {
        let mut breaker = self.breaker();
        let now = Instant::now();
        if let Some(instant) = breaker.not_before(now) {
            return Err(Wait::All(instant));
        }
        match self.turnstile.leave(tokens) {
            Leave::Go(sent) => Ok((sent, breaker.leave(now) == breaker::Leave::Probe)),
            Leave::At(instant) => Err(Wait::Turn(instant)),
            Leave::Paused(instant) => Err(Wait::All(instant)),
        }
    }

    fn pass<'a>(&'a self, slot: SemaphorePermit<'a>, sent: Sent, probe: bool) -> Pass<'a> {
        Pass {
            gate: self,
            _slot: slot,
            sent,
            probe,
            told: false,
        }
    }

    /// Nobody sends for `wait` from now; a longer pause already in force stays.
    pub fn pause(&self, wait: Duration) {
        self.turnstile.pause(wait);
    }

    /// How much longer nobody sends, if so.
    pub fn paused_for(&self) -> Option<Duration> {
        self.turnstile.paused_for()
    }

    /// The outage that the breaker is open for, if so.
    pub fn outage(&self) -> Option<Outage> {
        self.breaker().outage(Instant::now())
    }

    /// Whether so many calls fail, and none is answered, that it is not the calls' fault.
    pub fn in_trouble(&self) -> bool {
        self.breaker().in_trouble()
    }

    /// When the last outage ended.
    pub fn reopened(&self) -> Option<Instant> {
        self.breaker().reopened()
    }

    /// The outage, once it has lasted for too long.
    pub fn exhausted(&self) -> Option<Outage> {
        self.breaker().exhausted(Instant::now())
    }

    /// Lets nobody through any more. Calls in flight go on.
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

impl Pass<'_> {
    /// Whether it is for finding out if the service is back, and for nothing else.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The service answered, whatever the answer; its headers say what `told` holds.
    pub fn answered(mut self, told: &Told) {
        self.told = true;
        self.gate.turnstile.answered(self.sent, told);
        let was_open = {
            let mut breaker = self.gate.breaker();
            let now = Instant::now();
            let was_open = breaker.outage(now);
            breaker.answered(now);
            was_open
        };
        if let Some(outage) = was_open {
            tracing::warn!(
                lasted_s = outage.lasts.as_secs(),
                "the service answers again"
            );
            self.gate.changed.notify_waiters();
        }
    }

    /// The service answered 429, and asks to wait for `after`; `counted` is the call's own.
    pub fn throttled(mut self, told: &Told, after: Option<Duration>, counted: &mut Counted) {
        self.told = true;
        self.gate.turnstile.throttled(self.sent, told, after);
        self.failure("HTTP 429", counted);
    }

    /// The call failed; `counted` is the call's own.
    pub fn failed(mut self, why: &str, counted: &mut Counted) {
        self.told = true;
        self.gate.turnstile.ended();
        self.failure(why, counted);
    }

    fn failure(&self, why: &str, counted: &mut Counted) {
        let mut breaker = self.gate.breaker();
        if breaker.failed(why, self.probe, counted, Instant::now()) {
            tracing::warn!(
                why,
                "nothing but failures: sending stops, but for a probe now and then"
            );
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.gate.turnstile.ended();
            if self.probe {
                self.gate.breaker().abandoned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::pacing::{Concurrency, Quota};
    use futures::FutureExt;

    const ENDURANCE: Endurance = Endurance {
        open_after: Duration::from_secs(5),
        probe_every: Duration::from_secs(10),
        give_up_after: Duration::from_secs(600),
    };

    /// Calls of a token each, of which the quota has room for many.
    fn gate(slots: usize) -> Gate {
        let turnstile = Turnstile::new(Quota::new(u32::MAX, u32::MAX), Concurrency::Fixed(100));
        let slots = Arc::new(Semaphore::new(slots));
        Gate::new(slots, Arc::new(turnstile), ENDURANCE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_everybody_and_ends() {
        let gate = gate(2);
        let start = Instant::now();
        gate.pause(Duration::from_secs(10));
        gate.pause(Duration::from_secs(3));
        let (a, b) = tokio::join!(gate.enter(1), gate.enter(1));
        assert!(a.is_ok() && b.is_ok());
        assert!(start.elapsed() >= Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_begins_while_waiting_for_leave_holds_too() {
        let gate = gate(1);
        let first = gate.enter(1).await.unwrap();
        let start = Instant::now();
        let waiting = gate.enter(1);
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            gate.pause(Duration::from_secs(5));
            drop(first);
        };
        let (second, ()) = tokio::join!(waiting, other);
        assert!(second.is_ok());
        assert!(start.elapsed() >= Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_every_wait() {
        let gate = gate(1);
        let pass = gate.enter(1).await.unwrap();
        let close = async { gate.close() };
        let (waiting, ()) = tokio::join!(gate.enter(1), close);
        assert_eq!(waiting.unwrap_err(), Closed);
        drop(pass);
        assert_eq!(gate.enter(1).await.unwrap_err(), Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_one_probe_goes_out_and_its_answer_frees_everybody() {
        let gate = gate(10);
        for _ in 0..10 {
            gate.enter(1)
                .await
                .unwrap()
                .failed("HTTP 503", &mut Counted::default());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(gate.outage().unwrap().why, "HTTP 503");
        let start = Instant::now();
        let (probe, ()) = tokio::join!(gate.enter(1), tokio::task::yield_now());
        let probe = probe.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(5));
        let others = futures::future::join_all((0..5).map(|_| gate.enter(1)));
        let answer = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            probe.answered(&Told::default());
        };
        let (others, ()) = tokio::join!(others, answer);
        assert!(others.iter().all(Result::is_ok));
        assert!(start.elapsed() < Duration::from_secs(15));
        assert_eq!(gate.outage(), None);
    }

    /// A gate at 1,000 tokens a second.
    fn paced() -> Gate {
        let turnstile = Turnstile::new(Quota::new(60_000, 60_000), Concurrency::Fixed(100));
        Gate::new(
            Arc::new(Semaphore::new(100)),
            Arc::new(turnstile),
            ENDURANCE,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn calls_go_in_the_order_in_which_they_come_and_a_large_one_is_not_passed_by() {
        let gate = paced();
        let start = Instant::now();
        let gone = Mutex::new(Vec::new());
        let calls = (0..40).map(|call| {
            let (gate, gone) = (&gate, &gone);
            async move {
                let tokens = if call == 20 { 5_000 } else { 100 };
                let pass = gate.enter(tokens).await.unwrap();
                gone.lock().unwrap().push((call, start.elapsed()));
                tokio::time::sleep(Duration::from_millis(700)).await;
                pass.answered(&Told::default());
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
        let gate = paced();
        gate.enter(60_000).await.unwrap().answered(&Told::default());
        let first = gate.enter(1);
        let second = gate.enter(1);
        tokio::pin!(first, second);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(gate.slots.available_permits(), 98);
        gate.close();
        assert_eq!(first.await.unwrap_err(), Closed);
        assert_eq!(second.await.unwrap_err(), Closed);
        assert_eq!(gate.slots.available_permits(), 100);
        assert!(gate.turnstile.turn().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_one_gate_holds_for_all_of_the_deployment() {
        let turnstile = Arc::new(Turnstile::new(
            Quota::new(u32::MAX, u32::MAX),
            Concurrency::Fixed(10),
        ));
        let slots = Arc::new(Semaphore::new(10));
        let gates = [(); 2].map(|()| Gate::new(slots.clone(), turnstile.clone(), ENDURANCE));
        let start = Instant::now();
        gates[0].pause(Duration::from_secs(3));
        gates[1].enter(1).await.unwrap().answered(&Told::default());
        assert!(start.elapsed() >= Duration::from_secs(3));
    }
}
