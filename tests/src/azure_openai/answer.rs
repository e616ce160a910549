//! The body of a 200 answer.

use axum::body::Bytes;
use serde::{Serialize, Serializer};

use super::logprobs::{Entry, ShortAnswer};
use super::text::FreeText;

/// The moment at which every double starts, so that `created` is reproducible.
const EPOCH: u64 = 1_790_000_000;

/// What a completion consists of, before it is written down.
#[derive(Debug)]
pub(super) struct Completion<'a> {
    pub(super) id: u64,
    pub(super) model: &'a str,
    /// Service seconds since the start.
    pub(super) at_s: u64,
    pub(super) outcome: Outcome,
    /// Logprobs are shown where the outcome has any.
    pub(super) show_logprobs: bool,
    /// What the answer says that it used, if it does.
    pub(super) usage: Option<Usage>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Short(ShortAnswer),
    Text(FreeText),
    /// The content filter cut the answer.
    Filtered,
    /// Reasoning used up all tokens.
    Exhausted,
}

/// Tokens as billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) cached: u64,
    pub(super) completion: u64,
    pub(super) reasoning: u64,
}

impl Outcome {
    /// Completion tokens, without those of reasoning.
    pub(super) fn tokens(&self) -> u64 {
        match self {
            Self::Short(ShortAnswer::Token { .. }) => 1,
            Self::Short(ShortAnswer::Refusal) => 8,
            Self::Text(text) => text.tokens,
            Self::Short(ShortAnswer::Empty) | Self::Filtered | Self::Exhausted => 0,
        }
    }

    fn finish_reason(&self) -> &'static str {
        match self {
            Self::Filtered => "content_filter",
            Self::Exhausted | Self::Text(FreeText { cut: true, .. }) => "length",
            _ => "stop",
        }
    }
}

impl Completion<'_> {
    pub(super) fn bytes(&self) -> Bytes {
        let filtered = matches!(self.outcome, Outcome::Filtered);
        let (content, refusal) = match &self.outcome {
            Outcome::Short(ShortAnswer::Token { emitted, .. }) => (Some(emitted.token), None),
            Outcome::Short(ShortAnswer::Refusal) => {
                (None, Some("I'm sorry, I can't help with that."))
            }
            Outcome::Text(text) => (Some(text.text.as_str()), None),
            Outcome::Short(ShortAnswer::Empty) | Outcome::Exhausted => (Some(""), None),
            Outcome::Filtered => (None, None),
        };
        let logprobs = match &self.outcome {
            Outcome::Short(answer) if self.show_logprobs => Some(Logprobs::of(answer)),
            _ => None,
        };
        let wire = Wire {
            id: Hex {
                prefix: "chatcmpl-",
                id: self.id,
            },
            object: "chat.completion",
            created: EPOCH + self.at_s,
            model: self.model,
            system_fingerprint: "fp_5f7ab1edab",
            choices: [Choice {
                index: 0,
                finish_reason: self.outcome.finish_reason(),
                message: Message {
                    role: "assistant",
                    content,
                    refusal,
                    annotations: [],
                },
                logprobs,
                content_filter_results: Verdicts::new(filtered),
            }],
            prompt_filter_results: [PromptVerdict {
                prompt_index: 0,
                content_filter_results: Verdicts::new(false),
            }],
            usage: self.usage.map(|usage| WireUsage {
                prompt_tokens: usage.prompt,
                completion_tokens: usage.completion,
                total_tokens: usage.prompt + usage.completion,
                prompt_tokens_details: PromptDetails {
                    cached_tokens: usage.cached,
                    audio_tokens: 0,
                },
                completion_tokens_details: CompletionDetails {
                    reasoning_tokens: usage.reasoning,
                    audio_tokens: 0,
                    accepted_prediction_tokens: 0,
                    rejected_prediction_tokens: 0,
                },
            }),
        };
        let mut body = Vec::with_capacity(2_048);
        // Writing plain structs into memory cannot fail; an empty body would show at once if it did.
        if serde_json::to_writer(&mut body, &wire).is_err() {
            body.clear();
        }
        Bytes::from(body)
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    id: Hex,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: [Choice<'a>; 1],
    prompt_filter_results: [PromptVerdict; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<WireUsage>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    finish_reason: &'static str,
    message: Message<'a>,
    logprobs: Option<Logprobs<'a>>,
    content_filter_results: Verdicts,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    annotations: [(); 0],
}

#[derive(Serialize)]
struct Logprobs<'a> {
    content: Option<Vec<Position<'a>>>,
    refusal: Option<[(); 0]>,
}

impl<'a> Logprobs<'a> {
    fn of(answer: &'a ShortAnswer) -> Self {
        match answer {
            ShortAnswer::Token {
                emitted,
                listed,
                with_bytes,
            } => Self {
                content: Some(vec![Position {
                    entry: WireEntry::new(emitted, *with_bytes),
                    top_logprobs: listed
                        .iter()
                        .map(|e| WireEntry::new(e, *with_bytes))
                        .collect(),
                }]),
                refusal: None,
            },
            ShortAnswer::Refusal => Self {
                content: None,
                refusal: Some([]),
            },
            ShortAnswer::Empty => Self {
                content: Some(Vec::new()),
                refusal: None,
            },
        }
    }
}

#[derive(Serialize)]
struct Position<'a> {
    #[serde(flatten)]
    entry: WireEntry<'a>,
    top_logprobs: Vec<WireEntry<'a>>,
}

