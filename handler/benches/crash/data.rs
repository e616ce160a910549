//! What is labelled, and what must come of it.

use anyhow::{Context, Result, ensure};
use softlabel::dataset::conversation::Conversation;
use softlabel::dataset::scanner::{Found, Scanner};
use softlabel_doubles::dataset::{self, Options, Size};

/// A bucket file of RAW.
pub(crate) struct Bucket {
    /// Its split, which is all that tells it from others.
    pub(crate) split: &'static str,
    pub(crate) content: Vec<u8>,
    /// The ids of its turns, in raw order.
    pub(crate) ids: Vec<String>,
    /// Their messages.
    pub(crate) messages: Vec<String>,
}

impl Bucket {
    /// Its path in RAW.
    pub(crate) fn raw_path(&self) -> String {
        format!("{}/short.json", self.split)
    }

    /// The path of its labelled file.
    pub(crate) fn labeled_path(&self) -> String {
        format!("{}/short.jsonl", self.split)
    }

    /// Every turn has one line, in raw order, with a label or a reason why there is none.
    pub(crate) fn check(&self, labeled: &[u8], failures: Failures) -> Result<()> {
        let text = std::str::from_utf8(labeled)?;
        let mut ids = Vec::new();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let labeled = line
                .get("soft_label")
                .is_some_and(serde_json::Value::is_f64);
            let code = line
                .pointer("/labeling_error/code")
                .and_then(serde_json::Value::as_str);
            ensure!(labeled != code.is_some(), "a line has both or none: {line}");
            ensure!(
                labeled || code == Some("empty_message") || failures == Failures::Some,
                "a turn failed: {line}"
            );
            let id = line.get("messageId").and_then(serde_json::Value::as_str);
            ids.push(id.context("a line without messageId")?.to_owned());
        }
        ensure!(
            ids == self.ids,
            "{}: {} lines are not the {} turns",
            self.labeled_path(),
            ids.len(),
            self.ids.len()
        );
        Ok(())
    }
}

/// Whether turns may have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failures {
    None,
    Some,
}

/// Two bucket files of so many conversations.
pub(crate) fn raw(seed: u64, conversations: u64) -> Result<Vec<Bucket>> {
    let buckets = (0..).zip(["train", "test"]);
    let bucket = |(number, split)| {
        let options = Options {
            seed: seed.wrapping_add(number),
            size: Size::Conversations(conversations),
            dirt: 0.05,
            ..Options::default()
        };
        let mut content = Vec::new();
        dataset::write(&options, &mut content)?;
        let mut turns = Vec::new();
        let mut scanner = Scanner::new(Conversation::parse);
        scanner.push(&content);
        scanner.finish();
        while let Some(found) = scanner.next() {
            if let Found::Conversation { value, .. } = found {
                turns.extend(value.turns);
            }
        }
        let turns = turns.into_iter();
        let (ids, messages) = turns
            .map(|turn| (turn.message_id, turn.user_message))
            .unzip();
        Ok(Bucket {
            split,
            content,
            ids,
            messages,
        })
    };
    buckets.map(bucket).collect()
}
