//! A chat completion request, as far as the double reads it.
//!
//! Parsed in one pass over the body; texts stay borrowed from it unless they contain escapes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What a request asks for, judged by its parameters alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Logprobs of a short answer.
    Classification,
    /// Anything else that could be read.
    Text,
    /// The body is not a chat completion request.
    Unreadable,
}

/// Requests with logprobs and at most this many tokens are classifications.
pub(super) const CLASSIFICATION_MAX_TOKENS: u64 = 64;

/// What an answer of unlimited length is taken to cost on arrival.
const UNLIMITED_ANSWER_TOKENS: u64 = 4_096;

#[derive(Debug, Default)]
pub(super) struct ChatRequest<'a> {
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) messages: Vec<Message<'a>>,
    pub(super) max_tokens: Option<u64>,
    pub(super) max_completion_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) n: Option<u64>,
    pub(super) stream: bool,
    pub(super) logprobs: bool,
    pub(super) top_logprobs: Option<u64>,
    pub(super) logit_bias: Vec<(u32, f64)>,
    pub(super) has_logit_bias: bool,
    pub(super) reasoning_effort: Option<Cow<'a, str>>,
    /// The first parameter that the service does not know.
    pub(super) unknown: Option<String>,
}

#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) role: Cow<'a, str>,
    pub(super) text: Cow<'a, str>,
}

impl<'a> ChatRequest<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub(super) fn max_answer_tokens(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    pub(super) fn kind(&self) -> Kind {
        match self.max_answer_tokens() {
            Some(max) if self.logprobs && max <= CLASSIFICATION_MAX_TOKENS => Kind::Classification,
            _ => Kind::Text,
        }
    }

    /// The text of the last message whose role is `user`.
    pub(super) fn last_user_text(&self) -> &str {
        let last = self.messages.iter().rev().find(|m| m.role == "user");
        last.map_or("", |m| m.text.as_ref())
    }

    /// The texts of the messages that instruct the model.
    pub(super) fn instructions(&self) -> impl Iterator<Item = &str> {
        let instructs = |m: &&Message<'_>| m.role == "system" || m.role == "developer";
        self.messages
            .iter()
            .filter(instructs)
            .map(|m| m.text.as_ref())
    }

    /// A rough count of the prompt's tokens: a quarter of its characters, and a few per message.
    pub(super) fn prompt_tokens(&self) -> u64 {
        let tokens = |m: &Message<'_>| 4 + text_tokens(&m.text);
        3 + self.messages.iter().map(tokens).sum::<u64>()
    }

    /// What the token quota is charged when the request arrives.
    pub(super) fn charged_tokens(&self) -> u64 {
        self.prompt_tokens() + self.max_answer_tokens().unwrap_or(UNLIMITED_ANSWER_TOKENS)
    }
}

/// The double's own rule for the length of a text in tokens.
pub(super) fn text_tokens(text: &str) -> u64 {
    text.chars().count().div_ceil(4) as u64
}

/// Parameters that the service knows and the double has no use for.
const KNOWN_WITHOUT_EFFECT: [&str; 22] = [
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "user",
    "response_format",
    "metadata",
    "store",
    "service_tier",
    "verbosity",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "modalities",
    "prediction",
    "data_sources",
];

impl<'de> Deserialize<'de> for ChatRequest<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RequestVisitor;

        impl<'de> Visitor<'de> for RequestVisitor {
            type Value = ChatRequest<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a chat completion request")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut request = ChatRequest::default();
                while let Some(Text(key)) = map.next_key()? {
                    match key.as_ref() {
                        "model" => request.model = map.next_value::<Option<Text>>()?.map(|t| t.0),
                        "messages" => request.messages = map.next_value()?,
                        "max_tokens" => request.max_tokens = map.next_value()?,
                        "max_completion_tokens" => {
                            request.max_completion_tokens = map.next_value()?;
                        }
                        "temperature" => request.temperature = map.next_value()?,
                        "top_p" => request.top_p = map.next_value()?,
                        "n" => request.n = map.next_value()?,
                        "stream" => {
                            request.stream = map.next_value::<Option<bool>>()? == Some(true);
                        }
                        "logprobs" => {
                            request.logprobs = map.next_value::<Option<bool>>()? == Some(true);
                        }
                        "top_logprobs" => request.top_logprobs = map.next_value()?,
                        "logit_bias" => {
                            if let Some(LogitBias(bias)) = map.next_value()? {
                                request.logit_bias = bias;
                                request.has_logit_bias = true;
                            }
                        }
                        "reasoning_effort" => {
                            request.reasoning_effort =
                                map.next_value::<Option<Text>>()?.map(|t| t.0);
                        }
                        known if KNOWN_WITHOUT_EFFECT.contains(&known) => {
                            map.next_value::<IgnoredAny>()?;
                        }
                        unknown => {
                            if request.unknown.is_none() {
                                request.unknown = Some(unknown.to_owned());
                            }
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(request)
            }
        }

        deserializer.deserialize_map(RequestVisitor)
    }
}

