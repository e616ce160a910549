//! What was earned and what was used within the last minute, so that no minute takes more than its
//! budget, whatever the sizes of the calls and however the budget changed meanwhile. An even stream
//! of small calls never meets this limit; a large call waits until the minute behind it has room.

use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Amounts are added up in slices of this length, which bounds the memory. What was used counts until
/// the end of its slice is a minute old, what was earned until the beginning of its slice is.
const SLICE: Duration = Duration::from_millis(100);

const SLICES: u64 = 600;

#[derive(Clone, Debug)]
pub(super) struct Minute {
    slices: VecDeque<Slice>,
    earned: f64,
    used: f64,
    as_of: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    number: u64,
    earned: f64,
    used: f64,
}

impl Minute {
    /// A minute in which nothing was earned nor used.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            slices: VecDeque::new(),
            earned: 0.0,
            used: 0.0,
            as_of: now,
        }
    }

    /// A minute in which `rate` a second was earned, and nothing used.
    pub(super) fn full(now: Duration, rate: f64) -> Self {
        let mut minute = Self::new(now);
        let this = number(now);
        for number in this.saturating_sub(SLICES)..this {
            minute.earn(number, rate * SLICE.as_secs_f64());
        }
        minute.earn(this, rate * (now.saturating_sub(start(this))).as_secs_f64());
        minute
    }

    /// Time passes, in which `rate` a second is earned.
    pub(super) fn pass(&mut self, now: Duration, rate: f64) {
        let oldest = number(now).saturating_sub(SLICES);
        // Slices that have left the window by now need not be added.
        let mut from = self.as_of.max(start(oldest));
        self.as_of = self.as_of.max(now);
        while from < now {
            let slice = number(from);
            let to = start(slice + 1).min(now);
            self.earn(slice, rate * (to - from).as_secs_f64());
            from = to;
        }
        while let Some(slice) = self.slices.front_mut()
            && slice.number <= oldest
        {
            self.earned -= slice.earned;
            slice.earned = 0.0;
            if slice.number == oldest {
                break;
            }
            self.used -= slice.used;
            self.slices.pop_front();
        }
        if self.slices.is_empty() {
            // Sums of floats drift; here the exact ones are known.
            (self.earned, self.used) = (0.0, 0.0);
        }
    }

    /// Whether a call of `cost` has room. One that is larger than any minute has it in an empty one.
    pub(super) fn has_room(&self, cost: f64) -> bool {
        let rounding = 1e-9 * self.earned;
        self.used + cost <= self.earned + rounding || self.used <= rounding
    }

    /// When to look again, if there was no room.
    pub(super) fn look_again(&self, now: Duration) -> Duration {
        start(number(now) + 1)
    }

    pub(super) fn charge(&mut self, now: Duration, cost: f64) {
        self.used += cost;
        self.slice(number(now), |slice| slice.used += cost);
    }

    fn earn(&mut self, number: u64, amount: f64) {
        self.earned += amount;
        self.slice(number, |slice| slice.earned += amount);
    }

    /// Changes the last slice, which is or becomes the one with this number.
    fn slice(&mut self, number: u64, change: impl FnOnce(&mut Slice)) {
        match self.slices.back_mut() {
            Some(last) if last.number >= number => change(last),
            _ => {
                let mut slice = Slice {
                    number,
                    earned: 0.0,
                    used: 0.0,
                };
                change(&mut slice);
                self.slices.push_back(slice);
            }
        }
    }
}

/// The slice that a moment lies in. There is a minute of them before the first moment.
fn number(at: Duration) -> u64 {
    u64::try_from((at + MINUTE).as_nanos() / SLICE.as_nanos()).unwrap_or(u64::MAX)
}

/// When a slice begins; the first moment for those before it.
fn start(number: u64) -> Duration {
    let slices = u32::try_from(number.saturating_sub(SLICES)).unwrap_or(u32::MAX);
    SLICE.saturating_mul(slices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// When a call of `cost` has room, looking as often as it says, while 1 a second is earned.
    fn room_at(minute: &mut Minute, now: u64, cost: f64) -> Duration {
        let mut now = at(now);
        loop {
            minute.pass(now, 1.0);
            if minute.has_room(cost) {
                return now;
            }
            now = minute.look_again(now);
        }
    }

    #[test]
    fn a_large_call_waits_until_the_minute_behind_it_has_room() {
        let mut minute = Minute::full(at(0), 1.0);
        minute.pass(at(50), 1.0);
        minute.charge(at(50), 30.0);
        minute.pass(at(10_000), 1.0);
        minute.charge(at(10_000), 24.0);
        assert_eq!(room_at(&mut minute.clone(), 20_000, 5.0), at(20_000));
        assert_eq!(room_at(&mut minute.clone(), 20_000, 18.0), at(60_100));
        assert_eq!(room_at(&mut minute.clone(), 20_000, 42.0), at(70_100));
        // Larger than any minute.
        assert_eq!(room_at(&mut minute, 20_000, 300.0), at(70_100));
    }

    #[test]
    fn what_was_earned_at_another_rate_stays_earned() {
        let mut minute = Minute::full(at(0), 1.0);
        // All of it is used, second by second.
        for second in 0..100 {
            minute.pass(at(1_000 * second), 1.0);
            minute.charge(at(1_000 * second), 0.9);
        }
        for second in 100..200 {
            minute.pass(at(1_000 * second), 0.25);
            assert!(minute.has_room(0.2), "{second}: {minute:?}");
            minute.charge(at(1_000 * second), 0.2);
        }
    }

    #[test]
    fn an_idle_hour_earns_a_minute() {
        let mut minute = Minute::new(at(0));
        assert!(!minute.has_room(1.0) || minute.used == 0.0);
        minute.charge(at(0), 1.0);
        minute.pass(at(3_600_000), 1.0);
        minute.charge(at(3_600_000), 1.0);
        assert!(minute.has_room(58.5) && !minute.has_room(60.0));
    }
}
