//! The walk over a conversation's JSON: where the values stand that labelling needs.
//!
//! The walk follows the scanner's grammar, which looks at brackets, quotes, colons and commas only. So
//! an ignored field may hold anything with a beginning and an end, such as Python's `NaN`, and a value
//! that makes no sense costs its own field, not the conversation.

use crate::dataset::scanner::structure::{NoLandmarks, Step, Structure};

use super::format::{Format, Ids};
use super::{ParseError, messages, requests, value};

/// A value as it is written, and where.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes from the first byte of what is walked over.
    pub(super) at: usize,
}

/// Where a user's message stands in its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) list: &'static str,
    /// The position in that list, counted from 0.
    pub(super) element: u32,
    /// The field of that element; `None` where the element itself is meant.
    pub(super) field: Option<&'static str>,
}

/// The fields of a turn. Of a repeated one the last counts.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) place: Place,
    pub(super) message_id: Option<Value<'a>>,
    pub(super) index: Option<Value<'a>>,
    pub(super) user_message: Option<Value<'a>>,
    pub(super) model_message: Option<Value<'a>>,
    /// What the model says after that in the same turn.
    pub(super) further: Vec<Value<'a>>,
}

impl<'a> Fields<'a> {
    /// Adds what the model says.
    pub(super) fn answer(&mut self, said: Value<'a>) {
        match self.model_message {
            None => self.model_message = Some(said),
            Some(_) => self.further.push(said),
        }
    }
}

/// What stands in place of a turn.
pub(super) struct RawTurn<'a> {
    pub(super) place: Place,
    pub(super) value: Value<'a>,
    /// What it is, where that is not to be seen from the value.
    pub(super) found: Option<&'static str>,
}

