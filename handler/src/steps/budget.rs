//! The cap on what a dataset costs, so that dropping a file never spends a fortune unasked.

use super::message::Message;
use super::world::App;
use crate::labeling::strategy;
use crate::run::RunError;
use crate::run::budget::{BUDGET, Budget, Share};
use crate::run::entry::fold;
use crate::run::forecast::forecast;
use crate::run::funds::RunFunds;
use crate::run::ledger::Ledger;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::record::{ApiProfile, Record, State};
use crate::teacher::purse::Purse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Chunks of a file that are looked at to estimate what it costs.
const SAMPLED: usize = 64;

/// Added to what a sample says.
const MARGIN: f64 = 1.05;

impl App {
    /// What labelling the file of a run will cost, in US dollars; `None` where no price is known. Exact
    /// up to the length of rationales for a file of up to [`SAMPLED`] chunks; of a larger one so many are
    /// looked at, evenly spread, and a margin is added.
    pub(crate) async fn estimated_usd(
        &self,
        record: &Record,
        manifest: &Arc<Manifest>,
        profile: &ApiProfile,
    ) -> Result<Option<f64>, RunError> {
        let settings = &record.settings;
        let (Some(price), Ok(strategy)) = (
            self.settings.price_of(settings),
            strategy::by_name(&settings.strategy),
        ) else {
            return Ok(None);
        };
        let raw = self.data.raw(&record.dataset)?;
        let (sample, share) = sample(manifest);
        let profile = &profile.api_profile;
        let sample = [sample];
        // Not shared: instances do not know each other's answers.
        let estimated = forecast(&raw, &sample, settings, strategy, profile, false, |_| {});
        let tokens = estimated.await?.tokens(settings.with_rationales);
        let margin = if share < 1.0 { MARGIN } else { 1.0 };
        let all = price.of(tokens) / share * margin;
        Ok(Some(all * self.share_left(record).await?))
    }

    /// The share of a file's turns that a run asks about: all, or those that failed in its base.
    async fn share_left(&self, record: &Record) -> Result<f64, RunError> {
        let Some(base) = &record.base else {
            return Ok(1.0);
        };
        let base = self.runs.read(base).await?;
        let report = base.and_then(|base| base.report);
        let published = report.filter(|report| report.published.is_some());
        Ok(published.map_or(1.0, |report| {
            report.figures.failed as f64 / report.figures.turns.max(1) as f64
        }))
    }

    /// Takes from the dataset's budget what a run is estimated to cost, or says why it must wait for
    /// an approval.
    pub(crate) async fn afford(
        &self,
        record: &Record,
        usd: Option<f64>,
    ) -> Result<Result<(), String>, RunError> {
        let cap = self.settings.max_cost;
        let (run, dataset) = (&record.run, &record.dataset);
        // Without a price nothing can be compared; whoever approves says that it may go on all the same.
        let wanted = usd.unwrap_or(f64::MIN_POSITIVE);
        let mut affordable = false;
        let taken = self.runs.repin_by(dataset, BUDGET, |budget: &mut Budget| {
            let known = usd.is_some() || budget.unpriced.contains(run);
            affordable = known && budget.take(run, wanted, cap);
            affordable
        });
        let budget = taken.await?;
        if affordable {
            return Ok(Ok(()));
        }
        Ok(Err(match usd {
            Some(usd) => self.too_dear(&budget, run, usd),
            None => format!(
                "no price is known for {}, so that its cost cannot be compared with the cap; set \
                 SOFTLABEL_PRICE_INPUT and SOFTLABEL_PRICE_OUTPUT, or {}",
                record.settings.model,
                approve(run)
            ),
        }))
    }

    /// Why a run must wait that is to cost `usd`.
    fn too_dear(&self, budget: &Budget, run: &str, usd: f64) -> String {
        format!(
            "it is estimated to cost {usd:.2} USD, with {:.2} USD taken by other runs of the dataset \
             and {:.2} USD allowed for all; {}",
            budget.taken_by_others(run),
            budget.allowed(self.settings.max_cost),
            approve(run)
        )
    }

    /// What this process pays the calls of a run from; nothing where no price is known.
    pub(crate) fn purse(&self, record: &Record) -> Option<Arc<Purse>> {
        let price = self.settings.price_of(&record.settings)?;
        let (dataset, run) = (record.dataset.clone(), record.run.clone());
        let funds = RunFunds::new(self.runs.clone(), dataset, run, self.settings.max_cost);
        Some(Arc::new(Purse::drawing_from(price, Arc::new(funds))))
    }

