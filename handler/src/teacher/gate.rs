//! Leave to send: at most so many calls at once, and a pause that holds for everybody.

use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The one door that every call of a process goes through.
#[derive(Debug)]
pub struct Gate {
    permits: Semaphore,
    paused_until: watch::Sender<Option<Instant>>,
    closed: CancellationToken,
}

/// The gate is closed: no further call may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Leave to send one call; giving it back is dropping it.
#[derive(Debug)]
pub struct Pass<'a>(#[expect(dead_code, reason = "held until dropped")] SemaphorePermit<'a>);

impl Gate {
    /// A gate that lets `concurrency` calls through at a time.
    pub fn new(concurrency: usize) -> Self {
        Self {
            permits: Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            paused_until: watch::Sender::new(None),
            closed: CancellationToken::new(),
        }
    }

    /// Waits for leave to send.
    ///
    /// # Errors
    /// [`Closed`] at once when the gate is or gets closed.
    pub async fn enter(&self) -> Result<Pass<'_>, Closed> {
        let leave = async {
            loop {
                self.pause_over().await;
                // The semaphore is never closed: an error cannot come.
                let permit = self.permits.acquire().await.map_err(|_| Closed)?;
                if !self.is_paused() {
                    return Ok(Pass(permit));
                }
            }
        };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Closed),
            leave = leave => leave,
        }
    }

    /// Nobody sends for `wait` from now; a longer pause already in force stays.
    pub fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        self.paused_until.send_if_modified(|current| {
            let longer = current.is_none_or(|current| until > current);
            if longer {
                *current = Some(until);
            }
            longer
        });
    }

    /// How much longer nobody sends, if so.
    pub fn paused_for(&self) -> Option<Duration> {
        let until = (*self.paused_until.borrow())?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn is_paused(&self) -> bool {
        self.paused_for().is_some()
    }

    async fn pause_over(&self) {
        while let Some(left) = self.paused_for() {
            tokio::time::sleep(left).await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_everybody_and_ends() {
        let gate = Gate::new(2);
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
        let gate = Gate::new(1);
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
        let gate = Gate::new(1);
        let pass = gate.enter().await.unwrap();
        let close = async { gate.close() };
        let (waiting, ()) = tokio::join!(gate.enter(), close);
        assert_eq!(waiting.unwrap_err(), Closed);
        drop(pass);
        assert_eq!(gate.enter().await.unwrap_err(), Closed);
    }
}
