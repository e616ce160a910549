//! How much a deployment takes a minute: what was configured, less what the service says and shows.

use super::adaptive::{Adaptive, Trouble};
use reqwest::header::HeaderMap;
use std::time::Duration;

/// After a 429 that headers do not explain, no less than this share of what is configured is used:
/// it still asks often enough to find out when there is more.
const LEAST_SHARE: f64 = 0.02;

/// How fast the share grows back, a second.
const GROWTH_A_SECOND: f64 = 0.01;

/// A deployment's limits; [`NO_LIMIT`](Self::NO_LIMIT) stands for none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Tokens a minute: prompts and longest answers, charged when a request arrives.
    pub tpm: f64,
    /// Requests a minute.
    pub rpm: f64,
}

impl Quota {
    /// More than anybody sends in a minute: no limit.
    pub const NO_LIMIT: u32 = u32::MAX;

    /// Whether anything keeps the pace down.
    #[must_use]
    pub fn is_limited(self) -> bool {
        let none = f64::from(Self::NO_LIMIT);
        self.tpm < none || self.rpm < none
    }

    /// The quota of `tpm` tokens and `rpm` requests a minute.
    pub fn new(tpm: u32, rpm: u32) -> Self {
        Self {
            tpm: f64::from(tpm),
            rpm: f64::from(rpm),
        }
    }

    /// The seconds of this quota that `tokens` take, spread over `requests`.
    pub fn seconds(self, tokens: f64, requests: f64) -> f64 {
        60.0 * (tokens / self.tpm).max(requests / self.rpm)
    }
}

/// What an answer's headers say of the quota. Every one of them may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateLimitHeaders {
    /// `x-ratelimit-limit-tokens`, a minute.
    pub limit_tokens: Option<u64>,
    /// `x-ratelimit-limit-requests`, a minute.
    pub limit_requests: Option<u64>,
    /// `x-ratelimit-remaining-tokens`, after this request.
    pub remaining_tokens: Option<u64>,
    /// `x-ratelimit-reset-tokens`: until what remains is the whole again.
    pub reset_tokens: Option<Duration>,
}

impl RateLimitHeaders {
    /// Reads the headers; what cannot be read counts as missing.
    pub fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        // A limit of nothing would never be found to have been lifted.
        let limit = |name: &str| number(name).filter(|&limit| limit > 0);
        Self {
            limit_tokens: limit("x-ratelimit-limit-tokens"),
            limit_requests: limit("x-ratelimit-limit-requests"),
            remaining_tokens: number("x-ratelimit-remaining-tokens"),
            reset_tokens: text("x-ratelimit-reset-tokens").and_then(time),
        }
    }
}

/// `10` and `1.2` are seconds; `1.2s`, `350ms` and `6m0s` say their units.
fn time(text: &str) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok(),
    }
}

#[derive(Clone, Debug)]
pub(super) struct Allowance {
    configured: Quota,
    headers: RateLimitHeaders,
    /// The share of what is configured that 429s leave.
    share: Adaptive,
    grown: Duration,
}

impl Allowance {
    pub(super) fn new(configured: Quota, now: Duration) -> Self {
        Self {
            configured,
            headers: RateLimitHeaders::default(),
            share: Adaptive::new(1.0, LEAST_SHARE),
            grown: now,
        }
    }

    /// The configured quota, or less where the service says so, or refuses more. A limit that it
    /// lowers for a while is followed down and up again; none is followed above what is configured.
    pub(super) fn quota(&self) -> Quota {
        let least = |configured: f64, limit: Option<u64>| {
            let learned = configured * self.share.value();
            limit.map_or(learned, |limit| learned.min(limit as f64))
        };
        Quota {
            tpm: least(self.configured.tpm, self.headers.limit_tokens),
            rpm: least(self.configured.rpm, self.headers.limit_requests),
        }
    }

    /// Takes in what an answer says. Gives whether the limits are others than before: then earlier
    /// trouble is explained, and says nothing about them.
    pub(super) fn take(&mut self, headers: &RateLimitHeaders) -> bool {
        let before = (self.headers.limit_tokens, self.headers.limit_requests);
        self.headers.limit_tokens = headers.limit_tokens.or(self.headers.limit_tokens);
        self.headers.limit_requests = headers.limit_requests.or(self.headers.limit_requests);
        let changed = before != (self.headers.limit_tokens, self.headers.limit_requests);
        if changed {
            self.share = Adaptive::new(1.0, LEAST_SHARE);
        }
        changed
    }

