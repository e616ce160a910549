//! Two labellings side by side: pilot against pilot, model against model.

mod agreement;
mod pairs;

pub use agreement::{BINS, Figures};

use crate::labeled::{Bucket, Labeled, ReadError, Row, said};
use crate::store::RawFolder;
use agreement::Agreement;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How two labelled outputs compare.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Turns of A, and of B.
    pub turns: [u64; 2],
    /// Turns that are in both.
    pub in_both: u64,
    /// Those of them without a label in A, and in B.
    pub without_label: [u64; 2],
    /// Those of them that were paired by their ids: they are not known to stand in the same file.
    pub paired_by_ids: u64,
    /// Those of the latter whose ids occur more than once: they were paired in order.
    pub paired_by_order: u64,
    /// What the labels are, of the turns that are labelled in both; `None` where none is.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// The turns whose soft labels differ most, the one that differs most first.
    pub moved: Vec<Moved>,
}

/// A turn whose soft label is another one in B.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// As in A, from the path; `None` where unknown.
    pub split: Option<String>,
    /// As in A, from the path; `None` where unknown.
    pub bucket: Option<String>,
    /// As in A; empty where RAW has none.
    #[serde(rename = "conversationId")]
    pub conversation_id: String,
    /// As in A; empty where RAW has none.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// Where it stands in RAW: its conversation and its number there, both counted from 0, where that is known.
    pub position: Option<u64>,
    /// Its number in the conversation; see `position`.
    pub turn: Option<u32>,
    /// In A, and in B.
    pub hard_labels: [u8; 2],
    /// P(label 1) in A, and in B, in [0, 1].
    pub soft_labels: [f64; 2],
    /// What the user wrote, where RAW is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A turn that moved: the number of its pair of buckets, and of its line in A.
type Name = (usize, u64);

/// Compares two labelled outputs. Of the turns that differ most the messages are read from `raw`, where it is
/// given.
///
/// # Errors
/// If one of them, or RAW, cannot be read.
pub async fn compare(
    a: &Labeled,
    b: &Labeled,
    raw: Option<&RawFolder>,
) -> Result<Comparison, ReadError> {
    let mut agreement = Agreement::<Name>::default();
    let (mut in_both, mut paired_by_ids, mut paired_by_order) = (0, 0, 0);
    let mut without_label = [0; 2];
    let buckets = in_both_named(a, b);
    let turns = [a, b].map(|side| side.buckets.iter().map(|it| it.report.figures.turns).sum());
    let [mut turns_a, mut turns_b]: [u64; 2] = turns;
    for (number, (of_a, of_b)) in buckets.iter().enumerate() {
        let common = pairs::common(of_a, of_b).await?;
        // The counts of the files themselves, which metadata may contradict.
        let [found_a, found_b] = common.turns;
        turns_a = turns_a - of_a.report.figures.turns + found_a;
        turns_b = turns_b - of_b.report.figures.turns + found_b;
        in_both += common.pairs.len() as u64;
        paired_by_ids += common.by_ids;
        paired_by_order += common.by_order;
        for pair in common.pairs {
            let [line, _] = pair.lines;
            let [in_a, in_b] = pair.labels;
            match (in_a, in_b) {
                (Some(in_a), Some(in_b)) => agreement.add(in_a, in_b, || (number, line)),
                _ => {
                    let [a, b] = &mut without_label;
                    *a += u64::from(in_a.is_none());
                    *b += u64::from(in_b.is_none());
                }
            }
        }
    }
    let rows = rows(&agreement, &buckets, raw).await?;
    let moved = agreement.moved().filter_map(|(in_a, in_b, name)| {
        let (row, message) = rows.get(name)?;
        let bucket = &buckets.get(name.0)?.0.name;
        let (position, turn) = row.place().unzip();
        Some(Moved {
            split: bucket.split.clone(),
            bucket: bucket.bucket.clone(),
            conversation_id: row.label.conversation_id.clone(),
            message_id: row.label.message_id.clone(),
            position,
            turn,
            hard_labels: [in_a.hard.into(), in_b.hard.into()],
            soft_labels: [in_a.soft(), in_b.soft()],
            message: message.clone(),
        })
    });
    Ok(Comparison {
        turns: [turns_a, turns_b],
        in_both,
        without_label,
        paired_by_ids,
        paired_by_order,
        moved: moved.collect(),
        figures: agreement.figures(),
    })
}

/// The buckets that both have. A single file may have any name.
fn in_both_named<'a>(a: &'a Labeled, b: &'a Labeled) -> Vec<(&'a Bucket, &'a Bucket)> {
    if let ([of_a], [of_b]) = (a.buckets.as_slice(), b.buckets.as_slice())
        && [of_a, of_b].iter().any(|it| it.name.split.is_none())
    {
        return vec![(of_a, of_b)];
    }
    let other = |of_a: &Bucket| b.buckets.iter().find(|of_b| of_b.name == of_a.name);
    let both = a.buckets.iter();
    both.filter_map(|of_a| Some((of_a, other(of_a)?))).collect()
}

/// The rows in A of the turns that moved most, with their messages.
async fn rows(
    agreement: &Agreement<Name>,
    buckets: &[(&Bucket, &Bucket)],
    raw: Option<&RawFolder>,
) -> Result<BTreeMap<Name, (Row, Option<String>)>, ReadError> {
    let mut wanted = BTreeMap::<usize, BTreeSet<u64>>::new();
    for (_, _, (bucket, line)) in agreement.moved() {
        wanted.entry(*bucket).or_default().insert(*line);
    }
    let mut found = BTreeMap::new();
    for (number, lines) in wanted {
        let Some((bucket, _)) = buckets.get(number) else {
            continue;
        };
        let mut of_bucket = Vec::new();
        let mut rows = bucket.rows().await?;
        while of_bucket.len() < lines.len()
            && let Some(row) = rows.next().await?
        {
            if lines.contains(&row.number) {
                of_bucket.push(row);
            }
        }
        let messages = match raw {
            Some(raw) => said(raw, bucket, &of_bucket).await?,
            None => Vec::new(),
        };
        let mut messages = messages.into_iter();
        for row in of_bucket {
            found.insert((number, row.number), (row, messages.next()));
        }
    }
    Ok(found)
}
