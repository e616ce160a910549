//! One conversation of a RAW file, reduced to what labelling needs.
//!
//! [`Conversation::read`] and [`Reader`] share one walk over the JSON, so that what the plan
//! counted is what a chunk later reads. Only ids, the user's messages and the model's answers are read
//! from each conversation; the rest is skipped, whatever it is. Where they stand depends on the file's
//! [`Format`]; `docs/input.md` has the table. `userName` is never read, and no error text quotes data.

use std::fmt;

mod format;
mod messages;
mod reader;
pub(crate) mod repair;
mod requests;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use value::Message;
use walk::{Fields, Gather, Place, RawTurn, Value};

pub use format::Format;
pub use reader::{Counted, Reader};

pub(crate) use walk::NUL_BYTES;

/// What labelling needs of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id; empty where the file has none, until [`Conversation::named`].
    pub id: String,
    /// Its turns, in the order of the file.
    pub turns: Vec<Turn>,
}

/// One turn: what the user wrote and what the model answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// Its id; empty where the file has none, until [`Conversation::named`].
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

/// A user's message that is not a text: what it is instead, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadMessage {
    place: Place,
    /// What stands in place of a text, without quoting any data.
    pub found: &'static str,
    /// Where it stands: bytes from the conversation's first byte or, after
    /// [`Conversation::placed_at`], from the file's.
    pub byte: u64,
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, found, byte } = self;
        write!(f, "{}[{}]", place.list, place.element)?;
        if let Some(field) = place.field {
            write!(f, ".{field}")?;
        }
        write!(f, " is {found}, at byte {byte}")
    }
}

/// Why a run of bytes is not a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// What is wrong, without quoting any data.
    pub reason: String,
    /// Where it was noticed: bytes from the conversation's first byte, at most its length.
    pub offset: usize,
    /// The list and the position in it, counted from 0, when it was noticed inside a turn.
    pub turn: Option<(&'static str, u32)>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((list, turn)) = self.turn {
            write!(f, "{list}[{turn}]: ")?;
        }
        write!(
            f,
            "{} (byte {} of the conversation)",
            self.reason, self.offset
        )
    }
}

impl Conversation {
    /// Reads the bytes of one conversation with a list `turnsArray`, as [`Conversation::read`] does.
    ///
    /// # Errors
    ///
    /// As [`Conversation::read`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::read(bytes, Format::Turns)
    }

    /// Reads the bytes of one conversation in this format, blanks around it allowed.
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
    /// bytes, or whose list of turns or messages is missing or not an array.
    pub fn read(bytes: &[u8], format: Format) -> Result<Self, ParseError> {
        let (ids, turns) = walk::conversation::<Vec<Turn>>(bytes, format)?;
        let id = value::id(ids.chosen(format).map(|(_, value)| value));
        Ok(Self { id, turns })
    }

    /// Makes the ids that are missing, if files of this format get them: `<file>:<number>` for the
    /// conversation, of its file and its number there, and the position among its turns for a message,
    /// both counted from 0.
    #[must_use]
    pub fn named(mut self, format: Format, file: &str, number: u64) -> Self {
        if !format.makes_ids() {
            return self;
        }
        if self.id.is_empty() {
            self.id = format!("{file}:{number}");
        }
        for (position, turn) in self.turns.iter_mut().enumerate() {
            if turn.message_id.is_empty() {
                turn.message_id = position.to_string();
            }
        }
        self
    }

    /// Says that the conversation begins at `byte` of its file.
    #[must_use]
    pub fn placed_at(mut self, byte: u64) -> Self {
        let bad = self.turns.iter_mut().filter_map(|t| t.bad_message.as_mut());
        bad.for_each(|bad| bad.byte += byte);
        self
    }
}

/// Counts the turns of one conversation with a list `turnsArray` without keeping any text.
///
/// # Errors
///
/// Exactly where [`Conversation::parse`] has one.
pub fn count_turns(bytes: &[u8]) -> Result<u32, ParseError> {
    walk::conversation::<Count>(bytes, Format::Turns).map(|(_, count)| count.turns)
}

#[derive(Default)]
struct Count {
    turns: u32,
    /// Those whose message has no id.
    without_id: u32,
}

impl Count {
    fn add(&mut self, id: Option<Value<'_>>) {
        self.turns = self.turns.saturating_add(1);
        let has_none = id.is_none_or(value::is_no_id);
        self.without_id = self.without_id.saturating_add(u32::from(has_none));
    }
}

impl Gather for Count {
    fn turn(&mut self, turn: Fields<'_>) {
        self.add(turn.message_id);
    }

    fn other(&mut self, _: RawTurn<'_>) {
        self.add(None);
    }
}

impl Gather for Vec<Turn> {
    fn turn(&mut self, turn: Fields<'_>) {
        let Fields {
            place,
            message_id,
            index,
            user_message,
            model_message,
            further,
        } = turn;
        let (user_message, bad_message) = match user_message {
            None => (String::new(), None),
            Some(value) => match value::message(value) {
                Message::Text(text) => (text, None),
                Message::Other(found) => {
                    let byte = value.at as u64;
                    (String::new(), Some(BadMessage { place, found, byte }))
                }
            },
        };
        let mut answers = model_message.into_iter().chain(further).filter_map(text);
        let model_message = answers
            .next()
            .map(|first| answers.fold(first, |all, next| all + "\n" + &next));
        self.push(Turn {
            message_id: value::id(message_id),
            index: value::index(index),
            user_message,
            bad_message,
            model_message,
        });
    }

    fn other(&mut self, other: RawTurn<'_>) {
        let RawTurn {
            place,
            value,
            found,
        } = other;
        self.push(Turn {
            bad_message: Some(BadMessage {
                place,
                found: found.unwrap_or_else(|| value::kind(value.bytes)),
                byte: value.at as u64,
            }),
            ..Turn::default()
        });
    }
}

/// What the model said, if that is a text.
fn text(value: Value<'_>) -> Option<String> {
    match value::message(value) {
        Message::Text(text) => Some(text),
        Message::Other(_) => None,
    }
}
