//! A run in one process: plans every bucket, labels chunk after chunk, publishes each bucket as it
//! gets complete. Without a cloud, but by the same steps.

mod account;
mod claim;
mod inputs;
mod steps;

pub use claim::Claim;

use super::RunError;
use super::entry::Billed;
use super::manifest::{ChunkLimits, Manifest};
use super::paths::{self, BucketPaths};
use super::places::Places;
use super::progress::Progress;
use super::report::Published;
use super::settings::{LabelSettings, Method, Pinned};
use super::work;
use crate::clock::Clock;
use crate::dataset::layout::BucketName;
use crate::teacher::Teacher;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// For the dates in files.
    pub clock: Clock,
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
}
