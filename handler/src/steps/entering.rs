//! Which chunks of a run are finished: by its ledger, and where that lacks one, by its part.

use super::world::App;
use crate::run::RunError;
use crate::run::chunk::ChunkJob;
use crate::run::entry::{Part, Todo};
use crate::run::ledger::{FinishedChunk, Ledger};
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::record::Record;
use crate::store::{MOST_LINES, StoreError};
use std::collections::BTreeSet;

impl App {
    /// The finished chunks of a run.
    pub(crate) async fn ledger(&self, record: &Record) -> Result<Ledger, RunError> {
        let paths = BucketPaths::of_run(&record.run);
        let chunks = record.chunks.unwrap_or_default();
        Ok(Ledger::of_run(self.runs.work(), &paths, chunks).await?)
    }

    /// Writes a finished chunk into the run's ledger, unless it stands there: it may, where its part was
    /// begun `before`. `throttled` counts the 429 that its calls met. Gives what is written, and how many lines the
    /// ledger has then, at least.
    pub(crate) async fn enter_finished(
        &self,
        record: &Record,
        job: &ChunkJob,
        chunk: u64,
        before: bool,
        throttled: u64,
    ) -> Result<(FinishedChunk, u64), RunError> {
        let work = self.runs.work();
        let lines = work.read(&job.part()).await?.unwrap_or_default();
        let part = Part::read(&lines, job.turns());
        let now = self.runs.clock().now();
        let finished = FinishedChunk {
            throttled,
            ..FinishedChunk::of(chunk, &part, now)
        };
        if before {
            let ledger = self.ledger(record).await?;
            if ledger.has(chunk) {
                return Ok((finished, ledger.count()));
            }
        }
        let mut full = 0;
        for path in BucketPaths::of_run(&record.run).ledgers() {
            match work.add_line(&path, &finished.line()).await {
                Ok(lines) => return Ok((finished, full + lines)),
                Err(StoreError::Full { .. }) => full += MOST_LINES,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((finished, full))
    }

    /// What there is of the chunks of a run that its `ledger` lacks, as far as they are begun. Reads their parts: that is
    /// for work that lies on this machine.
    pub(crate) async fn begun(
        &self,
        record: &Record,
        ledger: &Ledger,
    ) -> Result<Vec<FinishedChunk>, RunError> {
        let Some(manifest) = self.manifest(record).await? else {
            return Ok(Vec::new());
        };
        let (paths, work) = (BucketPaths::of_run(&record.run), self.runs.work());
        let parts = work.list(&paths.parts()).await?.into_iter();
        let parts = parts.map(|part| part.path).collect::<BTreeSet<_>>();
        let now = self.runs.clock().now();
        let mut begun = Vec::new();
        for (number, chunk) in manifest.chunks.iter().enumerate() {
            let path = paths.part(number);
            if !ledger.has(number as u64) && parts.contains(&path) {
                let lines = work.read(&path).await?.unwrap_or_default();
                let part = Part::read(&lines, chunk.turns);
                begun.push(FinishedChunk::of(number as u64, &part, now));
            }
        }
        Ok(begun)
    }

    /// Whether every turn of a run is settled: of the chunks that its `ledger` lacks, as they could not be
    /// entered, the parts tell.
    pub(crate) async fn is_settled(
        &self,
        record: &Record,
        manifest: &Manifest,
        ledger: &Ledger,
    ) -> Result<bool, RunError> {
        if record.chunks.is_none() {
            return Ok(false);
        }
        let (paths, work) = (BucketPaths::of_run(&record.run), self.runs.work());
        let mut begun = None;
        for (number, chunk) in manifest.chunks.iter().enumerate() {
            if ledger.has(number as u64) || chunk.turns == 0 {
                continue;
            }
            if begun.is_none() {
                let parts = work.list(&paths.parts()).await?.into_iter();
                begun = Some(parts.map(|part| part.path).collect::<BTreeSet<_>>());
            }
            let path = paths.part(number);
            if !begun.as_ref().is_some_and(|begun| begun.contains(&path)) {
                return Ok(false);
            }
            let lines = work.read(&path).await?.unwrap_or_default();
            let rationales = record.settings.with_rationales;
            let turns = Part::read(&lines, chunk.turns).turns;
            let is_left = |todo| todo != Todo::Nothing;
            if turns
                .iter()
                .any(|turn| is_left(turn.todo(record.round, rationales)))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
