use super::*;
use crate::dataset::figures::Tokens;
use crate::run::entry::{Note, Part};
use crate::run::ledger::FinishedChunk;
use crate::run::record::tests::at;
use crate::teacher::bill::Bill;
use crate::teacher::model::Price;
use crate::teacher::purse::{Hold, Pot, Purse, Refused, Reserve, Wish};
use crate::teacher::tariff::Tariff;
use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;
use std::pin::pin;
use std::sync::{Arc, Mutex};

const CAP: Usd = usd(100);

const fn usd(dollars: u64) -> Usd {
    Usd::from_nanos(dollars * 1_000_000_000)
}

fn reserve(budget: &mut Budget, whose: (&str, u64), least: u64, wanted: u64) -> Option<u64> {
    let (least, wanted) = (usd(least), usd(wanted));
    let reserved = budget.reserve(whose, ("h", true), (least, wanted), CAP);
    reserved.ok().map(|usd| usd.nanos() / 1_000_000_000)
}

fn rest(budget: &mut Budget, whose: (&str, u64), cost: u64, next: Option<u64>) -> Woken {
    let refused = next.map(|next| (usd(next), usd(next)));
    let share = budget.runs.get(whose.0);
    let has_reserved = share.is_some_and(|share| share.chunks.contains_key(&whose.1));
    budget.rest(whose, ("h", !has_reserved), usd(cost), refused, CAP)
}

fn again(chunks: &[(&str, u64)]) -> Woken {
    let again = chunks.iter();
    Woken {
        again: again
            .map(|(run, chunk)| ((*run).to_owned(), *chunk))
            .collect(),
        ..Woken::default()
    }
}

fn finished(chunk: u64, dollars: u64) -> FinishedChunk {
    let mut part = Part::default();
    let tokens = Tokens {
        calls: 1,
        usd: usd(dollars),
        ..Tokens::default()
    };
    part.add(&Note::Spent(tokens).line());
    FinishedChunk::of(chunk, &part, at(0))
}

#[test]
fn runs_that_begin_together_cannot_both_be_promised_what_is_left() {
    let mut budget = Budget::default();
    assert!(budget.promise("a", usd(60), CAP));
    assert!(!budget.promise("b", usd(60), CAP));
    budget.end("a", usd(40), CAP);
    assert!(budget.promise("b", usd(60), CAP));
    assert_eq!(budget.taken(), usd(100));
    assert!(!budget.promise("a", usd(0), CAP), "it has ended");
}

#[test]
fn what_is_approved_is_for_the_whole_dataset() {
    let mut budget = Budget::default();
    assert!(!budget.promise("a", usd(160), CAP));
    budget.approve(usd(200));
    assert!(budget.promise("a", usd(160), CAP));
    assert!(!budget.promise("b", usd(60), CAP));
    budget.approve(usd(50));
    assert_eq!(budget.allowed(CAP), usd(200));
}

#[test]
fn a_run_keeps_what_it_was_promised_when_the_cap_is_lowered() {
    let mut budget = Budget::default();
    assert!(budget.promise("a", usd(60), CAP));
    let low = usd(10);
    assert!(budget.promise("a", usd(60), low));
    assert!(!budget.promise("a", usd(61), low));
    let amounts = (usd(1), usd(80));
    let reserved = budget.reserve(("a", 0), ("h", true), amounts, low);
    assert_eq!(reserved, Ok(usd(60)));
}

#[test]
fn a_chunk_reserves_what_others_leave_it() {
    let mut budget = Budget::default();
    assert!(budget.promise("b", usd(30), CAP));
    assert_eq!(reserve(&mut budget, ("a", 0), 1, 40), Some(40));
    assert_eq!(reserve(&mut budget, ("a", 1), 1, 50), Some(30));
    assert_eq!(reserve(&mut budget, ("a", 2), 1, 50), None);
    assert_eq!(reserve(&mut budget, ("b", 0), 1, 90), Some(30));
    // More of its own.
    assert_eq!(reserve(&mut budget, ("a", 0), 41, 50), None);
    budget.settle(("a", 1), usd(5), CAP);
    assert_eq!(reserve(&mut budget, ("a", 0), 41, 90), Some(65));
    assert_eq!(budget.taken(), CAP);
}

