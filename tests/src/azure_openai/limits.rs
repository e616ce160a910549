//! Quota: who is admitted when, and what the others are told.
//!
//! Tokens are charged on arrival, the estimated prompt plus the longest answer, to a counter that is
//! reset each minute. Requests are checked over sliding windows of one and of ten seconds, and of a
//! minute. Whatever is admitted counts, whether it succeeds or not.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Quota of one deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Every request is told to come back tomorrow: 429 with 86,400 seconds.
    pub no_quota: bool,
    /// Requests that were answered 429 count towards the request windows too.
    pub throttled_requests_count: bool,
}

/// Quota from a moment of the run on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitChange {
    /// Service seconds after the start.
    pub at_s: f64,
    /// What holds from then on.
    pub limits: Limits,
}

/// What the service says when somebody has no quota at all.
pub(super) const NO_QUOTA: Duration = Duration::from_secs(86_400);

const MINUTE: Duration = Duration::from_secs(60);

/// Which quota ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    Calls,
    Tokens,
    /// There is no quota, and waiting will not help.
    Everything,
}

/// A refusal, and when another try can succeed, in service time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throttle {
    pub(super) shortage: Shortage,
    pub(super) retry_after: Duration,
}

/// What is left, for the rate-limit headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remaining {
    pub(super) requests: u64,
    pub(super) requests_reset: Duration,
    pub(super) tokens: u64,
    pub(super) tokens_reset: Duration,
}

/// The counters of one deployment.
#[derive(Debug, Default)]
pub(super) struct Meter {
    minute: u64,
    tokens: u64,
    /// Arrivals of the last minute, oldest first.
    arrivals: VecDeque<Duration>,
}

impl Meter {
    /// Admits or refuses a request of `tokens` that arrives at `now`.
    pub(super) fn admit(
        &mut self,
        limits: &Limits,
        now: Duration,
        tokens: u64,
    ) -> Result<Remaining, Throttle> {
        if limits.no_quota {
            return Err(Throttle {
                shortage: Shortage::Everything,
                retry_after: NO_QUOTA,
            });
        }
        self.forget(now);
        let refusal = self.request_refusal(limits, now).or_else(|| {
            let full = limits.tpm.is_some_and(|tpm| self.tokens + tokens > tpm);
            full.then(|| Throttle {
                shortage: Shortage::Tokens,
                retry_after: until_reset(now),
            })
        });
        if let Some(refusal) = refusal {
            if limits.throttled_requests_count {
                self.arrivals.push_back(now);
            }
            return Err(refusal);
        }
        self.tokens += tokens;
        if limits.rpm.is_some() {
            self.arrivals.push_back(now);
        }
        Ok(self.remaining(limits, now))
    }

    fn forget(&mut self, now: Duration) {
        let minute = now.as_secs() / 60;
        if minute != self.minute {
            self.minute = minute;
            self.tokens = 0;
        }
        while self.arrivals.front().is_some_and(|&at| at + MINUTE <= now) {
            self.arrivals.pop_front();
        }
    }

    fn request_refusal(&self, limits: &Limits, now: Duration) -> Option<Throttle> {
        windows(limits.rpm?)
            .into_iter()
            .filter_map(|(window, allowed)| {
                let expired = self.arrivals.partition_point(|&at| at + window <= now);
                let inside = self.arrivals.len() - expired;
                // There is room again when all but `allowed - 1` of those inside have left.
                let leaver = expired + inside.checked_sub(allowed.max(1))?;
                let retry_after = self.arrivals.get(leaver)?.saturating_add(window) - now;
                Some(Throttle {
                    shortage: Shortage::Calls,
                    retry_after,
                })
            })
            .max_by_key(|throttle| throttle.retry_after)
    }

    fn remaining(&self, limits: &Limits, now: Duration) -> Remaining {
        let spent = self.arrivals.len() as u64;
        let oldest = self.arrivals.front().map_or(now, |&at| at + MINUTE);
        Remaining {
            requests: limits.rpm.map_or(0, |rpm| rpm.saturating_sub(spent)),
            requests_reset: oldest.saturating_sub(now),
            tokens: limits.tpm.map_or(0, |tpm| tpm.saturating_sub(self.tokens)),
            tokens_reset: until_reset(now),
        }
    }
}

fn until_reset(now: Duration) -> Duration {
    MINUTE * (now.as_secs() / 60 + 1) as u32 - now
}

/// How many requests each window lets through.
fn windows(rpm: u64) -> [(Duration, usize); 3] {
    let share = |part: u64| rpm.div_ceil(part) as usize;
    [
        (Duration::from_secs(1), share(60)),
        (Duration::from_secs(10), share(6)),
        (MINUTE, share(1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn requests(rpm: u64) -> Limits {
        Limits {
            rpm: Some(rpm),
            ..Limits::default()
        }
    }

    #[test]
    fn six_hundred_a_minute_throttle_the_eleventh_within_a_second() {
        let mut meter = Meter::default();
        for i in 0..10 {
            meter.admit(&requests(600), at(i * 10), 1).unwrap();
        }
        let refusal = meter.admit(&requests(600), at(100), 1).unwrap_err();
        assert_eq!(
            refusal,
            Throttle {
                shortage: Shortage::Calls,
                retry_after: at(900)
            }
        );
        meter.admit(&requests(600), at(1_000), 1).unwrap();
    }

    #[test]
    fn an_even_stream_at_the_limit_is_admitted() {
        let mut meter = Meter::default();
        for i in 0..3_000 {
            meter.admit(&requests(600), at(i * 100), 1).unwrap();
        }
    }

    #[test]
    fn ten_seconds_hold_a_sixth_of_the_minute() {
        // Six a minute: one in a second and one in ten seconds.
        let mut meter = Meter::default();
        meter.admit(&requests(6), at(0), 1).unwrap();
        let refusal = meter.admit(&requests(6), at(2_000), 1).unwrap_err();
        assert_eq!(refusal.retry_after, at(8_000));
        meter.admit(&requests(6), at(10_000), 1).unwrap();
    }

    #[test]
    fn tokens_are_charged_on_arrival_and_come_back_with_the_minute() {
        let limits = Limits {
            tpm: Some(1_000),
            ..Limits::default()
        };
        let mut meter = Meter::default();
        assert_eq!(meter.admit(&limits, at(5_000), 600).unwrap().tokens, 400);
        let refusal = meter.admit(&limits, at(20_000), 600).unwrap_err();
        assert_eq!(
            refusal,
            Throttle {
                shortage: Shortage::Tokens,
                retry_after: at(40_000)
            }
        );
        meter.admit(&limits, at(20_000), 400).unwrap();
        meter.admit(&limits, at(60_000), 600).unwrap();
    }

    #[test]
    fn refused_requests_count_only_where_told_so() {
        let limits = Limits {
            throttled_requests_count: true,
            ..requests(60)
        };
        let mut meter = Meter::default();
        meter.admit(&limits, at(0), 1).unwrap();
        meter.admit(&limits, at(900), 1).unwrap_err();
        meter.admit(&limits, at(1_100), 1).unwrap_err();
        let mut meter = Meter::default();
        meter.admit(&requests(60), at(0), 1).unwrap();
        meter.admit(&requests(60), at(900), 1).unwrap_err();
        meter.admit(&requests(60), at(1_100), 1).unwrap();
    }

    #[test]
    fn no_quota_says_tomorrow() {
        let limits = Limits {
            no_quota: true,
            ..Limits::default()
        };
        let refusal = Meter::default().admit(&limits, at(0), 1).unwrap_err();
        assert_eq!(refusal.retry_after, NO_QUOTA);
    }
}
