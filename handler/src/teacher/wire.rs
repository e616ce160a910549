//! Chat-completions requests and answers as they go over the line.
//!
//! Every field of an answer has been seen missing, null or of another type: an unreadable field costs
//! only itself.

use super::service_error::filtered_categories;
use crate::json::{Json, field};
use crate::labeling::soft_label::{Candidate, FirstToken};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A request. A parameter that is `None` is not sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Request<'a> {
    /// The deployment; only in the v1 form of the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// Instructions and question.
    pub messages: Messages<'a>,
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
        (self.messages.system.len() + self.messages.user.len()) as u64
    }
}

/// The parameters that a service may refuse; of two names the one that holds the other comes first.
const PARAMETERS: [&str; 7] = [
    "max_completion_tokens",
    "max_tokens",
    "reasoning_effort",
    "temperature",
    "top_logprobs",
    "logprobs",
    "logit_bias",
];

/// What stands for the role of the instructions among the parameters.
pub(super) const SYSTEM_ROLE: &str = "system role";

/// Whether a refusal is about the role of the instructions: a model's chat template may have none for them.
pub(super) fn is_about_the_system_role(message: &str) -> bool {
    let said = message.to_lowercase();
    let words = [
        "system role",
        "role 'system'",
        "role \"system\"",
        "system message",
        "does not support 'system'",
        "roles must alternate",
        "only user and assistant roles",
    ];
    words.iter().any(|words| said.contains(words))
}

/// The parameter of ours that `text` names, if it does.
pub(super) fn parameter_in(text: &str) -> Option<&'static str> {
    PARAMETERS.into_iter().find(|name| text.contains(name))
}

/// What a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages<'a> {
    /// The instructions.
    pub system: &'a str,
    /// The question.
    pub user: &'a str,
    /// Both go over the line as one message of the user, instructions first.
    pub joined: bool,
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { system, user, .. } = *self;
        if self.joined {
            let content = format!("{system}\n\n{user}");
            let role = "user";
            return [Message {
                role,
                content: &content,
            }]
            .serialize(serializer);
        }
        let message = |role, content| Message { role, content };
        [message("system", system), message("user", user)].serialize(serializer)
    }
}

/// One chat message.
#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// An answer with choices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The first choice, as only one is asked for.
    pub choice: Choice,
    /// The model that answered, as the service writes it.
    pub model: Option<String>,
}

/// One choice of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// `stop`, `length`, `content_filter` …
    pub finish_reason: Option<String>,
    /// What the model said; empty where it said nothing.
    pub text: String,
    /// Why the model declines.
    pub refusal: Option<String>,
    /// The categories for which the content filter cut the answer.
    pub filtered: Vec<String>,
    /// The first generated token, where token probabilities were given.
    first: Option<Token>,
    /// Where that is white space, the first one that is not.
    after_blank: Option<Token>,
}

/// A generated token and the most probable ones in its place.
type Token = (Candidate, Vec<Candidate>);

impl Answer {
    /// Reads an answer; `None` where it has no choices.
    pub fn read(answer: &Json<'_>) -> Option<Self> {
        let choice = match field(answer, "choices")? {
            Json::Array(choices) => choices.first()?,
            // The one that was asked for, or a list that became an object on the way.
            choice @ Json::Object(fields) => match fields.contains_key("message") {
                true => choice,
                false => fields.values().next()?,
            },
            _ => return None,
        };
        Some(Self {
            choice: Choice::read(choice),
            model: field(answer, "model").and_then(text),
        })
    }
}

