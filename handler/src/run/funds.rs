//! What one execution of a chunk may spend of its dataset's budget.

use super::RunError;
use super::budget::{Budget, NotReserved, Woken};
use super::runs::Runs;
use crate::money::Usd;
use crate::teacher::purse::{Refused, Reserve};
use futures::future::BoxFuture;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The funds of one execution of a chunk.
#[derive(Debug)]
pub struct ChunkFunds {
    runs: Runs,
    dataset: String,
    run: String,
    chunk: u64,
    /// Tells this execution from all others.
    holder: String,
    cap: Usd,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    has_reserved: bool,
    /// It may have, as the budget's answer was lost.
    may_have_reserved: bool,
    /// What was last wanted in vain, beyond what was spent.
    wanted: Usd,
}

impl ChunkFunds {
    /// The funds of an execution of a chunk of `run` over `dataset`, which may cost `cap` where nobody
    /// approved more.
    pub fn new(runs: Runs, dataset: String, run: String, chunk: u64, cap: Usd) -> Self {
        Self {
            runs,
            dataset,
            run,
            chunk,
            holder: Uuid::new_v4().to_string(),
            cap,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The execution ends before the chunk is finished, which has cost `spent`; `refused` says what a call
    /// may cost that there was no money for, if that is why.
    ///
    /// # Errors
    /// If the budget cannot be changed; then what was reserved stays so until the chunk is taken again.
    pub async fn rest(&self, spent: Usd, refused: Option<Usd>) -> Result<Woken, RunError> {
        let state = *self.state();
        if !state.may_have_reserved && refused.is_none() {
            return Ok(Woken::default());
        }
        let refused = refused.map(|next| (next, state.wanted));
        let (whose, holder, cap) = ((self.run.as_str(), self.chunk), &self.holder, self.cap);
        let rest = |budget: &mut Budget| budget.rest(whose, holder, spent, refused, cap);
        self.runs.change_budget(&self.dataset, rest).await
    }
}

impl Reserve for ChunkFunds {
    fn reserve(&self, least: Usd, wanted: Usd) -> BoxFuture<'_, Result<Usd, Refused>> {
        Box::pin(async move {
            let is_first = !self.state().has_reserved;
            self.state().may_have_reserved = true;
            let reserve = |budget: &mut Budget| {
                let whose = (self.run.as_str(), self.chunk);
                let holder = (self.holder.as_str(), is_first);
                budget.reserve(whose, holder, (least, wanted), self.cap)
            };
            let reserved = self.runs.change_budget(&self.dataset, reserve).await;
            match reserved.map_err(|error| Refused::Unreachable(error.to_string()))? {
                Ok(reserved) => {
                    self.state().has_reserved = true;
                    Ok(reserved)
                }
                Err(NotReserved::Empty) => {
                    self.state().wanted = wanted.saturating_sub(least);
                    Err(Refused::Empty {
                        spent: Usd::ZERO,
                        next: Usd::ZERO,
                    })
                }
                Err(NotReserved::Overtaken) => Err(Refused::Closed),
            }
        })
    }
}
