//! What calls may cost: asked before each of them, so that a cap is not passed.
//!
//! A call is let through if it fits into the funds at its **estimate**, the prompt and the longest
//! answer at full price, on top of what was spent and what the calls in flight may cost. When it is
//! answered, the estimate gives way to the bill. A call whose answer is lost counts as billed. Where
//! the service counts more tokens in prompts than we do, later estimates are that much higher.
//!
//! # Several processes
//!
//! A cap that several processes share is [drawn](SharedFunds) in small portions, enough for a minute
//! each, from a record that is changed by compare-and-swap. What is drawn is off the cap, whoever drew
//! it: **together they never spend more than the cap**, but for what bills are above their estimates:
//! the tokens that the service counts and we do not, in the prompts of calls that are in flight when the
//! first bill shows it.
//! What a process has left when it ends it gives back; what one that is killed had left counts as
//! spent, a minute of spending at most. Draws cost a process one read and one swap a minute.

use super::model::Price;
use super::record::{SharedRecord, update};
use crate::dataset::figures::Tokens;
use futures::future::BoxFuture;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Sums that differ by less are equal, in US dollars: sums of fractions are not exact.
const ROUNDING: f64 = 1e-9;

/// What is drawn at once is to last for so long.
const PORTION: Duration = Duration::from_secs(60);

/// At least so many calls are drawn at once, where that is there.
const CALLS_AT_ONCE: f64 = 16.0;

/// No more than this part of what is left is drawn at once, so that nobody sits on the last of it.
const PART_OF_THE_REST: f64 = 0.25;

/// Money for calls.
pub struct Purse {
    price: Price,
    state: Mutex<State>,
    source: Option<Arc<dyn Source>>,
    /// Held by the one who draws.
    drawing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// What may be spent in all, in US dollars.
    funds: f64,
    spent: f64,
    /// What calls in flight may cost.
    held: f64,
    /// Prompt tokens that are billed for one of ours, at most, as far as was seen.
    counted: f64,
    drawn: Instant,
    spent_when_drawn: f64,
}

/// Why a call is not let through.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// It might pass the cap. `spent` is what this purse paid so far, in US dollars.
    Empty {
        /// US dollars.
        spent: f64,
    },
    /// It cannot be told what is left.
    Unreachable(String),
}

/// Where a purse draws from when its funds do not suffice.
pub trait Source: Send + Sync {
    /// Draws about `wanted` US dollars and no less than `least`, or nothing.
    ///
    /// # Errors
    /// Why it cannot be told what is left.
    fn draw(&self, wanted: f64, least: f64) -> BoxFuture<'_, Result<f64, String>>;

    /// Gives back what was drawn and not spent.
    fn give_back(&self, left: f64) -> BoxFuture<'_, ()>;
}

/// What one call in flight may cost.
#[derive(Debug)]
pub struct Hold<'a> {
    purse: &'a Purse,
    prompt: u64,
    estimate: f64,
    settled: bool,
}

impl Purse {
    /// A purse for calls at `price` that may spend `cap` US dollars in all, of which `spent` were.
    pub fn new(price: Price, cap: f64, spent: f64) -> Self {
        Self::with(price, cap, spent, None)
    }

    /// An empty purse that draws what it needs.
    pub fn drawing_from(price: Price, source: Arc<dyn Source>) -> Self {
        Self::with(price, 0.0, 0.0, Some(source))
    }