impl Choice {
    fn read(choice: &Json<'_>) -> Self {
        let message = field(choice, "message");
        let in_message = |name: &str| message.and_then(|message| field(message, name));
        let tokens =
            field(choice, "logprobs").and_then(|logprobs| field(logprobs, "content")?.as_array());
        let mut tokens = tokens.into_iter().flatten();
        let first = tokens.next().and_then(token);
        let after_blank = match &first {
            Some((sampled, _)) if sampled.is_blank() => {
                let mut rest = tokens.filter_map(token);
                rest.find(|(sampled, _)| !sampled.is_blank())
            }
            _ => None,
        };
        Self {
            finish_reason: field(choice, "finish_reason").and_then(text),
            text: in_message("content").map(said).unwrap_or_default(),
            refusal: in_message("refusal").and_then(text),
            filtered: filtered_categories(choice),
            first,
            after_blank,
        }
    }

    /// Takes the first token that is not white space for the first one, where there is one.
    pub fn pass_over_blanks(&mut self) {
        if let Some(token) = self.after_blank.take() {
            self.first = Some(token);
        }
    }

    /// The probabilities of the first generated token; `requested` is the `top_logprobs` asked for.
    /// `None` where the answer has none.
    pub fn take_first_token(&mut self, requested: u8) -> Option<FirstToken> {
        let (sampled, top) = self.first.take()?;
        Some(FirstToken {
            sampled,
            top,
            requested,
        })
    }
}

/// A generated token with its rivals.
fn token(token: &Json<'_>) -> Option<Token> {
    let top = field(token, "top_logprobs").and_then(Json::as_array);
    let top = top.into_iter().flatten().filter_map(candidate).collect();
    Some((candidate(token)?, top))
}

