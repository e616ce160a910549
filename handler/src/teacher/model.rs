//! What is known of models by name: family, encoding, price.
//!
//! A deployment's name says nothing about its model, so all of it can be set; the names only give
//! defaults.

use super::endpoint::Api;
use super::tokens::Encoding;
use crate::dataset::figures::Tokens;
use crate::money::Usd;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Families, encodings and list prices by model, which the templates in `infra/` read too.
const TABLE_FILE: &str = include_str!("../../../infra/models.json");

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
    /// Models of other servers: `max_tokens`, log probabilities, and nothing that not all of them take.
    Compatible,
}

impl Family {
    /// The family of a model that is asked in this form of the API: other servers have other models.
    pub fn of_model_at(model: &str, api: Api) -> Self {
        match api {
            Api::OpenAi if Encoding::for_model(model).is_none() => Self::Compatible,
            _ => Self::of_model(model),
        }
    }

    /// The family of a model by its name; unknown names are taken for the newest kind.
    pub fn of_model(model: &str) -> Self {
        let model = base(model).to_ascii_lowercase();
        if let Some(known) = Table::get().find(&model) {
            return known.family;
        }
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

/// What is known of a model. The file says more: for its readers, and for the templates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Known {
    family: Family,
    encoding: Encoding,
    /// US dollars per million tokens, as are the next two.
    input: Usd,
    /// As much as `input` where the list has none.
    cached: Option<Usd>,
    output: Usd,
}

/// What is known of models, and since when.
#[derive(Debug, Default, Deserialize)]
struct Table {
    /// The day on which the prices were read.
    read: String,
    models: BTreeMap<String, Known>,
}

impl Table {
    fn get() -> &'static Self {
        // That it can be read is tested.
        static TABLE: LazyLock<Table> =
            LazyLock::new(|| serde_json::from_str(TABLE_FILE).unwrap_or_default());
        &TABLE
    }

    /// The model of that name: as it stands, or without the date of its version.
    fn find(&self, model: &str) -> Option<&Known> {
        let model = model.to_ascii_lowercase();
        let names = [model.as_str(), without_date(&model)];
        names.iter().find_map(|name| self.models.get(*name))
    }
}

/// The day on which the prices were read.
pub fn prices_of() -> &'static str {
    &Table::get().read
}

/// What is assumed of a model that is in no table, in one sentence; `None` for those that are known.
pub fn assumed(model: &str, family: Family, encoding: Encoding, priced: bool) -> Option<String> {
    if Table::get().find(base(model)).is_some() {
        return None;
    }
    let family = family.to_possible_value();
    let family = family
        .as_ref()
        .map_or("unknown", |family| family.get_name());
    let price = match priced {
        true => "",
        false => ", at an unknown price (--price-input, --price-output)",
    };
    Some(format!(
        "the model {model:?} is unknown: it is asked as one of the family {family} \
         (--model-family), and its tokens are {} (--encoding){price}",
        match encoding.label_ids() {
            Some(_) => format!("counted as {}", encoding.as_str()),
            None => "estimated".into(),
        }
    ))
}

/// The model that a fine-tune was made from: `gpt-4o` for `ft:gpt-4o:org::id`, and for
/// `gpt-4o-2024-08-06.ft-…` the name before `.ft-`. Any other name is its own.
pub fn base(model: &str) -> &str {
    let lower = model.to_ascii_lowercase();
    if lower.starts_with("ft:") {
        return model.split(':').nth(1).unwrap_or(model);
    }
    match lower.find(".ft-").and_then(|at| model.get(..at)) {
        Some(base) if !base.is_empty() => base,
        _ => model,
    }
}

impl Price {
    /// The list price of a model, or `None` where it is not known, as for a fine-tune. The date of a
    /// version says nothing about the price, but where a version has its own.
    pub fn of_model(model: &str) -> Option<Self> {
        let known = Table::get().find(model)?;
        Some(Self {
            input: known.input,
            cached: known.cached.unwrap_or(known.input),
            output: known.output,
        })
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
            ("gpt-5.4-mini", Family::Gpt5None),
            ("gpt-5.5", Family::Gpt5None),
            ("gpt-5.6-terra-2027-01-11", Family::Gpt5None),
            ("gpt-5-nano-2025-08-07", Family::Reasoning),
            ("ft:gpt-4o-mini-2024-07-18:org::abc123", Family::Classic),
            (
                "gpt-4.1-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678",
                Family::Classic,
            ),
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
            "gpt-5.7",
            "gpt-5.2-12",
            "2025-12-11",
            "",
            "ft:gpt-4o-mini-2024-07-18:org::abc123",
            "gpt-4.1-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678",
            "gpt-4.1.ft-2025-04-14",
        ] {
            assert_eq!(Price::of_model(model), None, "{model}");
        }
    }

    #[test]
    fn the_table_is_whole_dated_and_sound() {
        let table: Table = serde_json::from_str(TABLE_FILE).unwrap();
        assert!(prices_of().parse::<jiff::civil::Date>().is_ok());
        assert_eq!(table.models.len(), 18);
        for (name, known) in &table.models {
            let price = Price::of_model(name).unwrap();
            assert!(
                price.cached <= price.input && price.input < price.output,
                "{name}"
            );
            assert_eq!(Family::of_model(name), known.family);
            assert_eq!(Encoding::for_model(name), Some(known.encoding), "{name}");
        }
        for (model, [input, cached, output]) in [
            ("gpt-4o", ["2.5", "1.25", "10"]),
            ("gpt-4o-2024-08-06", ["2.5", "1.25", "10"]),
            ("gpt-4o-2024-05-13", ["5", "5", "15"]),
            ("gpt-4o-mini", ["0.15", "0.075", "0.6"]),
            ("gpt-4.1-nano", ["0.1", "0.025", "0.4"]),
            ("gpt-5", ["1.25", "0.125", "10"]),
            ("gpt-5-nano", ["0.05", "0.005", "0.4"]),
            ("gpt-5.2", ["1.75", "0.175", "14"]),
            ("gpt-5.4-mini", ["0.75", "0.075", "4.5"]),
            ("gpt-5.5", ["5", "0.5", "30"]),
            ("gpt-5.6-luna", ["0.2", "0.02", "1.2"]),
        ] {
            let usd = |text: &str| text.parse::<Usd>().unwrap();
            let expected = Price {
                input: usd(input),
                cached: usd(cached),
                output: usd(output),
            };
            assert_eq!(Price::of_model(model), Some(expected), "{model}");
        }
    }

    #[test]
    fn what_is_assumed_of_an_unknown_model_is_said() {
        let assumed = |model: &str| {
            super::assumed(model, Family::of_model(model), Encoding::O200kBase, false)
        };
        for known in ["gpt-5.2", "gpt-4o-2024-08-06", "ft:gpt-4.1:org::x"] {
            assert_eq!(assumed(known), None);
        }
        let said = assumed("llama").unwrap();
        for word in ["\"llama\"", "gpt5_none", "o200k_base", "unknown price"] {
            assert!(said.contains(word), "{said}");
        }
    }
}
