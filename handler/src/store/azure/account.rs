//! A storage account as this process reaches it.

use super::super::StoreError;
use super::Tuning;
use super::answer::{Meaning, failure, meaning};
use super::calls::Calls;
use super::connection::{Access, Connection, ConnectionError, is_loopback, locate};
use super::shared_key::SharedKey;
use crate::clock::Clock;
use crate::identity::{Identities, Way};
use azure_core::credentials::TokenCredential;
use azure_core::http::policies::Policy;
use azure_core::http::{ClientOptions, RetryOptions, Transport, Url};
use azure_storage_blob::{BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(10);

/// A storage account. Clones share connections and tokens.
#[derive(Clone)]
pub struct Account(Arc<Inner>);

struct Inner {
    service: BlobServiceClient,
    endpoint: Url,
    calls: Calls,
}

impl Account {
    /// Gets ready to use the account that `connection` names, as one of `identities` where it is not
    /// an emulator. Nothing is sent.
    pub fn new(
        connection: &Connection,
        identities: Identities,
        tuning: Tuning,
    ) -> Result<Self, ConnectionError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            // A redirect would carry a token to another host.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&connection.endpoint) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| unusable(&e))?;
        let transport = Transport::new(Arc::new(client));
        let credential = credential(connection, identities);
        Self::over(transport, connection, credential, tuning)
    }

    fn over(
        transport: Transport,
        connection: &Connection,
        credential: Option<Arc<dyn TokenCredential>>,
        tuning: Tuning,
    ) -> Result<Self, ConnectionError> {
        let mut signing: Vec<Arc<dyn Policy>> = Vec::new();
        if let Access::Key { account, key } = &connection.access {
            let signer = SharedKey::new(account, key, Clock::system());
            signing.push(Arc::new(signer.map_err(|e| unusable(&e))?));
        }
        let options = BlobServiceClientOptions {
            client_options: ClientOptions {
                per_try_policies: signing,
                retry: RetryOptions::none(),
                transport: Some(transport),
                ..Default::default()
            },
            ..Default::default()
        };
        let endpoint = connection.endpoint.clone();
        let service = BlobServiceClient::new(endpoint.clone(), credential, Some(options));
        Ok(Self(Arc::new(Inner {
            service: service.map_err(|e| unusable(&e))?,
            endpoint,
            calls: Calls(tuning),
        })))
    }

    /// Makes the container `name` unless it is there.
    pub async fn create_container(&self, name: &str) -> Result<(), StoreError> {
        let container = self.container(name);
        match self.0.calls.send(|| container.create(None)).await {
            Ok(_) => Ok(()),
            Err(error) if meaning(&error) == Meaning::Condition => Ok(()),
            Err(error) => Err(failure(error, "make", &self.locate(name, ""))),
        }
    }

    pub(super) fn container(&self, name: &str) -> BlobContainerClient {
        self.0.service.blob_container_client(name)
    }

    /// The URL of the account's blob service, with an emulator's account as its path.
    pub fn endpoint(&self) -> &str {
        self.0.endpoint.as_str()
    }

    /// The URL of a container or of what is in it, as people write it.
    pub fn locate(&self, container: &str, path: &str) -> String {
        locate(&self.0.endpoint, container, path)
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.0.calls
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.0.endpoint)
    }
}

/// What gives tokens; `None` for an emulator.
fn credential(connection: &Connection, identities: Identities) -> Option<Arc<dyn TokenCredential>> {
    match &connection.access {
        Access::Key { .. } => None,
        Access::AnyIdentity => Some(Arc::new(identities)),
        Access::ManagedIdentity { client_id } => Some(Arc::new(Identities {
            client_id: client_id.clone(),
            only: Some(Way::ManagedIdentity),
            ..identities
        })),
    }
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> ConnectionError {
    ConnectionError::Client {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Surroundings;
    use crate::store::{RawFolder, StoreError};
    use async_trait::async_trait;
    use azure_core::credentials::{AccessToken, TokenRequestOptions};
    use azure_core::http::headers::{AUTHORIZATION, Headers};
    use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};
    use azure_core::time::OffsetDateTime;
    use std::sync::Mutex;

    fn connection(pairs: &'static [(&str, &str)]) -> Connection {
        let setting = |name: &str| {
            let mut pairs = pairs.iter();
            pairs
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Connection::from_settings("Data", setting).unwrap()
    }

    const URI: (&str, &str) = ("Data__blobServiceUri", "https://acct.blob.core.windows.net");

    /// Notes scopes and requests, and answers every request with a status.
    #[derive(Debug)]
    struct Service {
        status: u16,
        seen: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl HttpClient for Service {
        async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
            let token = request.headers().get_optional_str(&AUTHORIZATION);
            let seen = format!("{} as {}", request.url(), token.unwrap_or("nobody"));
            self.seen.lock().unwrap().push(seen);
            let status = StatusCode::from(self.status);
            Ok(AsyncRawResponse::from_bytes(status, Headers::new(), ""))
        }
    }

    #[async_trait]
    impl TokenCredential for Service {
        async fn get_token(
            &self,
            scopes: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            self.seen.lock().unwrap().push(scopes.join(" "));
            let end = OffsetDateTime::now_utc() + Duration::from_secs(3600);
            Ok(AccessToken::new("token", end))
        }
    }

    #[tokio::test]
    async fn in_the_cloud_a_token_is_shown_and_kept() {
        let status = 403;
        let seen = Mutex::default();
        let service = Arc::new(Service { status, seen });
        let account = Account::over(
            Transport::new(Arc::clone(&service) as Arc<dyn HttpClient>),
            &connection(&[URI]),
            Some(Arc::clone(&service) as Arc<dyn TokenCredential>),
            Tuning::default(),
        );
        for path in ["base/v4", "base/v 5"] {
            let raw = RawFolder::azure(account.as_ref().unwrap(), "data", path).unwrap();
            let error = raw.version("train/a.json").await.unwrap_err();
            assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        }
        assert_eq!(
            *service.seen.lock().unwrap(),
            [
                "https://storage.azure.com/.default",
                "https://acct.blob.core.windows.net/data/base%2Fv4%2Ftrain%2Fa.json as Bearer token",
                "https://acct.blob.core.windows.net/data/base%2Fv%205%2Ftrain%2Fa.json as Bearer \
                 token",
            ]
        );
    }

    #[test]
    fn the_identity_is_the_one_that_the_connection_names() {
        let identities = Identities {
            client_id: Some("of the process".into()),
            only: None,
            surroundings: Surroundings::default(),
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let chosen = |connection| credential(&connection, identities.clone());
        let any = chosen(connection(&[URI]));
        assert_eq!(format!("{any:?}"), format!("Some({identities:?})"));
        let named = chosen(connection(&[URI, ("Data__clientId", "of the connection")]));
        let named = format!("{named:?}");
        assert!(
            named.contains("of the connection") && named.contains("ManagedIdentity"),
            "{named}"
        );
        assert!(chosen(connection(&[("Data", "UseDevelopmentStorage=true")])).is_none());
    }
}
