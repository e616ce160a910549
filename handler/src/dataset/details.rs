//! One line of the details of a LABELED file: what is known about a turn beyond its labelled line.
//!
//! Invariant: a details file has as many lines as its labelled file, about the same turns in the same order.

use super::line::ErrorCode;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Where a turn stands in its RAW file. Ids may be missing or there twice; this is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The number of its conversation in the file, counted from 0, broken ones included.
    pub position: u64,
    /// Its number in `turnsArray`, counted from 0.
    pub turn: u32,
    /// `turnIndex` as RAW has it, where that is a whole number.
    pub turn_index: Option<i64>,
}

/// The details of a turn, as one line of JSON. Values that a turn without a label lacks are `null` or
/// `false`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details<'a> {
    /// As in the labelled line.
    #[serde(rename = "conversationId")]
    pub conversation_id: Cow<'a, str>,
    /// As in the labelled line.
    #[serde(rename = "messageId")]
    pub message_id: Cow<'a, str>,
    /// See [`Place`]; `null` where an earlier version labelled the turn, which did not record it.
    pub position: Option<u64>,
    /// See [`Place`]; `null` as `position` is.
    pub turn: Option<u32>,
    /// See [`Place`]; `null` also where RAW has no whole number.
    pub turn_index: Option<i64>,
    /// Bounds of P(label 1), in [0, 1]; both are the soft label where it was measured.
    pub low: Option<f64>,
    /// The upper bound of P(label 1); `low` is the lower one.
    pub high: Option<f64>,
    /// The probabilities of the tokens that mean 0 and 1, in [0, 1].
    pub p0: Option<f64>,
    /// The probability of the token that means 1; `p0` is the other one's.
    pub p1: Option<f64>,
    /// `p0 + p1`, in [0, 1].
    pub mass: Option<f64>,
    /// The token that was generated; a long one is cut.
    pub generated: Option<Cow<'a, str>>,
    /// One of the two tokens was not listed, so that the soft label is only bounded.
    pub censored: bool,
    /// `0` and `1` together had less than half of the probability.
    pub low_mass: bool,
    /// The hard label is not the more probable one.
    pub contradicting: bool,
    /// Texts that were cut to their token limit before the turn was asked.
    pub cut: u32,
    /// The turn took the answer of an identical one.
    pub reused: bool,
    /// Why there is no label.
    pub error_code: Option<ErrorCode>,
    /// Why there is a label and no rationale, where one was asked for.
    pub rationale_error: Option<ErrorCode>,
}

impl Details<'_> {
    /// Appends the line, with its newline, to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_every_key_whatever_is_known() {
        let mut line = Vec::new();
        Details::default().write_to(&mut line).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"conversationId\":\"\",\"messageId\":\"\",\"position\":null,\"turn\":null,\
             \"turn_index\":null,\"low\":null,\"high\":null,\"p0\":null,\"p1\":null,\"mass\":null,\
             \"generated\":null,\"censored\":false,\"low_mass\":false,\"contradicting\":false,\"cut\":0,\
             \"reused\":false,\"error_code\":null,\"rationale_error\":null}\n"
        );
    }
}
