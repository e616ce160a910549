//! A small record that several processes change by compare-and-swap. Quota is divided over such a
//! record.

use std::fmt::Display;
use std::time::Duration;

/// Tries to change a record that others keep changing.
const TRIES: u32 = 20;

/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// A record as it was read: its bytes and their version; `None` where there is none.
pub type Read<V> = Option<(Vec<u8>, V)>;

pub trait SharedRecord: Send + Sync {
    /// Identifies one state of the record.
    type Version: Send + Sync;
    type Error: Display + Send;

    /// Reads it.
    fn read(&self) -> impl Future<Output = Result<Read<Self::Version>, Self::Error>> + Send;

    /// Creates it; `false` if it exists already. After an error it may have been made.
    fn create(&self, bytes: Vec<u8>) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Replaces it by `bytes`; `false` if it is another version. After an error it may have been replaced.
    fn swap(
        &self,
        bytes: Vec<u8>,
        version: &Self::Version,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E: Display> {
    #[error("{0}")]
    Store(E),
    #[error("others changed it {TRIES} times in a row")]
    Contended,
}

/// Changes `record` once: `change` takes its bytes and gives the new ones, with a value to return.
/// `None` if another process changed the record in between.
pub(super) async fn try_update<R: SharedRecord, T>(
    record: &R,
    change: impl FnOnce(Option<&[u8]>) -> (Vec<u8>, T),
) -> Result<Option<T>, R::Error> {
    let read = record.read().await?;
    let (bytes, value) = change(read.as_ref().map(|(bytes, _)| bytes.as_slice()));
    let done = match &read {
        Some((_, version)) => record.swap(bytes, version).await?,
        None => record.create(bytes).await?,
    };
    Ok(done.then_some(value))
}

/// Changes `record` by `change`, again while others are faster; `draw` gives numbers from 0 to 1.
pub(super) async fn update<R: SharedRecord, T>(
    record: &R,
    mut draw: impl FnMut() -> f64,
    mut change: impl FnMut(Option<&[u8]>) -> (Vec<u8>, T),
) -> Result<T, UpdateError<R::Error>> {
    for _ in 0..TRIES {
        match try_update(record, &mut change).await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => tokio::time::sleep(LONGEST_WAIT.mul_f64(draw())).await,
            Err(error) => return Err(UpdateError::Store(error)),
        }
    }
    Err(UpdateError::Contended)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Arc, Mutex};

    /// A record in memory, whose operations take a while, and which can be out of reach.
    #[derive(Clone, Debug, Default)]
    pub(in crate::teacher) struct InMemory {
        state: Arc<Mutex<(u64, Option<Vec<u8>>)>>,
        away: Arc<AtomicBool>,
        takes: Duration,
    }

    impl InMemory {
        pub(in crate::teacher) fn taking(takes: Duration) -> Self {
            Self {
                takes,
                ..Self::default()
            }
        }

        /// Whether it is out of reach from now on.
        pub(in crate::teacher) fn set_away(&self, away: bool) {
            self.away.store(away, Relaxed);
        }

        pub(in crate::teacher) fn bytes(&self) -> Vec<u8> {
            self.state.lock().unwrap().1.clone().unwrap_or_default()
        }

        async fn reach(&self) -> Result<(), &'static str> {
            tokio::time::sleep(self.takes).await;
            match self.away.load(Relaxed) {
                true => Err("out of reach"),
                false => Ok(()),
            }
        }
    }

    impl SharedRecord for InMemory {
        type Version = u64;
        type Error = &'static str;

        async fn read(&self) -> Result<Read<u64>, &'static str> {
            self.reach().await?;
            let state = self.state.lock().unwrap();
            Ok(state.1.clone().map(|bytes| (bytes, state.0)))
        }

        async fn create(&self, bytes: Vec<u8>) -> Result<bool, &'static str> {
            self.reach().await?;
            let mut state = self.state.lock().unwrap();
            let free = state.1.is_none();
            if free {
                *state = (state.0 + 1, Some(bytes));
            }
            Ok(free)
        }

        async fn swap(&self, bytes: Vec<u8>, version: &u64) -> Result<bool, &'static str> {
            self.reach().await?;
            let mut state = self.state.lock().unwrap();
            let same = state.1.is_some() && state.0 == *version;
            if same {
                *state = (state.0 + 1, Some(bytes));
            }
            Ok(same)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_change_is_lost_however_many_make_one() {
        let record = InMemory::taking(Duration::from_millis(5));
        let add = |bytes: Option<&[u8]>| (vec![bytes.map_or(0, |bytes| bytes[0]) + 1], ());
        let updates = (0..16).map(|seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            update(&record, move || rng.random(), add)
        });
        for done in futures::future::join_all(updates).await {
            done.unwrap();
        }
        assert_eq!(record.bytes(), [16]);
    }

    /// Somebody is always faster.
    struct Busy;

    impl SharedRecord for Busy {
        type Version = ();
        type Error = Infallible;

        async fn read(&self) -> Result<Read<()>, Infallible> {
            Ok(Some((Vec::new(), ())))
        }

        async fn create(&self, _: Vec<u8>) -> Result<bool, Infallible> {
            Ok(false)
        }

        async fn swap(&self, _: Vec<u8>, (): &()) -> Result<bool, Infallible> {
            Ok(false)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_is_never_free_is_given_up() {
        let ended = update(&Busy, || 0.5, |_| (Vec::new(), ())).await;
        assert!(matches!(ended, Err(UpdateError::Contended)));
    }
}
