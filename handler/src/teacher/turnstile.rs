//! The way to a deployment: calls go through one after the other, in the order in which they came, at
//! the pace that [`Pacer`] allows. One for each deployment and process; all who ask the deployment
//! share it, so that a pause that the service asks for holds for all of them.

use super::pacing::{Concurrency, Pacer, Quota, Ready, Sent, Told};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Of the calls in flight at most, so many may hold their slots and still wait for their turn: the next
/// one need not be woken first, and deployments that share slots do not wait for the slowest.
const WAITING: u32 = 4;

/// Longest sleep at a time: what is waited for may change.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The queue of one deployment in one process.
#[derive(Debug)]
pub struct Turnstile {
    /// The pacer's times are what has passed since then.
    since: Instant,
    pacer: Mutex<Pacer>,
    /// Places for those who hold a slot while they wait for their turn.
    room: Semaphore,
    turn: tokio::sync::Mutex<()>,
    /// Told when the first of the queue may find the way open.
    moved: Notify,
    /// Told when somebody waits and there is no share of the quota to send on.
    wanted: Notify,
}

/// The turn of the first in the queue. Others wait until it is dropped.
pub(super) struct Turn<'a> {
    turnstile: &'a Turnstile,
    _first: tokio::sync::MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turnstile.pacer().nobody_waits(self.turnstile.now());
    }
}

/// What the first of the queue is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Leave {
    /// It may go, and is counted.
    Go(Sent),
    /// Not before that instant, keeping its turn.
    At(Instant),
    /// Not before that instant, and others may have its turn and its slot.
    Paused(Instant),
}

impl Turnstile {
    /// The way to a deployment with this quota, all of it this process's.
    pub fn new(quota: Quota, concurrency: Concurrency) -> Self {
        let pacer = Pacer::new(quota, concurrency, Duration::ZERO);
        Self::with(pacer, concurrency)
    }

    /// The way to a deployment whose quota is shared by several processes: nothing goes through
    /// before a share is [granted](super::sharing).
    pub fn shared(quota: Quota, concurrency: Concurrency) -> Self {
        let pacer = Pacer::new(quota, concurrency, Duration::ZERO);
        Self::with(pacer.shared(Duration::ZERO), concurrency)
    }

    fn with(pacer: Pacer, concurrency: Concurrency) -> Self {
        let room = concurrency.most().div_ceil(WAITING);
        Self {
            since: Instant::now(),
            pacer: Mutex::new(pacer),
            room: Semaphore::new(room as usize),
            turn: tokio::sync::Mutex::default(),
            moved: Notify::new(),
            wanted: Notify::new(),
        }
    }

    fn pacer(&self) -> MutexGuard<'_, Pacer> {
        self.pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn instant(&self, at: Duration) -> Instant {
        let latest = Instant::now() + LONGEST_WAIT;
        let at = self.since.checked_add(at);
        at.map_or(latest, |at| at.min(latest))
    }

    /// Waits until there is room for one more to wait with a slot. `None` cannot come.
    pub(super) async fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.acquire().await.ok()
    }

    /// Waits at the end of the queue until those before are through.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn {
            _first: self.turn.lock().await,
            turnstile: self,
        }
    }

    /// Resolves when the first of the queue may find the way open.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Whether a call that takes `tokens` of the quota may go. Whoever asks has the turn.
    pub(super) fn leave(&self, tokens: u64) -> Leave {
        let mut pacer = self.pacer();
        let now = self.now();
        match pacer.ready(now, tokens) {
            Ready::Now => Leave::Go(pacer.send(now, tokens)),
            Ready::At(at) => Leave::At(self.instant(at)),
            Ready::Paused(until) => Leave::Paused(self.instant(until)),
            Ready::Blocked => {
                self.wanted.notify_one();
                Leave::At(Instant::now() + LONGEST_WAIT)
            }
        }
    }

    /// The service answered; its headers say what `told` holds.
    pub(super) fn answered(&self, sent: Sent, told: &Told) {
        self.pacer().answered(self.now(), sent, told);
        self.moved.notify_one();
    }

    /// The service answered 429, and asks to wait for `after`.
    pub(super) fn throttled(&self, sent: Sent, told: &Told, after: Option<Duration>) {
        self.pacer().throttled(self.now(), sent, told, after);
        self.moved.notify_one();
    }

    /// A call ended without a word of the service.
    pub(super) fn ended(&self) {
        self.pacer().ended();
        self.moved.notify_one();
    }

    /// Nobody sends for `wait` from now; a longer pause already in force stays.
    pub(super) fn pause(&self, wait: Duration) {
        let until = self.now().saturating_add(wait);
        self.pacer().pause(until);
    }

    /// How much longer nobody sends, if so.
    pub fn paused_for(&self) -> Option<Duration> {
        let now = self.now();
        Some(self.pacer().paused(now)? - now)
    }

    /// The share of the quota that the calls in flight can reach, at the sizes and latencies measured
    /// so far; above 1 where they are more than enough. `None` before the first answer.
    pub fn reach(&self) -> Option<f64> {
        self.pacer().reach()
    }

    /// The quota that holds now: what is configured, or less where the service says or shows so.
    pub fn quota(&self) -> Quota {
        self.pacer().quota()
    }

    /// Resolves when somebody waits and there is no share to send on.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The share of the quota that this process could use.
    pub(super) fn wants(&self) -> f64 {
        self.pacer().wants(self.now())
    }

    /// `share` of the quota is this process's until `until`.
    pub(super) fn set_share(&self, share: f64, until: Instant) {
        let until = until.saturating_duration_since(self.since);
        self.pacer().set_share(self.now(), share, until);
        self.moved.notify_one();
    }

    /// No more than `share` of the quota is this process's.
    pub(super) fn lower_share(&self, share: f64) {
        self.pacer().lower_share(self.now(), share);
    }
}
