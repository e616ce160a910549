//! Who this process is for Entra: a managed identity, a workload identity, or the user of `az login`
//! or `azd login`, tried in this order.
//!
//! Nothing is kept from one token to the next: the SDK's own credentials would give the same token
//! again, even one that the service has just refused. So each token is fresh, unless the platform's
//! endpoint caches it.

mod attempts;
mod secret;

pub use attempts::{Attempt, Failure, NoCredential};
pub use secret::Secret;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{
    ClientOptions, ExponentialRetryOptions, HttpClient, RetryOptions, Transport,
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialOptions, ClientAssertionCredentialOptions, Executor,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Where virtual machines ask for tokens.
const IMDS: &str = "169.254.169.254:80";

/// Elsewhere nothing answers there, and packets to it may vanish.
const IMDS_PROBE: Duration = Duration::from_secs(1);

/// Tries of a request to a token endpoint or a vault, beyond the first.
const RETRIES: u32 = 2;

/// A way to learn who this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The identity that Azure gives to a Function App or a virtual machine.
    ManagedIdentity,
    /// The identity of a Kubernetes service account.
    WorkloadIdentity,
    /// The user who has signed in to the Azure CLI.
    Az,
    /// The user who has signed in to the Azure Developer CLI.
    Azd,
}

impl Way {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 4] = [
        Self::ManagedIdentity,
        Self::WorkloadIdentity,
        Self::Az,
        Self::Azd,
    ];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManagedIdentity => "managed identity",
            Self::WorkloadIdentity => "workload identity",
            Self::Az => "az login",
            Self::Azd => "azd login",
        })
    }
}

/// Which variables of the platform are set, as far as identities depend on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `IDENTITY_ENDPOINT` or `MSI_ENDPOINT`: the platform gives out a managed identity's tokens.
    pub identity_endpoint: bool,
    /// `AZURE_FEDERATED_TOKEN_FILE`: the pod has the token of a service account.
    pub token_file: bool,
    /// `AZURE_TENANT_ID`: the tenant of the workload identity is known.
    pub tenant: bool,
}

impl Surroundings {
    /// The variables of this process; one that is set to nothing counts as not set.
    pub fn of_process() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            identity_endpoint: set("IDENTITY_ENDPOINT") || set("MSI_ENDPOINT"),
            token_file: set("AZURE_FEDERATED_TOKEN_FILE"),
            tenant: set("AZURE_TENANT_ID"),
        }
    }
}

/// Who this process may be for Entra, and how long it waits for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// The client id of a user-assigned identity; without one the system-assigned identity is meant.
    pub client_id: Option<String>,
    /// The only way to try; by default all are tried in order.
    pub only: Option<Way>,
    /// What the platform has put into the environment, which decides what is tried.
    pub surroundings: Surroundings,
    /// For a connection to a token endpoint.
    pub connect_timeout: Duration,
    /// For the token of one way, and for a single request.
    pub timeout: Duration,
}

impl Identities {
    /// Why `way` is not even tried, if so.
    pub fn not_tried(&self, way: Way) -> Option<&'static str> {
        let Surroundings {
            identity_endpoint,
            token_file,
            tenant,
        } = self.surroundings;
        let workload = token_file && tenant && self.client_id.is_some();
        match way {
            // A pod that has an identity of its own must not take its node's.
            Way::ManagedIdentity if workload && !identity_endpoint => {
                Some("not tried, as a workload identity is set")
            }
            Way::WorkloadIdentity if !token_file => {
                Some("not tried, AZURE_FEDERATED_TOKEN_FILE is not set")
            }
            Way::WorkloadIdentity if !tenant => Some("not tried, AZURE_TENANT_ID is not set"),
            Way::WorkloadIdentity if !workload => Some("not tried, AZURE_CLIENT_ID is not set"),
            _ => None,
        }
    }

    /// A fresh token for `scope`, from the first way that gives one.
    pub(crate) async fn token(&self, scope: &str) -> Result<AccessToken, Failure> {
        let mut attempts = Vec::new();
        for way in self.only.map_or(Way::ALL.to_vec(), |way| vec![way]) {
            let failure = match self.not_tried(way) {
                Some(why) => Failure::new(why),
                None => match tokio::time::timeout(self.timeout, self.ask(way, scope)).await {
                    Ok(Ok(token)) => {
                        tracing::info!(%way, scope, "a token was obtained");
                        return Ok(token);
                    }
                    Ok(Err(failure)) => failure,
                    Err(_) => Failure::new(format!(
                        "no token within {} s (--credential-timeout)",
                        self.timeout.as_secs_f64()
                    )),
                },
            };
            attempts.push(Attempt {
                way: way.to_string(),
                failure,
            });
        }
        Err(Failure::because(
            format!("no identity gives a token for {scope}"),
            attempts,
        ))
    }

    async fn ask(&self, way: Way, scope: &str) -> Result<AccessToken, Failure> {
        if way == Way::ManagedIdentity && !self.surroundings.identity_endpoint {
            find_imds(IMDS_PROBE.min(self.timeout)).await?;
        }
        let credential = self.credential(way).map_err(|error| explain(&error))?;
        let token = credential.get_token(&[scope], None).await;
        token.map_err(|error| explain(&error))
    }

    fn credential(&self, way: Way) -> Result<Arc<dyn TokenCredential>, Error> {
        Ok(match way {
            Way::ManagedIdentity => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: self.client_id.clone().map(UserAssignedId::ClientId),
                    // The endpoint is on this machine, no proxy knows it.
                    client_options: client_options(self.http(|builder| builder.no_proxy())?),
                }))?
            }
            Way::WorkloadIdentity => {
                let client_options = client_options(self.http(|builder| builder)?);
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: self.client_id.clone(),
                    ..Default::default()
                }))?
            }
            Way::Az => AzureCliCredential::new(Some(AzureCliCredentialOptions {
                executor: Some(Arc::new(Shell)),
                ..Default::default()
            }))?,
            Way::Azd => {
                AzureDeveloperCliCredential::new(Some(AzureDeveloperCliCredentialOptions {
                    executor: Some(Arc::new(Shell)),
                    ..Default::default()
                }))?
            }
        })
    }

    pub(crate) fn http(
        &self,
        with: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Arc<dyn HttpClient>, Error> {
        let builder = reqwest::Client::builder()
            .connect_timeout(self.connect_timeout)
            .timeout(self.timeout)
            // A redirect would carry a secret to another host.
            .redirect(reqwest::redirect::Policy::none());
        let client = with(builder).build();
        let client = client.map_err(|error| Error::new(ErrorKind::Other, error))?;
        Ok(Arc::new(client))
    }
}

