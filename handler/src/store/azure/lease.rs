//! Leases: each is held by one process, until it gives the lease back or dies.

use super::super::StoreError;
use super::super::own::{Held, Right};
use super::answer::{Meaning, failure, held, meaning};
use super::calls::Calls;
use super::folder::{Folder, collect, unquoted};
use super::own::content_type;
use async_trait::async_trait;
use azure_core::error::Error;
use azure_core::http::Etag;
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::{
    BlobClientAcquireLeaseOptions, BlobClientAcquireLeaseResultHeaders as _,
    BlobClientDeleteOptions, BlobClientUploadOptions,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// Between two tries to get a lease that another holds.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Tries to make and lease the blob of a lock, which its last holder may be removing.
const MAKINGS: usize = 5;

/// What becomes of a leased blob when its lease is given back.
#[derive(Clone, Copy)]
pub(super) enum AtEnd {
    /// It stays: a file of lines.
    Keep,
    /// It is removed: a lock.
    Remove,
}

/// A lease that renews itself. Dropping it gives it back in the background.
pub(super) struct Lease {
    inner: Arc<Inner>,
    given_back: bool,
    renewal: AbortOnDropHandle<()>,
}

struct Inner {
    blob: BlobClient,
    calls: Calls,
    place: String,
    id: String,
    at_end: AtEnd,
    lost: CancellationToken,
}

impl Lease {
    /// Takes the lease of the blob `path`, waiting for another holder as long as is set. Gives the
    /// blob's ETag too, or no lease where there is no such blob.
    pub(super) async fn take(
        folder: &Folder,
        path: &str,
        at_end: AtEnd,
    ) -> Result<Option<(Self, String)>, StoreError> {
        let tuning = &folder.calls().0;
        let lasts = i32::try_from(tuning.lease.as_secs()).unwrap_or(i32::MAX);
        let every = tuning.lease / 3;
        let (blob, place) = (folder.blob(path), folder.locate(path));
        // With an id of our own a second try of the same request succeeds.
        let id = Uuid::new_v4().to_string();
        let options = BlobClientAcquireLeaseOptions {
            proposed_lease_id: Some(id.clone()),
            ..Default::default()
        };
        let acquire = || blob.acquire_lease(lasts, Some(options.clone()));
        let waiting_since = Instant::now();
        let mut waits = false;
        let etag = loop {
            let error = match folder.calls().send(acquire).await {
                Ok(taken) => break taken.etag().ok().flatten().map(unquoted),
                Err(error) => error,
            };
            match meaning(&error) {
                Meaning::Missing { container: false } => return Ok(None),
                Meaning::Lease if waiting_since.elapsed() < tuning.lease_patience => {
                    if !waits {
                        tracing::warn!(
                            place,
                            "waiting for another process, or for its lease to end"
                        );
                        waits = true;
                    }
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                _ => return Err(failure(error, "take", &place)),
            }
        };
        let inner = Arc::new(Inner {
            calls: folder.calls().within(every),
            blob,
            place,
            id,
            at_end,
            lost: CancellationToken::new(),
        });
        let renewing = Arc::clone(&inner);
        let renewal = tokio::spawn(async move { renewing.keep_renewing(every).await });
        let lease = Self {
            inner,
            given_back: false,
            renewal: AbortOnDropHandle::new(renewal),
        };
        Ok(Some((lease, etag.unwrap_or_default())))
    }

    /// What requests name to be let in.
    pub(super) fn id(&self) -> String {
        self.inner.id.clone()
    }

    /// Fails once the lease is known to be lost.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.inner.lost.is_cancelled() {
            true => Err(held(self.inner.place.clone())),
            false => Ok(()),
        }
    }

    /// Renews it now: an expired lease comes back, unless another process has had it since.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        self.check()?;
        let renewed = self.inner.renew(&self.inner.calls).await;
        renewed.map_err(|error| failure(error, "keep", &self.inner.place))
    }
}

#[async_trait]
impl Held for Lease {
    fn lost(&self) -> BoxFuture<'static, StoreError> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            inner.lost.cancelled().await;
            held(inner.place.clone())
        })
    }

    async fn release(mut self: Box<Self>) {
        self.given_back = true;
        // No renewal may come in between.
        self.renewal.abort();
        self.inner.give_back().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (false, Ok(runtime)) = (self.given_back, runtime) {
            let inner = Arc::clone(&self.inner);
            runtime.spawn(async move { inner.give_back().await });
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.inner.place)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)
    }
}