/// A string that borrows where it can; serde borrows a bare `Cow` nowhere inside `Option`.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// Token id → bias, from an object whose keys are numbers in strings.
struct LogitBias(Vec<(u32, f64)>);

impl<'de> Deserialize<'de> for LogitBias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BiasVisitor;

        impl<'de> Visitor<'de> for BiasVisitor {
            type Value = LogitBias;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of token ids and biases")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut biases = Vec::new();
                while let Some((Text(token), bias)) = map.next_entry::<Text<'de>, f64>()? {
                    let token = token.parse().map_err(A::Error::custom)?;
                    biases.push((token, bias.clamp(-100.0, 100.0)));
                }
                Ok(LogitBias(biases))
            }
        }

        deserializer.deserialize_map(BiasVisitor)
    }
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            role: Text<'a>,
            #[serde(borrow, default)]
            content: Content<'a>,
        }
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            role: wire.role.0,
            text: wire.content.0,
        })
    }
}

/// A message's content: a string, null, or parts of which the texts count.
#[derive(Default)]
struct Content<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Part<'a> {
            #[serde(borrow, default)]
            text: Option<Text<'a>>,
        }

        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Content(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Content::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let mut whole = String::new();
                while let Some(part) = parts.next_element::<Part<'de>>()? {
                    if let Some(Text(text)) = part.text {
                        whole.push_str(&text);
                    }
                }
                Ok(Content(Cow::Owned(whole)))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_parameters_messages_and_parts() {
        let body = br#"{"model":"m","max_tokens":1,"logprobs":true,"top_logprobs":5,"temperature":null,
            "logit_bias":{"15":5,"16":-200},"surprise":{"a":[1]},
            "messages":[{"role":"system","content":"S"},
                        {"role":"user","content":[{"type":"text","text":"a\nb"},{"type":"image_url"}]},
                        {"role":"assistant","content":null}]}"#;
        let request = ChatRequest::parse(body).unwrap();
        assert_eq!(request.kind(), Kind::Classification);
        assert_eq!(request.last_user_text(), "a\nb");
        assert_eq!(request.instructions().collect::<Vec<_>>(), ["S"]);
        assert_eq!(request.logit_bias, [(15, 5.0), (16, -100.0)]);
        assert_eq!(request.unknown.as_deref(), Some("surprise"));
        assert_eq!(request.temperature, None);
    }

    #[test]
    fn texts_without_escapes_stay_borrowed() {
        let body = br#"{"messages":[{"role":"user","content":"plain"}]}"#;
        let request = ChatRequest::parse(body).unwrap();
        assert!(matches!(request.messages[0].text, Cow::Borrowed("plain")));
    }

    #[test]
    fn long_answers_are_texts_even_with_logprobs() {
        let body = br#"{"messages":[],"logprobs":true,"max_completion_tokens":400}"#;
        assert_eq!(ChatRequest::parse(body).unwrap().kind(), Kind::Text);
        let body = br#"{"messages":[],"max_completion_tokens":16}"#;
        assert_eq!(ChatRequest::parse(body).unwrap().kind(), Kind::Text);
    }

    #[test]
    fn quota_is_charged_for_the_prompt_and_the_longest_answer() {
        let body = br#"{"messages":[{"role":"user","content":"12345678"}],"max_tokens":100}"#;
        let request = ChatRequest::parse(body).unwrap();
        assert_eq!(request.prompt_tokens(), 3 + 4 + 2);
        assert_eq!(request.charged_tokens(), 109);
    }
}
