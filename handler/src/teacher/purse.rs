//! What calls may cost: asked before each of them, so that a cap is not passed.
//!
//! A call is let through if it fits into the funds at its **estimate**, the prompt and the longest
//! answer at full price, on top of what was spent and what the calls in flight may cost. When it is
//! answered, the estimate gives way to the bill. A call whose answer is lost counts as billed. Where
//! the service counts more tokens in prompts than we do, later estimates are that much higher.
//!
//! A purse has all its funds from the beginning, or draws small portions, enough for a minute each, from
//! a [`Source`] that several processes share; what it did not spend it gives back.

use super::model::Price;
use crate::dataset::figures::Tokens;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Sums that differ by less are equal, in US dollars: sums of fractions are not exact.
const ROUNDING: f64 = 1e-9;

/// What is drawn at once is to last for so long.
const PORTION: Duration = Duration::from_secs(60);

/// At least so many calls are drawn at once, where that is there.
const CALLS_AT_ONCE: f64 = 16.0;

/// Money for calls.
pub struct Purse {
    price: Price,
    state: Mutex<State>,
    source: Option<Arc<dyn Source>>,
    /// Held by the one who draws.
    drawing: tokio::sync::Mutex<()>,
    /// Told when a call's bill is known, for the one who draws.
    settled: Notify,
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
    /// It might pass the cap.
    Empty {
        /// What this purse paid so far, in US dollars.
        spent: f64,
        /// What the call may cost, in US dollars.
        next: f64,
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

    /// Gives back what was drawn and not spent; less than nothing where more was billed than drawn.
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
            settled: Notify::new(),
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
            loop {
                if let Some(hold) = self.try_hold(prompt, estimate) {
                    return Ok(hold);
                }
                if self.state().held <= ROUNDING {
                    return Err(self.empty(estimate));
                }
                // What is in flight is mostly billed less than it may cost.
                self.settled.notified().await;
            }
        };
        // Whoever waited here finds what another drew.
        let _drawing = self.drawing.lock().await;
        loop {
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
            if let Some(hold) = self.try_hold(prompt, estimate) {
                return Ok(hold);
            }
            if self.state().held <= ROUNDING {
                return Err(self.empty(estimate));
            }
            // What is in flight is mostly billed less than it may cost.
            self.settled.notified().await;
        }
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

    fn empty(&self, next: f64) -> Refused {
        Refused::Empty {
            spent: self.spent(),
            next,
        }
    }

    /// What was spent so far, in US dollars.
    pub fn spent(&self) -> f64 {
        self.state().spent
    }

    /// Gives back what was drawn and not spent, unless a call is in flight.
    pub async fn give_back(&self) {
        let Some(source) = &self.source else {
            return;
        };
        // What somebody counts on who draws is not taken from under his hands.
        let _drawing = self.drawing.lock().await;
        let left = {
            let mut state = self.state();
            if state.held > ROUNDING {
                return;
            }
            let left = state.funds - state.spent;
            state.funds = state.spent;
            left
        };
        if left != 0.0 {
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
        self.purse.settled.notify_one();
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

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A pot with so much in it, or why it is out of reach.
    #[derive(Debug)]
    struct Pot(Mutex<Result<f64, String>>);

    impl Pot {
        fn of(usd: f64) -> Arc<Self> {
            Arc::new(Self(Mutex::new(Ok(usd))))
        }

        fn left(&self) -> f64 {
            self.0.lock().unwrap().clone().unwrap()
        }
    }

    impl Source for Pot {
        fn draw(&self, wanted: f64, least: f64) -> BoxFuture<'_, Result<f64, String>> {
            Box::pin(async move {
                let mut there = self.0.lock().unwrap();
                let left = there.as_mut().map_err(|away| away.clone())?;
                let drawn = if *left < least {
                    0.0
                } else {
                    wanted.min(*left)
                };
                *left -= drawn;
                Ok(drawn)
            })
        }

        fn give_back(&self, back: f64) -> BoxFuture<'_, ()> {
            Box::pin(async move {
                if let Ok(left) = self.0.lock().unwrap().as_mut() {
                    *left += back;
                }
            })
        }
    }

    #[tokio::test]
    async fn a_call_is_let_through_at_its_estimate_and_counted_at_its_bill() {
        let purse = Purse::new(PRICE, 100.0, 40.0);
        let first = purse.hold(20, 10).await.unwrap();
        // 40 spent, 40 in flight, and 22 more would be too much: it waits for the bill.
        assert!(futures::FutureExt::now_or_never(purse.hold(20, 1)).is_none());
        first.settle(bill(20, 3));
        assert_eq!(purse.spent(), 66.0);
        purse.hold(15, 9).await.unwrap().settle(bill(15, 7));
        let refused = purse.hold(6, 0).await.unwrap_err();
        assert_eq!(
            refused,
            Refused::Empty {
                spent: 95.0,
                next: 6.0
            }
        );
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
    async fn what_is_drawn_and_not_spent_is_given_back() {
        let pot = Pot::of(1_000.0);
        let purse = Purse::drawing_from(PRICE, Arc::clone(&pot) as Arc<dyn Source>);
        purse.hold(10, 0).await.unwrap().settle(bill(7, 0));
        // Sixteen calls at once, and what the next minute takes is drawn when it is needed.
        assert_eq!(pot.left(), 840.0);
        let in_flight = purse.hold(10, 0).await.unwrap();
        purse.give_back().await;
        assert_eq!(pot.left(), 840.0);
        in_flight.settle(bill(10, 0));
        purse.give_back().await;
        purse.give_back().await;
        assert_eq!(pot.left(), 983.0);
        purse.hold(10, 0).await.unwrap().settle(bill(10, 0));
        purse.give_back().await;
        assert_eq!(pot.left(), 973.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_billed_beyond_the_estimate_is_drawn_afterwards() {
        let pot = Pot::of(15.0);
        let purse = Purse::drawing_from(PRICE, Arc::clone(&pot) as Arc<dyn Source>);
        purse.hold(10, 0).await.unwrap().settle(bill(20, 0));
        assert_eq!(pot.left(), 0.0);
        purse.give_back().await;
        assert_eq!(pot.left(), -5.0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_back_takes_nothing_from_one_who_draws() {
        let pot = Pot::of(1_000.0);
        let purse = Purse::drawing_from(PRICE, Arc::clone(&pot) as Arc<dyn Source>);
        purse.hold(10, 0).await.unwrap().settle(bill(1, 0));
        let larger = || async { purse.hold(500, 0).await.map(|hold| hold.settle(bill(1, 0))) };
        let (first, (), second, ()) =
            tokio::join!(larger(), purse.give_back(), larger(), purse.give_back());
        assert_eq!((first, second), (Ok(()), Ok(())));
        purse.give_back().await;
        assert_eq!(pot.left(), 997.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_source_does_not_give_is_not_spent() {
        let purse = Purse::drawing_from(PRICE, Pot::of(9.0));
        let refused = purse.hold(10, 0).await.unwrap_err();
        let empty = Refused::Empty {
            spent: 0.0,
            next: 10.0,
        };
        assert_eq!(refused, empty);
        let away = Pot(Mutex::new(Err("out of reach".into())));
        let purse = Purse::drawing_from(PRICE, Arc::new(away));
        let refused = purse.hold(10, 0).await.unwrap_err();
        assert_eq!(refused, Refused::Unreachable("out of reach".into()));
    }
}
