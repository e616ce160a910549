//! What a dataset may cost in the function app: a cap, what somebody approved beyond it, and what its
//! runs have taken of it.
//!
//! A run takes its estimate before its first chunk, by compare-and-swap, so that runs that begin at
//! the same time cannot both take what is left. Of what it has taken the purses of its processes
//! [draw](Budget::draw) small portions, and pay each call from them before they send it. Where that is
//! used up the run takes more, as far as the other runs leave it; where they do not, nothing more is
//! sent, and it waits until somebody approves what it will cost.
//!
//! What is drawn counts as spent, whatever became of it. A process gives back what it did not spend
//! when none of its chunks of a run has a call in flight; what one that was killed had drawn, a minute
//! of its calls or sixteen at most, stays off the cap until the run ends. Then the run gives back what
//! it did not cost.
//!
//! # How far the cap can be passed
//!
//! Estimates count the prompt and the longest answer at full price, and an answer that got lost as
//! billed. So all instances together, however many are started and killed, are billed no more than the
//! cap, and beyond it at most:
//!
//! * where the service counts more tokens in prompts than we do, the tokens by which it does so in the
//!   calls that are in flight when the first bill shows it: for each process and run one call a slot
//!   (`SOFTLABEL_CONCURRENCY`). From then on estimates are that much higher;
//! * the calls that settle the request parameters, a few for a dataset and deployment;
//! * of runs that have ended, what their parts do not show: calls that were in flight in killed processes,
//!   or were answered within a second before; answers that got lost on their way; probes in an outage. Until
//!   a run ends they count as billed.
//!
//! Nothing bounds a run whose price is not known, once somebody approved that.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Under which name a dataset's budget is pinned.
pub const BUDGET: &str = "budget";

/// Sums that differ by less are equal, in US dollars: sums of fractions are not exact.
const ROUNDING: f64 = 1e-9;

/// No more than this part of what a run has left is drawn at once, so that no process sits on the last
/// of it.
const PART_OF_THE_REST: f64 = 0.25;

/// The budget of a dataset, in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// What somebody approved, if more than the cap.
    pub approved_usd: Option<f64>,
    /// The share of each run.
    pub runs: BTreeMap<String, Share>,
    /// Runs that may go on though no price is known.
    #[serde(default)]
    pub unpriced: BTreeSet<String>,
}

/// What is one run's, in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its estimate while it goes on, or more where that did not suffice; its cost when it has ended.
    pub taken_usd: f64,
    /// What each of its purses drew of that and did not give back.
    pub drawn_usd: BTreeMap<String, f64>,
    /// It has ended, and nothing is drawn any more.
    pub settled: bool,
}

impl Share {
    /// What its purses drew and did not give back.
    pub fn drawn(&self) -> f64 {
        self.drawn_usd.values().sum()
    }
}

impl Budget {
    /// What may be spent, with a cap of `cap`.
    pub fn allowed(&self, cap: f64) -> f64 {
        self.approved_usd.unwrap_or_default().max(cap)
    }

    /// What is taken, by all runs.
    pub fn taken(&self) -> f64 {
        self.runs.values().map(|share| share.taken_usd).sum()
    }

    /// What is taken by other runs than `run`.
    pub fn taken_by_others(&self, run: &str) -> f64 {
        let others = self.runs.iter().filter(|(name, _)| *name != run);
        // Not a sum: that of nothing is -0, as people would read.
        others.fold(0.0, |sum, (_, share)| sum + share.taken_usd)
    }

    /// What a run may have taken at most, for what the others leave it.
    fn room(&self, run: &str, cap: f64) -> f64 {
        self.allowed(cap) - self.taken_by_others(run)
    }

    /// Takes `usd` in all for `run`, at least what it had; says whether there is so much. Without it
    /// nothing changes.
    pub fn take(&mut self, run: &str, usd: f64, cap: f64) -> bool {
        let room = self.room(run, cap);
        let had = self.runs.get(run);
        if had.is_some_and(|share| share.settled) {
            return false;
        }
        // What it has is not taken away again when the cap is lowered.
        if had.is_none_or(|share| share.taken_usd < usd) && usd > room {
            return false;
        }
        let share = self.runs.entry(run.to_owned()).or_default();
        share.taken_usd = share.taken_usd.max(usd);
        true
    }

    /// Draws for a purse of `run` about `wanted` and no less than `least`, or nothing. Where the run has
    /// not taken so much it takes more first, if there is so much.
    pub fn draw(&mut self, run: &str, purse: &str, wanted: f64, least: f64, cap: f64) -> f64 {
        let room = self.room(run, cap);
        let share = self.runs.entry(run.to_owned()).or_default();
        let drawn = share.drawn();
        let mut taken = share.taken_usd;
        if taken - drawn + ROUNDING < least {
            taken = taken.max(room.min(drawn + wanted));
        }
        let left = taken - drawn;
        if share.settled || left + ROUNDING < least {
            return 0.0;
        }
        let portion = wanted.min(PART_OF_THE_REST * left).max(least);
        share.taken_usd = taken;
        *share.drawn_usd.entry(purse.to_owned()).or_default() += portion;
        portion
    }

