//! What a dataset may cost in the function app: a cap, what somebody approved beyond it, and what its
//! runs have taken of it.
//!
//! A run takes its estimate before its first chunk, by compare-and-swap, so that runs that begin at
//! the same time cannot both take what is left; at its end it gives back what it did not spend.
//!
//! The estimate counts every rationale as long as it may be and no answer as shared, so a run rarely
//! goes beyond it: only where much is asked twice, or the service counts tokens otherwise. The
//! reconciler compares it with what the finished chunks have cost; a run that went beyond takes more, or
//! waits for an approval. So what is spent beyond the cap is bounded by what the quota lets through until
//! that is noticed, a minute for the reconciler and a quarter for the chunks, and the chunks under way
//! before that, which are not counted yet: 24 an instance, of `SOFTLABEL_CHUNK_TURNS` turns.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The budget of a dataset, in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// What somebody approved, if more than the cap.
    pub approved_usd: Option<f64>,
    /// What each run has taken: its estimate while it goes on, its cost when it has ended.
    pub runs: BTreeMap<String, f64>,
    /// Runs that may go on though no price is known.
    #[serde(default)]
    pub unpriced: BTreeSet<String>,
}

impl Budget {
    /// What may be spent, with a cap of `cap`.
    pub fn allowed(&self, cap: f64) -> f64 {
        self.approved_usd.unwrap_or_default().max(cap)
    }

    /// What is taken, by all runs.
    pub fn taken(&self) -> f64 {
        self.runs.values().sum()
    }

    /// What is taken by other runs than `run`.
    pub fn taken_by_others(&self, run: &str) -> f64 {
        let others = self.runs.iter().filter(|(name, _)| *name != run);
        others.map(|(_, usd)| usd).sum()
    }

    /// Takes `usd` in all for `run`, at least what it had; says whether there is so much. Without it
    /// nothing changes.
    pub fn take(&mut self, run: &str, usd: f64, cap: f64) -> bool {
        let had = self.runs.get(run).copied();
        let wanted = had.unwrap_or_default().max(usd);
        // What it has is not taken away again when the cap is lowered.
        if had.is_none_or(|had| had < wanted)
            && self.taken_by_others(run) + wanted > self.allowed(cap)
        {
            return false;
        }
        self.runs.insert(run.to_owned(), wanted);
        true
    }

    /// A run has ended, and has cost `usd`.
    pub fn settle(&mut self, run: &str, usd: f64) {
        if let Some(taken) = self.runs.get_mut(run) {
            *taken = usd;
        }
    }

    /// Approves that the dataset costs `usd` in all; less than before changes nothing.
    pub fn approve(&mut self, usd: f64) {
        self.approved_usd = Some(self.approved_usd.unwrap_or_default().max(usd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_that_begin_together_cannot_both_take_what_is_left() {
        let mut budget = Budget::default();
        assert!(budget.take("a", 60.0, 100.0));
        assert!(!budget.take("b", 60.0, 100.0));
        budget.settle("a", 40.0);
        assert!(budget.take("b", 60.0, 100.0));
        assert_eq!(budget.taken(), 100.0);
    }

    #[test]
    fn what_is_approved_is_for_the_whole_dataset() {
        let mut budget = Budget::default();
        assert!(!budget.take("a", 160.0, 100.0));
        budget.approve(200.0);
        assert!(budget.take("a", 160.0, 100.0));
        assert!(!budget.take("b", 60.0, 100.0));
        budget.approve(50.0);
        assert_eq!(budget.allowed(100.0), 200.0);
    }

    #[test]
    fn a_run_keeps_what_it_has_when_the_cap_is_lowered() {
        let mut budget = Budget::default();
        assert!(budget.take("a", 60.0, 100.0));
        assert!(budget.take("a", 60.0, 10.0));
        assert!(!budget.take("a", 61.0, 10.0));
    }

    proptest! {
        #[test]
        fn never_is_more_taken_than_allowed(
            steps in prop::collection::vec((0_u8..6, 0.0_f64..80.0, any::<bool>()), 0..60),
        ) {
            let mut budget = Budget::default();
            for (run, usd, ends) in steps {
                let name = run.to_string();
                match ends {
                    // A run spends what it took at most.
                    true => {
                        let taken = budget.runs.get(&name).copied().unwrap_or_default();
                        budget.settle(&name, usd.min(taken));
                    }
                    false => drop(budget.take(&name, usd, 100.0)),
                }
                prop_assert!(budget.taken() <= 100.0 + 1e-9);
            }
        }
    }
}
