//! The cap on what a dataset costs, so that dropping a file never spends a fortune unasked.

use super::billed;
use super::message::Message;
use super::trouble::Trouble;
use super::world::{App, InTrouble};
use crate::labeling::strategy;
use crate::money::Usd;
use crate::run::RunError;
use crate::run::budget::{BUDGET, Budget, Share, Woken};
use crate::run::entry::Part;
use crate::run::forecast::forecast;
use crate::run::funds::{Caps, ChunkFunds};
use crate::run::ledger::Ledger;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::record::{ApiProfile, Record, State};
use crate::teacher::tariff::Tariff;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Chunks of a file that are looked at to estimate what it costs.
const SAMPLED: usize = 64;

/// Tokens of the prompts and answers that settle the request parameters of a deployment, rather more.
const PROBE_PROMPT: u64 = 2_000;
const PROBE_ANSWER: u64 = 500;

/// What a sample says is multiplied by this, in percent.
const MARGIN: u64 = 105;

impl App {
    /// The prices of a run's calls. The model that answered the first call counts.
    fn tariff(&self, record: &Record, profile: Option<&ApiProfile>) -> Tariff {
        let settings = &record.settings;
        let profile = record.profile.as_ref().or(profile);
        let answered_by = profile.and_then(|profile| profile.answered_by.as_deref());
        let set = self.settings.price;
        Tariff::new(set, &settings.model, &settings.deployment, answered_by)
    }

    /// Whether the price of a run's calls is known, under `profile` where the run has none yet.
    pub(crate) fn is_priced(&self, record: &Record, profile: Option<&ApiProfile>) -> bool {
        self.tariff(record, profile).expected().is_some()
    }

    /// What it may cost to settle the request parameters of a run, where the month has no money for that.
    pub(crate) async fn probe_beyond_month(
        &self,
        record: &Record,
    ) -> Result<Option<Usd>, RunError> {
        let (dataset, settings) = (&record.dataset, &record.settings);
        if !self.caps_months()
            || record.profile.is_some()
            || self.pinned_profile(dataset, settings).await?.is_some()
        {
            return Ok(None);
        }
        let next = self.probe_at_most(record);
        Ok((!self.month_has(next).await?).then_some(next))
    }

    /// What it may cost to settle the request parameters of a run.
    pub(crate) fn probe_at_most(&self, record: &Record) -> Usd {
        self.tariff(record, None).most(PROBE_PROMPT, PROBE_ANSWER)
    }

    /// What labelling the file of a run will cost; `None` where no price is known. Exact up to the length
    /// of rationales for a file of up to [`SAMPLED`] chunks; of a larger one this many are looked at,
    /// evenly spread, and a margin is added.
    pub(crate) async fn estimate(
        &self,
        record: &Record,
        manifest: &Arc<Manifest>,
        profile: &ApiProfile,
    ) -> Result<Option<Usd>, RunError> {
        let settings = &record.settings;
        let (Some(price), Ok(strategy)) = (
            self.tariff(record, Some(profile)).expected(),
            strategy::by_name(&settings.strategy),
        ) else {
            return Ok(None);
        };
        let raw = self.data.raw(&record.dataset)?;
        let (sample, turns) = sample(manifest);
        let profile = &profile.api_profile;
        let sample = [sample];
        // Not shared: instances do not know each other's answers.
        let estimated = forecast(&raw, &sample, settings, strategy, profile, false, |_| {});
        let tokens = estimated.await?.tokens(settings.with_rationales);
        let sampled = price.of(tokens);
        let all = match turns < manifest.turns {
            true => sampled.times(manifest.turns, turns).times(MARGIN, 100),
            false => sampled,
        };
        let (left, of) = self.turns_left(record).await?;
        Ok(Some(all.times(left, of)))
    }

    /// How many of how many turns a run asks about: all, or those that the runs left that it begins with.
    async fn turns_left(&self, record: &Record) -> Result<(u64, u64), RunError> {
        let (mut left, mut of) = (1, 1);
        for base in record.bases() {
            let Some(base) = self.runs.read(base).await? else {
                continue;
            };
            let figures = base.report.as_ref().map(|report| &report.figures);
            let turns = figures.map_or(0, |figures| figures.turns).max(1);
            let wanted = match base.is_published() {
                true => figures.map_or(0, |figures| figures.failed),
                false => turns.saturating_sub(billed::of(self, &base).await?.turns),
            };
            if wanted * of < left * turns {
                (left, of) = (wanted, turns);
            }
        }
        Ok((left, of))
    }

