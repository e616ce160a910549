//! A credential that stays valid while a run lasts.
//!
//! Every request reads the credential, which is cheap. It is renewed shortly before it ends, while
//! requests go on with the old one, and once when the service refuses it. However many requests meet
//! the refusal, one of them renews; the others take the new credential, or the reason why there is none.

use super::proof::Proof;
use crate::identity::Failure;
use futures::future::BoxFuture;
use reqwest::header::{HeaderName, HeaderValue};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// A long-lived proof is renewed this long before its end.
const LEAD: Duration = Duration::from_secs(300);

/// A short-lived one when this part of its life is left.
const LEAD_PART: u32 = 5;

/// What ends at once is not renewed more often.
const SHORTEST_HOLD: Duration = Duration::from_secs(1);

/// The wait after a renewal ahead of time that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Something that gives proofs again and again: a Key Vault, or Entra.
pub trait Source: fmt::Debug + Send + Sync {
    /// Obtains a proof, not one that was kept. The wait is bounded.
    fn obtain(&self) -> BoxFuture<'_, Result<Proof, Failure>>;

    /// What to check when the service refuses what this source gives.
    fn advice(&self) -> String;
}

/// The header of a request, and which of the successive ones it is.
#[derive(Clone, Debug)]
pub struct Header {
    /// Its name: `api-key` or `authorization`.
    pub name: HeaderName,
    /// The key or the token, marked as sensitive; empty where none is sent.
    pub value: HeaderValue,
    generation: u64,
}

/// Why there is nothing better than what was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalError {
    /// No source can give another: the key comes from a variable, or none is sent.
    #[error("it cannot be renewed")]
    NotRenewable,
    /// The source was asked, and gave none.
    #[error("it could not be renewed: {0}")]
    Failed(Failure),
}

/// What requests prove themselves with. Clones share it.
#[derive(Clone, Debug)]
pub struct Credential(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    held: RwLock<Held>,
    renewable: Option<Renewable>,
    advice: String,
}

#[derive(Debug)]
struct Renewable {
    source: Box<dyn Source>,
    /// Held by the task that renews.
    turn: tokio::sync::Mutex<()>,
    /// Renewals that have ended.
    ended: AtomicU64,
    /// Why the latest one failed, if it did.
    failure: Mutex<Option<Failure>>,
}

#[derive(Debug)]
struct Held {
    header: Header,
    term: Option<Term>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    renew_at: Instant,
    end: Instant,
}

impl Held {
    fn new(proof: Proof, generation: u64, now: Instant) -> Self {
        let term = proof.lifetime.map(|lifetime| {
            let lead = LEAD.min(lifetime / LEAD_PART);
            let hold = lifetime.saturating_sub(lead).max(SHORTEST_HOLD);
            Term {
                renew_at: now + hold,
                end: now + lifetime,
            }
        });
        let Proof { name, value, .. } = proof;
        Self {
            header: Header {
                name,
                value,
                generation,
            },
            term,
        }
    }
}

impl Credential {
    /// A credential that stays as it is. `advice` says what to check when the service refuses it.
    pub fn fixed(proof: Proof, advice: impl Into<String>) -> Self {
        let lasting = Proof {
            lifetime: None,
            ..proof
        };
        Self::new(lasting, None, advice.into())
    }

    /// A credential that `source` has given, and can give again.
    pub fn renewable(proof: Proof, source: Box<dyn Source>) -> Self {
        let advice = source.advice();
        let renewable = Renewable {
            source,
            turn: tokio::sync::Mutex::new(()),
            ended: AtomicU64::new(0),
            failure: Mutex::new(None),
        };
        Self::new(proof, Some(renewable), advice)
    }

    fn new(proof: Proof, renewable: Option<Renewable>, advice: String) -> Self {
        let held = RwLock::new(Held::new(proof, 0, Instant::now()));
        Self(Arc::new(Inner {
            held,
            renewable,
            advice,
        }))
    }

