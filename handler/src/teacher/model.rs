//! What is known of models by name: family, encoding, price.
//!
//! A deployment's name says nothing about its model, so all of it can be set; the names only give
//! defaults.

use crate::dataset::figures::Tokens;
use serde::{Deserialize, Serialize};

/// Which parameters a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Family {
    /// gpt-4o, gpt-4.1 and older: `max_tokens`, log probabilities, a bias on tokens.
    Classic,
    /// gpt-5.1 and later at effort none: `max_completion_tokens`, log probabilities, no bias.
    Gpt5None,
    /// gpt-5, o-series: they reason first and give no log probabilities.
    Reasoning,
}

impl Family {
    /// The family of a model by its name; unknown names are taken for the newest kind.
    pub fn of_model(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
        if is(&["gpt-4", "gpt-35", "gpt-3.5"]) {
            Self::Classic
        } else if is(&["o1", "o3", "o4"])
            || (is(&["gpt-5"]) && !is(&["gpt-5."]))
            || model.contains("-codex")
        {
            Self::Reasoning
        } else {
            Self::Gpt5None
        }
    }
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    pub input: f64,
    /// Prompt tokens that the service took from its cache.
    pub cached: f64,
    pub output: f64,
}

/// List prices of autumn 2026, by model. A model that is not here has no known price.
const PRICES: [(&str, Price); 1] = [(
    "gpt-5.2",
    Price {
        input: 1.75,
        cached: 0.175,
        output: 14.0,
    },
)];

impl Price {
    pub fn of_model(model: &str) -> Option<Self> {
        let mut prices = PRICES.into_iter();
        prices.find_map(|(name, price)| (name == model).then_some(price))
    }

    /// What the tokens cost, in US dollars.
    pub fn of(self, tokens: Tokens) -> f64 {
        let fresh = tokens.prompt.saturating_sub(tokens.cached) as f64;
        (fresh * self.input
            + tokens.cached as f64 * self.cached
            + tokens.completion as f64 * self.output)
            / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_follow_from_names() {
        for (model, family) in [
            ("gpt-4o-mini", Family::Classic),
            ("gpt-4.1", Family::Classic),
            ("gpt-35-turbo", Family::Classic),
            ("gpt-5.2", Family::Gpt5None),
            ("gpt-5.1", Family::Gpt5None),
            ("GPT-5.4", Family::Gpt5None),
            ("gpt-5", Family::Reasoning),
            ("gpt-5-mini", Family::Reasoning),
            ("o3-mini", Family::Reasoning),
            ("my-deployment", Family::Gpt5None),
        ] {
            assert_eq!(Family::of_model(model), family, "{model}");
        }
    }

    #[test]
    fn cached_tokens_are_cheaper_and_counted_once() {
        let price = Price::of_model("gpt-5.2").unwrap();
        let tokens = Tokens {
            calls: 1,
            prompt: 1_000_000,
            cached: 400_000,
            completion: 100_000,
            reserved: 5_000_000,
        };
        assert!((price.of(tokens) - (0.6 * 1.75 + 0.4 * 0.175 + 1.4)).abs() < 1e-9);
        assert_eq!(Price::of_model("who-knows"), None);
    }
}
