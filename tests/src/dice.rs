//! Seeded chance that does not depend on the order in which tasks run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Draws by seed, by what is decided and by what it is about. The same question asked again about the
/// same thing is another draw.
#[derive(Debug, Default)]
pub(crate) struct Dice {
    seed: u64,
    asked: Mutex<HashMap<String, u32>>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            asked: Mutex::default(),
        }
    }

    /// Whether something that happens at `rate` (0 to 1) happens here.
    pub(crate) fn happens(&self, rate: f64, what: &str, about: &str) -> bool {
        rate > 0.0 && self.fraction(what, about) < rate
    }

    /// A number from 0 up to, not including, 1.
    pub(crate) fn fraction(&self, what: &str, about: &str) -> f64 {
        // The 53 bits that such a number has.
        (self.draw(what, about) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Puts the items into another order.
    pub(crate) fn shuffle<T>(&self, items: &mut [T], what: &str, about: &str) {
        for last in (1..items.len()).rev() {
            let other = self.draw(what, about) % (last as u64 + 1);
            items.swap(last, other as usize);
        }
    }

    fn draw(&self, what: &str, about: &str) -> u64 {
        let key = format!("{what}\n{about}");
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked.entry(key.clone()).or_default();
        *times += 1;
        xxh3_64_with_seed(format!("{key}\n{times}").as_bytes(), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_with_the_seed_whatever_else_was_drawn() {
        let (one, other) = (Dice::new(1), Dice::new(1));
        let first = one.fraction("drop", "a");
        other.fraction("drop", "b");
        assert_eq!(other.fraction("drop", "a"), first);
        assert_ne!(one.fraction("drop", "a"), first);
        assert_ne!(Dice::new(2).fraction("drop", "a"), first);
    }

    #[test]
    fn a_rate_is_met() {
        let dice = Dice::new(7);
        let hits = (0..10_000)
            .filter(|_| dice.happens(0.1, "drop", "a"))
            .count();
        assert!((900..1_100).contains(&hits), "{hits}");
        assert!(!dice.happens(0.0, "drop", "a"));
        assert!(dice.happens(1.0, "drop", "a"));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items = (0..100).collect::<Vec<_>>();
        Dice::new(3).shuffle(&mut items, "order", "batch");
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