    /// What to check when the service refuses the credential: a clause without a full stop.
    pub fn advice(&self) -> &str {
        &self.0.advice
    }

    /// The header for a request that is sent now. Waits only where the last one has ended.
    pub async fn header(&self) -> Header {
        let (header, term) = self.read();
        let Some(Term { renew_at, end }) = term else {
            return header;
        };
        let now = Instant::now();
        let claimed = now >= renew_at && self.claim(renew_at, now);
        if now < end {
            if claimed {
                let (credential, header) = (self.clone(), header.clone());
                tokio::spawn(async move { credential.renew_ahead(&header).await });
            }
            return header;
        }
        if claimed || self.is_renewing() {
            self.renew_ahead(&header).await;
            return self.read().0;
        }
        header
    }

    /// Something newer than `refused`: what another task has obtained since, or what the source gives.
    pub async fn renew(&self, refused: &Header) -> Result<Header, RenewalError> {
        let Some(renewable) = &self.0.renewable else {
            return Err(RenewalError::NotRenewable);
        };
        let ended = renewable.ended.load(Ordering::Acquire);
        let _turn = renewable.turn.lock().await;
        let (header, _) = self.read();
        if header.generation != refused.generation {
            return Ok(header);
        }
        // A request that waited while another one failed shares the failure. Otherwise a hundred
        // requests would try a dead vault a hundred times, one after the other.
        if renewable.ended.load(Ordering::Acquire) != ended {
            let failure = renewable.failure.lock();
            if let Some(failure) = &*failure.unwrap_or_else(PoisonError::into_inner) {
                return Err(RenewalError::Failed(failure.clone()));
            }
        }
        let result = match renewable.source.obtain().await {
            Ok(proof) => {
                let held = Held::new(proof, header.generation + 1, Instant::now());
                let renewed = held.header.clone();
                *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = held;
                tracing::info!("the credential was renewed");
                Ok(renewed)
            }
            Err(failure) => Err(failure),
        };
        let latest = renewable.failure.lock();
        *latest.unwrap_or_else(PoisonError::into_inner) = result.as_ref().err().cloned();
        renewable.ended.fetch_add(1, Ordering::Release);
        result.map_err(RenewalError::Failed)
    }

    /// Renews before a request is refused. A failure does no harm yet: the service has the last word.
    async fn renew_ahead(&self, header: &Header) {
        if let Err(error) = self.renew(header).await {
            tracing::warn!(%error, "the credential ends soon or has ended");
        }
    }

    fn is_renewing(&self) -> bool {
        let renewable = self.0.renewable.as_ref();
        renewable.is_some_and(|renewable| renewable.turn.try_lock().is_err())
    }

    fn read(&self) -> (Header, Option<Term>) {
        let held = self.0.held.read().unwrap_or_else(PoisonError::into_inner);
        (held.header.clone(), held.term)
    }

