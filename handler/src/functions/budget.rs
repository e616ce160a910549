//! The cap on what a dataset costs, so that dropping a file never spends a fortune unasked.

use super::app::App;
use super::message::RunMessage;
use crate::labeling::strategy;
use crate::run::RunError;
use crate::run::budget::Budget;
use crate::run::estimate::estimate;
use crate::run::ledger::Ledger;
use crate::run::manifest::Manifest;
use crate::run::record::{ApiProfile, Record, State};
use std::sync::Arc;

/// Where a dataset's budget is pinned.
const BUDGET: &str = "budget";

impl App {
    /// What labelling the file of a run will cost at most, in US dollars; `None` where no price is
    /// known.
    pub(super) async fn estimated_usd(
        &self,
        record: &Record,
        manifest: &Arc<Manifest>,
        profile: &ApiProfile,
    ) -> Result<Option<f64>, RunError> {
        let Some(price) = self.settings.price_of(&record.settings) else {
            return Ok(None);
        };
        let settings = &record.settings;
        let Ok(strategy) = strategy::by_name(&settings.strategy) else {
            return Ok(None);
        };
        let raw = self.data.raw(&record.dataset)?;
        let manifests = [Arc::clone(manifest)];
        let profile = &profile.api_profile;
        let estimated = estimate(&raw, &manifests, settings, strategy, profile, true, |_| {});
        let tokens = estimated.await?.tokens(settings.with_rationales);
        Ok(Some(price.of(tokens) * self.share_left(record).await?))
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
    pub(super) async fn afford(
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
            let known = usd.is_some() || budget.approved_usd.is_some();
            affordable = known && budget.take(run, wanted, cap);
            affordable
        });
        let budget = taken.await?;
        if affordable {
            return Ok(Ok(()));
        }
        let approve = format!("POST /api/runs/{run}/approve lets it go on");
        Ok(Err(match usd {
            Some(usd) => format!(
                "it is estimated to cost {usd:.2} USD, with {:.2} USD taken by other runs of the \
                 dataset and {:.2} USD allowed for all; {approve}",
                budget.taken_by_others(run),
                budget.allowed(cap)
            ),
            None => format!(
                "no price is known for {}, so that its cost cannot be compared with the cap; set \
                 SOFTLABEL_PRICE_INPUT and SOFTLABEL_PRICE_OUTPUT, or {approve}",
                record.settings.model
            ),
        }))
    }

    /// What the finished chunks of a run have cost, beyond what its base had cost already.
    pub(super) fn spent_usd(&self, record: &Record, ledger: &Ledger) -> f64 {
        let tokens = ledger.sum().map(|sum| sum.tokens).unwrap_or_default();
        let price = self.settings.price_of(&record.settings);
        let all = price.map_or(0.0, |price| price.of(tokens));
        (all - record.base_usd.unwrap_or_default()).max(0.0)
    }

    /// A run goes on: where it has cost more than it took, it takes more, or waits for an approval.
    pub(super) async fn keep_to_budget(
        &self,
        record: &Record,
        ledger: &Ledger,
    ) -> Result<(), RunError> {
        let spent = self.spent_usd(record, ledger);
        if record.state != State::Labeling || spent <= record.estimated_usd.unwrap_or(f64::MAX) {
            return Ok(());
        }
        if let Err(reason) = self.afford(record, Some(spent)).await? {
            self.await_approval(record, reason).await?;
        }
        Ok(())
    }

    /// A run has ended: what it did not spend is free for others.
    pub(super) async fn settle_budget(&self, record: &Record) -> Result<(), RunError> {
        let ledger = self.ledger(record).await?;
        let spent = self.spent_usd(record, &ledger);
        let (run, dataset) = (&record.run, &record.dataset);
        let settled = self.runs.repin_by(dataset, BUDGET, |budget: &mut Budget| {
            let before = budget.clone();
            budget.settle(run, spent);
            *budget != before
        });
        settled.await.map(drop)
    }

    /// A run waits until somebody approves what it costs.
    pub(super) async fn await_approval(
        &self,
        record: &Record,
        reason: String,
    ) -> Result<(), RunError> {
        let now = self.runs.clock().now();
        let run = &record.run;
        let mut waits = false;
        let awaits = self.runs.update(run, |record| {
            waits = record.await_approval(reason.clone(), now);
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
        Ok(())
    }

    /// Approves `usd` for a dataset or, without a sum, what all its runs are estimated to cost. Gives
    /// the messages that let the runs go on that waited for it.
    pub(super) async fn approve(
        &self,
        dataset: &str,
        usd: Option<f64>,
    ) -> Result<Vec<RunMessage>, RunError> {
        let mut waiting = self.runs.all().await?;
        waiting
            .retain(|record| record.dataset == dataset && record.state == State::AwaitingApproval);
        let approved = self.runs.repin_by(dataset, BUDGET, |budget: &mut Budget| {
            let others = waiting.iter().map(|record| {
                let taken = budget.runs.get(&record.run).copied().unwrap_or_default();
                record.estimated_usd.unwrap_or_default().max(taken) - taken
            });
            // A little more, as sums of fractions are not exact.
            let sum = (budget.taken() + others.sum::<f64>()) * 1.01 + 0.01;
            budget.approve(usd.unwrap_or(sum));
            true
        });
        approved.await?;
        Ok(waiting
            .iter()
            .map(|record| RunMessage::new(&record.run))
            .collect())
    }
}
