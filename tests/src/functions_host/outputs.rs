//! Messages that functions send.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// The largest message that a queue takes, in bytes, as it is stored.
const LARGEST: usize = 64 << 10;

/// The messages that the value of a queue output stands for.
pub(super) fn messages(value: &Value) -> Result<Vec<Vec<u8>>> {
    Ok(match value {
        Value::Null => Vec::new(),
        // An array is one message for each element. This is said of elements, not of arrays in them.
        Value::Array(items) => items.iter().map(text).collect(),
        Value::String(whole) => {
            // A text that could be base64 is taken for it, whatever was meant.
            let bytes = whole
                .chars()
                .filter(|c| !c.is_whitespace())
                .collect::<String>();
            if let Ok(bytes) = BASE64_STANDARD.decode(bytes) {
                return Ok(vec![bytes]);
            }
            let trimmed = whole.trim();
            let wrapped = |open, close| trimmed.starts_with(open) && trimmed.ends_with(close);
            if wrapped('{', '}') || wrapped('[', ']') {
                let parsed = serde_json::from_str(trimmed);
                let parsed: Value = parsed.context("a message looks like JSON and is none")?;
                return messages(&parsed);
            }
            vec![text(value)]
        }
        value => vec![text(value)],
    })
}

/// One message as .NET's `ToString` writes it.
fn text(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(true) => b"True".to_vec(),
        Value::Bool(false) => b"False".to_vec(),
        Value::String(text) => text.clone().into_bytes(),
        value => serde_json::to_vec_pretty(value).unwrap_or_default(),
    }
}

/// A message as it is stored.
pub(super) fn encode(message: &[u8], base64: bool) -> Result<String> {
    let text = match base64 {
        true => BASE64_STANDARD.encode(message),
        false => String::from_utf8_lossy(message).into_owned(),
    };
    if text.len() > LARGEST {
        bail!(
            "a message has {} bytes, and a queue takes {LARGEST}",
            text.len()
        );
    }
    Ok(text)
}

/// What a stored message says; `None` where it is not encoded as it should be.
pub(super) fn decode(text: &str, base64: bool) -> Option<String> {
    if !base64 {
        return Some(text.to_owned());
    }
    let bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sent(value: &Value) -> Vec<String> {
        let messages = messages(value).unwrap().into_iter();
        messages
            .map(|message| String::from_utf8(message).unwrap())
            .collect()
    }

    #[test]
    fn an_array_is_one_message_for_each_element() {
        let value = json!([{ "a": 1 }, "b", [2], 3, true]);
        assert_eq!(
            sent(&value),
            ["{\n  \"a\": 1\n}", "b", "[\n  2\n]", "3", "True"]
        );
        assert_eq!(sent(&json!([])), [""; 0]);
        assert_eq!(sent(&json!(null)), [""; 0]);
    }

    #[test]
    fn a_string_that_could_be_base64_is_decoded_and_others_are_not() {
        // "chunk123" is eight characters of the alphabet.
        assert_eq!(
            messages(&json!("chunk123")).unwrap()[0],
            BASE64_STANDARD.decode("chunk123").unwrap()
        );
        assert_eq!(sent(&json!("chunk 7!")), ["chunk 7!"]);
        assert_eq!(sent(&json!(["chunk123"])), ["chunk123"]);
    }

    #[test]
    fn a_string_that_is_json_is_read_as_json() {
        assert_eq!(sent(&json!("[\"a\", \"b\"]")), ["a", "b"]);
        assert_eq!(sent(&json!("{\"a\":1}")), ["{\n  \"a\": 1\n}"]);
        assert!(messages(&json!("{a}")).is_err());
    }

    #[test]
    fn a_message_may_have_64_kb_as_it_is_stored() {
        assert_eq!(encode(&[b'a'; 48 << 10], true).unwrap().len(), 64 << 10);
        assert!(encode(&[b'a'; (48 << 10) + 1], true).is_err());
        assert!(encode(&[b'a'; 64 << 10], false).is_ok());
        assert_eq!(decode("aGVsbG8=", true).unwrap(), "hello");
        assert_eq!(decode("hello!", true), None);
        assert_eq!(decode("hello!", false).unwrap(), "hello!");
    }
}
