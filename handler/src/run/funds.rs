//! What one execution of a chunk may spend of its dataset's budget, and of what all datasets may cost in
//! the month.

use super::RunError;
use super::budget::{Budget, NotReserved, Woken};
use super::month::{Account, Month};
use super::runs::Runs;
use crate::money::Usd;
use crate::teacher::purse::{Pot, Refused, Reserve, Wish};
use futures::future::BoxFuture;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// How much may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// What a dataset may cost without an approval.
    pub dataset: Usd,
    /// What all datasets may cost in a month.
    pub month: MonthlyCap,
}

/// What all datasets of an app may cost in a calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonthlyCap {
    /// Nobody keeps account of it.
    NotKept,
    /// Anything; what they cost is counted all the same.
    Unlimited,
    /// So much.
    Limited(Usd),
}

impl MonthlyCap {
    /// The cap, if there is one.
    pub fn usd(self) -> Option<Usd> {
        match self {
            Self::Limited(usd) => Some(usd),
            Self::NotKept | Self::Unlimited => None,
        }
    }
}

/// The funds of one execution of a chunk.
#[derive(Debug)]
pub struct ChunkFunds {
    runs: Runs,
    dataset: String,
    run: String,
    chunk: u64,
    /// Identifies this execution.
    holder: String,
    caps: Caps,
    state: Mutex<State>,
    /// Why it could last reserve nothing, where that was no want of money.
    failure: Mutex<Option<RunError>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    has_reserved: bool,
    /// It may have, as the budget's answer was lost.
    may_have_reserved: bool,
    /// What was last wanted in vain of the dataset's budget, beyond what was spent.
    wanted: Usd,
    /// The month in which it last claimed something.
    month: Option<Month>,
}

