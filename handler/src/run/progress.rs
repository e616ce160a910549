//! How far a run is, for whoever shows it.

use crate::dataset::line::ErrorCode;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

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
        Snapshot {
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