    /// Claims the renewal that is due at `renew_at`; `false` if another task has claimed it.
    fn claim(&self, renew_at: Instant, now: Instant) -> bool {
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        match &mut held.term {
            Some(term) if term.renew_at == renew_at => {
                term.renew_at = now + AGAIN_AFTER;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Secret;
    use std::sync::atomic::AtomicU32;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Gives `token-1`, `token-2` … after a second each, or fails.
    #[derive(Clone, Debug)]
    struct Issuer {
        issued: Arc<AtomicU32>,
        lifetime: Duration,
        works: bool,
    }

    impl Issuer {
        fn new(lifetime: Duration) -> Self {
            Self {
                issued: Arc::default(),
                lifetime,
                works: true,
            }
        }

        fn issued(&self) -> u32 {
            self.issued.load(Ordering::SeqCst)
        }

        fn credential(&self) -> Credential {
            Credential::renewable(token(0, self.lifetime), Box::new(self.clone()))
        }
    }

    impl Source for Issuer {
        fn obtain(&self) -> BoxFuture<'_, Result<Proof, Failure>> {
            Box::pin(async {
                let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                if self.works {
                    Ok(token(number, self.lifetime))
                } else {
                    Err(Failure::new("down"))
                }
            })
        }

        fn advice(&self) -> String {
            "ask the issuer".into()
        }
    }

    fn token(number: u32, lifetime: Duration) -> Proof {
        Proof::token(&Secret::new(&format!("token-{number}")), lifetime).unwrap()
    }

    fn text(header: &Header) -> &str {
        header.value.to_str().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_refusals_renew_once() {
        let issuer = Issuer::new(HOUR);
        let credential = issuer.credential();
        let refused = credential.header().await;
        let all = (0..100).map(|_| credential.renew(&refused));
        for renewed in futures::future::join_all(all).await {
            assert_eq!(text(&renewed.unwrap()), "Bearer token-1");
        }
        // A caller that started earlier takes the renewed one.
        assert_eq!(
            text(&credential.renew(&refused).await.unwrap()),
            "Bearer token-1"
        );
        assert_eq!(issuer.issued(), 1);
        assert_eq!(text(&credential.header().await), "Bearer token-1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_refusals_share_a_failure() {
        let issuer = Issuer {
            works: false,
            ..Issuer::new(HOUR)
        };
        let credential = issuer.credential();
        let refused = credential.header().await;
        let all = (0..100).map(|_| credential.renew(&refused));
        for renewed in futures::future::join_all(all).await {
            let failed = RenewalError::Failed(Failure::new("down"));
            assert_eq!(renewed.unwrap_err(), failed);
        }
        assert_eq!(issuer.issued(), 1);
        // Later it is worth another try.
        credential.renew(&refused).await.unwrap_err();
        assert_eq!(issuer.issued(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_renewed_before_its_end_and_nobody_waits() {
        let issuer = Issuer::new(HOUR);
        let credential = issuer.credential();
        tokio::time::sleep(HOUR - LEAD - Duration::from_secs(1)).await;
        assert_eq!(text(&credential.header().await), "Bearer token-0");
        assert_eq!(issuer.issued(), 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = Instant::now();
        for _ in 0..100 {
            assert_eq!(text(&credential.header().await), "Bearer token-0");
        }
        assert_eq!(before.elapsed(), Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(text(&credential.header().await), "Bearer token-1");
        assert_eq!(issuer.issued(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_end_it_is_waited_for() {
        let issuer = Issuer::new(HOUR);
        let credential = issuer.credential();
        tokio::time::sleep(2 * HOUR).await;
        for header in futures::future::join_all((0..100).map(|_| credential.header())).await {
            assert_eq!(text(&header), "Bearer token-1");
        }
        assert_eq!(issuer.issued(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_is_down_is_asked_now_and_then() {
        let issuer = Issuer {
            works: false,
            ..Issuer::new(HOUR)
        };
        let credential = issuer.credential();
        tokio::time::sleep(HOUR - LEAD).await;
        for _ in 0..600 {
            assert_eq!(text(&credential.header().await), "Bearer token-0");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!((15..=21).contains(&issuer.issued()), "{}", issuer.issued());
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_at_once_is_not_renewed_all_the_time() {
        let issuer = Issuer::new(Duration::ZERO);
        let credential = issuer.credential();
        for _ in 0..1000 {
            credential.header().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(issuer.issued() <= 10, "{}", issuer.issued());
    }

    #[tokio::test]
    async fn a_key_of_the_environment_stays() {
        let proof = Proof::key(&Secret::new("k"), None).unwrap();
        let credential = Credential::fixed(proof, "check it");
        let header = credential.header().await;
        assert_eq!(
            credential.renew(&header).await.unwrap_err(),
            RenewalError::NotRenewable
        );
        assert_eq!((header.name.as_str(), text(&header)), ("api-key", "k"));
        assert!(!format!("{credential:?}").contains("\"k\""));
    }
}
