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

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

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
        write!(f, "{} (byte {} of the conversation)", self.reason, self.offset)
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
    Root::<G> { turn: &turn, gather: PhantomData }
        .deserialize(&mut json)
        .and_then(|read| json.end().map(|()| read))
        .map_err(|error| ParseError {
            offset: offset_of(bytes, error.line(), error.column()),
            reason: reason_of(&error),
            turn: turn.get(),
        })
}

/// serde_json counts lines and columns, both from 1; the column is in bytes.
fn offset_of(bytes: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line.checked_sub(2) {
        None => 0,
        Some(newline) => memchr::memchr_iter(b'\n', bytes).nth(newline).map_or(0, |at| at + 1),
    };
    // The column is that of the byte last read: one past the offending byte, or the end.
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

/// Replaces invalid UTF-8 and each escaped surrogate without a partner by U+FFFD.
fn repair(bytes: &[u8]) -> Cow<'_, [u8]> {
    let valid = match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(_) => Cow::Borrowed(bytes),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let lone = lone_surrogates(&valid);
    if lone.is_empty() {
        return valid;
    }
    let mut repaired = valid.into_owned();
    for at in lone {
        if let Some(escape) = repaired.get_mut(at..at + 6) {
            escape.copy_from_slice(br"\ufffd");
        }
    }
    Cow::Owned(repaired)
}

/// The offsets of `\uXXXX` escapes that are half of a surrogate pair without the other half.
fn lone_surrogates(bytes: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += next;
        at += match escaped_unit(bytes, at) {
            Some(0xd800..=0xdbff) => {
                if matches!(escaped_unit(bytes, at + 6), Some(0xdc00..=0xdfff)) {
                    12
                } else {
                    lone.push(at);
                    6
                }
            }
            Some(0xdc00..=0xdfff) => {
                lone.push(at);
                6
            }
            Some(_) => 6,
            None => 2,
        };
    }
    lone
}

/// The UTF-16 unit that an escape `\uXXXX` at `at` stands for.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

/// What a walk does with a text: keep it, or only see that it is one.
trait Text: Default {
    fn of(text: &str) -> Self;
}

impl Text for String {
    fn of(text: &str) -> Self {
        text.to_owned()
    }
}

impl Text for () {
    fn of(_: &str) -> Self {}
}

/// What a walk makes of the turns.
trait Gather: Default {
    type Text: Text;
    fn turn(&mut self, turn: Fields<Self::Text>);
}

impl Gather for Vec<Turn> {
    type Text = String;
    fn turn(&mut self, turn: Fields<String>) {
        self.push(Turn {
            message_id: turn.message_id,
            index: turn.index,
            user_message: turn.user_message.unwrap_or_default(),
            model_message: turn.model_message,
        });
    }
}

#[derive(Default)]
struct Count(u32);

impl Gather for Count {
    type Text = ();
    fn turn(&mut self, _: Fields<()>) {
        self.0 = self.0.saturating_add(1);
    }
}

#[derive(Default)]
struct Fields<T> {
    message_id: T,
    index: Option<i64>,
    user_message: Option<T>,
    model_message: Option<T>,
}

/// The position of the turn being read, for the error.
type Place<'p> = &'p Cell<Option<u32>>;

struct Root<'p, G> {
    turn: Place<'p>,
    gather: PhantomData<G>,
}

impl<'de, G: Gather> DeserializeSeed<'de> for Root<'_, G> {
    type Value = (G::Text, G);
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, G: Gather> Visitor<'de> for Root<'_, G> {
    type Value = (G::Text, G);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut id = G::Text::default();
        let mut turns = None;
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Name::ConversationId => id = map.next_value_seed(Id(PhantomData))?,
                Name::TurnsArray => {
                    turns = map.next_value_seed(Turns { turn: self.turn, gather: PhantomData })?;
                    self.turn.set(None);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let turns = turns.ok_or_else(|| de::Error::custom("turnsArray is missing or no array"))?;
        Ok((id, turns))
    }
}

