//! Leases: what one process has and no other, until it gives it back or dies.

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

/// How often a blob that is to be leased is made anew, should somebody remove it at the same time.
const MAKINGS: usize = 5;

/// A lease that renews itself. Dropping it gives it back in the background.
pub(super) struct Lease {
    inner: Arc<Inner>,
    given_back: bool,
    _renewal: AbortOnDropHandle<()>,
}

struct Inner {
    blob: BlobClient,
    calls: Calls,
    place: String,
    id: String,
    lost: CancellationToken,
}

impl Lease {
    /// Takes the lease of the blob `path`, waiting for another holder as long as is set. Gives the
    /// blob's ETag too, or no lease where there is no such blob.
    pub(super) async fn take(
        folder: &Folder,
        path: &str,
    ) -> Result<Option<(Self, String)>, StoreError> {
        let tuning = folder.account().tuning();
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
                _ => return Err(failure(&error, "take", &place)),
            }
        };
        let inner = Arc::new(Inner {
            calls: folder.calls().within(every),
            blob,
            place,
            id,
            lost: CancellationToken::new(),
        });
        let renewing = Arc::clone(&inner);
        let renewal = tokio::spawn(async move { renewing.keep_renewing(every).await });
        let lease = Self {
            inner,
            given_back: false,
            _renewal: AbortOnDropHandle::new(renewal),
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

    /// Ends when the lease is known to be lost.
    pub(super) fn lost(&self) -> impl Future<Output = StoreError> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        async move {
            inner.lost.cancelled().await;
            held(inner.place.clone())
        }
    }

    /// Renews it now: an expired one comes back, unless somebody else had it since.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        self.check()?;
        let renewed = self.inner.renew(&self.inner.calls).await;
        renewed.map_err(|error| failure(&error, "keep", &self.inner.place))
    }

    /// Gives it back, as well as that goes: it ends by itself.
    pub(super) async fn release(mut self) {
        self.given_back = true;
        self.inner.release().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (false, Ok(runtime)) = (self.given_back, runtime) {
            let inner = Arc::clone(&self.inner);
            runtime.spawn(async move { inner.release().await });
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

    async fn release(&self) {
        let released = self
            .calls
            .send(|| self.blob.release_lease(self.id.clone(), None));
        if let Err(error) = released.await {
            tracing::debug!(place = self.place, %error, "a lease ends by itself");
        }
    }
}

/// A lock: a blob that is leased and says who has it. It is removed when the lock is given back.
pub(super) struct AzureLock {
    lease: Option<Lease>,
    right: Arc<LockRight>,
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
                Err(error) if !lost() => return Err(failure(&error, "keep", &self.lease.place)),
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
    let failed = |error: Error| failure(&error, "lock", &place);
    let sign = Sign {
        folder: Arc::clone(folder),
        name: name.to_owned(),
        own: holder.to_owned(),
    };
    for _ in 0..MAKINGS {
        let lease = match Lease::take(folder, name).await {
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
        let lease = Some(lease);
        return Ok(AzureLock { lease, right });
    }
    Err(held(place))
}

/// Whether a request to make a blob was refused as it is there.
pub(super) fn is_there(error: &Error) -> bool {
    // One that is there and leased is refused for its lease.
    matches!(meaning(error), Meaning::Condition | Meaning::Lease)
}

impl AzureLock {
    async fn give_back(mut lease: Lease) {
        lease.given_back = true;
        let inner = Arc::clone(&lease.inner);
        // No renewal may come in between.
        drop(lease);
        let options = BlobClientDeleteOptions {
            lease_id: Some(inner.id.clone()),
            ..Default::default()
        };
        let remove = || inner.blob.delete(Some(options.clone()));
        if let Err(error) = inner.calls.send(remove).await {
            tracing::debug!(place = inner.place, %error, "a lock ends by itself");
        }
    }
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

    async fn release(mut self: Box<Self>) {
        if let Some(lease) = self.lease.take() {
            Self::give_back(lease).await;
        }
    }
}

impl Drop for AzureLock {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (Some(lease), Ok(runtime)) = (self.lease.take(), runtime) {
            runtime.spawn(Self::give_back(lease));
        }
    }
}

impl fmt::Debug for AzureLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AzureLock({:?})", self.lease)
    }
}
