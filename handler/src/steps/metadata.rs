//! `labeling_metadata.json` of a labelled dataset and its card, made from the records of its runs.
//!
//! Several publish at a time: it is written by compare-and-swap, and what is written is always made
//! after the version it replaces was read, so that no bucket gets lost.

use super::billed::{self, Billed};
use super::take_up::SETTINGS;
use super::world::{App, InTrouble};
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::{BucketReport, Spending, Status, compare_counts};
use crate::dataset::seal;
use crate::run::RunError;
use crate::run::card;
use crate::run::record::{Record, State};
use crate::run::report::{self, Heading, Metadata};
use crate::run::runs::Current;
use crate::run::settings::{LabelSettings, Method};
use crate::run::work;
use crate::store::{Cell, StoreError, sentence};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Refreshing metadata may take one part in this many of the time, so that a dataset of many small
/// buckets is not read again for each of them.
const PARTS_OF_TIME: u32 = 5;

/// A larger `metadata.json` of RAW is not read for its counts.
const LARGEST_RAW_METADATA: u64 = 64 << 20;

/// In the function app one refresh covers at least everything published within this time.
const GATHERED: Duration = Duration::from_secs(1);

/// The refreshes of metadata that wait for their time.
#[derive(Debug, Default)]
pub(crate) struct Refreshes {
    /// The datasets that one waits for: it will see what is there by then.
    waiting: std::sync::Mutex<BTreeSet<String>>,
    /// By dataset: when the next refresh may begin, locked while one is under way.
    not_before: std::sync::Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
}

impl Refreshes {
    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_before(&self, dataset: &str) -> Arc<tokio::sync::Mutex<Option<Instant>>> {
        let times = self.not_before.lock();
        let mut times = times.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(times.entry(dataset.to_owned()).or_default())
    }
}

/// Brings the metadata of a labelled dataset up to date, soon and together with what else happens until
/// then, one refresh at a time. Should the process be killed before, the reconciler does it.
///
/// # Errors
/// If something cannot be read or written.
pub(crate) async fn refresh_soon(app: &App, dataset: &str) -> Result<(), RunError> {
    if !app.refreshes.waiting().insert(dataset.to_owned()) {
        return Ok(());
    }
    let not_before = app.refreshes.not_before(dataset);
    let mut not_before = not_before.lock().await;
    if let Some(not_before) = *not_before {
        tokio::select! {
            () = tokio::time::sleep_until(not_before) => {}
            () = app.stop.cancelled() => {}
        }
    }
    app.refreshes.waiting().remove(dataset);
    let began = Instant::now();
    let refreshed = refresh(app, dataset).await;
    let pause = began.elapsed() * (PARTS_OF_TIME - 1);
    let least = match app.settings.in_trouble {
        InTrouble::Wait => GATHERED,
        InTrouble::Halt => Duration::ZERO,
    };
    *not_before = Some(Instant::now() + pause.max(least));
    refreshed.map(drop)
}

/// The same where what was done before counts, whether or not that can be told now.
pub(crate) async fn refresh_if_possible(app: &App, dataset: &str) {
    log_failure(dataset, refresh_soon(app, dataset).await);
}

/// The same for metadata that is there: what was removed with its labels does not come back.
pub(crate) async fn refresh_what_is_there(app: &App, dataset: &str) {
    let refreshed = async {
        let output = app.data.metadata(dataset)?;
        match output.exists(layout::LABELED_METADATA).await? {
            true => refresh_soon(app, dataset).await,
            false => Ok(()),
        }
    };
    log_failure(dataset, refreshed.await);
}

fn log_failure(dataset: &str, refreshed: Result<(), RunError>) {
    if let Err(error) = refreshed {
        tracing::warn!(
            dataset,
            error = sentence(&error),
            "the metadata cannot be brought up to date now"
        );
    }
}

/// Brings the metadata of a labelled dataset up to date, and its card. Nothing is written before a run is
/// planned, nor where neither metadata nor RAW is there.
///
/// # Errors
/// If something cannot be read or written.
pub(crate) async fn refresh(app: &App, dataset: &str) -> Result<Option<Metadata>, RunError> {
    let output = app.data.metadata(dataset)?;
    let path = layout::LABELED_METADATA;
    let mut cell = Cell::new(&output, path);
    let mut card_cell = Cell::new(&output, layout::CARD);
    loop {
        let there = cell.read().await?;
        let card_there = match app.data.is_lone_file() {
            true => None,
            false => card_cell.read().await?,
        };
        let Some(mut metadata) = compile(app, dataset).await? else {
            return Ok(None);
        };
        if there.is_none() && metadata.splits.is_empty() {
            return Ok(None);
        }
        let foreign = card_there.as_ref().is_some_and(|card| !seal::is_ours(card));
        let keeps_card = foreign && !app.settings.overwrite;
        if keeps_card {
            metadata
                .warnings
                .push(card::foreign(&output.locate(layout::CARD)));
        }
        let content = work::content(&output, path, serde_json::to_vec_pretty(&metadata))?;
        if there.as_ref() != Some(&content) && !cell.write(content).await? {
            continue;
        }
        let writes_card = !keeps_card && !app.data.is_lone_file();
        let card = card::card(&metadata).filter(|_| writes_card);
        match card.filter(|card| card_there.as_ref() != Some(card)) {
            Some(card) => {
                if card_cell.write(card).await? {
                    return Ok(Some(metadata));
                }
            }
            None => return Ok(Some(metadata)),
        }
    }
}

