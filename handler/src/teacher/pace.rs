//! The pace of a deployment: calls go one after the other, in the order in which they came, as fast as
//! [`Pacer`] allows. One for each deployment and process; all who ask the deployment share it, so that
//! a pause that the service asks for holds for all of them.

use super::pacing::{Concurrency, Pacer, Quota, Ready, Sent};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{MutexGuard, Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The most calls that may hold a slot while they wait in the queue: the next call need not be woken
/// first, and deployments that share slots do not wait for the slowest.
pub(super) const WAITING: u32 = 4;

/// Longest sleep at a time: what is waited for may change.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The queue of one deployment in one process.
#[derive(Debug)]
pub struct Pace {
    /// The pacer's times count from here.
    since: Instant,
    pacer: Mutex<Pacer>,
    most: u32,
    /// Places for calls that hold a slot while they wait in the queue.
    room: Semaphore,
    queue: tokio::sync::Mutex<()>,
    /// Notified when the first in the queue may go.
    moved: Notify,
    /// Notified when a call waits and there is no share of the quota to send on.
    wanted: Notify,
}

/// The first place in the queue. Others wait until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pace: &'a Pace,
    _first: MutexGuard<'a, ()>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let now = self.pace.since.elapsed();
        self.pace.with(|pacer| pacer.nobody_waits(now));
    }
}

/// Why the first in the queue may not go yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pause {
    /// The pace: not before that instant, and it keeps its place and its slot.
    Kept(Instant),
    /// For all calls until that instant: other calls may take its place and its slot.
    Shared(Instant),
}

impl Pace {
    /// The pace of a deployment with this quota, all of it this process's.
    pub fn new(quota: Quota, concurrency: Concurrency) -> Self {
        let pacer = Pacer::new(quota, concurrency, Duration::ZERO);
        Self::with_pacer(pacer, concurrency)
    }

    /// The pace of a deployment whose quota is shared by several processes: nothing goes before a share
    /// is [granted](super::sharing).
    pub fn shared(quota: Quota, concurrency: Concurrency) -> Self {
        let pacer = Pacer::new(quota, concurrency, Duration::ZERO);
        Self::with_pacer(pacer.shared(Duration::ZERO), concurrency)
    }

    fn with_pacer(pacer: Pacer, concurrency: Concurrency) -> Self {
        let most = concurrency.most();
        Self {
            since: Instant::now(),
            pacer: Mutex::new(pacer),
            most,
            room: Semaphore::new(most.div_ceil(WAITING) as usize),
            queue: tokio::sync::Mutex::default(),
            moved: Notify::new(),
            wanted: Notify::new(),
        }
    }

    fn with<T>(&self, read: impl FnOnce(&mut Pacer) -> T) -> T {
        read(&mut self.pacer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the pacer, to which it gives the time, and lets the first in the queue look again.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Pacer, Duration) -> T) -> T {
        let now = self.since.elapsed();
        let changed = self.with(|pacer| change(pacer, now));
        self.moved.notify_one();
        changed
    }

    /// An instant as the pacer counts.
    pub(super) fn time(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.since)
    }

    /// Most calls in flight, for any quota.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Waits until there is room for one more to wait with a slot. `None` cannot come.
    pub(super) async fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.acquire().await.ok()
    }

    /// Waits at the end of the queue until those before are through.
    pub(super) async fn queue(&self) -> Place<'_> {
        Place {
            _first: self.queue.lock().await,
            pace: self,
        }
    }

    /// Resolves when the first in the queue may go.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Resolves when a call waits and there is no share to send on.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Counts a call of `tokens`, if it may go now. The caller is the first in the queue.
    pub(super) fn send(&self, tokens: u64) -> Result<Sent, Pause> {
        let now = self.since.elapsed();
        let instant = |at: Duration| {
            let latest = Instant::now() + LONGEST_WAIT;
            let at = self.since.checked_add(at);
            at.map_or(latest, |at| at.min(latest))
        };
        self.with(|pacer| match pacer.ready(now, tokens) {
            Ready::Now => Ok(pacer.send(now, tokens)),
            Ready::At(at) => Err(Pause::Kept(instant(at))),
            Ready::Paused(until) => Err(Pause::Shared(instant(until))),
            Ready::Blocked => {
                self.wanted.notify_one();
                Err(Pause::Kept(Instant::now() + LONGEST_WAIT))
            }
        })
    }

    /// No call is sent for `wait` from now; a longer pause already in force stays.
    pub(super) fn pause(&self, wait: Duration) {
        self.update(|pacer, now| pacer.pause(now.saturating_add(wait)));
    }

    /// How much longer sending is paused, if it is.
    pub fn paused_for(&self) -> Option<Duration> {
        let now = self.since.elapsed();
        Some(self.with(|pacer| pacer.paused(now))? - now)
    }

    /// The share of the quota that the calls in flight can reach, at the sizes and latencies measured
    /// so far; above 1 where they are more than enough. `None` before the first answer.
    pub fn reach(&self) -> Option<f64> {
        self.with(|pacer| pacer.reach())
    }

    /// The quota that holds now: what is configured, or less where the service says or shows so.
    pub fn quota(&self) -> Quota {
        self.with(|pacer| pacer.quota())
    }
}
