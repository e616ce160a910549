//! What is shown of runs: to who asks the app, and on the page that watches them.

use super::month::MonthStatus;
use super::world::App;
use crate::dataset::figures::Tokens;
use crate::dataset::histogram::Histogram;
use crate::dataset::layout::{self, Entry};
use crate::dataset::line::ErrorCode;
use crate::dataset::metadata::Cost;
use crate::money::Usd;
use crate::run::RunError;
use crate::run::budget::{BUDGET, Budget};
use crate::run::ledger::{FailedTurn, FinishedChunk, Ledger};
use crate::run::record::{Origin, Record, State};
use crate::run::settings::LabelSettings;
use crate::store::OwnFolder;
use crate::teacher::pacing::Quota;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The time over which the rate is measured.
const LATELY: SignedDuration = SignedDuration::from_mins(10);

/// Runs looked at a time.
const LOOKED_AT_ONCE: usize = 16;

/// Where the runs of a list stand, with what they have in common.
#[derive(Debug, Serialize)]
pub(crate) struct RunList {
    pub(crate) runs: Vec<RunStatus>,
    /// After which place the list goes on; `null` at its end.
    pub(crate) continuation: Option<String>,
    /// `null` where no months are kept.
    month: Option<MonthStatus>,
    /// What each dataset of these runs may cost and has cost.
    datasets: BTreeMap<String, DatasetStatus>,
    quota: QuotaStatus,
    /// The command whose runs these are, where one shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<CommandStatus>,
}

/// A command that shows its runs as long as it labels.
#[derive(Debug, Serialize)]
pub(crate) struct CommandStatus {
    /// It labels nothing more, and answers no more soon.
    pub(crate) ended: bool,
}

/// What a dataset costs.
#[derive(Debug, Serialize)]
struct DatasetStatus {
    /// What it may cost; `null` without a cap.
    max_cost_usd: Option<Usd>,
    /// What it has cost, as far as no chunk is under way.
    spent_usd: Usd,
    /// What chunks under way have cost and may cost.
    reserved_usd: Usd,
}

/// What a deployment takes a minute, as it is set; `null` without a limit.
#[derive(Debug, Serialize)]
struct QuotaStatus {
    tokens_per_minute: Option<f64>,
    requests_per_minute: Option<f64>,
}

impl QuotaStatus {
    fn new(quota: Quota) -> Self {
        let limit = |of: f64| (of < f64::from(Quota::NO_LIMIT)).then_some(of);
        Self {
            tokens_per_minute: limit(quota.tpm),
            requests_per_minute: limit(quota.rpm),
        }
    }
}

/// How closely a run is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As one of many.
    Listed,
    /// By itself, with turns that have no label.
    Alone,
    /// By the process that has been labelling it since then: turn by turn, not chunk by chunk.
    Live(Timestamp),
}

/// What the quota was charged a minute.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Charged {
    /// Prompts and longest answers.
    tokens: f64,
    requests: f64,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RunStatus {
    pub(crate) run: String,
    dataset: String,
    file: String,
    origin: Origin,
    state: State,
    /// When it came into that state.
    since: Timestamp,
    created: Timestamp,
    /// Why it waits, or why it ended as it did.
    reason: Option<String>,
    /// Before that nothing is tried, while it waits.
    not_before: Option<Timestamp>,
    /// Turns in all; `null` until it is planned.
    turns: Option<u64>,
    /// Turns of finished chunks.
    turns_done: u64,
    labeled: u64,
    /// Turns without a label, by code.
    errors: BTreeMap<ErrorCode, u64>,
    /// The first of those, a few of each code, where a run is asked for by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_turns: Option<Vec<FailedTurn>>,
    /// Rationales of finished chunks; `null` where none are asked for.
    rationales_done: Option<u64>,
    /// How the soft labels of finished chunks are distributed.
    soft_labels: Histogram,
    chunks: Option<u64>,
    chunks_done: u64,
    /// Turns a second over the last ten minutes; `null` where none was finished in them.
    turns_per_second: Option<f64>,
    /// At that rate; `null` where there is none.
    seconds_left: Option<u64>,
    /// What the quota was charged a minute, over the same time.
    charged_per_minute: Option<Charged>,
    /// 429 answers, as far as chunks are finished; `null` of one in a list that is published.
    throttled: Option<u64>,
    /// What was billed for finished chunks.
    tokens: Tokens,
    /// What that costs, with the cost of the results that the run started from.
    cost_usd: Cost,
    /// What it will have cost at this rate; `unknown` before a chunk is finished.
    projected_usd: Cost,
    /// What it will cost at most; `unknown` until it is planned, or where no price is known.
    estimated_usd: Cost,
    settings: LabelSettings,
    pub(crate) links: Links,
}

