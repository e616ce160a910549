//! How far two labellings of the same turns agree.
//!
//! Memory grows by 16 bytes a turn, and by 20 more while ranks are made.

use serde::Serialize;
use std::collections::BTreeSet;

/// Bins of soft labels, each a tenth wide; the last one holds 1, too.
pub const BINS: usize = 10;

/// Turns that are named since their soft labels differ most.
pub(super) const NAMED: usize = 20;

/// A turn's label, as it was published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Labeled {
    /// 0 or 1.
    pub(super) hard: u8,
    /// In [0, 1].
    pub(super) soft: f64,
}

/// What is counted of pairs of labels.
#[derive(Clone, Debug)]
pub(super) struct Agreement<T> {
    /// Turns by hard label there and here.
    hard: [[u64; 2]; 2],
    table: [[u64; BINS]; BINS],
    soft: Vec<(f64, f64)>,
    /// The turns that differ most, the one that differs least first. Soft labels have six decimals, so
    /// differences are compared as millionths; of equal ones the turn that came first counts more.
    moved: BTreeSet<(i64, std::cmp::Reverse<u64>)>,
    named: Vec<(u64, Labeled, Labeled, T)>,
}

impl<T> Default for Agreement<T> {
    fn default() -> Self {
        Self {
            hard: [[0; 2]; 2],
            table: [[0; BINS]; BINS],
            soft: Vec::new(),
            moved: BTreeSet::new(),
            named: Vec::new(),
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
    pub(super) fn add(&mut self, a: Labeled, b: Labeled, name: impl FnOnce() -> T) {
        let number = self.soft.len() as u64;
        self.soft.push((a.soft, b.soft));
        if let Some(count) = cell(&mut self.hard, usize::from(a.hard), usize::from(b.hard)) {
            *count += 1;
        }
        if let Some(count) = cell(&mut self.table, bin(a.soft), bin(b.soft)) {
            *count += 1;
        }
        let moved = millionths(b.soft - a.soft).abs();
        let key = (moved, std::cmp::Reverse(number));
        let is_among = self.moved.len() < NAMED || self.moved.first().is_some_and(|it| *it < key);
        if moved == 0 || !is_among {
            return;
        }
        self.moved.insert(key);
        self.named.push((number, a, b, name()));
        if self.moved.len() > NAMED
            && let Some((_, std::cmp::Reverse(least))) = self.moved.pop_first()
        {
            self.named.retain(|(number, ..)| *number != least);
        }
    }

    /// The turns whose soft labels differ most, the one that differs most first; no turn whose labels are
    /// equal.
    pub(super) fn moved(&self) -> Vec<(Labeled, Labeled, &T)> {
        let most = self.moved.iter().rev().filter_map(|(_, number)| {
            let named = self.named.iter();
            let mut named = named.filter(|(it, ..)| *it == number.0);
            named.next().map(|(_, a, b, name)| (*a, *b, name))
        });
        most.collect()
    }

    /// What the pairs add up to; `None` without any.
    pub(super) fn figures(&self) -> Option<Figures> {
        let n = self.soft.len() as f64;
        let [[both_0, only_b], [only_a, both_1]] = self.hard;
        let mean = |value: fn(&(f64, f64)) -> f64| self.soft.iter().map(value).sum::<f64>() / n;
        (n > 0.0).then(|| Figures {
            compared: self.soft.len() as u64,
            agreement: (both_0 + both_1) as f64 / n,
            kappa: kappa([[both_0, only_b], [only_a, both_1]]),
            hard_labels: self.hard,
            mean_soft_label: [mean(|(a, _)| *a), mean(|(_, b)| *b)],
            mean_absolute_difference: mean(|(a, b)| (b - a).abs()),
            mean_difference: mean(|(a, b)| b - a),
            rank_correlation: rank_correlation(&self.soft),
            table: self.table,
        })
    }
}

fn cell<const N: usize>(table: &mut [[u64; N]; N], a: usize, b: usize) -> Option<&mut u64> {
    table.get_mut(a)?.get_mut(b)
}

/// Soft labels are published with six decimals: as they were meant, not as binary fractions have them.
fn millionths(soft: f64) -> i64 {
    (soft * 1e6).round() as i64
}

fn bin(soft: f64) -> usize {
    let bin = millionths(soft) / (1_000_000 / BINS as i64);
    usize::try_from(bin).unwrap_or(0).min(BINS - 1)
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
fn rank_correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let a = ranks(pairs.len(), |i| pairs.get(i).map_or(0.0, |pair| pair.0));
    let b = ranks(pairs.len(), |i| pairs.get(i).map_or(0.0, |pair| pair.1));
    let middle = (pairs.len() as f64 + 1.0) / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.into_iter().zip(b) {
        let (a, b) = (a - middle, b - middle);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (aa > 0.0 && bb > 0.0).then(|| (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0))
}

/// The ranks of values, from 1, equal ones with the mean of theirs.
fn ranks(count: usize, value: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut order = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect::<Vec<_>>();
    order.sort_unstable_by(|a, b| value(*a as usize).total_cmp(&value(*b as usize)));
    let mut ranks = vec![0.0; count];
    let mut first = 0_usize;
    for equal in order.chunk_by(|a, b| value(*a as usize) == value(*b as usize)) {
        let rank = first as f64 + (equal.len() as f64 + 1.0) / 2.0;
        for number in equal {
            if let Some(place) = ranks.get_mut(*number as usize) {
                *place = rank;
            }
        }
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(pairs: &[(u8, f64, u8, f64)]) -> Agreement<usize> {
        let mut agreement = Agreement::default();
        for (number, (a, soft_a, b, soft_b)) in pairs.iter().enumerate() {
            let labeled = |hard, soft| Labeled { hard, soft };
            agreement.add(labeled(*a, *soft_a), labeled(*b, *soft_b), || number);
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
        let values = [0.3, 0.1, 0.3, 0.9, 0.3];
        assert_eq!(ranks(5, |i| values[i]), [3.0, 1.0, 3.0, 5.0, 3.0]);
    }

    #[test]
    fn the_rank_correlation_is_spearmans() {
        // The first is the example of the documentation of scipy.stats.spearmanr.
        let pairs = [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (4.0, 8.0), (5.0, 7.0)];
        assert!(close(rank_correlation(&pairs), 0.820_782_681_668_123_3));
        let pairs = [
            (1.0, 1.0),
            (2.0, 2.0),
            (2.0, 3.0),
            (4.0, 3.0),
            (5.0, 3.0),
            (6.0, 2.5),
        ];
        assert!(close(rank_correlation(&pairs), 0.492_832_882_906_958));
        assert_eq!(rank_correlation(&[(0.5, 0.1), (0.5, 0.9)]), None);
        assert_eq!(rank_correlation(&[(0.5, 0.1)]), None);
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
        let moved = agreement.moved();
        let moved = moved.iter().map(|(_, _, number)| **number);
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
            let moved = agreement.moved();
            let moved = moved.iter().map(|(_, _, number)| **number).collect::<Vec<_>>();
            prop_assert_eq!(moved, expected);
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
