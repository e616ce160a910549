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
