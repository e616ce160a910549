//! Containers and their blobs.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH, RANGE,
};
use reqwest::{Body, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use super::{Storage, answer};

/// Blobs that are listed in one request.
const PAGE: &str = "500";

/// A container, which need not exist.
#[derive(Debug, Clone)]
pub struct Container {
    storage: Storage,
    name: String,
}

/// A blob, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What is in it.
    pub content: Vec<u8>,
    /// Its ETag, without quotes.
    pub etag: String,
}

/// A blob as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobItem {
    /// Its path in the container.
    pub name: String,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its size in bytes.
    pub length: u64,
    /// The MD5 of its content in base64, where it was written in one request; empty otherwise.
    pub md5: String,
    /// What it is made of.
    pub kind: BlobType,
    /// Its media type.
    pub content_type: String,
    /// When it was written as a whole, as an HTTP date.
    pub created: String,
    /// When it was changed last, as an HTTP date.
    pub last_modified: String,
    /// It is the copy of another blob.
    pub copied: bool,
}

/// What a blob is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum BlobType {
    #[serde(rename = "BlockBlob")]
    Block,
    #[serde(rename = "AppendBlob")]
    Append,
    #[serde(rename = "PageBlob")]
    Page,
}

impl BlobType {
    /// The service's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "BlockBlob",
            Self::Append => "AppendBlob",
            Self::Page => "PageBlob",
        }
    }
}

impl Container {
    pub(super) fn new(storage: Storage, name: &str) -> Self {
        let name = name.to_owned();
        Self { storage, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of a blob, with nothing in it that opens it.
    ///
    /// # Errors
    /// When the endpoint is no URL.
    pub fn url(&self, path: &str) -> Result<Url> {
        let mut url = self.blob_url(path, &[])?;
        url.set_query(None);
        Ok(url)
    }

    /// Makes it, unless it is there.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn create(&self) -> Result<()> {
        let url = self.container_url(&[])?;
        answer::unless(self.storage.request(Method::PUT, url), StatusCode::CONFLICT).await?;
        Ok(())
    }

    /// Removes it with all blobs, if it is there.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn remove(&self) -> Result<()> {
        let url = self.container_url(&[])?;
        answer::found(self.storage.request(Method::DELETE, url)).await?;
        Ok(())
    }

