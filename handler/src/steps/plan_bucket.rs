//! `plan-bucket`: cuts a run's file into chunks and sends messages for the unfinished ones, or for the
//! first of them if the number that may be out is limited. After that each chunk that ends sends the
//! next.
//!
//! Safe to run twice: the manifest is written once, the request parameters are settled once a dataset
//! and deployment, and a chunk that was finished is not sent again. A run that waited, or whose messages
//! got lost, continues in the same way.

use super::chunks_out::first_out;
use super::message::{Message, RunMessage};
use super::reconcile;
use super::trouble::Trouble;
use super::world::{App, InTrouble};
use crate::dataset::metadata::Status;
use crate::labeling::strategy;
use crate::money::Usd;
use crate::run::RunError;
use crate::run::budget::{Budget, Share};
use crate::run::ledger::Ledger;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::plan::{PlanError, plan};
use crate::run::progress::Progress;
use crate::run::publish;
use crate::run::record::{ApiProfile, Record, State};
use crate::run::settings::LabelSettings;
use crate::run::work;
use crate::store::{RawFile, RawFolder, StoreError, Version, sentence};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Chunks of a run: their messages leave in one answer to the host.
const MOST_CHUNKS: usize = 40_000;

/// Plans a run, and gives a message for each chunk that may be out and is not finished.
///
/// # Errors
/// If something cannot be read or written.
pub async fn run(app: &App, message: RunMessage) -> Result<Vec<Message>, RunError> {
    let planned = planned(app, &message.run).await;
    app.or_wait(&message.run, planned).await
}

