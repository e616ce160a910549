//! Counts what goes over the line, for progress and summaries.

use crate::dataset::figures::Tokens;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Running totals of one process. Each is monotonic, so rates are differences.
#[derive(Debug, Default)]
pub struct Meter {
    sent: AtomicU64,
    answered: AtomicU64,
    retried: AtomicU64,
    throttled: AtomicU64,
    prompt: AtomicU64,
    cached: AtomicU64,
    completion: AtomicU64,
    reserved: AtomicU64,
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
        let (now, before) = (self.tokens, earlier.tokens);
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            retried: self.retried.saturating_sub(earlier.retried),
            throttled: self.throttled.saturating_sub(earlier.throttled),
            tokens: Tokens {
                calls: now.calls.saturating_sub(before.calls),
                reserved: now.reserved.saturating_sub(before.reserved),
                prompt: now.prompt.saturating_sub(before.prompt),
                cached: now.cached.saturating_sub(before.cached),
                completion: now.completion.saturating_sub(before.completion),
            },
        }
    }
}

impl Meter {
    /// A request goes out.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// An attempt takes `tokens` of the quota.
    pub fn reserved(&self, tokens: u64) {
        self.reserved.fetch_add(tokens, Relaxed);
    }

    /// An answer came, with its bill.
    pub fn answered(&self, tokens: Tokens) {
        self.answered.fetch_add(tokens.calls, Relaxed);
        self.prompt.fetch_add(tokens.prompt, Relaxed);
        self.cached.fetch_add(tokens.cached, Relaxed);
        self.completion.fetch_add(tokens.completion, Relaxed);
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
            tokens: Tokens {
                calls: self.answered.load(Relaxed),
                prompt: self.prompt.load(Relaxed),
                cached: self.cached.load(Relaxed),
                completion: self.completion.load(Relaxed),
                reserved: self.reserved.load(Relaxed),
            },
        }
    }
}