#[test]
fn a_settled_chunk_has_cost_what_its_line_says_once() {
    let mut budget = Budget::default();
    reserve(&mut budget, ("a", 3), 1, 40);
    for _ in 0..2 {
        budget.settle(("a", 3), usd(7), CAP);
        assert_eq!((budget.taken(), budget.runs["a"].chunks.len()), (usd(7), 0));
    }
    // Whoever reads the ledger settles, too.
    reserve(&mut budget, ("a", 4), 1, 40);
    let lines = [finished(3, 7).line(), finished(4, 8).line()].concat();
    let ledger = Ledger::read(&lines, 9);
    for _ in 0..2 {
        budget.send("a", &ledger, &BTreeMap::new());
        assert_eq!(
            (budget.taken(), budget.runs["a"].chunks.len()),
            (usd(15), 0)
        );
    }
    // What was spent while there was no cap is found.
    let mut budget = Budget::default();
    budget.send("a", &ledger, &BTreeMap::from([(5, usd(9))]));
    assert_eq!(budget.taken(), usd(24));
}

#[test]
fn a_new_holder_takes_the_place_of_a_killed_one_who_reserves_nothing_more() {
    let mut budget = Budget::default();
    let whose = ("a", 0);
    let amounts = (usd(1), usd(40));
    assert_eq!(
        budget.reserve(whose, ("old", true), amounts, CAP),
        Ok(usd(40))
    );
    let amounts = (usd(3), usd(8));
    assert_eq!(
        budget.reserve(whose, ("new", true), amounts, CAP),
        Ok(usd(8))
    );
    let late = budget.reserve(whose, ("old", false), amounts, CAP);
    assert_eq!(late, Err(NotReserved::Overtaken));
    let before = budget.clone();
    budget.rest(whose, ("old", false), usd(1), None, CAP);
    assert_eq!(budget, before);
    // A new one that there is no money for takes its place as well.
    budget.rest(
        whose,
        ("newest", true),
        usd(4),
        Some((usd(99), usd(99))),
        CAP,
    );
    assert_eq!(budget.taken(), usd(4));
    budget.end("a", usd(5), CAP);
    let late = budget.reserve(whose, ("new", false), amounts, CAP);
    assert_eq!(
        (late, budget.taken()),
        (Err(NotReserved::Overtaken), usd(5))
    );
}

#[test]
fn a_frozen_holder_that_rests_after_its_chunk_was_settled_has_nothing_counted_twice() {
    let mut budget = Budget::default();
    let whose = ("a", 0);
    let amounts = (usd(1), usd(40));
    for holder in ["frozen", "next"] {
        let reserved = budget.reserve(whose, (holder, true), amounts, CAP);
        assert_eq!(reserved, Ok(usd(40)));
    }
    budget.settle(whose, usd(7), CAP);
    budget.rest(whose, ("frozen", false), usd(5), None, CAP);
    budget.settle(whose, usd(7), CAP);
    assert_eq!((budget.taken(), budget.runs["a"].chunks.len()), (usd(7), 0));
    // Another one that there was no money for comes late, too. At the end the ledger decides.
    budget.rest(whose, ("late", true), usd(5), Some((usd(99), usd(99))), CAP);
    budget.end("a", usd(7), CAP);
    assert_eq!(budget.taken(), usd(7));
}

#[test]
fn a_chunk_without_money_is_sent_again_when_another_has_given_some_back() {
    let mut budget = Budget::default();
    reserve(&mut budget, ("a", 0), 1, 100);
    assert_eq!(rest(&mut budget, ("a", 1), 0, Some(20)), Woken::default());
    assert_eq!(rest(&mut budget, ("b", 0), 0, Some(20)), Woken::default());
    assert_eq!(rest(&mut budget, ("b", 1), 0, Some(30)), Woken::default());
    // Enough for two of them.
    assert_eq!(
        budget.settle(("a", 0), usd(55), CAP),
        again(&[("a", 1), ("b", 0)])
    );
    // Until they are there they may give something back.
    assert_eq!(rest(&mut budget, ("c", 0), 0, Some(46)), Woken::default());
    assert_eq!(reserve(&mut budget, ("a", 1), 20, 45), Some(25));
    assert_eq!(rest(&mut budget, ("b", 0), 0, Some(21)), Woken::default());
    assert_eq!(rest(&mut budget, ("a", 1), 10, None), again(&[("b", 0)]));
}

#[test]
fn where_nobody_can_give_anything_back_the_runs_have_used_up_theirs() {
    let mut budget = Budget::default();
    reserve(&mut budget, ("a", 0), 1, 100);
    rest(&mut budget, ("b", 3), 0, Some(8));
    rest(&mut budget, ("b", 4), 0, Some(6));
    let woken = rest(&mut budget, ("a", 0), 95, Some(7));
    let exhausted = vec![("a".to_owned(), usd(7)), ("b".to_owned(), usd(6))];
    assert_eq!(woken.exhausted, exhausted);
    assert_eq!(woken.again, []);
    // It is told once.
    assert_eq!(budget.settle(("c", 0), usd(0), CAP), Woken::default());
}

