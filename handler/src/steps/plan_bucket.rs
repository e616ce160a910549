//! `plan-bucket`: cuts a run's file into chunks and sends a message for each that is not finished.
//!
//! Safe to run twice: the manifest is written once, the request parameters are settled once a dataset
//! and deployment, and a chunk that was finished is not sent again. It is also how a run goes on that
//! waited or whose messages got lost.

use super::message::{Message, RunMessage};
use super::trouble::Trouble;
use super::world::{App, InTrouble};
use crate::dataset::metadata::Status;
use crate::labeling::strategy;
use crate::money::Usd;
use crate::run::RunError;
use crate::run::budget::{Budget, Share};
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::plan::{PlanError, plan};
use crate::run::progress::Progress;
use crate::run::publish;
use crate::run::record::{ApiProfile, Origin, Record, State};
use crate::run::settings::LabelSettings;
use crate::run::work;
use crate::store::{RawFile, RawFolder, StoreError, Version};
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Chunks of a run: their messages leave in one answer to the host.
const MOST_CHUNKS: usize = 40_000;

/// Plans a run, and gives a message for each chunk that is not finished.
///
/// # Errors
/// If something cannot be read or written.
pub async fn run(app: &App, message: RunMessage) -> Result<Vec<Message>, RunError> {
    let RunMessage { run } = message;
    let Some(record) = app.workable(&run).await? else {
        return Ok(Vec::new());
    };
    if app.end_if_unknown(&record).await? {
        return Ok(Vec::new());
    }
    let manifest = match app.manifest(&record).await? {
        Some(manifest) => manifest,
        None => match cut(app, &record).await? {
            Some(manifest) => manifest,
            None => return Ok(Vec::new()),
        },
    };
    let record = begin_with_same_content(app, record, &manifest).await?;
    if record.chunks.is_none() && !record.overwrite {
        match app.refuse_foreign(&record.dataset, &record.file).await {
            Err(error @ RunError::Foreign { .. }) => {
                let reason = Some(error.to_string());
                app.runs.end(&run, State::Failed, reason).await?;
                return Ok(Vec::new());
            }
            looked => looked?,
        }
    }
    if manifest.chunks.len() > MOST_CHUNKS {
        let reason = format!(
            "its {} chunks are more than the {MOST_CHUNKS} that a run can have; set \
             SOFTLABEL_CHUNK_TURNS higher and relabel it",
            manifest.chunks.len()
        );
        app.runs.end(&run, State::Failed, Some(reason)).await?;
        return Ok(Vec::new());
    }
    if let Some(next) = app.probe_beyond_month(&record).await? {
        app.wait_for_month(&record, next).await?;
        return Ok(Vec::new());
    }
    let profile = match profile(app, &record).await? {
        Ok(profile) => profile,
        Err(trouble) => {
            app.wait(&record, trouble).await?;
            return Ok(Vec::new());
        }
    };
    let usd = match record.estimated_usd {
        Some(usd) => Some(usd),
        None if !app.settings.asks_first => {
            app.is_priced(&record, Some(&profile)).then_some(Usd::ZERO)
        }
        None => match estimated(app, &record, &manifest, &profile).await {
            Ok(usd) => usd,
            Err(error) if error.is_raw_changed() => {
                app.wait(&record, Trouble::Storage(error)).await?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        },
    };
    if let Err(reason) = app.afford(&record, Some(&profile), usd).await? {
        app.await_approval(&record, usd, reason).await?;
        return Ok(Vec::new());
    }
    let chunks = manifest.chunks.len() as u64;
    let now = app.runs.clock().now();
    let planned = app.runs.update(&run, |record| {
        let pending = publish::pending(&manifest);
        record.planned(profile.clone(), pending, chunks, now)
    });
    let Some(record) = planned.await?.filter(|record| !record.state.is_over()) else {
        return Ok(Vec::new());
    };
    let ledger = app.ledger(&record).await?;
    app.send_chunks(&record, &manifest, &ledger).await?;
    let unfinished = (0..chunks).filter(|chunk| !ledger.has(*chunk));
    let messages = unfinished.map(|chunk| Message::label(&run, chunk));
    let mut messages = messages.collect::<Vec<_>>();
    tracing::info!(
        event = "run_planned",
        run,
        dataset = record.dataset,
        file = record.file,
        conversations = manifest.conversations,
        turns = manifest.turns,
        chunks,
        sent = messages.len(),
        "the file is cut into chunks"
    );
    if messages.is_empty() {
        messages.push(Message::publish(&run));
    }
    Ok(messages)
}

/// Has the run of an upload begin with the results of the file's last run, where content and settings are
/// the same: metadata, properties and access control make a new version of a blob, too, whose labels are
/// bought already.
async fn begin_with_same_content(
    app: &App,
    record: Record,
    manifest: &Manifest,
) -> Result<Record, RunError> {
    if record.origin != Origin::Upload || record.base.is_some() || record.chunks.is_some() {
        return Ok(record);
    }
    let current = app.runs.current(&record.dataset, &record.file).await?;
    let Some(former) = current.and_then(|current| current.before.last().cloned()) else {
        return Ok(record);
    };
    let former = app.runs.read(&former).await?;
    let Some(former) =
        former.filter(|former| former.is_published() && former.settings == record.settings)
    else {
        return Ok(record);
    };
    let theirs = app.planned_manifest(&former.run).await?;
    let is_same = theirs.is_some_and(|theirs| {
        let content = |of: &Manifest| (of.source.length, of.source.fingerprint.clone());
        content(&theirs) == content(manifest) && theirs.chunks == manifest.chunks
    });
    if !is_same {
        return Ok(record);
    }
    tracing::info!(
        event = "run_takes_over",
        run = record.run,
        former = former.run,
        "the file's content is that of the run before, whose labels are taken over"
    );
    let take_over = app.runs.update(&record.run, |record| {
        let begins = record.chunks.is_none() && record.base.is_none();
        if begins {
            record.base = Some(former.run.clone());
            record.round = former.round;
        }
        begins
    });
    Ok(take_over.await?.unwrap_or(record))
}

/// Estimates what a run costs, and writes that into its record.
async fn estimated(
    app: &App,
    record: &Record,
    manifest: &Arc<Manifest>,
    profile: &ApiProfile,
) -> Result<Option<Usd>, RunError> {
    let usd = app.estimate(record, manifest, profile).await?;
    let estimate = app.runs.update(&record.run, |record| {
        let changed = record.estimated_usd != usd;
        (record.estimated_usd, record.forecast_usd) = (usd, usd);
        changed
    });
    estimate.await?;
    Ok(usd)
}

/// Why this version of the program cannot label as a run was begun, if so.
fn unknown_way(settings: &LabelSettings) -> Option<String> {
    let known = strategy::by_name(&settings.strategy).ok();
    let same = known.is_some_and(|known| known.version() == settings.strategy_version)
        && settings.prompt_version == settings.task.version();
    (!same).then(|| {
        format!(
            "the run is pinned to strategy {} version {} and prompt version {}, which this version \
             of softlabel does not have; relabel the whole dataset, so that it has one definition of \
             a label",
            settings.strategy, settings.strategy_version, settings.prompt_version
        )
    })
}

/// Cuts the file of a run into chunks; `None` where that ended the run.
async fn cut(app: &App, record: &Record) -> Result<Option<Arc<Manifest>>, RunError> {
    let run = &record.run;
    let _scan = app.scans.acquire().await;
    // The same message may have come twice.
    if let Some(manifest) = app.manifest(record).await? {
        return Ok(Some(manifest));
    }
    let path = BucketPaths::of_run(run).manifest();
    let manifest = match &record.base {
        // Its results are taken over chunk by chunk, so the chunks must be the same.
        Some(base) => match app.planned_manifest(base).await? {
            Some(manifest) => manifest.as_ref().clone(),
            None => {
                let reason = format!("the work of run {base} was removed; relabel all turns");
                app.runs.end(run, State::Failed, Some(reason)).await?;
                return Ok(None);
            }
        },
        None => match scan(app, record).await {
            Ok(manifest) => manifest,
            Err(PlanError::Store(error)) if error.is_changed() || error.is_not_found() => {
                app.wait(record, Trouble::Storage(RunError::Raw(error)))
                    .await?;
                return Ok(None);
            }
            Err(PlanError::Store(error)) => return Err(error.into()),
            Err(PlanError::Scan { path, error, .. }) => {
                let reason = format!("{path}: {error}; {}", error.remedy(&path));
                let unread = record.unread(Status::Failed);
                let tell = app.runs.update(run, |record| {
                    record.report = Some(unread.clone());
                    !record.state.is_over()
                });
                tell.await?;
                app.runs.end(run, State::Failed, Some(reason)).await?;
                return Ok(None);
            }
        },
    };
    let content = work::content(app.runs.work(), &path, serde_json::to_vec(&manifest))?;
    app.runs.work().create(&path, content).await?;
    app.manifest(record).await
}

async fn scan(app: &App, record: &Record) -> Result<Manifest, PlanError> {
    let raw = app.data.raw(&record.dataset)?;
    let name = app.data.bucket(&record.file);
    let name = name.ok_or_else(|| {
        StoreError::forbidden(
            raw.locate(&record.file),
            "it is no bucket file of a dataset",
        )
    })?;
    let file = RawFile {
        name,
        path: record.file.clone(),
    };
    let version = Some(&record.source);
    app.cut(&raw, &file, version, &Arc::default()).await
}

/// The request parameters of a run, settled once for its dataset and deployment, or why they cannot
/// be settled now.
async fn profile(app: &App, record: &Record) -> Result<Result<ApiProfile, Trouble>, RunError> {
    if let Some(profile) = &record.profile {
        return Ok(Ok(profile.clone()));
    }
    let (dataset, settings) = (&record.dataset, &record.settings);
    if let Some(pinned) = app.pinned_profile(dataset, settings).await? {
        return Ok(Ok(pinned));
    }
    let deadline = app.settings.deadline.unwrap_or(Duration::MAX);
    let settled = tokio::select! {
        settled = app.labelers.settle(settings) => settled,
        () = tokio::time::sleep(deadline) => {
            let seconds = deadline.as_secs();
            Err(Trouble::Connection(format!(
                "the service did not settle the request parameters in {seconds} seconds"
            )))
        }
        () = app.stop.cancelled() => Err(Trouble::Connection("this process ended".into())),
    };
    match settled {
        Ok(settled) => {
            let name = profile_name(settings);
            let pinned = app.runs.pin(dataset, &name, settled).await?;
            app.charge_probe(dataset, settings, &pinned).await?;
            Ok(Ok(pinned))
        }
        Err(trouble) => Ok(Err(trouble)),
    }
}

/// Under which name the request parameters of a deployment are pinned.
fn profile_name(settings: &LabelSettings) -> String {
    let whom = format!(
        "{}\0{}\0{:?}",
        settings.deployment, settings.model, settings.model_family
    );
    format!("profile-{:016x}", xxh3_64(whom.as_bytes()))
}

impl App {
    /// The request parameters that are settled for a dataset and the deployment of `settings`, if they are.
    pub(crate) async fn pinned_profile(
        &self,
        dataset: &str,
        settings: &LabelSettings,
    ) -> Result<Option<ApiProfile>, RunError> {
        self.runs.pinned(dataset, &profile_name(settings)).await
    }

    /// Pins the request parameters that were settled for a dataset, in place of those that were.
    pub(crate) async fn repin_profile(
        &self,
        dataset: &str,
        settings: &LabelSettings,
        profile: &ApiProfile,
    ) -> Result<(), RunError> {
        let name = profile_name(settings);
        self.runs.repin(dataset, &name, profile).await
    }

    /// Counts against the cap of a dataset what it cost to settle `profile`. Said twice it is the same.
    pub(crate) async fn charge_probe(
        &self,
        dataset: &str,
        settings: &LabelSettings,
        profile: &ApiProfile,
    ) -> Result<(), RunError> {
        if self.settings.max_cost.is_none() {
            return Ok(());
        }
        let spent = Share {
            spent_usd: profile.probe_tokens.usd,
            ended: true,
            ..Share::default()
        };
        let name = profile_name(settings);
        let charge = |budget: &mut Budget| {
            budget.runs.insert(name.clone(), spent.clone());
        };
        self.runs.change_budget(dataset, charge).await?;
        let usd = profile.probe_tokens.usd;
        self.charge_month(format!("{dataset}/{name}"), usd).await
    }

    /// Cuts a bucket file into chunks: all of it or, where it is not whole and that is wanted, what is
    /// intact.
    ///
    /// # Errors
    /// If it cannot be read, or is not whole.
    pub(crate) async fn cut(
        &self,
        raw: &RawFolder,
        file: &RawFile,
        version: Option<&Version>,
        progress: &Arc<Progress>,
    ) -> Result<Manifest, PlanError> {
        match plan(raw, file, version, self.settings.chunk, progress).await {
            Err(PlanError::Scan { error, intact, .. })
                if self.settings.salvage && intact.conversations > 0 =>
            {
                Ok(Manifest {
                    salvaged: Some(error.to_string()),
                    ..*intact
                })
            }
            planned => planned,
        }
    }

    /// Ends a run that this version of the program cannot label as it was begun; says whether it did.
    pub(crate) async fn end_if_unknown(&self, record: &Record) -> Result<bool, RunError> {
        let Some(reason) = unknown_way(&record.settings) else {
            return Ok(false);
        };
        self.runs
            .end(&record.run, State::Failed, Some(reason))
            .await?;
        Ok(true)
    }

    /// Ends a run whose base is not there any more; says whether it did.
    pub(crate) async fn end_if_base_gone(
        &self,
        record: &Record,
        error: &RunError,
    ) -> Result<bool, RunError> {
        let gone = matches!(error, RunError::BaseGone { .. });
        if gone {
            let reason = Some(error.to_string());
            self.runs.end(&record.run, State::Failed, reason).await?;
        }
        Ok(gone)
    }

    /// The record of a run that may be worked on now, `None` where it may not: it is over, is not the
    /// current one of its file, or waits.
    pub(crate) async fn workable(&self, run: &str) -> Result<Option<Record>, RunError> {
        let Some(record) = self.runs.read(run).await? else {
            tracing::warn!(run, "a message names a run that is not there");
            return Ok(None);
        };
        let waits = record.state == State::Waiting
            && record
                .not_before
                .is_some_and(|until| until > self.runs.clock().now());
        if record.state.is_over() || waits || !self.runs.is_current(&record).await? {
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// A run can do nothing for a while: the longer, the oftener that was so.
    pub(crate) async fn wait(&self, record: &Record, trouble: Trouble) -> Result<(), RunError> {
        if self.settings.in_trouble == InTrouble::Halt {
            self.halt(trouble);
            return Ok(());
        }
        let reason = trouble.to_string();
        let now = self.runs.clock().now();
        let wait = self.settings.first_wait();
        let wait = wait * 2_u32.saturating_pow(record.watch.tries);
        let wait = wait.min(self.settings.longest_wait());
        let until = now.saturating_add(wait).unwrap_or(now);
        let run = &record.run;
        let seconds = wait.as_secs();
        tracing::warn!(event = "run_waiting", run, reason, seconds, "the run waits");
        let waits = |record: &mut Record| record.wait(reason.clone(), until, now);
        self.runs.update(run, waits).await.map(drop)
    }
}
