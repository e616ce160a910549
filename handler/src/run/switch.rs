//! The switch for the questions of a chunk, which is on while their results can be stored.

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Whether a chunk's turns may ask. Clones are the same switch.
#[derive(Clone, Debug)]
pub struct Switch {
    off: CancellationToken,
    /// Cancelled when the next pause begins; `None` during a pause.
    running: watch::Sender<Option<CancellationToken>>,
}

impl Switch {
    /// A switch that is on, and off for good with `stop` at the latest.
    pub fn new(stop: &CancellationToken) -> Self {
        let off = stop.child_token();
        let running = watch::Sender::new(Some(off.child_token()));
        Self { off, running }
    }

    /// Waits until it is on. What this gives is cancelled at the next pause; `None` once it is off for
    /// good.
    pub async fn on(&self) -> Option<CancellationToken> {
        let now = self.running.borrow().clone();
        let running = match now {
            Some(running) => running,
            None => {
                let mut running = self.running.subscribe();
                tokio::select! {
                    () = self.off.cancelled() => return None,
                    // The sender lives as long as this does.
                    running = running.wait_for(Option::is_some) => running.ok()?.clone()?,
                }
            }
        };
        (!self.is_off()).then_some(running)
    }

    /// Begins a pause: nothing more is sent, what is in flight is answered.
    pub fn pause(&self) {
        if let Some(running) = self.running.send_replace(None) {
            running.cancel();
        }
    }

    /// Ends the pause.
    pub fn resume(&self) {
        if self.is_paused() {
            self.running.send_replace(Some(self.off.child_token()));
        }
    }

    /// Whether there is a pause.
    pub fn is_paused(&self) -> bool {
        self.running.borrow().is_none()
    }

    /// Turns it off for good.
    pub fn turn_off(&self) {
        self.off.cancel();
    }

    /// Whether it is off for good.
    pub fn is_off(&self) -> bool {
        self.off.is_cancelled()
    }

    /// Turns it off for good when what this gives is dropped.
    pub fn off_on_drop(&self) -> DropGuard {
        self.off.clone().drop_guard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn it_is_waited_for_while_it_is_taken() {
        let switch = Switch::new(&CancellationToken::new());
        let first = switch.on().await.unwrap();
        switch.pause();
        assert!(first.is_cancelled() && switch.is_paused());
        let waiting = switch.clone();
        let waiting = tokio::spawn(async move { waiting.on().await });
        assert!(switch.on().now_or_never().is_none());
        switch.resume();
        assert!(!waiting.await.unwrap().unwrap().is_cancelled());
        assert!(first.is_cancelled(), "what was taken stays taken");
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_its_end() {
        let stop = CancellationToken::new();
        let switch = Switch::new(&stop);
        let granted = switch.on().await.unwrap();
        switch.pause();
        let waiting = switch.clone();
        let waiting = tokio::spawn(async move { waiting.on().await });
        stop.cancel();
        assert!(waiting.await.unwrap().is_none());
        switch.resume();
        assert!(switch.on().await.is_none() && granted.is_cancelled());
        let other = Switch::new(&CancellationToken::new());
        drop(other.off_on_drop());
        assert!(other.on().await.is_none());
    }
}
