//! A run in one process: plans every bucket, labels chunk after chunk, publishes each bucket as it
//! gets complete. Without a cloud, but by the same steps.

use super::RunError;
use super::chunk::{ChunkEnd, ChunkJob};
use super::entry::Billed;
use super::manifest::{ChunkLimits, Manifest};
use super::paths::{self, BucketPaths};
use super::places::Places;
use super::plan::{PlanError, plan};
use super::progress::Progress;
use super::publish;
use super::report::{self, Heading, Metadata, Published};
use super::settings::{LabelSettings, Method, Pinned};
use super::turn::Labeler;
use super::work;
use crate::clock::Clock;
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::{BucketReport, Spending, compare_counts};
use crate::store::{Lock, Over, RawFile};
use crate::teacher::Teacher;
use crate::teacher::disposition::Stop;
use crate::teacher::model::Price;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How a run is to be done, beside what its labels are.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// When a chunk is full.
    pub chunk: ChunkLimits,
    /// Label what is intact of files that are not.
    pub salvage: bool,
    /// Forget what an earlier run left.
    pub restart: bool,
    /// Nothing will be labelled: other settings than those of a run that is there do no harm.
    pub dry_run: bool,
    /// Take up again the turns that failed, and nothing else.
    pub only_failed: bool,
    /// Turns under way at a time.
    pub window: usize,
    /// The price of the model's tokens, if known.
    pub price: Option<Price>,
    /// For the dates in files.
    pub clock: Clock,
}

/// A result waits no longer than this before it is appended: a kill costs so much work.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// A run belongs to the process that holds this.
#[derive(Debug)]
pub struct Claim {
    // Given back in this order, the reverse of taking them, which leaves no empty folder.
    output: Lock,
    work: Lock,
}

impl Claim {
    /// Gives the run back, so that the next process can have it at once.
    pub async fn release(self) {
        self.output.release().await;
        self.work.release().await;
    }
}

/// A planned run.
pub struct Run {
    places: Places,
    options: Options,
    settings: LabelSettings,
    pinned: Option<Pinned>,
    manifests: Vec<Arc<Manifest>>,
    reports: BTreeMap<BucketName, Published>,
    warnings: Vec<String>,
    progress: Arc<Progress>,
    /// What earlier processes of the run were billed.
    before: Billed,
    /// Who is asked, once somebody is.
    teacher: Option<Arc<Teacher>>,
}

/// The steps of a run that are on their way.
struct Underway {
    steps: JoinSet<Result<Step, RunError>>,
    /// Per bucket the chunks that are not finished.
    left: Vec<usize>,
    /// Why the run cannot go on.
    failure: Option<RunError>,
}

/// What a step of a run gave.
enum Step {
    Chunk(usize, ChunkEnd),
    Published(usize, Box<BucketReport>),
}

impl Run {
    /// Reads what an earlier process left, and plans every bucket file. Nothing is written, and
    /// nothing is sent.
    ///
    /// # Errors
    /// If the settings are not those of the run that is there, if RAW changed under it, or if a file
    /// cannot be labelled as it is.
    pub async fn plan(
        places: Places,
        settings: LabelSettings,
        options: Options,
        progress: Arc<Progress>,
    ) -> Result<Self, RunError> {
        // A restart forgets nothing before it is known to begin: see `pin`.
        let pinned = match options.restart {
            true => None,
            false => work::read::<Pinned>(&places.work, paths::RUN).await?,
        };
        if let Some(pinned) = &pinned {
            let differences = settings.differences(&pinned.method.settings);
            if !differences.is_empty() && !options.dry_run {
                let work = places.work.locate("");
                return Err(RunError::OtherSettings { work, differences });
            }
            let gone = |path: &&String| !places.files.iter().any(|file| file.path == **path);
            if let Some(path) = pinned.files.iter().find(gone) {
                return Err(RunError::RawChanged {
                    path: places.raw.locate(path),
                    planned: "there".into(),
                    found: "gone".into(),
                });
            }
        }
        let mut run = Self {
            places,
            options,
            settings,
            pinned,
            manifests: Vec::new(),
            reports: BTreeMap::new(),
            warnings: Vec::new(),
            progress,
            before: Billed::default(),
            teacher: None,
        };
        run.plan_files().await?;
        run.check_redo()?;
        run.compare_counts().await?;
        Ok(run)
    }

