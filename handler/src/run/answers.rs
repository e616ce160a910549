//! Answers by what was asked: identical questions are asked once.
//!
//! Whoever asks first sends the call; others with the same question wait for it. Successes stay for
//! a while in a bounded cache, failures never do.

use crate::dataset::figures::Tokens;
use crate::dataset::line::LabelingError;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Answers kept beyond the chunk they came from.
pub const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// What became of a question.
#[derive(Debug)]
pub enum Asked<T> {
    /// It was answered.
    Answer(Arc<T>),
    /// It was not, and what was billed all the same.
    Failure(LabelingError, Tokens),
    /// Nothing is sent any more; nothing is known.
    Stopped,
}

impl<T> Clone for Asked<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Answer(answer) => Self::Answer(Arc::clone(answer)),
            Self::Failure(error, tokens) => Self::Failure(error.clone(), *tokens),
            Self::Stopped => Self::Stopped,
        }
    }
}

type Pending<T> = Shared<BoxFuture<'static, Asked<T>>>;

/// Questions asked lately, answered or under way.
pub struct Answers<T> {
    known: Option<Mutex<LruCache<u128, Pending<T>>>>,
}

impl<T: Send + Sync + 'static> Answers<T> {
    /// An empty collection; if not `shared`, every question is asked for itself.
    pub fn new(shared: bool) -> Self {
        Self {
            known: shared.then(|| Mutex::new(LruCache::new(KEPT))),
        }
    }

    /// The answer to the question `key`, through `ask` where nobody asked it before, and whether it
    /// is somebody else's.
    pub async fn get(
        &self,
        key: u128,
        ask: impl Future<Output = Asked<T>> + Send + 'static,
    ) -> (Asked<T>, bool) {
        let Some(known) = &self.known else {
            return (ask.await, false);
        };
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let (pending, reused) = {
            let mut known = lock();
            match known.get(&key) {
                Some(pending) => (pending.clone(), true),
                None => {
                    let pending = ask.boxed().shared();
                    known.put(key, pending.clone());
                    (pending, false)
                }
            }
        };
        let asked = pending.clone().await;
        if !reused && !matches!(asked, Asked::Answer(_)) {
            // By now another one may be asked under the same key.
            let mut known = lock();
            if known.peek(&key).is_some_and(|there| there.ptr_eq(&pending)) {
                known.pop(&key);
            }
        }
        (asked, reused)
    }

    /// Remembers an answer from an earlier process.
    pub fn put(&self, key: u128, answer: Arc<T>) {
        if let Some(known) = &self.known {
            let answered = futures::future::ready(Asked::Answer(answer))
                .boxed()
                .shared();
            known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .put(key, answered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::line::ErrorCode;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn count(
        calls: &Arc<AtomicU32>,
        asked: Asked<u32>,
    ) -> impl Future<Output = Asked<u32>> + use<> {
        let calls = Arc::clone(calls);
        async move {
            calls.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
            asked
        }
    }

    #[tokio::test]
    async fn identical_questions_are_asked_once() {
        let calls = Arc::new(AtomicU32::new(0));
        let answers = Answers::new(true);
        let ask = || answers.get(7, count(&calls, Asked::Answer(Arc::new(1))));
        let (first, second) = tokio::join!(ask(), ask());
        assert!(!first.1 && second.1);
        assert!(ask().await.1);
        assert_eq!(calls.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_those_who_wait_and_then_forgotten() {
        let calls = Arc::new(AtomicU32::new(0));
        let answers = Answers::new(true);
        let failure = Asked::Failure(
            LabelingError::new(ErrorCode::Transient, "x"),
            Tokens::default(),
        );
        let ask = || answers.get(7, count(&calls, failure.clone()));
        let _ = tokio::join!(ask(), ask());
        assert_eq!(calls.load(Relaxed), 1);
        assert!(!ask().await.1);
        assert_eq!(calls.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn sharing_can_be_turned_off() {
        let calls = Arc::new(AtomicU32::new(0));
        let answers = Answers::new(false);
        answers.put(7, Arc::new(2));
        let ask = || answers.get(7, count(&calls, Asked::Answer(Arc::new(1))));
        let _ = tokio::join!(ask(), ask());
        assert_eq!(calls.load(Relaxed), 2);
    }
}
