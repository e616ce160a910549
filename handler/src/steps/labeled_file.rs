//! What stands where a run publishes, a labelled file and its details: what a run of ours made, or someone
//! else's.

use super::world::App;
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::{BucketReport, LabeledFile};
use crate::run::RunError;
use crate::store::RawFolder;
use serde::Deserialize;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3Default;

impl App {
    /// The labelled file of a bucket and its details as they are now; `None` where there is none. Reads them
    /// to their end.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(crate) async fn published_files(
        &self,
        dataset: &str,
        name: &BucketName,
    ) -> Result<[Option<LabeledFile>; 2], RunError> {
        let [labels, details] = self.data.published_to_read(dataset, name)?;
        Ok([found(labels).await?, found(details).await?])
    }

    /// Refuses a run that would replace a labelled file or details that softlabel did not write: neither
    /// the record of a run of the bucket nor the metadata beside the file has it with its length and hash.
    /// An empty file may be replaced.
    ///
    /// # Errors
    /// [`RunError::Foreign`] if it would, and if something cannot be read.
    pub(crate) async fn refuse_foreign(&self, dataset: &str, file: &str) -> Result<(), RunError> {
        let Some(name) = self.data.bucket(file).filter(|_| !self.settings.overwrite) else {
            return Ok(());
        };
        let there = self.published_files(dataset, &name).await?;
        let mut there = there.map(|there| there.filter(|there| there.length > 0));
        if there == [None, None] {
            return Ok(());
        }
        let listed = self.listed(dataset, &name).await?;
        let listed = listed.iter().flat_map(BucketReport::files).flatten();
        let listed = listed.collect::<Vec<_>>();
        let current = self.runs.current(dataset, file).await?;
        let runs = current.map(|current| [current.before, vec![current.run]].concat());
        let mut made = Vec::new();
        for run in runs.iter().flatten() {
            made.extend(self.runs.read(run).await?);
        }
        for there in &mut there {
            there.take_if(|there| {
                listed.contains(&&*there) || made.iter().any(|record| record.made(there))
            });
        }
        let targets = self.data.published(dataset, &name)?;
        match targets
            .iter()
            .zip(there)
            .find(|(_, foreign)| foreign.is_some())
        {
            Some((target, _)) => Err(RunError::Foreign {
                path: target.folder.locate(&target.path),
            }),
            None => Ok(()),
        }
    }

    /// A bucket as the metadata beside its labelled file lists it.
    async fn listed(
        &self,
        dataset: &str,
        name: &BucketName,
    ) -> Result<Option<BucketReport>, RunError> {
        #[derive(Deserialize)]
        struct Listed {
            splits: BTreeMap<String, BTreeMap<String, BucketReport>>,
        }
        let metadata = self.data.metadata(dataset)?;
        let metadata = metadata.read(layout::LABELED_METADATA).await?;
        let listed = metadata.and_then(|metadata| serde_json::from_slice::<Listed>(&metadata).ok());
        let key = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        Ok(listed.and_then(|mut listed| {
            let buckets = listed.splits.get_mut(&key(&name.split))?;
            buckets.remove(&key(&name.bucket))
        }))
    }
}

/// A file as it is now; `None` where there is none.
async fn found((folder, path): (RawFolder, String)) -> Result<Option<LabeledFile>, RunError> {
    let mut blocks = match folder.blocks(&path, None).await {
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
