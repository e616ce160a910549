//! What a dataset may cost: a cap, an approved amount above it, and how its runs use them.
//!
//! A budget is changed only by compare-and-swap. Before a chunk sends calls it [reserves](Budget::reserve)
//! what they may cost, all of its calls where there is room. Its line in the run's ledger
//! [settles](Budget::settle) that: the reservation goes, and the chunk's cost is spent. So a chunk takes
//! about two writes. A chunk whose work ends earlier [rests](Budget::rest): it keeps reserved what it has
//! cost. A chunk whose process was killed keeps its whole reservation until the next holder learns from
//! its part what it may have cost, and reserves again.
//!
//! A chunk without money rests too, and is sent again when other chunks have given back enough. If none
//! of them can, the run waits for approval of its projected cost.
//!
//! # How far the cap can be passed
//!
//! A call is admitted at the full price of its prompt and longest answer, and counts as that if its
//! answer has no readable bill. So all instances together, however many are started and killed, are
//! billed no more than the cap, except for:
//!
//! * tokens that the service counts in prompts beyond softlabel's estimate, in calls that are in flight
//!   when the first bill shows the difference: for each process and run one call per slot
//!   (`SOFTLABEL_CONCURRENCY`). From then on estimates are higher by the difference;
//! * the calls that settle the request parameters, a few for each dataset and deployment. They are charged
//!   at their most before they are sent, and at their bill once it is known; after a process died in
//!   between, the next one makes them again;
//! * calls in flight when the first answer shows that another model than the priced one answers.
//!
//! A run whose price is unknown is not bounded once it was approved.

use super::ledger::Ledger;
use crate::money::Usd;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Under which name a dataset's budget is pinned.
pub const BUDGET: &str = "budget";

/// The budget of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The approved amount, if it is above the cap.
    pub approved_usd: Option<Usd>,
    /// What each run has of it.
    pub runs: BTreeMap<String, Share>,
    /// Runs that may go on though no price is known.
    #[serde(default)]
    pub unpriced: BTreeSet<String>,
}

/// What one run has of a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// What it was estimated to cost when it began: other runs leave it that much.
    pub promised_usd: Usd,
    /// What its settled chunks have cost.
    pub spent_usd: Usd,
    /// Its chunks that have cost something and are not settled.
    pub chunks: BTreeMap<u64, Reservation>,
    /// It has ended, and reserves nothing any more.
    pub ended: bool,
}

/// What is reserved for a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// What the chunk may cost in all, with what it has cost.
    pub usd: Usd,
    /// Whose it is.
    pub state: Holding,
}

/// Who may spend what is reserved for a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// The holder of this name may.
    HeldBy(String),
    /// Nobody yet: the chunk was sent, and its next holder will.
    Sent,
    /// Nobody: there was no money for a call.
    Refused {
        /// What the call may cost.
        next_usd: Usd,
        /// What the chunk wanted to reserve.
        wanted_usd: Usd,
    },
    /// Nobody may.
    Idle,
}

impl Holding {
    /// Whether something of the reservation may come back.
    fn is_active(&self) -> bool {
        matches!(self, Self::HeldBy(_) | Self::Sent)
    }
}

/// Why nothing is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReserved {
    /// Less than that is left.
    Empty,
    /// The chunk has another holder, or its run has ended.
    Overtaken,
}

/// What a change means for chunks that there was no money for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Chunks to send again, with their runs.
    pub again: Vec<(String, u64)>,
    /// Runs that have used up what they may spend, and what a call may cost that there was no money for.
    pub exhausted: Vec<(String, Usd)>,
}

impl Share {
    /// What its chunks have cost and may cost.
    pub fn committed(&self) -> Usd {
        self.spent_usd + self.chunks.values().map(|chunk| chunk.usd).sum()
    }

    /// What other runs leave it.
    pub fn taken(&self) -> Usd {
        self.committed().max(self.promised_usd)
    }
}

