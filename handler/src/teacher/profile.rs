//! Request profiles: which parameters go into a request.
//!
//! A profile is settled once before a run and pinned in it. It is never adapted row by row, which
//! would mix definitions of a label within one dataset.

use super::endpoint::Api;
use super::model::Family;
use super::tokens::{self, Encoding};
use super::wire::{Messages, Request};
use crate::labeling::call;
use serde::{Deserialize, Serialize};

/// Which parameter bounds the tokens of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthParameter {
    /// `max_tokens`, which the older models and other makers' servers take.
    MaxTokens,
    /// `max_completion_tokens`, which the newer models take in its place.
    MaxCompletionTokens,
}

/// The parameters of all requests of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The family of models whose rules the parameters follow.
    pub family: Family,
    /// How the length of answers is bounded.
    pub length: LengthParameter,
    /// Tokens allowed for a classification.
    pub classification_tokens: u32,
    /// `reasoning_effort: "none"` is sent.
    pub effort_none: bool,
    /// `temperature` is sent.
    pub temperature: bool,
    /// How many candidates are asked for.
    pub top_logprobs: u8,
    /// The two label tokens get a bias.
    pub logit_bias: bool,
    /// The instructions stand before the question in the user's message, as the model knows no system role.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_system_role: bool,
}

impl Profile {
    /// What a family's documentation says.
    ///
    /// The newer models answer 400 to `max_completion_tokens: 1`; they stop after the digit by
    /// themselves, so 16 costs nothing but its share of the quota.
    pub fn of_family(family: Family) -> Self {
        Self::new(family, Api::Azure, Encoding::O200kBase)
    }

    /// The same, for a form of the API and a tokenizer: a bias needs the ids of the label tokens.
    pub fn new(family: Family, api: Api, encoding: Encoding) -> Self {
        let old = matches!(family, Family::Classic | Family::Compatible);
        Self {
            family,
            length: if old {
                LengthParameter::MaxTokens
            } else {
                LengthParameter::MaxCompletionTokens
            },
            classification_tokens: match family {
                Family::Classic => 1,
                // Some begin every answer with a blank, which is a token of its own.
                Family::Compatible => 2,
                Family::Gpt5None => 16,
                Family::Reasoning => 4096,
            },
            effort_none: family == Family::Gpt5None,
            temperature: family != Family::Reasoning,
            top_logprobs: match api {
                Api::Azure => call::TOP_LOGPROBS,
                Api::OpenAi => call::MOST_TOP_LOGPROBS,
            },
            logit_bias: family == Family::Classic && encoding.label_ids().is_some(),
            no_system_role: false,
        }
    }

    /// Whether an answer may begin with white space that is no part of the label's token. OpenAI's models do
    /// not begin so, and what they say is read as it stands.
    pub fn may_begin_blank(&self) -> bool {
        self.family == Family::Compatible
    }

    /// Asks for a label: one token, with its most probable alternatives. `model` is left out where the URL names it.
    pub fn classification<'a>(
        &self,
        model: Option<&'a str>,
        system: &'a str,
        user: &'a str,
    ) -> Request<'a> {
        Request {
            logprobs: Some(true),
            top_logprobs: Some(self.top_logprobs),
            logit_bias: self.logit_bias.then(|| {
                let ids = [tokens::TOKEN_0, tokens::TOKEN_1];
                ids.map(|id| (id.to_string(), call::LABEL_BIAS)).into()
            }),
            temperature: self.temperature.then_some(call::CLASSIFICATION_TEMPERATURE),
            ..self.request(model, system, user, self.classification_tokens)
        }
    }

    /// Asks for a rationale of at most `tokens` tokens.
    pub fn rationale<'a>(
        &self,
        model: Option<&'a str>,
        system: &'a str,
        user: &'a str,
        tokens: u32,
    ) -> Request<'a> {
        Request {
            temperature: self.temperature.then_some(call::RATIONALE_TEMPERATURE),
            ..self.request(model, system, user, tokens)
        }
    }

    fn request<'a>(
        &self,
        model: Option<&'a str>,
        system: &'a str,
        user: &'a str,
        tokens: u32,
    ) -> Request<'a> {
        let (max_tokens, max_completion_tokens) = match self.length {
            LengthParameter::MaxTokens => (Some(tokens), None),
            LengthParameter::MaxCompletionTokens => (None, Some(tokens)),
        };
        Request {
            model,
            messages: Messages {
                system,
                user,
                joined: self.no_system_role,
            },
            max_tokens,
            max_completion_tokens,
            reasoning_effort: self.effort_none.then_some("none"),
            ..Request::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parameters(request: &Request<'_>) -> Value {
        let mut value = serde_json::to_value(request).unwrap();
        value.as_object_mut().unwrap().remove("messages");
        value
    }

    #[test]
    fn the_classic_models_get_the_request_of_old() {
        let profile = Profile::of_family(Family::Classic);
        let request = profile.classification(None, "s", "u");
        assert_eq!(
            parameters(&request),
            json!({"max_tokens": 1, "temperature": 1.0, "logprobs": true, "top_logprobs": 5,
                   "logit_bias": {"15": 5, "16": 5}})
        );
    }

    #[test]
    fn where_there_is_no_system_role_the_instructions_stand_before_the_question() {
        let profile = Profile::of_family(Family::Compatible);
        let said = |profile: &Profile| {
            serde_json::to_value(profile.classification(None, "s", "u")).unwrap()["messages"].take()
        };
        let two = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]);
        assert_eq!(said(&profile), two);
        let joined = Profile {
            no_system_role: true,
            ..profile
        };
        assert_eq!(
            said(&joined),
            json!([{"role": "user", "content": "s\n\nu"}])
        );
    }

    #[test]
    fn the_newer_models_get_only_what_they_take() {
        let profile = Profile::of_family(Family::Gpt5None);
        let request = profile.classification(Some("d"), "s", "u");
        assert_eq!(
            parameters(&request),
            json!({"model": "d", "max_completion_tokens": 16, "reasoning_effort": "none",
                   "temperature": 1.0, "logprobs": true, "top_logprobs": 5})
        );
        assert_eq!(
            parameters(&profile.rationale(Some("d"), "s", "u", 128)),
            json!({"model": "d", "max_completion_tokens": 128, "reasoning_effort": "none",
                   "temperature": 0.7})
        );
    }
}
