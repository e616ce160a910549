//! One dimension of a quota, tokens or requests, as a stream that is as even as calls are alike: a
//! call goes, and the next one waits until it is paid for.

use std::time::Duration;

/// A call that is woken late by no more than this loses nothing: timers and schedulers are late by a few
/// milliseconds, and an even stream could never catch up with them otherwise.
pub(super) const LATENESS: Duration = Duration::from_millis(10);

/// What is owed for the calls that went.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Negative where more time has passed than was owed.
    owed: f64,
    as_of: Duration,
}

impl Lane {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            owed: 0.0,
            as_of: now,
        }
    }

    /// Time passes at `rate` a second. No more than [`LATENESS`] is saved up of it, or `saved` where
    /// a call waits for something else meanwhile.
    pub(super) fn pass(&mut self, now: Duration, rate: f64, saved: f64) {
        let seconds = now.saturating_sub(self.as_of).as_secs_f64();
        self.as_of = now;
        let saved = saved.max(rate * LATENESS.as_secs_f64());
        self.owed = (self.owed - rate * seconds).max(-saved);
    }

    /// Seconds until the next call may go at `rate`; infinite at none.
    pub(super) fn wait(&self, rate: f64) -> f64 {
        match self.owed {
            owed if owed <= 0.0 => 0.0,
            owed if rate > 0.0 => owed / rate,
            _ => f64::INFINITY,
        }
    }

    pub(super) fn charge(&mut self, cost: f64) {
        self.owed += cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_call_is_paid_for_before_the_next_one_goes() {
        let mut lane = Lane::new(at(0));
        assert_eq!(lane.wait(10.0), 0.0);
        lane.charge(5.0);
        assert_eq!(lane.wait(10.0), 0.5);
        lane.pass(at(200), 10.0, 0.0);
        assert!((lane.wait(10.0) - 0.3).abs() < 1e-9);
        // What is owed is paid at the rate that holds meanwhile.
        assert!((lane.wait(1.0) - 3.0).abs() < 1e-9);
        assert_eq!(lane.wait(0.0), f64::INFINITY);
    }

    #[test]
    fn an_idle_hour_saves_up_no_more_than_a_late_timer() {
        let mut lane = Lane::new(at(0));
        lane.pass(at(3_600_000), 100.0, 0.0);
        lane.charge(1.0);
        assert_eq!(lane.wait(100.0), 0.0);
        lane.charge(1.0);
        assert!((lane.wait(100.0) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn a_timer_that_is_late_each_time_loses_nothing() {
        let mut lane = Lane::new(at(0));
        let mut calls = 0;
        // Looks every 7 ms only, at 100 calls a second.
        for tick in 0..1_000 {
            lane.pass(at(7 * tick), 100.0, 0.0);
            while lane.wait(100.0) == 0.0 {
                lane.charge(1.0);
                calls += 1;
            }
        }
        assert!((699..=702).contains(&calls), "{calls}");
    }
}
