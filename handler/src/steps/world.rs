//! What all steps share.

use super::data::Data;
use super::holder::Holder;
use super::labelers::{Answers, Connect, Labelers};
use super::metadata::Refreshes;
use super::trouble::Trouble;
use crate::host::HostProcess;
use crate::money::Usd;
use crate::report;
use crate::run::RunError;
use crate::run::funds::MonthlyCap;
use crate::run::manifest::{ChunkLimits, Manifest};
use crate::run::paths::BucketPaths;
use crate::run::record::Record;
use crate::run::runs::Runs;
use crate::run::settings::LabelSettings;
use crate::run::work;
use crate::teacher::model::Price;
use crate::teacher::pacing::Quota;
use lru::LruCache;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Lines of manifests kept in memory, of chunks and broken conversations: a chunk needs its own line of one, and a
/// manifest never changes.
const MANIFEST_LINES: usize = 100_000;

/// Fingerprints of RAW files kept in memory.
const FINGERPRINTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Scans at a time. The host hands over up to 24 messages; two scans use two cores.
const SCANS: usize = 2;

/// What is done about a run that cannot go on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTrouble {
    /// It waits, and continues by itself later.
    Wait,
    /// The process stops, and says why to who started it.
    Halt,
}

/// How the steps work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What decides what a label is, for datasets that nothing else is pinned for.
    pub labels: LabelSettings,
    /// The kept task that is asked instead of theirs.
    pub task_name: Option<String>,
    /// When a chunk is full.
    pub chunk: ChunkLimits,
    /// Label what is intact of files that are not.
    pub salvage: bool,
    /// The longest time a result waits before it is appended, and so the work that a kill costs.
    pub flush_every: Duration,
    /// Whether labelled files are written over that no run made.
    pub overwrite: bool,
    /// After this time the labelling of a chunk hands on what is left; `None` for never. Shorter than the
    /// host's `functionTimeout`, which would kill every invocation of the instance.
    pub deadline: Option<Duration>,
    /// What is done about a run that cannot go on now.
    pub in_trouble: InTrouble,
    /// Which runs share answers.
    pub answers: Answers,
    /// What the report of a dataset holds.
    pub report: report::Options,
    /// What a deployment takes a minute.
    pub quota: Quota,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// A run that makes no progress for this time has its messages sent again.
    pub stall_after: Duration,
    /// How often that may be in vain before the run is ended.
    pub tries: u32,
    /// A process without a sign of life for this time counts as dead: its messages are sent again.
    pub dead_after: Duration,
    /// Messages about chunks that are out at a time, for all runs together; without a number all are sent
    /// at once.
    pub chunks_out: Option<u64>,
    /// How long the work of an ended run is kept, in days.
    pub retention_days: u32,
    /// Turns under way at a time in this process.
    pub window: usize,
    /// The price of tokens that is set, if one is.
    pub price: Option<Price>,
    /// What a dataset may cost; without a cap nothing is counted against one.
    pub max_cost: Option<Usd>,
    /// What all datasets may cost in a calendar month, UTC, where `max_cost` is set.
    pub max_cost_per_month: MonthlyCap,
    /// A run that is estimated to cost more than is left waits for an approval. Otherwise runs go on to the
    /// last call that there is money for.
    pub asks_first: bool,
}

/// Where the steps work and with what, one a process.
#[derive(Debug)]
pub struct App {
    pub(crate) data: Data,
    pub(crate) runs: Runs,
    pub(crate) labelers: Labelers,
    pub(crate) settings: Settings,
    /// One permit a turn under way, shared by all invocations: how many chunks are open at a time
    /// follows from it, and so does what memory holds.
    pub(crate) window: Arc<Semaphore>,
    /// One permit a scan. Each has a thread of those for files and names of hosts, which must not run out.
    pub(crate) scans: Semaphore,
    /// Cancelled when the process is to end.
    pub(crate) stop: CancellationToken,
    /// Why the process stops, where it does not wait.
    halted: OnceLock<Trouble>,
    /// Files whose labels are not what was published and cannot be published again, with what to do.
    lost: Mutex<BTreeMap<String, String>>,
    pub(super) refreshes: Refreshes,
    /// What this process was handed and has not answered.
    pub(crate) holder: Arc<Holder>,
    manifests: Mutex<Manifests>,
    /// By dataset, file and mark.
    pub(super) fingerprints: Mutex<LruCache<String, String>>,
}

