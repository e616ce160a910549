//! Answers by what was asked: identical questions are asked once.
//!
//! The first to ask sends the call; others with the same question wait for it. Successes stay for
//! a while in a bounded cache, failures never do. A call lives as long as a caller waits for it: with the
//! last caller it ends, and gives back what it holds.

use crate::dataset::figures::Tokens;
use crate::dataset::line::LabelingError;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::AbortOnDropHandle;

/// Answers kept beyond the chunk they came from.
pub const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// What became of a question.
#[derive(Debug)]
pub enum Asked<T> {
    /// It was answered.
    Answer(Arc<T>),
    /// It was not, and what was billed all the same.
    Failure(LabelingError, Tokens),
    /// Sending has stopped before an answer came.
    Stopped,
    /// Asking panicked; nothing is known.
    BrokeOff,
}

impl<T> Clone for Asked<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Answer(answer) => Self::Answer(Arc::clone(answer)),
            Self::Failure(error, tokens) => Self::Failure(error.clone(), *tokens),
            Self::Stopped => Self::Stopped,
            Self::BrokeOff => Self::BrokeOff,
        }
    }
}

/// A call under way. Each waiting caller holds a clone, and the call is aborted with the last one.
type Underway<T> = Shared<BoxFuture<'static, Asked<T>>>;

enum Known<T> {
    Answer(Arc<T>),
    Underway(WeakShared<BoxFuture<'static, Asked<T>>>),
}

/// Questions asked lately, answered or under way.
pub struct Answers<T> {
    known: Option<Mutex<LruCache<u128, Known<T>>>>,
}

impl<T: Send + Sync + 'static> Answers<T> {
    /// An empty collection; if not `shared`, every question is asked for itself.
    pub fn new(shared: bool) -> Self {
        Self {
            known: shared.then(|| Mutex::new(LruCache::new(KEPT))),
        }
    }

    /// The answer to the question `key`, by calling `ask` if it is the first to ask it, and whether
    /// another caller asked it.
    pub async fn get<F>(&self, key: u128, ask: impl FnOnce() -> F) -> (Asked<T>, bool)
    where
        F: Future<Output = Asked<T>> + Send + 'static,
    {
        let Some(known) = &self.known else {
            return (ask().await, false);
        };
        let (underway, reused) = {
            let mut known = lock(known);
            let there = match known.get(&key) {
                Some(Known::Answer(answer)) => return (Asked::Answer(Arc::clone(answer)), true),
                Some(Known::Underway(underway)) => underway.upgrade(),
                None => None,
            };
            match there {
                Some(underway) => (underway, true),
                None => {
                    let underway = start(ask());
                    if let Some(weak) = underway.downgrade() {
                        known.put(key, Known::Underway(weak));
                    }
                    (underway, false)
                }
            }
        };
        let asked = underway.clone().await;
        let mut known = lock(known);
        // Another call may be under way under the same key.
        let is_this = match known.peek(&key) {
            Some(Known::Underway(there)) => {
                there.upgrade().is_some_and(|there| there.ptr_eq(&underway))
            }
            _ => false,
        };
        match &asked {
            Asked::Answer(answer) if is_this => {
                known.put(key, Known::Answer(Arc::clone(answer)));
            }
            _ if is_this => {
                known.pop(&key);
            }
            _ => {}
        }
        (asked, reused)
    }

