//! The account of a run: what it was billed, and the metadata that tells of it.

use super::Run;
use crate::dataset::metadata::Spending;
use crate::run::RunError;
use crate::run::entry::Billed;
use crate::run::paths::BucketPaths;
use crate::run::publish;
use crate::run::report::{self, Heading, Metadata};
use crate::run::settings::Pinned;
use crate::run::work;
use jiff::Timestamp;
use serde::Deserialize;

impl Run {
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

    /// What was spent so far, by this process and those before it.
    fn spending(&self) -> Spending {
        let here = self.teacher.as_ref().map(|teacher| teacher.meter().tokens);
        let mut tokens = self.before.tokens;
        tokens += here.unwrap_or_default();
        let progress = self.progress.read();
        let done = self.before.turns + progress.done_here();
        let turns = progress.turns_total;
        Spending::new(tokens, done.min(turns), turns)
    }

    /// Brings the metadata up to date.
    pub(super) async fn report(&self, pinned: &Pinned) -> Result<Metadata, RunError> {
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
        let metadata = report::metadata(heading, buckets, warnings, self.spending());
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