impl Inner {
    async fn keep_renewing(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.renew(&self.calls).await {
                let place = &self.place;
                if self.lost.is_cancelled() {
                    tracing::warn!(place, "a lease is lost: another process took over");
                    return;
                }
                tracing::warn!(place, %error, "a lease could not be renewed yet");
            }
        }
    }

    async fn renew(&self, calls: &Calls) -> azure_core::Result<()> {
        let renewed = calls.send(|| self.blob.renew_lease(self.id.clone(), None));
        let error = match renewed.await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if matches!(meaning(&error), Meaning::Lease | Meaning::Missing { .. }) {
            self.lost.cancel();
        }
        Err(error)
    }

    /// Gives the lease back. A failure is harmless: the lease ends by itself.
    async fn give_back(&self) {
        let id = self.id.clone();
        let result = match self.at_end {
            AtEnd::Keep => {
                let release = || self.blob.release_lease(id.clone(), None);
                self.calls.send(release).await.map(drop)
            }
            AtEnd::Remove => {
                let options = BlobClientDeleteOptions {
                    lease_id: Some(id),
                    ..Default::default()
                };
                let remove = || self.blob.delete(Some(options.clone()));
                self.calls.send(remove).await.map(drop)
            }
        };
        if let Err(error) = result {
            tracing::debug!(place = self.place, %error, "a lease ends by itself");
        }
    }
}

/// A lock: a leased blob that says who holds it, and is removed when the lock is given back.
#[derive(Debug)]
pub(super) struct AzureLock {
    lease: Box<Lease>,
    right: Arc<LockRight>,
}

#[async_trait]
impl Held for AzureLock {
    fn right(&self) -> Option<Arc<dyn Right>> {
        Some(Arc::clone(&self.right) as Arc<dyn Right>)
    }

    fn lost(&self) -> BoxFuture<'static, StoreError> {
        let right = Arc::clone(&self.right);
        Box::pin(async move {
            right.lease.lost.cancelled().await;
            right.sign.held().await
        })
    }

    async fn release(self: Box<Self>) {
        self.lease.release().await;
    }
}

/// What proves that a lock is held.
#[derive(Debug)]
struct LockRight {
    lease: Arc<Inner>,
    sign: Sign,
}

/// What a lock says about who holds it.
#[derive(Debug)]
struct Sign {
    folder: Arc<Folder>,
    name: String,
    /// What this process writes there.
    own: String,
}

impl Sign {
    /// Another process has the lock, or had it.
    async fn held(&self) -> StoreError {
        let holder = match self.folder.open(&self.name, None, None).await {
            Ok((version, body)) => collect(body, version.length).await.ok(),
            Err(_) => None,
        };
        let holder = holder.map(|holder| String::from_utf8_lossy(&holder).into_owned());
        let place = self.folder.locate(&self.name);
        match holder.filter(|holder| !holder.is_empty() && *holder != self.own) {
            Some(holder) => StoreError::Held { place, holder },
            None => held(place),
        }
    }
}

#[async_trait]
impl Right for LockRight {
    async fn prove(&self) -> Result<(), StoreError> {
        let lost = || self.lease.lost.is_cancelled();
        if !lost() {
            // As patiently as what it is proved for is sent.
            match self.lease.renew(self.sign.folder.calls()).await {
                Ok(()) => return Ok(()),
                Err(error) if !lost() => return Err(failure(error, "keep", &self.lease.place)),
                Err(_) => {}
            }
        }
        Err(self.sign.held().await)
    }
}

/// Takes the lock `name`.
pub(super) async fn lock(
    folder: &Arc<Folder>,
    name: &str,
    holder: &str,
) -> Result<AzureLock, StoreError> {
    let (blob, place) = (folder.blob(name), folder.locate(name));
    let failed = |error: Error| failure(error, "lock", &place);
    let sign = Sign {
        folder: Arc::clone(folder),
        name: name.to_owned(),
        own: holder.to_owned(),
    };
    for _ in 0..MAKINGS {
        let lease = match Lease::take(folder, name, AtEnd::Remove).await {
            Ok(Some((lease, _))) => lease,
            Ok(None) => {
                let options = BlobClientUploadOptions {
                    if_none_match: Some(Etag::from("*")),
                    ..Default::default()
                };
                let make = || blob.upload(Bytes::new().into(), Some(options.clone()));
                match folder.calls().send(make).await {
                    Err(error) if !is_there(&error) => return Err(failed(error)),
                    _ => continue,
                }
            }
            Err(StoreError::Held { .. }) => return Err(sign.held().await),
            Err(error) => return Err(error),
        };
        let options = BlobClientUploadOptions {
            blob_content_type: Some(content_type(name).to_owned()),
            lease_id: Some(lease.id()),
            ..Default::default()
        };
        let text = Bytes::from(holder.to_owned());
        let write = || blob.upload(text.clone().into(), Some(options.clone()));
        folder.calls().send(write).await.map_err(failed)?;
        let right = Arc::new(LockRight {
            lease: Arc::clone(&lease.inner),
            sign,
        });
        let lease = Box::new(lease);
        return Ok(AzureLock { lease, right });
    }
    Err(held(place))
}

/// Whether a request to make a blob was refused as it is there.
pub(super) fn is_there(error: &Error) -> bool {
    // An existing blob with a lease is refused because of the lease.
    matches!(meaning(error), Meaning::Condition | Meaning::Lease)
}