#[derive(Serialize)]
struct WireEntry<'a> {
    token: &'a str,
    logprob: f64,
    bytes: Option<&'a [u8]>,
}

impl<'a> WireEntry<'a> {
    fn new(entry: &'a Entry, with_bytes: bool) -> Self {
        let bytes = with_bytes.then_some(entry.token.as_bytes());
        Self {
            token: entry.token,
            logprob: entry.logprob,
            bytes,
        }
    }
}

#[derive(Serialize)]
struct PromptVerdict {
    prompt_index: u32,
    content_filter_results: Verdicts,
}

#[derive(Serialize)]
struct Verdicts {
    hate: Verdict,
    self_harm: Verdict,
    sexual: Verdict,
    violence: Verdict,
}

impl Verdicts {
    fn new(violent: bool) -> Self {
        let safe = Verdict {
            filtered: false,
            severity: "safe",
        };
        let medium = Verdict {
            filtered: true,
            severity: "medium",
        };
        Self {
            hate: safe,
            self_harm: safe,
            sexual: safe,
            violence: if violent { medium } else { safe },
        }
    }
}

#[derive(Clone, Copy, Serialize)]
struct Verdict {
    filtered: bool,
    severity: &'static str,
}

#[derive(Serialize)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

/// An id that is written without an allocation of its own.
struct Hex {
    prefix: &'static str,
    id: u64,
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{:016x}", self.prefix, self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn written(outcome: Outcome) -> Value {
        let usage = Usage {
            prompt: 10,
            cached: 0,
            completion: outcome.tokens(),
            reasoning: 0,
        };
        let completion = Completion {
            id: 1,
            model: "gpt-5.2",
            at_s: 5,
            outcome,
            show_logprobs: true,
            usage: Some(usage),
        };
        serde_json::from_slice(&completion.bytes()).unwrap()
    }

    #[test]
    fn a_token_comes_with_its_list() {
        let entry = |token, logprob| Entry { token, logprob };
        let body = written(Outcome::Short(ShortAnswer::Token {
            emitted: entry("1", -0.1),
            listed: vec![entry("1", -0.1), entry("0", -2.4)],
            with_bytes: true,
        }));
        let choice = &body["choices"][0];
        assert_eq!(choice["message"]["content"], "1");
        assert_eq!(choice["finish_reason"], "stop");
        let position = &choice["logprobs"]["content"][0];
        assert_eq!(position["token"], "1");
        assert_eq!(
            position["top_logprobs"][1]["bytes"],
            serde_json::json!([48])
        );
        assert_eq!(position["top_logprobs"][1]["logprob"], -2.4);
        assert_eq!(body["usage"]["total_tokens"], 11);
    }

    #[test]
    fn refusals_filters_and_cuts_have_their_shapes() {
        let refusal = written(Outcome::Short(ShortAnswer::Refusal));
        assert!(refusal["choices"][0]["message"]["content"].is_null());
        assert!(refusal["choices"][0]["message"]["refusal"].is_string());
        let filtered = written(Outcome::Filtered);
        assert_eq!(filtered["choices"][0]["finish_reason"], "content_filter");
        let verdicts = &filtered["choices"][0]["content_filter_results"];
        assert_eq!(verdicts["violence"]["filtered"], true);
        let text = FreeText {
            text: "A cut".to_owned(),
            tokens: 2,
            cut: true,
        };
        assert_eq!(
            written(Outcome::Text(text))["choices"][0]["finish_reason"],
            "length"
        );
    }
}