/// A dollar a prompt token, two an answer's.
const PRICE: Price = Price {
    input: Usd::from_nanos(1_000_000_000_000_000),
    cached: Usd::from_nanos(1_000_000_000_000_000),
    output: Usd::from_nanos(2_000_000_000_000_000),
};

/// What all processes share: the budget, and the parts and ledgers of the chunks.
#[derive(Debug, Default)]
struct Shared {
    budget: Budget,
    parts: BTreeMap<(usize, u64), Part>,
    ledgers: BTreeMap<usize, Vec<u8>>,
    /// Words to and from the budget so far, and which get lost: one in this many.
    words: u32,
    lost: u32,
    made: u32,
}

/// The funds of one execution of a chunk, as `ChunkFunds` keeps them.
#[derive(Debug)]
struct Funds {
    shared: Arc<Mutex<Shared>>,
    whose: (usize, u64),
    holder: String,
    has_reserved: Mutex<bool>,
}

impl Reserve for Funds {
    fn reserve(&self, wish: Wish) -> BoxFuture<'_, Result<Result<Usd, Pot>, Refused>> {
        let amounts = (wish.least, wish.wanted);
        let mut shared = self.shared.lock().unwrap();
        let mut has_reserved = self.has_reserved.lock().unwrap();
        let run = self.whose.0.to_string();
        let holder = (self.holder.as_str(), !*has_reserved);
        let reserved = shared
            .budget
            .reserve((&run, self.whose.1), holder, amounts, usd(1000));
        shared.words += 1;
        let is_lost = shared.words.is_multiple_of(shared.lost);
        std::future::ready(match reserved {
            _ if is_lost => Err(Refused::Unreachable("its answer is lost".into())),
            Ok(reserved) => {
                *has_reserved = true;
                Ok(Ok(reserved))
            }
            Err(NotReserved::Empty) => Ok(Err(Pot::Dataset)),
            Err(NotReserved::Overtaken) => Err(Refused::Closed),
        })
        .boxed()
    }
}

/// One execution of a chunk.
struct Execution {
    purse: Purse,
    funds: Arc<Funds>,
}

impl Execution {
    /// Takes over the part, as a holder of its lease.
    fn start(shared: &Arc<Mutex<Shared>>, whose: (usize, u64)) -> Self {
        let mut locked = shared.lock().unwrap();
        locked.made += 1;
        let holder = locked.made.to_string();
        let part = locked.parts.entry(whose).or_default();
        if let Some(lost) = part.lost() {
            part.add(&Note::Spent(lost).line());
        }
        let funds = Arc::new(Funds {
            shared: Arc::clone(shared),
            whose,
            holder,
            has_reserved: Mutex::default(),
        });
        let reserve = Arc::clone(&funds) as Arc<dyn Reserve>;
        let tariff = Arc::new(Tariff::new(Some(PRICE), "m", "d", None));
        let purse = Purse::limited(tariff, reserve, part.own().usd, usd(60));
        Self { purse, funds }
    }

    /// Holds money for a call, while the part records the credit.
    fn hold(
        &self,
        shared: &Mutex<Shared>,
        whose: (usize, u64),
        prompt: u64,
        answer: u64,
    ) -> Result<Hold<'_>, Refused> {
        let mut holding = pin!(self.purse.hold(prompt, answer));
        loop {
            if let Some(held) = holding.as_mut().now_or_never() {
                return held;
            }
            let mut shared = shared.lock().unwrap();
            let part = shared.parts.get_mut(&whose).unwrap();
            self.record(part, self.purse.due());
        }
    }

    /// Records what the purse has to record.
    fn record(&self, part: &mut Part, (beside, credit): (Option<Tokens>, Option<Usd>)) {
        let notes = [beside.map(Note::Spent), credit.map(Note::Credit)];
        for note in notes.into_iter().flatten() {
            part.add(&note.line());
        }
        if let Some(credit) = credit {
            self.purse.written(credit);
        }
    }
}

