//! Leave to send: at most so many calls at once, a pause that holds for everybody, and nobody but a
//! probe while the service is down.

use super::breaker::{Breaker, Counted, Endurance, Leave, Outage};
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
    state: Mutex<State>,
    /// Told when those who wait may find the door open.
    changed: Notify,
    closed: CancellationToken,
}

#[derive(Debug)]
struct State {
    paused_until: Option<Instant>,
    breaker: Breaker,
}

/// The gate is closed: no further call may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Leave to send one call. Whoever has it says how the call went; dropping it gives it back.
#[derive(Debug)]
pub struct Pass<'a> {
    gate: &'a Gate,
    _permit: SemaphorePermit<'a>,
    probe: bool,
    told: bool,
}

impl Gate {
    /// A gate that lets as many calls through at a time as there are `slots`.
    pub fn new(slots: Arc<Semaphore>, endurance: Endurance) -> Self {
        Self {
            slots,
            state: Mutex::new(State {
                paused_until: None,
                breaker: Breaker::new(endurance),
            }),
            changed: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for leave to send.
    ///
    /// # Errors
    /// [`Closed`] at once when the gate is or gets closed.
    pub async fn enter(&self) -> Result<Pass<'_>, Closed> {
        let leave = async {
            loop {
                // The semaphore is never closed: an error cannot come.
                let permit = self.slots.acquire().await.map_err(|_| Closed)?;
                let changed = self.changed.notified();
                let not_before = match self.leave() {
                    Leave::Free | Leave::Probe if self.is_closed() => return Err(Closed),
                    Leave::Free => return Ok(self.pass(permit, false)),
                    Leave::Probe => return Ok(self.pass(permit, true)),
                    Leave::NotBefore(instant) => instant,
                };
                drop(permit);
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

    fn leave(&self) -> Leave {
        let mut state = self.state();
        let now = Instant::now();
        match state.paused_until {
            Some(until) if until > now => Leave::NotBefore(until),
            _ => state.breaker.leave(now),
        }
    }

    fn pass<'a>(&'a self, permit: SemaphorePermit<'a>, probe: bool) -> Pass<'a> {
        Pass {
            gate: self,
            _permit: permit,
            probe,
            told: false,
        }
    }

    /// Nobody sends for `wait` from now; a longer pause already in force stays.
    pub fn pause(&self, wait: Duration) {
        let until = Some(Instant::now() + wait);
        let mut state = self.state();
        state.paused_until = state.paused_until.max(until);
    }

    /// How much longer nobody sends, if so.
    pub fn paused_for(&self) -> Option<Duration> {
        let left = self
            .state()
            .paused_until?
            .saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// The outage that the breaker is open for, if so.
    pub fn outage(&self) -> Option<Outage> {
        self.state().breaker.outage(Instant::now())
    }

    /// Whether so many calls fail, and none is answered, that it is not the calls' fault.
    pub fn in_trouble(&self) -> bool {
        self.state().breaker.in_trouble()
    }

    /// When the last outage ended.
    pub fn reopened(&self) -> Option<Instant> {
        self.state().breaker.reopened()
    }

    /// The outage, once it has lasted for too long.
    pub fn exhausted(&self) -> Option<Outage> {
        self.state().breaker.exhausted(Instant::now())
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

    /// The service answered, whatever the answer.
    pub fn answered(mut self) {
        self.told = true;
        let was_open = {
            let mut state = self.gate.state();
            let now = Instant::now();
            let was_open = state.breaker.outage(now);
            state.breaker.answered(now);
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

    /// The call failed or met 429; `counted` is the call's own.
    pub fn failed(mut self, why: &str, counted: &mut Counted) {
        self.told = true;
        let opened = self
            .gate
            .state()
            .breaker
            .failed(why, self.probe, counted, Instant::now());
        if opened {
            tracing::warn!(
                why,
                "nothing but failures: sending stops, but for a probe now and then"
            );
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            self.gate.state().breaker.abandoned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDURANCE: Endurance = Endurance {
        open_after: Duration::from_secs(5),
        probe_every: Duration::from_secs(10),
        give_up_after: Duration::from_secs(600),
    };

    fn gate(slots: usize) -> Gate {
        Gate::new(Arc::new(Semaphore::new(slots)), ENDURANCE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_everybody_and_ends() {
        let gate = gate(2);
        let start = Instant::now();
        gate.pause(Duration::from_secs(10));
        gate.pause(Duration::from_secs(3));
        let (a, b) = tokio::join!(gate.enter(), gate.enter());
        assert!(a.is_ok() && b.is_ok());
        assert!(start.elapsed() >= Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_begins_while_waiting_for_leave_holds_too() {
        let gate = gate(1);
        let first = gate.enter().await.unwrap();
        let start = Instant::now();
        let waiting = gate.enter();
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
        let pass = gate.enter().await.unwrap();
        let close = async { gate.close() };
        let (waiting, ()) = tokio::join!(gate.enter(), close);
        assert_eq!(waiting.unwrap_err(), Closed);
        drop(pass);
        assert_eq!(gate.enter().await.unwrap_err(), Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_one_probe_goes_out_and_its_answer_frees_everybody() {
        let gate = gate(10);
        for _ in 0..10 {
            gate.enter()
                .await
                .unwrap()
                .failed("HTTP 503", &mut Counted::default());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(gate.outage().unwrap().why, "HTTP 503");
        let start = Instant::now();
        let (probe, ()) = tokio::join!(gate.enter(), tokio::task::yield_now());
        let probe = probe.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(5));
        let others = futures::future::join_all((0..5).map(|_| gate.enter()));
        let answer = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            probe.answered();
        };
        let (others, ()) = tokio::join!(others, answer);
        assert!(others.iter().all(Result::is_ok));
        assert!(start.elapsed() < Duration::from_secs(15));
        assert_eq!(gate.outage(), None);
    }
}