    fn with(price: Price, funds: f64, spent: f64, source: Option<Arc<dyn Source>>) -> Self {
        Self {
            price,
            state: Mutex::new(State {
                funds,
                spent,
                held: 0.0,
                counted: 1.0,
                drawn: Instant::now(),
                spent_when_drawn: spent,
            }),
            source,
            drawing: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets aside what a call may cost that sends `prompt` tokens and allows an answer of `answer`.
    ///
    /// # Errors
    /// Why the call must not be sent.
    pub async fn hold(&self, prompt: u64, answer: u64) -> Result<Hold<'_>, Refused> {
        let estimate = self.price.of(Tokens {
            prompt: (prompt as f64 * self.state().counted).ceil() as u64,
            completion: answer,
            ..Tokens::default()
        });
        if let Some(hold) = self.try_hold(prompt, estimate) {
            return Ok(hold);
        }
        let Some(source) = &self.source else {
            return Err(self.empty());
        };
        // Whoever waited here finds what another drew.
        let _drawing = self.drawing.lock().await;
        if let Some(hold) = self.try_hold(prompt, estimate) {
            return Ok(hold);
        }
        let least = self.missing(estimate);
        let wanted = self.portion(estimate).max(least);
        let drawn = source.draw(wanted, least).await;
        let drawn = drawn.map_err(Refused::Unreachable)?;
        {
            let mut state = self.state();
            state.funds += drawn;
            (state.drawn, state.spent_when_drawn) = (Instant::now(), state.spent);
        }
        self.try_hold(prompt, estimate).ok_or_else(|| self.empty())
    }

    fn try_hold(&self, prompt: u64, estimate: f64) -> Option<Hold<'_>> {
        let mut state = self.state();
        if state.spent + state.held + estimate > state.funds + ROUNDING {
            return None;
        }
        state.held += estimate;
        Some(Hold {
            purse: self,
            prompt,
            estimate,
            settled: false,
        })
    }

    /// What is missing for a call.
    fn missing(&self, estimate: f64) -> f64 {
        let state = self.state();
        (state.spent + state.held + estimate - state.funds).max(0.0)
    }

    /// What lasts for a while at the pace of late.
    fn portion(&self, estimate: f64) -> f64 {
        let state = self.state();
        let seconds = state.drawn.elapsed().as_secs_f64().max(1.0);
        let spent = state.spent + state.held - state.spent_when_drawn;
        let lasts = spent / seconds * PORTION.as_secs_f64();
        lasts.max(CALLS_AT_ONCE * estimate)
    }

    fn empty(&self) -> Refused {
        Refused::Empty {
            spent: self.spent(),
        }
    }

    /// What was spent so far, in US dollars.
    pub fn spent(&self) -> f64 {
        self.state().spent
    }

    /// Gives back what was drawn and not spent. Nothing may be in flight any more.
    pub async fn give_back(&self) {
        let Some(source) = &self.source else {
            return;
        };
        let left = {
            let mut state = self.state();
            let left = state.funds - state.spent - state.held;
            state.funds -= left.max(0.0);
            left
        };
        if left > 0.0 {
            source.give_back(left).await;
        }
    }
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse")
            .field("price", &self.price)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Hold<'_> {
    /// The call was answered, and this is its bill.
    pub fn settle(mut self, billed: Tokens) {
        let counted = billed.prompt as f64 / self.prompt.max(1) as f64;
        {
            let mut state = self.purse.state();
            state.counted = state.counted.max(counted);
        }
        self.spend(self.purse.price.of(billed));
    }

    fn spend(&mut self, usd: f64) {
        self.settled = true;
        let mut state = self.purse.state();
        state.held = (state.held - self.estimate).max(0.0);
        state.spent += usd;
    }
}

impl Drop for Hold<'_> {
    /// A call that came to no answer may have been billed.
    fn drop(&mut self) {
        if !self.settled {
            self.spend(self.estimate);
        }
    }
}

/// A cap in a record that several processes draw from.
pub struct SharedFunds<R> {
    record: R,
    cap: f64,
    rng: Mutex<StdRng>,
}

/// The record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// US dollars that were drawn and not given back, whatever became of them.
    pub drawn_usd: f64,
}

impl Drawn {
    /// The record in `bytes`; nothing was drawn where there is none.
    ///
    /// # Errors
    /// If it cannot be read: then nothing more may be spent.
    pub fn read(bytes: Option<&[u8]>) -> Result<Self, serde_json::Error> {
        bytes.map_or(Ok(Self::default()), serde_json::from_slice)
    }

    fn bytes(self) -> Vec<u8> {
        serde_json::to_vec(&self).unwrap_or_default()
    }

