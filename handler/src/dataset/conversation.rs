//! One conversation of a RAW file, reduced to what labelling needs.
//!
//! [`Conversation::parse`] and [`count_turns`] share one walk over the JSON, so that what the plan
//! counted is what a chunk later reads. Of each conversation only `conversationId` and
//! `turnsArray[].{messageId, turnIndex, userMessage, modelMessage}` are looked at; the rest is
//! checked for being JSON and skipped. `userName` is never read, and no error text quotes data.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeSeed;

pub(crate) mod repair;
#[cfg(test)]
mod tests;
mod walk;

use repair::repair;
use walk::{Count, Gather, Root};

/// A conversation as it stands in a RAW file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// `conversationId`; empty where the file has none.
    pub id: String,
    /// The turns in the order of the file.
    pub turns: Vec<Turn>,
}

/// One turn: what the user wrote and what the model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// `messageId`; empty where the file has none.
    pub message_id: String,
    /// `turnIndex` as written: it may have gaps, and says nothing about the position in
    /// [`Conversation::turns`].
    pub index: Option<i64>,
    /// The user's text; empty where the file has none.
    pub user_message: String,
    /// The model's text; `None` for an answer by tools alone.
    pub model_message: Option<String>,
}

/// Why a run of bytes is not a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// What is wrong, without quoting any data.
    pub reason: String,
    /// Where it was noticed: bytes from the conversation's first byte, at most its length.
    pub offset: usize,
    /// The position in `turnsArray`, counted from 0, when it was noticed inside a turn.
    pub turn: Option<u32>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(turn) = self.turn {
            write!(f, "turnsArray[{turn}]: ")?;
        }
        write!(
            f,
            "{} (byte {} of the conversation)",
            self.reason, self.offset
        )
    }
}

impl Conversation {
    /// Reads the bytes of one conversation, blanks around it allowed.
    ///
    /// Tolerated: missing or null ids (empty), numeric ids (their digits), missing or null
    /// messages, a `turnIndex` that is not a whole number (`None`), lone surrogates and invalid
    /// UTF-8 (U+FFFD), a repeated key (the last one wins).
    ///
    /// # Errors
    ///
    /// [`ParseError`] for bytes that are not one JSON object, a `turnsArray` that is missing or
    /// not an array, a turn that is not an object, and a message that is neither text nor null:
    /// labelled as empty, it would be lost without a word.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (id, turns) = walk::<Vec<Turn>>(bytes)?;
        Ok(Self { id, turns })
    }
}

/// Counts the turns of one conversation without keeping any text.
///
/// # Errors
///
/// Exactly where [`Conversation::parse`] has one.
pub fn count_turns(bytes: &[u8]) -> Result<u32, ParseError> {
    walk::<Count>(bytes).map(|((), Count(turns))| turns)
}

fn walk<G: Gather>(bytes: &[u8]) -> Result<(G::Text, G), ParseError> {
    let first = match read::<G>(bytes) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    // serde_json refuses what Python writes and reads without a murmur. That is rare enough to be
    // looked for only after a failure.
    match repair(bytes) {
        Cow::Borrowed(_) => Err(first),
        Cow::Owned(repaired) => read::<G>(&repaired).map_err(|mut error| {
            error.offset = error.offset.min(bytes.len());
            error
        }),
    }
}

fn read<G: Gather>(bytes: &[u8]) -> Result<(G::Text, G), ParseError> {
    let turn = Cell::new(None);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Root::<G> {
        turn: &turn,
        gather: PhantomData,
    }
    .deserialize(&mut json)
    .and_then(|read| json.end().map(|()| read))
    .map_err(|error| ParseError {
        offset: if error.is_eof() {
            bytes.len()
        } else {
            offset_of(bytes, error.line(), error.column())
        },
        reason: reason_of(&error),
        turn: turn.get(),
    })
}

/// serde_json counts lines and columns, both from 1; the column is in bytes.
fn offset_of(bytes: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line.checked_sub(2) {
        None => 0,
        Some(newline) => memchr::memchr_iter(b'\n', bytes)
            .nth(newline)
            .map_or(0, |at| at + 1),
    };
    // The column is that of the offending byte, or of the byte before it.
    (line_start + column.saturating_sub(1)).min(bytes.len())
}

fn reason_of(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if reason.ends_with(&place) {
        reason.truncate(reason.len() - place.len());
    }
    // serde quotes the value that it did not expect, and that value is somebody's text.
    match reason.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => reason,
    }
}