    /// Whether a run must wait as its price was known when it was planned and is not any more.
    pub(crate) async fn has_lost_its_price(&self, record: &Record) -> Result<bool, RunError> {
        let priced = self.settings.price_of(&record.settings).is_some();
        if priced || record.estimated_usd.is_none() {
            return Ok(false);
        }
        match self.afford(record, None).await? {
            Ok(()) => Ok(false),
            Err(reason) => self.await_approval(record, None, reason).await,
        }
    }

    /// Whether a run that waits for an approval may go on by now: the cap was raised, others gave
    /// something back, or the word of an approval got lost.
    pub(crate) async fn is_affordable(&self, record: &Record) -> Result<bool, RunError> {
        let budget = self.runs.pinned::<Budget>(&record.dataset, BUDGET).await?;
        let mut budget = budget.unwrap_or_default();
        let priced = self.settings.price_of(&record.settings).is_some();
        let known = priced || budget.unpriced.contains(&record.run);
        let mut estimate = record.estimated_usd;
        if priced && record.chunks.is_some() {
            // By now other processes may have given back what they had drawn.
            estimate = Some(self.outlook(record, &budget).await?);
            let update = self.runs.update(&record.run, |record| {
                let changed = record.estimated_usd != estimate;
                record.estimated_usd = estimate;
                changed
            });
            update.await?;
        }
        let wanted = estimate.unwrap_or(f64::MIN_POSITIVE);
        Ok(known && budget.take(&record.run, wanted, self.settings.max_cost))
    }

    /// What a run will cost that was begun, in US dollars: what its purses have drawn, and what is left at
    /// the rate so far, at least of the call that there was no money for.
    async fn outlook(&self, record: &Record, budget: &Budget) -> Result<f64, RunError> {
        let ledger = self.ledger(record).await?;
        let drawn = budget.runs.get(&record.run).map_or(0.0, Share::drawn);
        let report = record.report.as_ref();
        let turns = report.map_or(0, |report| report.figures.turns);
        let done = ledger.sum().map_or(0, |sum| sum.turns);
        let rate = match done {
            0 => record.forecast_usd.unwrap_or_default() / turns.max(1) as f64,
            done => self.spent_usd(record, &ledger) / done as f64,
        };
        Ok(match turns.saturating_sub(done) {
            0 => drawn,
            left => drawn + (left as f64 * rate).max(record.next_usd),
        })
    }

    /// What the finished chunks of a run have cost, without what its base had cost.
    fn spent_usd(&self, record: &Record, ledger: &Ledger) -> f64 {
        let price = self.settings.price_of(&record.settings);
        let spent = price.zip(ledger.sum());
        spent.map_or(0.0, |(price, sum)| {
            price.of(sum.tokens) - price.of(sum.inherited)
        })
    }

    /// The run has used up what it may spend, as a call may cost `next`: it waits for an approval of what it
    /// will cost. Gives `false` where somebody let it go on since `record` was read.
    pub(crate) async fn outgrown(&self, record: &Record, next: f64) -> Result<bool, RunError> {
        let mut record = record.clone();
        record.next_usd = next;
        let budget = self.runs.pinned::<Budget>(&record.dataset, BUDGET).await?;
        let budget = budget.unwrap_or_default();
        let usd = self.outlook(&record, &budget).await?;
        let reason = format!(
            "what it may spend is used up: {}",
            self.too_dear(&budget, &record.run, usd)
        );
        self.await_approval(&record, Some(usd), reason).await
    }

    /// A run has ended: what it did not spend is free for others.
    pub(crate) async fn settle_budget(&self, record: &Record) -> Result<(), RunError> {
        let ledger = self.ledger(record).await?;
        let unfinished = self.unfinished_usd(record, &ledger).await?;
        let priced = self.settings.price_of(&record.settings).is_some();
        let spent = self.spent_usd(record, &ledger) + unfinished;
        let (run, dataset) = (&record.run, &record.dataset);
        let settled = self.runs.repin_by(dataset, BUDGET, |budget: &mut Budget| {
            let before = budget.clone();
            match priced {
                true => budget.settle(run, spent),
                // Its purses knew the price when they drew.
                false => budget.settle_drawn(run),
            }
            *budget != before
        });
        settled.await.map(drop)
    }

