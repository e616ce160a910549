//! What only one of an app's hosts does at a time: timers, and scans of containers.
//!
//! The real host leases a blob for a minute. Leases of blobs cannot be shorter than 15 seconds, so this
//! is a blob with a name and a time in it, changed by its ETag.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::instance::Instance;
use crate::storage::Container;

/// Where the host keeps what is its own.
pub(super) const CONTAINER: &str = "azure-webjobs-hosts";

/// The name under which all hosts of an app keep it. Each app has a storage account of its own here.
pub(super) const HOST_ID: &str = "host-double";

/// What one host does while no other does.
pub(super) trait Alone: Sync {
    /// Goes on until the host stops.
    fn run(&self) -> impl Future<Output = ()> + Send;
}

pub(super) struct Singleton {
    instance: Arc<Instance>,
    container: Container,
    path: String,
    me: String,
    length: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    owner: String,
    until: Timestamp,
}

impl Singleton {
    pub(super) async fn new(instance: &Arc<Instance>, name: &str) -> Result<Self> {
        let container = instance.storage()?.container(CONTAINER);
        container.create().await?;
        Ok(Self {
            instance: Arc::clone(instance),
            container,
            path: format!("locks/{HOST_ID}/{name}"),
            me: Uuid::new_v4().to_string(),
            length: instance.options.singleton_lease,
        })
    }

    /// Does the work while it is this host's to do, from anew whenever it becomes so, until the host
    /// stops.
    pub(super) async fn hold(&self, work: &impl Alone) {
        while !self.instance.is_stopping() {
            match self.acquire().await {
                Ok(Some(etag)) => {
                    tokio::select! {
                        () = work.run() => {}
                        () = self.keep(etag) => {}
                    }
                    if self.instance.is_stopping() {
                        let _ = self.container.delete(&self.path).await;
                    }
                }
                _ => {
                    tokio::select! {
                        () = tokio::time::sleep(self.length / 8) => {}
                        () = self.instance.stop_begun() => {}
                    }
                }
            }
        }
    }

    /// The ETag of the lock, if it is ours now.
    async fn acquire(&self) -> Result<Option<String>> {
        let Some(blob) = self.container.get(&self.path).await? else {
            if !self.container.put_new(&self.path, self.mine()).await? {
                return Ok(None);
            }
            let found = self.container.get(&self.path).await?;
            return Ok(found.map(|blob| blob.etag));
        };
        let held: Held = serde_json::from_slice(&blob.content).context("a lock cannot be read")?;
        if held.until > Timestamp::now() && held.owner != self.me {
            return Ok(None);
        }
        self.container
            .put_over(&self.path, self.mine(), &blob.etag)
            .await
    }

    /// Comes to its end when the lock is lost.
    async fn keep(&self, mut etag: String) {
        loop {
            tokio::time::sleep(self.length / 3).await;
            match self
                .container
                .put_over(&self.path, self.mine(), &etag)
                .await
            {
                Ok(Some(renewed)) => etag = renewed,
                _ => return,
            }
        }
    }

    fn mine(&self) -> String {
        let length = SignedDuration::try_from(self.length).unwrap_or(SignedDuration::MAX);
        let held = Held {
            owner: self.me.clone(),
            until: Timestamp::now()
                .saturating_add(length)
                .unwrap_or(Timestamp::MAX),
        };
        serde_json::to_string(&held).unwrap_or_default()
    }
}
