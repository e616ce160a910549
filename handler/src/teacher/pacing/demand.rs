//! How much of the quota a process could use, so that processes that share it know how to divide it.

use std::time::Duration;

/// Head room over the measured need, as no two seconds are alike.
pub(super) const AMPLE: f64 = 1.5;

/// A process that its lanes held up for this part of the time could use more.
const HUNGRY: f64 = 0.5;

/// The share of the quota that the process could use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    since: Duration,
    /// Seconds of the whole quota.
    used: f64,
    /// Time that the next call waited for its lanes.
    held_up: Duration,
    held_up_since: Option<Duration>,
    /// What it was when it was last taken.
    wanted: f64,
}

impl Demand {
    pub(super) fn new(now: Duration) -> Self {
        Self::since(now, 0.0)
    }

    fn since(now: Duration, wanted: f64) -> Self {
        Self {
            since: now,
            used: 0.0,
            held_up: Duration::ZERO,
            held_up_since: None,
            wanted,
        }
    }

    /// A call goes that takes `seconds` of the whole quota.
    pub(super) fn uses(&mut self, seconds: f64) {
        self.used += seconds;
    }

    /// The next call waits for its lanes.
    pub(super) fn is_held_up(&mut self, now: Duration) {
        self.held_up_since.get_or_insert(now);
    }

    /// The next call goes, or waits for something else.
    pub(super) fn flows(&mut self, now: Duration) {
        if let Some(since) = self.held_up_since.take() {
            self.held_up += now.saturating_sub(since);
        }
    }

    /// The share of the quota that could be used, going by what happened since it was last taken, by a
    /// process that `has_share` of it or none, and that was to pause until `paused_until`.
    pub(super) fn take(&mut self, now: Duration, has_share: bool, paused_until: Duration) -> f64 {
        let waits = self.held_up_since.is_some();
        self.flows(now);
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        let ample = AMPLE * self.used / seconds;
        let wants = if waits && !has_share || self.held_up.as_secs_f64() > HUNGRY * seconds {
            1.0
        } else if paused_until > self.since {
            // A pause says nothing about what it could use.
            self.wanted.max(ample)
        } else if self.used > 0.0 {
            ample
        } else {
            0.0
        };
        *self = Self::since(now, wants.min(1.0));
        self.held_up_since = waits.then_some(now);
        self.wanted
    }
}
