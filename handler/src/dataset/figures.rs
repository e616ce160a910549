//! What is counted about labelled turns, per bucket and in total.

use super::histogram::Histogram;
use super::line::ErrorCode;
use crate::money::Usd;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Calls, the tokens and dollars that they were billed, and what the quota was charged. Sums of tokens
/// saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Calls that were billed, or may have been.
    pub calls: u64,
    /// Prompt tokens, cached ones included.
    pub prompt: u64,
    /// Prompt tokens that the service took from its cache.
    pub cached: u64,
    /// Tokens of the answers.
    pub completion: u64,
    /// Tokens that were charged to the quota, which are not money: prompt and longest answer of each
    /// attempt, successful or not.
    #[serde(default)]
    pub reserved: u64,
    /// US dollars for all of that, at the prices that were in force when the calls were made.
    #[serde(default)]
    pub usd: Usd,
    /// Calls of which no readable bill came: prompt and longest answer are counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub estimated: u64,
    /// Calls for which no price was known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpriced: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Tokens {
    /// These without `other`, which is a part of them.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(other.calls),
            prompt: self.prompt.saturating_sub(other.prompt),
            cached: self.cached.saturating_sub(other.cached),
            completion: self.completion.saturating_sub(other.completion),
            reserved: self.reserved.saturating_sub(other.reserved),
            usd: self.usd.saturating_sub(other.usd),
            estimated: self.estimated.saturating_sub(other.estimated),
            unpriced: self.unpriced.saturating_sub(other.unpriced),
        }
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.prompt = self.prompt.saturating_add(other.prompt);
        self.cached = self.cached.saturating_add(other.cached);
        self.completion = self.completion.saturating_add(other.completion);
        self.reserved = self.reserved.saturating_add(other.reserved);
        self.usd += other.usd;
        self.estimated = self.estimated.saturating_add(other.estimated);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
    }
}

/// The figures of one bucket, or of several added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Conversations that could be read.
    pub conversations: u64,
    /// Stretches of the file that could not be read as a conversation.
    pub broken_conversations: u64,
    /// User turns, which is also the number of lines.
    pub turns: u64,
    /// Turns with a label.
    pub labeled: u64,
    /// Turns without a label that asking again would not change.
    pub not_labelable: u64,
    /// Turns without a label that can be run again.
    pub failed: u64,
    /// Turns without a label, by the reason.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// Labelled turns with hard label 0 (requires reasoning).
    pub label_0: u64,
    /// Labelled turns with hard label 1 (does not).
    pub label_1: u64,
    /// Mean of the soft labels; `null` without any.
    pub mean_soft_label: Option<f64>,
    /// How the soft labels are distributed.
    #[serde(default)]
    pub soft_labels: Histogram,
    /// Labels for which one of the two tokens was not listed, so that only bounds are known.
    pub censored: u64,
    /// Labels where "0" and "1" together had less than half of the probability.
    pub low_mass: u64,
    /// Labels whose hard label is not the more probable one.
    pub contradictions: u64,
    /// Labelled turns with a rationale.
    pub rationales: u64,
    /// Labelled turns for which a rationale was asked and not obtained.
    pub rationale_failures: u64,
    /// Turns whose text was cut to the token limit before it was asked.
    pub cut_messages: u64,
    /// Turns that took the answer of an identical one.
    pub reused: u64,
    /// Turns whose `conversationId` + `messageId` an earlier turn of the bucket has too.
    pub duplicate_keys: u64,
    /// Turns without a `conversationId` or a `messageId`.
    pub missing_ids: u64,
    /// What was billed, for all that was asked about them.
    pub tokens: Tokens,
}

impl AddAssign<&Figures> for Figures {
    fn add_assign(&mut self, other: &Figures) {
        let sum = self.mean_soft_label.unwrap_or(0.0) * self.labeled as f64
            + other.mean_soft_label.unwrap_or(0.0) * other.labeled as f64;
        self.conversations += other.conversations;
        self.broken_conversations += other.broken_conversations;
        self.turns += other.turns;
        self.labeled += other.labeled;
        self.not_labelable += other.not_labelable;
        self.failed += other.failed;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        self.label_0 += other.label_0;
        self.label_1 += other.label_1;
        self.mean_soft_label = (self.labeled > 0).then(|| sum / self.labeled as f64);
        self.soft_labels += &other.soft_labels;
        self.censored += other.censored;
        self.low_mass += other.low_mass;
        self.contradictions += other.contradictions;
        self.rationales += other.rationales;
        self.rationale_failures += other.rationale_failures;
        self.cut_messages += other.cut_messages;
        self.reused += other.reused;
        self.duplicate_keys += other.duplicate_keys;
        self.missing_ids += other.missing_ids;
        self.tokens += other.tokens;
    }
}

impl Figures {
    /// Whether every turn that can be labelled is labelled and every conversation was read.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.broken_conversations == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_weighted_by_the_labels_behind_them() {
        let mut sum = Figures {
            labeled: 3,
            mean_soft_label: Some(0.2),
            ..Figures::default()
        };
        sum += &Figures {
            labeled: 1,
            mean_soft_label: Some(0.6),
            ..Figures::default()
        };
        sum += &Figures::default();
        assert_eq!(sum.labeled, 4);
        assert!((sum.mean_soft_label.unwrap() - 0.3).abs() < 1e-12);
    }

    #[test]
    fn counts_of_tokens_saturate() {
        let mut sum = Tokens {
            prompt: 1 << 63,
            ..Tokens::default()
        };
        sum += sum;
        assert_eq!(sum.prompt, u64::MAX);
    }

    #[test]
    fn without_labels_there_is_no_mean() {
        let mut sum = Figures::default();
        sum += &Figures::default();
        assert_eq!(sum.mean_soft_label, None);
    }
}