/// What an execution does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A call of this many tokens, whose answer has this part of its longest, or no readable bill.
    Call(u64, u64, Option<u64>),
    /// It is killed in the middle of a call, which is billed.
    Kill(u64),
    /// It ends before the chunk is finished.
    Rest,
    /// The chunk is finished. The word of that to the budget gets lost, or not.
    Finish(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (1..20_u64, 0..15_u64, prop::option::weighted(0.9, 0..=4_u64))
            .prop_map(|(prompt, answer, quarters)| Act::Call(prompt, answer, quarters)),
        1 => (1..20_u64).prop_map(Act::Kill),
        1 => Just(Act::Rest),
        1 => any::<bool>().prop_map(Act::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever executions do, whichever are killed, and whatever the store does not tell them, they are
    /// billed no more than the cap in all. Once all has ended nothing is reserved, and what is spent is
    /// what the ledgers and parts say.
    #[test]
    fn chunks_of_all_runs_together_never_pass_the_cap(
        lost in 3..50_u32,
        acts in prop::collection::vec((0..3_usize, 0..4_u64, act()), 1..400),
    ) {
        let shared = Arc::new(Mutex::new(Shared { lost, ..Shared::default() }));
        {
            let mut billed = 0;
            let mut open = BTreeMap::new();
            let mut done = BTreeSet::new();
            for (run, chunk, act) in acts {
                let whose = (run, chunk);
                if done.contains(&whose) {
                    continue;
                }
                let execution = open.remove(&whose);
                let execution = execution.unwrap_or_else(|| Execution::start(&shared, whose));
                let (purse, name) = (&execution.purse, run.to_string());
                let mut goes_on = false;
                match act {
                    Act::Call(prompt, answer, quarters) => {
                        if let Ok(hold) = execution.hold(&shared, whose, prompt, answer) {
                            let completion = answer * quarters.unwrap_or(4) / 4;
                            billed += prompt + 2 * completion;
                            let tokens = Tokens { calls: 1, prompt, completion, ..Tokens::default() };
                            let bill = quarters.map_or(Bill::Unread, |_| Bill::Usage(tokens));
                            let spent = Note::Spent(hold.settle(&bill, None)).line();
                            shared.lock().unwrap().parts.get_mut(&whose).unwrap().add(&spent);
                        }
                        goes_on = true;
                    }
                    Act::Kill(prompt) => {
                        if let Ok(hold) = execution.hold(&shared, whose, prompt, 0) {
                            billed += prompt;
                            std::mem::forget(hold);
                        }
                    }
                    Act::Rest => {
                        let mut shared = shared.lock().unwrap();
                        let part = shared.parts.get_mut(&whose).unwrap();
                        execution.record(part, purse.due_at_last());
                        let next = purse.refused().map(|_| (usd(1), usd(1)));
                        let funds = &execution.funds;
                        let is_first = !*funds.has_reserved.lock().unwrap();
                        let holder = (funds.holder.as_str(), is_first);
                        shared.budget.rest((&name, chunk), holder, purse.spent(), next, usd(1000));
                    }
                    Act::Finish(is_told) => {
                        let mut shared = shared.lock().unwrap();
                        let part = shared.parts.get_mut(&whose).unwrap();
                        execution.record(part, purse.due_at_last());
                        let line = FinishedChunk::of(chunk, part, at(0));
                        shared.ledgers.entry(run).or_default().extend(line.line());
                        if is_told {
                            shared.budget.settle((&name, chunk), line.own().usd, usd(1000));
                        }
                        done.insert(whose);
                    }
                }
                if goes_on {
                    open.insert(whose, execution);
                }
                let shared = shared.lock().unwrap();
                prop_assert!(billed <= 1000);
                prop_assert!(shared.budget.taken() <= usd(1000), "{:?}", shared.budget);
                prop_assert!(usd(billed) <= shared.budget.taken(), "{:?}", shared.budget);
            }
            let mut shared = shared.lock().unwrap();
            let Shared { budget, parts, ledgers, .. } = &mut *shared;
            for run in 0..3 {
                let ledger = ledgers.get(&run).cloned().unwrap_or_default();
                let ledger = Ledger::read(&ledger, 4);
                let own = |part: &Part| part.own().usd + part.lost().unwrap_or_default().usd;
                let unsettled = parts.iter().filter(|((of, chunk), _)| {
                    *of == run && !ledger.has(*chunk)
                });
                let unsettled = unsettled.map(|(_, part)| own(part)).sum::<Usd>();
                let settled = ledger.finished().iter().map(|line| line.own().usd).sum::<Usd>();
                budget.end(&run.to_string(), settled + unsettled, usd(1000));
                let share = &budget.runs[&run.to_string()];
                prop_assert!(share.chunks.is_empty());
                prop_assert_eq!(share.spent_usd, unsettled + settled);
            }
            prop_assert!(usd(billed) <= budget.taken() && budget.taken() <= usd(1000));
        }
    }
}
