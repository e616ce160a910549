//! What the purse of one process draws from for one run: the run's share of its dataset's budget.

use super::RunError;
use super::budget::{BUDGET, Budget};
use super::runs::Runs;
use crate::teacher::purse::Source;
use futures::future::BoxFuture;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// The share of one run, for one purse.
#[derive(Debug)]
pub struct RunFunds {
    runs: Runs,
    dataset: String,
    run: String,
    cap: f64,
    /// Tells this purse from all others.
    purse: String,
    /// What it drew and did not give back: what the budget says of it may lag behind.
    drawn: Mutex<f64>,
}

impl RunFunds {
    /// The share of `run` in the budget of `dataset`, which may cost `cap` US dollars where nobody
    /// approved more.
    pub fn new(runs: Runs, dataset: String, run: String, cap: f64) -> Self {
        let purse = Uuid::new_v4().to_string();
        Self {
            runs,
            dataset,
            run,
            cap,
            purse,
            drawn: Mutex::default(),
        }
    }

    fn drawn(&self) -> f64 {
        *self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, usd: f64) {
        *self.drawn.lock().unwrap_or_else(PoisonError::into_inner) += usd;
    }

    async fn change(
        &self,
        change: impl FnMut(&mut Budget) -> bool + Send,
    ) -> Result<Budget, RunError> {
        self.runs.repin_by(&self.dataset, BUDGET, change).await
    }
}

impl Source for RunFunds {
    fn draw(&self, wanted: f64, least: f64) -> BoxFuture<'_, Result<f64, String>> {
        Box::pin(async move {
            let (run, purse, had) = (&self.run, &self.purse, self.drawn());
            let mut drawn = 0.0;
            let changed = self.change(|budget| {
                budget.has_drawn(run, purse, had);
                drawn = budget.draw(run, purse, wanted, least, self.cap);
                drawn > 0.0
            });
            if let Err(error) = changed.await {
                return Err(error.to_string());
            }
            self.add(drawn);
            Ok(drawn)
        })
    }

    fn give_back(&self, left: f64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.add(-left);
            let (run, purse, drawn) = (&self.run, &self.purse, self.drawn());
            let changed = self.change(|budget| {
                budget.has_drawn(run, purse, drawn);
                true
            });
            if let Err(error) = changed.await {
                tracing::warn!(
                    run,
                    %error,
                    left_usd = left,
                    "money that was not spent counts as spent until the run ends"
                );
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataset::figures::Tokens;
    use crate::store::OwnFolder;
    use crate::teacher::model::Price;
    use crate::teacher::purse::Purse;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::sync::Arc;

    /// A dollar a token.
    const PRICE: Price = Price {
        input: 1e6,
        cached: 1e6,
        output: 1e6,
    };

    const CAP: f64 = 2000.0;

    fn bill(prompt: u64, completion: u64) -> Tokens {
        Tokens {
            prompt,
            completion,
            ..Tokens::default()
        }
    }

    #[tokio::test]
    async fn purses_over_one_budget_spend_all_of_it_and_no_more() {
        let home = tempfile::tempdir().unwrap();
        let raw = home.path().join("raw");
        let work = OwnFolder::local(home.path().join("work"), &raw).unwrap();
        let runs = Runs::new(work, Clock::system());
        let purse = |run: &str| {
            let funds = RunFunds::new(runs.clone(), "v4".into(), run.into(), CAP);
            Arc::new(Purse::drawing_from(PRICE, Arc::new(funds)))
        };
        let purses = ["a", "a", "a", "b"].map(purse);
        // Two calls at a time in each, until there is no money for one.
        let callers = purses.iter().chain(&purses).enumerate();
        let callers = callers.map(|(seed, purse)| {
            let (purse, mut rng) = (Arc::clone(purse), StdRng::seed_from_u64(seed as u64));
            tokio::spawn(async move {
                loop {
                    let (prompt, answer) = (rng.random_range(1..8), rng.random_range(1..4));
                    let Ok(hold) = purse.hold(prompt, answer).await else {
                        return;
                    };
                    tokio::task::yield_now().await;
                    match rng.random_bool(0.05) {
                        // Nobody knows whether it was billed.
                        true => drop(hold),
                        false => hold.settle(bill(prompt, rng.random_range(0..=answer))),
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let spent = || purses.iter().map(|purse| purse.spent()).sum::<f64>();
        assert!(spent() <= CAP, "{}", spent());
        let before = spent();
        for purse in &purses {
            purse.give_back().await;
        }
        let budget = runs.pinned::<Budget>("v4", BUDGET).await.unwrap().unwrap();
        let drawn = budget.runs.values().map(|share| share.drawn()).sum::<f64>();
        assert!((drawn - before).abs() < 1e-6, "{drawn} {before}");
        // What others had left is there for whoever comes now, once the other run is at its end.
        let ends = |budget: &mut Budget| {
            budget.settle_drawn("b");
            true
        };
        runs.repin_by("v4", BUDGET, ends).await.unwrap();
        let last = purse("a");
        while let Ok(hold) = last.hold(1, 0).await {
            hold.settle(bill(1, 0));
        }
        let all = before + last.spent();
        assert!(all <= CAP && all > CAP - 1.0, "{all}");
    }
}
