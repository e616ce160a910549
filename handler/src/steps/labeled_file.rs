//! The labelled file that stands where a run publishes: one that a run of ours made, or someone else's.

use super::world::App;
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::{BucketReport, LabeledFile};
use crate::run::RunError;
use serde::Deserialize;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3Default;

impl App {
    /// The labelled file of a bucket as it is now; `None` where there is none. Reads it to its end.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) async fn labeled_file(
        &self,
        dataset: &str,
        name: &BucketName,
    ) -> Result<Option<LabeledFile>, RunError> {
        let path = self.data.labeled_path(name);
        let labeled = self.data.labeled_to_read(dataset)?;
        let mut blocks = match labeled.blocks(&path, None).await {
            Ok((_, blocks)) => blocks,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (mut length, mut hash) = (0, Xxh3Default::new());
        while let Some(block) = blocks.recv().await {
            let block = block?;
            length += block.len() as u64;
            hash.update(&block);
        }
        Ok(Some(LabeledFile::new(length, &hash)))
    }

    /// Refuses a run that would write over a labelled file that no run of ours made: neither a run of the
    /// bucket nor the metadata beside the file lists it with its length and hash. An empty file is
    /// nobody's work.
    ///
    /// # Errors
    /// [`RunError::Foreign`] if it would, and if something cannot be read.
    pub(crate) async fn refuse_foreign(&self, dataset: &str, file: &str) -> Result<(), RunError> {
        let Some(name) = self.data.bucket(file).filter(|_| !self.settings.overwrite) else {
            return Ok(());
        };
        let there = self.labeled_file(dataset, &name).await?;
        let Some(there) = there.filter(|there| there.length > 0) else {
            return Ok(());
        };
        let mut runs = Vec::new();
        if let Some(current) = self.runs.current(dataset, file).await? {
            runs = current.before;
            runs.push(current.run);
        }
        for run in &runs {
            let made = self.runs.read(run).await?.and_then(|record| record.report);
            if made.and_then(|report| report.labeled_file).as_ref() == Some(&there) {
                return Ok(());
            }
        }
        if self.listed(dataset, &name).await?.as_ref() == Some(&there) {
            return Ok(());
        }
        let path = self.data.labeled_path(&name);
        Err(RunError::Foreign {
            path: self.data.labeled(dataset)?.locate(&path),
        })
    }

    /// The labelled file of a bucket as the metadata beside it lists it.
    async fn listed(
        &self,
        dataset: &str,
        name: &BucketName,
    ) -> Result<Option<LabeledFile>, RunError> {
        #[derive(Deserialize)]
        struct Listed {
            splits: BTreeMap<String, BTreeMap<String, BucketReport>>,
        }
        let metadata = self.data.metadata(dataset)?;
        let metadata = metadata.read(layout::LABELED_METADATA).await?;
        let listed = metadata.and_then(|metadata| serde_json::from_slice::<Listed>(&metadata).ok());
        let key = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        Ok(listed.and_then(|listed| {
            let report = listed
                .splits
                .get(&key(&name.split))?
                .get(&key(&name.bucket))?;
            report.labeled_file.clone()
        }))
    }
}
