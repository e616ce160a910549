//! RAW: what is read and never written, whatever it lies in.

use super::azure::{Account, Area, AzureRaw};
use super::local::LocalRaw;
use super::{StoreError, Version};
use crate::dataset::layout::{self, BucketName, Entry};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Blocks of a file as they come, or why they stopped coming.
pub(super) type Blocks = mpsc::Receiver<Result<Bytes, StoreError>>;

/// One bucket file of RAW.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// Which bucket it is.
    pub name: BucketName,
    /// Its path below the folder, with `/`.
    pub path: String,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    /// A pipe or device: opening it may wait for ever, and it cannot be read twice.
    Other,
}

/// What a place that holds RAW can do. Nothing in it writes: who holds one cannot.
#[async_trait]
pub(super) trait RawBlobs: Debug + Send + Sync {
    fn locate(&self, path: &str) -> String;

    /// What lies in the folder and in its folders, but for hidden names and for the folders
    /// themselves. May go deeper.
    async fn entries(&self) -> Result<Vec<(String, Kind)>, StoreError>;

    async fn version(&self, path: &str) -> Result<Version, StoreError>;

    async fn read(&self, path: &str) -> Result<Bytes, StoreError>;

    async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
        version: &Version,
    ) -> Result<Bytes, StoreError>;

    async fn blocks(
        &self,
        path: &str,
        version: Option<&Version>,
    ) -> Result<(Version, Blocks), StoreError>;
}

/// RAW: a dataset's folder, or the folder of a lone file. Has no method that writes.
#[derive(Clone, Debug)]
pub struct RawFolder(Arc<dyn RawBlobs>);

impl RawFolder {
    /// The folder at `root` on this machine, which must exist when it is read.
    pub fn local(root: impl Into<PathBuf>) -> Self {
        Self(Arc::new(LocalRaw::new(root.into())))
    }

    /// The folder `path` of `container`, empty for the whole of it.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if container or path are no such names.
    pub fn azure(account: &Account, container: &str, path: &str) -> Result<Self, StoreError> {
        let area = Area::new(container, path)?;
        Ok(Self(Arc::new(AzureRaw::new(account, area))))
    }

    /// Where a file of the folder lies, as a person would write it.
    pub fn locate(&self, path: &str) -> String {
        self.0.locate(path)
    }

    /// The bucket files of a dataset, by split and bucket, and what was passed over with the reason.
    ///
    /// # Errors
    /// If a folder cannot be listed.
    pub async fn buckets(&self) -> Result<(Vec<RawFile>, Vec<(String, &'static str)>), StoreError> {
        let (mut files, mut ignored) = (Vec::new(), Vec::new());
        for (path, kind) in self.0.entries().await? {
            if path == layout::RAW_METADATA {
                continue;
            }
            match (layout::classify(&path), kind) {
                (Entry::Bucket(name), Kind::File) => files.push(RawFile { name, path }),
                (Entry::Bucket(_), Kind::Folder) => ignored.push((path, "a folder")),
                (Entry::Bucket(_), Kind::Other) => ignored.push((path, "not a regular file")),
                (Entry::Ignored(reason), _) => ignored.push((path, reason)),
            }
        }
        files.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
        Ok((files, ignored))
    }

    /// The version that is there now.
    ///
    /// # Errors
    /// If the file is not there or cannot be read.
    pub async fn version(&self, path: &str) -> Result<Version, StoreError> {
        self.0.version(path).await
    }

    /// A small file as a whole.
    ///
    /// # Errors
    /// If the file is not there or cannot be read.
    pub async fn read(&self, path: &str) -> Result<Bytes, StoreError> {
        self.0.read(path).await
    }

    /// The bytes of `range`, of that version and no other.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if the file is another version by now.
    pub async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
        version: &Version,
    ) -> Result<Bytes, StoreError> {
        self.0.read_range(path, range, version).await
    }

    /// The file from its beginning in blocks, and the version it is: `version` where one is given.
    /// Memory holds a few blocks, whatever the file's size.
    ///
    /// # Errors
    /// If the file cannot be opened, or is not `version`; later failures come in place of a block.
    pub async fn blocks(
        &self,
        path: &str,
        version: Option<&Version>,
    ) -> Result<(Version, mpsc::Receiver<Result<Bytes, StoreError>>), StoreError> {
        self.0.blocks(path, version).await
    }
}
