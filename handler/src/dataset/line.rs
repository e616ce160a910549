//! One line of a LABELED file: one user turn.
//!
//! Invariant: lines = turns, in raw order; an error text never stands in a data field.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The reasons why a turn has no label, or a labelled turn no rationale; files have them in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The user's message has no visible character.
    EmptyMessage,
    /// The user's message in RAW is no text.
    BadMessage,
    /// The service's content filter refused the message or the answer.
    ContentFiltered,
    /// The message does not fit into the model's context.
    TooLong,
    /// Faults and time-outs until the attempts were used up.
    Transient,
    /// The service answered 429 for longer than the patience allows.
    Throttled,
    /// The model's answer named neither label, twice.
    NoLabel,
    /// The model declined to answer, twice.
    Refused,
    /// The service answered this request with an error of its own kind.
    Rejected,
    /// The service's answer could not be read.
    BadAnswer,
    /// The turn's chunk failed too often and was given up.
    Abandoned,
}

impl ErrorCode {
    /// Whether asking again would change nothing. Such turns do not make a run partial.
    pub fn is_not_labelable(self) -> bool {
        matches!(
            self,
            Self::EmptyMessage | Self::BadMessage | Self::ContentFiltered | Self::TooLong
        )
    }

    /// The code as files have it, such as `empty_message`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyMessage => "empty_message",
            Self::BadMessage => "bad_message",
            Self::ContentFiltered => "content_filtered",
            Self::TooLong => "too_long",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::NoLabel => "no_label",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::BadAnswer => "bad_answer",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a turn has no label, or a labelled turn no rationale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct LabelingError {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: String,
}

impl LabelingError {
    /// An error with `message`, one sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The label of a turn, or why it has none.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// The turn has a label.
    Labeled {
        /// 0 = requires reasoning, 1 = does not.
        hard_label: u8,
        /// P(label 1), written with six decimals.
        soft_label: f64,
        /// Left out where rationales are off or this one failed.
        rationale: Option<&'a str>,
    },
    /// The turn has no label, for this reason.
    Error(&'a LabelingError),
}

/// The values of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// As in RAW; empty where RAW has none.
    pub conversation_id: &'a str,
    /// As in RAW; empty where RAW has none.
    pub message_id: &'a str,
    /// From the path, `null` where unknown.
    pub split: Option<&'a str>,
    /// From the path, `null` where unknown.
    pub bucket: Option<&'a str>,
    /// The turn's label, or why it has none.
    pub verdict: Verdict<'a>,
}

impl Line<'_> {
    /// Appends the line, with its newline, to `out`: keys in the contract's order.
    pub fn write_to(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        out.extend_from_slice(b"{\"conversationId\":");
        serde_json::to_writer(&mut *out, self.conversation_id)?;
        out.extend_from_slice(b",\"messageId\":");
        serde_json::to_writer(&mut *out, self.message_id)?;
        out.extend_from_slice(b",\"split\":");
        serde_json::to_writer(&mut *out, &self.split)?;
        out.extend_from_slice(b",\"bucket\":");
        serde_json::to_writer(&mut *out, &self.bucket)?;
        match &self.verdict {
            Verdict::Labeled {
                hard_label,
                soft_label,
                rationale,
            } => {
                // By hand: serde_json would write 0.000001 as 1e-6.
                out.extend_from_slice(
                    format!(",\"hard_label\":{hard_label},\"soft_label\":{soft_label:.6}")
                        .as_bytes(),
                );
                if let Some(rationale) = rationale {
                    out.extend_from_slice(b",\"rationale\":");
                    serde_json::to_writer(&mut *out, rationale)?;
                }
            }
            Verdict::Error(error) => {
                out.extend_from_slice(b",\"labeling_error\":");
                serde_json::to_writer(&mut *out, error)?;
            }
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.write_to(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_labelled_line_reads_as_the_contract_says() {
        let line = Line {
            conversation_id: "abc",
            message_id: "msg",
            split: Some("train"),
            bucket: Some("short_3_to_5_turns"),
            verdict: Verdict::Labeled {
                hard_label: 0,
                soft_label: 0.231_405,
                rationale: Some("It asks \"why\".\n"),
            },
        };
        assert_eq!(
            text(&line),
            "{\"conversationId\":\"abc\",\"messageId\":\"msg\",\"split\":\"train\",\
             \"bucket\":\"short_3_to_5_turns\",\"hard_label\":0,\"soft_label\":0.231405,\
             \"rationale\":\"It asks \\\"why\\\".\\n\"}\n"
        );
    }

    #[test]
    fn an_error_takes_the_place_of_the_labels() {
        let error = LabelingError::new(ErrorCode::EmptyMessage, "The message is empty.");
        let line = Line {
            conversation_id: "",
            message_id: "",
            split: None,
            bucket: None,
            verdict: Verdict::Error(&error),
        };
        assert_eq!(
            text(&line),
            "{\"conversationId\":\"\",\"messageId\":\"\",\"split\":null,\"bucket\":null,\
             \"labeling_error\":{\"code\":\"empty_message\",\"message\":\"The message is empty.\"}}\n"
        );
    }

    #[test]
    fn a_code_is_written_as_it_is_named() {
        for code in [
            ErrorCode::TooLong,
            ErrorCode::BadAnswer,
            ErrorCode::BadMessage,
            ErrorCode::ContentFiltered,
        ] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }
}
