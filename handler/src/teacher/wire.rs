//! Chat-completions requests and answers as they go over the line.
//!
//! Every field of an answer is optional, since every one of them has been seen missing.

use crate::labeling::soft_label::{Candidate, FirstToken};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A request. A parameter that is `None` is not sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Request<'a> {
    /// The deployment; only in the v1 form of the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// System and user message.
    pub messages: [Message<'a>; 2],
    /// Length limit of the classic models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Length limit of the newer models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u32>,
    /// Effort of the reasoning models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<&'static str>,
    /// Sampling temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Whether token probabilities are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    /// How many candidates a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u8>,
    /// Token id to bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_bias: Option<BTreeMap<String, i8>>,
}

impl Request<'_> {
    /// The longest answer that is allowed, in tokens.
    pub fn answer_tokens(&self) -> u32 {
        let limits = [self.max_tokens, self.max_completion_tokens];
        limits.into_iter().flatten().max().unwrap_or_default()
    }

    /// Bytes of its texts: no token is shorter than a byte.
    pub fn text_bytes(&self) -> u64 {
        let bytes = self.messages.iter().map(|message| message.content.len());
        bytes.sum::<usize>() as u64
    }
}

/// One chat message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message<'a> {
    /// `system` or `user`.
    pub role: &'static str,
    /// The text.
    pub content: &'a str,
}

/// A 200 answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Answer {
    /// One choice, as only one is asked for.
    #[serde(default)]
    pub choices: Vec<Choice>,
    /// The bill, read by [`bill::usage`](super::bill::usage).
    #[serde(default)]
    pub usage: Value,
    /// The model that answered, as the service writes it.
    pub model: Option<String>,
}

/// One choice of an answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Choice {
    /// `stop`, `length`, `content_filter` …
    pub finish_reason: Option<String>,
    /// The text.
    pub message: Option<ChoiceMessage>,
    /// The token probabilities.
    pub logprobs: Option<Logprobs>,
}

/// The text of a choice.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ChoiceMessage {
    /// The answer.
    pub content: Option<String>,
    /// Why the model declines.
    pub refusal: Option<String>,
}

/// The token probabilities of a choice.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Logprobs {
    /// One entry a generated token.
    pub content: Option<Vec<TokenLogprob>>,
}

/// A token with its probability and its rivals.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TokenLogprob {
    /// The token's text.
    #[serde(default)]
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: Option<f64>,
    /// Its bytes, where the text may not be all of it.
    pub bytes: Option<Vec<u8>>,
    /// The most probable tokens at this place.
    #[serde(default)]
    pub top_logprobs: Vec<TokenLogprob>,
}

/// The body of an answer that is not 200.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ErrorBody {
    /// The error; gateways answer without one.
    #[serde(default)]
    pub error: ServiceError,
    /// What stands in its stead where a token is refused.
    pub message: Option<String>,
}

/// The service's own description of an error.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ServiceError {
    /// A string, a number or null.
    pub code: Option<Value>,
    /// The parameter at fault.
    pub param: Option<String>,
    /// A sentence.
    pub message: Option<String>,
    /// Details, with the categories of the content filter.
    #[serde(alias = "inner_error")]
    pub innererror: Option<Value>,
}

impl Answer {
    /// The first choice, or an empty one.
    pub fn into_choice(self) -> Choice {
        self.choices.into_iter().next().unwrap_or_default()
    }
}

impl TokenLogprob {
    fn into_candidate(self) -> Candidate {
        // A missing logprob is the same as an absent token.
        Candidate {
            token: self.token,
            bytes: self.bytes,
            logprob: self.logprob.unwrap_or(f64::NAN),
        }
    }
}

impl Choice {
    /// The probabilities of the first generated token; `requested` is the `top_logprobs` asked for.
    /// `None` where the answer has none.
    pub fn take_first_token(&mut self, requested: u8) -> Option<FirstToken> {
        let mut first = self.logprobs.take()?.content?.into_iter().next()?;
        let top = std::mem::take(&mut first.top_logprobs);
        Some(FirstToken {
            sampled: first.into_candidate(),
            top: top.into_iter().map(TokenLogprob::into_candidate).collect(),
            requested,
        })
    }
}

impl ServiceError {
    /// The code as text, whatever its type; empty where there is none.
    pub fn code(&self) -> String {
        match &self.code {
            Some(Value::String(code)) => code.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }

    /// The message, or an empty text.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    /// The categories for which the content filter refused, such as `violence`.
    pub fn filtered_categories(&self) -> Vec<String> {
        let results = self.innererror.as_ref().and_then(|inner| {
            ["content_filter_result", "content_filter_results"]
                .iter()
                .find_map(|key| inner.get(key)?.as_object())
        });
        let refused = |result: &Value| {
            [result.get("filtered"), result.get("detected")]
                .iter()
                .any(|flag| flag.and_then(Value::as_bool).unwrap_or(false))
        };
        results
            .into_iter()
            .flatten()
            .filter(|(_, result)| refused(result))
            .map(|(category, _)| category.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_of_an_answer_may_be_missing_or_null() {
        for body in [
            json!({}),
            json!({"choices": []}),
            json!({"choices": [{"message": null, "logprobs": null, "finish_reason": null}]}),
            json!({"choices": [{"message": {"content": null, "refusal": null},
                    "logprobs": {"content": null}}], "usage": null}),
            json!({"choices": [{"logprobs": {"content": [{"logprob": null, "bytes": null}]}}]}),
        ] {
            let answer: Answer = serde_json::from_value(body.clone()).unwrap();
            let _ = answer.into_choice().take_first_token(5);
        }
    }

    #[test]
    fn a_code_may_be_a_string_a_number_or_null() {
        let code = |body: Value| {
            serde_json::from_value::<ErrorBody>(body)
                .unwrap()
                .error
                .code()
        };
        assert_eq!(code(json!({"error": {"code": "429"}})), "429");
        assert_eq!(code(json!({"error": {"code": 404}})), "404");
        assert_eq!(
            code(json!({"error": {"code": null, "type": null, "param": null}})),
            ""
        );
        assert_eq!(code(json!({})), "");
    }

    #[test]
    fn the_filters_categories_are_found_under_all_their_names() {
        for (inner, results) in [
            ("innererror", "content_filter_result"),
            ("inner_error", "content_filter_results"),
            ("innererror", "content_filter_results"),
        ] {
            let body = json!({"error": {"code": "content_filter", inner: {results: {
                "hate": {"filtered": false, "severity": "safe"},
                "violence": {"filtered": true, "severity": "high"},
                "jailbreak": {"filtered": false, "detected": true},
            }}}});
            let error = serde_json::from_value::<ErrorBody>(body).unwrap().error;
            assert_eq!(error.filtered_categories(), ["violence", "jailbreak"]);
        }
    }
}
