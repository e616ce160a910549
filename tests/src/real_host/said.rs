//! What host and worker say, and what follows from it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::watch;

/// Lines that an error quotes.
const LAST_WORDS: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Said {
    lines: Mutex<Vec<String>>,
    known: watch::Sender<Known>,
}

/// What is known of the host from its lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Known {
    host: Option<String>,
    worker: Option<u32>,
    endpoint: Option<String>,
    over: bool,
}

impl Known {
    fn note(&mut self, line: &str) {
        if let Some(host) = line.strip_prefix("leash: host ") {
            self.host = Some(host.to_owned());
        }
        let worker = line.strip_prefix("host: worker ");
        let worker = worker.and_then(|rest| rest.split_once(" starts, port "));
        if let Some((pid, _)) = worker {
            self.worker = pid.parse().ok();
        }
        if let Some(rest) = line.strip_prefix("host: ready, ") {
            let endpoint = rest.rsplit_once(' ').map(|(_, endpoint)| endpoint);
            self.endpoint = endpoint.map(|it| it.trim_end_matches('/').to_owned());
        }
    }
}

impl Said {
    /// Reads lines until there are no more.
    pub(super) async fn read(&self, pipe: impl AsyncRead + Unpin, echo: bool) {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // What is no UTF-8 must not end the reading, or the host would block.
        while matches!(pipe.read_until(b'\n', &mut bytes).await, Ok(1..)) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if echo {
                eprintln!("{line}");
            }
            self.known.send_if_modified(|known| {
                let before = known.clone();
                known.note(&line);
                *known != before
            });
            self.lock().push(line);
        }
    }

    /// Nothing more will be said.
    pub(super) fn end(&self) {
        self.known.send_modify(|known| known.over = true);
    }

    pub(super) fn host(&self) -> Option<String> {
        self.known.borrow().host.clone()
    }

    pub(super) fn worker(&self) -> Option<u32> {
        self.known.borrow().worker
    }

    pub(super) fn is_over(&self) -> bool {
        self.known.borrow().over
    }

    /// Waits until nothing more will be said.
    pub(super) async fn over(&self) {
        let mut known = self.known.subscribe();
        let _ = known.wait_for(|known| known.over).await;
    }

    /// Waits until the host listens, and says where.
    pub(super) async fn endpoint(&self, patience: Duration) -> Result<String> {
        let known = self.until(patience, "listens", |known| known.endpoint.is_some());
        known.await?.endpoint.context("the host listens nowhere")
    }

    /// Waits until another worker than this one was started.
    pub(super) async fn other_worker(&self, than: u32, patience: Duration) -> Result<()> {
        let other = |known: &Known| known.worker != Some(than);
        self.until(patience, "starts another worker", other).await?;
        Ok(())
    }

    async fn until(
        &self,
        patience: Duration,
        what: &str,
        holds: impl Fn(&Known) -> bool,
    ) -> Result<Known> {
        let mut known = self.known.subscribe();
        let waited = known.wait_for(|known| known.over || holds(known));
        let waited = tokio::time::timeout(patience, waited).await;
        match waited {
            Ok(Ok(known)) if holds(&known) => Ok(known.clone()),
            _ => bail!("the host never {what}; it said:{}", self.last_words()),
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    pub(super) fn last_words(&self) -> String {
        let lines = self.lock();
        let words = lines.iter().rev().take(LAST_WORDS).rev();
        words.map(|line| format!("\n  {line}")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_follows_from_the_lines() {
        let mut known = Known::default();
        for line in [
            "leash: host 41",
            "host: worker 42 starts, port 4711",
            "{\"message\":\"host: ready, it is not\"}",
            "host: ready, 9 functions, http://127.0.0.1:5000",
            "host: worker 42 ended with 137",
            "host: worker 43 starts, port 4712",
        ] {
            known.note(line);
        }
        assert_eq!(known.host.as_deref(), Some("41"));
        assert_eq!(known.worker, Some(43));
        assert_eq!(known.endpoint.as_deref(), Some("http://127.0.0.1:5000"));
    }
}