/// A token with its probability.
fn candidate(token: &Json<'_>) -> Option<Candidate> {
    let fields = token.as_object()?;
    let bytes = fields.get("bytes").and_then(Json::as_array);
    let bytes = bytes.and_then(|bytes| {
        let byte = |byte: &Json<'_>| u8::try_from(byte.as_u64()?).ok();
        bytes.iter().map(byte).collect::<Option<Vec<u8>>>()
    });
    let logprob = fields.get("logprob").and_then(|logprob| match logprob {
        Json::Str(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    });
    Some(Candidate {
        token: fields.get("token").and_then(text).unwrap_or_default(),
        bytes,
        // A missing logprob is the same as an absent token.
        logprob: logprob.unwrap_or(f64::NAN),
    })
}

fn text(value: &Json<'_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A text, or the texts of its parts.
fn said(content: &Json<'_>) -> String {
    match content {
        Json::Str(text) => text.to_string(),
        Json::Array(parts) => {
            let parts = parts.iter();
            parts
                .filter_map(|part| field(part, "text")?.as_str())
                .collect()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(answer: &Value) -> Option<Answer> {
        Answer::read(&Json::from(answer))
    }

    fn first(token: Value) -> Option<FirstToken> {
        let answer = json!({"choices": [{"logprobs": {"content": [token]}}]});
        read(&answer).unwrap().choice.take_first_token(5)
    }

    #[test]
    fn every_field_of_an_answer_may_be_missing_or_of_another_type() {
        for odd in [
            json!(null),
            json!(true),
            json!(17),
            json!(-1.5),
            json!("x"),
            json!([]),
            json!({}),
            json!([[]]),
        ] {
            assert_eq!(read(&json!({"choices": odd})).is_some(), odd == json!([[]]));
            for answer in [
                json!({"choices": [odd], "model": odd, "usage": odd}),
                json!({"choices": [{"message": odd, "logprobs": odd, "finish_reason": odd}]}),
                json!({"choices": [{"message": {"content": odd, "refusal": odd}}]}),
                json!({"choices": [{"logprobs": {"content": odd}, "content_filter_results": odd}]}),
                json!({"choices": [{"logprobs": {"content": [odd]}}]}),
                json!({"choices": [{"logprobs": {"content": [{"token": odd, "logprob": odd,
                    "bytes": odd, "top_logprobs": odd}]}}]}),
                json!({"choices": [{"logprobs": {"content": [{"top_logprobs": [odd]}]}}]}),
            ] {
                let mut choice = read(&answer).unwrap().choice;
                let _ = choice.take_first_token(5);
            }
        }
    }

    #[test]
    fn what_cannot_be_read_costs_that_field() {
        let token = json!({"token": "1", "logprob": -0.5, "bytes": [49], "top_logprobs": null});
        let read = first(token.clone()).unwrap();
        assert_eq!((read.sampled.logprob, read.top.len()), (-0.5, 0));
        for (field, value) in [
            (
                "top_logprobs",
                json!([null, 3, {"token": "0", "logprob": -1.0}]),
            ),
            (
                "top_logprobs",
                json!([{"token": "0", "logprob": "-1.0"}, "x"]),
            ),
            ("bytes", json!([49, 300])),
            ("bytes", json!("1")),
            ("new", json!({"x": 1})),
        ] {
            let mut token = token.clone();
            token[field] = value;
            let read = first(token.clone()).unwrap();
            assert_eq!(
                (read.sampled.token.as_str(), read.sampled.logprob),
                ("1", -0.5),
                "{token}"
            );
            let rivals = usize::from(field == "top_logprobs");
            assert_eq!(read.top.len(), rivals, "{token}");
        }
    }

    #[test]
    fn white_space_is_passed_over_where_that_is_asked_for() {
        let token = |text: &str| json!({"token": text, "logprob": -0.5, "top_logprobs": []});
        for (tokens, first, after) in [
            (vec!["0"], "0", "0"),
            (vec!["\u{2581}", "1"], "\u{2581}", "1"),
            (vec!["\u{120}", "\u{10a}", "1", "0"], "\u{120}", "1"),
            (vec![" ", "\n", "", "x", "1"], " ", "x"),
            (vec!["\n"], "\n", "\n"),
            (vec!["\u{2581}1", "0"], "\u{2581}1", "\u{2581}1"),
        ] {
            let content = tokens.iter().map(|text| token(text)).collect::<Vec<_>>();
            let answer = json!({"choices": [{"logprobs": {"content": content}}]});
            let choice = read(&answer).unwrap().choice;
            let sampled = |mut choice: Choice| choice.take_first_token(5).unwrap().sampled.token;
            assert_eq!(sampled(choice.clone()), first, "{tokens:?}");
            let mut passed = choice;
            passed.pass_over_blanks();
            assert_eq!(sampled(passed), after, "{tokens:?}");
        }
    }

    #[test]
    fn what_python_writes_is_read() {
        let body =
            br#"{"choices": [{"message": {"content": "\ud83d \"NaN\" \\"}, "logprobs": {"content":
            [{"token": "1", "logprob": -0.1, "top_logprobs": [{"token": "0", "logprob": -Infinity},
            {"token": "\udfff", "logprob": NaN}, {"token": "x", "logprob": Infinity}]}]}}]}"#;
        let answer = Answer::read(&crate::json::parse(body).unwrap()).unwrap();
        let mut choice = answer.choice;
        assert_eq!(choice.text, "\u{fffd} \"NaN\" \\");
        let first = choice.take_first_token(5).unwrap();
        assert_eq!(first.top.len(), 3);
        assert!(first.top.iter().all(|candidate| candidate.logprob.is_nan()));
    }

    #[test]
    fn the_only_choice_need_not_stand_in_a_list() {
        let choice = json!({"message": {"content": "1"}, "finish_reason": "stop"});
        for choices in [json!([choice]), choice.clone(), json!({"0": choice})] {
            let read = read(&json!({"choices": choices})).unwrap().choice;
            assert_eq!(read.text, "1", "{choices}");
        }
        assert_eq!(read(&json!({"choices": {}})), None);
    }

    #[test]
    fn the_parts_of_a_text_are_joined() {
        let parts =
            json!([{"type": "text", "text": "Because "}, {"type": "image"}, {"text": "so."}]);
        let answer = json!({"choices": [{"message": {"content": parts}}]});
        assert_eq!(read(&answer).unwrap().choice.text, "Because so.");
    }
}