/// The manifests of the runs that were worked on last.
#[derive(Debug)]
struct Manifests {
    by_run: LruCache<String, Arc<Manifest>>,
    lines: usize,
}

impl Default for Manifests {
    fn default() -> Self {
        Self {
            by_run: LruCache::unbounded(),
            lines: 0,
        }
    }
}

impl Manifests {
    fn put(&mut self, run: &str, manifest: Arc<Manifest>) {
        self.lines += lines(&manifest);
        if let Some(former) = self.by_run.put(run.to_owned(), manifest) {
            self.lines -= lines(&former);
        }
        while self.lines > MANIFEST_LINES && self.by_run.len() > 1 {
            let oldest = self.by_run.pop_lru();
            self.lines -= oldest.map_or(0, |(_, manifest)| lines(&manifest));
        }
    }
}

/// What a manifest counts for; one without a chunk is something, too.
fn lines(manifest: &Manifest) -> usize {
    manifest.chunks.len() + manifest.broken.len() + 8
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
        let host = HostProcess::of_process().name();
        let holder = Holder::new(runs.work().clone(), &host, settings.dead_after);
        Self {
            data,
            runs,
            holder: Arc::new(holder),
            labelers: Labelers::new(connect, settings.answers),
            window: Arc::new(Semaphore::new(settings.window)),
            scans: Semaphore::new(SCANS),
            settings,
            stop,
            halted: OnceLock::new(),
            lost: Mutex::default(),
            refreshes: Refreshes::default(),
            manifests: Mutex::default(),
            fingerprints: Mutex::new(LruCache::new(FINGERPRINTS)),
        }
    }

    /// Why this process stopped working on its runs, if something made it.
    pub fn halted(&self) -> Option<&Trouble> {
        self.halted.get()
    }

    /// The first trouble that makes this process stop; what is in flight is answered and recorded.
    pub(super) fn halt(&self, trouble: Trouble) {
        let _ = self.halted.set(trouble);
        self.stop.cancel();
    }

    /// The labels of `file` are not what was published and cannot be published again; `why` says what to do.
    pub(crate) fn lose(&self, file: &str, why: String) {
        let lost = self.lost.lock();
        let mut lost = lost.unwrap_or_else(PoisonError::into_inner);
        lost.insert(file.to_owned(), why);
    }

    /// Why the labels of `file` are lost, if they are.
    pub(crate) fn lost(&self, file: &str) -> Option<String> {
        let lost = self.lost.lock();
        lost.unwrap_or_else(PoisonError::into_inner)
            .get(file)
            .cloned()
    }

    /// Keeps the manifest of `run` in mind.
    pub(crate) fn remember(&self, run: &str, manifest: Arc<Manifest>) {
        let manifests = self.manifests.lock();
        let mut manifests = manifests.unwrap_or_else(PoisonError::into_inner);
        manifests.put(run, manifest);
    }

    /// The manifest of a run as it was planned, if it is.
    pub(crate) async fn planned_manifest(
        &self,
        run: &str,
    ) -> Result<Option<Arc<Manifest>>, RunError> {
        let known = || {
            self.manifests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(manifest) = known().by_run.get(run) {
            return Ok(Some(Arc::clone(manifest)));
        }
        let path = BucketPaths::of_run(run).manifest();
        let manifest = work::read::<Manifest>(self.runs.work(), &path).await?;
        let manifest = manifest.map(Arc::new);
        if let Some(manifest) = &manifest {
            self.remember(run, Arc::clone(manifest));
        }
        Ok(manifest)
    }

    /// The manifest of a run, if it is planned. It has the version of RAW and the names that the run has
    /// now: a copy of the same bytes has another version, and a lone file may be given other names.
    pub(crate) async fn manifest(
        &self,
        record: &Record,
    ) -> Result<Option<Arc<Manifest>>, RunError> {
        let Some(planned) = self.planned_manifest(&record.run).await? else {
            return Ok(None);
        };
        let name = self.data.bucket(&record.file);
        let name = name.unwrap_or_else(|| planned.name());
        if planned.source.etag == record.source.etag && planned.name() == name {
            return Ok(Some(planned));
        }
        let mut manifest = planned.as_ref().clone();
        manifest.source.etag.clone_from(&record.source.etag);
        (manifest.split, manifest.bucket) = (name.split, name.bucket);
        let manifest = Arc::new(manifest);
        self.remember(&record.run, Arc::clone(&manifest));
        Ok(Some(manifest))
    }
}
