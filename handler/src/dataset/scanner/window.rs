//! What a scanner holds between two blocks: the bytes it still needs, and what it found.

use std::collections::VecDeque;
use std::ops::Range;

use super::landmarks::REACH;

#[derive(Default)]
pub(super) struct Window {
    pub(super) bytes: Vec<u8>,
    /// Where in the file they begin.
    pub(super) base: u64,
    /// Whether the file ends where they end.
    pub(super) ended: bool,
}

impl Window {
    pub(super) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub(super) fn index(&self, at: u64) -> usize {
        usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    pub(super) fn from(&self, at: u64) -> &[u8] {
        self.bytes.get(self.index(at)..).unwrap_or_default()
    }

    pub(super) fn before(&self, at: u64) -> &[u8] {
        let at = self.index(at);
        self.bytes
            .get(at.saturating_sub(REACH)..at)
            .unwrap_or_default()
    }

    pub(super) fn slice(&self, range: &Range<u64>) -> &[u8] {
        self.bytes
            .get(self.index(range.start)..self.index(range.end))
            .unwrap_or_default()
    }
}

pub(super) struct Findings<T> {
    pub(super) queue: VecDeque<Event<T>>,
    pub(super) number: u64,
    pub(super) conversations: u64,
    pub(super) first_broken: Option<(u64, String)>,
}

pub(super) struct Event<T> {
    pub(super) number: u64,
    pub(super) range: Range<u64>,
    pub(super) value: Result<T, String>,
}

impl<T> Findings<T> {
    pub(super) fn conversation(&mut self, range: Range<u64>, value: T) {
        self.conversations += 1;
        self.push(range, Ok(value));
    }

    /// Something broken; where nothing but commas and blanks stands there is nothing.
    pub(super) fn broken(&mut self, range: Range<u64>, reason: String) {
        if range.is_empty() {
            return;
        }
        self.first_broken
            .get_or_insert_with(|| (range.start, reason.clone()));
        self.push(range, Err(reason));
    }

    pub(super) fn push(&mut self, range: Range<u64>, value: Result<T, String>) {
        self.queue.push_back(Event {
            number: self.number,
            range,
            value,
        });
        self.number += 1;
    }
}
