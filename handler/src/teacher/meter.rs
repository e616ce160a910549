//! Counts what goes over the line, for progress and summaries.

use crate::dataset::figures::Tokens;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Running totals of one process. Each is monotonic, so rates are differences.
#[derive(Debug, Default)]
pub struct Meter {
    sent: AtomicU64,
    retried: AtomicU64,
    throttled: AtomicU64,
    billed: Mutex<Tokens>,
}

/// The totals at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Requests sent, every attempt counted.
    pub sent: u64,
    /// Faults that were tried again.
    pub retried: u64,
    /// 429 answers.
    pub throttled: u64,
    /// What was billed, and what the quota was charged.
    pub tokens: Tokens,
}

impl Reading {
    /// What came since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            retried: self.retried.saturating_sub(earlier.retried),
            throttled: self.throttled.saturating_sub(earlier.throttled),
            tokens: self.tokens.without(earlier.tokens),
        }
    }
}

impl Meter {
    /// A request goes out.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// An attempt is over; what it was billed, and took of the quota.
    pub fn billed(&self, tokens: Tokens) {
        *self.billed.lock().unwrap_or_else(PoisonError::into_inner) += tokens;
    }

    /// A fault will be tried again.
    pub fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    /// The service answered 429.
    pub fn throttled(&self) {
        self.throttled.fetch_add(1, Relaxed);
    }

    /// The totals now.
    pub fn read(&self) -> Reading {
        Reading {
            sent: self.sent.load(Relaxed),
            retried: self.retried.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            tokens: *self.billed.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
