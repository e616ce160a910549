//! How soft labels are distributed.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Bars of a histogram, each a twentieth wide.
pub const BARS: usize = 20;

/// Labelled turns by soft label, apart by hard label. Bar `n` counts those from n/20 to below
/// (n + 1)/20, as they are published, with six decimals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Those with hard label 0.
    pub label_0: [u64; BARS],
    /// Those with hard label 1.
    pub label_1: [u64; BARS],
}

impl Histogram {
    /// Counts a turn with this hard label, 0 or 1, and soft label, in [0, 1].
    pub fn count(&mut self, hard_label: u8, soft_label: f64) {
        let millionths = (soft_label * 1e6).round() as usize;
        let bar = (millionths * BARS / 1_000_000).min(BARS - 1);
        let bars = match hard_label {
            0 => &mut self.label_0,
            _ => &mut self.label_1,
        };
        if let Some(bar) = bars.get_mut(bar) {
            *bar += 1;
        }
    }

    /// The bars of both hard labels, bar by bar.
    pub fn bars(&self) -> impl Iterator<Item = (u64, u64)> + Clone {
        let ones = self.label_1.iter().copied();
        self.label_0.iter().copied().zip(ones)
    }

    /// All turns that were counted.
    pub fn turns(&self) -> u64 {
        self.bars().map(|(zeros, ones)| zeros + ones).sum()
    }
}

impl AddAssign<&Histogram> for Histogram {
    fn add_assign(&mut self, other: &Histogram) {
        let zeros = self.label_0.iter_mut().zip(&other.label_0);
        let ones = self.label_1.iter_mut().zip(&other.label_1);
        zeros.chain(ones).for_each(|(bar, count)| *bar += count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_begins_where_the_published_number_does() {
        let mut histogram = Histogram::default();
        for (hard, soft) in [
            (0, 1e-6),
            (0, 0.049_999_4),
            (1, 0.049_999_6),
            (1, 0.05),
            (1, 1.0),
        ] {
            histogram.count(hard, soft);
        }
        assert_eq!((histogram.label_0[0], histogram.label_1[0]), (2, 0));
        assert_eq!((histogram.label_1[1], histogram.label_1[19]), (2, 1));
        let mut sum = histogram.clone();
        sum += &histogram;
        assert_eq!((histogram.turns(), sum.turns()), (5, 10));
    }
}
