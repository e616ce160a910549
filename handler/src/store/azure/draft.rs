//! A blob that is sent in blocks and appears with their list, in one commit.

use super::super::own::Draft;
use super::super::{PutMode, StoreError};
use super::answer::write_failure;
use super::folder::Folder;
use super::own::{Mark, conditions, content_type};
use async_trait::async_trait;
use azure_storage_blob::BlockBlobClient;
use azure_storage_blob::models::{BlockBlobClientCommitBlockListOptions, BlockLookupList};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use uuid::Uuid;

/// Bytes of a block. A blob has at most 50,000, so this makes 195 GiB.
const BLOCK: usize = 4 << 20;

/// A blob that is being written. Blocks are invisible until they are committed; the service drops
/// uncommitted ones after a week.
pub(super) struct AzureDraft {
    folder: Arc<Folder>,
    path: String,
    blob: BlockBlobClient,
    blocks: Vec<Uuid>,
    pending: Vec<u8>,
    /// A block is missing: sending it failed or was given up.
    torn: bool,
}

impl AzureDraft {
    pub(super) fn new(folder: Arc<Folder>, path: &str) -> Self {
        Self {
            blob: folder.blob(path).block_blob_client(),
            folder,
            path: path.to_owned(),
            blocks: Vec::new(),
            pending: Vec::new(),
            torn: false,
        }
    }

    /// Finds out whether the blob can be written, by a block that is never committed.
    pub(super) async fn try_out(mut self) -> Result<(), StoreError> {
        self.stage(Bytes::from_static(b"\n")).await
    }

    async fn stage(&mut self, block: Bytes) -> Result<(), StoreError> {
        // Ids of a blob must be of equal length, and those of several drafts must differ.
        let id = Uuid::new_v4();
        let length = block.len() as u64;
        self.torn = true;
        let stage = || {
            self.blob
                .stage_block(id.as_bytes(), length, block.clone().into(), None)
        };
        match self.folder.calls().send(stage).await {
            Ok(_) => {
                self.torn = false;
                self.blocks.push(id);
                Ok(())
            }
            Err(error) => Err(write_failure(error, "write", &self.place())),
        }
    }

    fn place(&self) -> String {
        self.folder.locate(&self.path)
    }
}

impl std::fmt::Debug for AzureDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AzureDraft({})", self.place())
    }
}

#[async_trait]
impl Draft for AzureDraft {
    async fn write(&mut self, mut content: &[u8]) -> Result<(), StoreError> {
        while !content.is_empty() {
            let room = BLOCK.saturating_sub(self.pending.len());
            let (now, later) = content.split_at(room.min(content.len()));
            self.pending.extend_from_slice(now);
            content = later;
            if self.pending.len() >= BLOCK {
                let block = std::mem::take(&mut self.pending);
                self.stage(block.into()).await?;
            }
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>, mode: PutMode) -> Result<bool, StoreError> {
        if self.torn {
            return Err(StoreError::Io {
                operation: "write",
                place: self.place(),
                source: io::Error::other("an earlier write to it failed"),
            });
        }
        if !self.pending.is_empty() {
            let block = std::mem::take(&mut self.pending);
            self.stage(block.into()).await?;
        }
        let mark = Mark::new();
        let (if_match, if_none_match) = conditions(&mode);
        let options = BlockBlobClientCommitBlockListOptions {
            blob_content_type: Some(content_type(&self.path).to_owned()),
            if_match,
            if_none_match,
            metadata: Some(mark.metadata()),
            ..Default::default()
        };
        let blocks = self.blocks.iter().map(|id| id.as_bytes().to_vec());
        let mut list = BlockLookupList::default();
        list.latest.replace(blocks.collect());
        let commit = || async {
            let list = list.clone().try_into()?;
            self.blob
                .commit_block_list(list, Some(options.clone()))
                .await
        };
        match self.folder.calls().send(commit).await {
            Ok(_) => Ok(true),
            Err(error) => mark.settle(&self.folder, &self.path, &mode, error).await,
        }
    }
}
