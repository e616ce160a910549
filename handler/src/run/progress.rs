//! The progress of a run, to be shown.

use super::projection::Kind;
use crate::dataset::figures::Tokens;
use crate::dataset::line::ErrorCode;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Running totals that the steps write and a display reads.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_total: AtomicU64,
    bytes_scanned: AtomicU64,
    turns_total: AtomicU64,
    turns_before: AtomicU64,
    turns_done: AtomicU64,
    reused: AtomicU64,
    rationale_failures: AtomicU64,
    errors: Mutex<BTreeMap<ErrorCode, u64>>,
    calls: Mutex<Calls>,
    /// When the first call was answered.
    first_answer: OnceLock<Instant>,
}

/// The calls of both kinds.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    labels: Kind,
    rationales: Kind,
    /// Turns that have a label, and so get a rationale.
    labeled: u64,
}

/// The totals at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Bytes of RAW in all, while the files are scanned.
    pub bytes_total: u64,
    /// Bytes scanned.
    pub bytes_scanned: u64,
    /// Turns in all; 0 until the files are scanned.
    pub turns_total: u64,
    /// Turns that an earlier process of this run had done.
    pub turns_before: u64,
    /// Turns done, including those.
    pub turns_done: u64,
    /// Turns that took the answer of an identical one.
    pub reused: u64,
    /// Labelled turns whose rationale failed.
    pub rationale_failures: u64,
    /// Turns without a label, by code.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// The calls for labels.
    pub labels: Kind,
    /// The calls for rationales, of turns that have a label and, by the same share, of those that have none
    /// yet.
    pub rationales: Kind,
    /// For how long calls have been answered; `None` before the first answer.
    pub answering: Option<Duration>,
}

impl Snapshot {
    /// Turns that this process has done. Those that it found done say nothing about its pace.
    pub fn done_here(&self) -> u64 {
        self.turns_done.saturating_sub(self.turns_before)
    }
}

impl Progress {
    /// `bytes` of RAW will be scanned.
    pub fn will_scan(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Relaxed);
    }

    /// `bytes` more were scanned.
    pub fn scanned(&self, bytes: u64) {
        self.bytes_scanned.fetch_add(bytes, Relaxed);
    }

    /// `turns` belong to the run.
    pub fn planned(&self, turns: u64) {
        self.turns_total.fetch_add(turns, Relaxed);
    }

    /// `turns` were done by an earlier process.
    pub fn found_done(&self, turns: u64) {
        self.turns_before.fetch_add(turns, Relaxed);
        self.turns_done.fetch_add(turns, Relaxed);
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what an earlier process did: turns whose label was settled, those of them with a label, and
    /// turns whose rationale was settled.
    pub fn found_calls(&self, settled: u64, labeled: u64, rationales: u64) {
        let mut calls = self.calls();
        calls.labels.done += settled;
        calls.labeled += labeled;
        calls.rationales.done += rationales;
    }

    /// A call for a label was answered.
    pub fn label_answered(&self, tokens: Tokens, in_flight: Duration) {
        self.first_answer.get_or_init(Instant::now);
        self.calls().labels.answered(tokens, in_flight);
    }

    /// A call for a rationale was answered.
    pub fn rationale_answered(&self, tokens: Tokens, in_flight: Duration) {
        self.first_answer.get_or_init(Instant::now);
        self.calls().rationales.answered(tokens, in_flight);
    }

    /// A turn has its label, or has none for a reason.
    pub fn label_done(&self, labeled: bool) {
        let mut calls = self.calls();
        calls.labels.turn_done();
        calls.labeled += u64::from(labeled);
    }

    /// A labelled turn has its rationale, or has none for a reason.
    pub fn rationale_done(&self) {
        self.calls().rationales.turn_done();
    }

    /// A turn is done, without a label if there is an `error`.
    pub fn turn_done(&self, error: Option<ErrorCode>) {
        self.turns_done.fetch_add(1, Relaxed);
        if let Some(code) = error {
            let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
            *errors.entry(code).or_default() += 1;
        }
    }

    /// A turn took the answer of an identical one.
    pub fn reused(&self) {
        self.reused.fetch_add(1, Relaxed);
    }

    /// A labelled turn got no rationale.
    pub fn rationale_failed(&self) {
        self.rationale_failures.fetch_add(1, Relaxed);
    }

    /// The totals now.
    pub fn read(&self) -> Snapshot {
        let turns = self.turns_total.load(Relaxed);
        let Calls {
            labels,
            rationales,
            labeled,
        } = *self.calls();
        // As many of the turns that are left will have a label as of those that are done.
        let unlabeled = turns.saturating_sub(labels.done);
        let will_be = u128::from(unlabeled) * u128::from(labeled) / u128::from(labels.done.max(1));
        Snapshot {
            labels: Kind { turns, ..labels },
            rationales: Kind {
                turns: labeled + u64::try_from(will_be).unwrap_or(unlabeled),
                ..rationales
            },
            answering: self.first_answer.get().map(Instant::elapsed),
            bytes_total: self.bytes_total.load(Relaxed),
            bytes_scanned: self.bytes_scanned.load(Relaxed),
            turns_total: self.turns_total.load(Relaxed),
            turns_before: self.turns_before.load(Relaxed),
            turns_done: self.turns_done.load(Relaxed),
            reused: self.reused.load(Relaxed),
            rationale_failures: self.rationale_failures.load(Relaxed),
            errors: self
                .errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}