    /// The share of what is configured that is used.
    pub(super) fn share(&self) -> Adaptive {
        self.share.clone()
    }

    /// Uses that share again.
    pub(super) fn restore(&mut self, share: Adaptive) {
        self.share = share;
    }

    /// A burst of 429 came at what holds now.
    pub(super) fn trouble(&mut self, trouble: Trouble, now: Duration) {
        self.pass(now);
        // Where the service said less than the share allows, it is that limit that was met.
        let quota = self.quota();
        let (tokens, requests) = (
            quota.tpm / self.configured.tpm,
            quota.rpm / self.configured.rpm,
        );
        self.share.fall(tokens.min(requests), trouble, now);
    }

    pub(super) fn pass(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.grown).as_secs_f64();
        self.grown = now;
        self.share.grow(GROWTH_A_SECOND * seconds, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        tpm: 1_000_000.0,
        rpm: 10_000.0,
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn tokens(limit: u64) -> RateLimitHeaders {
        RateLimitHeaders {
            limit_tokens: Some(limit),
            ..RateLimitHeaders::default()
        }
    }

    #[test]
    fn headers_are_read_in_all_their_forms() {
        let read = |pairs: &[(&'static str, &str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            RateLimitHeaders::read(&headers.collect())
        };
        assert_eq!(read(&[]), RateLimitHeaders::default());
        let headers = read(&[
            ("x-ratelimit-limit-tokens", "1000000"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-tokens", "999484"),
            ("x-ratelimit-reset-tokens", "1.2s"),
        ]);
        assert_eq!(
            headers,
            RateLimitHeaders {
                limit_tokens: Some(1_000_000),
                limit_requests: Some(10_000),
                remaining_tokens: Some(999_484),
                reset_tokens: Some(Duration::from_millis(1200)),
            }
        );
        for (text, time) in [
            ("10", Some(seconds(10))),
            ("0.25", Some(Duration::from_millis(250))),
            ("350ms", Some(Duration::from_millis(350))),
            ("6m0s", Some(seconds(360))),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = read(&[("x-ratelimit-reset-tokens", text)]);
            assert_eq!(headers.reset_tokens, time, "{text}");
        }
        let odd = read(&[
            ("x-ratelimit-limit-tokens", "0"),
            ("x-ratelimit-remaining-tokens", "-1"),
        ]);
        assert_eq!(odd, RateLimitHeaders::default());
    }

    #[test]
    fn a_limit_is_followed_down_and_up_again_but_not_above_what_is_configured() {
        let mut allowance = Allowance::new(QUOTA, Duration::ZERO);
        for (limit, tpm) in [
            (500_000, 500_000.0),
            (1_000_000, 1_000_000.0),
            (5_000_000, 1_000_000.0),
        ] {
            allowance.take(&tokens(limit));
            assert_eq!(allowance.quota().tpm, tpm);
            // An answer that says nothing changes nothing.
            allowance.take(&RateLimitHeaders::default());
            assert_eq!(allowance.quota(), Quota { tpm, ..QUOTA });
        }
    }

    #[test]
    fn a_429_without_a_word_lowers_it_and_time_brings_it_back() {
        let mut allowance = Allowance::new(QUOTA, Duration::ZERO);
        allowance.trouble(Trouble::Lasting, seconds(10));
        let after = allowance.quota();
        assert!((after.tpm - 750_000.0).abs() < 1.0 && (after.rpm - 7_500.0).abs() < 1.0);
        allowance.pass(seconds(20));
        assert!(allowance.quota().tpm > after.tpm);
        for minute in 1..10 {
            allowance.pass(seconds(60 * minute));
        }
        assert_eq!(allowance.quota(), QUOTA);
    }

    #[test]
    fn a_429_that_a_changed_limit_explains_costs_nothing_once_it_is_known() {
        let mut allowance = Allowance::new(QUOTA, Duration::ZERO);
        allowance.take(&tokens(1_000_000));
        allowance.trouble(Trouble::Lasting, seconds(10));
        assert!(!allowance.take(&tokens(1_000_000)));
        assert_eq!(allowance.quota().tpm, 750_000.0);
        assert!(allowance.take(&tokens(900_000)));
        assert_eq!(allowance.quota().tpm, 900_000.0);
    }
}
