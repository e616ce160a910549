//! What the calls of one chunk may cost: asked before each of them, so that a cap is not passed.
//!
//! A call is let through at the most that it may cost, the prompt and the longest answer at full price,
//! on top of what was spent and what the calls in flight may cost. When its bill is known, that gives
//! way to the bill; where an answer has no readable bill, it stays.
//!
//! Two limits are kept, both durable before a call is sent:
//!
//! * what is **reserved** for the chunk in its dataset's budget, so that all processes together keep the
//!   cap. It is drawn through [`Reserve`], as much at a time as the chunk is likely to need.
//! * the **credit** that the chunk's part records, a few calls ahead of what was spent. Where the process
//!   is killed, that is what its calls in flight may have cost. Whoever writes the part asks for it with
//!   [`Purse::due`], writes it beside the results, and says so with [`Purse::written`].

use super::bill::Bill;
use super::tariff::Tariff;
use crate::dataset::figures::Tokens;
use crate::money::Usd;
use futures::future::BoxFuture;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The credit is at least this many calls ahead.
const CALLS_AHEAD: u64 = 8;

/// When more has to be reserved than was expected, it is enough for this many calls.
const CALLS_AT_ONCE: u64 = 16;

/// Money for the calls of one chunk.
pub struct Purse {
    tariff: Arc<Tariff>,
    state: Mutex<State>,
    limits: Option<Limits>,
}

/// What keeps a purse within a cap.
struct Limits {
    reserve: Arc<dyn Reserve>,
    /// Held by the one who reserves more.
    growing: tokio::sync::Mutex<()>,
    /// Told when something was settled, reserved or written.
    changed: Notify,
    /// Told when a call waits for credit.
    wanting: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What the chunk has cost, in all processes.
    spent: Usd,
    /// What calls in flight may cost.
    held: Usd,
    /// What calls may cost that wait for credit.
    waiting: Usd,
    /// What the budget lets the chunk cost in all.
    reserved: Usd,
    /// What the part says that it may have cost in all.
    credit: Usd,
    /// What is to be reserved at first, beyond what was spent.
    expected: Usd,
    /// The budget had no more: it is not asked again while calls are in flight.
    dry: bool,
    /// What was billed for calls that no turn records.
    beside: Tokens,
    /// Why a call was not let through.
    refused: Option<Refused>,
    closed: bool,
}

/// Why a call is not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It might pass the cap.
    Empty {
        /// What the chunk has cost so far.
        spent: Usd,
        /// What the call may cost.
        next: Usd,
    },
    /// A model answers whose price is not known, so that no cap can be kept.
    Unpriced {
        /// The model.
        model: String,
    },
    /// It cannot be told what is left.
    Unreachable(String),
    /// The chunk is not this process's any more, or its part cannot be written.
    Closed,
}

/// Where a purse reserves what it may spend.
pub trait Reserve: Send + Sync {
    /// Lets the chunk cost `wanted` in all, or less, but no less than `least`. Gives how much that is.
    ///
    /// # Errors
    /// [`Refused::Empty`] where there is not so much, and why it cannot be told.
    fn reserve(&self, least: Usd, wanted: Usd) -> BoxFuture<'_, Result<Usd, Refused>>;
}

/// What one call in flight may cost. One that is dropped counts as billed.
#[derive(Debug)]
pub struct Hold<'a> {
    purse: &'a Purse,
    prompt: u64,
    estimate: Tokens,
    settled: bool,
}

/// What stands between a call and being sent.
enum Lacks {
    Money,
    Credit,
}

impl Purse {
    /// A purse that limits nothing, and counts what calls cost.
    pub fn unlimited(tariff: Arc<Tariff>) -> Self {
        Self {
            tariff,
            state: Mutex::default(),
            limits: None,
        }
    }

