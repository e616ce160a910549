//! `labeling_metadata.json`, and the counts in RAW's own `metadata.json`.

use super::conversation::Format;
use super::figures::{Figures, Tokens};
use super::layout::{BucketName, LeftOut, UnreadFile};
use super::pilot::Pilot;
use crate::json;
use crate::money::Usd;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use xxhash_rust::xxh3::Xxh3Default;

/// How far a bucket or a dataset came. Partial results are never presented as complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every turn that can be labelled has its label.
    Complete,
    /// Some turns failed, some conversations could not be read, or a bucket is not there yet.
    #[default]
    Partial,
    /// Nothing could be labelled.
    Failed,
}

impl Status {
    /// The status as files have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// A RAW file, in the version that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// The file's name in its dataset, or its path where it stands alone.
    pub path: String,
    /// The store's identifier of this version (an ETag).
    pub etag: String,
    /// Bytes.
    pub length: u64,
    /// Hash of the content (XXH3, 128 bits), which shows whether RAW changed.
    pub fingerprint: String,
}

/// A labelled file, or the details of one, as it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabeledFile {
    /// Length in bytes.
    pub length: u64,
    /// Hash of the content (XXH3, 128 bits).
    pub fingerprint: String,
}

impl LabeledFile {
    /// A file of `length` bytes whose content `hash` has seen.
    pub fn new(length: u64, hash: &Xxh3Default) -> Self {
        Self {
            length,
            fingerprint: format!("{:032x}", hash.digest128()),
        }
    }
}

/// A conversation that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenConversation {
    /// Its number in the file, counted from 0, broken ones included.
    pub number: u64,
    /// Bytes of the file.
    pub bytes: Range<u64>,
    /// Why it could not be read, without quoting data.
    pub reason: String,
}

/// Where the ids of a bucket come from: how many stand in which field, and how many were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdSources {
    /// By the field of the conversation, `<file>:<position>` where the id was made.
    pub conversations: BTreeMap<String, u64>,
    /// `given`, or `<turn index>` where the id was made.
    pub messages: BTreeMap<String, u64>,
}

impl IdSources {
    /// Counts a conversation whose id stands in the field `id`, and its messages.
    pub fn add(&mut self, id: Option<&str>, turns: u32, messages_without_id: u32) {
        let id = id.unwrap_or("<file>:<position>").to_owned();
        *self.conversations.entry(id).or_default() += 1;
        let made = u64::from(messages_without_id);
        let given = u64::from(turns).saturating_sub(made);
        for (source, count) in [("given", given), ("<turn index>", made)] {
            if count > 0 {
                *self.messages.entry(source.to_owned()).or_default() += count;
            }
        }
    }
}

/// What the metadata says of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BucketReport {
    /// How far the bucket came.
    pub status: Status,
    /// The RAW file that holds its conversations.
    pub source: SourceFile,
    /// How RAW writes the bucket's conversations, where that is not a list `turnsArray`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: Format,
    /// Where its ids come from, with such a format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdSources>,
    /// When its labelled file appeared; `null` where it has not.
    pub published: Option<Timestamp>,
    /// The labelled file as it appeared then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labeled_file: Option<LabeledFile>,
    /// What was published with it, and is not in its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_file: Option<LabeledFile>,
    /// The run of the function app that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The settings of its labels, if they differ from the dataset's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<serde_json::Value>,
    /// The pilot that labelled some of the bucket's turns, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot: Option<Pilot>,
    /// With a pilot, all turns of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_turns: Option<u64>,
    /// Why the source could only be read in part (`--salvage`), if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salvaged: Option<String>,
    /// The conversations that could not be read, the first thousand of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<BrokenConversation>,
    /// What is counted about its turns.
    #[serde(flatten)]
    pub figures: Figures,
}

