//! JSON as others write it: what breaks the grammar costs itself alone.
//!
//! Numbers that are none, words of Python, half of a surrogate pair, control characters in a text, a field that
//! nests without end, a byte order mark and NUL bytes around it all are read.

use crate::dataset::conversation::repair::repair;
use serde::Deserialize;

/// JSON whose texts are those that were read, as far as nothing in them is escaped.
pub type Json<'a> = serde_json_borrow::Value<'a>;

/// What is nested deeper is read as null. No field that matters is, and the parser gives up at 128.
const DEEPEST: usize = 100;

/// The JSON that `text` is, as any JSON: [`Json`], or one that owns its texts.
///
/// # Errors
/// Why it is none.
pub fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text).or_else(|_| {
        let text = repair(text);
        let around = |c: char| c == '\u{feff}' || c == '\0' || c.is_whitespace();
        let json = tolerable(text.trim_matches(around));
        T::deserialize(serde_json::from_str::<serde_json::Value>(&json)?)
    })
}

/// The field of an object, if it is one and has it.
pub fn field<'a, 'b>(json: &'a Json<'b>, name: &str) -> Option<&'a Json<'b>> {
    json.as_object()?.get(name)
}

/// The first element of a list, if it is one and has any.
pub fn first<'a, 'b>(json: &'a Json<'b>) -> Option<&'a Json<'b>> {
    json.as_array()?.first()
}

/// `json` with null in place of numbers that are none and of what is nested too deep, with Python's words in
/// JSON's, and with control characters escaped.
fn tolerable(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut rest, mut depth) = (json, 0_usize);
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let length = match first {
            '"' => string(rest),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        let opens = matches!(first, '[' | '{');
        depth += usize::from(opens);
        if depth <= DEEPEST {
            match first {
                '"' => push_string(&mut out, token),
                _ => out.push_str(word(token)),
            }
        } else if opens && depth == DEEPEST + 1 {
            out.push_str("null");
        }
        depth = depth.saturating_sub(usize::from(matches!(first, ']' | '}')));
    }
    out
}

/// The length of the string at the beginning of `text`, quotes included.
fn string(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn push_string(out: &mut String, token: &str) {
    for c in token.chars() {
        match c < ' ' {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
}

fn word(token: &str) -> &str {
    match token {
        "True" => "true",
        "False" => "false",
        "None" | "undefined" => "null",
        // `NaN` and `Infinity` too.
        _ if token.parse::<f64>().is_ok_and(|number| !number.is_finite()) => "null",
        _ => token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
        let borrowed = super::parse::<Json<'_>>(text).map(Value::from);
        assert_eq!(borrowed.ok(), super::parse(text).ok());
        super::parse(text)
    }

    #[test]
    fn what_is_no_json_beside_a_value_costs_that_alone() {
        for odd in [
            "NaN",
            "-Infinity",
            "1E400",
            "-1e999",
            "None",
            "undefined",
            &format!("{}1{}", "[".repeat(3000), "]".repeat(3000)),
            &format!("{}\"]}}\"{}", "{\"a\": [".repeat(300), "]}".repeat(300)),
        ] {
            let read =
                parse(format!("{{\"odd\": {odd}, \"good\": [1, -2.5e3, \"x\"]}}").as_bytes());
            assert_eq!(read.unwrap()["good"], json!([1, -2500.0, "x"]), "{odd}");
        }
        let text =
            "{\"a\": \"NaN, None\n\t\\\"1E400\\\" \\ud83d 字\", \"b\": True, \"c\": [False, []]}";
        let read = json!({"a": "NaN, None\n\t\"1E400\" \u{fffd} 字", "b": true, "c": [false, []]});
        assert_eq!(parse(text.as_bytes()).unwrap(), read);
        let odd = parse(b"{\"a\": \"\xff\", \"b\": NaN}").unwrap();
        assert_eq!(odd["a"], "\u{fffd}");
    }

    #[test]
    fn what_stands_around_a_value_is_passed_over_unless_it_is_another_one() {
        for around in ["\u{feff}{}", "{}\0\0\n", "\r\n\u{feff} {} \0"] {
            assert_eq!(parse(around.as_bytes()).unwrap(), json!({}), "{around:?}");
        }
        for none in [
            "",
            "{} {}",
            "{\"a\": NaNs}",
            "<html>",
            "{",
            "{\"a\": 1",
            "]",
            "{'a': 1}",
            "\"",
        ] {
            assert!(parse(none.as_bytes()).is_err(), "{none}");
        }
    }
}
