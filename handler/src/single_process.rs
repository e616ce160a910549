//! One process that labels what a command names: it begins a run for each bucket file and drives the
//! [steps](crate::steps) until all runs have ended, with a queue in memory.
//!
//! Nothing is written before the output was tried, every file was read to its end, and the service has
//! answered. The same command continues where a process stopped: everything that is true stands in the work
//! folder.

mod claim;
mod queue;

pub use claim::Claim;

use crate::dataset::figures::Tokens;
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::BucketReport;
use crate::dataset::pilot::Pilot;
use crate::run::RunError;
use crate::run::budget::Budget;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::plan::PlanError;
use crate::run::progress::Progress;
use crate::run::record::{ApiProfile, Base, Beginning, Origin, Record, State};
use crate::run::report::Metadata;
use crate::run::settings::LabelSettings;
use crate::run::work;
use crate::steps::billed::{self, Billed};
use crate::steps::report::{self, Written};
use crate::steps::{App, Message, Trouble, metadata, publish_bucket, retention};
use crate::store::{RawFile, RawFolder, StoreError, Version};
use queue::Queue;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What is done with runs that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// They are continued.
    Continue,
    /// The turns that failed in them are asked again, and no others.
    OnlyFailed,
    /// New runs take their place.
    Restart,
    /// Nothing is labelled: other settings than theirs do no harm.
    DryRun,
}

/// What earlier runs left that a restart takes the place of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// What they labelled, and what that cost.
    pub billed: Billed,
    /// Not all of it can be read.
    pub is_damaged: bool,
}

/// The bucket files that a command is about, planned.
#[derive(Debug)]
pub struct Job {
    app: Arc<App>,
    dataset: String,
    resume: Resume,
    buckets: Vec<Bucket>,
    /// Files of earlier runs that are gone.
    gone: Vec<String>,
    warnings: Vec<String>,
    /// What it cost to settle the request parameters.
    probe: Tokens,
    replaced: Replaced,
    /// The plans of the whole input, where a pilot labels some of it.
    whole: Vec<Arc<Manifest>>,
    progress: Arc<Progress>,
}

/// One bucket file.
#[derive(Debug)]
struct Bucket {
    file: RawFile,
    version: Version,
    manifest: Arc<Manifest>,
    /// Its run, if it has one that is continued.
    record: Option<Record>,
    /// The lone file was called otherwise when it was last published.
    renamed: bool,
    /// All of the file, where a pilot labels some of it.
    whole: Arc<Manifest>,
    /// Whether `manifest` is what its run began with.
    began: bool,
}