    /// Writes a block blob in one request, over what was there. Returns its ETag.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn put(&self, path: &str, content: impl Into<Body>) -> Result<String> {
        let response = answer::good(self.put_request(path, content)?).await?;
        etag(response.headers())
    }

    /// Writes a block blob unless there is one of that name. Returns whether it did.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn put_new(&self, path: &str, content: impl Into<Body>) -> Result<bool> {
        let request = self.put_request(path, content)?;
        answer::unless(request.header(IF_NONE_MATCH, "*"), StatusCode::CONFLICT).await
    }

    /// Writes a block blob over the one with that ETag. Returns the new ETag, or `None` where the blob has
    /// another one by now, or is gone.
    ///
    /// # Errors
    /// When the service does not answer, or refuses for another reason.
    pub async fn put_over(
        &self,
        path: &str,
        content: impl Into<Body>,
        etag: &str,
    ) -> Result<Option<String>> {
        let request = self.put_request(path, content)?;
        let request = request.header(IF_MATCH, format!("\"{etag}\""));
        let response = answer::unless_changed(request).await?;
        response
            .map(|response| self::etag(response.headers()))
            .transpose()
    }

    /// Writes a block blob out of blocks, each in a request of its own and all seen at once with the last
    /// one: for big files. Returns its ETag.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn put_blocks<B: Into<Body>>(
        &self,
        path: &str,
        blocks: impl IntoIterator<Item = B>,
    ) -> Result<String> {
        let mut list = String::from("<BlockList>");
        for (number, block) in blocks.into_iter().enumerate() {
            let id = BASE64_STANDARD.encode(format!("{number:08}"));
            let url = self.blob_url(path, &[("comp", "block"), ("blockid", &id)])?;
            answer::good(self.storage.request(Method::PUT, url).body(block)).await?;
            list.push_str(&format!("<Latest>{id}</Latest>"));
        }
        list.push_str("</BlockList>");
        let url = self.blob_url(path, &[("comp", "blocklist")])?;
        let request = self.storage.request(Method::PUT, url).body(list);
        let request = request.header("x-ms-blob-content-type", content_type(path));
        let response = answer::good(request).await?;
        etag(response.headers())
    }

    /// Writes an append blob of one block, over what was there.
    ///
    /// # Errors
    /// When the service does not answer, or refuses: a block of more than 4 MiB, for one.
    pub async fn put_appended(&self, path: &str, block: impl Into<Body>) -> Result<()> {
        let made = self.storage.request(Method::PUT, self.blob_url(path, &[])?);
        let made = made.header("x-ms-blob-type", BlobType::Append.name());
        answer::good(made.header(CONTENT_LENGTH, 0)).await?;
        let url = self.blob_url(path, &[("comp", "appendblock")])?;
        answer::good(self.storage.request(Method::PUT, url).body(block)).await?;
        Ok(())
    }

    /// Copies a blob within the account, over what was there. Returns the copy's ETag.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn copy_from(&self, source: &Self, from: &str, to: &str) -> Result<String> {
        let source = source.blob_url(from, &[])?;
        let url = self.blob_url(to, &[])?;
        let request = self.storage.request(Method::PUT, url);
        let request = request.header("x-ms-copy-source", source.as_str());
        let response = answer::good(request).await?;
        etag(response.headers())
    }

    /// A blob, read whole.
    ///
    /// # Errors
    /// When the service does not answer, or refuses, or the body is cut off.
    pub async fn get(&self, path: &str) -> Result<Option<Blob>> {
        let url = self.blob_url(path, &[])?;
        let Some(response) = answer::found(self.storage.request(Method::GET, url)).await? else {
            return Ok(None);
        };
        let etag = etag(response.headers())?;
        let content = response.bytes().await.context("a blob is cut off")?;
        let content = content.to_vec();
        Ok(Some(Blob { content, etag }))
    }

    /// `length` bytes of a blob from `offset` on, or fewer where it ends. `None` where there is no such
    /// blob.
    ///
    /// # Errors
    /// When the service does not answer, or refuses: also where the blob ends before `offset`.
    pub async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let url = self.blob_url(path, &[])?;
        let last = offset + length.max(1) - 1;
        let request = self.storage.request(Method::GET, url);
        let request = request.header(RANGE, format!("bytes={offset}-{last}"));
        let Some(response) = answer::found(request).await? else {
            return Ok(None);
        };
        let content = response.bytes().await.context("a blob is cut off")?;
        Ok(Some(content.to_vec()))
    }

    /// A blob as a list shows it.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn find(&self, path: &str) -> Result<Option<BlobItem>> {
        let mut listed = self.list(path).await?.into_iter();
        Ok(listed.find(|item| item.name == path))
    }

    /// All blobs whose path begins with `prefix`, in order. None where there is no container.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn list(&self, prefix: &str) -> Result<Vec<BlobItem>> {
        let mut items = Vec::new();
        let mut marker = String::new();
        loop {
            let query = [
                ("comp", "list"),
                ("prefix", prefix),
                ("marker", &marker),
                ("maxresults", PAGE),
                ("include", "copy"),
            ];
            let url = self.container_url(&query)?;
            let request = self.storage.request(Method::GET, url);
            let Some(response) = answer::found(request).await? else {
                return Ok(items);
            };
            let page: Page = answer::xml(response).await?;
            items.extend(page.blobs.blobs.into_iter().map(BlobItem::from));
            marker = page.next_marker.unwrap_or_default();
            if marker.is_empty() {
                return Ok(items);
            }
        }
    }

    /// How many blocks a block blob was committed from: none where it was written in one request.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn blocks(&self, path: &str) -> Result<usize> {
        let query = [("comp", "blocklist"), ("blocklisttype", "committed")];
        let url = self.blob_url(path, &query)?;
        let request = self.storage.request(Method::GET, url);
        let Some(response) = answer::found(request).await? else {
            return Ok(0);
        };
        let list: BlockList = answer::xml(response).await?;
        Ok(list.committed.map_or(0, |list| list.blocks.len()))
    }

    /// Sets a blob's metadata to this one name and value: the same bytes get a new ETag, which it returns.
    ///
    /// # Errors
    /// When there is no such blob, or the service does not answer, or refuses.
    pub async fn set_metadata(&self, path: &str, name: &str, value: &str) -> Result<String> {
        let url = self.blob_url(path, &[("comp", "metadata")])?;
        let request = self.storage.request(Method::PUT, url);
        let request = request.header(CONTENT_LENGTH, 0);
        let request = request.header(format!("x-ms-meta-{name}"), value);
        let response = answer::good(request).await?;
        etag(response.headers())
    }

    /// Moves a blob to an access tier: `Hot`, `Cool`, `Archive`.
    ///
    /// # Errors
    /// When there is no such blob, or the service does not answer, or refuses.
    pub async fn set_tier(&self, path: &str, tier: &str) -> Result<()> {
        let url = self.blob_url(path, &[("comp", "tier")])?;
        let request = self.storage.request(Method::PUT, url);
        let request = request.header(CONTENT_LENGTH, 0);
        answer::good(request.header("x-ms-access-tier", tier)).await?;
        Ok(())
    }

    /// Ends whatever lease a blob has, at once.
    ///
    /// # Errors
    /// When there is no lease, or the service does not answer, or refuses.
    pub async fn break_lease(&self, path: &str) -> Result<()> {
        let url = self.blob_url(path, &[("comp", "lease")])?;
        let request = self
            .storage
            .request(Method::PUT, url)
            .header(CONTENT_LENGTH, 0)
            .header("x-ms-lease-action", "break")
            .header("x-ms-lease-break-period", "0");
        answer::good(request).await?;
        Ok(())
    }

    /// Removes a blob. Returns whether it was there.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn delete(&self, path: &str) -> Result<bool> {
        let url = self.blob_url(path, &[])?;
        let deleted = answer::found(self.storage.request(Method::DELETE, url)).await?;
        Ok(deleted.is_some())
    }

    fn put_request(&self, path: &str, content: impl Into<Body>) -> Result<RequestBuilder> {
        let content = content.into();
        let url = self.blob_url(path, &[])?;
        let request = self.storage.request(Method::PUT, url);
        let request = request.header("x-ms-blob-type", BlobType::Block.name());
        let request = request.header(CONTENT_TYPE, content_type(path));
        // The service wants the length of nothing, too, and the HTTP client leaves it out.
        let empty = content.as_bytes().is_some_and(<[u8]>::is_empty);
        let request = match empty {
            true => request.header(CONTENT_LENGTH, 0),
            false => request,
        };
        Ok(request.body(content))
    }

    fn container_url(&self, query: &[(&str, &str)]) -> Result<Url> {
        let query = [&[("restype", "container")], query].concat();
        self.storage.blob_url(&[&self.name], &query)
    }

    fn blob_url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url> {
        let segments = std::iter::once(self.name.as_str()).chain(path.split('/'));
        let segments = segments.collect::<Vec<_>>();
        self.storage.blob_url(&segments, query)
    }
}

