//! One conversation of a RAW file, reduced to what labelling needs.
//!
//! [`Conversation::parse`] and [`count_turns`] share one walk over the JSON, so that what the plan
//! counted is what a chunk later reads. Of each conversation only `conversationId` and
//! `turnsArray[].{messageId, turnIndex, userMessage, modelMessage}` are looked at; the rest is skipped,
//! whatever it is. `userName` is never read, and no error text quotes data.

use std::fmt;

pub(crate) mod repair;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use value::Message;
use walk::{Fields, Gather, RawTurn};

pub(crate) use walk::NUL_BYTES;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// `conversationId`; empty where the file has none.
    pub id: String,
    pub turns: Vec<Turn>,
}

/// One turn: what the user wrote and what the model answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// `messageId`; empty where the file has none.
    pub message_id: String,
    /// `turnIndex` as written: it may have gaps, and says nothing about the position in
    /// [`Conversation::turns`].
    pub index: Option<i64>,
    /// The user's text; empty where the file has none.
    pub user_message: String,
    /// Why the file's `userMessage` is no text, if so.
    pub bad_message: Option<BadMessage>,
    /// The model's text; `None` for an answer by tools alone, and in an unknown shape.
    pub model_message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadMessage {
    /// The position in `turnsArray`, counted from 0.
    pub turn: usize,
    /// Whether the turn is an object and has a `userMessage`, which is none.
    pub is_turn: bool,
    /// What stands in place of a text, without quoting any data.
    pub found: &'static str,
    /// Where it stands: bytes from the conversation's first byte or, after
    /// [`Conversation::placed_at`], from the file's.
    pub byte: u64,
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            turn, found, byte, ..
        } = self;
        match self.is_turn {
            true => write!(
                f,
                "turnsArray[{turn}].userMessage is {found}, at byte {byte}"
            ),
            false => write!(f, "turnsArray[{turn}] is {found}, at byte {byte}"),
        }
    }
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
    /// Ids are kept to the letter: texts as they are, other values as they are written, blanks left
    /// out. Messages are texts, numbers as they are written, or content parts, whose texts are joined.
    /// A user's message in another shape is that turn's [`BadMessage`], a model's counts as missing.
    /// Tolerated are missing or null ids (empty), missing messages, a `turnIndex` that is not a whole
    /// number (`None`), lone surrogates and invalid UTF-8 (U+FFFD), control characters in texts, and a
    /// repeated key (the last one wins).
    ///
    /// # Errors
    ///
    /// [`ParseError`] for bytes that are not one object with a beginning and an end, that hold NUL
    /// bytes, or whose `turnsArray` is missing or not an array.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (id, turns) = walk::conversation::<Vec<Turn>>(bytes)?;
        let id = value::id(id);
        Ok(Self { id, turns })
    }

    /// Says that the conversation begins at `byte` of its file.
    #[must_use]
    pub fn placed_at(mut self, byte: u64) -> Self {
        let bad = self.turns.iter_mut().filter_map(|t| t.bad_message.as_mut());
        bad.for_each(|bad| bad.byte += byte);
        self
    }
}

/// Counts the turns of one conversation without keeping any text.
///
/// # Errors
///
/// Exactly where [`Conversation::parse`] has one.
pub fn count_turns(bytes: &[u8]) -> Result<u32, ParseError> {
    walk::conversation::<Count>(bytes).map(|(_, Count(turns))| turns)
}

#[derive(Default)]
struct Count(u32);

impl Gather for Count {
    fn turn(&mut self, _: RawTurn<'_>) {
        self.0 = self.0.saturating_add(1);
    }
}

impl Gather for Vec<Turn> {
    fn turn(&mut self, turn: RawTurn<'_>) {
        let bad = |found, at: usize, is_turn| BadMessage {
            turn: self.len(),
            is_turn,
            found,
            byte: at as u64,
        };
        let turn = match turn {
            RawTurn::Object(fields) => {
                let Fields {
                    message_id,
                    index,
                    user_message,
                    model_message,
                } = fields;
                let (user_message, bad_message) = match user_message {
                    None => (String::new(), None),
                    Some(value) => match value::message(value) {
                        Message::Text(text) => (text, None),
                        Message::Other(found) => (String::new(), Some(bad(found, value.at, true))),
                    },
                };
                let model_message = match model_message.map(value::message) {
                    Some(Message::Text(text)) => Some(text),
                    _ => None,
                };
                Turn {
                    message_id: value::id(message_id),
                    index: value::index(index),
                    user_message,
                    bad_message,
                    model_message,
                }
            }
            RawTurn::Other(value) => Turn {
                bad_message: Some(bad(value::kind(value.bytes), value.at, false)),
                ..Turn::default()
            },
        };
        self.push(turn);
    }
}