    /// A purse for a chunk that has cost `spent` and is expected to cost `expected` more at most, which
    /// draws on `reserve`.
    pub fn limited(
        tariff: Arc<Tariff>,
        reserve: Arc<dyn Reserve>,
        spent: Usd,
        expected: Usd,
    ) -> Self {
        let state = State {
            spent,
            expected,
            reserved: spent,
            credit: spent,
            ..State::default()
        };
        Self {
            tariff,
            state: Mutex::new(state),
            limits: Some(Limits {
                reserve,
                growing: tokio::sync::Mutex::default(),
                changed: Notify::new(),
                wanting: Notify::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        if let Some(limits) = &self.limits {
            limits.changed.notify_waiters();
        }
    }

    /// Sets aside what a call may cost that sends `prompt` tokens and allows an answer of `answer`.
    ///
    /// # Errors
    /// Why the call must not be sent.
    pub async fn hold(&self, prompt: u64, answer: u64) -> Result<Hold<'_>, Refused> {
        let estimate = self.tariff.estimate(prompt, answer);
        let hold = |purse| Hold {
            purse,
            prompt,
            estimate,
            settled: false,
        };
        let Some(limits) = &self.limits else {
            return Ok(hold(self));
        };
        loop {
            let mut changed = pin!(limits.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.take(estimate.usd)? {
                None => return Ok(hold(self)),
                Some(Lacks::Credit) => {
                    let _waiting = Waiting::new(self, estimate.usd);
                    limits.wanting.notify_one();
                    changed.await;
                }
                Some(Lacks::Money) => {
                    if !self.grow(limits, estimate.usd).await? {
                        // What is in flight is mostly billed less than it may cost.
                        changed.await;
                    }
                }
            }
        }
    }

    /// Sets `usd` aside for a call, or says what is lacking.
    fn take(&self, usd: Usd) -> Result<Option<Lacks>, Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if let Some(refused @ Refused::Unpriced { .. }) = &state.refused {
            return Err(refused.clone());
        }
        let needed = state.spent + state.held + usd;
        Ok(if needed > state.reserved {
            Some(Lacks::Money)
        } else if needed > state.credit {
            Some(Lacks::Credit)
        } else {
            state.held += usd;
            None
        })
    }

    /// Reserves more for a call that may cost `usd`. Gives `false` where the budget has no more, but calls
    /// in flight may leave something.
    async fn grow(&self, limits: &Limits, usd: Usd) -> Result<bool, Refused> {
        let _growing = limits.growing.lock().await;
        let (least, wanted) = {
            let mut state = self.state();
            let sent = state.spent + state.held;
            let least = sent + usd;
            if least <= state.reserved {
                return Ok(true);
            }
            if state.dry && state.held > Usd::ZERO {
                return Ok(false);
            }
            match &state.refused {
                Some(Refused::Empty { next, .. }) if usd >= *next => {
                    return Err(Refused::Empty {
                        spent: state.spent,
                        next: usd,
                    });
                }
                Some(refused @ Refused::Unreachable(_)) => return Err(refused.clone()),
                _ => {}
            }
            let expected = std::mem::take(&mut state.expected);
            (least, sent + expected.max(usd.times(CALLS_AT_ONCE, 1)))
        };
        let reserved = limits.reserve.reserve(least, wanted).await;
        let mut state = self.state();
        match reserved {
            Ok(reserved) => {
                state.reserved = reserved;
                state.dry = false;
                drop(state);
                limits.changed.notify_waiters();
                Ok(true)
            }
            Err(Refused::Empty { .. }) if state.held > Usd::ZERO => {
                state.dry = true;
                Ok(false)
            }
            Err(refused) => {
                let refused = match refused {
                    Refused::Empty { .. } => Refused::Empty {
                        spent: state.spent,
                        next: usd,
                    },
                    refused => refused,
                };
                state.closed |= refused == Refused::Closed;
                state.refused = Some(refused.clone());
                Err(refused)
            }
        }
    }

    /// What the chunk has cost so far.
    pub fn spent(&self) -> Usd {
        self.state().spent
    }

    /// Why a call was not let through, if one was not: of calls for which there was no money, the one
    /// that may cost least.
    pub fn refused(&self) -> Option<Refused> {
        self.state().refused.clone()
    }

    /// Counts what was billed for calls that no turn records.
    pub fn add_beside(&self, billed: Tokens) {
        if billed.calls > 0 {
            self.state().beside += billed;
        }
    }

    /// What the part is to record now: what was billed for calls that no turn records, each once, and
    /// the credit where it is used up soon.
    pub fn due(&self) -> (Option<Tokens>, Option<Usd>) {
        let mut state = self.state();
        let beside = std::mem::take(&mut state.beside);
        let under_way = state.held + state.waiting;
        let sent = state.spent + under_way;
        let ahead = under_way.max(self.tariff.most(1000, 100).times(CALLS_AHEAD, 1));
        let credit = (sent + ahead).min(state.reserved);
        let left = state.credit.saturating_sub(sent);
        let is_due = self.limits.is_some() && left < ahead.times(1, 2) && credit > state.credit;
        (
            (beside.calls > 0).then_some(beside),
            is_due.then_some(credit),
        )
    }

    /// The same when no call is made any more: the credit is what was spent.
    pub fn due_at_last(&self) -> (Option<Tokens>, Option<Usd>) {
        let mut state = self.state();
        let beside = std::mem::take(&mut state.beside);
        let is_due = self.limits.is_some() && state.credit != state.spent;
        (
            (beside.calls > 0).then_some(beside),
            is_due.then_some(state.spent),
        )
    }

    /// The part records `credit` now.
    pub fn written(&self, credit: Usd) {
        self.state().credit = credit;
        self.changed();
    }

    /// Waits until a call waits for credit; for ever where there are no limits.
    pub async fn wanting(&self) {
        match &self.limits {
            Some(limits) => limits.wanting.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Lets no further call through: the part cannot be written.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed();
    }
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse")
            .field("tariff", &self.tariff)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A call that waits for credit.
struct Waiting<'a> {
    purse: &'a Purse,
    usd: Usd,
}

impl<'a> Waiting<'a> {
    fn new(purse: &'a Purse, usd: Usd) -> Self {
        purse.state().waiting += usd;
        Self { purse, usd }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.purse.state();
        state.waiting = state.waiting.saturating_sub(self.usd);
    }
}

impl Hold<'_> {
    /// The call ended with `bill`, from the model that its answer names. Gives what it counts for.
    pub fn settle(mut self, bill: &Bill, answered_by: Option<&str>) -> Tokens {
        let tariff = &self.purse.tariff;
        let counted = match *bill {
            Bill::Nothing => Tokens::default(),
            Bill::Unread => Tokens {
                estimated: 1,
                ..self.estimate
            },
            Bill::Usage(tokens) => {
                tariff.learn(self.prompt, tokens.prompt);
                match tariff.of_answer(answered_by) {
                    Some(price) => Tokens {
                        usd: price.of(tokens),
                        ..tokens
                    },
                    // What was set aside is all that is known.
                    None => Tokens {
                        usd: self.estimate.usd,
                        unpriced: 1,
                        ..tokens
                    },
                }
            }
        };
        if counted.unpriced > 0 && self.purse.limits.is_some() {
            let model = tariff.model(answered_by).to_owned();
            self.purse.state().refused = Some(Refused::Unpriced { model });
        }
        self.spend(counted.usd);
        counted
    }

    fn spend(&mut self, usd: Usd) {
        self.settled = true;
        if self.purse.limits.is_none() {
            return;
        }
        {
            let mut state = self.purse.state();
            state.held = state.held.saturating_sub(self.estimate.usd);
            state.spent += usd;
        }
        self.purse.changed();
    }
}

impl Drop for Hold<'_> {
    /// A call that came to no end may have been billed.
    fn drop(&mut self) {
        if !self.settled {
            self.spend(self.estimate.usd);
            self.purse.add_beside(Tokens {
                estimated: 1,
                ..self.estimate
            });
        }
    }
}
