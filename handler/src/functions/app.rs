//! What all functions of the app share.

use super::data::Data;
use super::labelers::{Connect, Labelers};
use crate::money::Usd;
use crate::run::RunError;
use crate::run::manifest::{ChunkLimits, Manifest};
use crate::run::paths::BucketPaths;
use crate::run::runs::Runs;
use crate::run::settings::LabelSettings;
use crate::run::work;
use crate::teacher::model::Price;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Manifests kept in memory: a chunk needs its own line of one, and a manifest never changes.
const MANIFESTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// Scans at a time. The host hands over up to 24 messages; two scans use two cores.
const SCANS: usize = 2;

/// How the app works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What decides what a label is, for datasets that nothing else is pinned for.
    pub labels: LabelSettings,
    /// When a chunk is full.
    pub chunk: ChunkLimits,
    /// Label what is intact of files that are not.
    pub salvage: bool,
    /// After so long an invocation hands on what is left. Shorter than the host's `functionTimeout`,
    /// which would kill every invocation of the instance.
    pub deadline: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// A run that does not move for so long has its messages sent again.
    pub stall_after: Duration,
    /// How often that may be in vain before the run is ended.
    pub tries: u32,
    /// How long the work of an ended run is kept, in days.
    pub retention_days: u32,
    /// Turns under way at a time in this process.
    pub window: usize,
    /// The price of tokens that is set, if one is.
    pub price: Option<Price>,
    /// What a dataset may cost; without a cap nothing is counted against one.
    pub max_cost: Option<Usd>,
    /// A run that is estimated to cost more than is left waits for an approval. Otherwise runs go on to the
    /// last call that there is money for.
    pub asks_first: bool,
}

/// The function app, one a process.
#[derive(Debug)]
pub struct App {
    pub(super) data: Data,
    pub(super) runs: Runs,
    pub(super) labelers: Labelers,
    pub(super) settings: Settings,
    /// One permit a turn under way, shared by all invocations: how many chunks are open at a time
    /// follows from it, and so does what memory holds.
    pub(super) window: Arc<Semaphore>,
    /// One permit a scan. Each has a thread of those for files and names of hosts, which must not run out.
    pub(super) scans: Semaphore,
    /// Cancelled when the process is to end.
    pub(super) stop: CancellationToken,
    manifests: Mutex<LruCache<String, Arc<Manifest>>>,
}

impl App {
    /// An app over `data` that keeps its runs in `runs` and asks through `connect`, until `stop` is
    /// cancelled.
    pub fn new(
        data: Data,
        runs: Runs,
        connect: Arc<dyn Connect>,
        settings: Settings,
        stop: CancellationToken,
    ) -> Self {
        Self {
            data,
            runs,
            labelers: Labelers::new(connect),
            window: Arc::new(Semaphore::new(settings.window)),
            scans: Semaphore::new(SCANS),
            settings,
            stop,
            manifests: Mutex::new(LruCache::new(MANIFESTS)),
        }
    }

    /// The manifest of a run, if it is planned.
    pub(super) async fn manifest(&self, run: &str) -> Result<Option<Arc<Manifest>>, RunError> {
        let known = || {
            self.manifests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(manifest) = known().get(run) {
            return Ok(Some(Arc::clone(manifest)));
        }
        let path = BucketPaths::of_run(run).manifest();
        let manifest = work::read::<Manifest>(self.runs.work(), &path).await?;
        let manifest = manifest.map(Arc::new);
        if let Some(manifest) = &manifest {
            known().put(run.to_owned(), Arc::clone(manifest));
        }
        Ok(manifest)
    }
}