    async fn plan_files(&mut self) -> Result<(), RunError> {
        let mut sizes = 0;
        for file in &self.places.files {
            let version = self.places.raw.version(&file.path).await;
            sizes += version.map_err(RunError::Raw)?.length;
        }
        self.progress.will_scan(sizes);
        let mut problems = Vec::new();
        for file in self.places.files.clone() {
            match self.plan_file(&file).await {
                Ok(manifest) => {
                    self.progress.planned(manifest.turns);
                    self.manifests.push(Arc::new(manifest));
                }
                Err(PlanFailure::Problem(problem)) => problems.push(problem),
                Err(PlanFailure::Run(error)) => return Err(error),
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(RunError::BadInput { problems })
        }
    }

    async fn plan_file(&mut self, file: &RawFile) -> Result<Manifest, PlanFailure> {
        let raw = &self.places.raw;
        let paths = BucketPaths::new(&file.path);
        let before = match self.options.restart {
            true => None,
            false => work::read::<Manifest>(&self.places.work, &paths.manifest()).await?,
        };
        // Other names for a lone file change its lines, but no label: it is published again.
        if before
            .as_ref()
            .is_some_and(|before| before.name() == file.name)
        {
            let published = work::read::<Published>(&self.places.work, &paths.report()).await?;
            self.reports
                .extend(published.map(|published| (file.name.clone(), published)));
        }
        let before = before.map(|before| Manifest {
            split: file.name.split.clone(),
            bucket: file.name.bucket.clone(),
            ..before
        });
        let version = raw.version(&file.path).await.map_err(RunError::Raw)?;
        if let Some(before) = &before
            && before.source.etag == version.etag
        {
            self.progress.scanned(version.length);
            return Ok(before.clone());
        }
        let planned = plan(raw, file, None, self.options.chunk, &self.progress).await;
        let mut manifest = match planned {
            Ok(manifest) => manifest,
            Err(PlanError::Store(error)) => return Err(RunError::Raw(error).into()),
            Err(PlanError::Scan { error, intact, .. })
                if self.options.salvage && intact.conversations > 0 =>
            {
                Manifest {
                    salvaged: Some(error.to_string()),
                    ..*intact
                }
            }
            Err(PlanError::Scan {
                path,
                error,
                intact,
            }) => {
                let mut problem = format!("{path}: {error}; {}", error.remedy());
                match intact.conversations {
                    0 => {}
                    1 => problem.push_str(", or label the one that is intact with --salvage"),
                    n => problem.push_str(&format!(
                        ", or label the {n} that are intact with --salvage"
                    )),
                }
                return Err(PlanFailure::Problem(problem));
            }
        };
        // A copy of the same bytes is the same RAW, whatever its date.
        if let Some(before) = before {
            if before.source.fingerprint != manifest.source.fingerprint {
                return Err(PlanFailure::Run(RunError::RawChanged {
                    path: raw.locate(&file.path),
                    planned: before.source.fingerprint,
                    found: manifest.source.fingerprint,
                }));
            }
            manifest = Manifest {
                source: manifest.source,
                ..before
            };
        }
        Ok(manifest)
    }

    /// Failed turns are taken up again only where everything was labelled before.
    fn check_redo(&self) -> Result<(), RunError> {
        let unlabeled = |manifest: &&Arc<Manifest>| !self.reports.contains_key(&manifest.name());
        match self.manifests.iter().find(unlabeled) {
            Some(manifest) if self.options.only_failed => Err(RunError::NothingToRedo {
                work: self.places.work.locate(""),
                missing: manifest.source.path.clone(),
            }),
            _ => Ok(()),
        }
    }

    async fn compare_counts(&mut self) -> Result<(), RunError> {
        if self.places.lone_output.is_some() {
            return Ok(());
        }
        let found = self.manifests.iter().map(|manifest| {
            (
                manifest.name(),
                manifest.conversations + manifest.broken_conversations,
            )
        });
        self.warnings = match self.places.raw.read(layout::RAW_METADATA).await {
            Ok(metadata) => compare_counts(&metadata, &found.collect()),
            Err(error) if error.is_not_found() => {
                vec!["RAW has no metadata.json to compare the counts with.".into()]
            }
            Err(error) => return Err(RunError::Raw(error)),
        };
        Ok(())
    }

    /// What an earlier process pinned, if there was one.
    pub fn pinned(&self) -> Option<&Pinned> {
        self.pinned.as_ref()
    }

    /// The settings of this run.
    pub fn settings(&self) -> &LabelSettings {
        &self.settings
    }

    /// What a person should look at.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The plans of its buckets.
    pub fn manifests(&self) -> &[Arc<Manifest>] {
        &self.manifests
    }

    /// Where everything lies.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Takes the run for this process, until what it gives is dropped.
    ///
    /// # Errors
    /// If another process has it, or had it since it was planned.
    pub async fn claim(&self) -> Result<Claim, RunError> {
        let Places { work, output, .. } = &self.places;
        let holder = format!(
            "process {} since {}",
            std::process::id(),
            self.options.clock.now()
        );
        let in_work = work.lock("lock", &holder).await?;
        // One output may be reached from two work folders.
        let in_output = output.lock(&self.places.output_lock(), &holder).await?;
        if !self.options.restart && work::read::<Pinned>(work, paths::RUN).await? != self.pinned {
            return Err(RunError::Overtaken {
                work: work.locate(""),
            });
        }
        Ok(Claim {
            output: in_output,
            work: in_work,
        })
    }

    /// Finds out what earlier processes of the run were billed, as far as they had recorded it: what
    /// was in flight when one was killed is not among it.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub async fn find_bills(&mut self) -> Result<Billed, RunError> {
        let Some(pinned) = &self.pinned else {
            return Ok(self.before);
        };
        let mut billed = Billed::default();
        for manifest in &self.manifests {
            let published = self.reports.get(&manifest.name());
            // What its report says is all, unless a later round has asked for more.
            if let Some(published) = published.filter(|published| published.round == pinned.round) {
                billed.tokens += published.report.figures.tokens;
                billed.turns += manifest.turns;
                continue;
            }
            let paths = BucketPaths::new(&manifest.source.path);
            for number in 0..manifest.chunks.len() {
                let part = self.places.work.read(&paths.part(number)).await?;
                billed.add_part(&part.unwrap_or_default());
            }
        }
        // The metadata counts calls that belong to no turn too, but may be older than the parts.
        let folder = self.places.metadata_folder();
        let said = work::read::<Said>(folder, &self.places.metadata).await;
        let said = said.ok().flatten();
        if let Some(said) = said.filter(|said| said.started == pinned.started)
            && said.spending.tokens.calls > billed.tokens.calls
        {
            billed.tokens = said.spending.tokens;
        }
        self.before = billed;
        Ok(billed)
    }

