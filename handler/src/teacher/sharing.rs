//! Holds this process's share of a quota that several processes use; see
//! [`pacing`](super::pacing) for how they divide it and what that costs.

use super::pace::Pace;
use super::pacing::shares::{LEASE, Record};
use crate::clock::Clock;
use crate::store::{Cell, OwnFolder, StoreError};
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

/// The wait after a failure; the share holds until its lease is over.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The file over which processes divide a deployment's quota.
#[derive(Clone, Debug)]
pub struct SharedQuota {
    work: OwnFolder,
    path: String,
}

impl SharedQuota {
    /// That of the deployment `deployment` at `endpoint`, in the work area that the processes share.
    pub fn new(work: OwnFolder, endpoint: &str, deployment: &str) -> Self {
        let whose = format!("{endpoint}\0{deployment}");
        let path = format!("quota/{:016x}.json", xxh3_64(whose.as_bytes()));
        Self { work, path }
    }

    async fn change<T>(&self, change: impl Fn(&mut Record) -> T) -> Result<T, StoreError> {
        let mut cell = Cell::new(&self.work, &self.path);
        loop {
            let mut record = Record::read(&cell.read().await?.unwrap_or_default());
            let value = change(&mut record);
            if cell.write(record.bytes()).await? {
                return Ok(value);
            }
        }
    }
}

