//! What all datasets of an app cost in a calendar month (UTC), so that a cap can be enforced.
//!
//! A call counts in the month in which the money for it is set aside. A chunk claims what its calls may
//! cost in a month before it sends them. When it rests it keeps claimed what it has cost; once it is
//! in its run's ledger, that is spent. A chunk whose process was killed keeps its whole claim until its
//! next holder claims again.
//!
//! All instances change an account only by compare-and-swap.

use super::ledger::Ledger;
use crate::money::Usd;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A calendar month, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month(Date);

impl Month {
    /// The month of a time.
    pub fn of(time: Timestamp) -> Self {
        Self(time.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// When the next one begins.
    pub fn end(self) -> Timestamp {
        let next = self.0.saturating_add(1.month());
        let begins = next.to_zoned(TimeZone::UTC);
        begins.map_or(Timestamp::MAX, |begins| begins.timestamp())
    }
}

impl fmt::Display for Month {
    /// As in `2026-11`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m"))
    }
}

/// What is spent in one month, and may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What settled chunks have cost.
    pub spent_usd: Usd,
    /// What it cost to settle request parameters, by what they are settled for.
    pub probes: BTreeMap<String, Usd>,
    /// The claims of chunks that are not settled, by run and number.
    pub claims: BTreeMap<String, BTreeMap<u64, Claim>>,
}

/// What one chunk may cost in a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What the chunk had cost in all before its first call in the month.
    pub from_usd: Usd,
    /// What it may have cost in all at the end of it.
    pub to_usd: Usd,
    /// Who may spend it; `None` while the chunk rests.
    pub holder: Option<String>,
}

impl Claim {
    /// The money of the month that it takes.
    fn usd(&self) -> Usd {
        self.to_usd.saturating_sub(self.from_usd)
    }
}

impl Account {
    fn all(&self) -> impl Iterator<Item = &Claim> {
        self.claims.values().flat_map(BTreeMap::values)
    }

    /// What calls may still cost that chunks under way have claimed, with what those chunks have cost.
    pub fn reserved(&self) -> Usd {
        let held = self.all().filter(|claim| claim.holder.is_some());
        held.map(Claim::usd).sum()
    }

    /// What is spent or reserved.
    pub fn taken(&self) -> Usd {
        let probes = self.probes.values().copied().sum::<Usd>();
        self.spent_usd + probes + self.all().map(Claim::usd).sum()
    }

    /// Lets a chunk that has cost `sent` so far cost `wanted` in all, or less, but at least `least`.
    /// Gives that amount, or `None` if the `cap` leaves less than `least`.
    pub fn claim(
        &mut self,
        (run, chunk): (&str, u64),
        holder: &str,
        sent: Usd,
        (least, wanted): (Usd, Usd),
        cap: Option<Usd>,
    ) -> Option<Usd> {
        let taken = self.taken();
        let there = self.claims.get(run).and_then(|chunks| chunks.get(&chunk));
        // An earlier holder's calls of this month count, too.
        let from_usd = there.map_or(sent, |there| there.from_usd.min(sent));
        let others = taken.saturating_sub(there.map_or(Usd::ZERO, Claim::usd));
        let most = cap.map(|cap| from_usd + cap.saturating_sub(others));
        if most.is_some_and(|most| least > most) {
            return None;
        }
        let to_usd = most.map_or(wanted, |most| wanted.min(most)).max(least);
        let claim = Claim {
            from_usd,
            to_usd,
            holder: Some(holder.to_owned()),
        };
        let chunks = self.claims.entry(run.to_owned()).or_default();
        chunks.insert(chunk, claim);
        Some(to_usd)
    }

    /// The work on an unfinished chunk ends after it has cost `usd` in all. Nothing changes if another
    /// holder has the chunk.
    pub fn rest(&mut self, (run, chunk): (&str, u64), holder: &str, usd: Usd) {
        let chunks = self.claims.get_mut(run);
        if let Some(claim) = chunks.and_then(|chunks| chunks.get_mut(&chunk))
            && claim.holder.as_deref() == Some(holder)
        {
            claim.to_usd = usd.max(claim.from_usd);
            claim.holder = None;
        }
    }

    /// A chunk stands in its run's ledger, and has cost `usd` in all. Said twice it is the same.
    pub fn settle(&mut self, (run, chunk): (&str, u64), usd: Usd) {
        let Some(chunks) = self.claims.get_mut(run) else {
            return;
        };
        if let Some(claim) = chunks.remove(&chunk) {
            self.spent_usd += usd.saturating_sub(claim.from_usd);
        }
        if chunks.is_empty() {
            self.claims.remove(run);
        }
    }

    /// Settles the chunks of a run that stand in its `ledger`.
    pub fn settle_finished(&mut self, run: &str, ledger: &Ledger) {
        if self.claims.contains_key(run) {
            for finished in ledger.finished() {
                self.settle((run, finished.chunk), finished.own().usd);
            }
        }
    }