impl BucketReport {
    /// The labelled file and the details, as they were published.
    pub fn files(&self) -> [Option<&LabeledFile>; 2] {
        [self.labeled_file.as_ref(), self.details_file.as_ref()]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_default(format: &Format) -> bool {
    *format == Format::default()
}

/// The content of `labeling_metadata.json`; `S` are the settings of the labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelingMetadata<S> {
    /// `complete` only when every bucket is, and nothing that is named like data was left out.
    pub status: Status,
    /// The RAW dataset's name, or the path of a lone file.
    pub source_dataset: String,
    /// The labelled dataset's name, or the path of the labelled file.
    pub labeled_dataset: String,
    /// When the first run began.
    pub started: Timestamp,
    /// When the last bucket was published; `null` while some are not.
    pub completed: Option<Timestamp>,
    /// The program that wrote this, with its version.
    pub tool: String,
    /// The pilot whose output it is: not the dataset, but some of its turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot: Option<Pilot>,
    /// What was asked.
    #[serde(default)]
    pub task_name: String,
    /// What the labels mean: a statement for `0`, and one for `1`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Everything that decides what the labels are.
    #[serde(flatten)]
    pub settings: S,
    /// US dollars for the tokens of `totals`, or the text `unknown` where a call had no known price.
    pub cost_usd: Cost,
    /// What the run has spent, buckets that are not published yet included.
    pub spending: Spending,
    /// The figures of all buckets, added up.
    pub totals: Figures,
    /// Per split and bucket the same figures. A missing split or bucket name is the key `-`.
    pub splits: BTreeMap<String, BTreeMap<String, BucketReport>>,
    /// What a person should look at, such as counts that differ from RAW's metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Files in the folders of splits, or deeper, that are named like data and were not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<UnreadFile>,
}

impl<S> LabelingMetadata<S> {
    /// Names the files of RAW that were not read. Without them the labelled dataset is not complete.
    #[must_use]
    pub fn without(mut self, left_out: &LeftOut) -> Self {
        self.unread.clone_from(&left_out.in_splits);
        if !self.unread.is_empty() && self.status == Status::Complete {
            self.status = Status::Partial;
        }
        self
    }
}

/// What a run has spent so far, and what it will have spent at its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// What was billed, and what the quota was charged.
    pub tokens: Tokens,
    /// US dollars for `tokens`; unknown where a call had no known price.
    pub cost_usd: Cost,
    /// US dollars at the end, if the turns that are left are like those that are done.
    pub projected_cost_usd: Cost,
}

impl Spending {
    /// Of a run that was billed `tokens` for `turns_done` of its `turns`.
    pub fn new(tokens: Tokens, turns_done: u64, turns: u64) -> Self {
        let cost = Cost::of(tokens);
        let projected = cost.usd().filter(|_| turns_done > 0);
        let projected = projected.map(|cost| cost.times(turns.max(turns_done), turns_done));
        Self {
            tokens,
            cost_usd: cost,
            projected_cost_usd: projected.into(),
        }
    }
}

/// An amount of money that may be unknown, which is never written as 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cost {
    /// US dollars.
    Usd(Usd),
    /// No price is known for some of it.
    Unknown(Unknown),
}

/// What stands in place of an unknown amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Written as the text `unknown`.
    Unknown,
}

impl Cost {
    /// What calls have cost; unknown where one of them had no known price.
    pub fn of(tokens: Tokens) -> Self {
        Self::from((tokens.unpriced == 0).then_some(tokens.usd))
    }

    /// The amount, if it is known.
    pub fn usd(self) -> Option<Usd> {
        match self {
            Self::Usd(usd) => Some(usd),
            Self::Unknown(_) => None,
        }
    }
}

impl From<Option<Usd>> for Cost {
    fn from(usd: Option<Usd>) -> Self {
        usd.map_or(Self::Unknown(Unknown::Unknown), Self::Usd)
    }
}