impl Budget {
    /// What may be spent, with a cap of `cap`.
    pub fn allowed(&self, cap: Usd) -> Usd {
        self.approved_usd.unwrap_or_default().max(cap)
    }

    /// What is taken, by all runs.
    pub fn taken(&self) -> Usd {
        self.runs.values().map(Share::taken).sum()
    }

    /// What is taken by other runs than `run`.
    pub fn taken_by_others(&self, run: &str) -> Usd {
        let others = self.runs.iter().filter(|(name, _)| *name != run);
        others.map(|(_, share)| share.taken()).sum()
    }

    /// What a run may cost at most, for what the others leave it. What it was promised is not taken away
    /// again when the cap is lowered.
    fn room(&self, run: &str, cap: Usd) -> Usd {
        let promised = self.runs.get(run).map(|share| share.promised_usd);
        let room = self.allowed(cap).saturating_sub(self.taken_by_others(run));
        room.max(promised.unwrap_or_default())
    }

    /// Promises `run` that it may cost `usd` in all, or its earlier promise if that is more. Returns
    /// false, and changes nothing, if less is left.
    pub fn promise(&mut self, run: &str, usd: Usd, cap: Usd) -> bool {
        let room = self.room(run, cap);
        let share = self.runs.get(run);
        if usd > room || share.is_some_and(|share| share.ended) {
            return false;
        }
        let share = self.runs.entry(run.to_owned()).or_default();
        share.promised_usd = share.promised_usd.max(usd);
        true
    }

    /// Lets a chunk of `run` cost `wanted` in all, or less, but no less than `least`; gives how much that
    /// is. `holder` may spend it. Its first reservation takes the place of an earlier holder's.
    ///
    /// # Errors
    /// Why nothing is reserved; then nothing changes.
    pub fn reserve(
        &mut self,
        (run, chunk): (&str, u64),
        (holder, is_first): (&str, bool),
        (least, wanted): (Usd, Usd),
        cap: Usd,
    ) -> Result<Usd, NotReserved> {
        let room = self.room(run, cap);
        let share = self.runs.entry(run.to_owned()).or_default();
        let there = share.chunks.get(&chunk);
        let is_own = there.is_some_and(|there| there.state == Holding::HeldBy(holder.to_owned()));
        if share.ended || !(is_first || is_own) {
            return Err(NotReserved::Overtaken);
        }
        let own = there.map_or(Usd::ZERO, |there| there.usd);
        let others = share.committed().saturating_sub(own);
        let most = room.saturating_sub(others);
        if least > most {
            return Err(NotReserved::Empty);
        }
        let usd = wanted.max(least).min(most);
        let state = Holding::HeldBy(holder.to_owned());
        share.chunks.insert(chunk, Reservation { usd, state });
        Ok(usd)
    }

    /// The work on a chunk of `run` ends, after it has cost `usd`, and the chunk is not finished. `refused`
    /// says what a call may cost that there was no money for, and what was wanted, if that is why. A
    /// `holder` that reserved nothing (`is_first`) takes the place of an earlier one. For one that did, nothing
    /// changes where its reservation is gone: the chunk has another holder by now, or stands in the ledger.
    pub fn rest(
        &mut self,
        (run, chunk): (&str, u64),
        (holder, is_first): (&str, bool),
        usd: Usd,
        refused: Option<(Usd, Usd)>,
        cap: Usd,
    ) -> Woken {
        let share = self.runs.entry(run.to_owned()).or_default();
        let is_left = share.chunks.get(&chunk).is_some_and(
            |there| !matches!(&there.state, Holding::HeldBy(other) if other != holder),
        );
        if !share.ended && (is_first || is_left) {
            let state = match refused {
                Some((next_usd, wanted_usd)) => Holding::Refused {
                    next_usd,
                    wanted_usd,
                },
                None => Holding::Idle,
            };
            share.chunks.insert(chunk, Reservation { usd, state });
        }
        self.wake(cap)
    }