    /// A purse of `run` has `usd` in all that it drew and did not give back: more than is written here
    /// where it was billed more than it held, less where it gives something back. Said twice it is the
    /// same, so that an answer of the store that gets lost does no harm.
    pub fn has_drawn(&mut self, run: &str, purse: &str, usd: f64) {
        let share = self.runs.entry(run.to_owned()).or_default();
        if !share.settled {
            share.drawn_usd.insert(purse.to_owned(), usd);
            share.taken_usd = share.taken_usd.max(share.drawn());
        }
    }

    /// A run has ended, and has cost `usd`.
    pub fn settle(&mut self, run: &str, usd: f64) {
        let share = Share {
            taken_usd: usd,
            drawn_usd: BTreeMap::new(),
            settled: true,
        };
        self.runs.insert(run.to_owned(), share);
    }

    /// A run has ended whose price is not known any more: it has cost what its purses have drawn.
    pub fn settle_drawn(&mut self, run: &str) {
        if let Some(share) = self.runs.get(run).filter(|share| !share.settled) {
            let drawn = share.drawn();
            self.settle(run, drawn);
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
    use crate::dataset::figures::Tokens;
    use crate::teacher::model::Price;
    use crate::teacher::purse::{Purse, Source};
    use futures::future::BoxFuture;
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

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
        assert_eq!(budget.draw("a", "p", 10.0, 1.0, 10.0), 10.0);
        assert_eq!(budget.draw("a", "p", 50.0, 50.0, 10.0), 50.0);
        assert_eq!(budget.draw("a", "p", 1.0, 1.0, 10.0), 0.0);
    }

    #[test]
    fn a_run_whose_estimate_does_not_suffice_takes_more_while_others_leave_it() {
        let mut budget = Budget::default();
        assert!(budget.take("a", 40.0, 100.0) && budget.take("b", 30.0, 100.0));
        assert_eq!(budget.draw("a", "p", 40.0, 40.0, 100.0), 40.0);
        // A quarter of what it takes.
        assert_eq!(budget.draw("a", "q", 20.0, 1.0, 100.0), 5.0);
        assert_eq!(budget.runs["a"].taken_usd, 60.0);
        assert_eq!(budget.draw("a", "q", 16.0, 16.0, 100.0), 16.0);
        assert_eq!(budget.draw("a", "q", 99.0, 10.0, 100.0), 0.0);
        assert_eq!(budget.runs["a"].taken_usd, 61.0);
        assert_eq!(budget.draw("a", "q", 99.0, 9.0, 100.0), 9.0);
        assert_eq!(budget.taken(), 100.0);
    }

    #[test]
    fn a_run_that_ends_without_a_price_has_cost_what_was_drawn_for_it() {
        let mut budget = Budget::default();
        assert!(budget.take("a", 60.0, 100.0));
        assert_eq!(budget.draw("a", "p", 10.0, 1.0, 100.0), 10.0);
        budget.settle_drawn("a");
        assert_eq!(budget.taken(), 10.0);
        // Said twice, or of a run that never had a price, it changes nothing.
        budget.settle_drawn("a");
        budget.settle_drawn("b");
        assert_eq!((budget.taken(), budget.runs.len()), (10.0, 1));
    }

    #[test]
    fn nothing_moves_once_a_run_is_settled() {
        let mut budget = Budget::default();
        assert!(budget.take("a", 60.0, 100.0));
        assert_eq!(budget.draw("a", "p", 10.0, 1.0, 100.0), 10.0);
        budget.settle("a", 7.0);
        let settled = budget.clone();
        budget.has_drawn("a", "p", 3.0);
        assert!(!budget.take("a", 60.0, 100.0));
        assert_eq!(budget.draw("a", "p", 10.0, 1.0, 100.0), 0.0);
        assert_eq!(budget, settled);
    }

    /// One process of a run, over a budget that all have before them. Every third word of its to or
    /// from the budget gets lost.
    #[derive(Debug)]
    struct Drawer {
        budget: Arc<Mutex<Budget>>,
        run: String,
        purse: String,
        drawn: Mutex<f64>,
        words: Mutex<u32>,
    }

    /// A dollar a prompt token, two an answer's.
    const PRICE: Price = Price {
        input: 1e6,
        cached: 1e6,
        output: 2e6,
    };

    const CAP: f64 = 1_000.0;

    impl Drawer {
        fn is_lost(&self) -> bool {
            let mut words = self.words.lock().unwrap();
            *words += 1;
            words.is_multiple_of(3)
        }
    }

    impl Source for Drawer {
        fn draw(&self, wanted: f64, least: f64) -> BoxFuture<'_, Result<f64, String>> {
            Box::pin(async move {
                let mut budget = self.budget.lock().unwrap();
                let mut had = self.drawn.lock().unwrap();
                budget.has_drawn(&self.run, &self.purse, *had);
                let drawn = budget.draw(&self.run, &self.purse, wanted, least, CAP);
                if self.is_lost() {
                    return Err("its answer is lost".into());
                }
                *had += drawn;
                Ok(drawn)
            })
        }

        fn give_back(&self, left: f64) -> BoxFuture<'_, ()> {
            Box::pin(async move {
                let mut had = self.drawn.lock().unwrap();
                *had -= left;
                if !self.is_lost() {
                    let mut budget = self.budget.lock().unwrap();
                    budget.has_drawn(&self.run, &self.purse, *had);
                }
            })
        }
    }

    /// What a process does.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        /// A call of so many tokens, whose answer has this part of its longest.
        Call(u64, u64, u64),
        /// It is killed in the middle of a call.
        Vanish(u64),
        GiveBack,
        /// Its run ends.
        End,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            12 => (1..20_u64, 0..15_u64, 0..=4_u64).prop_map(|(p, a, n)| Act::Call(p, a, n)),
            1 => (1..20_u64).prop_map(Act::Vanish),
            2 => Just(Act::GiveBack),
            1 => Just(Act::End),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

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
                        let taken = budget.runs.get(&name).map_or(0.0, |share| share.taken_usd);
                        budget.settle(&name, usd.min(taken));
                    }
                    false => drop(budget.take(&name, usd, 100.0)),
                }
                prop_assert!(budget.taken() <= 100.0 + 1e-9);
            }
        }

        /// Whatever processes do, whichever are killed, and whatever the store does not tell them, they
        /// are billed no more than the cap in all, and no run more than it has taken.
        #[test]
        fn the_processes_of_all_runs_together_never_pass_the_cap(
            estimates in prop::collection::vec(0.0_f64..500.0, 3),
            acts in prop::collection::vec((0..3_usize, 0..3_u64, act()), 1..400),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let budget = Arc::new(Mutex::new(Budget::default()));
                let mut billed = [0_u64; 3];
                let mut open = [0, 1, 2].map(|run: usize| {
                    budget.lock().unwrap().take(&run.to_string(), estimates[run], CAP)
                });
                let mut processes = BTreeMap::new();
                let mut made = 0_u32;
                for (run, who, act) in acts {
                    if !open[run] {
                        continue;
                    }
                    let purse = processes.entry((run, who)).or_insert_with(|| {
                        made += 1;
                        let drawer = Drawer {
                            budget: Arc::clone(&budget),
                            run: run.to_string(),
                            purse: made.to_string(),
                            drawn: Mutex::default(),
                            words: Mutex::new(made),
                        };
                        Purse::drawing_from(PRICE, Arc::new(drawer))
                    });
                    match act {
                        Act::Call(prompt, answer, quarters) => {
                            if let Ok(hold) = purse.hold(prompt, answer).await {
                                let completion = answer * quarters / 4;
                                billed[run] += prompt + 2 * completion;
                                hold.settle(Tokens { prompt, completion, ..Tokens::default() });
                            }
                        }
                        Act::Vanish(prompt) => {
                            if let Ok(hold) = purse.hold(prompt, 0).await {
                                billed[run] += prompt;
                                std::mem::forget(hold);
                            }
                            processes.remove(&(run, who));
                        }
                        Act::GiveBack => purse.give_back().await,
                        Act::End => {
                            open[run] = false;
                            processes.retain(|(of, _), _| *of != run);
                            budget.lock().unwrap().settle(&run.to_string(), billed[run] as f64);
                        }
                    }
                    tokio::time::sleep(takes(act)).await;
                    let budget = budget.lock().unwrap();
                    prop_assert!(billed.iter().sum::<u64>() as f64 <= CAP + 1e-6);
                    prop_assert!(budget.taken() <= CAP + 1e-6, "{budget:?}");
                    for (share, billed) in [0, 1, 2].map(|run| {
                        (budget.runs.get(&run.to_string()), billed[run] as f64)
                    }) {
                        let taken = share.map_or(0.0, |share| share.taken_usd);
                        prop_assert!(billed <= taken + 1e-6, "{billed} of {budget:?}");
                    }
                }
                Ok(())
            })?;
        }
    }

    /// Calls take a while, so that portions differ.
    fn takes(act: Act) -> Duration {
        match act {
            Act::Call(prompt, ..) | Act::Vanish(prompt) => Duration::from_millis(100 * prompt),
            Act::GiveBack | Act::End => Duration::ZERO,
        }
    }
}