#[async_trait]
impl TokenCredential for Identities {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let scope = scopes.first().copied().unwrap_or_default();
        self.token(scope)
            .await
            .map_err(|failure| Error::new(ErrorKind::Credential, failure))
    }
}

/// Finds out whether this is a virtual machine of Azure, before its tokens are waited for.
async fn find_imds(patience: Duration) -> Result<(), Failure> {
    match tokio::time::timeout(patience, tokio::net::TcpStream::connect(IMDS)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Failure::new(
            "there is none here: IDENTITY_ENDPOINT is not set, and no virtual machine's token \
             service answers",
        )),
    }
}

/// Options under which the SDK sends through `client`, with few and short retries.
pub(crate) fn client_options(client: Arc<dyn HttpClient>) -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::exponential(ExponentialRetryOptions {
            max_retries: RETRIES,
            ..Default::default()
        }),
        transport: Some(Transport::new(client)),
        ..Default::default()
    }
}

/// Runs `az` and `azd`; they are killed when the wait for them is given up.
#[derive(Debug)]
struct Shell;

#[async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        tokio::process::Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
    }
}

/// The SDK's error in a few words on one line: what happened, not which of its types says so.
pub(crate) fn explain(error: &Error) -> Failure {
    let mut below: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = below {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.clone();
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return Failure::new(cause(error));
        }
        // Its own words may quote the answer, and so a secret.
        if error.is::<serde_json::Error>() {
            return Failure::new("its answer cannot be read");
        }
        below = error.source();
    }
    let text = error.to_string();
    let text = text.split("\nTo troubleshoot").next().unwrap_or_default();
    let text = text
        .split_once("authentication failed.")
        .map_or(text, |(_, reason)| reason);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = text.trim_end_matches('.').chars().take(400);
    Failure::new(shown.collect::<String>())
}

/// An error of an HTTP connection in a few words: its kind and its innermost cause, without the URL.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "time-out".to_owned();
    }
    let kind = match error.is_connect() {
        true => "no connection",
        false => "connection broken",
    };
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("{kind}: {innermost}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities(surroundings: Surroundings, client_id: Option<&str>) -> Identities {
        Identities {
            only: None,
            client_id: client_id.map(str::to_owned),
            surroundings,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_is_tried_follows_the_surroundings() {
        use Way::{Az, Azd, ManagedIdentity, WorkloadIdentity};
        let tried = |identity_endpoint, token_file, tenant, client_id| {
            let surroundings = Surroundings {
                identity_endpoint,
                token_file,
                tenant,
            };
            let identities = identities(surroundings, client_id);
            Way::ALL
                .into_iter()
                .filter(|&w| identities.not_tried(w).is_none())
                .collect::<Vec<_>>()
        };
        assert_eq!(tried(false, false, false, None), [ManagedIdentity, Az, Azd]);
        assert_eq!(
            tried(true, false, false, Some("id")),
            [ManagedIdentity, Az, Azd]
        );
        assert_eq!(
            tried(false, true, true, Some("id")),
            [WorkloadIdentity, Az, Azd]
        );
        assert_eq!(tried(false, true, true, None), [ManagedIdentity, Az, Azd]);
        assert_eq!(
            tried(true, true, true, Some("id")),
            [ManagedIdentity, WorkloadIdentity, Az, Azd]
        );
    }

    #[test]
    fn errors_are_told_in_few_words() {
        let error = Error::with_message(
            ErrorKind::Credential,
            "ManagedIdentityCredential authentication failed. The request failed: is a\n teapot.\n\
             To troubleshoot, visit https://aka.ms/x",
        );
        assert_eq!(
            explain(&error).to_string(),
            "The request failed: is a teapot"
        );
        let failure = Failure::new("down");
        let error = Error::with_error(
            ErrorKind::Other,
            Error::new(ErrorKind::Credential, failure.clone()),
            "something around it",
        );
        assert_eq!(explain(&error), failure);
        let unreadable = serde_json::from_str::<u8>("\"hunter2\"").unwrap_err();
        let error = Error::new(ErrorKind::DataConversion, unreadable);
        assert_eq!(explain(&error).to_string(), "its answer cannot be read");
    }
}