    /// Promises a run its estimated cost, or says why it must wait for an approval. Without approvals, as
    /// on the command line, no promise is needed.
    pub(crate) async fn afford(
        &self,
        record: &Record,
        profile: Option<&ApiProfile>,
        usd: Option<Usd>,
    ) -> Result<Result<(), String>, RunError> {
        let Some(cap) = self.settings.max_cost else {
            return Ok(Ok(()));
        };
        let run = &record.run;
        let wanted = match self.settings.asks_first {
            true => usd.unwrap_or_default(),
            false => Usd::ZERO,
        };
        let promised = self.runs.change_budget(&record.dataset, |budget| {
            match self.is_known(usd.is_some(), budget, run) && budget.promise(run, wanted, cap) {
                true => Ok(()),
                false => Err(budget.clone()),
            }
        });
        Ok(promised.await?.map_err(|budget| match usd {
            Some(usd) => too_dear(&budget, run, usd, cap),
            None => self.unpriced(run, self.tariff(record, profile).answering()),
        }))
    }

    /// Whether a run may be paid: its price is known, or it was approved at any cost and there is no cap
    /// on the month.
    fn is_known(&self, is_priced: bool, budget: &Budget, run: &str) -> bool {
        is_priced || !self.caps_months() && budget.unpriced.contains(run)
    }

    /// What an execution of a chunk pays its calls from; nothing where no cap is kept.
    pub(crate) fn funds(&self, record: &Record, chunk: u64) -> Option<Arc<ChunkFunds>> {
        let caps = Caps {
            dataset: self
                .settings
                .max_cost
                .filter(|_| self.is_priced(record, None))?,
            month: self.settings.max_cost_per_month,
        };
        let (dataset, run) = (record.dataset.clone(), record.run.clone());
        let funds = ChunkFunds::new(self.runs.clone(), dataset, run, chunk, caps);
        Some(Arc::new(funds))
    }

    /// Whether a run must wait because its price was known when it was planned and is unknown now.
    pub(crate) async fn has_lost_its_price(&self, record: &Record) -> Result<bool, RunError> {
        let was_known = record.estimated_usd.is_some() || self.caps_months();
        if self.is_priced(record, None) || !was_known {
            return Ok(false);
        }
        match self.afford(record, None, None).await? {
            Ok(()) => Ok(false),
            Err(reason) => self.await_approval(record, None, reason).await,
        }
    }

    /// A model answers the calls of a run whose price is not known.
    pub(crate) async fn has_unknown_model(
        &self,
        record: &Record,
        model: &str,
    ) -> Result<bool, RunError> {
        // Its price is unknown until one is set.
        let learned = self.runs.update(&record.run, |record| {
            let profile = record.profile.as_mut();
            profile.is_some_and(|profile| {
                let before = profile.answered_by.replace(model.to_owned());
                before.as_deref() != Some(model)
            })
        });
        learned.await?;
        if self.settings.in_trouble == InTrouble::Halt {
            self.halt(Trouble::Connection(format!(
                "{model} answers, and its price is unknown, so --max-cost cannot be enforced; set \
                 --price-input and --price-output"
            )));
            return Ok(true);
        }
        let reason = self.unpriced(&record.run, model);
        self.await_approval(record, None, reason).await
    }

    /// The unfinished chunks of a run are sent: notes in the budget which of them hold money that may
    /// come back, and what was spent without a reservation.
    pub(crate) async fn send_chunks(
        &self,
        record: &Record,
        manifest: &Manifest,
        ledger: &Ledger,
    ) -> Result<(), RunError> {
        if self.settings.max_cost.is_none() {
            return Ok(());
        }
        let run = &record.run;
        self.settle_run_in_month(run, ledger, None).await?;
        let budget = self.runs.pinned::<Budget>(&record.dataset, BUDGET).await?;
        let share = budget.and_then(|budget| budget.runs.get(run).cloned());
        let share = share.unwrap_or_default();
        // Where a cap is always kept, the budget knows every chunk that was begun.
        let knows = |chunk: u64| self.settings.asks_first && share.chunks.contains_key(&chunk);
        let found = self
            .unfinished(record, manifest, |chunk| ledger.has(chunk) || knows(chunk))
            .await?;
        let send = |budget: &mut Budget| budget.send(run, ledger, &found);
        self.runs.change_budget(&record.dataset, send).await
    }