/// Keeps a share of the `quota` for `pace`, one made by [`Pace::shared`], until `stop` is
/// cancelled; then it is given back. `name` belongs to this process, such as a UUID. While nothing is sent,
/// no share is held and nothing is read.
///
/// A file that cannot be reached is no error: the share lapses, calls wait, and it is tried again.
pub async fn keep_share(
    pace: &Pace,
    quota: &SharedQuota,
    name: &str,
    clock: Clock,
    mut rng: StdRng,
    stop: &CancellationToken,
) {
    let mut reached = true;
    loop {
        tokio::select! {
            () = pace.wanted() => {}
            () = stop.cancelled() => return,
        }
        loop {
            let wants = pace.update(|pacer, now| pacer.wants(now));
            if wants <= 0.0 {
                break;
            }
            let next = match renew(pace, quota, name, wants, clock).await {
                Ok(next) => {
                    reached = true;
                    // Processes that began together do not renew at the same moment.
                    next.mul_f64(rng.random_range(0.9..1.0))
                }
                Err(error) => {
                    if std::mem::take(&mut reached) {
                        tracing::warn!(%error, "the record of shares cannot be reached: calls wait");
                    }
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = stop.cancelled() => break,
            }
        }
        pace.update(|pacer, now| pacer.lower_share(now, 0.0));
        if let Err(error) = quota.change(|record| record.leave(name)).await {
            tracing::debug!(%error, "the share was not given back: it runs out by itself");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Renews the share, and says when to do it again.
async fn renew(
    pace: &Pace,
    quota: &SharedQuota,
    name: &str,
    wants: f64,
    clock: Clock,
) -> Result<Duration, StoreError> {
    let renewed = quota.change(|record| {
        let began = Instant::now();
        let renewed = record.renew(name, wants, clock.unix_ms());
        // A part of the share is given up before other processes can read that it is free.
        pace.update(|pacer, now| pacer.lower_share(now, renewed.share));
        (renewed, began)
    });
    let (renewed, began) = renewed.await?;
    let until = pace.time(began + LEASE);
    pace.update(|pacer, now| pacer.set_share(now, renewed.share, until));
    Ok(renewed.next)
}

#[cfg(test)]
mod tests {
    use super::super::pace::Pause;
    use super::super::pacing::{Concurrency, Quota, RateLimitHeaders};
    use super::*;
    use jiff::Timestamp;
    use rand::SeedableRng;
    use std::sync::Arc;
    use tokio::task::JoinHandle;

    /// The time of the test's runtime, as a date.
    fn now() -> Timestamp {
        thread_local!(static SINCE: Instant = Instant::now());
        let passed = SINCE.with(Instant::elapsed);
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_790_000_000) + passed
    }

    /// A process that always has calls to send.
    struct Process {
        pace: Arc<Pace>,
        keeps: JoinHandle<()>,
        sends: JoinHandle<()>,
        stop: CancellationToken,
    }

    /// 1,000 calls of a token a second.
    const QUOTA: Quota = Quota {
        tpm: 60_000.0,
        rpm: 600_000.0,
    };

    impl Process {
        fn start(on_disk: &OnDisk, name: &str, seed: u64) -> Self {
            let pace = Arc::new(Pace::shared(QUOTA, Concurrency::Fixed(1000)));
            let stop = CancellationToken::new();
            let (keeper, held, name) = (Arc::clone(&pace), on_disk.quota(), name.to_owned());
            let (clock, rng) = (Clock::from_fn(now), StdRng::seed_from_u64(seed));
            let until = stop.clone();
            let keeps = tokio::spawn(async move {
                keep_share(&keeper, &held, &name, clock, rng, &until).await;
            });
            let sender = Arc::clone(&pace);
            let sends = tokio::spawn(async move {
                let _first = sender.queue().await;
                loop {
                    let wait = match sender.send(1) {
                        Ok(sent) => {
                            let headers = RateLimitHeaders::default();
                            sender.update(|pacer, now| pacer.answered(now, sent, &headers));
                            continue;
                        }
                        Err(Pause::Kept(at) | Pause::Shared(at)) => at,
                    };
                    tokio::select! {
                        () = tokio::time::sleep_until(wait) => {}
                        () = sender.moved() => {}
                    }
                }
            });
            Self {
                pace,
                keeps,
                sends,
                stop,
            }
        }

        /// Ends as SIGKILL would end it.
        fn kill(self) {
            self.keeps.abort();
            self.sends.abort();
        }
    }

    /// A quota on this machine, whose file a test can read and put out of reach.
    struct OnDisk(tempfile::TempDir);

    impl OnDisk {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn quota(&self) -> SharedQuota {
            let work = OwnFolder::local_alone(self.0.path().join("work")).unwrap();
            SharedQuota::new(work, "endpoint", "deployment")
        }

        fn file(&self) -> std::path::PathBuf {
            self.0.path().join("work").join(self.quota().path)
        }

        fn shares(&self) -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(self.file()).unwrap()).unwrap()
        }

        /// Whether it is out of reach from now on: a folder cannot be read.
        fn set_away(&self, away: bool) {
            let kept = self.0.path().join("kept");
            if away {
                std::fs::rename(self.file(), kept).unwrap();
                std::fs::create_dir(self.file()).unwrap();
            } else {
                std::fs::remove_dir(self.file()).unwrap();
                std::fs::rename(kept, self.file()).unwrap();
            }
        }
    }

    async fn seconds(n: u64) {
        tokio::time::sleep(Duration::from_secs(n)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn two_processes_share_and_one_alone_has_all() {
        let record = OnDisk::new();
        let first = Process::start(&record, "first", 1);
        seconds(1).await;
        assert_eq!(record.shares()["members"]["first"]["share"], 1.0);
        let second = Process::start(&record, "second", 2);
        seconds(7).await;
        for name in ["first", "second"] {
            assert_eq!(record.shares()["members"][name]["share"], 0.5, "{name}");
        }
        // One that is killed is missed when its lease is over, one that leaves at once.
        second.kill();
        seconds(8).await;
        assert_eq!(record.shares()["members"]["first"]["share"], 0.5);
        seconds(7).await;
        assert_eq!(record.shares()["members"]["first"]["share"], 1.0);
        first.stop.cancel();
        first.keeps.await.unwrap();
        assert_eq!(record.shares()["members"], serde_json::json!({}));
        first.sends.abort();
        assert!(matches!(first.pace.send(1), Err(Pause::Kept(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_record_a_share_lapses_and_comes_back_with_it() {
        let record = OnDisk::new();
        let process = Process::start(&record, "one", 1);
        seconds(1).await;
        record.set_away(true);
        seconds(20).await;
        let waits = |sent| matches!(sent, Err(Pause::Kept(at)) if at > Instant::now() + LEASE);
        assert!(waits(process.pace.send(1)));
        record.set_away(false);
        seconds(2).await;
        assert!(!waits(process.pace.send(1)));
        process.kill();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_nothing_holds_nothing() {
        let record = OnDisk::new();
        let process = Process::start(&record, "one", 1);
        seconds(1).await;
        process.sends.abort();
        // What was sent before is still seen at the next renewal.
        seconds(11).await;
        assert_eq!(record.shares()["members"], serde_json::json!({}));
        let before = record.shares();
        record.set_away(true);
        seconds(3_600).await;
        record.set_away(false);
        assert_eq!(record.shares(), before);
        process.kill();
    }
}
