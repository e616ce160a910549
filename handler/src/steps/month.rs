//! The cap on what all datasets cost in a calendar month, UTC.
//!
//! The account of the month may be outdated when it is read: whether a call is paid is decided where its
//! money is claimed, in [`ChunkFunds`](crate::run::funds::ChunkFunds).

use super::message::Message;
use super::world::App;
use crate::money::Usd;
use crate::run::RunError;
use crate::run::funds::MonthlyCap;
use crate::run::ledger::Ledger;
use crate::run::month::{Account, Month};
use crate::run::record::Record;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is shown of the month that it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MonthStatus {
    /// As in `2026-11`.
    month: String,
    /// What all datasets may cost in it; `null` without a cap.
    max_cost_usd: Option<Usd>,
    /// What they have cost in it, chunks under way left out.
    spent_usd: Usd,
    /// What chunks under way have cost in it and may cost.
    reserved_usd: Usd,
}

impl App {
    fn month(&self) -> Month {
        Month::of(self.runs.clock().now())
    }

    pub(super) fn keeps_months(&self) -> bool {
        self.settings.max_cost_per_month != MonthlyCap::NotKept
    }

    /// Whether a cap on months limits what runs may cost whose price is not known.
    pub(crate) fn caps_months(&self) -> bool {
        self.settings.max_cost_per_month.usd().is_some()
    }

    /// Where this month stands.
    pub(crate) async fn month_status(&self) -> Result<MonthStatus, RunError> {
        let month = self.month();
        let account = self.runs.account(month).await?;
        let reserved = account.reserved();
        Ok(MonthStatus {
            month: month.to_string(),
            max_cost_usd: self.settings.max_cost_per_month.usd(),
            spent_usd: account.taken().saturating_sub(reserved),
            reserved_usd: reserved,
        })
    }

    /// Whether the month has money for a call of up to `next`.
    pub(crate) async fn month_has(&self, next: Usd) -> Result<bool, RunError> {
        let Some(cap) = self.settings.max_cost_per_month.usd() else {
            return Ok(true);
        };
        let account = self.runs.account(self.month()).await?;
        Ok(account.taken() + next <= cap)
    }

    /// The month has no money for a call of up to `next`: the run waits for the next one, or a higher cap.
    pub(crate) async fn wait_for_month(&self, record: &Record, next: Usd) -> Result<(), RunError> {
        let (month, now, run) = (self.month(), self.runs.clock().now(), &record.run);
        let account = self.runs.account(month).await?;
        let cap = self.settings.max_cost_per_month.usd();
        let reason = format!(
            "all datasets together may cost {} USD in {month} (SOFTLABEL_MAX_COST_PER_MONTH), of which \
             {:.2} USD are spent and {:.2} USD reserved, and the next call may cost {next:.4} \
             USD; the run continues next month, or when the setting is raised",
            cap.unwrap_or_default(),
            account.taken().saturating_sub(account.reserved()),
            account.reserved(),
        );
        let until = month.end();
        let mut waits = false;
        let wait = self.runs.update(run, |record| {
            waits = record.wait_for_month(next, reason.clone(), until, now);
            waits
        });
        wait.await?;
        if waits {
            let seconds = until.duration_since(now).as_secs();
            tracing::warn!(event = "run_waiting", run, reason, seconds, "the run waits");
        }
        Ok(())
    }

    /// Lets a run that waits for a month continue if there is money again. Gives `None` if it does not
    /// wait for one, otherwise the message that continues it.
    pub(crate) async fn go_on_in_month(
        &self,
        record: &Record,
    ) -> Result<Option<Option<Message>>, RunError> {
        let Some(next) = record.next_in_month_usd else {
            return Ok(None);
        };
        let now = self.runs.clock().now();
        let is_over = record.not_before.is_none_or(|until| until <= now);
        if !is_over && !self.month_has(next).await? {
            return Ok(Some(None));
        }
        let resume = |record: &mut Record| record.resume_in_month(now);
        self.runs.update(&record.run, resume).await?;
        Ok(Some(Some(Message::plan(&record.run))))
    }

    /// Counts what it cost to settle request parameters, `what` for. Said twice it is the same.
    pub(crate) async fn charge_month(&self, what: String, usd: Usd) -> Result<(), RunError> {
        if !self.keeps_months() {
            return Ok(());
        }
        let charge = |account: &mut Account| {
            account.probes.insert(what.clone(), usd);
        };
        self.runs.change_account(self.month(), charge).await
    }

    /// A chunk of a run stands in its ledger, and has cost `usd`.
    pub(crate) async fn settle_in_month(
        &self,
        whose: (&str, u64),
        usd: Usd,
    ) -> Result<(), RunError> {
        if !self.keeps_months() {
            return Ok(());
        }
        let settle = |account: &mut Account| account.settle(whose, usd);
        self.runs.change_account(self.month(), settle).await
    }

    /// Settles the chunks of a run that are in its `ledger`, in case a message was lost. If the run has
    /// ended all others are settled too; `unfinished` has the cost of those that cost something.
    pub(crate) async fn settle_run_in_month(
        &self,
        run: &str,
        ledger: &Ledger,
        unfinished: Option<&BTreeMap<u64, Usd>>,
    ) -> Result<(), RunError> {
        if !self.keeps_months() {
            return Ok(());
        }
        let settle = |account: &mut Account| match unfinished {
            Some(unfinished) => account.end(run, ledger, unfinished),
            None => account.settle_finished(run, ledger),
        };
        self.runs.change_account(self.month(), settle).await
    }
}
