//! What is shown of a run.

use crate::dataset::figures::Tokens;
use crate::dataset::histogram::Histogram;
use crate::dataset::layout::{self, Entry};
use crate::dataset::line::ErrorCode;
use crate::dataset::metadata::Cost;
use crate::run::ledger::Ledger;
use crate::run::record::{Origin, Record, State};
use crate::run::settings::LabelSettings;
use crate::store::OwnFolder;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// The time over which the rate is measured.
const LATELY: SignedDuration = SignedDuration::from_mins(10);

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RunStatus {
    run: String,
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
    /// What was billed for finished chunks.
    tokens: Tokens,
    /// What that costs, with the cost of the results that the run started from.
    cost_usd: Cost,
    /// What it will have cost at this rate; `unknown` before a chunk is finished.
    projected_usd: Cost,
    /// What it will cost at most; `unknown` until it is planned, or where no price is known.
    estimated_usd: Cost,
    settings: LabelSettings,
    links: Links,
}

/// Where to look further.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Links {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approve: Option<String>,
    /// The labelled file, which appears at the end.
    labeled: String,
    /// The labelled dataset's metadata.
    metadata: String,
}

impl RunStatus {
    /// What record and ledger say, `now`.
    pub(crate) fn new(record: Record, ledger: &Ledger, now: Timestamp) -> Self {
        let sum = ledger.sum();
        let report = record.report.as_ref();
        // The ledger of an ended run may have been removed.
        let published = report.filter(|report| report.published.is_some());
        let tokens = match (&sum, published) {
            (Some(sum), _) => sum.tokens,
            (None, Some(report)) => report.figures.tokens,
            (None, None) => Tokens::default(),
        };
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
            State::Labeling => ledger.rate(now, record.created, LATELY),
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
            turns_per_second: rate,
            seconds_left: rate.map(|rate| (left as f64 / rate).ceil() as u64),
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

    /// Adds where to look further.
    pub(crate) fn with_links(
        mut self,
        labeled: &OwnFolder,
        address: impl Fn(&str) -> String,
    ) -> Self {
        let status = format!("/api/runs/{}", self.run);
        let file = match layout::classify(&self.file) {
            Entry::Bucket(name) => layout::labeled_path(&name),
            Entry::Unread(_) | Entry::Packed(_) | Entry::Ignored(_) => String::new(),
        };
        self.links = Links {
            cancel: (!self.state.is_over()).then(|| address(&format!("{status}/cancel"))),
            approve: (self.state == State::AwaitingApproval)
                .then(|| address(&format!("{status}/approve"))),
            status: address(&status),
            labeled: labeled.locate(&file),
            metadata: labeled.locate(layout::LABELED_METADATA),
        };
        self
    }
}
