//! The steps of a run: chunk after chunk is labelled, and a bucket published with its last one.

use super::Run;
use crate::dataset::metadata::BucketReport;
use crate::run::RunError;
use crate::run::chunk::{ChunkEnd, ChunkJob};
use crate::run::paths::BucketPaths;
use crate::run::publish;
use crate::run::report::{Metadata, Published};
use crate::run::settings::{Method, Pinned};
use crate::run::turn::Labeler;
use crate::run::work;
use crate::store::PutMode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// A result waits no longer than this before it is appended: a kill costs so much work.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

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
                    let end = job.run(&asking, &raw, &work, part, permit, None);
                    let (end, _) = end.await?;
                    Ok(Step::Chunk(bucket, end))
                });
            }
        }
        while let Some(step) = underway.steps.join_next().await {
            self.settle(step, &mut underway, &pinned, &labeler).await;
        }
        match underway.failure {
            Some(failure) => Err(failure),
            None => self.report(&pinned).await,
        }
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
            Ok(Ok(Step::Chunk(_, ChunkEnd::Interrupted | ChunkEnd::Unaffordable(_)))) => Ok(()),
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
            Ok(match draft.commit(PutMode::Overwrite).await? {
                Some(report) => Step::Published(bucket, Box::new(report)),
                // An overwrite never leaves the file alone.
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
}
