//! A double of the endpoint where a Function App asks for its managed identity's tokens.
//!
//! **It is a simulation of documents**: nobody compared it with the platform itself.
//!
//! # What it models
//!
//! The form of App Service: `IDENTITY_ENDPOINT` with the header `X-IDENTITY-HEADER`, `api-version`,
//! `resource` and `client_id`; 401 for a wrong header, 400 for what is missing or for an identity that
//! is not assigned; dates as text. As the platform does, it hands out the same token again until half of
//! its life is over, or [`ManagedIdentity::renew_tokens`] is called.
//!
//! A token names its number and its audience, so that other doubles can check it and tests recognise it.
//!
//! # What it does not model
//!
//! Virtual machines' own token service, Service Fabric, Arc; tokens that are JWTs; the time that a change
//! takes to be seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;

use crate::epoch;
use crate::loopback::Server;

/// What goes into `IDENTITY_HEADER`.
pub const HEADER: &str = "the-header-that-only-this-app-knows";

const BETWEEN: &str = "-for-";

/// A running endpoint. Dropping it stops it.
#[derive(Debug)]
pub struct ManagedIdentity {
    endpoint: Arc<Mutex<Endpoint>>,
    server: Server,
}

/// A request as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// What a token was asked for.
    pub resource: Option<String>,
    /// The user-assigned identity that was named.
    pub client_id: Option<String>,
    /// What was answered.
    pub status: u16,
    /// The token handed out.
    pub token: Option<String>,
}

#[derive(Debug)]
struct Endpoint {
    /// The only user-assigned identity there is.
    client_id: String,
    lifetime: Duration,
    issued: u32,
    /// Token and second of its end, by resource.
    tokens: BTreeMap<String, (String, u64)>,
    closed: bool,
    log: Vec<TokenRequest>,
}

/// The audience that a token of this double names.
pub fn audience(token: &str) -> Option<&str> {
    token.split_once(BETWEEN).map(|(_, audience)| audience)
}

impl ManagedIdentity {
    /// Starts an endpoint that knows the system-assigned identity and one with this client id. Its
    /// tokens live for an hour.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(client_id: &str) -> Result<Self> {
        let endpoint = Arc::new(Mutex::new(Endpoint {
            client_id: client_id.to_owned(),
            lifetime: Duration::from_secs(3_600),
            issued: 0,
            tokens: BTreeMap::new(),
            closed: false,
            log: Vec::new(),
        }));
        let app = axum::Router::new()
            .route("/msi/token", get(answer))
            .with_state(Arc::clone(&endpoint));
        Ok(Self {
            endpoint,
            server: Server::start(app).await?,
        })
    }

    /// What goes into `IDENTITY_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("{}/msi/token", self.server.endpoint())
    }

    /// How long tokens live that are issued from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        lock(&self.endpoint).lifetime = lifetime;
    }

    /// Forgets the tokens issued: who asks next gets a new one.
    pub fn renew_tokens(&self) {
        lock(&self.endpoint).tokens.clear();
    }

    /// Answers 500 to everybody, or no longer.
    pub fn set_closed(&self, closed: bool) {
        lock(&self.endpoint).closed = closed;
    }

    /// What was asked, in order.
    pub fn log(&self) -> Vec<TokenRequest> {
        lock(&self.endpoint).log.clone()
    }
}

async fn answer(
    State(endpoint): State<Arc<Mutex<Endpoint>>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut endpoint = lock(&endpoint);
    let known = headers
        .get("x-identity-header")
        .is_some_and(|value| value == HEADER);
    let resource = query.get("resource").cloned();
    let client_id = query.get("client_id").cloned();
    let outcome = endpoint.issue(known, &query);
    let (status, token) = match &outcome {
        Ok((token, _)) => (StatusCode::OK, Some(token.clone())),
        Err((status, _)) => (*status, None),
    };
    endpoint.log.push(TokenRequest {
        resource: resource.clone(),
        client_id: client_id.clone(),
        status: status.as_u16(),
        token,
    });
    let body = match outcome {
        Ok((token, end)) => json!({
            "access_token": token,
            "expires_on": end.to_string(),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": client_id.unwrap_or_else(|| "the-system-assigned-identity".to_owned()),
        }),
        Err((status, message)) => json!({ "statusCode": status.as_u16(), "message": message }),
    };
    (status, Json(body)).into_response()
}

impl Endpoint {
    fn issue(
        &mut self,
        known: bool,
        query: &BTreeMap<String, String>,
    ) -> Result<(String, u64), (StatusCode, &'static str)> {
        if !known {
            return Err((StatusCode::UNAUTHORIZED, "Invalid X-IDENTITY-HEADER"));
        }
        if self.closed {
            let message = "The managed identity service is unavailable";
            return Err((StatusCode::INTERNAL_SERVER_ERROR, message));
        }
        if query.get("api-version").map(String::as_str) != Some("2019-08-01") {
            return Err((StatusCode::BAD_REQUEST, "Unsupported api-version"));
        }
        let Some(resource) = query.get("resource") else {
            return Err((StatusCode::BAD_REQUEST, "The resource is missing"));
        };
        if query
            .get("client_id")
            .is_some_and(|id| *id != self.client_id)
        {
            let message = "No User Assigned or Delegated Managed Identity found for specified \
                           ClientId/ResourceId/PrincipalId.";
            return Err((StatusCode::BAD_REQUEST, message));
        }
        let now = epoch::now();
        if let Some((token, end)) = self.tokens.get(resource)
            && *end > now + self.lifetime.as_secs() / 2
        {
            return Ok((token.clone(), *end));
        }
        self.issued += 1;
        let token = format!("token-{}{BETWEEN}{resource}", self.issued);
        let end = now + self.lifetime.as_secs();
        self.tokens.insert(resource.clone(), (token.clone(), end));
        Ok((token, end))
    }
}

fn lock(endpoint: &Mutex<Endpoint>) -> MutexGuard<'_, Endpoint> {
    endpoint.lock().unwrap_or_else(PoisonError::into_inner)
}
