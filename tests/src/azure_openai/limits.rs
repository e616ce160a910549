//! Quota: who is admitted when, and what the others are told.
//!
//! Tokens are charged on arrival, the estimated prompt plus the longest answer. Over which minute is
//! not documented: by default a counter is reset each minute, as the headers' "reset" suggests, and
//! with `sliding_tokens` any sixty seconds are checked, which is stricter: what keeps to the second
//! keeps to the first. Requests are checked over sliding windows of one and of ten seconds, and of a
//! minute. Whatever is admitted counts, whether it succeeds or not.
//!
//! Time is passed in, so that simulations meet the same limiter as the server's callers.

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
    /// Tokens are counted over the last sixty seconds, instead of from the beginning of the minute.
    pub sliding_tokens: bool,
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

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Which quota ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Requests.
    Calls,
    /// Tokens.
    Tokens,
    /// There is no quota, and waiting will not help.
    Everything,
}

/// A refusal, and when another try can succeed, in service time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// What ran out.
    pub shortage: Shortage,
    /// How long to wait.
    pub retry_after: Duration,
}

/// What is left, for the rate-limit headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Requests that the minute has room for.
    pub requests: u64,
    /// Until the oldest of its requests leaves it.
    pub requests_reset: Duration,
    /// Tokens that the minute has room for.
    pub tokens: u64,
    /// Until the minute ends; of a sliding one, until its oldest tokens leave it.
    pub tokens_reset: Duration,
}

/// The counters of one deployment.
#[derive(Debug, Default)]
pub struct Meter {
    minute: u64,
    /// Tokens admitted since the minute began, and within the last sixty seconds.
    tokens: u64,
    recent_tokens: u64,
    /// What was admitted in the last sixty seconds, oldest first.
    charges: VecDeque<(Duration, u64)>,
    /// Arrivals of the last minute, oldest first.
    arrivals: VecDeque<Duration>,
}

impl Meter {
    /// Admits or refuses a request of `tokens` that arrives at `now`, the time since the service began.
    ///
    /// # Errors
    /// Why it is refused, and for how long.
    pub fn admit(
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
            let full = limits
                .tpm
                .is_some_and(|tpm| self.spent(limits) + tokens > tpm);
            full.then(|| Throttle {
                shortage: Shortage::Tokens,
                retry_after: self.until_room(limits, now, tokens),
            })
        });
        if let Some(refusal) = refusal {
            if limits.throttled_requests_count {
                self.arrivals.push_back(now);
            }
            return Err(refusal);
        }
        if limits.tpm.is_some() {
            self.tokens += tokens;
            self.recent_tokens += tokens;
            self.charges.push_back((now, tokens));
        }
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
        while let Some(&(at, tokens)) = self.charges.front()
            && at + MINUTE <= now
        {
            self.charges.pop_front();
            self.recent_tokens -= tokens;
        }
        while self.arrivals.front().is_some_and(|&at| at + MINUTE <= now) {
            self.arrivals.pop_front();
        }
    }

    /// Tokens that count against the limit.
    fn spent(&self, limits: &Limits) -> u64 {
        match limits.sliding_tokens {
            true => self.recent_tokens,
            false => self.tokens,
        }
    }

    /// How long until `tokens` have room.
    fn until_room(&self, limits: &Limits, now: Duration, tokens: u64) -> Duration {
        if !limits.sliding_tokens {
            return until_reset(now);
        }
        let mut over = (self.recent_tokens + tokens).saturating_sub(limits.tpm.unwrap_or(u64::MAX));
        let mut leaves = now;
        for &(at, tokens) in &self.charges {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(tokens);
            leaves = at + MINUTE;
        }
        leaves - now
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
            tokens: limits
                .tpm
                .map_or(0, |tpm| tpm.saturating_sub(self.spent(limits))),
            tokens_reset: match self.charges.front() {
                Some(&(at, _)) if limits.sliding_tokens => at + MINUTE - now,
                _ => until_reset(now),
            },
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
    fn a_sliding_minute_gives_tokens_back_as_they_were_taken() {
        let limits = Limits {
            tpm: Some(1_000),
            sliding_tokens: true,
            ..Limits::default()
        };
        let mut meter = Meter::default();
        meter.admit(&limits, at(50_000), 600).unwrap();
        let remaining = meter.admit(&limits, at(55_000), 300).unwrap();
        assert_eq!(
            (remaining.tokens, remaining.tokens_reset),
            (100, at(55_000))
        );
        for (tokens, retry_after) in [(200, 40_000), (800, 45_000)] {
            let refusal = meter.admit(&limits, at(70_000), tokens).unwrap_err();
            assert_eq!(refusal.retry_after, at(retry_after), "{tokens}");
        }
        meter.admit(&limits, at(110_000), 700).unwrap();
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
