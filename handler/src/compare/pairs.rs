//! The turns that two labelled buckets have in common.
//!
//! Memory grows by 32 bytes a turn of each bucket and by 64 a pair.

use super::agreement::Labeled;
use super::output::{Bucket, OutputError, Row};
use xxhash_rust::xxh3::xxh3_128;

/// A turn that is in both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    /// The numbers of its lines, counted from 0.
    pub(super) lines: [u32; 2],
    /// `None` where it has no label.
    pub(super) labels: [Option<Labeled>; 2],
}

/// What two buckets have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Common {
    /// In the order of the lines of the second.
    pub(super) pairs: Vec<Pair>,
    /// The turns of each.
    pub(super) turns: [u64; 2],
    /// The pairs whose ids occur more than once, and that were paired only by their order.
    pub(super) by_order: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    /// Where the turn stands in RAW, or a hash of its ids.
    at: u128,
    line: u32,
    label: Option<Labeled>,
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
                let (position, turn) = row.place?;
                Some(u128::from(position) << 32 | u128::from(turn))
            }
            Self::Ids => {
                let (conversation, message) = (&row.conversation_id, &row.message_id);
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
/// If one cannot be read, or a label is none.
pub(super) fn common(a: &Bucket, b: &Bucket) -> Result<Common, OutputError> {
    let sources = [&a.report.source, &b.report.source].map(|source| &source.fingerprint);
    let [of_a, of_b] = sources;
    if of_a == of_b
        && !of_a.is_empty()
        && let (Some(a), Some(b)) = (entries(a, By::Place)?, entries(b, By::Place)?)
    {
        return Ok(joined(a, b, By::Place));
    }
    let entries = (entries(a, By::Ids)?, entries(b, By::Ids)?);
    let (a, b) = (entries.0.unwrap_or_default(), entries.1.unwrap_or_default());
    Ok(joined(a, b, By::Ids))
}

/// The turns of a bucket; `None` if a turn lacks what identifies it.
fn entries(bucket: &Bucket, by: By) -> Result<Option<Vec<Entry>>, OutputError> {
    let mut rows = bucket.rows()?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(at) = by.of(&row) else {
            return Ok(None);
        };
        entries.push(Entry {
            at,
            line: row.number,
            label: label(bucket, &row)?,
        });
    }
    Ok(Some(entries))
}

fn label(bucket: &Bucket, row: &Row) -> Result<Option<Labeled>, OutputError> {
    let (Some(hard), Some(soft)) = (row.hard_label, row.soft_label) else {
        return Ok(None);
    };
    let reason = match (hard, soft) {
        (0 | 1, 0.0..=1.0) => return Ok(Some(Labeled { hard, soft })),
        (0 | 1, _) => "its soft_label is not between 0 and 1",
        _ => "its hard_label is neither 0 nor 1",
    };
    Err(OutputError::Damaged {
        place: format!("{}, line {}", bucket.name, u64::from(row.number) + 1),
        reason: reason.to_owned(),
    })
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
                labels: [a.label, b.label],
            });
        }
    }
    drop((a, b));
    pairs.sort_unstable_by_key(|Pair { lines: [_, b], .. }| *b);
    Common {
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
            label: None,
        });
        entries.collect()
    }

    fn lines(a: &[u128], b: &[u128]) -> Vec<[u32; 2]> {
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
