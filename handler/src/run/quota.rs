//! The record over which the instances of the function app divide a deployment's quota, in the work
//! area.

use crate::store::{OwnFolder, StoreError, Version};
use crate::teacher::record::{Read, SharedRecord};
use xxhash_rust::xxh3::xxh3_64;

/// A deployment's record.
#[derive(Clone, Debug)]
pub struct QuotaRecord {
    work: OwnFolder,
    path: String,
}

impl QuotaRecord {
    /// The record of the deployment `deployment` at `endpoint`.
    pub fn new(work: OwnFolder, endpoint: &str, deployment: &str) -> Self {
        let whose = format!("{endpoint}\0{deployment}");
        let path = format!("quota/{:016x}.json", xxh3_64(whose.as_bytes()));
        Self { work, path }
    }
}

impl SharedRecord for QuotaRecord {
    type Version = Version;
    type Error = StoreError;

    async fn read(&self) -> Result<Read<Version>, StoreError> {
        self.work.read_versioned(&self.path).await
    }

    async fn create(&self, bytes: Vec<u8>) -> Result<bool, StoreError> {
        self.work.create(&self.path, bytes).await
    }

    async fn swap(&self, bytes: Vec<u8>, version: &Version) -> Result<bool, StoreError> {
        self.work.swap(&self.path, bytes, version).await
    }
}
