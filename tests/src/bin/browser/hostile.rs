//! A dataset whose names and texts are what a page must not fall for.

use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::Path;

/// What messages hold that the service fails at.
pub(super) const FAILS: &str = "this one fails";

/// Stands for half a surrogate pair, which no text of Rust can hold.
const HALF: &str = "HALF-A-PAIR";

/// Conversations of each bucket: more turns than a report lists at once, and no more than it holds.
const CONVERSATIONS: usize = 85;

/// Writes the dataset: a bucket with a usual name, and one whose name would be markup and is as long as names may be.
pub(super) fn write(dataset: &Path) -> Result<()> {
    let long = format!("<script>alert(1)<&\u{202e}{}", "long".repeat(48));
    for (split, bucket) in [("train", "short"), ("val", long.as_str())] {
        let folder = dataset.join(split);
        fs::create_dir_all(&folder).context("cannot make the dataset's folder")?;
        let conversations = (0..CONVERSATIONS).map(|number| conversation(bucket, number));
        let text = json!(conversations.collect::<Vec<_>>()).to_string();
        let text = text.replace(HALF, "\\ud83d");
        fs::write(folder.join(format!("{bucket}.json")), text)
            .with_context(|| format!("cannot write {bucket}"))?;
    }
    Ok(())
}

fn conversation(bucket: &str, number: usize) -> serde_json::Value {
    let id = format!("{}-{number}", bucket.chars().take(20).collect::<String>());
    let mut messages = vec![format!("what about module {number} of {bucket}?")];
    match number {
        0 => messages.extend([
            "</script><img src=x onerror=alert(1)><!-- \u{202e}gnitirw".to_owned(),
            format!("a lone half {HALF} pair"),
            format!("a long story {}", "<b>&\u{1}".repeat(65_000)),
            "שלום, למה הבנייה נכשלת?".to_owned(),
            "javascript:alert(1) \u{1b}[31m \u{0}".to_owned(),
        ]),
        n if n % 10 == 0 => messages.push(format!("{FAILS}, the {n}th")),
        _ => {}
    }
    let turns = messages.iter().enumerate().map(|(turn, message)| {
        json!({"turnIndex": turn + 1, "messageId": format!("m{turn}<i>"), "userMessage": message, "modelMessage": "so"})
    });
    json!({"conversationId": id, "turnsArray": turns.collect::<Vec<_>>()})
}