    /// A chunk of `run` stands in its ledger, and has cost `usd`. Said twice it is the same.
    pub fn settle(&mut self, (run, chunk): (&str, u64), usd: Usd, cap: Usd) -> Woken {
        if let Some(share) = self.runs.get_mut(run)
            && share.chunks.remove(&chunk).is_some()
        {
            share.spent_usd += usd;
        }
        self.wake(cap)
    }

    /// Notes that the chunks of `run` that are not in its `ledger` are sent. `found` are the chunks among
    /// them that have cost something without a reservation, because the run was labelled without a cap.
    pub fn send(&mut self, run: &str, ledger: &Ledger, found: &BTreeMap<u64, Usd>) {
        let share = self.runs.entry(run.to_owned()).or_default();
        if share.ended {
            return;
        }
        let mut sum = Usd::ZERO;
        for finished in ledger.finished() {
            let usd = finished.own().usd;
            sum += usd;
            if share.chunks.remove(&finished.chunk).is_some() {
                share.spent_usd += usd;
            }
        }
        share.spent_usd = share.spent_usd.max(sum);
        for (chunk, usd) in found {
            let state = Holding::Sent;
            let there = share.chunks.entry(*chunk);
            let there = there.or_insert(Reservation { usd: *usd, state });
            there.usd = there.usd.max(*usd);
        }
        for there in share.chunks.values_mut() {
            if !there.state.is_active() {
                there.state = Holding::Sent;
            }
        }
    }

    /// A run has ended, and its chunks have cost `usd` in all, by its ledger and by the parts of those that are
    /// not in there.
    pub fn end(&mut self, run: &str, usd: Usd, cap: Usd) -> Woken {
        let share = self.runs.entry(run.to_owned()).or_default();
        if !share.ended {
            share.spent_usd = usd;
            share.chunks.clear();
            share.promised_usd = Usd::ZERO;
            share.ended = true;
        }
        self.wake(cap)
    }

    /// Approves that the dataset costs `usd` in all; less than before changes nothing.
    pub fn approve(&mut self, usd: Usd) {
        self.approved_usd = Some(self.approved_usd.unwrap_or_default().max(usd));
    }

    /// Finds the chunks that can be paid now or, if no chunk can give anything back, the runs that have
    /// used up their money.
    fn wake(&mut self, cap: Usd) -> Woken {
        let mut woken = Woken::default();
        let mut refused = Vec::new();
        let mut is_active = false;
        for (run, share) in &self.runs {
            for (chunk, there) in &share.chunks {
                is_active |= there.state.is_active();
                if let Holding::Refused {
                    next_usd,
                    wanted_usd,
                } = there.state
                {
                    refused.push((run.clone(), *chunk, next_usd, wanted_usd));
                }
            }
        }
        for (run, chunk, next, wanted) in &refused {
            let committed = self.runs.get(run).map(Share::committed);
            let left = self.room(run, cap);
            let left = left.saturating_sub(committed.unwrap_or_default());
            if *next <= left {
                // Reserved now, so that no other chunk takes it.
                let reserved = *wanted.max(next).min(&left);
                self.change(run, *chunk, reserved, Holding::Sent);
                woken.again.push((run.clone(), *chunk));
            }
        }
        if woken.again.is_empty() && !is_active {
            for (run, chunk, next, _) in refused {
                self.change(&run, chunk, Usd::ZERO, Holding::Idle);
                match woken.exhausted.last_mut() {
                    Some((last, least)) if *last == run => *least = next.min(*least),
                    _ => woken.exhausted.push((run, next)),
                }
            }
        }
        woken
    }

    /// Reserves `more` for a chunk.
    fn change(&mut self, run: &str, chunk: u64, more: Usd, state: Holding) {
        let share = self.runs.get_mut(run);
        if let Some(there) = share.and_then(|share| share.chunks.get_mut(&chunk)) {
            there.usd += more;
            there.state = state;
        }
    }
}

#[cfg(test)]
mod tests;
