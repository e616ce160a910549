//! How far two labellings of the same turns agree.
//!
//! Memory grows by 8 bytes a turn; ranks take 16 MB while they are made.

use crate::labeling::label::Label;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Bins of soft labels, each a tenth wide; the last one holds 1, too.
pub const BINS: usize = 10;

/// Turns that are named since their soft labels differ most.
pub(super) const NAMED: usize = 20;

/// Soft labels are published with six decimals: as whole numbers they are what was meant, which binary
/// fractions are not.
const MILLION: u32 = 1_000_000;

/// The labels of a turn, as they were published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) hard: Label,
    /// In millionths, up to a million.
    millionths: u32,
}

impl Labels {
    /// `soft` is in [0, 1].
    pub(super) fn new(hard: Label, soft: f64) -> Self {
        Self {
            hard,
            millionths: (soft * f64::from(MILLION)).round() as u32,
        }
    }

    pub(super) fn soft(self) -> f64 {
        f64::from(self.millionths) / f64::from(MILLION)
    }

    fn bin(self) -> usize {
        let bin = self.millionths as usize / (MILLION as usize / BINS);
        bin.min(BINS - 1)
    }
}

/// What is counted of pairs of labels.
#[derive(Clone, Debug)]
pub(super) struct Agreement<T> {
    /// Turns by hard label there and here.
    hard: [[u64; 2]; 2],
    table: [[u64; BINS]; BINS],
    /// In millionths.
    soft: Vec<(u32, u32)>,
    /// The turns that differ most, the one that differs least first: by the difference, and of equal ones
    /// the turn that came first counts more.
    moved: BTreeMap<(u32, Reverse<usize>), (Labels, Labels, T)>,
}

impl<T> Default for Agreement<T> {
    fn default() -> Self {
        Self {
            hard: [[0; 2]; 2],
            table: [[0; BINS]; BINS],
            soft: Vec::new(),
            moved: BTreeMap::new(),
        }
    }
}

/// What the figures are; `None` where one is not defined.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Turns that are labelled in both.
    pub compared: u64,
    /// Those with the same hard label, as a share.
    pub agreement: f64,
    /// Cohen's κ of the hard labels, in [-1, 1]: agreement beyond that of chance. `null` where all hard
    /// labels of both are the same, so that chance explains everything.
    pub kappa: Option<f64>,
    /// Turns by hard label: `hard_labels[a][b]`.
    pub hard_labels: [[u64; 2]; 2],
    /// Mean of the soft labels of A, and of B.
    pub mean_soft_label: [f64; 2],
    /// Mean of |B − A| of the soft labels.
    pub mean_absolute_difference: f64,
    /// Mean of B − A.
    pub mean_difference: f64,
    /// Spearman's rank correlation of the soft labels, equal ones with their mean rank, in [-1, 1]. `null`
    /// where the soft labels of one are all the same.
    pub rank_correlation: Option<f64>,
    /// Turns by tenth of the soft label: `table[a][b]`.
    pub table: [[u64; BINS]; BINS],
}

impl<T> Agreement<T> {
    /// Adds a turn. `name` is asked for what it is called if it is among those that differ most.
    pub(super) fn add(&mut self, a: Labels, b: Labels, name: impl FnOnce() -> T) {
        let number = self.soft.len();
        self.soft.push((a.millionths, b.millionths));
        if let Some(count) = cell(&mut self.hard, index(a.hard), index(b.hard)) {
            *count += 1;
        }
        if let Some(count) = cell(&mut self.table, a.bin(), b.bin()) {
            *count += 1;
        }
        let key = (a.millionths.abs_diff(b.millionths), Reverse(number));
        let is_among = self.moved.len() < NAMED
            || self
                .moved
                .first_key_value()
                .is_some_and(|(it, _)| *it < key);
        if a.millionths == b.millionths || !is_among {
            return;
        }
        self.moved.insert(key, (a, b, name()));
        if self.moved.len() > NAMED {
            self.moved.pop_first();
        }
    }