    /// A run has ended; of its chunks that are not in its `ledger`, those have cost something that are in
    /// `unfinished`.
    pub fn end(&mut self, run: &str, ledger: &Ledger, unfinished: &BTreeMap<u64, Usd>) {
        self.settle_finished(run, ledger);
        let left = self.claims.get(run).into_iter().flat_map(BTreeMap::keys);
        for chunk in left.copied().collect::<Vec<_>>() {
            let usd = unfinished.get(&chunk).copied().unwrap_or_default();
            self.settle((run, chunk), usd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::figures::Tokens;
    use crate::run::entry::Part;
    use crate::run::ledger::FinishedChunk;

    const CAP: Option<Usd> = Some(usd(100));

    const fn usd(dollars: u64) -> Usd {
        Usd::from_nanos(dollars * 1_000_000_000)
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_one_of_utc() {
        for (at, month, end) in [
            ("2026-11-30T23:59:59Z", "2026-11", "2026-12-01T00:00:00Z"),
            ("2026-12-01T00:00:00Z", "2026-12", "2027-01-01T00:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-02", "2028-03-01T00:00:00Z"),
            (
                "2026-12-01T00:30:00+01:00",
                "2026-11",
                "2026-12-01T00:00:00Z",
            ),
        ] {
            let of = Month::of(time(at));
            assert_eq!((of.to_string().as_str(), of.end()), (month, time(end)));
            assert_ne!(Month::of(of.end()), of);
        }
    }

    #[test]
    fn claims_of_all_runs_together_keep_the_cap() {
        let mut account = Account::default();
        let amounts = (usd(1), usd(60));
        let all = account.claim(("a", 0), "x", Usd::ZERO, amounts, CAP);
        assert_eq!(all, Some(usd(60)));
        let less = account.claim(("b", 0), "y", Usd::ZERO, amounts, CAP);
        assert_eq!(less, Some(usd(40)));
        let before = account.clone();
        let none = account.claim(("b", 1), "z", Usd::ZERO, amounts, CAP);
        assert_eq!((none, &account), (None, &before));
        // What it has cost stays, the rest is free.
        account.rest(("a", 0), "x", usd(10));
        assert_eq!((account.taken(), account.reserved()), (usd(50), usd(40)));
        let some = account.claim(("b", 1), "z", Usd::ZERO, amounts, CAP);
        assert_eq!(some, Some(usd(50)));
        // A higher setting, or none.
        let more = account.claim(("b", 2), "z", Usd::ZERO, amounts, Some(usd(120)));
        assert_eq!(more, Some(usd(20)));
        let free = account.claim(("b", 3), "z", Usd::ZERO, amounts, None);
        assert_eq!(free, Some(usd(60)));
    }

    #[test]
    fn what_a_chunk_cost_before_the_month_takes_nothing_of_it() {
        let mut account = Account::default();
        let claimed = account.claim(("a", 0), "x", usd(70), (usd(71), usd(500)), CAP);
        assert_eq!(claimed, Some(usd(170)));
        assert_eq!(account.taken(), usd(100));
        account.settle(("a", 0), usd(95));
        account.settle(("a", 0), usd(95));
        assert_eq!((account.taken(), account.spent_usd), (usd(25), usd(25)));
        assert!(account.claims.is_empty());
        // Its last call was in another month.
        account.settle(("b", 0), usd(95));
        assert_eq!(account.taken(), usd(25));
    }

    #[test]
    fn what_a_killed_holder_had_claimed_stays_until_the_next_one_claims_anew() {
        let mut account = Account::default();
        account.claim(("a", 0), "killed", usd(5), (usd(6), usd(95)), CAP);
        assert_eq!(account.taken(), usd(90));
        // Its part says that it may have cost 35 in all.
        let next = account.claim(("a", 0), "next", usd(35), (usd(36), usd(45)), CAP);
        assert_eq!((next, account.taken()), (Some(usd(45)), usd(40)));
        // It was frozen, and comes late.
        account.rest(("a", 0), "killed", usd(6));
        assert_eq!(account.taken(), usd(40));
        account.rest(("a", 0), "next", usd(40));
        assert_eq!((account.taken(), account.reserved()), (usd(35), Usd::ZERO));
    }

    #[test]
    fn a_run_that_ended_claims_nothing_any_more() {
        let mut account = Account::default();
        for chunk in 0..3 {
            let amounts = (usd(1), usd(20));
            account.claim(("a", chunk), "x", Usd::ZERO, amounts, CAP);
        }
        account.claim(("b", 0), "x", Usd::ZERO, (usd(1), usd(20)), CAP);
        let mut finished = FinishedChunk::of(1, &Part::read(b"", 1), time("2026-11-01T00:00:00Z"));
        finished.tokens = Tokens {
            usd: usd(7),
            ..Tokens::default()
        };
        let ledger = Ledger::read(&finished.line(), 3);
        // Of chunk 2 nothing is known to have cost anything.
        account.end("a", &ledger, &BTreeMap::from([(0, usd(3))]));
        assert_eq!((account.spent_usd, account.taken()), (usd(10), usd(30)));
        assert_eq!(account.claims.len(), 1);
    }
}
