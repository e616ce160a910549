//! What went within the last minute, so that no minute takes more than its budget whatever the sizes
//! of the calls. An even stream of small calls never meets this limit; a large call waits until the
//! minute behind it has room.

use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Calls are added up over so much time, which bounds the memory; a slice counts until the last
/// call in it is a minute old.
const SLICE: Duration = Duration::from_millis(100);

/// Shares of a minute's budget, each of the budget that held when it was used.
#[derive(Clone, Debug, Default)]
pub(super) struct Minute {
    /// Number of the slice, and what was used in it.
    slices: VecDeque<(u128, f64)>,
    used: f64,
}

impl Minute {
    /// Forgets what is older than a minute.
    pub(super) fn pass(&mut self, now: Duration) {
        while let Some(&(slice, used)) = self.slices.front()
            && leaves(slice) <= now
        {
            self.slices.pop_front();
            self.used -= used;
        }
        if self.slices.is_empty() {
            // Sums of floats drift; here the exact one is known.
            self.used = 0.0;
        }
    }

    /// When `share` of a budget fits in; at once where it never would, once the minute is empty.
    pub(super) fn room_at(&self, now: Duration, share: f64) -> Duration {
        let mut over = self.used + share - 1.0;
        let mut at = now;
        for &(slice, used) in &self.slices {
            if over <= 1e-9 {
                break;
            }
            over -= used;
            at = leaves(slice);
        }
        at
    }

    /// A call takes `share` of a budget.
    pub(super) fn charge(&mut self, now: Duration, share: f64) {
        let slice = now.as_nanos() / SLICE.as_nanos();
        self.used += share;
        match self.slices.back_mut() {
            Some((last, used)) if *last == slice => *used += share,
            _ => self.slices.push_back((slice, share)),
        }
    }
}

/// When the last call of a slice is a minute old.
fn leaves(slice: u128) -> Duration {
    let end = (slice + 1) * SLICE.as_nanos();
    Duration::from_nanos(u64::try_from(end).unwrap_or(u64::MAX)).saturating_add(MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_large_call_waits_until_the_minute_behind_it_has_room() {
        let mut minute = Minute::default();
        minute.charge(at(50), 0.5);
        minute.charge(at(10_000), 0.4);
        assert_eq!(minute.room_at(at(20_000), 0.1), at(20_000));
        assert_eq!(minute.room_at(at(20_000), 0.3), at(60_100));
        assert_eq!(minute.room_at(at(20_000), 0.7), at(70_100));
        minute.pass(at(60_100));
        assert_eq!(minute.room_at(at(60_100), 0.6), at(60_100));
    }

    #[test]
    fn a_call_larger_than_any_minute_goes_when_the_minute_is_empty() {
        let mut minute = Minute::default();
        assert_eq!(minute.room_at(at(5), 3.0), at(5));
        minute.charge(at(5), 0.1);
        assert_eq!(minute.room_at(at(10), 3.0), at(60_100));
    }
}