pub(super) trait Gather: Default {
    fn turn(&mut self, turn: Fields<'_>);
    fn other(&mut self, other: RawTurn<'_>);
}

/// Walks over a conversation, blanks around it allowed: its ids and its turns.
pub(super) fn conversation<G: Gather>(
    bytes: &[u8],
    format: Format,
) -> Result<(Ids<'_>, G), ParseError> {
    // A crash leaves NUL bytes in place of data. What stands before and after them need not belong
    // together.
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(error(NUL_BYTES, at));
    }
    let mut json = Cursor::new(bytes, 0);
    let (mut ids, mut turns) = (Ids::default(), None);
    if json.next() != Some(b'{') {
        return Err(json.expected("a JSON object"));
    }
    let list = format.field().as_bytes();
    let walked = json.fields(|json, key| {
        match key {
            b"conversationId" => ids.camel = Some(json.value()?),
            b"conversation_id" => ids.snake = Some(json.value()?),
            b"id" => ids.short = Some(json.value()?),
            _ if key == list => {
                turns = None;
                match (format, json.next()) {
                    (Format::TurnsText, Some(b'"')) => turns = turns_in_text(json)?,
                    (Format::TurnsText, _) => _ = json.value()?,
                    (_, Some(b'[')) => {
                        let mut gather = G::default();
                        match format {
                            Format::Turns | Format::TurnsText => json.turns(&mut gather)?,
                            Format::Messages | Format::Conversations => {
                                messages::turns(json, format.field(), &mut gather)?;
                            }
                            Format::Requests => requests::turns(json, &mut gather)?,
                        }
                        turns = Some(gather);
                    }
                    _ => _ = json.value()?,
                }
            }
            _ => _ = json.value()?,
        }
        Ok(())
    });
    walked.map_err(|error| ParseError {
        turn: error
            .turn
            .or(json.element.map(|element| (format.field(), element))),
        ..error
    })?;
    if json.next().is_some() {
        return Err(json.expected("nothing after the conversation"));
    }
    match turns {
        Some(turns) => Ok((ids, turns)),
        None => {
            let missing = match format {
                Format::Turns => "turnsArray is missing or no array",
                Format::TurnsText => "turnsArray is missing or no text with a JSON array",
                Format::Messages => "messages is missing or no array",
                Format::Conversations => "conversations is missing or no array",
                Format::Requests => "requests is missing or no array",
            };
            Err(error(missing, json.at))
        }
    }
}

/// The turns in a text that holds a list of them as JSON; `None` where it holds something else. Errors in
/// it are reported at the text's position.
fn turns_in_text<G: Gather>(json: &mut Cursor<'_>) -> Result<Option<G>, ParseError> {
    let value = json.value()?;
    let Some(text) = value::text(value.bytes) else {
        return Ok(None);
    };
    let mut inside = Cursor::new(text.as_bytes(), 0);
    inside.shown_at = Some(value.at);
    if inside.next() != Some(b'[') {
        return Ok(None);
    }
    let mut gather = G::default();
    let walked = inside.turns(&mut gather);
    let walked = walked.and_then(|()| match inside.next() {
        None => Ok(()),
        Some(_) => Err(inside.expected("nothing after the array")),
    });
    walked.map_err(|error| ParseError {
        reason: format!("its text is not JSON: {}", error.reason),
        offset: value.at,
        turn: inside
            .element
            .map(|element| (Format::TurnsText.field(), element)),
    })?;
    Ok(Some(gather))
}

pub(crate) const NUL_BYTES: &str =
    "NUL bytes, as a crash or a full disk leaves them in place of data";

pub(super) fn error(reason: &str, offset: usize) -> ParseError {
    ParseError {
        reason: reason.to_owned(),
        offset,
        turn: None,
    }
}

/// A place in JSON. Levels of nesting count from `depth` on, so that values lie as deep as they do
/// to the scanner.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// The position in the array that is walked over.
    element: Option<u32>,
    /// The position to report for values, if it is not their own.
    shown_at: Option<usize>,
    structure: Structure,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], depth: usize) -> Self {
        Self {
            bytes,
            at: 0,
            depth,
            element: None,
            shown_at: None,
            structure: Structure::new(),
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no blank.
    pub(super) fn next(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn expected(&self, what: &str) -> ParseError {
        error(&format!("expected {what}"), self.at)
    }

    pub(super) fn value(&mut self) -> Result<Value<'a>, ParseError> {
        self.next();
        let (at, rest) = (self.at, self.bytes.get(self.at..).unwrap_or_default());
        self.structure.reset(self.depth);
        match self.structure.advance(rest, &NoLandmarks) {
            Step::Done(length) => {
                self.at += length;
                let bytes = rest.get(..length).unwrap_or_default();
                let at = self.shown_at.unwrap_or(at);
                Ok(Value { bytes, at })
            }
            Step::Broken(offset, what) => Err(error(what, at + offset)),
            Step::More => Err(error("it ends too early", self.bytes.len())),
        }
    }

    /// The fields of the object that comes next: `field` is given each key and reads its value.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, &[u8]) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.inside(b'}', |json| {
            if json.next() != Some(b'"') {
                return Err(json.expected("a key"));
            }
            let key = value::key(json.value()?.bytes);
            if json.next() != Some(b':') {
                return Err(json.expected("a colon"));
            }
            json.at += 1;
            field(json, &key)
        })
    }

    /// The elements of the array that comes next: `element` reads each.
    pub(super) fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        let mut position = 0_u32;
        self.inside(b']', |json| {
            json.element = Some(position);
            position = position.saturating_add(1);
            element(json)
        })?;
        self.element = None;
        Ok(())
    }

    /// What stands between the bracket that comes next and `close`, separated by commas.
    fn inside(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.at += 1;
        self.depth += 1;
        let mut ended = self.next() == Some(close);
        while !ended {
            item(self)?;
            ended = match self.next() {
                Some(b',') => false,
                Some(byte) if byte == close => true,
                _ => return Err(self.expected("a comma or the end")),
            };
            self.at += usize::from(!ended);
            // A comma may stand behind the last one.
            ended |= self.next() == Some(close);
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// The elements of a `turnsArray`.
    fn turns<G: Gather>(&mut self, gather: &mut G) -> Result<(), ParseError> {
        let mut element = 0_u32;
        self.elements(|json| {
            let at_element = element;
            let place = |field| Place {
                list: "turnsArray",
                element: at_element,
                field,
            };
            element = element.saturating_add(1);
            if json.next() != Some(b'{') {
                let value = json.value()?;
                gather.other(RawTurn {
                    place: place(None),
                    value,
                    found: None,
                });
                return Ok(());
            }
            let mut fields = Fields {
                place: place(Some("userMessage")),
                ..Fields::default()
            };
            json.fields(|json, key| {
                let value = json.value()?;
                match key {
                    b"messageId" => fields.message_id = Some(value),
                    b"turnIndex" => fields.index = Some(value),
                    b"userMessage" => fields.user_message = Some(value),
                    b"modelMessage" => fields.model_message = Some(value),
                    _ => {}
                }
                Ok(())
            })?;
            gather.turn(fields);
            Ok(())
        })
    }
}
