//! RAW: read and never written, in a folder or a container.

use super::azure::{Account, Area, AzureRaw};
use super::local::LocalRaw;
use super::{StoreError, Version};
use crate::dataset::layout::{self, BucketName, Entry, LeftOut};
use crate::dataset::packed::{Packed, TELLING_BYTES};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::ops::Deref;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Blocks of a file as they come; a failure comes in place of a block.
pub(super) type Blocks = mpsc::Receiver<Result<Bytes, StoreError>>;

/// A bucket file of RAW.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// The split and bucket that its path names.
    pub name: BucketName,
    /// Its path below the folder, with `/`.
    pub path: String,
}

/// What [`RawFolder::buckets`] finds in a folder of RAW.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    /// The bucket files, sorted by name and then by path.
    pub files: Vec<RawFile>,
    /// The files that are named like data and are not bucket files.
    pub left_out: LeftOut,
    /// The folders in it that are datasets themselves: then it is a folder of datasets.
    pub datasets: Vec<String>,
}

impl Buckets {
    /// What the function app reads of it: only `.json` files, under names that every reader of a URL
    /// reads alike. If two files would become the same labelled file, it reads the one whose name ends in
    /// lower case.
    #[must_use]
    pub fn in_app(self) -> Self {
        let (mut files, mut left_out) = (Vec::<RawFile>::new(), self.left_out);
        // Lower case sorts last.
        for file in self.files.into_iter().rev() {
            if let Err(reason) = layout::has_blob_names(&file.path) {
                left_out.add(file.path, reason);
            } else if !layout::is_json(&file.path) {
                left_out.add(file.path, layout::LINES_IN_APP);
            } else if files.last().is_some_and(|last| last.name == file.name) {
                let reason = "another file would become the same labelled file; remove one";
                left_out.add(file.path, reason);
            } else {
                files.push(file);
            }
        }
        files.reverse();
        Self {
            files,
            left_out,
            ..self
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Folder,
    File,
    /// A pipe or device: opening it may wait for ever, and it cannot be read twice.
    Other,
}

/// What can be done with RAW. Nothing here writes.
#[async_trait]
pub trait RawBlobs: Debug + Send + Sync {
    /// Where a file of the folder lies, as a person would write it.
    fn locate(&self, path: &str) -> String;

    /// What lies in the folder and in its folders, hidden names left out.
    async fn entries(&self) -> Result<Vec<(String, Kind)>, StoreError>;

    async fn version(&self, path: &str) -> Result<Version, StoreError>;

    /// A small file as a whole.
    async fn read(&self, path: &str) -> Result<Bytes, StoreError>;

    /// The bytes of `range` of `version`; [`StoreError::Changed`] if the file is another version.
    async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
        version: &Version,
    ) -> Result<Bytes, StoreError>;

    /// The file from its beginning in blocks, and its version, which is `version` where one is
    /// given. Memory holds a few blocks, whatever the file's size.
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

    /// The folder `path` of `container`, empty for the whole of it; [`StoreError::Forbidden`] if
    /// container or path are no such names.
    pub fn azure(account: &Account, container: &str, path: &str) -> Result<Self, StoreError> {
        let area = Area::new(container, path)?;
        Ok(Self(Arc::new(AzureRaw::new(account, area))))
    }

    /// The bucket files of the folder, and what in it is none. No file is opened.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub async fn buckets(&self) -> Result<Buckets, StoreError> {
        let entries = self.0.entries().await?;
        let paths = entries.iter().map(|(path, _)| path.as_str());
        let datasets = layout::datasets_inside(paths).into_iter();
        let mut buckets = Buckets {
            datasets: datasets.map(str::to_owned).collect(),
            ..Buckets::default()
        };
        for (path, kind) in entries {
            match (layout::classify(&path), kind) {
                (Entry::Bucket(name), Kind::File) => buckets.files.push(RawFile { name, path }),
                (Entry::Bucket(_) | Entry::Unread(_) | Entry::Packed(_), Kind::Other) => {
                    let reason = "it is not a regular file; copy it to one";
                    buckets.left_out.add(path, reason);
                }
                (Entry::Unread(reason), Kind::File) => buckets.left_out.add(path, reason),
                (Entry::Packed(packed), Kind::File) => {
                    let reason = packed_reason(packed, &path);
                    buckets.left_out.add(path, &reason);
                }
                // What lies in a folder is listed itself.
                (_, Kind::Folder) => {}
                (Entry::Ignored(reason), _) => tracing::info!(path, reason, "passed over"),
            }
        }
        buckets
            .files
            .sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
        Ok(buckets)
    }

    /// Leaves out the files that are named like buckets and hold something that has to be converted
    /// first.
    pub async fn without_packed(&self, buckets: Buckets) -> Result<Buckets, StoreError> {
        let (mut files, mut left_out) = (Vec::new(), buckets.left_out);
        for file in buckets.files {
            let version = self.0.version(&file.path).await?;
            let first = match version.length {
                0..TELLING_BYTES => Bytes::new(),
                _ => {
                    let range = 0..TELLING_BYTES;
                    self.0.read_range(&file.path, range, &version).await?
                }
            };
            match Packed::of_content(&first) {
                Some(packed) => {
                    let reason = packed_reason(packed, &file.path);
                    left_out.add(file.path, &reason);
                }
                None => files.push(file),
            }
        }
        Ok(Buckets {
            files,
            left_out,
            ..buckets
        })
    }
}

/// Why a file of a dataset is not read, and the command to run in the dataset's folder.
fn packed_reason(packed: Packed, path: &str) -> String {
    format!("it is {}; {}", packed.what(), packed.remedy(path))
}

impl Deref for RawFolder {
    type Target = dyn RawBlobs;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
