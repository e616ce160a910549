//! RAW in a container: nothing here writes.

use super::super::raw::{Blocks, Kind, RawBlobs};
use super::super::{StoreError, Version};
use super::account::Account;
use super::folder::{Folder, collect};
use super::guard::Area;
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use tokio::sync::mpsc;

const BLOCKS_AHEAD: usize = 2;

#[derive(Debug)]
pub(in crate::store) struct AzureRaw(Folder);

impl AzureRaw {
    pub(in crate::store) fn new(account: &Account, area: Area) -> Self {
        Self(Folder::new(account, area))
    }
}

#[async_trait]
impl RawBlobs for AzureRaw {
    fn locate(&self, path: &str) -> String {
        self.0.locate(path)
    }

    async fn entries(&self) -> Result<Vec<(String, Kind)>, StoreError> {
        let blobs = self.0.list("").await?.into_iter();
        let hidden = |path: &str| path.split('/').any(|name| name.starts_with('.'));
        Ok(blobs
            .filter(|(path, _)| !hidden(path))
            .map(|(path, _)| (path, Kind::File))
            .collect())
    }

    async fn version(&self, path: &str) -> Result<Version, StoreError> {
        let found = self.0.properties(path).await?;
        let found = found.ok_or_else(|| StoreError::NotFound {
            place: self.0.locate(path),
        })?;
        Ok(found.status.version)
    }

    async fn read(&self, path: &str) -> Result<Bytes, StoreError> {
        let (version, body) = self.0.open(path, None, None).await?;
        collect(body, version.length).await
    }

    async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
        version: &Version,
    ) -> Result<Bytes, StoreError> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            // There is no such request.
            return match self.version(path).await? {
                found if found.etag == version.etag => Ok(Bytes::new()),
                found => Err(StoreError::Changed {
                    place: self.0.locate(path),
                    expected: version.etag.clone(),
                    found: found.etag,
                }),
            };
        }
        let (_, body) = self.0.open(path, Some(range), Some(&version.etag)).await?;
        collect(body, length).await
    }

    async fn blocks(
        &self,
        path: &str,
        version: Option<&Version>,
    ) -> Result<(Version, Blocks), StoreError> {
        let etag = version.map(|version| version.etag.as_str());
        let (version, mut body) = self.0.open(path, None, etag).await?;
        if body.is_copying() {
            let place = self.0.locate(path);
            return Err(StoreError::Copying { place });
        }
        let (blocks, received) = mpsc::channel(BLOCKS_AHEAD);
        tokio::spawn(async move {
            while let Some(block) = body.next().await.transpose() {
                let failed = block.is_err();
                if blocks.send(block).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok((version, received))
    }
}
