//! Which version of a bucket file RAW holds, and whether a run is about it: length and fingerprint decide. A
//! store gives the same bytes a new mark when their metadata, tier or access control change, and when they are
//! copied.

use super::world::App;
use crate::run::RunError;
use crate::run::record::Record;
use crate::store::{StoreError, Version};
use std::sync::PoisonError;
use xxhash_rust::xxh3::Xxh3Default;

impl App {
    /// The version of a RAW file that is there now; `None` where it is gone.
    pub(crate) async fn raw_version(
        &self,
        dataset: &str,
        file: &str,
    ) -> Result<Option<Version>, StoreError> {
        match self.data.raw(dataset)?.version(file).await {
            Ok(version) => Ok(Some(version)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a run is about `version` of its file. Where only the store's mark is another one, the run goes
    /// by that from now on. A run whose file was not read yet is about the mark.
    ///
    /// # Errors
    /// If the file cannot be read, which has to be done to its end where only the mark is another one.
    pub(crate) async fn is_of(&self, record: &Record, version: &Version) -> Result<bool, RunError> {
        if record.source.etag == version.etag {
            return Ok(true);
        }
        let report = record.report.as_ref();
        let planned = report.map_or("", |report| report.source.fingerprint.as_str());
        if record.source.length != version.length || planned.is_empty() {
            return Ok(false);
        }
        if self.fingerprint(record, version).await? != planned {
            return Ok(false);
        }
        tracing::info!(
            event = "run_adopts",
            run = record.run,
            "RAW has another ETag and the same content: the run adopts it"
        );
        self.adopt(record.clone(), version).await?;
        Ok(true)
    }

    /// Lets a run go by another mark of the bytes that it was planned for.
    pub(crate) async fn adopt(
        &self,
        record: Record,
        version: &Version,
    ) -> Result<Record, RunError> {
        if record.source == *version {
            return Ok(record);
        }
        let adopted = self.runs.update(&record.run, |record| {
            record.source = version.clone();
            if let Some(report) = &mut record.report {
                report.source.etag.clone_from(&version.etag);
            }
            true
        });
        Ok(adopted.await?.unwrap_or(record))
    }

    /// The fingerprint of a version of a run's file, read once a process.
    async fn fingerprint(&self, record: &Record, version: &Version) -> Result<String, RunError> {
        let _scan = self.scans.acquire().await;
        let key = format!("{}/{}/{}", record.dataset, record.file, version.etag);
        let known = || {
            self.fingerprints
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = known().get(&key) {
            return Ok(known.clone());
        }
        let raw = self.data.raw(&record.dataset)?;
        let blocks = raw.blocks(&record.file, Some(version)).await;
        let (_, mut blocks) = blocks.map_err(RunError::Raw)?;
        let mut hash = Xxh3Default::new();
        while let Some(block) = blocks.recv().await {
            hash.update(&block.map_err(RunError::Raw)?);
        }
        let fingerprint = format!("{:032x}", hash.digest128());
        known().put(key, fingerprint.clone());
        Ok(fingerprint)
    }
}