    /// Draws about `wanted` from `cap`, no less than `least`, or nothing.
    fn draw(&mut self, cap: f64, wanted: f64, least: f64) -> f64 {
        let left = cap - self.drawn_usd;
        if left + ROUNDING < least {
            return 0.0;
        }
        let drawn = wanted.min(PART_OF_THE_REST * left).max(least);
        self.drawn_usd += drawn;
        drawn
    }
}

impl<R: SharedRecord> SharedFunds<R> {
    /// Up to `cap` US dollars, of which `record` says what was drawn.
    pub fn new(record: R, cap: f64, rng: StdRng) -> Self {
        Self {
            record,
            cap,
            rng: Mutex::new(rng),
        }
    }

    async fn change(
        &self,
        mut change: impl FnMut(&mut Drawn) -> f64 + Send,
    ) -> Result<f64, String> {
        let draw = || {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            rng.random()
        };
        let changed = update(&self.record, draw, |bytes| match Drawn::read(bytes) {
            Ok(mut drawn) => {
                let amount = change(&mut drawn);
                (drawn.bytes(), Ok(amount))
            }
            Err(error) => (bytes.unwrap_or_default().to_vec(), Err(error.to_string())),
        });
        changed.await.map_err(|error| error.to_string())?
    }
}

impl<R: SharedRecord> Source for SharedFunds<R> {
    fn draw(&self, wanted: f64, least: f64) -> BoxFuture<'_, Result<f64, String>> {
        Box::pin(self.change(move |drawn| drawn.draw(self.cap, wanted, least)))
    }

    fn give_back(&self, left: f64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let back = self.change(|drawn| {
                drawn.drawn_usd = (drawn.drawn_usd - left).max(0.0);
                left
            });
            if let Err(error) = back.await {
                tracing::warn!(
                    error,
                    left_usd = left,
                    "money that was not spent counts as spent"
                );
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::InMemory;
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use std::collections::BTreeMap;

    /// A dollar a prompt token, two an answer's.
    const PRICE: Price = Price {
        input: 1e6,
        cached: 1e6,
        output: 2e6,
    };

    fn bill(prompt: u64, completion: u64) -> Tokens {
        Tokens {
            prompt,
            completion,
            ..Tokens::default()
        }
    }

    fn funds(record: &InMemory, cap: f64, seed: u64) -> Arc<dyn Source> {
        Arc::new(SharedFunds::new(
            record.clone(),
            cap,
            StdRng::seed_from_u64(seed),
        ))
    }

    fn drawn(record: &InMemory) -> f64 {
        Drawn::read(Some(&record.bytes())).unwrap().drawn_usd
    }

    #[tokio::test]
    async fn a_call_is_let_through_at_its_estimate_and_counted_at_its_bill() {
        let purse = Purse::new(PRICE, 100.0, 40.0);
        let first = purse.hold(20, 10).await.unwrap();
        // 40 spent, 40 in flight, and 22 more would be too much.
        let refused = purse.hold(20, 1).await.unwrap_err();
        assert_eq!(refused, Refused::Empty { spent: 40.0 });
        first.settle(bill(20, 3));
        assert_eq!(purse.spent(), 66.0);
        purse.hold(15, 9).await.unwrap().settle(bill(15, 7));
        let refused = purse.hold(6, 0).await.unwrap_err();
        assert_eq!(refused, Refused::Empty { spent: 95.0 });
        purse.hold(5, 0).await.unwrap().settle(bill(5, 0));
        assert_eq!(purse.spent(), 100.0);
    }

    #[tokio::test]
    async fn where_the_service_counts_more_tokens_than_we_do_estimates_are_higher() {
        let purse = Purse::new(PRICE, 100.0, 0.0);
        purse.hold(20, 0).await.unwrap().settle(bill(30, 0));
        assert!(purse.hold(48, 0).await.is_err());
        purse.hold(46, 0).await.unwrap().settle(bill(69, 0));
        assert_eq!(purse.spent(), 99.0);
    }

    #[tokio::test]
    async fn a_call_whose_answer_is_lost_counts_as_billed_and_one_that_was_refused_costs_nothing() {
        let purse = Purse::new(PRICE, 100.0, 0.0);
        drop(purse.hold(20, 10).await.unwrap());
        assert_eq!(purse.spent(), 40.0);
        purse.hold(20, 10).await.unwrap().settle(Tokens::default());
        assert_eq!(purse.spent(), 40.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_drawn_and_not_spent_is_given_back_and_a_higher_cap_goes_on() {
        let record = InMemory::taking(Duration::from_millis(10));
        let purse = Purse::drawing_from(PRICE, funds(&record, 1_000.0, 1));
        purse.hold(10, 0).await.unwrap().settle(bill(7, 0));
        // Sixteen calls at once, and what the next minute takes is drawn when it is needed.
        assert_eq!(drawn(&record), 160.0);
        purse.give_back().await;
        assert_eq!(drawn(&record), 7.0);
        let small = Purse::drawing_from(PRICE, funds(&record, 10.0, 2));
        assert_eq!(
            small.hold(4, 0).await.unwrap_err(),
            Refused::Empty { spent: 0.0 }
        );
        let raised = Purse::drawing_from(PRICE, funds(&record, 12.0, 3));
        raised.hold(4, 0).await.unwrap().settle(bill(4, 0));
        assert_eq!(drawn(&record), 11.0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_record_nothing_is_spent() {
        let record = InMemory::default();
        record.set_away(true);
        let purse = Purse::drawing_from(PRICE, funds(&record, 1_000.0, 1));
        let refused = purse.hold(10, 0).await.unwrap_err();
        assert_eq!(refused, Refused::Unreachable("out of reach".into()));
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let record = InMemory::default();
        assert!(record.create(b"{\"drawn".to_vec()).await.unwrap());
        let purse = Purse::drawing_from(PRICE, funds(&record, 1_000.0, 1));
        let refused = purse.hold(10, 0).await.unwrap_err();
        assert!(matches!(refused, Refused::Unreachable(_)));
        assert_eq!(record.bytes(), b"{\"drawn");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However many processes spend, and whichever of them are killed in the middle of a call, what
        /// was billed in all is never above the cap; and where nobody dies, what a few calls cost is
        /// all that is left of it.
        #[test]
        fn processes_together_never_pass_the_cap(
            cap in 100..3_000_u64,
            calls in prop::collection::vec((0..6_u64, 1..20_u64, 0..15_u64, 0..100_u32), 1..400),
            deaths in prop_oneof![Just(0_u32), Just(3_u32)],
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let record = InMemory::default();
                let purse = |seed| Purse::drawing_from(PRICE, funds(&record, cap as f64, seed));
                let mut processes = BTreeMap::new();
                let mut billed = 0;
                let mut refused = false;
                for (who, prompt, answer, chance) in calls {
                    let process = processes.entry(who).or_insert_with(|| purse(who));
                    let Ok(hold) = process.hold(prompt, answer).await else {
                        refused = true;
                        continue;
                    };
                    if chance < deaths {
                        // Killed while the call was in flight, which is billed all the same.
                        billed += prompt + 2 * answer;
                        std::mem::forget(hold);
                        processes.remove(&who);
                        continue;
                    }
                    // The answer is as long as it happens to be.
                    let answer = answer * u64::from(chance) / 100;
                    hold.settle(bill(prompt, answer));
                    billed += prompt + 2 * answer;
                    tokio::time::sleep(Duration::from_millis(u64::from(chance))).await;
                }
                prop_assert!(billed <= cap, "{billed} of {cap}");
                for process in processes.values() {
                    process.give_back().await;
                }
                if deaths == 0 {
                    prop_assert!((drawn(&record) - billed as f64).abs() < 1e-6);
                } else {
                    prop_assert!(drawn(&record) >= billed as f64 - 1e-6);
                    prop_assert!(drawn(&record) <= cap as f64 + 1e-6);
                }
                if refused && deaths == 0 {
                    // Six processes that draw a quarter of the rest leave less than this to one another.
                    prop_assert!(billed as f64 >= 0.5 * cap as f64 - 50.0, "{billed} of {cap}");
                }
                Ok(())
            })?;
        }
    }
}
