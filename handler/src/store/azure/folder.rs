//! A folder in a container: what reading and writing one have in common.

use super::super::{BlobStatus, StoreError, Version};
use super::account::Account;
use super::answer::{Meaning, failure, meaning};
use super::body::Body;
use super::calls::Calls;
use super::guard::Area;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::Etag;
use azure_core::time::OffsetDateTime;
use azure_storage_blob::models::{
    BlobClientGetPropertiesResultHeaders as _, BlobContainerClientListBlobsOptions, BlobItem,
    LeaseState, ListBlobsIncludeItem, ListBlobsResponse,
};
use azure_storage_blob::{BlobClient, BlobContainerClient};
use bytes::Bytes;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

pub(super) struct Folder {
    account: Account,
    area: Area,
    container: BlobContainerClient,
}

pub(super) struct Properties {
    pub(super) status: BlobStatus,
    pub(super) metadata: HashMap<String, String>,
}

impl Folder {
    pub(super) fn new(account: &Account, area: Area) -> Self {
        Self {
            container: account.container(area.container()),
            account: account.clone(),
            area,
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        self.account.calls()
    }

    fn name(&self, path: &str) -> String {
        match (self.area.path(), path) {
            ("", path) => path.to_owned(),
            (folder, "") => folder.to_owned(),
            (folder, path) => format!("{folder}/{path}"),
        }
    }

    pub(super) fn locate(&self, path: &str) -> String {
        self.account.locate(self.area.container(), &self.name(path))
    }

    pub(super) fn blob(&self, path: &str) -> BlobClient {
        self.container.blob_client(&self.name(path))
    }

    /// What is known of the blob `path`; `None` where there is none.
    pub(super) async fn properties(&self, path: &str) -> Result<Option<Properties>, StoreError> {
        let blob = self.blob(path);
        let failed = |error: Error| failure(error, "look at", &self.locate(path));
        let found = match self.calls().send(|| blob.get_properties(None)).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if found
            .metadata()
            .is_ok_and(|metadata| is_marked_folder(&metadata))
        {
            return Ok(None);
        }
        let read = || {
            Ok(Properties {
                status: BlobStatus {
                    version: Version {
                        etag: found.etag()?.map(unquoted).unwrap_or_default(),
                        length: found.content_length()?.unwrap_or_default(),
                    },
                    modified: timestamp(found.last_modified()?),
                    leased: found.lease_state()? == Some(LeaseState::Leased),
                },
                metadata: found.metadata()?,
            })
        };
        read().map(Some).map_err(failed)
    }

    /// Opens the blob `path` for reading, `range` of it or all, of the version `etag` or whichever is
    /// there.
    pub(super) async fn open(
        &self,
        path: &str,
        range: Option<Range<u64>>,
        etag: Option<&str>,
    ) -> Result<(Version, Body), StoreError> {
        let opened = Body::open(
            self.blob(path),
            self.calls().clone(),
            self.locate(path),
            range,
            etag,
        );
        match opened.await {
            Err(StoreError::Changed {
                place, expected, ..
            }) => {
                let Some(there) = self.properties(path).await? else {
                    return Err(StoreError::NotFound { place });
                };
                Err(StoreError::Changed {
                    place,
                    expected,
                    found: there.status.version.etag,
                })
            }
            opened => opened,
        }
    }

    /// The blobs below the folder `prefix` of this folder, with their paths below this folder.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<(String, BlobItem)>, StoreError> {
        let mut name = self.name(prefix);
        if !name.is_empty() {
            name.push('/');
        }
        let above = match self.area.path() {
            "" => 0,
            folder => folder.len() + 1,
        };
        let mut blobs = Vec::new();
        let mut marker = None;
        loop {
            let page = self.calls().send(|| self.page(&name, marker.clone()));
            let page = page
                .await
                .map_err(|error| failure(error, "list", &self.locate(prefix)))?;
            blobs.extend(page.blob_items.into_iter().filter_map(|item| {
                let path = item.name.as_deref()?.get(above..)?.to_owned();
                (!is_folder(&item)).then_some((path, item))
            }));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(blobs);
            }
        }
    }

    /// One page of a listing; the SDK's own pager cannot repeat one that failed.
    async fn page(
        &self,
        prefix: &str,
        marker: Option<String>,
    ) -> azure_core::Result<ListBlobsResponse> {
        let options = BlobContainerClientListBlobsOptions {
            // Only in its metadata a folder of a hierarchical namespace says that it is one.
            include: Some(vec![ListBlobsIncludeItem::Metadata]),
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            marker,
            maxresults: Some(i32::from(self.calls().0.page)),
            ..Default::default()
        };
        let mut pages = self.container.list_blobs(Some(options))?.into_pages();
        let page = pages.try_next().await?;
        let page = page.ok_or_else(|| Error::with_message(ErrorKind::Io, "no page came"))?;
        page.into_model()
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.locate(""))
    }
}

/// Whether there is no such blob, or no container that it could be in.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(meaning(error), Meaning::Missing { .. })
}

/// An ETag as versions show it.
pub(super) fn unquoted(etag: Etag) -> String {
    let etag = String::from(etag);
    etag.trim_matches('"').to_owned()
}

/// An ETag as conditions want it.
pub(super) fn quoted(etag: &str) -> Etag {
    Etag::from(format!("\"{etag}\""))
}

pub(super) fn listed_version(item: &BlobItem) -> Version {
    let properties = item.properties.as_ref();
    let etag = properties.and_then(|properties| properties.etag.clone());
    Version {
        etag: etag.map(unquoted).unwrap_or_default(),
        length: properties
            .and_then(|properties| properties.content_length)
            .unwrap_or_default(),
    }
}

pub(super) fn timestamp(time: Option<OffsetDateTime>) -> Timestamp {
    time.and_then(|time| Timestamp::from_second(time.unix_timestamp()).ok())
        .unwrap_or_default()
}

fn is_folder(item: &BlobItem) -> bool {
    let metadata = item.metadata.as_ref();
    let values = metadata.and_then(|metadata| metadata.values.as_ref());
    values.is_some_and(is_marked_folder)
}

/// Accounts with a hierarchical namespace show folders as blobs.
fn is_marked_folder(metadata: &HashMap<String, String>) -> bool {
    metadata
        .get("hdi_isfolder")
        .is_some_and(|mark| mark == "true")
}

/// All of a body, which is small.
pub(super) async fn collect(mut body: Body, capacity: u64) -> Result<Bytes, StoreError> {
    let mut content = Vec::with_capacity(usize::try_from(capacity).unwrap_or_default());
    while let Some(bytes) = body.next().await? {
        content.extend_from_slice(&bytes);
    }
    Ok(content.into())
}