    /// Whether a run that waits for approval may continue: the cap was raised, other runs gave money
    /// back, or the message about an approval was lost.
    pub(crate) async fn is_affordable(&self, record: &Record) -> Result<bool, RunError> {
        let Some(cap) = self.settings.max_cost else {
            return Ok(true);
        };
        let budget = self.runs.pinned::<Budget>(&record.dataset, BUDGET).await?;
        let mut budget = budget.unwrap_or_default();
        let priced = self.is_priced(record, None);
        let known = self.is_known(priced, &budget, &record.run);
        let mut estimate = record.estimated_usd;
        if priced && record.chunks.is_some() {
            // Other runs may have given back what they had reserved.
            estimate = Some(self.outlook(record, &budget).await?);
            let update = self.runs.update(&record.run, |record| {
                let changed = record.estimated_usd != estimate;
                record.estimated_usd = estimate;
                changed
            });
            update.await?;
        }
        Ok(known && budget.promise(&record.run, estimate.unwrap_or_default(), cap))
    }

    /// What a run will cost that was begun: what its chunks have cost and may cost, and what is left at the
    /// rate so far, at least of the call that there was no money for.
    async fn outlook(&self, record: &Record, budget: &Budget) -> Result<Usd, RunError> {
        let ledger = self.ledger(record).await?;
        let share = budget.runs.get(&record.run);
        let committed = share.map_or(Usd::ZERO, Share::committed);
        let report = record.report.as_ref();
        let turns = report.map_or(0, |report| report.figures.turns);
        let sum = ledger.sum();
        let done = sum.as_ref().map_or(0, |sum| sum.turns);
        let left = match (turns.saturating_sub(done), sum) {
            (0, _) => return Ok(committed),
            (left, None) => record.forecast_usd.unwrap_or_default().times(left, turns),
            (left, Some(sum)) => sum.own().usd.times(left, done),
        };
        Ok(committed + left.max(record.next_usd))
    }

    /// A run cannot pay a call of up to `next`: it waits for approval of its projected cost. Gives
    /// `false` if it was approved since `record` was read.
    pub(crate) async fn outgrown(&self, record: &Record, next: Usd) -> Result<bool, RunError> {
        if self.settings.in_trouble == InTrouble::Halt {
            let cap = self.settings.max_cost.unwrap_or_default();
            self.halt(Trouble::Cost { cap, next });
            return Ok(true);
        }
        let mut record = record.clone();
        record.next_usd = next;
        let budget = self.runs.pinned::<Budget>(&record.dataset, BUDGET).await?;
        let budget = budget.unwrap_or_default();
        let usd = self.outlook(&record, &budget).await?;
        let cap = self.settings.max_cost.unwrap_or_default();
        let reason = format!(
            "what it may spend is used up: {}",
            too_dear(&budget, &record.run, usd, cap)
        );
        self.await_approval(&record, Some(usd), reason).await
    }

    /// Lets runs wait that have used up their money. Gives the messages for chunks that can be paid now.
    /// `record` was read before that.
    pub(crate) async fn follow(
        &self,
        woken: Woken,
        record: &Record,
    ) -> Result<Vec<Message>, RunError> {
        for (run, next) in woken.exhausted {
            match run == record.run {
                true => drop(self.outgrown(record, next).await?),
                false => {
                    if let Some(other) = self.runs.read(&run).await? {
                        self.outgrown(&other, next).await?;
                    }
                }
            }
        }
        let again = woken.again.iter();
        let messages = again.map(|(run, chunk)| Message::label(run, *chunk));
        Ok(messages.collect())
    }

