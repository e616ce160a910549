//! What the calls of one chunk may cost: asked before each call, so that a cap is kept.
//!
//! A call is admitted at its highest possible cost, the prompt and the longest answer at full price, in
//! addition to what was spent and what the calls in flight may cost. Its bill then replaces that amount;
//! without a readable bill the amount stays.
//!
//! Two limits are kept, both durable before a call is sent:
//!
//! * what is **reserved** for the chunk in its dataset's budget, so that all processes together keep the
//!   cap. It is drawn through [`Reserve`], as much at a time as the chunk is likely to need. When a
//!   reservation expires, as at the end of a month, calls wait until those in flight are billed, and draw
//!   again.
//! * the **credit** that the chunk's part records, a few calls ahead of what was spent. If the process is
//!   killed, that is what its calls in flight may have cost. The writer of the part gets it from
//!   [`Purse::due`], writes it beside the results, and confirms with [`Purse::written`].

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
    pub(super) tariff: Arc<Tariff>,
    state: Mutex<State>,
    limits: Option<Limits>,
}

/// What keeps a purse within a cap.
struct Limits {
    reserve: Arc<dyn Reserve>,
    /// Held while more is reserved.
    growing: tokio::sync::Mutex<()>,
    /// Notified when something was settled, reserved or written.
    changed: Notify,
    /// Notified when a call waits for credit.
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
    /// What to reserve at first, beyond what was spent.
    expected: Usd,
    /// The budget was empty: it is not asked again while calls are in flight.
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
        /// What the call may cost.
        next: Usd,
        /// What it would have been paid from.
        pot: Pot,
    },
    /// A model answers whose price is not known, so that no cap can be kept.
    Unpriced {
        /// The model.
        model: String,
    },
    /// The remaining budget cannot be read.
    Unreachable(String),
    /// Another process has the chunk, or its part cannot be written.
    Closed,
}

/// What calls are paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pot {
    /// What the dataset may cost.
    Dataset,
    /// What all datasets may cost in this month.
    Month,
}

/// What a purse wants to be reserved, in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What the chunk has cost and its calls in flight may cost.
    pub sent: Usd,
    /// The least that is of use.
    pub least: Usd,
    /// What it is likely to need.
    pub wanted: Usd,
}

/// Where a purse reserves what it may spend.
pub trait Reserve: Send + Sync {
    /// Lets the chunk cost in all what the wish wants, or less, but at least its least. Gives that
    /// amount, or the pot that has less.
    ///
    /// # Errors
    /// Why the budget cannot be read.
    fn reserve(&self, wish: Wish) -> BoxFuture<'_, Result<Result<Usd, Pot>, Refused>>;

