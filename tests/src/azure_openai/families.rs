//! Models by the parameter rules that they share, and the two URL forms.

use serde::{Deserialize, Serialize};

/// Models that share parameter rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// gpt-4o, gpt-4.1 and older: everything is accepted.
    Classic,
    /// gpt-5.1, 5.2, 5.4: logprobs at effort none, no `logit_bias`, no `max_tokens`.
    Gpt5,
    /// gpt-5 and the o series: always reasoning, no logprobs.
    Reasoning,
}

impl Family {
    /// The family of a model by its name; `None` for a name that belongs to no chat model known here.
    pub fn of_model(model: &str) -> Option<Self> {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|p| model.starts_with(p));
        if starts(&["gpt-4", "gpt-35-turbo"]) {
            Some(Self::Classic)
        } else if starts(&["gpt-5."]) {
            Some(Self::Gpt5)
        } else if starts(&["gpt-5", "o1", "o3", "o4"]) {
            Some(Self::Reasoning)
        } else {
            None
        }
    }

    /// Largest prompt in tokens.
    pub(super) fn context_limit(self) -> u64 {
        match self {
            Self::Classic => 128_000,
            Self::Gpt5 | Self::Reasoning => 272_000,
        }
    }
}

/// The URL form of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `/openai/v1/chat/completions`, the deployment in `model`.
    V1,
    /// `/openai/deployments/{deployment}/chat/completions?api-version=…`.
    Dated,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_belong_to_families() {
        for (model, family) in [
            ("gpt-4o-mini", Some(Family::Classic)),
            ("gpt-4.1", Some(Family::Classic)),
            ("gpt-5.2", Some(Family::Gpt5)),
            ("gpt-5-mini", Some(Family::Reasoning)),
            ("o4-mini", Some(Family::Reasoning)),
            ("text-embedding-3-small", None),
        ] {
            assert_eq!(Family::of_model(model), family, "{model}");
        }
    }
}
