//! A double of Key Vault, as far as reading secrets goes.
//!
//! **It is a simulation of documents**: nobody compared it with the service itself.
//!
//! # What it models
//!
//! `GET /secrets/NAME` and `/secrets/NAME/`: the 401 with a challenge to whoever brings no token or one
//! for another audience, 403 to an identity without rights, 404 `SecretNotFound`, 400 without
//! `api-version`, and the secret with its attributes. Secrets can be rotated and given a date of expiry
//! while it runs. Tokens are those of [`ManagedIdentity`](crate::managed_identity::ManagedIdentity): it reads
//! the audience out of them.
//!
//! # What it does not model
//!
//! TLS and the vault's name (a client must be led here), versions other than the latest, writing, lists,
//! deletion, throttling, network rules, and the time that role assignments take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Json;
use axum::extract::{OriginalUri, Query, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::epoch;
use crate::loopback::Server;
use crate::managed_identity::audience;

/// The audience of a vault's tokens.
pub const AUDIENCE: &str = "https://vault.azure.net";

const CHALLENGE: &str = "Bearer authorization=\"https://login.microsoftonline.com/\
                         00000000-0000-0000-0000-000000000001\", resource=\"https://vault.azure.net\"";

/// A running vault. Dropping it stops it.
#[derive(Debug)]
pub struct KeyVault {
    vault: Arc<Mutex<Vault>>,
    server: Server,
}

/// A request as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The path asked for.
    pub path: String,
    /// The bearer token, if there was one.
    pub token: Option<String>,
    /// What was answered.
    pub status: u16,
}

#[derive(Debug, Default)]
struct Vault {
    secrets: BTreeMap<String, Secret>,
    closed: bool,
    log: Vec<Reading>,
}

#[derive(Debug, Clone, Default)]
struct Secret {
    value: String,
    version: u32,
    expires: Option<u64>,
}

impl KeyVault {
    /// Starts an empty vault that lets every identity read.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let vault = Arc::new(Mutex::new(Vault::default()));
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&vault));
        Ok(Self {
            vault,
            server: Server::start(app).await?,
        })
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Puts a secret in, or a new version of it.
    pub fn set_secret(&self, name: &str, value: &str) {
        let mut vault = lock(&self.vault);
        let secret = vault.secrets.entry(name.to_owned()).or_default();
        secret.value = value.to_owned();
        secret.version += 1;
    }

    /// Gives a secret a date of expiry, in seconds of the epoch.
    pub fn set_expiry(&self, name: &str, expires: u64) {
        let mut vault = lock(&self.vault);
        vault.secrets.entry(name.to_owned()).or_default().expires = Some(expires);
    }

    /// Takes the right to read from every identity, or gives it back.
    pub fn set_closed(&self, closed: bool) {
        lock(&self.vault).closed = closed;
    }

    /// What was asked, in order.
    pub fn log(&self) -> Vec<Reading> {
        lock(&self.vault).log.clone()
    }

    /// How often a secret was handed out.
    pub fn handed_out(&self) -> usize {
        let log = self.log();
        log.iter().filter(|reading| reading.status == 200).count()
    }
}

async fn answer(
    State(vault): State<Arc<Mutex<Vault>>>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut vault = lock(&vault);
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let response = vault.read(uri.path(), &query, token);
    vault.log.push(Reading {
        path: uri.path().to_owned(),
        token: token.map(str::to_owned),
        status: response.status().as_u16(),
    });
    response
}

impl Vault {
    fn read(&self, path: &str, query: &BTreeMap<String, String>, token: Option<&str>) -> Response {
        let Some(token) = token else {
            let message = "AKV10000: Request is missing a Bearer or PoP token.";
            return challenge(message);
        };
        match audience(token) {
            Some(AUDIENCE) => {}
            other => {
                let found = other.unwrap_or("nothing");
                return challenge(&format!(
                    "AKV10022: Invalid audience. Expected {AUDIENCE}, found: {found}."
                ));
            }
        }
        if !query.contains_key("api-version") {
            let message = "api-version must be specified";
            return error(StatusCode::BAD_REQUEST, "BadParameter", message);
        }
        if self.closed {
            let message = "Caller is not authorized to perform action on resource.\r\nIf role \
                           assignments, deny assignments or role definitions were changed recently, \
                           please observe propagation time.\r\nCaller: appid=1;oid=2;iss=3\r\nAction: \
                           'Microsoft.KeyVault/vaults/secrets/getSecret/action'";
            let body = json!({ "error": {
                "code": "Forbidden", "message": message, "innererror": { "code": "ForbiddenByRbac" },
            }});
            return (StatusCode::FORBIDDEN, Json(body)).into_response();
        }
        let name = path.strip_prefix("/secrets/").unwrap_or_default();
        let name = name.trim_end_matches('/');
        match self.secrets.get(name) {
            Some(secret) => Json(secret.bundle(name)).into_response(),
            None => error(
                StatusCode::NOT_FOUND,
                "SecretNotFound",
                &format!(
                    "A secret with (name/id) {name} was not found in this key vault. If you recently \
                     deleted this secret you may be able to recover it using the correct recovery \
                     command. For help resolving this issue, please see \
                     https://go.microsoft.com/fwlink/?linkid=2125182"
                ),
            ),
        }
    }
}

impl Secret {
    fn bundle(&self, name: &str) -> Value {
        let now = epoch::now();
        let version = format!("{:032x}", self.version);
        let mut attributes = json!({
            "enabled": true,
            "created": now,
            "updated": now,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        });
        if let (Some(expires), Some(attributes)) = (self.expires, attributes.as_object_mut()) {
            attributes.insert("exp".to_owned(), json!(expires));
        }
        json!({
            "value": self.value,
            "id": format!("https://double.vault.azure.net/secrets/{name}/{version}"),
            "attributes": attributes,
            "tags": {},
        })
    }
}

fn challenge(message: &str) -> Response {
    let mut response = error(StatusCode::UNAUTHORIZED, "Unauthorized", message);
    let value = axum::http::HeaderValue::from_static(CHALLENGE);
    response.headers_mut().insert(WWW_AUTHENTICATE, value);
    response
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "error": { "code": code, "message": message } });
    (status, Json(body)).into_response()
}

fn lock(vault: &Mutex<Vault>) -> MutexGuard<'_, Vault> {
    vault.lock().unwrap_or_else(PoisonError::into_inner)
}
