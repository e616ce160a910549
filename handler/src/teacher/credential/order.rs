//! Which sources are tried, and in what order.

use super::entra::Entra;
use super::key;
use super::proof::Proof;
use super::renewal::{Credential, Source};
use super::vault::{Vault, VaultSecret};
use crate::clock::Clock;
use crate::identity::{Attempt, Failure, Identities, NoCredential, Secret, Way};
use crate::teacher::endpoint::{self, Api};
use clap::ValueEnum;

const ENTRA: &str = "Entra token for the model";

/// How requests to the model are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// A key: from Key Vault, else from AZURE_OPENAI_API_KEY.
    Key,
    /// Tokens of Entra for the model itself.
    Entra,
}

impl Auth {
    /// The name as `--auth` takes it: `key` or `entra`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Entra => "entra",
        }
    }
}

/// Whether a Key Vault is asked for the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultChoice {
    /// This secret is asked for, before the variable that holds a key.
    Ask(VaultSecret),
    /// None is asked; the text says why.
    NotTried(&'static str),
}

/// From what a credential is obtained.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The form of the API, which decides the header and the variable of the key.
    pub api: Api,
    /// Whether a key or a token of Entra is wanted.
    pub auth: Auth,
    /// The Key Vault that may hold the key; not asked for a token of Entra.
    pub vault: VaultChoice,
    /// The key of `AZURE_OPENAI_API_KEY` or `OPENAI_API_KEY`; one that is empty counts as none.
    pub key: Option<Secret>,
    /// The scope of a token for the model, such as `https://cognitiveservices.azure.com/.default`.
    pub entra_scope: String,
    /// As whom the vault is read, and for whom tokens of Entra are obtained.
    pub identities: Identities,
    /// What tells how long a credential is still valid.
    pub clock: Clock,
}

impl Settings {
    /// Obtains a credential from the first source that gives one.
    pub async fn obtain(&self) -> Result<Credential, NoCredential> {
        match self.auth {
            Auth::Key => self.obtain_key().await,
            Auth::Entra => self.obtain_token().await,
        }
    }

    async fn obtain_key(&self) -> Result<Credential, NoCredential> {
        let (way, failure) = match &self.vault {
            VaultChoice::NotTried(why) => ("Key Vault".to_owned(), Failure::new(*why)),
            VaultChoice::Ask(secret) => {
                let vault = Vault {
                    api: self.api,
                    secret: secret.clone(),
                    identities: self.identities.clone(),
                    clock: self.clock,
                };
                match vault.obtain().await {
                    Ok(proof) => {
                        tracing::info!(%secret, "the key was read from the vault");
                        return Ok(Credential::renewable(proof, Box::new(vault)));
                    }
                    Err(failure) => (format!("Key Vault, {secret}"), failure),
                }
            }
        };
        let asked = matches!(self.vault, VaultChoice::Ask(_));
        let variable = endpoint::key(self.api);
        match key::proof(self.api, self.key.as_ref()) {
            Ok(proof) => {
                if asked {
                    tracing::warn!(
                        reason = %failure,
                        "the vault gave no key, so {variable} is used ({way})"
                    );
                }
                let whose = endpoint::setting(self.api);
                let advice = format!("check that {variable} belongs to {whose}");
                Ok(Credential::fixed(proof, advice))
            }
            // A server of your own may need no key; a vault that was asked and gave none is an error.
            Err(_) if self.api == Api::OpenAi && !asked && self.has_no_key() => {
                let advice = format!("the service wants a key: set {variable}");
                Ok(Credential::fixed(Proof::none(), advice))
            }
            Err(no_key) => Err(NoCredential {
                attempts: vec![
                    Attempt { way, failure },
                    attempt(variable, no_key),
                    attempt(ENTRA, Failure::new("not tried, --auth is key")),
                ],
            }),
        }
    }

    async fn obtain_token(&self) -> Result<Credential, NoCredential> {
        let entra = Entra {
            scope: self.entra_scope.clone(),
            identities: self.identities.clone(),
            clock: self.clock,
        };
        match entra.obtain().await {
            Ok(proof) => Ok(Credential::renewable(proof, Box::new(entra))),
            Err(failure) => {
                let not_tried = Failure::new("not tried, --auth is entra");
                let attempts = vec![
                    attempt("Key Vault", not_tried.clone()),
                    attempt(endpoint::key(self.api), not_tried),
                    attempt(ENTRA, failure),
                ];
                Err(NoCredential { attempts })
            }
        }
    }

    fn has_no_key(&self) -> bool {
        self.key.as_ref().is_none_or(Secret::is_empty)
    }

    /// What would be tried, in this order, and what not and why. Shows no secret and sends nothing.
    pub fn outline(&self) -> Vec<(String, String)> {
        let key = self.auth == Auth::Key;
        let vault = match &self.vault {
            _ if !key => "not tried, --auth is entra".into(),
            VaultChoice::NotTried(why) => (*why).to_owned(),
            VaultChoice::Ask(secret) => secret.to_string(),
        };
        let variable = match &self.key {
            _ if !key => "not tried, --auth is entra",
            Some(key) if !key.is_empty() => "set (not shown)",
            _ if self.api == Api::OpenAi => "not set, so none is sent",
            _ => "not set",
        };
        let entra = if key {
            "not tried, --auth is key".into()
        } else {
            format!("scope {}", self.entra_scope)
        };
        let sources = [
            ("Key Vault", vault),
            (endpoint::key(self.api), variable.to_owned()),
            (ENTRA, entra),
        ];
        let sources = sources.map(|(name, text)| (name.to_owned(), text));
        let identities = Way::ALL.into_iter().map(|way| {
            let text = match (
                self.identities.not_tried(way),
                way,
                &self.identities.client_id,
            ) {
                (Some(why), ..) => why.to_owned(),
                (None, Way::ManagedIdentity | Way::WorkloadIdentity, Some(id)) => {
                    format!("for vault and Entra, client id {id}")
                }
                (None, ..) => "for vault and Entra".into(),
            };
            (way.to_string(), text)
        });
        sources.into_iter().chain(identities).collect()
    }
}

fn attempt(way: &str, failure: Failure) -> Attempt {
    Attempt {
        way: way.into(),
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Surroundings;
    use std::time::Duration;

    fn settings(auth: Auth, key: Option<&str>) -> Settings {
        Settings {
            api: Api::Azure,
            auth,
            vault: VaultChoice::NotTried("not tried, --no-keyvault"),
            key: key.map(Secret::new),
            entra_scope: "https://cognitiveservices.azure.com/.default".into(),
            identities: Identities {
                only: None,
                client_id: None,
                surroundings: Surroundings::default(),
                connect_timeout: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
            },
            clock: Clock::system(),
        }
    }

    #[tokio::test]
    async fn without_a_vault_the_variable_is_used() {
        let credential = settings(Auth::Key, Some("k")).obtain().await.unwrap();
        assert_eq!(credential.header().await.value.to_str().unwrap(), "k");
        assert!(credential.advice().contains("AZURE_OPENAI_API_KEY"));
    }

    #[tokio::test]
    async fn without_anything_everything_is_listed() {
        let error = settings(Auth::Key, None).obtain().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no credential for the service; tried in this order:\
             \n  - Key Vault: not tried, --no-keyvault\
             \n  - AZURE_OPENAI_API_KEY: not set\
             \n  - Entra token for the model: not tried, --auth is key"
        );
    }

    #[test]
    fn the_outline_shows_no_secret() {
        let settings = settings(Auth::Key, Some("hunter2"));
        assert!(!format!("{:?}{settings:?}", settings.outline()).contains("hunter2"));
    }
}