    /// Remembers an answer from an earlier process.
    pub fn put(&self, key: u128, answer: Arc<T>) {
        if let Some(known) = &self.known {
            lock(known).put(key, Known::Answer(answer));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks in a task of its own, so that it continues when a waiting caller is aborted.
fn start<T: Send + Sync + 'static>(
    ask: impl Future<Output = Asked<T>> + Send + 'static,
) -> Underway<T> {
    let asking = AbortOnDropHandle::new(tokio::spawn(ask));
    let asked = async move {
        match asking.await {
            Ok(asked) => asked,
            Err(error) if error.is_panic() => Asked::BrokeOff,
            // The process ends.
            Err(_) => Asked::Stopped,
        }
    };
    asked.boxed().shared()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::line::ErrorCode;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::Duration;
    use tokio::sync::{Semaphore, oneshot};

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
        let ask = || answers.get(7, || count(&calls, Asked::Answer(Arc::new(1))));
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
        let ask = || answers.get(7, || count(&calls, failure.clone()));
        let _ = tokio::join!(ask(), ask());
        assert_eq!(calls.load(Relaxed), 1);
        assert!(!ask().await.1);
        assert_eq!(calls.load(Relaxed), 2);
    }

    /// Asks for key 7 in a task of its own.
    fn ask(
        answers: &Arc<Answers<u32>>,
        question: impl Future<Output = Asked<u32>> + Send + 'static,
    ) -> tokio::task::JoinHandle<(Asked<u32>, bool)> {
        let answers = Arc::clone(answers);
        tokio::spawn(async move { answers.get(7, || question).await })
    }

    /// A question that holds a permit of `slots` until it gets `asked`.
    fn held(
        slots: &Arc<Semaphore>,
        asked: oneshot::Receiver<Asked<u32>>,
    ) -> impl Future<Output = Asked<u32>> + use<> {
        let slots = Arc::clone(slots);
        async move {
            let _permit = slots.acquire_owned().await;
            asked.await.unwrap_or(Asked::Stopped)
        }
    }

    /// Waits until the one permit is taken.
    async fn taken(slots: &Semaphore) {
        while slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_nobody_waits_for_gives_back_what_it_holds() {
        let (answers, slots) = (Arc::new(Answers::new(true)), Arc::new(Semaphore::new(1)));
        let (_answer, answered) = oneshot::channel();
        let asking = ask(&answers, held(&slots, answered));
        taken(&slots).await;
        asking.abort();
        let free = tokio::time::timeout(Duration::from_secs(60), slots.acquire());
        assert!(free.await.is_ok(), "the permit is not given back");
        let again = answers.get(7, || std::future::ready(Asked::Answer(Arc::new(2))));
        let again = tokio::time::timeout(Duration::from_secs(60), again).await;
        assert!(matches!(again, Ok((Asked::Answer(_), false))), "{again:?}");
    }

    #[tokio::test]
    async fn a_question_goes_on_while_anybody_waits() {
        let (answers, slots) = (Arc::new(Answers::new(true)), Arc::new(Semaphore::new(1)));
        let (answer, answered) = oneshot::channel();
        let first = ask(&answers, held(&slots, answered));
        taken(&slots).await;
        let mut second = ask(&answers, std::future::pending());
        assert!(futures::poll!(&mut second).is_pending());
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.is_err());
        answer.send(Asked::Answer(Arc::new(3))).unwrap();
        let (asked, reused) = second.await.unwrap();
        assert!(reused && matches!(asked, Asked::Answer(_)), "{asked:?}");
        assert!(answers.get(7, std::future::pending).await.1);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_forgotten_whoever_hears_of_it() {
        for asked in [
            Asked::Stopped,
            Asked::Failure(
                LabelingError::new(ErrorCode::Transient, "x"),
                Tokens::default(),
            ),
        ] {
            let (answers, slots) = (Arc::new(Answers::new(true)), Arc::new(Semaphore::new(1)));
            let (answer, answered) = oneshot::channel();
            let first = ask(&answers, held(&slots, answered));
            taken(&slots).await;
            let second = ask(&answers, std::future::pending());
            tokio::task::yield_now().await;
            first.abort();
            assert!(first.await.is_err());
            answer.send(asked).unwrap();
            let (asked, reused) = second.await.unwrap();
            assert!(reused && !matches!(asked, Asked::Answer(_)), "{asked:?}");
            let again = answers.get(7, || std::future::ready(Asked::Answer(Arc::new(4))));
            assert!(!again.await.1);
        }
    }

    #[tokio::test]
    async fn a_panic_is_no_answer_for_anybody_and_forgotten() {
        let answers = Arc::new(Answers::new(true));
        let breaks = || async {
            tokio::task::yield_now().await;
            panic!("meant to")
        };
        let asking = [ask(&answers, breaks()), ask(&answers, breaks())];
        for asking in asking {
            let (asked, _) = asking.await.unwrap();
            assert!(matches!(asked, Asked::BrokeOff), "{asked:?}");
        }
        let again = answers.get(7, || std::future::ready(Asked::Answer(Arc::new(5))));
        assert!(!again.await.1);
    }

    #[tokio::test]
    async fn sharing_can_be_turned_off() {
        let calls = Arc::new(AtomicU32::new(0));
        let answers = Answers::new(false);
        answers.put(7, Arc::new(2));
        let ask = || answers.get(7, || count(&calls, Asked::Answer(Arc::new(1))));
        let _ = tokio::join!(ask(), ask());
        assert_eq!(calls.load(Relaxed), 2);
    }
}
