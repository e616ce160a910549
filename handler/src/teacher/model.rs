//! What is known of models by name: family, encoding, price.
//!
//! A deployment's name says nothing about its model, so all of it can be set; the names only give
//! defaults.

use crate::dataset::figures::Tokens;
use crate::money::Usd;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Prompt tokens.
    pub input: Usd,
    /// Prompt tokens that the service took from its cache.
    pub cached: Usd,
    /// Generated tokens.
    pub output: Usd,
}

/// List prices of autumn 2026, by model. A model that is not here has no known price.
const PRICES: [(&str, Price); 1] = [(
    "gpt-5.2",
    Price {
        input: Usd::from_nanos(1_750_000_000),
        cached: Usd::from_nanos(175_000_000),
        output: Usd::from_nanos(14_000_000_000),
    },
)];

impl Price {
    /// The list price of a model, or `None` where it is not known. A date at the end of the name says
    /// nothing about the price.
    pub fn of_model(model: &str) -> Option<Self> {
        let model = without_date(model);
        let mut prices = PRICES.into_iter();
        prices.find_map(|(name, price)| name.eq_ignore_ascii_case(model).then_some(price))
    }

    /// What the tokens of one call cost, rounded up.
    pub fn of(self, tokens: Tokens) -> Usd {
        let cost = |count: u64, price: Usd| u128::from(count) * u128::from(price.nanos());
        let fresh = tokens.prompt.saturating_sub(tokens.cached);
        let parts = [
            cost(fresh, self.input),
            cost(tokens.cached, self.cached),
            cost(tokens.completion, self.output),
        ];
        let sum = parts.into_iter().fold(0, u128::saturating_add);
        Usd::from_wide(sum.div_ceil(1_000_000))
    }
}

/// A model's name without the date of its version: `gpt-5.2` for `gpt-5.2-2025-12-11`.
fn without_date(model: &str) -> &str {
    let name = model.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let date = model.get(name.len()..).unwrap_or_default();
    // The digits before the date belong to the name.
    let dates = date.match_indices('-').map(|(at, _)| name.len() + at);
    let is_date = |text: &str| text.bytes().filter(u8::is_ascii_digit).count() == 8;
    let mut cuts = dates.filter_map(|at| {
        let (name, date) = (model.get(..at)?, model.get(at..)?);
        is_date(date).then_some(name)
    });
    cuts.next().unwrap_or(model)
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
            prompt: 1_000_000,
            cached: 400_000,
            completion: 100_000,
            reserved: 5_000_000,
            ..Tokens::default()
        };
        assert_eq!(price.of(tokens).to_string(), "2.52");
        let few = Tokens {
            prompt: 1,
            cached: 1,
            ..Tokens::default()
        };
        assert_eq!(price.of(few).nanos(), 175);
        let cheap = Price {
            cached: Usd::from_nanos(1),
            ..price
        };
        assert_eq!(cheap.of(few).nanos(), 1, "a call is rounded up");
        let absurd = Tokens {
            prompt: u64::MAX,
            completion: u64::MAX,
            ..Tokens::default()
        };
        assert_eq!(price.of(absurd), Usd::from_nanos(u64::MAX));
    }

    #[test]
    fn a_price_is_found_by_the_name_without_its_date() {
        let price = Price::of_model("gpt-5.2");
        assert!(price.is_some());
        for model in ["gpt-5.2-2025-12-11", "gpt-5.2-20251211", "GPT-5.2"] {
            assert_eq!(Price::of_model(model), price, "{model}");
        }
        for model in [
            "who-knows",
            "gpt-5.2-mini",
            "gpt-5",
            "gpt-5.2-12",
            "2025-12-11",
            "",
        ] {
            assert_eq!(Price::of_model(model), None, "{model}");
        }
    }
}
