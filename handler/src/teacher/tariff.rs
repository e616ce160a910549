//! Which price a call has.

use super::model::Price;
use crate::dataset::figures::Tokens;
use crate::money::Usd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The prices of the calls to one deployment.
///
/// A price that the user set always stands. Otherwise the model that answers decides; where an answer
/// does not name it, or only repeats the deployment's name as gateways do, the model that is set does.
#[derive(Debug)]
pub struct Tariff {
    set: Option<Price>,
    model: String,
    deployment: String,
    answered_by: Option<String>,
    expected: Option<Price>,
    /// The most prompt tokens that were billed for a thousand of ours.
    counted: AtomicU64,
}

impl Tariff {
    /// The tariff of `deployment`, with the price and the `model` that are set. `answered_by` is the
    /// model that answered earlier, if that is known.
    pub fn new(
        set: Option<Price>,
        model: &str,
        deployment: &str,
        answered_by: Option<&str>,
    ) -> Self {
        let mut tariff = Self {
            set,
            model: model.to_owned(),
            deployment: deployment.to_owned(),
            answered_by: answered_by.map(str::to_owned),
            expected: None,
            counted: AtomicU64::new(1000),
        };
        tariff.expected = tariff.of_answer(answered_by);
        tariff
    }

    /// The price of calls that are not answered yet; `None` where it is not known.
    pub fn expected(&self) -> Option<Price> {
        self.expected
    }

    /// The model whose price counts for calls that are not answered yet.
    pub fn answering(&self) -> &str {
        self.model(self.answered_by.as_deref())
    }

    /// The model whose price counts for an answer that names `answered_by`.
    pub(super) fn model<'a>(&'a self, answered_by: Option<&'a str>) -> &'a str {
        let named = answered_by
            .filter(|named| !named.is_empty() && !named.eq_ignore_ascii_case(&self.deployment));
        named.unwrap_or(&self.model)
    }

    /// The price of a call that `answered_by` answered; `None` where it is not known.
    pub(super) fn of_answer(&self, answered_by: Option<&str>) -> Option<Price> {
        self.set
            .or_else(|| Price::of_model(self.model(answered_by)))
    }

    /// What a call may be billed that sends `prompt` tokens and allows an answer of `answer`. Where the
    /// service was seen to count more tokens in a prompt than we do, the estimate is that much higher.
    pub(super) fn estimate(&self, prompt: u64, answer: u64) -> Tokens {
        let counted = u128::from(prompt) * u128::from(self.counted.load(Relaxed));
        let prompt = u64::try_from(counted.div_ceil(1000)).unwrap_or(u64::MAX);
        let tokens = Tokens {
            calls: 1,
            prompt,
            completion: answer,
            ..Tokens::default()
        };
        match self.expected {
            Some(price) => Tokens {
                usd: price.of(tokens),
                ..tokens
            },
            None => Tokens {
                unpriced: 1,
                ..tokens
            },
        }
    }

    /// The most that a call may cost; nothing where no price is known.
    pub fn most(&self, prompt: u64, answer: u64) -> Usd {
        self.estimate(prompt, answer).usd
    }

    /// A prompt that we counted as `ours` tokens was billed as `theirs`.
    pub(super) fn learn(&self, ours: u64, theirs: u64) {
        let thousandths = u128::from(theirs) * 1000;
        let counted = thousandths.div_ceil(u128::from(ours.max(1)));
        let counted = u64::try_from(counted).unwrap_or(u64::MAX);
        self.counted.fetch_max(counted, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Price = Price {
        input: Usd::from_nanos(1),
        cached: Usd::from_nanos(1),
        output: Usd::from_nanos(1),
    };

    #[test]
    fn the_price_is_that_of_the_model_that_answers() {
        let known = Price::of_model("gpt-5.2");
        let tariff = |set, model| Tariff::new(set, model, "fast", None);
        for (set, model, answered_by, price) in [
            (None, "gpt-5.2", None, known),
            (None, "gpt-5.2", Some(""), known),
            (None, "gpt-5.2", Some("Fast"), known),
            (None, "gpt-5.2", Some("gpt-5.2-2025-12-11"), known),
            (
                None,
                "gpt-5.2",
                Some("gpt-5.4-2026-03-05"),
                Price::of_model("gpt-5.4"),
            ),
            (None, "gpt-5.2", Some("gpt-6-2027-03-05"), None),
            (None, "mine", Some("gpt-5.2-2025-12-11"), known),
            (None, "mine", None, None),
            (Some(SET), "mine", Some("gpt-5.2-2025-12-11"), Some(SET)),
            (Some(SET), "gpt-5.2", Some("gpt-5.4"), Some(SET)),
        ] {
            let found = tariff(set, model).of_answer(answered_by);
            assert_eq!(found, price, "{model} {answered_by:?}");
            let later = Tariff::new(set, model, "fast", answered_by);
            assert_eq!(later.expected(), price, "{model} {answered_by:?}");
        }
    }

    #[test]
    fn where_the_service_counts_more_tokens_than_we_do_estimates_are_higher() {
        let tariff = Tariff::new(Some(SET), "m", "d", None);
        tariff.learn(20, 10);
        assert_eq!(tariff.estimate(48, 2).prompt, 48);
        tariff.learn(3, 4);
        assert_eq!(tariff.estimate(30, 2).prompt, 41);
        assert_eq!(tariff.estimate(30, 2).completion, 2);
    }
}
