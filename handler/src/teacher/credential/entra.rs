//! Tokens of Entra for the model itself, instead of a key.

use super::proof::Proof;
use super::renewal::Source;
use crate::clock::Clock;
use crate::identity::{Failure, Identities, Secret};
use futures::future::BoxFuture;
use jiff::Timestamp;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Entra {
    pub(super) scope: String,
    pub(super) identities: Identities,
    pub(super) clock: Clock,
}

impl Source for Entra {
    fn obtain(&self) -> BoxFuture<'_, Result<Proof, Failure>> {
        Box::pin(async {
            let token = self.identities.token(&self.scope).await?;
            let lifetime = until(token.expires_on.unix_timestamp(), self.clock.now());
            Proof::token(&Secret::new(token.token.secret()), lifetime)
        })
    }

    fn advice(&self) -> String {
        "check that the identity has the role \"Cognitive Services OpenAI User\" on the account, and \
         that --entra-scope fits the endpoint"
            .into()
    }
}

/// The time from `now` until the second `end` of the epoch.
pub(super) fn until(end: i64, now: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(end.saturating_sub(now.as_second())).unwrap_or(0))
}
