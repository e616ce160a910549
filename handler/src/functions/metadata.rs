//! `labeling_metadata.json` of a labelled dataset, made anew from the records of its runs.
//!
//! Several publish at a time: it is written by compare-and-swap, and what is written is always made
//! after the version it replaces was read, so that nobody's bucket gets lost.

use super::app::App;
use super::take_up::SETTINGS;
use crate::dataset::figures::Tokens;
use crate::dataset::layout::{self, BucketName, Entry};
use crate::dataset::metadata::{BucketReport, Spending, Status, compare_counts};
use crate::run::RunError;
use crate::run::record::{Record, State};
use crate::run::report::{self, Heading, Metadata};
use crate::run::runs::Current;
use crate::run::settings::{LabelSettings, Method};
use crate::run::work;
use crate::store::Cell;
use std::collections::BTreeMap;

/// Brings the metadata of a labelled dataset up to date. Nothing is written before a run is planned.
///
/// # Errors
/// If something cannot be read or written.
pub(super) async fn refresh(app: &App, dataset: &str) -> Result<(), RunError> {
    let output = app.data.labeled(dataset)?;
    let path = layout::LABELED_METADATA;
    let mut cell = Cell::new(&output, path);
    loop {
        let there = cell.read().await?;
        let Some(metadata) = compile(app, dataset).await? else {
            return Ok(());
        };
        let content = work::content(&output, path, serde_json::to_vec_pretty(&metadata))?;
        if there.as_ref() == Some(&content) || cell.write(content).await? {
            return Ok(());
        }
    }
}

/// The metadata as the records say; `None` before the request parameters of any run are settled.
async fn compile(app: &App, dataset: &str) -> Result<Option<Metadata>, RunError> {
    let runs = app.runs.of_dataset(dataset).await?;
    let pinned = app.runs.pinned::<LabelSettings>(dataset, SETTINGS).await?;
    let methods = || runs.iter().filter_map(|(_, record)| record.method());
    let method = methods().find(|method| Some(&method.settings) == pinned.as_ref());
    let Some(method) = method.or_else(|| methods().next()) else {
        return Ok(None);
    };
    let mut buckets = Vec::new();
    let mut warnings = count_warnings(app, dataset, &runs).await?;
    for (current, record) in &runs {
        let Entry::Bucket(name) = layout::classify(&record.file) else {
            continue;
        };
        if let (State::Failed | State::Cancelled | State::Superseded, Some(reason)) =
            (record.state, &record.reason)
        {
            let state = record.state.as_str();
            warnings.push(format!(
                "{}: run {} is {state}: {reason}.",
                record.file, record.run
            ));
        }
        let (made_by, report) = published(app, current, record).await?;
        buckets.push((name, with_settings(report, &made_by, &method)));
    }
    let started = runs.iter().map(|(_, record)| record.created).min();
    let heading = Heading {
        source: dataset.to_owned(),
        labeled: layout::labeled_dataset(dataset).unwrap_or_default(),
        started: started.unwrap_or_else(|| app.runs.clock().now()),
        method,
    };
    let spending = spending(&buckets);
    Ok(Some(report::metadata(heading, buckets, warnings, spending)))
}

/// What the published buckets have cost, and what all of them will.
fn spending(buckets: &[(BucketName, BucketReport)]) -> Spending {
    let mut tokens = Tokens::default();
    let (mut done, mut all) = (0, 0);
    for (_, report) in buckets {
        all += report.figures.turns;
        if report.published.is_some() {
            tokens += report.figures.tokens;
            done += report.figures.turns;
        }
    }
    Spending::new(tokens, done, all)
}

/// What the bucket's labelled file is: that of the current run or, until it is published, of the last
/// run that was. Gives the run it comes from, too.
async fn published(
    app: &App,
    current: &Current,
    record: &Record,
) -> Result<(Record, BucketReport), RunError> {
    let mut shown = record.clone();
    if !record.is_published() {
        for run in current.before.iter().rev() {
            match app.runs.read(run).await? {
                Some(before) if before.is_published() => {
                    shown = before;
                    break;
                }
                _ => {}
            }
        }
    }
    let report = shown.report.clone();
    let report = report.unwrap_or_else(|| record.unread(Status::Partial));
    Ok((shown, report))
}

/// Adds the settings where they are not those of the dataset.
fn with_settings(report: BucketReport, made_by: &Record, method: &Method) -> BucketReport {
    let other = made_by.settings != method.settings;
    let settings = other.then(|| serde_json::to_value(&made_by.settings).ok());
    BucketReport {
        settings: settings.flatten(),
        ..report
    }
}

/// How the counts differ from RAW's own, once every file is planned; nothing while RAW has none.
async fn count_warnings(
    app: &App,
    dataset: &str,
    runs: &[(Current, Record)],
) -> Result<Vec<String>, RunError> {
    let unplanned =
        |(_, record): &(Current, Record)| !record.state.is_over() && record.chunks.is_none();
    if runs.iter().any(unplanned) {
        return Ok(Vec::new());
    }
    let metadata = match app.data.raw(dataset)?.read(layout::RAW_METADATA).await {
        Ok(metadata) => metadata,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let found = runs.iter().filter_map(|(_, record)| {
        let Entry::Bucket(name) = layout::classify(&record.file) else {
            return None;
        };
        let figures = &record.report.as_ref()?.figures;
        let conversations = figures.conversations + figures.broken_conversations;
        Some((name, conversations))
    });
    let found = found.collect::<BTreeMap<BucketName, u64>>();
    Ok(compare_counts(&metadata, &found))
}
