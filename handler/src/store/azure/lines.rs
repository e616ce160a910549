//! Files of lines: append blobs.

use super::super::StoreError;
use super::super::own::{AppendLines, Held};
use super::answer::{Meaning, failure, held, meaning, write_failure};
use super::folder::{Folder, collect, unquoted};
use super::lease::{AtEnd, Lease, is_there};
use async_trait::async_trait;
use azure_storage_blob::AppendBlobClient;
use azure_storage_blob::models::{
    AppendBlobClientAppendBlockOptions, AppendBlobClientAppendBlockResultHeaders as _,
    AppendBlobClientCreateOptions, AppendBlobClientCreateResultHeaders as _,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;

/// The service takes no larger block of an append blob from every account.
const LARGEST: usize = 4 << 20;

/// An append blob that is held by a lease. Every append names the lease and where the blob ends: what
/// another process does, or what was sent twice, cannot slip in.
pub(super) struct AzureAppender {
    folder: Arc<Folder>,
    path: String,
    blob: AppendBlobClient,
    lease: Lease,
    /// Where the blob ends, as far as is known.
    position: u64,
    /// Where the lines began that were appended last.
    began: u64,
    /// An append failed or was given up: an unknown part of its lines is there.
    in_doubt: bool,
}

impl AzureAppender {
    /// Takes the blob, which is made if need be, and gives its whole lines.
    pub(super) async fn take(
        folder: &Arc<Folder>,
        path: &str,
    ) -> Result<(Self, Vec<u8>), StoreError> {
        let made = make(folder, path).await?;
        let Some((lease, etag)) = Lease::take(folder, path, AtEnd::Keep).await? else {
            return Err(StoreError::Unavailable {
                operation: "append to",
                place: folder.locate(path),
                source: "it was removed just now".into(),
            });
        };
        // The blob is as it was made: empty.
        let content = match made == Some(etag) {
            true => Bytes::new(),
            false => {
                let (version, body) = folder.open(path, None, None).await?;
                collect(body, version.length).await?
            }
        };
        let mut appender = Self {
            folder: Arc::clone(folder),
            path: path.to_owned(),
            blob: folder.blob(path).append_blob_client(),
            lease,
            position: content.len() as u64,
            began: content.len() as u64,
            in_doubt: false,
        };
        let mut lines = Vec::from(content);
        let whole = memchr::memrchr(b'\n', &lines).map_or(0, |end| end + 1);
        if whole < lines.len() {
            // Nothing can be cut off here: the torn line becomes one of its own.
            appender.append_block(Bytes::from_static(b"\n")).await?;
            lines.truncate(whole);
        }
        Ok((appender, lines))
    }

    fn place(&self) -> String {
        self.folder.locate(&self.path)
    }

    async fn append_block(&mut self, block: Bytes) -> Result<(), StoreError> {
        self.lease.check()?;
        let length = block.len() as u64;
        let options = AppendBlobClientAppendBlockOptions {
            append_position: Some(i64::try_from(self.position).unwrap_or(i64::MAX)),
            lease_id: Some(self.lease.id()),
            ..Default::default()
        };
        let append = || {
            let options = Some(options.clone());
            self.blob
                .append_block(block.clone().into(), length, options)
        };
        let mut sent = self.folder.calls().send(append).await;
        if let Err(error) = &sent
            && meaning(error) == Meaning::Lease
        {
            // The lease expired while this process slept; that is harmless unless another one came.
            self.lease.renew().await?;
            sent = self.folder.calls().send(append).await;
        }
        match sent {
            Ok(_) => {}
            // An earlier try may have written the block, and its answer was lost.
            Err(error) if meaning(&error) == Meaning::Position => {
                if self.beyond(self.position).await? != block {
                    return Err(held(self.place()));
                }
            }
            Err(error) => return Err(failure(error, "append to", &self.place())),
        }
        self.position += length;
        Ok(())
    }

    /// What the blob has from `position` on.
    async fn beyond(&self, position: u64) -> Result<Bytes, StoreError> {
        let found = self.folder.properties(&self.path).await?;
        let end = found.map_or(0, |found| found.status.version.length);
        if end <= position {
            return Ok(Bytes::new());
        }
        let (_, body) = self
            .folder
            .open(&self.path, Some(position..end), None)
            .await?;
        collect(body, end - position).await
    }

    /// Finds out how much of `lines` is there since they were appended in vain.
    async fn resume(&mut self, lines: &mut Bytes) -> Result<(), StoreError> {
        self.lease.check()?;
        let there = self.beyond(self.began).await?;
        if !lines.starts_with(&there) {
            return Err(held(self.place()));
        }
        let _ = lines.split_to(there.len());
        self.position = self.began + there.len() as u64;
        Ok(())
    }
}

#[async_trait]
impl AppendLines for AzureAppender {
    async fn append(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut rest = Bytes::copy_from_slice(lines);
        match self.in_doubt {
            true => self.resume(&mut rest).await?,
            false => self.began = self.position,
        }
        self.in_doubt = true;
        while !rest.is_empty() {
            let fits = rest.get(..LARGEST.min(rest.len())).unwrap_or_default();
            let end = match fits.len() == rest.len() {
                true => rest.len(),
                // At the end of a line, unless a single line is too long.
                false => memchr::memrchr(b'\n', fits).map_or(LARGEST, |end| end + 1),
            };
            let block = rest.split_to(end);
            self.append_block(block).await?;
        }
        self.in_doubt = false;
        Ok(())
    }
}

#[async_trait]
impl Held for AzureAppender {
    fn lost(&self) -> BoxFuture<'static, StoreError> {
        self.lease.lost()
    }

    async fn release(self: Box<Self>) {
        Box::new(self.lease).release().await;
    }
}

impl std::fmt::Debug for AzureAppender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AzureAppender({} at {})", self.place(), self.position)
    }
}

/// Makes the append blob `path`; its ETag, or `None` if it is there already.
async fn make(folder: &Folder, path: &str) -> Result<Option<String>, StoreError> {
    let blob = folder.blob(path).append_blob_client();
    let options = || Some(AppendBlobClientCreateOptions::default().if_not_exists());
    match folder.calls().send(|| blob.create(options())).await {
        Ok(made) => Ok(made.etag().ok().flatten().map(unquoted)),
        Err(error) if is_there(&error) => Ok(None),
        Err(error) => Err(failure(error, "make", &folder.locate(path))),
    }
}

/// Adds a line to the append blob `path`, which is made if need be, and gives how many blocks it has.
/// No lease and no position: many do this side by side.
pub(super) async fn add_line(folder: &Folder, path: &str, line: Bytes) -> Result<u64, StoreError> {
    let blob = folder.blob(path).append_blob_client();
    let length = line.len() as u64;
    let append = || blob.append_block(line.clone().into(), length, None);
    let mut sent = folder.calls().send(append).await;
    if let Err(error) = &sent
        && meaning(error) == (Meaning::Missing { container: false })
    {
        make(folder, path).await?;
        sent = folder.calls().send(append).await;
    }
    // Nobody leases it to add lines.
    let failed = |error| write_failure(error, "append to", &folder.locate(path));
    let count = sent.map_err(failed)?.blob_committed_block_count();
    let count = count.map_err(failed)?.unwrap_or_default();
    Ok(u64::try_from(count).unwrap_or_default())
}