    /// A chunk of a run is in its ledger, and has cost `usd`. Gives the messages for chunks that can be
    /// paid now.
    pub(crate) async fn settle_chunk(
        &self,
        record: &Record,
        chunk: u64,
        usd: Usd,
    ) -> Result<Vec<Message>, RunError> {
        let Some(cap) = self.settings.max_cost else {
            return Ok(Vec::new());
        };
        let whose = (record.run.as_str(), chunk);
        let settle = |budget: &mut Budget| budget.settle(whose, usd, cap);
        let woken = self.runs.change_budget(&record.dataset, settle).await?;
        self.settle_in_month(whose, usd).await?;
        self.follow(woken, record).await
    }

    /// A run has ended: what it did not spend is free for others. Gives the messages for their chunks.
    pub(crate) async fn settle_budget(&self, record: &Record) -> Result<Vec<Message>, RunError> {
        if self.settings.max_cost.is_none() || record.settled {
            return Ok(Vec::new());
        }
        let ledger = self.ledger(record).await?;
        let manifest = self.manifest(record).await?;
        self.settle_run(record, &ledger, manifest.as_deref()).await
    }

    /// No chunk of a run is to make calls any more: what it did not spend is free for others. Gives the messages for
    /// their chunks.
    pub(crate) async fn settle_run(
        &self,
        record: &Record,
        ledger: &Ledger,
        manifest: Option<&Manifest>,
    ) -> Result<Vec<Message>, RunError> {
        let Some(cap) = self.settings.max_cost else {
            return Ok(Vec::new());
        };
        let unsettled = match manifest.filter(|_| !ledger.is_full(record)) {
            Some(manifest) => {
                let is_finished = |chunk| ledger.has(chunk);
                self.unfinished(record, manifest, is_finished).await?
            }
            None => BTreeMap::new(),
        };
        let run = &record.run;
        let month = self.settle_run_in_month(run, ledger, Some(&unsettled));
        month.await?;
        let settled = ledger.finished().iter().map(|chunk| chunk.own().usd);
        let usd = settled.chain(unsettled.into_values()).sum();
        let end = |budget: &mut Budget| budget.end(run, usd, cap);
        let woken = self.runs.change_budget(&record.dataset, end).await?;
        self.follow(woken, record).await
    }

    /// The cost of the chunks of a run that were begun, except those that `is_known`.
    async fn unfinished(
        &self,
        record: &Record,
        manifest: &Manifest,
        is_known: impl Fn(u64) -> bool,
    ) -> Result<BTreeMap<u64, Usd>, RunError> {
        let (paths, work) = (BucketPaths::of_run(&record.run), self.runs.work());
        let begun = work.list(&paths.parts()).await?.into_iter();
        let mut begun = begun.map(|part| part.path).collect::<Vec<_>>();
        begun.sort_unstable();
        let mut found = BTreeMap::new();
        for (number, chunk) in manifest.chunks.iter().enumerate() {
            let path = paths.part(number);
            let is_begun = begun.binary_search(&path).is_ok();
            if !is_begun || is_known(number as u64) {
                continue;
            }
            let lines = work.read(&path).await?.unwrap_or_default();
            let part = Part::read(&lines, chunk.turns);
            let lost = part.lost().unwrap_or_default();
            let usd = part.own().usd + lost.usd;
            if usd > Usd::ZERO {
                found.insert(number as u64, usd);
            }
        }
        Ok(found)
    }

    /// A run waits until a cost of `usd` is approved. Gives `false` if it was approved since `record` was
    /// read.
    pub(crate) async fn await_approval(
        &self,
        record: &Record,
        usd: Option<Usd>,
        reason: String,
    ) -> Result<bool, RunError> {
        let now = self.runs.clock().now();
        let (run, since, next) = (&record.run, record.since, record.next_usd);
        let (mut goes_on, mut waits) = (false, false);
        let awaits = self.runs.update(run, |record| {
            goes_on = record.state == State::Labeling && record.since != since;
            waits = !goes_on && record.await_approval(usd, reason.clone(), now);
            record.next_usd = next;
            waits
        });
        awaits.await?;
        if waits {
            let dataset = &record.dataset;
            tracing::warn!(
                event = "run_awaiting_approval",
                run,
                dataset,
                reason,
                "the run waits for an approval of its cost"
            );
        }
        Ok(!goes_on)
    }

