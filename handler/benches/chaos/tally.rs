//! What happened on a day, or on several.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counts of a day.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers of the service.
    pub(crate) calls: usize,
    /// Of these, those that a kill or an outage may have cost.
    pub(crate) exposed: usize,
    /// Those that no run keeps.
    pub(crate) lost: usize,
    pub(crate) turns: usize,
    /// Runs by the state they ended in.
    pub(crate) states: BTreeMap<String, usize>,
    /// The longest time after which what an instance held that vanished was sent again, without its host's queue.
    pub(crate) sent_again: Option<Duration>,
    /// What went wrong.
    pub(crate) happened: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn count(&mut self, what: &str) {
        *self.happened.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.exposed += other.exposed;
        self.lost += other.lost;
        self.turns += other.turns;
        self.sent_again = self.sent_again.max(other.sent_again);
        for (what, times) in &other.happened {
            *self.happened.entry(what.clone()).or_default() += times;
        }
        for (state, runs) in &other.states {
            *self.states.entry(state.clone()).or_default() += runs;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<String, usize>| {
            let counts = counts
                .iter()
                .map(|(what, times)| format!("{times} × {what}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        write!(
            f,
            "{} turns with one line each; {} calls answered, {} of them exposed to a loss, {} lost; \
             runs: {}; what went wrong: {}",
            self.turns,
            self.calls,
            self.exposed,
            self.lost,
            list(&self.states),
            list(&self.happened)
        )?;
        match self.sent_again {
            Some(after) => write!(
                f,
                "; what a vanished instance held was sent again within {:.1} s",
                after.as_secs_f64()
            ),
            None => Ok(()),
        }
    }
}
