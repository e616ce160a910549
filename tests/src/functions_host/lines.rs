//! What the worker writes to stdout and stderr.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// A line of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What the host makes of it.
    pub level: Level,
    /// It, without the line's end.
    pub text: String,
}

/// How grave a line is to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Information,
    Warning,
    Error,
}

/// The newest lines.
#[derive(Debug)]
pub(super) struct Lines {
    kept: usize,
    echo: bool,
    lines: Mutex<VecDeque<Line>>,
}

impl Lines {
    pub(super) fn new(kept: usize, echo: bool) -> Self {
        Self {
            kept,
            echo,
            lines: Mutex::default(),
        }
    }

    pub(super) fn all(&self) -> Vec<Line> {
        self.lock().iter().cloned().collect()
    }

    /// The last few, for an error message.
    pub(super) fn last_words(&self) -> String {
        let lines = self.lock();
        let words = lines.iter().rev().take(10).rev();
        words.map(|line| format!("\n  {}", line.text)).collect()
    }

    /// Something that the host itself has to say.
    pub(super) fn of_host(&self, level: Level, text: String) {
        self.push(level, text);
    }

    pub(super) async fn read_stdout(&self, stdout: impl AsyncRead + Unpin) {
        self.read(stdout, |_| Level::Information).await;
    }

    pub(super) async fn read_stderr(&self, stderr: impl AsyncRead + Unpin) {
        let level = |text: &str| match text.to_ascii_lowercase().contains("warn") {
            true => Level::Warning,
            false => Level::Error,
        };
        self.read(stderr, level).await;
    }

    async fn read(&self, pipe: impl AsyncRead + Unpin, level: impl Fn(&str) -> Level) {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // What is no UTF-8 must not end the reading, or the worker would block.
        while matches!(pipe.read_until(b'\n', &mut bytes).await, Ok(1..)) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            self.push(level(&text), text);
            bytes.clear();
        }
    }

    fn push(&self, level: Level, text: String) {
        if self.echo {
            eprintln!("{text}");
        }
        let mut lines = self.lock();
        lines.push_back(Line { level, text });
        while lines.len() > self.kept {
            lines.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