    /// The turns whose soft labels differ most, the one that differs most first; no turn whose labels are
    /// equal.
    pub(super) fn moved(&self) -> impl Iterator<Item = &(Labels, Labels, T)> {
        self.moved.values().rev()
    }

    /// What the pairs add up to; `None` without any.
    pub(super) fn figures(&self) -> Option<Figures> {
        let n = self.soft.len() as f64;
        let [[both_0, only_b], [only_a, both_1]] = self.hard;
        let mean = |value: fn(&(u32, u32)) -> i64| {
            self.soft.iter().map(value).sum::<i64>() as f64 / f64::from(MILLION) / n
        };
        (n > 0.0).then(|| Figures {
            compared: self.soft.len() as u64,
            agreement: (both_0 + both_1) as f64 / n,
            kappa: kappa([[both_0, only_b], [only_a, both_1]]),
            hard_labels: self.hard,
            mean_soft_label: [mean(|(a, _)| i64::from(*a)), mean(|(_, b)| i64::from(*b))],
            mean_absolute_difference: mean(|(a, b)| i64::from(a.abs_diff(*b))),
            mean_difference: mean(|(a, b)| i64::from(*b) - i64::from(*a)),
            rank_correlation: rank_correlation(&self.soft),
            table: self.table,
        })
    }
}

fn index(label: Label) -> usize {
    usize::from(u8::from(label))
}

fn cell<const N: usize>(table: &mut [[u64; N]; N], a: usize, b: usize) -> Option<&mut u64> {
    table.get_mut(a)?.get_mut(b)
}

fn kappa(hard: [[u64; 2]; 2]) -> Option<f64> {
    let [[a, b], [c, d]] = hard.map(|row| row.map(|count| count as f64));
    let n = a + b + c + d;
    let observed = (a + d) / n;
    let chance = ((a + b) * (a + c) + (c + d) * (b + d)) / (n * n);
    // Whole numbers decide exactly whether all labels of both are the same.
    let [[both_0, only_b], [only_a, both_1]] = hard;
    let is_constant = only_a + only_b == 0 && (both_0 == 0 || both_1 == 0);
    (!is_constant).then(|| (observed - chance) / (1.0 - chance))
}

