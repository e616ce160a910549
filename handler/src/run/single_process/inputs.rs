//! The bucket files of a run: each is planned, and held against what an earlier process planned.

use super::Run;
use crate::dataset::layout;
use crate::dataset::metadata::compare_counts;
use crate::run::RunError;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::plan::{PlanError, plan};
use crate::run::report::Published;
use crate::run::work;
use crate::store::RawFile;
use std::sync::Arc;

impl Run {
    pub(super) async fn plan_files(&mut self) -> Result<(), RunError> {
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
    pub(super) fn check_redo(&self) -> Result<(), RunError> {
        let unlabeled = |manifest: &&Arc<Manifest>| !self.reports.contains_key(&manifest.name());
        match self.manifests.iter().find(unlabeled) {
            Some(manifest) if self.options.only_failed => Err(RunError::NothingToRedo {
                work: self.places.work.locate(""),
                missing: manifest.source.path.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) async fn compare_counts(&mut self) -> Result<(), RunError> {
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
        self.warnings.extend(self.places.left_out.warnings());
        Ok(())
    }
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