    /// Labels and publishes what is left, under `method` and through `labeler`. The run must be
    /// [claimed](Self::claim).
    ///
    /// # Errors
    /// If a file cannot be read or written. What was labelled until then is kept.
    pub async fn label(
        mut self,
        method: Method,
        labeler: Arc<Labeler>,
    ) -> Result<Metadata, RunError> {
        self.teacher = Some(Arc::clone(&labeler.teacher));
        let pinned = self.pin(method).await?;
        let round = pinned.round;
        self.report(&pinned).await?;
        let window = Arc::new(Semaphore::new(self.options.window));
        let mut underway = Underway {
            steps: JoinSet::new(),
            left: self.manifests.iter().map(|m| m.chunks.len()).collect(),
            failure: None,
        };
        'buckets: for (bucket, manifest) in self.manifests.clone().into_iter().enumerate() {
            if self.is_published(&manifest, round).await? {
                self.progress.found_done(manifest.turns);
                continue;
            }
            if manifest.chunks.is_empty() {
                underway.steps.spawn(self.publish_step(bucket));
            }
            for (number, chunk) in manifest.chunks.iter().enumerate() {
                let turns = (chunk.turns as usize).clamp(1, self.options.window) as u32;
                let permit = loop {
                    tokio::select! {
                        biased;
                        Some(step) = underway.steps.join_next() => {
                            self.settle(step, &mut underway, &pinned, &labeler).await;
                        }
                        permit = Arc::clone(&window).acquire_many_owned(turns) => break permit,
                    }
                };
                // The semaphore is never closed.
                let Ok(permit) = permit else { break };
                if labeler.teacher.is_closed() {
                    break 'buckets;
                }
                let job = ChunkJob {
                    paths: BucketPaths::new(&manifest.source.path),
                    base: None,
                    flush_every: FLUSH_EVERY,
                    manifest: Arc::clone(&manifest),
                    number,
                    round,
                    stop: CancellationToken::new(),
                };
                let (asking, raw, work) = (
                    Arc::clone(&labeler),
                    self.places.raw.clone(),
                    self.places.work.clone(),
                );
                underway.steps.spawn(async move {
                    let part = work.append(&job.part()).await?;
                    let end = job.run(&asking, &raw, &work, part, permit).await?;
                    Ok(Step::Chunk(bucket, end))
                });
            }
        }
        while let Some(step) = underway.steps.join_next().await {
            self.settle(step, &mut underway, &pinned, &labeler).await;
        }
        if let Some(stop @ (Stop::Cost { .. } | Stop::Funds(_))) = labeler.teacher.stopped() {
            self.warnings
                .push(format!("The run stopped early: {stop}."));
        }
        match underway.failure {
            Some(failure) => Err(failure),
            None => self.report(&pinned).await,
        }
    }

    /// Writes down what the run is, before anything is paid for.
    ///
    /// A restart forgets the earlier run here and no sooner: by now the files are good and the
    /// service has answered, so that nothing that was paid for is lost to a wrong key.
    async fn pin(&mut self, method: Method) -> Result<Pinned, RunError> {
        // What is no run of ours is not touched. `run.json` goes last, so that a kill in between
        // leaves the rest to the next restart.
        let restarted = self.options.restart && self.places.work.exists(paths::RUN).await?;
        if restarted {
            self.places.work.remove("buckets").await?;
            self.places.work.remove_file(paths::RUN).await?;
        }
        for manifest in &self.manifests {
            let path = self.places.labeled_path(&manifest.name());
            self.places.output.try_out(&path).await?;
        }
        let files = self
            .places
            .files
            .iter()
            .map(|file| file.path.clone())
            .collect();
        let pinned = match self.pinned.take() {
            Some(pinned) => {
                // A round that is not at its end is finished first.
                let round = match self.options.only_failed && self.is_at_its_end(&pinned) {
                    true => pinned.round + 1,
                    false => pinned.round,
                };
                Pinned {
                    files,
                    round,
                    ..pinned
                }
            }
            None => Pinned {
                method,
                started: self.options.clock.now(),
                round: 0,
                restarted,
                files,
            },
        };
        work::write(&self.places.work, paths::RUN, &pinned).await?;
        for manifest in &self.manifests {
            let path = BucketPaths::new(&manifest.source.path).manifest();
            work::write(&self.places.work, &path, manifest.as_ref()).await?;
        }
        Ok(pinned)
    }

    /// Whether every bucket is published in its round.
    fn is_at_its_end(&self, pinned: &Pinned) -> bool {
        self.manifests.iter().all(|manifest| {
            let published = self.reports.get(&manifest.name());
            published.is_some_and(|published| published.is_settled(pinned.round))
        })
    }

    async fn is_published(&self, manifest: &Manifest, round: u32) -> Result<bool, RunError> {
        let name = manifest.name();
        let published = self
            .reports
            .get(&name)
            .is_some_and(|published| published.is_settled(round));
        let there = self
            .places
            .output
            .exists(&self.places.labeled_path(&name))
            .await?;
        Ok(published && there)
    }

    /// Takes in what a step gave; the last chunk of a bucket publishes it.
    async fn settle(
        &mut self,
        step: Result<Result<Step, RunError>, JoinError>,
        underway: &mut Underway,
        pinned: &Pinned,
        labeler: &Labeler,
    ) {
        let result = match step {
            Ok(Ok(Step::Chunk(bucket, ChunkEnd::Finished))) => {
                if let Some(left) = underway.left.get_mut(bucket) {
                    *left -= 1;
                    if *left == 0 {
                        underway.steps.spawn(self.publish_step(bucket));
                    }
                }
                Ok(())
            }
            Ok(Ok(Step::Chunk(_, ChunkEnd::Interrupted))) => Ok(()),
            Ok(Ok(Step::Published(bucket, report))) => {
                self.published(bucket, *report, pinned).await
            }
            Ok(Err(error)) => Err(error),
            // A step that panicked: what it recorded is kept, the rest is asked by a later run.
            Err(error) => {
                tracing::error!(%error, "a step of the run broke off");
                Ok(())
            }
        };
        if let Err(error) = result {
            // Other chunks may fare better than one whose turns broke off.
            if !matches!(error, RunError::TurnsBrokeOff { .. }) {
                labeler.teacher.close();
            }
            underway.failure.get_or_insert(error);
        }
    }

    fn publish_step(
        &self,
        bucket: usize,
    ) -> impl Future<Output = Result<Step, RunError>> + Send + 'static {
        let manifest = self.manifests.get(bucket).cloned();
        let places = self.places.clone();
        let clock = self.options.clock;
        async move {
            let Some(manifest) = manifest else {
                return Ok(Step::Chunk(bucket, ChunkEnd::Interrupted));
            };
            let path = places.labeled_path(&manifest.name());
            let paths = BucketPaths::new(&manifest.source.path);
            let (from, to) = ((&places.work, &paths), (&places.output, path.as_str()));
            let draft = publish::draft(&manifest, from, to, clock).await?;
            Ok(match draft.commit(Over::Anything).await? {
                Some(report) => Step::Published(bucket, Box::new(report)),
                // Over anything there is always leave.
                None => Step::Chunk(bucket, ChunkEnd::Interrupted),
            })
        }
    }

    async fn published(
        &mut self,
        bucket: usize,
        report: BucketReport,
        pinned: &Pinned,
    ) -> Result<(), RunError> {
        let Some(manifest) = self.manifests.get(bucket) else {
            return Ok(());
        };
        let published = Published {
            round: pinned.round,
            report,
        };
        let path = BucketPaths::new(&manifest.source.path).report();
        work::write(&self.places.work, &path, &published).await?;
        self.reports.insert(manifest.name(), published);
        self.report(pinned).await.map(drop)
    }

    /// What was spent so far, by this process and those before it.
    fn spending(&self) -> Spending {
        let here = self.teacher.as_ref().map(|teacher| teacher.meter().tokens);
        let mut tokens = self.before.tokens;
        tokens += here.unwrap_or_default();
        let progress = self.progress.read();
        let done = self.before.turns + progress.done_here();
        let price = self.options.price;
        Spending::new(
            tokens,
            done.min(progress.turns_total),
            progress.turns_total,
            price.map(|price| move |tokens| price.of(tokens)),
        )
    }

    /// Brings the metadata up to date.
    async fn report(&self, pinned: &Pinned) -> Result<Metadata, RunError> {
        let buckets = self.manifests.iter().map(|manifest| {
            let published = self.reports.get(&manifest.name());
            // Until its failed turns are done, a bucket is what it was.
            let report = published.map_or_else(
                || publish::pending(manifest),
                |published| published.report.clone(),
            );
            (manifest.name(), report)
        });
        let buckets = buckets.collect::<Vec<_>>();
        let pending = buckets.iter().any(|(_, report)| report.published.is_none());
        let mut warnings = self.warnings.clone();
        if pinned.restarted && pending {
            warnings.push(
                "The run was started over: a labelled file of a bucket that is not published yet \
                 is that of an earlier run."
                    .into(),
            );
        }
        let heading = Heading {
            source: self.places.source.clone(),
            labeled: self.places.labeled.clone(),
            started: pinned.started,
            method: pinned.method.clone(),
        };
        let metadata = report::metadata(
            heading,
            buckets,
            warnings,
            self.options.price,
            self.spending(),
        );
        work::write_readable(
            self.places.metadata_folder(),
            &self.places.metadata,
            &metadata,
        )
        .await?;
        Ok(metadata)
    }
}

/// What the metadata says of money.
#[derive(Deserialize)]
struct Said {
    started: Timestamp,
    spending: Spending,
}

/// Why a file cannot be planned: the file's own problem, or one that ends the run.
enum PlanFailure {
    Problem(String),
    Run(RunError),
}

impl From<RunError> for PlanFailure {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}