enum Name {
    ConversationId,
    TurnsArray,
    MessageId,
    TurnIndex,
    UserMessage,
    ModelMessage,
    Other,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Name;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Name, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Name, E> {
        Ok(match key {
            "conversationId" => Name::ConversationId,
            "turnsArray" => Name::TurnsArray,
            "messageId" => Name::MessageId,
            "turnIndex" => Name::TurnIndex,
            "userMessage" => Name::UserMessage,
            "modelMessage" => Name::ModelMessage,
            _ => Name::Other,
        })
    }
}

struct Turns<'p, G> {
    turn: Place<'p>,
    gather: PhantomData<G>,
}

impl<'de, G: Gather> DeserializeSeed<'de> for Turns<'_, G> {
    type Value = Option<G>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

/// Anything but an array is `None`, and an error only if no later `turnsArray` is one.
impl<'de, G: Gather> Visitor<'de> for Turns<'_, G> {
    type Value = Option<G>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of turns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut turns: A) -> Result<Self::Value, A::Error> {
        let mut gather = G::default();
        let mut position = 0_u32;
        loop {
            self.turn.set(Some(position));
            let Some(fields) = turns.next_element_seed(OneTurn(PhantomData))? else { break };
            gather.turn(fields);
            position = position.saturating_add(1);
        }
        Ok(Some(gather))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        drain(map).map(|()| None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct OneTurn<T>(PhantomData<T>);

impl<'de, T: Text> DeserializeSeed<'de> for OneTurn<T> {
    type Value = Fields<T>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T: Text> Visitor<'de> for OneTurn<T> {
    type Value = Fields<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a turn, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields =
            Fields { message_id: T::default(), index: None, user_message: None, model_message: None };
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Name::MessageId => fields.message_id = map.next_value_seed(Id(PhantomData))?,
                Name::TurnIndex => fields.index = map.next_value_seed(Index)?,
                Name::UserMessage => {
                    fields.user_message = map.next_value_seed(Message("userMessage", PhantomData))?;
                }
                Name::ModelMessage => {
                    fields.model_message =
                        map.next_value_seed(Message("modelMessage", PhantomData))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

struct Message<T>(&'static str, PhantomData<T>);

impl<'de, T: Text> DeserializeSeed<'de> for Message<T> {
    type Value = Option<T>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<T: Text> Visitor<'_> for Message<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text or null as {}", self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(T::of(text)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// An id joins labels to their turns; what is neither text nor number counts as missing.
struct Id<T>(PhantomData<T>);

impl<'de, T: Text> DeserializeSeed<'de> for Id<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: Text> Visitor<'de> for Id<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E>(self, id: &str) -> Result<T, E> {
        Ok(T::of(id))
    }

    fn visit_i64<E>(self, id: i64) -> Result<T, E> {
        Ok(T::of(&id.to_string()))
    }

    fn visit_u64<E>(self, id: u64) -> Result<T, E> {
        Ok(T::of(&id.to_string()))
    }

    fn visit_f64<E>(self, id: f64) -> Result<T, E> {
        Ok(T::of(&id.to_string()))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        drain(map).map(|()| T::default())
    }
}

struct Index;

impl<'de> DeserializeSeed<'de> for Index {
    type Value = Option<i64>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Index {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a turn's index")
    }

    fn visit_i64<E>(self, index: i64) -> Result<Self::Value, E> {
        Ok(Some(index))
    }

    fn visit_u64<E>(self, index: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(index).ok())
    }

    /// A column with gaps leaves a data frame as `3.0`.
    fn visit_f64<E>(self, index: f64) -> Result<Self::Value, E> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = index.fract() == 0.0 && index.abs() <= EXACT;
        #[expect(clippy::cast_possible_truncation, reason = "checked: whole, and below 2^53")]
        Ok(whole.then_some(index as i64))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        drain(map).map(|()| None)
    }
}

fn drain<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}