/// The correlation of ranks.
fn rank_correlation(pairs: &[(u32, u32)]) -> Option<f64> {
    let ranks_a = ranks(pairs.iter().map(|(a, _)| *a));
    let ranks_b = ranks(pairs.iter().map(|(_, b)| *b));
    let middle = (pairs.len() as f64 + 1.0) / 2.0;
    let from_middle =
        |ranks: &[f64], value: u32| ranks.get(value as usize).map_or(0.0, |it| it - middle);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (from_middle(&ranks_a, *a), from_middle(&ranks_b, *b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (aa > 0.0 && bb > 0.0).then(|| (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0))
}

/// The rank of every value that a soft label can have, from 1; equal ones have the mean of theirs.
fn ranks(values: impl Iterator<Item = u32>) -> Vec<f64> {
    let mut counts = vec![0.0; MILLION as usize + 1];
    for value in values {
        if let Some(count) = counts.get_mut(value as usize) {
            *count += 1.0;
        }
    }
    let mut below = 0.0;
    for count in &mut counts {
        let rank = below + (*count + 1.0) / 2.0;
        below += std::mem::replace(count, rank);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(pairs: &[(u8, f64, u8, f64)]) -> Agreement<usize> {
        let mut agreement = Agreement::default();
        for (number, (a, soft_a, b, soft_b)) in pairs.iter().enumerate() {
            let labels = |hard, soft| Labels::new(Label::try_from(hard).unwrap(), soft);
            agreement.add(labels(*a, *soft_a), labels(*b, *soft_b), || number);
        }
        agreement
    }

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-12)
    }

    #[test]
    fn kappa_is_cohens() {
        // The example of Wikipedia's article on Cohen's kappa.
        assert!(close(kappa([[20, 5], [10, 15]]), 0.4));
        assert!(close(kappa([[45, 15], [25, 15]]), 0.130_434_782_608_695_65));
        assert_eq!(kappa([[7, 0], [0, 0]]), None);
        assert_eq!(kappa([[0, 0], [0, 7]]), None);
        assert!(close(kappa([[3, 4], [0, 0]]), 0.0));
        assert!(close(kappa([[0, 4], [4, 0]]), -1.0));
        assert!(close(kappa([[3, 0], [0, 9]]), 1.0));
    }

    #[test]
    fn ranks_of_equal_values_are_their_mean() {
        let ranks = ranks([3, 1, 3, MILLION, 3].into_iter());
        let at = [1, 3, MILLION].map(|value| ranks[value as usize]);
        assert_eq!(at, [1.0, 3.0, 5.0]);
    }

    #[test]
    fn the_rank_correlation_is_spearmans() {
        // The first is the example of the documentation of scipy.stats.spearmanr.
        let pairs = [(1, 5), (2, 6), (3, 7), (4, 8), (5, 7)];
        assert!(close(rank_correlation(&pairs), 0.820_782_681_668_123_3));
        let pairs = [(10, 10), (20, 20), (20, 30), (40, 30), (50, 30), (60, 25)];
        assert!(close(rank_correlation(&pairs), 0.492_832_882_906_958));
        assert_eq!(rank_correlation(&[(5, 1), (5, 9)]), None);
        assert_eq!(rank_correlation(&[(5, 1)]), None);
    }

    #[test]
    fn figures_say_what_moved_and_where_to() {
        let agreement = of(&[
            (0, 0.1, 0, 0.2),
            (0, 0.3, 1, 0.95),
            (1, 1.0, 1, 1.0),
            (1, 0.7, 1, 0.6),
        ]);
        let figures = agreement.figures().unwrap();
        assert_eq!((figures.compared, figures.agreement), (4, 0.75));
        assert_eq!(figures.hard_labels, [[1, 1], [0, 2]]);
        assert!((figures.mean_difference - 0.1625).abs() < 1e-12);
        assert!((figures.mean_absolute_difference - 0.2125).abs() < 1e-12);
        assert_eq!(
            (
                figures.table[1][2],
                figures.table[3][9],
                figures.table[9][9]
            ),
            (1, 1, 1)
        );
        assert_eq!(figures.table[7][6], 1);
        let moved = agreement.moved().map(|(_, _, number)| *number);
        assert_eq!(moved.collect::<Vec<_>>(), [1, 0, 3]);
        assert_eq!(Agreement::<()>::default().figures(), None);
    }

    proptest! {
        #[test]
        fn the_turns_named_are_those_that_moved_most(
            soft in prop::collection::vec((0_u32..40, 0_u32..40), 0..200),
        ) {
            let pairs = soft.iter().map(|(a, b)| {
                (0, f64::from(*a) / 40.0, 1, f64::from(*b) / 40.0)
            });
            let agreement = of(&pairs.collect::<Vec<_>>());
            let mut expected = (0..soft.len()).filter(|i| soft[*i].0 != soft[*i].1).collect::<Vec<_>>();
            expected.sort_by_key(|i| std::cmp::Reverse(soft[*i].0.abs_diff(soft[*i].1)));
            expected.truncate(NAMED);
            let moved = agreement.moved().map(|(_, _, number)| *number);
            prop_assert_eq!(moved.collect::<Vec<_>>(), expected);
        }

        #[test]
        fn a_labelling_agrees_with_itself(soft in prop::collection::vec(0_u32..1000, 2..100)) {
            let pairs = soft.iter().map(|soft| {
                let label = f64::from(*soft) / 1000.0;
                let hard = u8::from(*soft >= 500);
                (hard, label, hard, label)
            });
            let figures = of(&pairs.collect::<Vec<_>>()).figures().unwrap();
            prop_assert_eq!(figures.agreement, 1.0);
            prop_assert!(figures.kappa.is_none_or(|kappa| (kappa - 1.0).abs() < 1e-12));
            prop_assert!(figures.rank_correlation.is_none_or(|r| (r - 1.0).abs() < 1e-12));
            prop_assert_eq!(figures.mean_absolute_difference, 0.0);
        }
    }
}