impl ChunkFunds {
    /// The funds of an execution of a chunk of `run` over `dataset`, within `caps`.
    pub fn new(runs: Runs, dataset: String, run: String, chunk: u64, caps: Caps) -> Self {
        Self {
            runs,
            dataset,
            run,
            chunk,
            holder: Uuid::new_v4().to_string(),
            caps,
            state: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// The error behind [`Refused::Unreachable`].
    pub fn take_failure(&self) -> Option<RunError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    fn unreachable(&self, error: RunError) -> Refused {
        let refused = Refused::Unreachable(error.to_string());
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The execution ends before the chunk, which has cost `spent`, is finished. `refused` is the highest
    /// cost of a call that the dataset's budget could not pay, if that is why.
    ///
    /// # Errors
    /// If a budget cannot be changed; then what was reserved stays so until the chunk is taken again.
    pub async fn rest(&self, spent: Usd, refused: Option<Usd>) -> Result<Woken, RunError> {
        let state = *self.state();
        if let Some(month) = state.month {
            let whose = (self.run.as_str(), self.chunk);
            let rest = |account: &mut Account| account.rest(whose, &self.holder, spent);
            self.runs.change_account(month, rest).await?;
        }
        if !state.may_have_reserved && refused.is_none() {
            return Ok(Woken::default());
        }
        let refused = refused.map(|next| (next, state.wanted));
        let whose = (self.run.as_str(), self.chunk);
        let (holder, cap) = (
            (self.holder.as_str(), !state.has_reserved),
            self.caps.dataset,
        );
        let rest = |budget: &mut Budget| budget.rest(whose, holder, spent, refused, cap);
        self.runs.change_budget(&self.dataset, rest).await
    }
}

impl ChunkFunds {
    /// Claims money of the month, after money of the dataset was reserved.
    async fn claim(&self, wish: Wish) -> Result<Result<Usd, Pot>, RunError> {
        if self.caps.month == MonthlyCap::NotKept {
            return Ok(Ok(wish.wanted));
        }
        let month = Month::of(self.runs.clock().now());
        // Also where the answer gets lost.
        self.state().month = Some(month);
        let claim = |account: &mut Account| {
            let (whose, cap) = ((self.run.as_str(), self.chunk), self.caps.month.usd());
            let amounts = (wish.least, wish.wanted);
            account.claim(whose, &self.holder, wish.sent, amounts, cap)
        };
        let claimed = self.runs.change_account(month, claim).await?;
        Ok(claimed.ok_or(Pot::Month))
    }
}

impl Reserve for ChunkFunds {
    fn reserve(&self, wish: Wish) -> BoxFuture<'_, Result<Result<Usd, Pot>, Refused>> {
        Box::pin(async move {
            let Wish { least, wanted, .. } = wish;
            let is_first = !self.state().has_reserved;
            self.state().may_have_reserved = true;
            let reserve = |budget: &mut Budget| {
                let whose = (self.run.as_str(), self.chunk);
                let holder = (self.holder.as_str(), is_first);
                budget.reserve(whose, holder, (least, wanted), self.caps.dataset)
            };
            let reserved = self.runs.change_budget(&self.dataset, reserve).await;
            match reserved.map_err(|error| self.unreachable(error))? {
                Ok(reserved) => {
                    self.state().has_reserved = true;
                    let claimed = self.claim(wish).await;
                    let claimed = claimed.map_err(|error| self.unreachable(error))?;
                    Ok(claimed.map(|claimed| reserved.min(claimed)))
                }
                Err(NotReserved::Empty) => {
                    self.state().wanted = wanted.saturating_sub(least);
                    Ok(Err(Pot::Dataset))
                }
                Err(NotReserved::Overtaken) => Err(Refused::Closed),
            }
        })
    }

    fn is_over(&self) -> bool {
        let claimed = self.state().month;
        claimed.is_some_and(|month| month != Month::of(self.runs.clock().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataset::figures::Tokens;
    use crate::run::budget::BUDGET;
    use crate::store::OwnFolder;
    use crate::teacher::bill::Bill;
    use crate::teacher::model::Price;
    use crate::teacher::purse::Purse;
    use crate::teacher::tariff::Tariff;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::sync::Arc;

    /// A dollar a token.
    const DOLLAR: Usd = Usd::from_nanos(1_000_000_000_000_000);
    const PRICE: Price = Price {
        input: DOLLAR,
        cached: DOLLAR,
        output: DOLLAR,
    };

    fn usd(dollars: u64) -> Usd {
        Usd::from_nanos(dollars * 1_000_000_000)
    }

    /// Sends calls, two at a time, until there is no money for one. Gives back what is left.
    async fn spend(funds: Arc<ChunkFunds>, spent: Usd, seed: u64) -> (Usd, Woken) {
        let tariff = Arc::new(Tariff::new(Some(PRICE), "m", "d", None));
        let reserve = Arc::clone(&funds) as Arc<dyn Reserve>;
        let purse = Purse::limited(tariff, reserve, spent, usd(600));
        let call = |seed: u64| {
            let (purse, mut rng) = (&purse, StdRng::seed_from_u64(seed));
            async move {
                loop {
                    let (prompt, answer) = (rng.random_range(1..8), rng.random_range(1..4));
                    let Ok(hold) = purse.hold(prompt, answer).await else {
                        return;
                    };
                    tokio::task::yield_now().await;
                    let tokens = Tokens {
                        calls: 1,
                        prompt,
                        completion: rng.random_range(0..=answer),
                        ..Tokens::default()
                    };
                    let bill = match rng.random_bool(0.05) {
                        true => Bill::Unread,
                        false => Bill::Usage(tokens),
                    };
                    hold.settle(&bill, None);
                }
            }
        };
        let record = async {
            loop {
                purse.wanting().await;
                if let (_, Some(credit)) = purse.due() {
                    purse.written(credit);
                }
            }
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(call(seed), call(seed + 100)) } => {}
            () = record => {}
        }
        let next = match purse.refused() {
            Some(Refused::Empty { next, .. }) => Some(next),
            _ => None,
        };
        (
            purse.spent(),
            funds.rest(purse.spent(), next).await.unwrap(),
        )
    }

    #[tokio::test]
    async fn chunks_over_one_budget_spend_all_of_it_and_no_more() {
        let home = tempfile::tempdir().unwrap();
        let work = OwnFolder::local_alone(home.path().join("work")).unwrap();
        let runs = Runs::new(work, Clock::system());
        let cap = usd(2000);
        let funds = |run: &str, chunk| {
            let (runs, run) = (runs.clone(), run.to_owned());
            let caps = Caps {
                dataset: cap,
                month: MonthlyCap::NotKept,
            };
            Arc::new(ChunkFunds::new(runs, "v4".into(), run, chunk, caps))
        };
        let mut queue = vec![
            ("a".to_owned(), 0),
            ("a".into(), 1),
            ("a".into(), 2),
            ("b".into(), 0),
        ];
        let mut spent = std::collections::BTreeMap::new();
        let mut exhausted = Vec::new();
        let mut rounds = 0;
        while !queue.is_empty() {
            rounds += 1;
            assert!(rounds < 100, "chunks are sent again without end");
            let chunks = std::mem::take(&mut queue);
            let spending = chunks.iter().map(|whose| {
                let before = spent.get(whose).copied().unwrap_or_default();
                tokio::spawn(spend(funds(&whose.0, whose.1), before, whose.1 + rounds))
            });
            let spending = spending.collect::<Vec<_>>();
            for (whose, ended) in chunks.into_iter().zip(spending) {
                let (cost, woken) = ended.await.unwrap();
                spent.insert(whose, cost);
                queue.extend(woken.again);
                exhausted.extend(woken.exhausted);
            }
        }
        let all = spent.values().copied().sum::<Usd>();
        assert!(all <= cap && all > usd(1989), "{all}");
        // No call fits for which there was no money.
        assert!(!exhausted.is_empty());
        assert!(
            exhausted.iter().all(|(_, next)| all + *next > cap),
            "{exhausted:?}"
        );
        let budget = runs.pinned::<Budget>("v4", BUDGET).await.unwrap().unwrap();
        assert_eq!(budget.taken(), all);
    }
}
