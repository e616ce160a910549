//! Makes and reads RAW files.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A conversation as the exporter writes it, with answers, and personal data in it.
pub(crate) fn conversation(id: &str, messages: &[&str]) -> Value {
    let turns = messages.iter().enumerate().map(|(i, message)| {
        json!({
            "turnIndex": i + 1,
            "messageId": format!("{id}-m{i}"),
            "userMessage": message,
            "modelMessage": format!("answer {i} of {id}"),
            "llmCalls": [{"callIndex": 1, "model": "gpt-4.1", "actual_API": {"promptTokens": 1}}],
            "tools": {"definitions": {"names": "[\"a\", \"b\"]", "count": 2}},
            "numRequests": 1,
        })
    });
    json!({
        "conversationId": id,
        "userName": "petra.privat",
        "bucket": "short",
        "turnCount": messages.len(),
        "turnsArray": turns.collect::<Vec<_>>(),
    })
}

/// The content of a bucket file, as the exporter writes it.
pub(crate) fn array(conversations: &[Value]) -> String {
    serde_json::to_string_pretty(conversations).unwrap()
}

/// The same as JSONL.
pub(crate) fn jsonl(conversations: &[Value]) -> String {
    conversations
        .iter()
        .map(|conversation| format!("{conversation}\n"))
        .collect()
}

/// `count` messages that are all different.
pub(crate) fn distinct(count: usize) -> Vec<String> {
    let nouns = [
        "parser", "build", "cache", "lock", "test", "index", "socket",
    ];
    (0..count)
        .map(|i| format!("what about the {} in module {i}?", nouns[i % nouns.len()]))
        .collect()
}

/// The same, borrowed.
pub(crate) fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The sample dataset.
pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../samples")
        .canonicalize()
        .unwrap()
}

/// The conversations of an intact RAW file; half surrogate pairs read as U+FFFD.
pub(crate) fn raw(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (mut whole, mut at) = (String::new(), 0);
    while let Some(next) = text.get(at..).and_then(|rest| rest.find('\\')) {
        whole.push_str(&text[at..at + next]);
        at += next;
        let (taken, kept) = match unit(at) {
            None => (2, &text[at..at + 2]),
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => {
                (12, &text[at..at + 12])
            }
            Some(0xd800..=0xdfff) => (6, "\\ufffd"),
            Some(_) => (6, &text[at..at + 6]),
        };
        whole.push_str(kept);
        at += taken;
    }
    whole.push_str(&text[at..]);
    serde_json::from_str(&whole).unwrap()
}
