//! The content of a blob as a stream that goes on where it was cut off.

use super::super::{StoreError, Version};
use super::answer::{Meaning, failure, meaning};
use super::calls::Calls;
use super::folder::{quoted, unquoted};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::HeaderName;
use azure_core::http::response::AsyncResponseBody;
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::{BlobClientDownloadOptions, BlobClientDownloadResult, HttpRange};
use bytes::Bytes;
use futures::StreamExt as _;
use std::io;
use std::num::NonZero;
use std::ops::Range;

/// More than any blob has: the SDK asks for everything in one request then, and streams it. What it
/// would split it would hold in memory.
const ONE_REQUEST: NonZero<usize> = NonZero::<usize>::MIN.saturating_add(usize::MAX >> 15);

pub(super) struct Body {
    blob: BlobClient,
    calls: Calls,
    place: String,
    etag: String,
    position: u64,
    end: u64,
    stream: Option<AsyncResponseBody>,
    is_copying: bool,
}

impl Body {
    /// Asks for `range` of a blob, or all of it, of the version `etag` or whichever is there.
    ///
    /// # Errors
    /// [`StoreError::Changed`], with nothing found, if it is another version.
    pub(super) async fn open(
        blob: BlobClient,
        calls: Calls,
        place: String,
        range: Option<Range<u64>>,
        etag: Option<&str>,
    ) -> Result<(Version, Self), StoreError> {
        let asked = range.clone().unwrap_or(0..u64::MAX);
        let answer = calls.send(|| request(&blob, asked.start, range.as_ref(), etag));
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(error) => return Err(refused(error, &place, etag)),
        };
        let length = length(&answer);
        let found = answer.properties.etag.clone().map(unquoted);
        let version = Version {
            etag: found.unwrap_or_default(),
            length,
        };
        if range.is_some_and(|range| range.end > length) {
            return Err(too_short(&place));
        }
        let body = Self {
            blob,
            calls,
            place,
            etag: version.etag.clone(),
            position: asked.start,
            end: asked.end.min(length),
            is_copying: is_copying(&answer),
            stream: Some(answer.body),
        };
        Ok((version, body))
    }

    /// Whether what is copied into the blob is not all there.
    pub(super) fn is_copying(&self) -> bool {
        self.is_copying
    }

    /// The next bytes, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut waits = self.calls.waits();
        while self.position < self.end {
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => self.reopen().await?,
            };
            let error = match tokio::time::timeout(self.calls.0.timeout, stream.next()).await {
                Ok(Some(Ok(bytes))) if !bytes.is_empty() => {
                    let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
                    let bytes = bytes.slice(..bytes.len().min(left));
                    self.position += bytes.len() as u64;
                    self.stream = Some(stream);
                    return Ok(Some(bytes));
                }
                Ok(Some(Ok(_))) => {
                    self.stream = Some(stream);
                    continue;
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => Error::with_message(ErrorKind::Io, "the answer is cut off"),
                Err(_) => self.calls.too_late(),
            };
            let Some(wait) = waits.next() else {
                return Err(failure(error, "read", &self.place));
            };
            tracing::debug!(%error, place = self.place, at = self.position, "reading a blob \
             continues after an interruption");
            tokio::time::sleep(wait).await;
        }
        Ok(None)
    }

    async fn reopen(&mut self) -> Result<AsyncResponseBody, StoreError> {
        let range = self.position..self.end;
        let etag = Some(self.etag.as_str());
        let again = || request(&self.blob, range.start, Some(&range), etag);
        match self.calls.send(again).await {
            Ok(answer) => Ok(answer.body),
            Err(error) => Err(refused(error, &self.place, etag)),
        }
    }
}

async fn request(
    blob: &BlobClient,
    start: u64,
    range: Option<&Range<u64>>,
    etag: Option<&str>,
) -> azure_core::Result<BlobClientDownloadResult> {
    let range = range.map(|range| HttpRange::new(start, range.end.saturating_sub(start)));
    blob.download(Some(BlobClientDownloadOptions {
        range,
        if_match: etag.map(quoted),
        parallel: Some(NonZero::<usize>::MIN),
        partition_size: Some(ONE_REQUEST),
        ..Default::default()
    }))
    .await
}

fn is_copying(answer: &BlobClientDownloadResult) -> bool {
    let status = HeaderName::from_static("x-ms-copy-status");
    answer.headers.get_optional_str(&status) == Some("pending")
}

fn length(answer: &BlobClientDownloadResult) -> u64 {
    let range = HeaderName::from_static("content-range");
    let range = answer.headers.get_optional_str(&range);
    let whole = range.and_then(|range| range.rsplit('/').next()?.parse().ok());
    whole
        .or(answer.properties.content_length)
        .unwrap_or_default()
}

fn refused(error: Error, place: &str, etag: Option<&str>) -> StoreError {
    match (meaning(&error), etag) {
        (Meaning::Condition, Some(etag)) => StoreError::Changed {
            place: place.to_owned(),
            expected: etag.to_owned(),
            found: "another".into(),
        },
        (Meaning::Range, _) => too_short(place),
        _ => failure(error, "read", place),
    }
}

fn too_short(place: &str) -> StoreError {
    StoreError::Io {
        operation: "read",
        place: place.to_owned(),
        source: io::ErrorKind::UnexpectedEof.into(),
    }
}
