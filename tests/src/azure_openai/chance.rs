//! Seeded randomness that does not depend on the order in which requests arrive.
//!
//! Every draw starts from (seed, what the request is about, what is being drawn); nothing is shared
//! between requests, so two runs with the same seed see the same service however they interleave.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// What a draw is for. Each purpose has its own stream, so that switching one feature on does not
/// change the outcome of another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Judgement = 1,
    Latency,
    Fault,
    Oddity,
    Sample,
    Text,
    PromptFilter,
    CompletionFilter,
}

/// Where the draws of one subject come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source(u64);

impl Source {
    pub(super) fn new(seed: u64, key: u64) -> Self {
        Self(mix(mix(seed ^ 0x9e37_79b9_7f4a_7c15) ^ key))
    }

    /// The same subject on one attempt.
    pub(super) fn attempt(self, attempt: u32) -> Self {
        Self(mix(self.0
            ^ (u64::from(attempt) + 1)
                .wrapping_mul(0xd6e8_feb8_6659_fd93)))
    }

    pub(super) fn rng(self, purpose: Purpose) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(mix(self.0 ^ ((purpose as u64) << 56)))
    }

    /// Whether something that happens at `rate` happens here.
    pub(super) fn happens(self, purpose: Purpose, rate: f64) -> bool {
        rate > 0.0 && self.rng(purpose).random::<f64>() < rate
    }
}

/// The finaliser of SplitMix64.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One draw from the standard normal distribution (Box–Muller).
pub(super) fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_purposes_and_attempts_differ_and_repeat() {
        let source = Source::new(1, 2);
        let draw = |s: Source, p| s.rng(p).random::<u64>();
        assert_eq!(
            draw(source, Purpose::Fault),
            draw(Source::new(1, 2), Purpose::Fault)
        );
        assert_ne!(draw(source, Purpose::Fault), draw(source, Purpose::Oddity));
        assert_ne!(
            draw(source.attempt(0), Purpose::Fault),
            draw(source.attempt(1), Purpose::Fault)
        );
        assert_ne!(
            draw(source, Purpose::Fault),
            draw(Source::new(2, 2), Purpose::Fault)
        );
    }

    #[test]
    fn a_rate_is_met_over_many_keys() {
        let hits = (0..10_000)
            .filter(|&key| Source::new(3, mix(key)).happens(Purpose::Fault, 0.1))
            .count();
        assert!((900..1_100).contains(&hits), "{hits}");
    }
}
