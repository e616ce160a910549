//! The formats in which files write conversations, and how one is told from another.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::value::{self, kind, text};
use super::walk::{Cursor, Value};
use super::{ParseError, walk};

/// Fields that are named where a record has no format that is read.
const NAMED_FIELDS: usize = 12;

/// A longer name of a field is not shown.
const LONGEST_NAME: usize = 40;

/// How a file writes its conversations. The first conversation that can be read decides it for its
/// file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `turnsArray`, a list of turns.
    #[default]
    Turns,
    /// `turnsArray`, a text that holds such a list as JSON.
    TurnsText,
    /// OpenAI's `messages`, each with `role` and `content`.
    Messages,
    /// ShareGPT's `conversations`, each element a message with `from` and `value`.
    Conversations,
    /// The `requests` of a chat that VS Code exported.
    Requests,
}

impl Format {
    const ALL: [Self; 5] = [
        Self::Turns,
        Self::TurnsText,
        Self::Messages,
        Self::Conversations,
        Self::Requests,
    ];

    /// The field that holds what was said.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Turns | Self::TurnsText => "turnsArray",
            Self::Messages => "messages",
            Self::Conversations => "conversations",
            Self::Requests => "requests",
        }
    }

    /// Whether ids that are missing are made. Records with a list `turnsArray` keep an empty one.
    pub fn makes_ids(self) -> bool {
        self != Self::Turns
    }

    /// Whether one record that is written over several lines may be all of a file.
    pub(crate) fn may_be_a_file(self) -> bool {
        self != Self::Turns
    }

    /// Whether `value`, of the field that [`Self::field`] names, is what this format has there.
    fn fits(self, value: Value<'_>) -> bool {
        match self {
            Self::Turns => value.bytes.starts_with(b"["),
            Self::TurnsText => {
                value.bytes.starts_with(b"\"")
                    && text(value.bytes).is_some_and(|text| text.trim_start().starts_with('['))
            }
            Self::Messages | Self::Conversations => {
                has_elements_with(value, |key| matches!(key, b"role" | b"from"))
            }
            Self::Requests => has_elements_with(value, |key| key == b"message"),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turns => "a list turnsArray",
            Self::TurnsText => "a text turnsArray",
            Self::Messages => "OpenAI's messages",
            Self::Conversations => "ShareGPT's conversations",
            Self::Requests => "a chat export of VS Code",
        })
    }
}

/// Whether `value` is a list whose first object has a field that `is_known`, or a list without objects
/// that is empty.
fn has_elements_with(value: Value<'_>, is_known: impl Fn(&[u8]) -> bool) -> bool {
    if !value.bytes.starts_with(b"[") {
        return false;
    }
    let (mut seen, mut known, mut elements) = (false, false, 0_u32);
    let mut json = Cursor::new(value.bytes, 0);
    let walked = json.elements(|json| {
        elements = elements.saturating_add(1);
        if seen || json.next() != Some(b'{') {
            return json.value().map(drop);
        }
        seen = true;
        json.fields(|json, key| {
            known |= is_known(key);
            json.value().map(drop)
        })
    });
    walked.is_ok() && (known || elements == 0)
}

/// The format of a record.
///
/// # Errors
/// If it is in none that is read: with the fields that it has. A record that breaks the grammar is left
/// to the reader of turns, whose error says where.
pub(super) fn recognise(record: &[u8]) -> Result<Format, ParseError> {
    let mut json = Cursor::new(record, 0);
    if json.next() != Some(b'{') {
        return Ok(Format::Turns);
    }
    let (mut fields, mut found) = (Vec::new(), Vec::new());
    let walked = json.fields(|json, key| {
        let value = json.value()?;
        for format in Format::ALL {
            if format.field().as_bytes() == key && format.fits(value) {
                found.push(format);
            }
        }
        fields.push((key.to_vec(), value));
        Ok(())
    });
    if walked.is_err() {
        return Ok(Format::Turns);
    }
    let first = Format::ALL.into_iter().find(|it| found.contains(it));
    first.ok_or_else(|| {
        let reason = match fields.is_empty() {
            true => "an object without fields".to_owned(),
            false => format!(
                "in no supported format; its fields are {}",
                listed(&fields, described)
            ),
        };
        walk::error(&reason, 0)
    })
}

type Field<'a> = (Vec<u8>, Value<'a>);

/// A field with what stands in it. Of a list of objects their fields are named, too.
fn described((key, value): &Field<'_>) -> String {
    let name = name(key);
    let mut elements = None;
    if value.bytes.starts_with(b"[") {
        let mut json = Cursor::new(value.bytes, 0);
        // It was walked over before.
        let _ = json.elements(|json| {
            if elements.is_some() || json.next() != Some(b'{') {
                return json.value().map(drop);
            }
            let mut inner = Vec::new();
            json.fields(|json, key| {
                inner.push((key.to_vec(), json.value()?));
                Ok(())
            })?;
            elements = Some(inner);
            Ok(())
        });
    }
    match elements {
        Some(inner) => format!(
            "{name} (a list of objects with {})",
            listed(&inner, |(key, _)| self::name(key))
        ),
        None => format!("{name} ({})", kind(value.bytes)),
    }
}

fn listed(fields: &[Field<'_>], show: impl Fn(&Field<'_>) -> String) -> String {
    let mut shown = fields
        .iter()
        .take(NAMED_FIELDS)
        .map(show)
        .collect::<Vec<_>>();
    if let Some(more @ 1..) = fields.len().checked_sub(NAMED_FIELDS) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// The name of a field, if it is one and not a person's text.
fn name(key: &[u8]) -> String {
    let is_name = key.len() <= LONGEST_NAME
        && !key.is_empty()
        && key
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.$@:/".contains(byte));
    match is_name {
        true => String::from_utf8_lossy(key).into_owned(),
        false => format!("one with a name of {} bytes", key.len()),
    }
}

/// Where the id of a conversation stands: the first of these that is not empty.
#[derive(Clone, Copy, Default)]
pub(super) struct Ids<'a> {
    pub(super) camel: Option<Value<'a>>,
    pub(super) snake: Option<Value<'a>>,
    pub(super) short: Option<Value<'a>>,
}

impl<'a> Ids<'a> {
    /// The field's name and its value; `None` where the record has no id.
    pub(super) fn chosen(&self, format: Format) -> Option<(&'static str, Value<'a>)> {
        let fields = [
            ("conversationId", self.camel),
            ("conversation_id", self.snake),
            ("id", self.short),
        ];
        let known = if format.makes_ids() { 3 } else { 1 };
        let mut fields = fields.into_iter().take(known);
        fields.find_map(|(name, value)| {
            let value = value.filter(|value| !value::is_no_id(*value))?;
            Some((name, value))
        })
    }
}

#[cfg(test)]
mod tests;
