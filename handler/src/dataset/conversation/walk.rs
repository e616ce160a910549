//! The walk over a conversation's JSON: where the values stand that labelling needs.
//!
//! The walk follows the scanner's grammar, which looks at brackets, quotes, colons and commas only. So
//! an ignored field may hold anything with a beginning and an end, such as Python's `NaN`, and a value
//! that makes no sense costs its own field, not the conversation.

use crate::dataset::scanner::structure::{NoLandmarks, Step, Structure};

use super::{ParseError, value};

/// A value as it is written, and where.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes from the first byte of what is walked over.
    pub(super) at: usize,
}

pub(super) enum RawTurn<'a> {
    Object(Fields<'a>),
    Other(Value<'a>),
}

/// The fields of a turn. Of a repeated one the last counts.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) message_id: Option<Value<'a>>,
    pub(super) index: Option<Value<'a>>,
    pub(super) user_message: Option<Value<'a>>,
    pub(super) model_message: Option<Value<'a>>,
}

pub(super) trait Gather: Default {
    fn turn(&mut self, turn: RawTurn<'_>);
}

/// Walks over a conversation, blanks around it allowed: its `conversationId` and its turns.
pub(super) fn conversation<G: Gather>(bytes: &[u8]) -> Result<(Option<Value<'_>>, G), ParseError> {
    // A crash leaves NUL bytes in place of data. What stands before and after them need not belong
    // together.
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(error(NUL_BYTES, at));
    }
    let mut json = Cursor::new(bytes, 0);
    let (mut id, mut turns) = (None, None);
    if json.next() != Some(b'{') {
        return Err(json.expected("a JSON object"));
    }
    let walked = json.fields(|json, key| {
        match key {
            b"conversationId" => id = Some(json.value()?),
            b"turnsArray" if json.next() == Some(b'[') => {
                let mut gather = G::default();
                json.elements(|json| {
                    gather.turn(json.turn()?);
                    Ok(())
                })?;
                turns = Some(gather);
            }
            b"turnsArray" => {
                turns = None;
                json.value()?;
            }
            _ => _ = json.value()?,
        }
        Ok(())
    });
    walked.map_err(|error| ParseError {
        turn: json.element,
        ..error
    })?;
    if json.next().is_some() {
        return Err(json.expected("nothing after the conversation"));
    }
    match turns {
        Some(turns) => Ok((id, turns)),
        None => Err(error("turnsArray is missing or no array", json.at)),
    }
}

pub(crate) const NUL_BYTES: &str =
    "NUL bytes, as a crash or a full disk leaves them in place of data";

fn error(reason: &str, offset: usize) -> ParseError {
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
    structure: Structure,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], depth: usize) -> Self {
        Self {
            bytes,
            at: 0,
            depth,
            element: None,
            structure: Structure::new(),
        }
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
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    fn turn(&mut self) -> Result<RawTurn<'a>, ParseError> {
        if self.next() != Some(b'{') {
            return self.value().map(RawTurn::Other);
        }
        let mut fields = Fields::default();
        self.fields(|json, key| {
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
        Ok(RawTurn::Object(fields))
    }
}
