//! How long the service takes to answer.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::chance;

/// A distribution of latencies, in service milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// Answers at once.
    #[default]
    None,
    /// Always the same.
    Fixed {
        /// Milliseconds.
        ms: f64,
    },
    /// Log-normal, the shape that measured latencies of such services have.
    LogNormal {
        /// Half of the answers take longer than this.
        median_ms: f64,
        /// Standard deviation of the logarithm; 0.5 puts p99 at 3.2 medians.
        sigma: f64,
    },
}

impl Latency {
    pub(super) fn validate(&self) -> Result<()> {
        let sane = |value: f64| value.is_finite() && value >= 0.0;
        match *self {
            Self::None => {}
            Self::Fixed { ms } => ensure!(sane(ms), "latency: {ms} ms is not a duration"),
            Self::LogNormal { median_ms, sigma } => {
                ensure!(sane(median_ms), "latency: {median_ms} ms is not a duration");
                ensure!(
                    sane(sigma) && sigma <= 5.0,
                    "latency: sigma {sigma} is not 0 to 5"
                );
            }
        }
        Ok(())
    }

    /// One draw, in service time; `None` where no time passes.
    pub(super) fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> Option<Duration> {
        let ms = match *self {
            Self::None => return None,
            Self::Fixed { ms } => ms,
            Self::LogNormal { median_ms, sigma } => median_ms * (sigma * chance::normal(rng)).exp(),
        };
        // Ten minutes is beyond any caller's patience and keeps the tail finite.
        (ms > 0.0).then(|| Duration::from_secs_f64(ms.min(600_000.0) / 1_000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure_openai::chance::{Purpose, Source};

    #[test]
    fn the_median_of_log_normal_draws_is_the_one_asked_for() {
        let latency = Latency::LogNormal {
            median_ms: 400.0,
            sigma: 0.5,
        };
        let mut draws: Vec<f64> = (0..2_001)
            .map(|key| {
                let mut rng = Source::new(7, key).rng(Purpose::Latency);
                latency.draw(&mut rng).unwrap().as_secs_f64() * 1_000.0
            })
            .collect();
        draws.sort_by(f64::total_cmp);
        assert!((360.0..440.0).contains(&draws[1_000]), "{}", draws[1_000]);
        assert!((900.0..1_800.0).contains(&draws[1_980]), "{}", draws[1_980]);
    }

    #[test]
    fn json_names_the_kind() {
        let latency: Latency =
            serde_json::from_str(r#"{"kind":"log_normal","median_ms":300,"sigma":0.4}"#).unwrap();
        assert_eq!(
            latency,
            Latency::LogNormal {
                median_ms: 300.0,
                sigma: 0.4
            }
        );
    }
}
