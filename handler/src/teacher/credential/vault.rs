//! The key as a secret of a Key Vault.

use super::entra::until;
use super::proof::Proof;
use super::renewal::Source;
use crate::clock::Clock;
use crate::identity::{Failure, Identities, Secret, client_options, explain};
use crate::teacher::endpoint::{Api, setting};
use azure_core::error::Error;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// The secret of a Key Vault that holds the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSecret {
    /// `https://NAME.vault.azure.net`, without a slash at the end.
    pub url: String,
    /// The secret's name: letters, digits and dashes.
    pub name: String,
}

impl fmt::Display for VaultSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {} of {}", self.name, self.url)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Vault {
    pub(super) api: Api,
    pub(super) secret: VaultSecret,
    pub(super) identities: Identities,
    pub(super) clock: Clock,
}

impl Source for Vault {
    fn obtain(&self) -> BoxFuture<'_, Result<Proof, Failure>> {
        Box::pin(self.read())
    }

    fn advice(&self) -> String {
        let whose = setting(self.api);
        format!("check that the key in {} belongs to {whose}", self.secret)
    }
}

impl Vault {
    async fn read(&self) -> Result<Proof, Failure> {
        let client = self.client().map_err(|error| explain(&error))?;
        // The SDK waits as long as the vault asks.
        let patience = self.identities.timeout;
        let answer = tokio::time::timeout(patience, client.get_secret(&self.secret.name, None));
        let answer = answer.await.map_err(|_| {
            let seconds = patience.as_secs_f64();
            Failure::new(format!(
                "no answer within {seconds} s (--credential-timeout)"
            ))
        })?;
        let secret = answer.map_err(|error| refused(&error))?.into_model();
        let secret = secret.map_err(|error| explain(&error))?;
        // A key that is past its date is read all the same: the service decides whether it is valid.
        let end = secret.attributes.and_then(|attributes| attributes.expires);
        let lifetime = end.map(|end| until(end.unix_timestamp(), self.clock.now()));
        let lifetime = lifetime.filter(|lifetime| !lifetime.is_zero());
        let key = Secret::new(&secret.value.unwrap_or_default());
        Proof::key_for(self.api, &key, lifetime)
    }

    /// A new client each time: an old one would keep its token.
    fn client(&self) -> Result<SecretClient, Error> {
        let http = self.identities.http(|builder| builder)?;
        #[cfg(debug_assertions)]
        let http = super::loopback::rewrite(http);
        let options = SecretClientOptions {
            client_options: client_options(http),
            ..Default::default()
        };
        let identities = Arc::new(self.identities.clone());
        SecretClient::new(&self.secret.url, identities, Some(options))
    }
}

/// What the vault's refusal means, and what to check.
fn refused(error: &Error) -> Failure {
    let Some(status) = error.http_status().map(u16::from) else {
        return explain(error);
    };
    let said = explain(error);
    let advice = match status {
        401 => "the vault does not accept the identity's token; check its tenant",
        403 => {
            "give the identity the role \"Key Vault Secrets User\" on the vault, and check the \
             vault's network rules"
        }
        404 => "check --keyvault-secret and --keyvault-url",
        _ => return Failure::new(format!("HTTP {status}: {said}")),
    };
    Failure::new(format!("HTTP {status}: {said}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::error::ErrorKind;
    use azure_core::http::StatusCode;

    #[test]
    fn a_refusal_says_what_to_do() {
        let refusal = |status: u16, message: &'static str| {
            let kind = ErrorKind::HttpResponse {
                status: StatusCode::from(status),
                error_code: None,
                raw_response: None,
            };
            refused(&Error::with_message(kind, message)).to_string()
        };
        assert!(refusal(403, "Caller is not authorized.").starts_with(
            "HTTP 403: Caller is not authorized; give the identity the role \"Key Vault Secrets User\""
        ));
        assert!(refusal(404, "A secret was not found").ends_with("--keyvault-url"));
        assert_eq!(refusal(503, "busy"), "HTTP 503: busy");
    }
}