    /// What chunks have cost that were begun and not finished.
    async fn unfinished_usd(&self, record: &Record, ledger: &Ledger) -> Result<f64, RunError> {
        let Some(price) = self.settings.price_of(&record.settings) else {
            return Ok(0.0);
        };
        let (paths, work) = (BucketPaths::of_run(&record.run), self.runs.work());
        let begun = work.list(&paths.parts()).await?;
        let begun = begun
            .into_iter()
            .map(|part| part.path)
            .collect::<BTreeSet<_>>();
        let manifest = self.manifest(record).await?;
        let chunks = manifest.iter().flat_map(|manifest| manifest.chunks.iter());
        let mut usd = 0.0;
        for (number, chunk) in chunks.enumerate() {
            if ledger.has(number as u64) || !begun.contains(&paths.part(number)) {
                continue;
            }
            if let Some(lines) = work.read(&paths.part(number)).await? {
                let (records, _) = fold(&lines, chunk.turns);
                usd += records
                    .iter()
                    .map(|turn| price.of(turn.tokens) - price.of(turn.inherited))
                    .sum::<f64>();
            }
        }
        Ok(usd)
    }

    /// A run waits until somebody approves that it costs `usd`. Gives `false` where it goes on all the
    /// same, as somebody let it since `record` was read.
    pub(crate) async fn await_approval(
        &self,
        record: &Record,
        usd: Option<f64>,
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
        usd: Option<f64>,
    ) -> Result<Vec<Message>, RunError> {
        let mut waiting = self.runs.all().await?;
        waiting
            .retain(|record| record.dataset == dataset && record.state == State::AwaitingApproval);
        let approved = self.runs.repin_by(dataset, BUDGET, |budget: &mut Budget| {
            let others = waiting.iter().map(|record| {
                let share = budget.runs.get(&record.run);
                let taken = share.map_or(0.0, |share| share.taken_usd);
                record.estimated_usd.unwrap_or_default().max(taken) - taken
            });
            // A little more, as sums of fractions are not exact.
            let sum = (budget.taken() + others.sum::<f64>()) * 1.01 + 0.01;
            budget.approve(usd.unwrap_or(sum));
            // No sum can be kept to where no price is known.
            let unpriced = waiting
                .iter()
                .filter(|record| usd.is_none() && record.estimated_usd.is_none());
            let unpriced = unpriced.map(|record| record.run.clone());
            budget.unpriced.extend(unpriced);
            true
        });
        approved.await?;
        Ok(waiting
            .iter()
            .map(|record| Message::plan(&record.run))
            .collect())
    }
}

/// What a person can do about it.
fn approve(run: &str) -> String {
    format!("POST /api/runs/{run}/approve lets it go on")
}

/// The manifest with up to [`SAMPLED`] of its chunks, and their share of its turns.
fn sample(manifest: &Arc<Manifest>) -> (Arc<Manifest>, f64) {
    let every = manifest.chunks.len().div_ceil(SAMPLED).max(1);
    if every == 1 {
        return (Arc::clone(manifest), 1.0);
    }
    let chunks = manifest.chunks.iter().step_by(every).cloned();
    let chunks = chunks.collect::<Vec<_>>();
    let turns = chunks
        .iter()
        .map(|chunk| u64::from(chunk.turns))
        .sum::<u64>();
    let share = turns as f64 / manifest.turns.max(1) as f64;
    let sample = Manifest {
        chunks,
        ..manifest.as_ref().clone()
    };
    (Arc::new(sample), share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::metadata::SourceFile;
    use crate::run::manifest::Chunk;

    #[test]
    fn a_large_file_is_sampled_evenly() {
        let chunk = |number: u64| Chunk {
            bytes: number..number + 1,
            first_conversation: number,
            conversations: 1,
            turns: 100,
        };
        let manifest = |chunks: u64| {
            Arc::new(Manifest {
                split: None,
                bucket: None,
                source: SourceFile::default(),
                conversations: chunks,
                turns: chunks * 100,
                chunks: (0..chunks).map(chunk).collect(),
                broken_conversations: 0,
                broken: Vec::new(),
                salvaged: None,
            })
        };
        let (whole, share) = sample(&manifest(SAMPLED as u64));
        assert_eq!((whole.chunks.len(), share), (SAMPLED, 1.0));
        let (some, share) = sample(&manifest(2500));
        assert!(some.chunks.len() <= SAMPLED && some.chunks.len() > SAMPLED / 2);
        assert!((share - some.chunks.len() as f64 / 2500.0).abs() < 1e-12);
        assert!(some.chunks.last().unwrap().bytes.start > 2400);
    }
}