/// Differences between the conversations found and the `actual_counts` of RAW's `metadata.json`,
/// as sentences. The metadata may be older than a bucket file, so they are warnings.
///
/// `metadata` is the file's bytes; what cannot be read in it is itself a warning.
pub fn compare_counts(metadata: &[u8], found: &BTreeMap<BucketName, u64>) -> Vec<String> {
    let metadata = match json::parse::<Value>(metadata) {
        Ok(metadata) => metadata,
        Err(error) => return vec![format!("RAW's metadata.json cannot be read: {error}.")],
    };
    let counts = metadata.get("actual_counts").and_then(Value::as_object);
    let Some(counts) = counts else {
        return vec!["RAW's metadata.json has no actual_counts to compare with.".into()];
    };
    let mut warnings = Vec::new();
    let mut expected = BTreeMap::new();
    for (split, buckets) in counts {
        for (bucket, count) in buckets.as_object().into_iter().flatten() {
            if let Some(count) = count.as_u64().filter(|_| bucket != "total") {
                expected.insert((split.as_str(), bucket.as_str()), count);
            }
        }
    }
    for (name, &count) in found {
        let (Some(split), Some(bucket)) = (&name.split, &name.bucket) else {
            continue;
        };
        // Some exports name a bucket by its short name: `short` for `short_3_to_5_turns`.
        let short = bucket.split('_').next().unwrap_or(bucket);
        let key = [bucket.as_str(), short].map(|bucket| (split.as_str(), bucket));
        match key.iter().find_map(|key| expected.remove(key)) {
            Some(said) if said != count => warnings.push(format!(
                "{name} holds {count} conversations, RAW's metadata.json says {said}."
            )),
            Some(_) => {}
            None => warnings.push(format!(
                "{name} is not in the counts of RAW's metadata.json."
            )),
        }
    }
    for ((split, bucket), said) in expected {
        if said > 0 {
            warnings.push(format!(
                "RAW's metadata.json counts {said} conversations in {split}/{bucket}, \
                 which is not there."
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(counts: &[(&str, &str, u64)]) -> BTreeMap<BucketName, u64> {
        let named = |&(split, bucket, count): &(&str, &str, u64)| {
            let name = BucketName {
                split: Some(split.to_owned()),
                bucket: Some(bucket.to_owned()),
            };
            (name, count)
        };
        counts.iter().map(named).collect()
    }

    #[test]
    fn equal_counts_are_no_news() {
        let metadata = br#"{"actual_counts":{"train":{"short":4,"total":4},"grand_total":4}}"#;
        let warnings = compare_counts(metadata, &found(&[("train", "short_3_to_5_turns", 4)]));
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn every_difference_is_a_sentence() {
        let metadata = br#"{"actual_counts":{"train":{"short":4,"long":2},"grand_total":6}}"#;
        let warnings = compare_counts(
            metadata,
            &found(&[("train", "short", 5), ("test", "short", 1)]),
        );
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }

    #[test]
    fn unreadable_metadata_is_a_warning() {
        assert_eq!(compare_counts(b"[", &BTreeMap::new()).len(), 1);
        assert_eq!(compare_counts(b"{}", &BTreeMap::new()).len(), 1);
    }

    #[test]
    fn what_is_left_is_taken_to_cost_what_was_done_did() {
        let tokens = Tokens {
            usd: Usd::from_nanos(300),
            ..Tokens::default()
        };
        let spending = |done| Spending::new(tokens, done, 40);
        let usd = |nanos| Cost::Usd(Usd::from_nanos(nanos));
        assert_eq!(spending(10).projected_cost_usd, usd(1200));
        assert_eq!(spending(40).projected_cost_usd, usd(300));
        assert_eq!(spending(0).cost_usd, usd(300));
        assert_eq!(spending(0).projected_cost_usd.usd(), None);
        let unpriced = Tokens {
            unpriced: 1,
            ..tokens
        };
        let unknown = Spending::new(unpriced, 10, 40);
        assert_eq!(
            (unknown.cost_usd.usd(), unknown.projected_cost_usd.usd()),
            (None, None)
        );
    }

    #[test]
    fn an_unknown_cost_is_said_in_words() {
        assert_eq!(
            serde_json::to_string(&Cost::from(None)).unwrap(),
            "\"unknown\""
        );
        assert_eq!(
            serde_json::to_string(&Cost::from(Some(Usd::from_nanos(1_500_000_000)))).unwrap(),
            "1.5"
        );
    }
}