async fn planned(app: &App, run: &str) -> Result<Vec<Message>, RunError> {
    let Some(record) = app.workable(run).await? else {
        return Ok(Vec::new());
    };
    if app.end_if_unknown(&record).await? || waits_for_base(app, &record).await? {
        return Ok(Vec::new());
    }
    let was_planned = record.chunks.is_some();
    let planned = match was_planned {
        true => app.manifest(&record).await?,
        false => None,
    };
    let manifest = match planned {
        Some(manifest) => manifest,
        None => match cut(app, &record).await? {
            Some(manifest) => manifest,
            None => return Ok(Vec::new()),
        },
    };
    let ledger = match was_planned {
        true => app.ledger(&record).await?,
        false => Ledger::default(),
    };
    if ledger.is_full(&record) {
        // It needs no money any more.
        return Ok(vec![Message::publish(run)]);
    }
    if !was_planned && !record.overwrite {
        match app.refuse_foreign(&record.dataset, &record.file).await {
            Err(error @ RunError::Foreign { .. }) => {
                let reason = Some(error.to_string());
                app.runs.end(run, State::Failed, reason).await?;
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
        app.runs.end(run, State::Failed, Some(reason)).await?;
        return Ok(Vec::new());
    }
    if let Some(next) = app.probe_beyond_month(&record).await? {
        app.wait_for_month(&record, next).await?;
        return Ok(Vec::new());
    }
    if !was_planned
        && app.settings.in_trouble == InTrouble::Wait
        && let Some(name) = app.data.bucket(&record.file)
    {
        // Before the first call that is paid for.
        let output = app.data.labeled(&record.dataset)?;
        output.try_out(&app.data.labeled_path(&name)).await?;
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
        None => app.estimate(&record, &manifest, &profile).await?,
    };
    if let Err(reason) = app.afford(&record, Some(&profile), usd).await? {
        app.await_approval(&record, usd, reason).await?;
        return Ok(Vec::new());
    }
    let chunks = manifest.chunks.len() as u64;
    let now = app.runs.clock().now();
    let out = app.chunks_out().await?;
    let planned = app.runs.update_read(&record, |record| {
        if app.settings.asks_first {
            record.estimate(usd);
        }
        let pending = publish::pending(&manifest);
        let planned = record.planned(profile.clone(), pending, chunks, now);
        let more = !record.state.is_over() && !record.let_out(out, ledger.count()).is_empty();
        planned || more
    });
    let Some(record) = planned.await?.filter(|record| !record.state.is_over()) else {
        return Ok(Vec::new());
    };
    // Of what was not planned before nothing was sent, and nothing has cost anything.
    if was_planned {
        app.send_chunks(&record, &manifest, &ledger).await?;
    }
    let sent = 0..record.sent.unwrap_or(chunks);
    let unfinished = sent.filter(|chunk| !ledger.has(*chunk));
    let messages = unfinished.map(|chunk| Message::label(run, chunk));
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
    if messages.is_empty() && !record.is_in_line() {
        messages.push(Message::publish(run));
    }
    Ok(messages)
}

/// Makes a run wait while its base, which ended just now, may still record calls in flight; says whether
/// it waits.
async fn waits_for_base(app: &App, record: &Record) -> Result<bool, RunError> {
    let base = record.base.as_ref().filter(|_| record.chunks.is_none());
    let Some(base) = base.filter(|_| app.settings.in_trouble == InTrouble::Wait) else {
        return Ok(false);
    };
    let Some(base) = app.runs.read(base).await? else {
        return Ok(false);
    };
    let now = app.runs.clock().now();
    let since = now.duration_since(base.since);
    if base.is_published() || since >= app.settings.still_ending() {
        return Ok(false);
    }
    let noticed = reconcile::noticed_after();
    if since >= noticed && !is_labeled(app, &base).await? {
        return Ok(false);
    }
    let reason = format!(
        "run {} ended just now; this run waits for the answers it had in flight, and takes them over",
        base.run
    );
    let until = now.saturating_add(noticed).unwrap_or(now);
    let wait = |record: &mut Record| record.wait(reason.clone(), until, now);
    app.runs.update(&record.run, wait).await?;
    Ok(true)
}

/// Whether an execution still holds a chunk of a run.
async fn is_labeled(app: &App, record: &Record) -> Result<bool, RunError> {
    let (paths, work) = (BucketPaths::of_run(&record.run), app.runs.work());
    let ledger = app.ledger(record).await?;
    let begun = work.list(&paths.parts()).await?;
    let finished = ledger.finished().iter();
    let finished =
        finished.map(|finished| paths.part(usize::try_from(finished.chunk).unwrap_or(usize::MAX)));
    let finished = finished.collect::<BTreeSet<_>>();
    for part in begun.iter().filter(|part| !finished.contains(&part.path)) {
        if work
            .status(&part.path)
            .await?
            .is_some_and(|part| part.leased)
        {
            return Ok(true);
        }
    }
    Ok(false)
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
            Err(PlanError::Store(error)) => return Err(RunError::Raw(error)),
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
    let content = work::formatted(app.runs.work(), &path, &manifest)?;
    if app.runs.work().create(&path, content).await? {
        app.remember(run, Arc::new(manifest));
    }
    app.manifest(record).await
}

async fn scan(app: &App, record: &Record) -> Result<Manifest, PlanError> {
    let raw = app.data.raw(&record.dataset)?;
    let name = app.data.bucket(&record.file);
    let name = name.ok_or_else(|| {
        StoreError::forbidden(
            raw.locate(&record.file),
            "it is not a bucket file of a dataset",
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
    let charge = |usd| app.charge_probe(dataset, settings, Some(&record.run), usd);
    let settling = async {
        let _alone = app.labelers.alone().await;
        if let Some(pinned) = app.pinned_profile(dataset, settings).await? {
            return Ok(Ok(pinned));
        }
        // Should this process die before it knows the bill, what it may be at most stays charged.
        charge(app.probe_at_most(record)).await?;
        match app.labelers.settle(settings).await {
            Ok(settled) => {
                let usd = settled.probe_tokens.usd;
                let name = profile_name(settings);
                let pinned = app.runs.pin(dataset, &name, settled).await?;
                charge(usd).await?;
                Ok(Ok(pinned))
            }
            Err(trouble) => Ok(Err(trouble)),
        }
    };
    let deadline = app.settings.deadline.unwrap_or(Duration::MAX);
    let settled: Result<_, RunError> = tokio::select! {
        settled = settling => settled,
        () = tokio::time::sleep(deadline) => {
            let seconds = deadline.as_secs();
            Ok(Err(Trouble::Connection(format!(
                "the service did not settle the request parameters in {seconds} seconds"
            ))))
        }
        () = app.stop.cancelled() => {
            Ok(Err(Trouble::Connection("this process ended".into())))
        }
    };
    match settled? {
        Ok(profile) => Ok(Ok(profile)),
        Err(trouble) => {
            charge(Usd::ZERO).await?;
            // Another instance may have been answered.
            let pinned = app.pinned_profile(dataset, settings).await?;
            Ok(pinned.ok_or(trouble))
        }
    }
}

/// Under which name the request parameters of a deployment are pinned.
fn profile_name(settings: &LabelSettings) -> String {
    let mut whom = format!(
        "{}\0{}\0{:?}",
        settings.deployment, settings.model, settings.model_family
    );
    if let Some(url) = &settings.base_url {
        whom.push_str(&format!("\0{url}"));
    }
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

    /// Counts against the caps of a dataset and of the month that it cost `usd` to settle the request parameters of
    /// the deployment of `settings` for `run`, in place of what was counted for that. Several instances may do that at
    /// a time, each for a run of its own, and are billed for it.
    pub(crate) async fn charge_probe(
        &self,
        dataset: &str,
        settings: &LabelSettings,
        run: Option<&str>,
        usd: Usd,
    ) -> Result<(), RunError> {
        if self.settings.max_cost.is_none() {
            return Ok(());
        }
        let spent = Share {
            spent_usd: usd,
            ended: true,
            ..Share::default()
        };
        let name = profile_name(settings);
        let name = run.map_or(name.clone(), |run| format!("{name}-{run}"));
        let charge = |budget: &mut Budget| {
            budget.runs.insert(name.clone(), spent.clone());
        };
        self.runs.change_budget(dataset, charge).await?;
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

    /// Ends a run whose base is gone; says whether it did.
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

    /// The record of a run that may be worked on now, `None` where it may not: it is over, or waits. One whose place
    /// another run took is over a moment later; its publication looks at that, too.
    pub(crate) async fn workable(&self, run: &str) -> Result<Option<Record>, RunError> {
        let Some(record) = self.runs.read(run).await? else {
            tracing::warn!(run, "a message names a run that does not exist");
            return Ok(None);
        };
        let waits = record.state == State::Waiting
            && record
                .not_before
                .is_some_and(|until| until > self.runs.clock().now());
        Ok((!record.state.is_over() && !waits).then_some(record))
    }

    /// A run can do nothing for a while: the longer, the oftener that was so.
    pub(crate) async fn wait(&self, record: &Record, trouble: Trouble) -> Result<(), RunError> {
        if self.settings.in_trouble == InTrouble::Halt {
            self.halt(trouble);
            return Ok(());
        }
        let reason = trouble.to_string();
        let for_storage = matches!(trouble, Trouble::Storage(_) | Trouble::Absent { .. });
        let now = self.runs.clock().now();
        let wait = self.settings.first_wait();
        let wait = wait * 2_u32.saturating_pow(record.watch.tries);
        let wait = wait.min(self.settings.longest_wait());
        let until = now.saturating_add(wait).unwrap_or(now);
        let run = &record.run;
        let seconds = wait.as_secs();
        tracing::warn!(event = "run_waiting", run, reason, seconds, "the run waits");
        let waits = |record: &mut Record| {
            let waits = record.wait(reason.clone(), until, now);
            record.waits_for_storage |= waits && for_storage;
            waits
        };
        self.runs.update(run, waits).await.map(drop)
    }

    /// The result of a step for `run`. If storage refuses what the step needs, the run waits until that
    /// is mended, and its message counts as done: redelivered, it would only end as a failed message.
    pub(crate) async fn or_wait(
        &self,
        run: &str,
        done: Result<Vec<Message>, RunError>,
    ) -> Result<Vec<Message>, RunError> {
        let error = match done {
            Err(error) if self.settings.in_trouble == InTrouble::Wait => error,
            done => return done,
        };
        let (RunError::Store(refused) | RunError::Raw(refused)) = &error else {
            return Err(error);
        };
        if refused.is_forbidden() {
            let reason = Some(sentence(&error));
            self.runs.end(run, State::Failed, reason).await?;
            return Ok(Vec::new());
        }
        let Some(record) = self.runs.read(run).await? else {
            return Err(error);
        };
        self.wait(&record, Trouble::storage(error)).await?;
        Ok(Vec::new())
    }

    /// Whether RAW has another ETag than the run's and the same content; if so the run adopts that ETag.
    pub(crate) async fn follows_raw(&self, record: &Record) -> Result<bool, RunError> {
        let Some(record) = self.runs.read(&record.run).await? else {
            return Ok(false);
        };
        match self.raw_version(&record.dataset, &record.file).await {
            Ok(Some(version)) => self.is_of(&record, &version).await,
            Ok(None) => Ok(false),
            Err(error) => Err(RunError::Raw(error)),
        }
    }

    /// How many chunks of a run that is planned may be out now.
    async fn chunks_out(&self) -> Result<u64, RunError> {
        match self.settings.chunks_out {
            Some(all) => Ok(first_out(all, self.runs.active().await?.len())),
            None => Ok(u64::MAX),
        }
    }
}