/// The warning about a file in the place of a labelled dataset's card that softlabel did not write.
///
/// # Errors
/// If it cannot be read.
pub(crate) async fn foreign_card(app: &App, dataset: &str) -> Result<Option<String>, RunError> {
    if app.data.is_lone_file() || app.settings.overwrite {
        return Ok(None);
    }
    let output = app.data.labeled(dataset)?;
    let card = output.read(layout::CARD).await?;
    let foreign = card.filter(|card| !seal::is_ours(card));
    Ok(foreign.map(|_| card::foreign(&output.locate(layout::CARD))))
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
    let (there, left_out) = app.data.contents(dataset).await?;
    let (runs, gone) = runs
        .into_iter()
        .partition::<Vec<_>, _>(|(_, record)| there.contains(&record.file));
    let mut buckets = Vec::new();
    let mut warnings = count_warnings(app, dataset, &runs).await?;
    warnings.extend(left_out.warnings());
    warnings.extend(gone_warnings(app, dataset, &runs, &gone).await?);
    let mut billed = Billed::default();
    if let Some(profile) = app.pinned_profile(dataset, &method.settings).await? {
        billed.tokens += profile.probe_tokens;
    }
    for (current, record) in &runs {
        let Some(name) = app.data.bucket(&record.file) else {
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
        let (made_by, mut report) = published(app, current, record).await?;
        if let Some(why) = app.lost(&record.file) {
            report.status = Status::Partial;
            warnings.push(why);
        }
        billed += match app.settings.in_trouble {
            InTrouble::Halt => billed::of(app, record).await?,
            // All runs of a dataset would be looked through for each that is published.
            InTrouble::Wait => billed::recorded(record),
        };
        buckets.push((name, with_settings(report, &made_by, &method)));
    }
    let all = runs.iter().chain(&gone);
    let started = all.map(|(_, record)| record.created).min();
    let (source, labeled) = app.data.titles(dataset);
    let heading = Heading {
        source,
        labeled,
        started: started.unwrap_or_else(|| app.runs.clock().now()),
        method,
    };
    // What is gone was paid for all the same.
    let mut turns = buckets.iter().map(|(_, report)| report.figures.turns).sum();
    for (_, record) in &gone {
        let of_gone = billed::recorded(record);
        turns += of_gone.turns;
        billed += of_gone;
    }
    let spending = Spending::new(billed.tokens, billed.turns, turns);
    if let Some(trouble) = app.halted() {
        warnings.push(format!("The run stopped early: {trouble}."));
    }
    let metadata = report::metadata(heading, buckets, warnings, spending);
    Ok(Some(metadata.without(&left_out)))
}

/// Warnings about runs whose RAW is gone: which labelled files they leave behind, and which runs wait.
async fn gone_warnings(
    app: &App,
    dataset: &str,
    runs: &[(Current, Record)],
    gone: &[(Current, Record)],
) -> Result<Vec<String>, RunError> {
    let mut warnings = Vec::new();
    let output = app.data.labeled(dataset)?;
    for (current, record) in gone {
        let Record { file, run, .. } = record;
        if !record.state.is_over() {
            warnings.push(format!(
                "{file} is gone from RAW: run {run} waits until it is put back or the run is cancelled."
            ));
        }
        let Some(name) = app.data.bucket(file) else {
            continue;
        };
        let has_another =
            |(_, record): &(Current, Record)| app.data.bucket(&record.file).as_ref() == Some(&name);
        let (_, report) = published(app, current, record).await?;
        if report.published.is_none() || runs.iter().any(has_another) {
            continue;
        }
        let path = app.data.labeled_path(&name);
        if output.exists(&path).await? {
            warnings.push(format!(
                "{path} was labelled from {file}, which is gone from RAW; remove it if you do not want it."
            ));
        }
    }
    Ok(warnings)
}

/// The bucket's labelled file: that of the current run or, until it is published, of the last published
/// run. Gives that run, too.
async fn published(
    app: &App,
    current: &Current,
    record: &Record,
) -> Result<(Record, BucketReport), RunError> {
    let mut shown = record.clone();
    if !record.is_published() {
        for run in current.before.iter().rev() {
            if let Some(before) = app.runs.published(run).await? {
                shown = before;
                break;
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
    let found = runs.iter().filter_map(|(_, record)| {
        let name = app.data.bucket(&record.file)?;
        let figures = &record.report.as_ref()?.figures;
        let conversations = figures.conversations + figures.broken_conversations;
        Some((name, conversations))
    });
    let found = found.collect::<BTreeMap<BucketName, u64>>();
    compare_with_raw(app, dataset, &found).await
}

/// How the conversations that were found differ from the counts in RAW's own `metadata.json`.
///
/// # Errors
/// If it is there and cannot be read.
pub(crate) async fn compare_with_raw(
    app: &App,
    dataset: &str,
    found: &BTreeMap<BucketName, u64>,
) -> Result<Vec<String>, RunError> {
    // A pilot is about some of the conversations.
    if app.data.is_lone_file() || app.data.pilot().is_some() {
        return Ok(Vec::new());
    }
    let raw = app.data.raw(dataset)?;
    match raw.version(layout::RAW_METADATA).await {
        Ok(version) if version.length > LARGEST_RAW_METADATA => {
            return Ok(vec![format!(
                "RAW's metadata.json has {} bytes, more than the {LARGEST_RAW_METADATA} that are \
                 read, so its counts were not compared.",
                version.length
            )]);
        }
        // It is parsed below, which reports what is wrong with it.
        _ => {}
    }
    match raw.read(layout::RAW_METADATA).await {
        Ok(metadata) => Ok(compare_counts(&metadata, found)),
        Err(error) if error.is_not_found() => Ok(vec![
            "RAW has no metadata.json to compare the counts with.".into(),
        ]),
        // A folder or a pipe of that name, or a file that this user may not read.
        Err(error @ StoreError::Io { .. }) => Ok(vec![format!("{}.", sentence(&error))]),
        Err(error) => Err(RunError::Raw(error)),
    }
}
