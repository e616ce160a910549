//! Our own files in a container.

use super::super::own::{Appender, Lock, OwnBlobs, Publication};
use super::super::{BlobStatus, Listed, PutMode, StoreError, Version};
use super::account::Account;
use super::answer::{Meaning, meaning, write_failure};
use super::draft::AzureDraft;
use super::folder::{Folder, collect, is_missing, listed_version, quoted, timestamp};
use super::guard::{Area, Guard, check_names};
use super::lease;
use super::lines::{self, AzureAppender};
use async_trait::async_trait;
use azure_core::error::Error;
use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientUploadOptions, BlobItem, DeleteSnapshotsOptionType,
};
use bytes::Bytes;
use futures::stream::{self, TryStreamExt as _};
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use uuid::Uuid;

/// The name under which a blob's metadata says which write made it: the answer to a write can get
/// lost.
const WRITE: &str = "softlabel_write";

const REMOVALS: usize = 8;

/// A folder that a [`Guard`] allows to be written.
#[derive(Debug)]
pub(in crate::store) struct AzureOwn(Arc<Folder>);

impl AzureOwn {
    /// The folder `area`, if `guard` allows everything in it to be written.
    pub(in crate::store) fn new(
        account: &Account,
        area: Area,
        guard: &Guard,
    ) -> Result<Self, StoreError> {
        let allowed = guard.check(&area);
        let folder = Folder::new(account, area);
        allowed.map_err(|reason| StoreError::forbidden(folder.locate(""), reason))?;
        Ok(Self(Arc::new(folder)))
    }

    /// The blobs below `prefix`; none in a container that is not there.
    async fn blobs(&self, prefix: &str) -> Result<Vec<(String, BlobItem)>, StoreError> {
        match self.0.list(prefix).await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            listed => listed,
        }
    }
}

#[async_trait]
impl OwnBlobs for AzureOwn {
    fn locate(&self, path: &str) -> String {
        self.0.locate(path)
    }

    /// Refuses a path that on its way could turn into another.
    fn check(&self, path: &str) -> Result<(), &'static str> {
        check_names(path)
    }

    async fn read_versioned(&self, path: &str) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        match self.0.open(path, None, None).await {
            Ok((version, body)) => {
                let content = collect(body, version.length).await?;
                Ok(Some((content.into(), version)))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, path: &str, content: Vec<u8>, mode: PutMode) -> Result<bool, StoreError> {
        let mark = Mark::new();
        let content = Bytes::from(content);
        let (if_match, if_none_match) = conditions(&mode);
        let options = BlobClientUploadOptions {
            blob_content_type: Some(content_type(path).to_owned()),
            if_match,
            if_none_match,
            metadata: Some(mark.metadata()),
            // In one request, whatever its size.
            parallel: Some(NonZero::<usize>::MIN),
            partition_size: Some(NonZero::<u64>::MAX),
            ..Default::default()
        };
        let blob = self.0.blob(path);
        let upload = || blob.upload(content.clone().into(), Some(options.clone()));
        match self.0.calls().send(upload).await {
            Ok(_) => Ok(true),
            Err(error) => mark.settle(&self.0, path, &mode, error).await,
        }
    }

    async fn publish(&self, path: &str) -> Result<Publication, StoreError> {
        Ok(Box::new(AzureDraft::new(Arc::clone(&self.0), path)))
    }

    async fn try_out(&self, path: &str) -> Result<(), StoreError> {
        AzureDraft::new(Arc::clone(&self.0), path).try_out().await
    }

    async fn append(&self, path: &str) -> Result<(Appender, Vec<u8>), StoreError> {
        let (appender, lines) = AzureAppender::take(&self.0, path).await?;
        Ok((Box::new(appender), lines))
    }

    async fn add_line(&self, path: &str, line: Vec<u8>) -> Result<u64, StoreError> {
        lines::add_line(&self.0, path, line.into()).await
    }

    async fn status(&self, path: &str) -> Result<Option<BlobStatus>, StoreError> {
        let found = self.0.properties(path).await?;
        Ok(found.map(|found| found.status))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let listed = self
            .blobs(prefix)
            .await?
            .into_iter()
            .map(|(path, item)| Listed {
                path,
                version: listed_version(&item),
                modified: timestamp(item.properties.and_then(|p| p.last_modified)),
            });
        Ok(listed.collect())
    }

    async fn remove_file(&self, path: &str) -> Result<(), StoreError> {
        let blob = self.0.blob(path);
        let options = BlobClientDeleteOptions {
            delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
            ..Default::default()
        };
        let delete = || blob.delete(Some(options.clone()));
        match self.0.calls().send(delete).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(write_failure(error, "remove", &self.0.locate(path))),
        }
    }

    async fn remove(&self, prefix: &str) -> Result<(), StoreError> {
        let blobs = self.blobs(prefix).await?;
        stream::iter(blobs.into_iter().map(Ok))
            .try_for_each_concurrent(REMOVALS, |(path, _)| async move {
                let checked = check_names(&path);
                checked.map_err(|reason| StoreError::forbidden(self.0.locate(&path), reason))?;
                self.remove_file(&path).await
            })
            .await
    }

    async fn lock(&self, name: &str, holder: &str) -> Result<Lock, StoreError> {
        Ok(Box::new(lease::lock(&self.0, name, holder).await?))
    }
}

/// Names one write, so that it is known again when its answer got lost.
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    pub(super) fn metadata(&self) -> HashMap<String, String> {
        HashMap::from([(WRITE.to_owned(), self.0.clone())])
    }

    /// What it means for this write of `path` in `mode` that its last try ended in `error`.
    pub(super) async fn settle(
        &self,
        folder: &Folder,
        path: &str,
        mode: &PutMode,
        error: Error,
    ) -> Result<bool, StoreError> {
        match (meaning(&error), mode) {
            (Meaning::Condition | Meaning::Blocks, _) => {}
            // The version to replace is gone.
            (Meaning::Missing { container: false }, PutMode::Update(_)) => {}
            _ => return Err(write_failure(error, "write", &folder.locate(path))),
        }
        let there = folder.properties(path).await?;
        let ours = there.as_ref().is_some_and(|there| {
            let mut marks = there.metadata.iter();
            marks.any(|(name, value)| name.eq_ignore_ascii_case(WRITE) && *value == self.0)
        });
        if ours {
            return Ok(true);
        }
        let etag = there.map(|there| there.status.version.etag);
        let as_expected = match mode {
            PutMode::Overwrite => true,
            PutMode::Create => etag.is_none(),
            PutMode::Update(version) => etag.as_ref() == Some(&version.etag),
        };
        if as_expected {
            // The write was refused because another one was under way, not for what is there.
            return Err(StoreError::Unavailable {
                operation: "write",
                place: folder.locate(path),
                source: "another program writes it too".into(),
            });
        }
        Ok(false)
    }
}

/// The conditions `If-Match` and `If-None-Match` of a request that writes in `mode`.
pub(super) fn conditions(mode: &PutMode) -> (Option<Etag>, Option<Etag>) {
    match mode {
        PutMode::Overwrite => (None, None),
        PutMode::Create => (None, Some(Etag::from("*"))),
        PutMode::Update(version) => (Some(quoted(&version.etag)), None),
    }
}

/// What browsers and tools take the file for.
pub(super) fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        Some((_, "jsonl")) => "application/x-ndjson",
        _ => "application/octet-stream",
    }
}
