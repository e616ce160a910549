//! The bucket files of the day, in all their versions.

use anyhow::{Context, Result};
use serde_json::Value;
use softlabel_doubles::dataset::{self, Options, Size};

/// A bucket file and its versions.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// `<split>/<bucket>`.
    pub(crate) name: String,
    seed: u64,
    pub(crate) versions: Vec<Version>,
}

/// One version of a bucket file.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) etag: String,
    /// Message ids in raw order.
    pub(crate) ids: Vec<String>,
    pub(crate) messages: Vec<String>,
    /// It was there before the marker that makes the app look at all files.
    pub(crate) marked: bool,
}

impl Bucket {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            seed,
            versions: Vec::new(),
        }
    }

    /// Its path in the dataset.
    pub(crate) fn file(&self) -> String {
        format!("{}.json", self.name)
    }

    /// Split and name.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.name.split_once('/').unwrap_or_default()
    }

    /// The content of a version that was never there.
    pub(crate) fn next_version(&mut self, marked: bool) -> Result<Vec<u8>> {
        let options = Options {
            seed: self.seed.wrapping_add(self.versions.len() as u64),
            size: Size::Conversations(20),
            ..Options::default()
        };
        let mut content = Vec::new();
        dataset::write(&options, &mut content)?;
        let conversations = serde_json::from_slice::<Vec<Value>>(&content)?;
        let turns = conversations
            .iter()
            .filter_map(|c| c.get("turnsArray")?.as_array());
        let text = |turn: &Value, key: &str| {
            let text = turn.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let turns = turns.flatten();
        let turns = turns.map(|turn| (text(turn, "messageId"), text(turn, "userMessage")));
        let (ids, messages) = turns.unzip();
        self.versions.push(Version {
            etag: String::new(),
            ids,
            messages,
            marked,
        });
        Ok(content)
    }

    /// The newest version is there, under that ETag.
    pub(crate) fn uploaded(&mut self, etag: &str) {
        if let Some(version) = self.versions.last_mut() {
            version.etag = etag.trim_matches('"').to_owned();
        }
    }

    pub(crate) fn newest(&self) -> Result<&Version> {
        self.versions
            .last()
            .context("the bucket was never uploaded")
    }
}