impl Job {
    /// Reads what earlier processes left, and every bucket file among `files` to its end. Nothing is
    /// sent, and only drafts are written.
    ///
    /// # Errors
    /// If an output cannot be written, if the settings are not those of the runs that are there, if RAW changed under them, or if a file
    /// cannot be labelled as it is.
    pub async fn plan(
        app: Arc<App>,
        dataset: &str,
        files: Vec<RawFile>,
        resume: Resume,
        progress: Arc<Progress>,
    ) -> Result<Self, RunError> {
        let work = app.runs.work();
        if work.exists("run.json").await? {
            return Err(RunError::OldLayout {
                work: work.locate(""),
            });
        }
        let mut job = Self {
            dataset: dataset.to_owned(),
            resume,
            buckets: Vec::new(),
            gone: Vec::new(),
            warnings: Vec::new(),
            progress,
            probe: Tokens::default(),
            replaced: Replaced::default(),
            whole: Vec::new(),
            app,
        };
        if resume != Resume::DryRun {
            job.try_out(&files).await?;
        }
        let mut records = job.records().await?;
        if resume == Resume::Restart {
            for record in records.values() {
                match billed::of(&job.app, record).await {
                    Ok(billed) => job.replaced.billed += billed,
                    Err(RunError::Damaged { .. }) => job.replaced.is_damaged = true,
                    Err(error) => return Err(error),
                }
            }
        }
        let raw = job.raw()?;
        for file in &files {
            job.progress
                .will_scan(raw.version(&file.path).await.map_err(RunError::Raw)?.length);
        }
        let mut problems = Vec::new();
        for file in files {
            let record = records.remove(&file.path);
            match job.plan_bucket(&raw, file, record).await? {
                Ok(bucket) => job.buckets.push(bucket),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(RunError::BadInput { problems });
        }
        for record in records.into_values() {
            if resume != Resume::Restart {
                return Err(RunError::RawChanged {
                    path: raw.locate(&record.file),
                    planned: "there".into(),
                    found: "gone".into(),
                });
            }
            job.gone.push(record.file);
        }
        job.narrow()?;
        let buckets = job.buckets.iter().map(|bucket| &bucket.manifest);
        // A dry run counts the tokens of both.
        let whole = job.whole.iter().filter(|_| resume == Resume::DryRun);
        for manifest in buckets.chain(whole) {
            job.progress.planned(manifest.turns);
        }
        job.check_redo()?;
        if resume != Resume::DryRun {
            job.refuse_foreign().await?;
        }
        job.warnings = job.compare_counts().await?;
        let left_out = job.app.data.left_out(dataset).await?;
        job.warnings.extend(left_out.warnings());
        job.warnings
            .extend(metadata::foreign_card(&job.app, dataset).await?);
        Ok(job)
    }

    /// Finds out whether what is to appear can be written, and leaves no trace.
    async fn try_out(&self, files: &[RawFile]) -> Result<(), RunError> {
        let data = &self.app.data;
        for file in files {
            for target in data.published(&self.dataset, &file.name)? {
                target.folder.try_out(&target.path).await?;
            }
        }
        // A folder in its place cannot be read.
        let metadata = data.metadata(&self.dataset)?;
        metadata.read(layout::LABELED_METADATA).await?;
        Ok(())
    }

    /// The current run of each file.
    async fn records(&mut self) -> Result<BTreeMap<String, Record>, RunError> {
        let runs = self.app.runs.of_dataset(&self.dataset).await;
        let runs = match runs {
            // A restart does not need what it replaces.
            Err(RunError::Damaged { .. }) if self.resume == Resume::Restart => {
                self.replaced.is_damaged = true;
                Vec::new()
            }
            runs => runs?,
        };
        let mut records = BTreeMap::new();
        for (_, record) in runs {
            let differences = self.settings().differences(&record.settings);
            if !differences.is_empty()
                && matches!(self.resume, Resume::Continue | Resume::OnlyFailed)
            {
                let work = self.app.runs.work().locate("");
                return Err(match self.app.data.pilot() {
                    Some(pilot) => RunError::OtherPilot {
                        pilot: pilot.name.clone(),
                        work,
                        differences,
                    },
                    None => RunError::OtherSettings { work, differences },
                });
            }
            records.insert(record.file.clone(), record);
        }
        Ok(records)
    }

    /// Plans one file, or says what is wrong with it.
    async fn plan_bucket(
        &self,
        raw: &RawFolder,
        file: RawFile,
        record: Option<Record>,
    ) -> Result<Result<Bucket, String>, RunError> {
        let record = record.filter(|_| self.resume != Resume::Restart);
        let version = raw.version(&file.path).await.map_err(RunError::Raw)?;
        let planned = match &record {
            Some(record) => self.app.planned_manifest(&record.run).await?,
            None => None,
        };
        let renamed = planned
            .as_ref()
            .is_some_and(|planned| planned.name() != file.name);
        let began = planned.is_some();
        let is_pilot = self.app.data.pilot().is_some();
        let mut whole = None;
        let manifest = match (planned, &record) {
            // The selection of a pilot's turns depends on the whole file.
            (Some(planned), Some(record)) if record.source.etag == version.etag && !is_pilot => {
                self.progress.scanned(version.length);
                planned
            }
            (planned, _) => {
                let manifest = match self.app.cut(raw, &file, None, &self.progress).await {
                    Ok(manifest) => manifest,
                    Err(PlanError::Store(error)) => return Err(RunError::Raw(error)),
                    Err(PlanError::Scan {
                        path,
                        error,
                        intact,
                    }) => {
                        let remedy = with_salvage(error.remedy(&path), intact.conversations);
                        return Ok(Err(format!("{path}: {error}; {remedy}")));
                    }
                };
                let manifest = Arc::new(manifest);
                whole = Some(Arc::clone(&manifest));
                // A copy of the same bytes is the same RAW, whatever its date.
                match planned {
                    Some(planned) if planned.source.fingerprint != manifest.source.fingerprint => {
                        return Err(RunError::RawChanged {
                            path: raw.locate(&file.path),
                            planned: planned.source.fingerprint.clone(),
                            found: manifest.source.fingerprint.clone(),
                        });
                    }
                    Some(planned) => planned,
                    None => manifest,
                }
            }
        };
        Ok(Ok(Bucket {
            file,
            version,
            whole: whole.unwrap_or_else(|| Arc::clone(&manifest)),
            manifest,
            record,
            renamed,
            began,
        }))
    }

    /// Leaves of every bucket what the pilot labels, if it is one, and refuses what another pilot of this
    /// name began.
    fn narrow(&mut self) -> Result<(), RunError> {
        let wanted = self.app.data.pilot();
        let turns = |bucket: &Bucket| (bucket.file.name.to_string(), bucket.whole.turns);
        let turns = self.buckets.iter().map(turns).collect::<Vec<_>>();
        let pilot = wanted.map(|pilot| Pilot {
            of_turns: turns.iter().map(|(_, turns)| turns).sum(),
            ..pilot.clone()
        });
        if self.resume != Resume::DryRun {
            let mut began = self.buckets.iter().filter(|bucket| bucket.began);
            if let Some(other) = began.find(|bucket| bucket.manifest.pilot != pilot) {
                let there = other.manifest.pilot.as_ref();
                return Err(self.other_pilot(pilot.as_ref(), there));
            }
        }
        let Some(pilot) = pilot else {
            return Ok(());
        };
        let picked = pilot.selection.pick(&turns);
        for (bucket, picked) in self.buckets.iter_mut().zip(picked) {
            self.whole.push(Arc::clone(&bucket.whole));
            if !bucket.began || self.resume == Resume::DryRun {
                bucket.manifest = Arc::new(bucket.whole.only(&picked, &pilot));
            }
        }
        self.buckets.retain(|bucket| bucket.manifest.turns > 0);
        match self.buckets.is_empty() {
            true => Err(RunError::BadInput {
                problems: vec!["the input has no turn to make a pilot of; check it".into()],
            }),
            false => Ok(()),
        }
    }

    fn other_pilot(&self, here: Option<&Pilot>, there: Option<&Pilot>) -> RunError {
        let work = self.app.runs.work().locate("");
        match here {
            Some(pilot) => RunError::OtherPilot {
                pilot: pilot.name.clone(),
                work,
                differences: pilot.differences(there),
            },
            None => RunError::OtherSettings {
                work,
                differences: vec!["a pilot there, the whole input here".into()],
            },
        }
    }

    /// Failed turns are asked again only where everything was labelled before.
    fn check_redo(&self) -> Result<(), RunError> {
        let unlabeled = |bucket: &&Bucket| match &bucket.record {
            Some(record) => !record.state.is_over() && record.base.is_none(),
            None => true,
        };
        match self.buckets.iter().find(unlabeled) {
            Some(bucket) if self.resume == Resume::OnlyFailed => Err(RunError::NothingToRedo {
                work: self.app.runs.work().locate(""),
                missing: bucket.file.path.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses to write over labelled files that no run made.
    async fn refuse_foreign(&self) -> Result<(), RunError> {
        if self.buckets.iter().all(|bucket| bucket.record.is_none()) && self.gone.is_empty() {
            self.app.refuse_foreign_folder(&self.dataset).await?;
        }
        for bucket in &self.buckets {
            // A run that is fully labelled may have published just before it was killed.
            let is_labeled = match &bucket.record {
                Some(record) if record.is_published() => true,
                Some(record) => self.app.ledger(record).await?.is_full(record),
                None => false,
            };
            if !is_labeled {
                let file = &bucket.file.path;
                self.app.refuse_foreign(&self.dataset, file).await?;
            }
        }
        Ok(())
    }

    async fn compare_counts(&self) -> Result<Vec<String>, RunError> {
        let found = self.buckets.iter().map(|bucket| {
            let manifest = &bucket.manifest;
            let conversations = manifest.conversations + manifest.broken_conversations;
            (bucket.file.name.clone(), conversations)
        });
        let found = found.collect::<BTreeMap<BucketName, u64>>();
        metadata::compare_with_raw(&self.app, &self.dataset, &found).await
    }

    /// The settings of its runs.
    pub fn settings(&self) -> &LabelSettings {
        &self.app.settings.labels
    }

    /// What a person should look at.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What a restart throws away.
    pub fn replaced(&self) -> Replaced {
        self.replaced
    }

    /// RAW.
    ///
    /// # Errors
    /// None where a command names the dataset.
    pub fn raw(&self) -> Result<RawFolder, StoreError> {
        self.app.data.raw(&self.dataset)
    }

    /// The plans of its buckets.
    pub fn manifests(&self) -> Vec<Arc<Manifest>> {
        let manifests = self.buckets.iter();
        manifests
            .map(|bucket| Arc::clone(&bucket.manifest))
            .collect()
    }

    /// The plans of the whole input, where a pilot labels some of it.
    pub fn whole(&self) -> &[Arc<Manifest>] {
        &self.whole
    }

    /// The request parameters: those that are settled already, or what the service answers now.
    ///
    /// # Errors
    /// Why no run is possible with this deployment.
    pub async fn settle(&self) -> Result<(ApiProfile, bool), Trouble> {
        let settings = self.settings();
        if self.resume != Resume::Restart {
            let pinned = self.app.pinned_profile(&self.dataset, settings).await;
            if let Some(profile) = pinned.map_err(Trouble::Storage)? {
                return Ok((profile, false));
            }
        }
        Ok((self.app.labelers.settle(settings).await?, true))
    }

    /// Writes down what will be labelled, under the request parameters `profile`. Gives the messages
    /// that set the steps going.
    ///
    /// A restart discards the earlier runs here and not before: the files are readable and the service
    /// has answered, so a wrong key loses no paid result.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub async fn begin(&mut self, profile: &ApiProfile) -> Result<Vec<Message>, RunError> {
        let app = Arc::clone(&self.app);
        let settings = self.settings().clone();
        app.repin_profile(&self.dataset, &settings, profile).await?;
        if self.resume == Resume::Restart {
            let forget = |budget: &mut Budget| *budget = Budget::default();
            app.runs.change_budget(&self.dataset, forget).await?;
        }
        self.probe = profile.probe_tokens;
        let probe = self.probe.usd;
        app.charge_probe(&self.dataset, &settings, None, probe)
            .await?;
        for file in &self.gone {
            app.runs.forget_file(&self.dataset, file).await?;
        }
        let once = (self.resume == Resume::Restart).then(|| Uuid::new_v4().to_string());
        let mut messages = Vec::new();
        for bucket in &mut self.buckets {
            if once.is_some() {
                forget_damaged(&app, &self.dataset, &bucket.file.path).await?;
            }
            let record = match bucket.record.take() {
                None => {
                    let request = once.clone().unwrap_or_default();
                    begin(&app, &self.dataset, bucket, &request, None).await?
                }
                Some(record) => {
                    if !record.state.is_over() {
                        // A kill may have come between the two.
                        write_plan(&app, &record.run, &bucket.manifest).await?;
                    }
                    let record = app.adopt(record, &bucket.version).await?;
                    let redo = self.resume == Resume::OnlyFailed && record.has_failures();
                    match record.state.is_over() && redo {
                        true => {
                            let request = format!("failed turns of {}", record.run);
                            let base = record.as_base(record.round + 1);
                            begin(&app, &self.dataset, bucket, &request, Some(base)).await?
                        }
                        false => restored(&app, &self.dataset, bucket, record).await?,
                    }
                }
            };
            match record.state.is_over() {
                true => {
                    let turns = bucket.manifest.turns;
                    let figures = record.report.as_ref().map(|report| &report.figures);
                    let labeled = figures.map_or(0, |figures| figures.labeled);
                    self.progress.found_calls(turns, labeled, labeled);
                    self.progress.found_done(turns);
                }
                false => messages.push(Message::plan(&record.run)),
            }
            bucket.record = Some(record);
        }
        Ok(messages)
    }

    /// The buckets that are not published as they should be: why each will not be by this run, if that is so.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn unpublished(&self) -> Result<Vec<Option<String>>, RunError> {
        let mut unpublished = Vec::new();
        for record in self.buckets.iter().filter_map(|b| b.record.as_ref()) {
            let now = self.app.runs.read(&record.run).await?;
            let record = now.as_ref().unwrap_or(record);
            let lost = self.app.lost(&record.file);
            // One of whose turns none can have a label has nothing to publish.
            let is_done = record.is_published() || record.state == State::Complete;
            if lost.is_some() || !is_done {
                unpublished.push(lost.or_else(|| record.reason.clone()));
            }
        }
        Ok(unpublished)
    }

    /// What its runs were billed so far, by this process and those before it.
    ///
    /// # Errors
    /// If something cannot be read.
    pub async fn billed(&self) -> Result<Billed, RunError> {
        let mut billed = Billed {
            tokens: self.probe,
            ..Billed::default()
        };
        for record in self.buckets.iter().filter_map(|b| b.record.as_ref()) {
            // Since it began it may have been planned and have ended.
            let now = self.app.runs.read(&record.run).await?;
            billed += billed::of(&self.app, now.as_ref().unwrap_or(record)).await?;
        }
        Ok(billed)
    }

    /// Delivers `messages` and all that follow from them, about `most` at a time, until every run has
    /// ended or the process stops. Gives the metadata at that time, if any run was planned.
    ///
    /// # Errors
    /// The first thing that made it stop. What was labelled until then is kept.
    pub async fn drive(
        &self,
        messages: Vec<Message>,
        most: usize,
    ) -> Result<Option<Metadata>, RunError> {
        metadata::refresh(&self.app, &self.dataset).await?;
        let failure = Queue::new(Arc::clone(&self.app), messages, most)
            .drive()
            .await;
        let metadata = metadata::refresh(&self.app, &self.dataset).await?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        retention::remove_replaced(&self.app, &self.dataset).await?;
        Ok(metadata)
    }

    /// Writes the report of what there is.
    pub async fn report(&self) -> Written {
        report::write(&self.app, &self.dataset).await
    }
}

/// Begins a run over a bucket file, with the results of `base` if there is one.
async fn begin(
    app: &App,
    dataset: &str,
    bucket: &Bucket,
    request: &str,
    base: Option<Base>,
) -> Result<Record, RunError> {
    let beginning = Beginning {
        origin: Origin::Relabel,
        dataset: dataset.to_owned(),
        file: bucket.file.path.clone(),
        source: bucket.version.clone(),
        settings: app.settings.labels.clone(),
        base,
    };
    let record = app.new_record(beginning, request);
    let record = app.begin(record).await?;
    if record.state == State::Superseded {
        return Err(RunError::RawChanged {
            path: app.data.raw(dataset)?.locate(&record.file),
            planned: bucket.manifest.source.fingerprint.clone(),
            found: "another version".into(),
        });
    }
    write_plan(app, &record.run, &bucket.manifest).await?;
    Ok(record)
}

/// Writes down how the file of a run is cut, unless that is written already.
async fn write_plan(app: &App, run: &str, manifest: &Manifest) -> Result<(), RunError> {
    let path = BucketPaths::of_run(run).manifest();
    let content = work::formatted(app.runs.work(), &path, manifest)?;
    app.runs.work().create(&path, content).await?;
    Ok(())
}

/// Forgets the runs of a file where they cannot be read: a restart takes their place all the same.
async fn forget_damaged(app: &App, dataset: &str, file: &str) -> Result<(), RunError> {
    let readable = async {
        if let Some(current) = app.runs.current(dataset, file).await? {
            app.runs.read(&current.run).await?;
        }
        Ok(())
    };
    match readable.await {
        Err(RunError::Damaged { .. }) => app.runs.forget_file(dataset, file).await,
        readable => readable,
    }
}

/// A published run whose labelled file and details are intact. If one is missing, cut off or needs
/// another name, both are published again without a call. If its parts are incomplete, a run starts from
/// what they hold. If they are gone, the file stays as it is: what is in it cannot be told from a correction.
async fn restored(
    app: &App,
    dataset: &str,
    bucket: &Bucket,
    record: Record,
) -> Result<Record, RunError> {
    if !record.state.is_over() || !record.is_published() {
        return Ok(record);
    }
    let [labels, details] = app.published_files(dataset, &bucket.file.name).await?;
    let published = record.report.as_ref().map(BucketReport::files);
    let [published, with_details] = published.unwrap_or_default();
    let labels_are_good = labels.as_ref() == published && !bucket.renamed;
    if labels_are_good && with_details.is_some() && details.as_ref() == with_details {
        return Ok(record);
    }
    match publish_bucket::again(app, &record).await {
        // Missing details alone are no reason to ask the model.
        Err(RunError::Incomplete { .. } | RunError::BaseGone { .. }) if labels_are_good => {
            Ok(record)
        }
        Err(RunError::Incomplete { .. }) if has_its_parts(app, &record).await? => {
            let request = format!("what is left of {}", record.run);
            let base = record.as_base(record.round);
            begin(app, dataset, bucket, &request, Some(base)).await
        }
        Err(RunError::Incomplete { .. } | RunError::BaseGone { .. }) => {
            let [labels, _] = app.data.published(dataset, &bucket.file.name)?;
            let why = format!(
                "{} is not as it was published, and the results that it was made of are gone: put it back, or label it anew with --restart.",
                labels.folder.locate(&labels.path)
            );
            app.lose(&bucket.file.path, why);
            Ok(record)
        }
        published => published.map(|()| record),
    }
}

/// Whether all parts of a published run are there.
async fn has_its_parts(app: &App, record: &Record) -> Result<bool, RunError> {
    let ledger = app.ledger(record).await?;
    let paths = BucketPaths::of_run(&record.run);
    let parts = app.runs.work().list(&paths.parts()).await?;
    let is_there = |chunk: usize| parts.iter().any(|part| part.path == paths.part(chunk));
    let chunks = record
        .chunks
        .and_then(|chunks| usize::try_from(chunks).ok());
    Ok(ledger.is_full(record) && (0..chunks.unwrap_or_default()).all(is_there))
}

/// What to do about a damaged file with `intact` readable conversations.
fn with_salvage(remedy: String, intact: u64) -> String {
    match intact {
        0 => remedy,
        1 => format!("{remedy}, or label the one that is intact with --salvage"),
        n => format!("{remedy}, or label the {n} that are intact with --salvage"),
    }
}