/// Where to look further.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Links {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approve: Option<String>,
    /// Where to ask for the failed turns again.
    #[serde(skip_serializing_if = "Option::is_none")]
    relabel: Option<String>,
    /// The dataset's report, which is written when all its runs have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
    /// The labelled file, which appears at the end.
    labeled: String,
    /// The labelled dataset's metadata.
    metadata: String,
}

impl Links {
    /// Leaves out what would change something.
    pub(crate) fn only_to_read(&mut self) {
        (self.cancel, self.approve, self.relabel) = (None, None, None);
    }
}

impl RunStatus {
    /// What record and ledger say `now`, and what there is of chunks that are `begun`. Rates count from no earlier
    /// than `since`.
    fn new(
        record: Record,
        ledger: &Ledger,
        begun: &[FinishedChunk],
        (since, now): (Timestamp, Timestamp),
    ) -> Self {
        let sum = ledger.sum_with(begun);
        let report = record.report.as_ref();
        // The ledger of an ended run may have been removed.
        let published = report.filter(|report| report.published.is_some());
        let tokens = match (published, &sum) {
            (Some(report), _) => report.figures.tokens,
            (None, Some(sum)) => sum.tokens,
            (None, None) => Tokens::default(),
        };
        let throttled = match (published, &sum) {
            (Some(_), None) => None,
            (_, sum) => Some(sum.as_ref().map_or(0, |sum| sum.throttled)),
        };
        let failed_turns = sum.as_ref().map(|sum| sum.failed_turns.clone());
        let turns = report
            .filter(|_| record.chunks.is_some())
            .map(|report| report.figures.turns);
        let figures = published.map(|report| &report.figures);
        let (turns_done, labeled, rationales, errors, soft_labels) = match (figures, sum) {
            (Some(figures), _) => (
                figures.turns,
                figures.labeled,
                figures.rationales,
                figures.errors.clone(),
                figures.soft_labels.clone(),
            ),
            (None, Some(sum)) => (
                sum.turns,
                sum.labeled,
                sum.rationales,
                sum.errors,
                sum.soft_labels,
            ),
            (None, None) => Default::default(),
        };
        let rate = match record.state {
            State::Labeling => ledger.rate(begun, now, record.since.max(since), LATELY),
            _ => None,
        };
        let left = turns.unwrap_or_default().saturating_sub(turns_done);
        let cost = Cost::of(tokens);
        let projected = cost.usd().filter(|_| turns_done > 0);
        let projected = projected.map(|cost| cost.times(turns_done + left, turns_done));
        Self {
            turns,
            turns_done,
            labeled,
            errors,
            rationales_done: record.settings.with_rationales.then_some(rationales),
            soft_labels,
            chunks: record.chunks,
            chunks_done: ledger.count().max(match published {
                Some(_) => record.chunks.unwrap_or_default(),
                None => 0,
            }),
            turns_per_second: rate.map(|rate| rate.turns),
            seconds_left: rate.map(|rate| (left as f64 / rate.turns).ceil() as u64),
            charged_per_minute: rate.map(|rate| Charged {
                tokens: 60.0 * rate.charged,
                requests: 60.0 * rate.calls,
            }),
            throttled,
            failed_turns,
            tokens,
            cost_usd: cost,
            projected_usd: Cost::from(projected),
            estimated_usd: Cost::from(record.estimated_usd),
            run: record.run,
            dataset: record.dataset,
            file: record.file,
            origin: record.origin,
            state: record.state,
            since: record.since,
            created: record.created,
            reason: record.reason,
            not_before: record.not_before,
            settings: record.settings,
            links: Links::default(),
        }
    }

    /// Whether some of its turns failed that may be asked again.
    fn has_failed(&self) -> bool {
        self.errors.keys().any(|code| !code.is_not_labelable())
    }