    /// Approves `usd` for a dataset or, without a sum, what all its runs are estimated to cost, and lets
    /// those without a price go on. Gives the messages for the runs that waited for it.
    pub(crate) async fn approve(
        &self,
        dataset: &str,
        usd: Option<Usd>,
    ) -> Result<Vec<Message>, RunError> {
        // No other run waits for one than the current ones of the files.
        let runs = self.runs.of_dataset(dataset).await?.into_iter();
        let waiting = runs
            .map(|(_, record)| record)
            .filter(|record| record.state == State::AwaitingApproval)
            .collect::<Vec<_>>();
        let approved = self.runs.change_budget(dataset, |budget| {
            let others = waiting.iter().map(|record| {
                let share = budget.runs.get(&record.run);
                let taken = share.map_or(Usd::ZERO, Share::taken);
                record
                    .estimated_usd
                    .unwrap_or_default()
                    .saturating_sub(taken)
            });
            let sum = budget.taken() + others.sum();
            // A little more: calls are let through at more than they will cost, also the last ones.
            let enough = sum.times(101, 100) + Usd::from_nanos(10_000_000);
            budget.approve(usd.unwrap_or(enough));
            // No sum can be kept to where no price is known.
            let unpriced = waiting
                .iter()
                .filter(|record| usd.is_none() && record.estimated_usd.is_none());
            let unpriced = unpriced.map(|record| record.run.clone());
            budget.unpriced.extend(unpriced);
        });
        approved.await?;
        Ok(waiting
            .iter()
            .map(|record| Message::plan(&record.run))
            .collect())
    }
}

impl App {
    /// Why a run must wait whose calls `model` answers.
    fn unpriced(&self, run: &str, model: &str) -> String {
        let (cap, otherwise) = match self.caps_months() {
            true => ("SOFTLABEL_MAX_COST_PER_MONTH", String::new()),
            false => ("the cap", format!(", or {}", approve(run))),
        };
        format!(
            "no price is known for {model}, so its cost cannot be compared with {cap}; set \
             SOFTLABEL_PRICE_INPUT and SOFTLABEL_PRICE_OUTPUT{otherwise}"
        )
    }
}

/// Why a run must wait that is to cost `usd`.
fn too_dear(budget: &Budget, run: &str, usd: Usd, cap: Usd) -> String {
    format!(
        "it is estimated to cost {usd:.2} USD, with {:.2} USD taken by other runs of the dataset and {:.2} \
         USD allowed for all; {}",
        budget.taken_by_others(run),
        budget.allowed(cap),
        approve(run)
    )
}

/// What a person can do about it.
fn approve(run: &str) -> String {
    format!(
        "POST /api/runs/{run}/approve with the body {{\"all\": true}} and Content-Type: application/json lets \
         it go on"
    )
}

/// The manifest with up to [`SAMPLED`] of its chunks, and how many turns those have.
fn sample(manifest: &Arc<Manifest>) -> (Arc<Manifest>, u64) {
    let every = manifest.chunks.len().div_ceil(SAMPLED).max(1);
    if every == 1 {
        return (Arc::clone(manifest), manifest.turns);
    }
    let chunks = manifest.chunks.iter().step_by(every).cloned();
    let chunks = chunks.collect::<Vec<_>>();
    let turns = chunks.iter().map(|chunk| u64::from(chunk.turns)).sum();
    let sample = Manifest {
        chunks,
        ..manifest.as_ref().clone()
    };
    (Arc::new(sample), turns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::manifest::Chunk;

    #[test]
    fn a_large_file_is_sampled_evenly() {
        let chunk = |number: u64| Chunk {
            bytes: number..number + 1,
            first_conversation: number,
            conversations: 1,
            turns: 100,
            picked: None,
        };
        let manifest = |chunks: u64| {
            Arc::new(Manifest {
                conversations: chunks,
                turns: chunks * 100,
                chunks: (0..chunks).map(chunk).collect(),
                ..Manifest::default()
            })
        };
        let (whole, turns) = sample(&manifest(SAMPLED as u64));
        assert_eq!((whole.chunks.len(), turns), (SAMPLED, 100 * SAMPLED as u64));
        let (some, turns) = sample(&manifest(2500));
        assert!(some.chunks.len() <= SAMPLED && some.chunks.len() > SAMPLED / 2);
        assert_eq!(turns, 100 * some.chunks.len() as u64);
        assert!(some.chunks.last().unwrap().bytes.start > 2400);
    }
}
