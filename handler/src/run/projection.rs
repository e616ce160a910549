//! Projects what a run will cost and how much longer it takes, from the answered calls of each kind and
//! the turns that still need one.
//!
//! Labels come first and are cheap, rationales follow and are expensive, so each is projected on its own
//! before they are added.

use crate::dataset::figures::Tokens;
use crate::money::Usd;
use crate::teacher::pacing::Quota;
use std::time::Duration;

/// Of a kind of call with fewer answers nothing is projected.
pub const ENOUGH: u64 = 20;

/// The calls of one kind, labels or rationales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Turns that get one, or got none and a reason.
    pub turns: u64,
    /// Those of them that have it.
    pub done: u64,
    /// Those of them that got it from this process.
    pub done_here: u64,
    /// What this process was billed for those, and what the quota was charged.
    pub tokens: Tokens,
    /// For how long the calls about those were in flight, added up.
    pub in_flight: Duration,
}

/// What is left of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projection {
    /// What it will cost from now on.
    pub usd: Usd,
    /// How much longer it takes, in seconds.
    pub seconds: f64,
}

impl Kind {
    /// A call was answered after being in flight this long.
    pub fn answered(&mut self, tokens: Tokens, in_flight: Duration) {
        self.tokens += tokens;
        self.in_flight += in_flight;
    }

    /// One more turn has it, from this process.
    pub fn turn_done(&mut self) {
        self.done += 1;
        self.done_here += 1;
    }

    /// Turns that still want one.
    pub fn left(&self) -> u64 {
        self.turns.saturating_sub(self.done)
    }

    /// How many turns are left for each one that is done here; `None` while too few calls are answered.
    fn left_for_each(&self) -> Option<f64> {
        match (self.left(), self.tokens.calls) {
            (0, _) => Some(0.0),
            (_, calls) if calls < ENOUGH => None,
            (left, _) => Some(left as f64 / self.done_here.max(1) as f64),
        }
    }
}

impl Projection {
    /// Projects the `kinds` of calls of a run whose first answer came `since` ago, under a `quota` and
    /// with at most `in_flight` calls at a time. `None` while too little is known.
    ///
    /// Two things limit the speed of a run: the quota, where a call weighs the tokens that it is charged,
    /// and the calls in flight, where it weighs its latency. The limit that was used more so far decides
    /// the weight of calls; the speed so far decides the time.
    pub fn of(kinds: &[Kind], since: Duration, quota: Quota, in_flight: u32) -> Option<Self> {
        let mut usd = Usd::ZERO;
        let (mut done, mut left) = (Weight::default(), Weight::default());
        for kind in kinds {
            let each = kind.left_for_each()?;
            let weight = Weight::of(kind, quota, in_flight);
            done.add(weight, 1.0);
            left.add(weight, each);
            usd += kind.tokens.usd.times(kind.left(), kind.done_here);
        }
        let (done, left) = match done.quota >= done.flight {
            true => (done.quota, left.quota),
            false => (done.flight, left.flight),
        };
        let seconds = since.as_secs_f64() * left / done;
        seconds.is_finite().then_some(Self { usd, seconds })
    }
}

/// What calls weigh, in seconds of the quota and of the calls in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    quota: f64,
    flight: f64,
}

impl Weight {
    fn of(kind: &Kind, quota: Quota, in_flight: u32) -> Self {
        let Tokens {
            reserved, calls, ..
        } = kind.tokens;
        Self {
            quota: quota.seconds(reserved as f64, calls as f64),
            flight: kind.in_flight.as_secs_f64() / f64::from(in_flight.max(1)),
        }
    }

    fn add(&mut self, other: Self, times: f64) {
        self.quota += other.quota * times;
        self.flight += other.flight * times;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(turns: u64, done: u64, calls: u64) -> Kind {
        Kind {
            turns,
            done,
            done_here: done,
            tokens: Tokens {
                calls,
                reserved: 1_000 * calls,
                usd: Usd::from_nanos(500 * calls),
                ..Tokens::default()
            },
            in_flight: Duration::from_millis(100 * calls),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn of(kinds: &[Kind]) -> Option<Projection> {
        Projection::of(kinds, SECOND, Quota::new(1_000_000_000, 1_000_000), 10)
    }

    #[test]
    fn nothing_is_said_before_twenty_answers_of_each_kind_that_is_left() {
        assert_eq!(of(&[kind(100, 19, 19)]), None);
        assert!(of(&[kind(100, 20, 20)]).is_some());
        assert_eq!(of(&[kind(100, 100, 100), kind(100, 10, 10)]), None);
        // Of a kind that is done nothing more need be known.
        assert!(of(&[kind(3, 3, 3), kind(100, 50, 50)]).is_some());
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn identical_turns_cost_no_call() {
        // Fifty turns took forty calls.
        let left = of(&[kind(100, 50, 40)]).unwrap();
        assert_eq!(left.usd, Usd::from_nanos(20_000));
        assert!((left.seconds - 1.0).abs() < 1e-9);
    }

    #[test]
    fn labels_that_are_done_say_nothing_about_rationales_that_are_left() {
        let dear = Kind {
            tokens: Tokens {
                usd: Usd::from_nanos(1_000_000),
                ..kind(100, 25, 25).tokens
            },
            in_flight: Duration::from_secs(25),
            ..kind(100, 25, 25)
        };
        let left = of(&[kind(100, 100, 100), dear]).unwrap();
        assert_eq!(left.usd, Usd::from_nanos(3_000_000));
        // 35 seconds in flight took one second, 75 are left.
        assert!((left.seconds - 75.0 / 35.0).abs() < 1e-9, "{left:?}");
    }

    #[test]
    fn the_quota_weighs_what_is_charged_where_it_holds_the_run_up() {
        let labels = kind(100, 50, 50);
        let rationales = Kind {
            tokens: Tokens {
                reserved: 150_000,
                ..labels.tokens
            },
            ..labels
        };
        let slow = Quota::new(60_000, 1_000_000);
        let done = Kind {
            turns: 50,
            ..labels
        };
        let left = Projection::of(&[done, rationales], SECOND, slow, 10).unwrap();
        assert!((left.seconds - 150.0 / 200.0).abs() < 1e-9, "{left:?}");
    }
}