    /// Adds where to look further. What `address` gives of a path of the API is the whole of it.
    fn with_links(mut self, labeled: &OwnFolder, address: impl Fn(&str) -> String) -> Self {
        let status = format!("/api/runs/{}", self.run);
        let is_published = matches!(self.state, State::Complete | State::Partial);
        let file = match layout::classify(&self.file) {
            Entry::Bucket(name) => layout::labeled_path(&name),
            Entry::Unread(_) | Entry::Packed(_) | Entry::Ignored(_) => String::new(),
        };
        self.links = Links {
            cancel: (!self.state.is_over()).then(|| address(&format!("{status}/cancel"))),
            approve: (self.state == State::AwaitingApproval)
                .then(|| address(&format!("{status}/approve"))),
            relabel: (self.state == State::Partial && self.has_failed())
                .then(|| address("/api/relabel")),
            report: is_published.then(|| address(&format!("{status}/report"))),
            status: address(&status),
            labeled: labeled.locate(&file),
            metadata: labeled.locate(layout::LABELED_METADATA),
        };
        self
    }
}

impl App {
    /// Where a run stands. What `address` gives of a path of the API is the whole of it.
    pub(crate) async fn run_status(
        &self,
        record: Record,
        look: Look,
        address: impl Fn(&str) -> String,
    ) -> Result<RunStatus, RunError> {
        // The report of one that is published says all that its ledger does, but for single turns.
        let ledger = match record.is_published() && look == Look::Listed {
            true => Ledger::default(),
            false => self.ledger(&record).await?,
        };
        let (begun, since) = match look {
            Look::Live(since) if !record.state.is_over() => {
                (self.begun(&record, &ledger).await?, since)
            }
            _ => (Vec::new(), record.created),
        };
        let labeled = self.data.labeled(&record.dataset)?;
        let times = (since, self.runs.clock().now());
        let mut status = RunStatus::new(record, &ledger, &begun, times);
        match look {
            Look::Listed => status.failed_turns = None,
            Look::Alone | Look::Live(_) => {
                status.failed_turns.get_or_insert_default();
            }
        }
        Ok(status.with_links(&labeled, address))
    }

    /// Where the runs of `records` stand.
    pub(crate) async fn run_list(
        &self,
        records: Vec<Record>,
        look: Look,
        address: impl Fn(&str) -> String + Copy,
    ) -> Result<RunList, RunError> {
        let names = records.iter().map(|record| record.dataset.clone());
        let names = stream::iter(names.collect::<BTreeSet<_>>());
        let datasets = names.map(|name| async move {
            let status = self.dataset_status(&name).await;
            status.map(|status| status.map(|status| (name, status)))
        });
        let datasets = datasets.buffered(LOOKED_AT_ONCE).try_collect::<Vec<_>>();
        let datasets = datasets.await?.into_iter().flatten().collect();
        let runs = stream::iter(records).map(|record| self.run_status(record, look, address));
        let month = match self.keeps_months() {
            true => unless_newer(self.month_status().await)?,
            false => None,
        };
        Ok(RunList {
            runs: runs.buffered(LOOKED_AT_ONCE).try_collect().await?,
            continuation: None,
            month,
            datasets,
            quota: QuotaStatus::new(self.settings.quota),
            command: None,
        })
    }

    async fn dataset_status(&self, dataset: &str) -> Result<Option<DatasetStatus>, RunError> {
        let budget = self.runs.pinned::<Budget>(dataset, BUDGET).await;
        let Some(budget) = unless_newer(budget)? else {
            return Ok(None);
        };
        let budget = budget.unwrap_or_default();
        let shares = budget.runs.values();
        let (spent, committed) = shares.fold((Usd::ZERO, Usd::ZERO), |(spent, all), share| {
            (spent + share.spent_usd, all + share.committed())
        });
        let cap = self.settings.max_cost;
        Ok(Some(DatasetStatus {
            max_cost_usd: cap.map(|cap| budget.allowed(cap)),
            spent_usd: spent,
            reserved_usd: committed.saturating_sub(spent),
        }))
    }
}

/// What was read; `None` where instances of a newer version keep it by now.
fn unless_newer<T>(read: Result<T, RunError>) -> Result<Option<T>, RunError> {
    match read {
        Err(error) if error.newer().is_some() => Ok(None),
        read => read.map(Some),
    }
}
