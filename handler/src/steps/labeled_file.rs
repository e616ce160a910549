//! What stands where a run publishes, a labelled file and its details: what a run of ours made, or someone
//! else's.

use super::world::App;
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::{BucketReport, LabeledFile};
use crate::run::RunError;
use crate::store::{Listed, RawFolder};
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
        self.refuse_foreign_metadata(dataset).await?;
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

    /// Refuses a labelled dataset whose metadata softlabel did not write.
    async fn refuse_foreign_metadata(&self, dataset: &str) -> Result<(), RunError> {
        let folder = self.data.metadata(dataset)?;
        let there = folder.read(layout::LABELED_METADATA).await?;
        let foreign = there.filter(|there| !there.is_empty() && listed(there).is_none());
        if foreign.is_none() {
            return Ok(());
        }
        let runs = self.runs.of_dataset(dataset).await?;
        match runs.iter().any(|(_, record)| record.is_published()) {
            // It was damaged.
            true => Ok(()),
            false => Err(RunError::Foreign {
                path: folder.locate(layout::LABELED_METADATA),
            }),
        }
    }

    /// Refuses a labelled dataset that no run made: it has labelled files, and nothing of ours tells of any.
    ///
    /// # Errors
    /// [`RunError::Foreign`] if it is one, and if something cannot be read.
    pub(crate) async fn refuse_foreign_folder(&self, dataset: &str) -> Result<(), RunError> {
        let folder = self.data.labeled(dataset)?;
        let is_ours = folder.exists(layout::LABELED_METADATA).await?;
        if is_ours || self.settings.overwrite || self.data.is_lone_file() {
            return Ok(());
        }
        let there = folder.list("").await?;
        let is_labeled = |there: &&Listed| {
            let is_hidden = there.path.starts_with('.');
            !is_hidden && there.path.ends_with(".jsonl") && there.version.length > 0
        };
        match there.iter().find(is_labeled) {
            Some(foreign) => Err(RunError::Foreign {
                path: folder.locate(&foreign.path),
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
        let metadata = self.data.metadata(dataset)?;
        let metadata = metadata.read(layout::LABELED_METADATA).await?;
        let listed = metadata.and_then(|metadata| listed(&metadata));
        let key = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        Ok(listed.and_then(|mut listed| {
            let buckets = listed.splits.get_mut(&key(&name.split))?;
            buckets.remove(&key(&name.bucket))
        }))
    }
}

/// The part of a labelled dataset's metadata that lists its buckets.
#[derive(Deserialize)]
struct Buckets {
    splits: BTreeMap<String, BTreeMap<String, BucketReport>>,
}

/// The buckets that metadata list; `None` where softlabel did not write these.
fn listed(metadata: &[u8]) -> Option<Buckets> {
    serde_json::from_slice(metadata).ok()
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
