//! What the values mean that labelling reads, in every shape in which exporters write them.

use std::borrow::Cow;

use super::repair::{repair_text, repair_to_the_letter, spelled_out};
use super::walk::{Cursor, Value};

/// Content parts inside content parts: deeper than any API nests them.
const MAX_PARTS_DEPTH: u32 = 8;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Text(String),
    /// What it is, and no text.
    Other(&'static str),
}

/// An id to the letter: a text as it is, anything else as it is written, without the blanks in it.
/// Empty where there is none, which is also what Python's `NaN` and `None` mean in a column of ids.
pub(super) fn id(value: Option<Value<'_>>) -> String {
    match value.filter(|value| !is_no_id(*value)) {
        None => String::new(),
        Some(Value { bytes, .. }) => {
            text_repaired(bytes, repair_to_the_letter).unwrap_or_else(|| without_blanks(bytes))
        }
    }
}

/// Whether it stands for no id: [`id`] makes an empty one of it.
pub(super) fn is_no_id(value: Value<'_>) -> bool {
    matches!(value.bytes, b"null" | b"NaN" | b"nan" | b"None" | br#""""#)
}

/// A whole number; a column with gaps leaves a data frame as `3.0`.
pub(super) fn index(value: Option<Value<'_>>) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let written = str::from_utf8(value?.bytes).ok()?;
    if let Ok(index) = written.parse() {
        return Some(index);
    }
    let index = written.parse::<f64>().ok()?;
    let whole = index.fract() == 0.0 && index.abs() <= EXACT;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked: whole, and at most 2^53"
    )]
    whole.then_some(index as i64)
}

/// A message: a text, a number as it is written, or content parts, whose texts are joined by line
/// breaks.
pub(super) fn message(value: Value<'_>) -> Message {
    let written = value.bytes;
    let (text, other) = match written.first() {
        Some(b'"') => (
            text(written),
            "a text with an escape that JSON does not have",
        ),
        Some(b'{') => (joined_parts(written), "an object without a text"),
        Some(b'[') => (joined_parts(written), "a list without a text"),
        _ => (number(written), kind(written)),
    };
    text.map_or(Message::Other(other), Message::Text)
}

pub(super) fn kind(written: &[u8]) -> &'static str {
    match written {
        [b'{', ..] => "an object",
        [b'[', ..] => "a list",
        [b'"', ..] => "a text",
        b"null" | b"None" => "null",
        b"true" | b"false" | b"True" | b"False" => "true or false",
        _ if number(written).is_some() => "a number",
        _ => "a word that is not a JSON value",
    }
}

fn joined_parts(written: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    parts(written, MAX_PARTS_DEPTH, &mut texts);
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Collects the texts in content parts. OpenAI, Anthropic and Gemini write a text as such, as
/// `{"type": …, "text": …}`, in a list of those, or with it under `content` or `parts` of a message;
/// OpenAI's assistants put it under `value` of `text`. Other parts, such as images, have no text.
fn parts(written: &[u8], depth: u32, texts: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let mut json = Cursor::new(written, 0);
    // What is walked over was found by the same grammar: the walk does not fail.
    let _ = match written.first() {
        Some(b'[') => json.elements(|json| {
            parts(json.value()?.bytes, depth, texts);
            Ok(())
        }),
        Some(b'{') => {
            let (mut own, mut content, mut kind) = (None, None, None);
            let walked = json.fields(|json, key| {
                let value = json.value()?.bytes;
                match key {
                    b"text" | b"value" => own = Some(value),
                    b"content" | b"parts" => content = Some(value),
                    b"type" => kind = Some(value),
                    _ => {}
                }
                Ok(())
            });
            // The content of a tool's result is not a message.
            let is_message = kind.is_none_or(|kind| kind == br#""message""#);
            if let Some(shown) = own.or(content.filter(|_| is_message)) {
                parts(shown, depth, texts);
            }
            walked
        }
        _ => {
            texts.extend(text(written).or_else(|| number(written)));
            Ok(())
        }
    };
}

fn number(written: &[u8]) -> Option<String> {
    let digits = written.strip_prefix(b"-").unwrap_or(written);
    let is_number = digits.first().is_some_and(u8::is_ascii_digit);
    is_number.then(|| String::from_utf8_lossy(written).into_owned())
}

/// The key of a field, without its quotes.
pub(super) fn key(written: &[u8]) -> Cow<'_, [u8]> {
    let escaped = memchr::memchr(b'\\', written).and_then(|_| text(written));
    match escaped {
        Some(key) => Cow::Owned(key.into_bytes()),
        None => {
            let inside = written.strip_prefix(b"\"").unwrap_or(written);
            Cow::Borrowed(inside.strip_suffix(b"\"").unwrap_or(inside))
        }
    }
}

/// The text that `written` holds, which includes its quotes; `None` if it is not a text.
pub(super) fn text(written: &[u8]) -> Option<String> {
    text_repaired(written, repair_text)
}

fn text_repaired(written: &[u8], repair: fn(&[u8]) -> String) -> Option<String> {
    if written.first() != Some(&b'"') {
        return None;
    }
    // serde_json rejects some of what Python accepts. That is rare: repair only after a failure.
    let read = serde_json::from_slice(written);
    read.or_else(|_| serde_json::from_str(&repair(written)))
        .ok()
}

/// A value as it is written, without the blanks outside its texts.
fn without_blanks(written: &[u8]) -> String {
    let mut kept = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b'"' => text_length(rest),
            _ => 1,
        };
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, b""));
        if !byte.is_ascii_whitespace() {
            kept.extend_from_slice(piece);
        }
        rest = after;
    }
    spelled_out(&kept, r"\x")
}

/// The bytes of the text that `written` begins with, both quotes included.
fn text_length(written: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = written
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        match written.get(at) {
            Some(b'"') => return at + 1,
            _ => at += 2,
        }
    }
    written.len()
}