    /// Whether the reservation has expired.
    fn is_over(&self) -> bool {
        false
    }
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
            match self.take(estimate.usd, limits.reserve.is_over())? {
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

    /// Sets `usd` aside for a call, or says what is lacking. `over` is what was reserved.
    fn take(&self, usd: Usd, over: bool) -> Result<Option<Lacks>, Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if let Some(refused @ Refused::Unpriced { .. }) = &state.refused {
            return Err(refused.clone());
        }
        let needed = state.spent + state.held + usd;
        Ok(if over || needed > state.reserved {
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
        let wish = {
            let mut state = self.state();
            let over = limits.reserve.is_over();
            let sent = state.spent + state.held;
            let least = sent + usd;
            if least <= state.reserved && !over {
                return Ok(true);
            }
            // What is in flight is paid from what is over.
            if (state.dry || over) && state.held > Usd::ZERO {
                return Ok(false);
            }
            match &state.refused {
                Some(Refused::Empty { next, pot }) if usd >= *next => {
                    let pot = *pot;
                    return Err(Refused::Empty { next: usd, pot });
                }
                Some(refused @ Refused::Unreachable(_)) => return Err(refused.clone()),
                _ => {}
            }
            let expected = std::mem::take(&mut state.expected);
            let expected = expected.max(usd.times(CALLS_AT_ONCE, 1));
            Wish {
                sent,
                least,
                wanted: (sent + expected).max(state.reserved),
            }
        };
        let reserved = limits.reserve.reserve(wish).await;
        let mut state = self.state();
        match reserved {
            Ok(Ok(reserved)) => {
                state.reserved = reserved;
                state.dry = false;
                drop(state);
                limits.changed.notify_waiters();
                return Ok(true);
            }
            Ok(Err(_)) if state.held > Usd::ZERO => {
                state.dry = true;
                return Ok(false);
            }
            Ok(Err(pot)) => state.refused = Some(Refused::Empty { next: usd, pot }),
            Err(refused) => {
                state.closed |= refused == Refused::Closed;
                state.refused = Some(refused);
            }
        }
        state.refused.clone().map_or(Ok(false), Err)
    }

    /// What the chunk has cost so far.
    pub fn spent(&self) -> Usd {
        self.state().spent
    }

    /// The call that was not admitted for lack of money, if there was one; of several the cheapest.
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

    /// The same once no further call is made: the credit is what was spent.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::model::Price;
    use futures::FutureExt;

    /// A dollar a prompt token, two an answer's.
    const PRICE: Price = Price {
        input: Usd::from_nanos(1_000_000_000_000_000),
        cached: Usd::from_nanos(1_000_000_000_000_000),
        output: Usd::from_nanos(2_000_000_000_000_000),
    };

    fn usd(dollars: u64) -> Usd {
        Usd::from_nanos(dollars * 1_000_000_000)
    }

    fn tariff(set: Option<Price>) -> Arc<Tariff> {
        Arc::new(Tariff::new(set, "gpt-5.2", "d", None))
    }

    fn bill(prompt: u64, completion: u64) -> Bill {
        Bill::Usage(Tokens {
            calls: 1,
            prompt,
            completion,
            ..Tokens::default()
        })
    }

    /// What the budget has for a chunk in all, or why it cannot be read, and how often it was asked.
    #[derive(Debug)]
    struct Till(Mutex<(Result<Usd, Refused>, u32)>);

    impl Till {
        fn of(dollars: u64) -> Arc<Self> {
            Arc::new(Self(Mutex::new((Ok(usd(dollars)), 0))))
        }

        fn set(&self, most: Result<Usd, Refused>) {
            self.0.lock().unwrap().0 = most;
        }

        fn asked(&self) -> u32 {
            self.0.lock().unwrap().1
        }
    }

    impl Reserve for Till {
        fn reserve(&self, wish: Wish) -> BoxFuture<'_, Result<Result<Usd, Pot>, Refused>> {
            let mut pot = self.0.lock().unwrap();
            pot.1 += 1;
            let reserved = match pot.0.clone() {
                Ok(most) if wish.least > most => Ok(Err(Pot::Dataset)),
                Ok(most) => Ok(Ok(wish.wanted.min(most))),
                Err(refused) => Err(refused),
            };
            std::future::ready(reserved).boxed()
        }
    }

    fn purse(pot: &Arc<Till>, spent: u64, expected: u64) -> Purse {
        let reserve = Arc::clone(pot) as Arc<dyn Reserve>;
        Purse::limited(tariff(Some(PRICE)), reserve, usd(spent), usd(expected))
    }

    /// Holds, while the part records every credit that is due.
    async fn hold(purse: &Purse, prompt: u64, answer: u64) -> Result<Hold<'_>, Refused> {
        let mut holding = pin!(purse.hold(prompt, answer));
        loop {
            tokio::select! {
                biased;
                held = &mut holding => return held,
                () = purse.wanting() => {
                    if let (_, Some(credit)) = purse.due() {
                        purse.written(credit);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_call_is_let_through_at_its_most_and_counted_at_its_bill() {
        let purse = purse(&Till::of(100), 40, 0);
        let first = hold(&purse, 20, 10).await.unwrap();
        // 40 spent, 40 in flight, and 22 more would be too much: it waits for the bill.
        let mut second = pin!(hold(&purse, 20, 1));
        assert!(second.as_mut().now_or_never().is_none());
        let counted = first.settle(&bill(20, 3), None);
        assert_eq!((counted.usd, purse.spent()), (usd(26), usd(66)));
        second.await.unwrap().settle(&bill(20, 1), None);
        let refused = hold(&purse, 13, 0).await.unwrap_err();
        let empty = Refused::Empty {
            next: usd(13),
            pot: Pot::Dataset,
        };
        assert_eq!((&refused, purse.refused()), (&empty, Some(empty.clone())));
        hold(&purse, 12, 0)
            .await
            .unwrap()
            .settle(&bill(12, 0), None);
        assert_eq!(purse.spent(), usd(100));
    }

    #[tokio::test]
    async fn a_call_without_a_bill_counts_at_its_most_and_one_that_was_refused_costs_nothing() {
        let purse = purse(&Till::of(1000), 0, 0);
        let lost = hold(&purse, 20, 10)
            .await
            .unwrap()
            .settle(&Bill::Unread, None);
        assert_eq!((lost.calls, lost.prompt, lost.completion), (1, 20, 10));
        assert_eq!(
            (lost.usd, lost.estimated, purse.spent()),
            (usd(40), 1, usd(40))
        );
        let nothing = hold(&purse, 20, 10)
            .await
            .unwrap()
            .settle(&Bill::Nothing, None);
        assert_eq!((nothing, purse.spent()), (Tokens::default(), usd(40)));
        // One whose caller is gone is recorded all the same.
        drop(hold(&purse, 20, 10).await.unwrap());
        let (beside, _) = purse.due();
        assert_eq!((beside.unwrap().usd, purse.spent()), (usd(40), usd(80)));
    }

    #[tokio::test]
    async fn the_budget_is_asked_once_where_there_is_enough() {
        let pot = Till::of(1000);
        let purse = purse(&pot, 0, 300);
        for _ in 0..10 {
            hold(&purse, 20, 5)
                .await
                .unwrap()
                .settle(&bill(20, 5), None);
        }
        assert_eq!((pot.asked(), purse.spent()), (1, usd(300)));
        // Then for several calls at a time.
        for _ in 0..16 {
            hold(&purse, 20, 5)
                .await
                .unwrap()
                .settle(&bill(20, 5), None);
        }
        assert_eq!(pot.asked(), 2);
    }

    #[tokio::test]
    async fn once_there_is_no_money_only_smaller_calls_are_tried() {
        let pot = Till::of(10);
        let purse = purse(&pot, 0, 0);
        for (prompt, asked) in [(30, 1), (40, 1), (30, 1), (20, 2)] {
            assert!(hold(&purse, prompt, 0).await.is_err());
            assert_eq!(pot.asked(), asked, "{prompt}");
        }
        hold(&purse, 10, 0).await.unwrap().settle(&bill(9, 0), None);
        assert!(hold(&purse, 2, 0).await.is_err());
        let least = Refused::Empty {
            next: usd(2),
            pot: Pot::Dataset,
        };
        assert_eq!(purse.refused(), Some(least));
    }

    #[tokio::test]
    async fn no_call_is_sent_beyond_the_credit_that_is_recorded() {
        let purse = purse(&Till::of(1_000_000), 7, 500_000);
        let mut first = pin!(purse.hold(20, 0));
        assert!(first.as_mut().now_or_never().is_none());
        let (_, credit) = purse.due();
        // Eight calls of a usual size ahead.
        assert_eq!(credit, Some(usd(7 + 20 + 8 * 1200)));
        assert!(first.as_mut().now_or_never().is_none());
        purse.written(credit.unwrap());
        let first = first.await.unwrap();
        assert_eq!(purse.due(), (None, None));
        first.settle(&bill(20, 0), None);
        let mut large = pin!(purse.hold(50_000, 0));
        assert!(large.as_mut().now_or_never().is_none());
        // As much ahead as is in flight.
        assert_eq!(purse.due().1, Some(usd(27 + 2 * 50_000)));
        purse.close();
        assert_eq!(large.await.unwrap_err(), Refused::Closed);
        assert_eq!(purse.due_at_last(), (None, Some(usd(27))));
    }

    #[tokio::test]
    async fn a_model_without_a_price_stops_what_has_a_cap_and_nothing_else() {
        let pot = Till::of(1_000_000);
        let reserve = Arc::clone(&pot) as Arc<dyn Reserve>;
        let limited = Purse::limited(tariff(None), reserve, Usd::ZERO, Usd::ZERO);
        let other = Some("gpt-9-2027-01-01");
        let counted = hold(&limited, 1000, 10).await.unwrap();
        let most = counted.estimate.usd;
        let counted = counted.settle(&bill(900, 1), other);
        assert_eq!(
            (counted.unpriced, counted.usd, counted.prompt),
            (1, most, 900)
        );
        let unpriced = Refused::Unpriced {
            model: "gpt-9-2027-01-01".into(),
        };
        assert_eq!(limited.hold(1, 1).await.unwrap_err(), unpriced);
        let unlimited = Purse::unlimited(tariff(None));
        for _ in 0..2 {
            let hold = unlimited.hold(1000, 10).await.unwrap();
            assert_eq!(hold.settle(&bill(900, 1), other).unpriced, 1);
        }
    }

    #[tokio::test]
    async fn why_a_budget_cannot_be_asked_is_told() {
        let pot = Till::of(0);
        for refused in [Refused::Unreachable("away".into()), Refused::Closed] {
            pot.set(Err(refused.clone()));
            let purse = purse(&pot, 0, 0);
            assert_eq!(hold(&purse, 10, 0).await.unwrap_err(), refused);
            assert_eq!(hold(&purse, 1, 0).await.unwrap_err(), refused);
            assert_eq!(purse.refused(), Some(refused));
        }
    }

    /// A month: what is left of it, whether it is over, and how much was sent before it.
    #[derive(Debug, Default)]
    struct Monthly(Mutex<(Usd, bool, Usd)>);

    impl Reserve for Monthly {
        fn reserve(&self, wish: Wish) -> BoxFuture<'_, Result<Result<Usd, Pot>, Refused>> {
            let mut month = self.0.lock().unwrap();
            if std::mem::take(&mut month.1) {
                month.2 = wish.sent;
            }
            let most = month.2 + month.0;
            let reserved = match wish.least > most {
                true => Err(Pot::Month),
                false => Ok(wish.wanted.min(most)),
            };
            std::future::ready(Ok(reserved)).boxed()
        }

        fn is_over(&self) -> bool {
            self.0.lock().unwrap().1
        }
    }

    #[tokio::test]
    async fn once_a_month_is_over_calls_wait_for_those_in_flight_and_draw_anew() {
        let month = Arc::new(Monthly::default());
        month.0.lock().unwrap().0 = usd(100);
        let reserve = Arc::clone(&month) as Arc<dyn Reserve>;
        let purse = Purse::limited(tariff(Some(PRICE)), reserve, Usd::ZERO, usd(100));
        let first = hold(&purse, 60, 0).await.unwrap();
        month.0.lock().unwrap().1 = true;
        let mut second = pin!(hold(&purse, 10, 0));
        assert!(second.as_mut().now_or_never().is_none());
        first.settle(&bill(50, 0), None);
        second.await.unwrap().settle(&bill(10, 0), None);
        // What the last month's calls were billed takes nothing of this one.
        assert_eq!(month.0.lock().unwrap().2, usd(50));
        hold(&purse, 90, 0)
            .await
            .unwrap()
            .settle(&bill(90, 0), None);
        let empty = Refused::Empty {
            next: usd(1),
            pot: Pot::Month,
        };
        assert_eq!(hold(&purse, 1, 0).await.unwrap_err(), empty);
        assert_eq!(purse.spent(), usd(150));
    }
}