/// What users' tools say of a file by its name.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        _ => "application/octet-stream",
    }
}

fn etag(headers: &HeaderMap) -> Result<String> {
    let etag = headers.get(ETAG).and_then(|value| value.to_str().ok());
    let etag = etag.context("the storage service's answer has no ETag")?;
    Ok(etag.trim_matches('"').to_owned())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    blobs: Blobs,
    next_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    name: String,
    properties: Properties,
}

#[derive(Debug, Deserialize)]
struct Properties {
    #[serde(rename = "Etag")]
    etag: String,
    #[serde(rename = "Content-Length")]
    length: u64,
    #[serde(rename = "Content-MD5", default)]
    md5: String,
    #[serde(rename = "BlobType")]
    kind: BlobType,
    #[serde(rename = "Content-Type", default)]
    content_type: String,
    #[serde(rename = "Creation-Time", default)]
    created: String,
    #[serde(rename = "Last-Modified", default)]
    last_modified: String,
    #[serde(rename = "CopyId")]
    copy_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct BlockList {
    #[serde(rename = "CommittedBlocks")]
    committed: Option<Blocks>,
}

#[derive(Debug, Deserialize)]
struct Blocks {
    #[serde(rename = "Block", default)]
    blocks: Vec<Block>,
}

#[derive(Debug, Deserialize)]
struct Block {}

impl From<Listed> for BlobItem {
    fn from(listed: Listed) -> Self {
        let Listed { name, properties } = listed;
        Self {
            name,
            etag: properties.etag.trim_matches('"').to_owned(),
            length: properties.length,
            md5: properties.md5,
            kind: properties.kind,
            content_type: properties.content_type,
            created: properties.created,
            last_modified: properties.last_modified,
            copied: properties.copy_id.is_some(),
        }
    }
}
