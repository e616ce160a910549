//! A file of lines in memory that a test can hold back, break, or give to another process.

use super::StoreError;
use super::own::{AppendLines, Appender, Held};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How the file takes what is appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// At once.
    #[default]
    Good,
    /// Not until the mood is another.
    Slow,
    /// It refuses.
    Bad,
}

/// The file, as the test sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fickle {
    lines: Arc<Mutex<Vec<u8>>>,
    mood: watch::Sender<Mood>,
    lost: CancellationToken,
}

impl Fickle {
    /// The file as its appender sees it.
    pub(crate) fn appender(&self) -> Appender {
        Box::new(self.clone())
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Gives the file to another process.
    pub(crate) fn lose(&self) {
        self.lost.cancel();
    }

    /// What was appended so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.lines.lock().unwrap().clone()).unwrap()
    }
}

fn held() -> StoreError {
    StoreError::Held {
        place: "part".into(),
        holder: "somebody else".into(),
    }
}

#[async_trait]
impl AppendLines for Fickle {
    async fn append(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut mood = self.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::Slow).await.unwrap();
        if self.lost.is_cancelled() {
            return Err(held());
        }
        if mood == Mood::Bad {
            return Err(StoreError::Unavailable {
                operation: "append to",
                place: "part".into(),
                source: "its mood is bad".into(),
            });
        }
        self.lines.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }
}

#[async_trait]
impl Held for Fickle {
    fn lost(&self) -> BoxFuture<'static, StoreError> {
        let lost = self.lost.clone();
        async move {
            lost.cancelled().await;
            held()
        }
        .boxed()
    }

    async fn release(self: Box<Self>) {}
}
