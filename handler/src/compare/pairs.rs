//! The turns that two labelled buckets have in common.
//!
//! Memory grows by 32 bytes for each turn of both buckets, and by 32 a pair.

use super::agreement::Labels;
use crate::labeled::{Bucket, ReadError, Row};
use crate::labeling::label::Label;
use xxhash_rust::xxh3::xxh3_128;

/// A turn that is in both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    /// The numbers of its lines, counted from 0.
    pub(super) lines: [u64; 2],
    /// `None` where it has no label.
    pub(super) labels: [Option<Labels>; 2],
}

/// What two buckets have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Common {
    /// In the order of the lines of the second.
    pub(super) pairs: Vec<Pair>,
    /// The turns of each.
    pub(super) turns: [u64; 2],
    /// The pairs that were made by ids.
    pub(super) by_ids: u64,
    /// Those of them whose ids occur more than once, so that only their order decided.
    pub(super) by_order: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    /// Where the turn stands in RAW, or a hash of its ids.
    at: u128,
    line: u64,
    labels: Option<Labels>,
}

/// What identifies a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Where it stands in RAW, which is the same file for both.
    Place,
    /// Its ids; of turns with the same ids the first is paired with the first.
    Ids,
}

impl By {
    fn of(self, row: &Row) -> Option<u128> {
        match self {
            Self::Place => {
                let (position, turn) = row.place()?;
                Some(u128::from(position) << 32 | u128::from(turn))
            }
            Self::Ids => {
                let (conversation, message) = (&row.label.conversation_id, &row.label.message_id);
                Some(xxh3_128(
                    format!("{}:{conversation}{message}", conversation.len()).as_bytes(),
                ))
            }
        }
    }
}

/// Pairs the turns of two buckets: by where they stand, if both know that of the same file, else by ids.
///
/// # Errors
/// If one cannot be read.
pub(super) async fn common(a: &Bucket, b: &Bucket) -> Result<Common, ReadError> {
    let [of_a, of_b] = [a, b].map(|bucket| &bucket.report.source.fingerprint);
    if of_a == of_b
        && !of_a.is_empty()
        && let Some(a) = entries(a, By::Place).await?
        && let Some(b) = entries(b, By::Place).await?
    {
        return Ok(joined(a, b, By::Place));
    }
    let [a, b] = [entries(a, By::Ids).await?, entries(b, By::Ids).await?];
    Ok(joined(
        a.unwrap_or_default(),
        b.unwrap_or_default(),
        By::Ids,
    ))
}

/// The turns of a bucket; `None` if a turn lacks what identifies it.
async fn entries(bucket: &Bucket, by: By) -> Result<Option<Vec<Entry>>, ReadError> {
    let mut rows = bucket.rows().await?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().await? {
        let Some(at) = by.of(&row) else {
            return Ok(None);
        };
        let hard = row
            .label
            .hard_label
            .and_then(|hard| Label::try_from(hard).ok());
        entries.push(Entry {
            at,
            line: row.number,
            labels: hard
                .zip(row.label.soft_label)
                .map(|(hard, soft)| Labels::new(hard, soft)),
        });
    }
    Ok(Some(entries))
}

fn joined(mut a: Vec<Entry>, mut b: Vec<Entry>, by: By) -> Common {
    let turns = [a.len() as u64, b.len() as u64];
    let order = |entry: &Entry| (entry.at, entry.line);
    a.sort_unstable_by_key(order);
    b.sort_unstable_by_key(order);
    let (mut pairs, mut by_order) = (Vec::new(), 0);
    let mut rest = b.as_slice();
    for same in a.chunk_by(|one, other| one.at == other.at) {
        let Some(at) = same.first().map(|entry| entry.at) else {
            continue;
        };
        rest = rest
            .get(rest.partition_point(|entry| entry.at < at)..)
            .unwrap_or_default();
        let (there, after) = rest.split_at(rest.partition_point(|entry| entry.at == at));
        rest = after;
        let is_unique = same.len() == 1 && there.len() == 1;
        for (a, b) in same.iter().zip(there) {
            by_order += u64::from(!is_unique && by == By::Ids);
            pairs.push(Pair {
                lines: [a.line, b.line],
                labels: [a.labels, b.labels],
            });
        }
    }
    drop((a, b));
    pairs.sort_unstable_by_key(|Pair { lines: [_, b], .. }| *b);
    Common {
        by_ids: match by {
            By::Ids => pairs.len() as u64,
            By::Place => 0,
        },
        pairs,
        turns,
        by_order,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entries(at: &[u128]) -> Vec<Entry> {
        let numbered = (0..).zip(at);
        let entries = numbered.map(|(line, at)| Entry {
            at: *at,
            line,
            labels: None,
        });
        entries.collect()
    }

    fn lines(a: &[u128], b: &[u128]) -> Vec<[u64; 2]> {
        let common = joined(entries(a), entries(b), By::Ids);
        common.pairs.iter().map(|pair| pair.lines).collect()
    }

    #[test]
    fn of_turns_with_the_same_ids_the_first_is_paired_with_the_first() {
        assert_eq!(
            lines(&[7, 3, 7, 9, 7], &[7, 8, 3, 7]),
            [[0, 0], [1, 2], [2, 3]]
        );
        let common = joined(entries(&[7, 7, 3]), entries(&[3, 7]), By::Ids);
        assert_eq!((common.by_order, common.turns), (1, [3, 2]));
        assert_eq!(joined(entries(&[7]), entries(&[7]), By::Ids).by_order, 0);
    }

    proptest! {
        #[test]
        fn as_many_are_paired_as_both_have(
            a in prop::collection::vec(0_u128..12, 0..40),
            b in prop::collection::vec(0_u128..12, 0..40),
        ) {
            let count = |all: &[u128]| {
                let mut counts = BTreeMap::<u128, usize>::new();
                all.iter().for_each(|at| *counts.entry(*at).or_default() += 1);
                counts
            };
            let (there, here) = (count(&a), count(&b));
            let expected = there.iter().map(|(at, count)| (*count).min(here.get(at).copied().unwrap_or(0)));
            let pairs = lines(&a, &b);
            prop_assert_eq!(pairs.len(), expected.sum::<usize>());
            for pair in &pairs {
                prop_assert_eq!(a[pair[0] as usize], b[pair[1] as usize]);
            }
            prop_assert!(pairs.is_sorted_by(|one, other| one[1] < other[1]));
        }
    }
}
