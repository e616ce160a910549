//! Those who ask the model: one labeler for each way of labelling, shared by all invocations.

use crate::run::record::ApiProfile;
use crate::run::settings::{LabelSettings, Method};
use crate::run::turn::Labeler;
use async_trait::async_trait;
use lru::LruCache;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Ways of labelling whose connections and answers are kept.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// Makes labelers. What fails is told in one sentence.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Settles the request parameters with a call or a few.
    ///
    /// # Errors
    /// Why no run is possible now.
    async fn settle(&self, settings: &LabelSettings) -> Result<ApiProfile, String>;

    /// A labeler that asks under settled parameters.
    ///
    /// # Errors
    /// Why nobody can be asked now.
    async fn labeler(&self, method: &Method) -> Result<Labeler, String>;
}

/// The labelers of this process.
#[derive(Debug)]
pub(super) struct Labelers {
    connect: Arc<dyn Connect>,
    settling: Mutex<()>,
    known: Mutex<LruCache<String, Arc<Labeler>>>,
}

impl Labelers {
    pub(super) fn new(connect: Arc<dyn Connect>) -> Self {
        Self {
            connect,
            settling: Mutex::new(()),
            known: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// Settles the request parameters. One at a time: who comes second finds them pinned.
    pub(super) async fn settle(&self, settings: &LabelSettings) -> Result<ApiProfile, String> {
        let _alone = self.settling.lock().await;
        self.connect.settle(settings).await
    }

    /// The labeler for a method. One that the service has stopped is replaced.
    pub(super) async fn get(&self, method: &Method) -> Result<Arc<Labeler>, String> {
        let key = serde_json::to_string(method).map_err(|error| error.to_string())?;
        let mut known = self.known.lock().await;
        if let Some(labeler) = known.get(&key).filter(|known| !known.teacher.is_closed()) {
            return Ok(Arc::clone(labeler));
        }
        let labeler = Arc::new(self.connect.labeler(method).await?);
        known.put(key, Arc::clone(&labeler));
        Ok(labeler)
    }
}
