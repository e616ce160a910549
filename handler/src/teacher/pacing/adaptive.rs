//! A level that is found out by trying: additive increase, multiplicative decrease, and a memory of
//! where the last trouble came.

use std::time::Duration;

/// How much trouble takes away: a quarter, or a little where the trouble was over at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Lasting,
    Passing,
}

impl Trouble {
    fn left(self) -> f64 {
        match self {
            Self::Lasting => 0.75,
            Self::Passing => 0.97,
        }
    }
}

/// Below this share of the remembered ceiling it grows at full speed, beyond it carefully.
const NEAR: f64 = 0.95;

/// Speed of growth near and above the ceiling.
const CAREFUL: f64 = 0.1;

/// The ceiling is forgotten after this time without trouble: the service may have changed.
const MEMORY: Duration = Duration::from_secs(300);

/// A level between a least and a most value.
#[derive(Clone, Debug)]
pub(super) struct Adaptive {
    value: f64,
    least: f64,
    most: f64,
    /// Where the last trouble came, and when.
    ceiling: Option<(f64, Duration)>,
}

impl Adaptive {
    /// Begins at `most`.
    pub(super) fn new(most: f64, least: f64) -> Self {
        Self {
            value: most,
            least,
            most,
            ceiling: None,
        }
    }

    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// Trouble came at `level`: less from now on.
    pub(super) fn fall(&mut self, level: f64, trouble: Trouble, now: Duration) {
        let level = level.min(self.value);
        self.ceiling = Some((level, now));
        self.value = (level * trouble.left()).max(self.least);
    }

    /// The place of the last trouble is no longer a guide.
    pub(super) fn forget(&mut self) {
        self.ceiling = None;
    }

    /// All went well for a while that is worth `step`.
    pub(super) fn grow(&mut self, step: f64, now: Duration) {
        let remembered = self
            .ceiling
            .filter(|(_, since)| now.saturating_sub(*since) < MEMORY);
        self.ceiling = remembered;
        let near = remembered.map_or(f64::INFINITY, |(level, _)| level * NEAR);
        let fast = step.min((near - self.value).max(0.0));
        self.value = (self.value + fast + CAREFUL * (step - fast)).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_falls_by_a_quarter_and_never_below_the_least() {
        let mut level = Adaptive::new(100.0, 10.0);
        level.fall(80.0, Trouble::Lasting, seconds(1));
        assert_eq!(level.value(), 60.0);
        for second in 2..50 {
            level.fall(level.value(), Trouble::Lasting, seconds(second));
        }
        assert_eq!(level.value(), 10.0);
    }

    #[test]
    fn it_grows_carefully_from_where_the_last_trouble_came() {
        let mut level = Adaptive::new(200.0, 1.0);
        level.fall(100.0, Trouble::Lasting, seconds(1));
        level.grow(20.0, seconds(2));
        assert_eq!(level.value(), 95.0);
        level.grow(20.0, seconds(3));
        assert_eq!(level.value(), 97.0);
        // The step that reaches the ceiling is fast up to there and careful beyond.
        let mut level = Adaptive::new(200.0, 1.0);
        level.fall(100.0, Trouble::Lasting, seconds(1));
        level.grow(40.0, seconds(2));
        assert_eq!(level.value(), 97.0);
    }

    #[test]
    fn it_forgets_the_ceiling_after_a_while_and_stays_within_the_most() {
        let mut level = Adaptive::new(200.0, 1.0);
        level.fall(100.0, Trouble::Lasting, seconds(1));
        level.grow(20.0, seconds(301));
        level.grow(20.0, seconds(302));
        assert_eq!(level.value(), 115.0);
        level.grow(1000.0, seconds(303));
        assert_eq!(level.value(), 200.0);
    }
}
