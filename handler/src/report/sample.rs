//! The turns that a report shows: the most uncertain ones, contradictions, failures, and some at random.
//!
//! Which ones does not depend on the order in which buckets are read, nor on chance.

use crate::dataset::histogram::Histogram;
use crate::export::draw;
use crate::labeled::{Bucket, ReadError, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Why a turn is shown; the numbers are bits, since a turn may be shown for several reasons.
pub(super) const UNCERTAIN: u8 = 1;
pub(super) const CONTRADICTING: u8 = 2;
pub(super) const FAILED: u8 = 4;
pub(super) const RANDOM: u8 = 8;

/// Turns of each kind that are shown at most.
pub(super) const OF_A_KIND: usize = 150;

/// Turns that are drawn.
pub(super) const DRAWN: usize = 200;

/// The key of a row: number of the bucket, number of the line.
type Key = (usize, u64);

/// The first rows by rank.
#[derive(Debug, Default)]
struct First(BTreeSet<(u64, Key)>);

impl First {
    /// Takes a row if it is among the first `most`; gives the row that drops out, which may be this one.
    fn take(&mut self, rank: u64, key: Key, most: usize) -> Option<Key> {
        self.0.insert((rank, key));
        let last = (self.0.len() > most).then(|| self.0.pop_last()).flatten();
        last.map(|(_, key)| key)
    }
}

/// The turns that are chosen so far.
#[derive(Debug, Default)]
pub(super) struct Sample {
    uncertain: First,
    contradicting: First,
    failed: First,
    random: First,
    rows: BTreeMap<Key, (Row, u8)>,
}

impl Sample {
    /// Looks at all turns of a bucket; gives how their soft labels are distributed.
    pub(super) async fn add(
        &mut self,
        index: usize,
        bucket: &Bucket,
    ) -> Result<Histogram, ReadError> {
        let mut histogram = Histogram::default();
        let name = bucket.name.to_string();
        let mut rows = bucket.rows().await?;
        while let Some(row) = rows.next().await? {
            let label = &row.label;
            if let (Some(hard), Some(soft)) = (label.hard_label, label.soft_label) {
                histogram.count(hard, soft);
            }
            self.look(index, &name, row);
        }
        Ok(histogram)
    }

    fn look(&mut self, index: usize, name: &str, row: Row) {
        let key = (index, row.number);
        let drawn = draw(name, row.number);
        let details = row.details.as_ref();
        let contradicting = details.is_some_and(|details| details.contradicting);
        let error = row.label.labeling_error.as_ref();
        let failed = error.is_some();
        // Twelve digits of the distance from one half.
        let distance = row
            .label
            .soft_label
            .map(|soft| ((soft - 0.5).abs() * 1e12) as u64);
        let offers = [
            (UNCERTAIN, distance, OF_A_KIND),
            (CONTRADICTING, contradicting.then_some(drawn), OF_A_KIND),
            (FAILED, failed.then_some(drawn), OF_A_KIND),
            (RANDOM, Some(drawn), DRAWN),
        ];
        let mut row = Some(row);
        for (kind, rank, most) in offers {
            let Some(rank) = rank else {
                continue;
            };
            let first = match kind {
                UNCERTAIN => &mut self.uncertain,
                CONTRADICTING => &mut self.contradicting,
                FAILED => &mut self.failed,
                _ => &mut self.random,
            };
            let out = first.take(rank, key, most);
            if out != Some(key) {
                match (self.rows.get_mut(&key), row.take()) {
                    (Some((_, kinds)), _) => *kinds |= kind,
                    (None, Some(row)) => drop(self.rows.insert(key, (row, kind))),
                    (None, None) => {}
                }
            }
            if let Some(out) = out.filter(|out| *out != key) {
                self.let_go(out, kind);
            }
        }
    }

    fn let_go(&mut self, key: Key, kind: u8) {
        if let Some((_, kinds)) = self.rows.get_mut(&key) {
            *kinds &= !kind;
            if *kinds == 0 {
                self.rows.remove(&key);
            }
        }
    }

    /// The turns that are chosen, with the reasons, by bucket and in the order of RAW.
    pub(super) fn chosen(self) -> BTreeMap<usize, Vec<(Row, u8)>> {
        let mut chosen = BTreeMap::<_, Vec<_>>::new();
        for ((index, _), row) in self.rows {
            chosen.entry(index).or_default().push(row);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::details::Details;

    fn row(number: u64, soft: f64) -> Row {
        let label = serde_json::json!({"conversationId": "c", "messageId": "m", "split": null,
            "bucket": null, "hard_label": 1, "soft_label": soft});
        Row {
            number,
            label: serde_json::from_value(label).unwrap(),
            details: Some(Details {
                contradicting: number.is_multiple_of(10),
                ..Details::default()
            }),
        }
    }

    #[test]
    fn memory_holds_what_is_shown_whatever_comes() {
        let mut sample = Sample::default();
        for number in 0..20_000 {
            sample.look(
                0,
                "train/short",
                row(number, (number % 1000) as f64 / 1000.0),
            );
            assert!(sample.rows.len() <= 3 * OF_A_KIND + DRAWN);
        }
        let chosen = sample.chosen().remove(&0).unwrap();
        let of = |kind| chosen.iter().filter(move |(_, kinds)| kinds & kind != 0);
        assert_eq!(
            (of(UNCERTAIN).count(), of(RANDOM).count()),
            (OF_A_KIND, DRAWN)
        );
        assert_eq!(
            (of(CONTRADICTING).count(), of(FAILED).count()),
            (OF_A_KIND, 0)
        );
        let farthest = of(UNCERTAIN).map(|(row, _)| (row.label.soft_label.unwrap() - 0.5).abs());
        assert!(farthest.fold(0.0, f64::max) < 0.004_1);
        let random = of(RANDOM).map(|(row, _)| row.number).sum::<u64>() / DRAWN as u64;
        assert!(
            (8_000..12_000).contains(&random),
            "evenly from everywhere: {random}"
        );
    }
}
