//! Leave to ask, which the turns of a chunk have while their results can be stored.

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The leave of one chunk's turns. Clones are the same leave.
#[derive(Clone, Debug)]
pub struct Leave {
    ended: CancellationToken,
    /// What is cancelled when the leave that is given now ends; `None` while none is given.
    given: watch::Sender<Option<CancellationToken>>,
}

impl Leave {
    /// A leave that is given, and ends with `stop` at the latest.
    pub fn new(stop: &CancellationToken) -> Self {
        let ended = stop.child_token();
        let given = watch::Sender::new(Some(ended.child_token()));
        Self { ended, given }
    }

    /// Waits until it is given. What this gives is cancelled when it is taken; `None` once it is
    /// ended.
    pub async fn granted(&self) -> Option<CancellationToken> {
        let now = self.given.borrow().clone();
        let granted = match now {
            Some(granted) => granted,
            None => {
                let mut given = self.given.subscribe();
                tokio::select! {
                    () = self.ended.cancelled() => return None,
                    // The sender lives as long as this does.
                    given = given.wait_for(Option::is_some) => given.ok()?.clone()?,
                }
            }
        };
        (!self.is_ended()).then_some(granted)
    }

    /// Takes it: until it is given again nothing more is sent, what is in flight is answered.
    pub fn pause(&self) {
        if let Some(granted) = self.given.send_replace(None) {
            granted.cancel();
        }
    }

    /// Gives it again.
    pub fn resume(&self) {
        if self.is_paused() {
            self.given.send_replace(Some(self.ended.child_token()));
        }
    }

    /// Whether it is taken, and may be given again.
    pub fn is_paused(&self) -> bool {
        self.given.borrow().is_none()
    }

    /// Takes it for ever.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// Whether it is taken for ever.
    pub fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Takes it for ever when what this gives is dropped.
    pub fn end_on_drop(&self) -> DropGuard {
        self.ended.clone().drop_guard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn it_is_waited_for_while_it_is_taken() {
        let leave = Leave::new(&CancellationToken::new());
        let first = leave.granted().await.unwrap();
        leave.pause();
        assert!(first.is_cancelled() && leave.is_paused());
        let waiting = leave.clone();
        let waiting = tokio::spawn(async move { waiting.granted().await });
        assert!(leave.granted().now_or_never().is_none());
        leave.resume();
        assert!(!waiting.await.unwrap().unwrap().is_cancelled());
        assert!(first.is_cancelled(), "what was taken stays taken");
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_its_end() {
        let stop = CancellationToken::new();
        let leave = Leave::new(&stop);
        let granted = leave.granted().await.unwrap();
        leave.pause();
        let waiting = leave.clone();
        let waiting = tokio::spawn(async move { waiting.granted().await });
        stop.cancel();
        assert!(waiting.await.unwrap().is_none());
        leave.resume();
        assert!(leave.granted().await.is_none() && granted.is_cancelled());
        let other = Leave::new(&CancellationToken::new());
        drop(other.end_on_drop());
        assert!(other.granted().await.is_none());
    }
}
