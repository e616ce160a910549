//! Those who ask the model, shared by all steps of this process that are about the same run.

use super::trouble::Trouble;
use crate::run::record::ApiProfile;
use crate::run::settings::{LabelSettings, Method};
use crate::run::turn::Labeler;
use async_trait::async_trait;
use lru::LruCache;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// Runs whose connections and answers are kept: more than a dataset has bucket files. The answers of one
/// run take at most 5 MB, those of all 60 MB. A run that was evicted connects again when it is needed,
/// and may ask about equal turns again.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(11);

/// Which runs share answers: identical questions are asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Turns of one run share answers: another run asks again.
    OfRun,
    /// The turns of all runs of this process.
    OfAll,
}

/// Makes labelers. Errors are one sentence.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Settles the request parameters with a call or a few.
    ///
    /// # Errors
    /// Why no run is possible now.
    async fn settle(&self, settings: &LabelSettings) -> Result<ApiProfile, Trouble>;

    /// A labeler that asks under settled parameters.
    ///
    /// # Errors
    /// Why the service cannot be asked now.
    async fn labeler(&self, method: &Method) -> Result<Labeler, Trouble>;
}

/// The labelers of this process.
#[derive(Debug)]
pub(crate) struct Labelers {
    connect: Arc<dyn Connect>,
    answers: Answers,
    settling: Mutex<()>,
    known: Mutex<LruCache<String, Arc<Labeler>>>,
}

impl Labelers {
    pub(crate) fn new(connect: Arc<dyn Connect>, answers: Answers) -> Self {
        Self {
            connect,
            answers,
            settling: Mutex::new(()),
            known: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// Waits until nobody else in this process settles request parameters: who comes second finds them pinned.
    pub(crate) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.settling.lock().await
    }

    /// Settles the request parameters.
    pub(crate) async fn settle(&self, settings: &LabelSettings) -> Result<ApiProfile, Trouble> {
        self.connect.settle(settings).await
    }

    /// The labeler of `run`, whose labels are made by `method`. One that has stopped is replaced.
    pub(crate) async fn get(&self, run: &str, method: &Method) -> Result<Arc<Labeler>, Trouble> {
        let whose = match self.answers {
            Answers::OfRun => run,
            Answers::OfAll => "",
        };
        let mut known = self.known.lock().await;
        if let Some(labeler) = known.get(whose).filter(|known| !known.teacher.is_closed()) {
            return Ok(Arc::clone(labeler));
        }
        let labeler = Arc::new(self.connect.labeler(method).await?);
        known.put(whose.to_owned(), Arc::clone(&labeler));
        Ok(labeler)
    }
}
