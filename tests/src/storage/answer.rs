//! Answers of the storage services.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use quick_xml::de::from_str;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The emulator answers within milliseconds; a request that takes this long is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request. An answer other than 2xx is an error.
pub(super) async fn good(request: RequestBuilder) -> Result<Response> {
    let response = any(request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    refused(response).await
}

/// Sends a request. 404 gives `None`, any other answer outside 2xx is an error.
pub(super) async fn found(request: RequestBuilder) -> Result<Option<Response>> {
    let response = any(request).await?;
    match response.status() {
        status if status.is_success() => Ok(Some(response)),
        StatusCode::NOT_FOUND => Ok(None),
        _ => refused(response).await,
    }
}

/// Sends a request about a message that was received. Where somebody else received it since, or deleted
/// it, that gives `None`; any other answer outside 2xx is an error.
pub(super) async fn held(request: RequestBuilder) -> Result<Option<Response>> {
    let response = any(request).await?;
    match response.status() {
        status if status.is_success() => Ok(Some(response)),
        StatusCode::NOT_FOUND => Ok(None),
        _ if code(&response) == "PopReceiptMismatch" => Ok(None),
        _ => refused(response).await,
    }
}

/// Sends a request with a condition. Where it does not hold, that gives `None`; any other answer outside
/// 2xx is an error.
pub(super) async fn unless_changed(request: RequestBuilder) -> Result<Option<Response>> {
    let response = any(request).await?;
    match response.status() {
        status if status.is_success() => Ok(Some(response)),
        StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED => Ok(None),
        _ => refused(response).await,
    }
}

/// Sends a request. An answer with that status gives `false`, 2xx `true`, any other is an error.
pub(super) async fn unless(request: RequestBuilder, status: StatusCode) -> Result<bool> {
    let response = any(request).await?;
    match response.status() {
        found if found.is_success() => Ok(true),
        found if found == status => Ok(false),
        _ => refused(response).await,
    }
}

async fn any(request: RequestBuilder) -> Result<Response> {
    let sent = request.timeout(PATIENCE).send().await;
    // The URL carries the signature.
    sent.map_err(reqwest::Error::without_url)
        .context("the storage service does not answer")
}

async fn refused<T>(response: Response) -> Result<T> {
    let status = response.status();
    let (path, code) = (response.url().path(), code(&response));
    bail!("the storage service refuses a request for {path}: {status}, {code}")
}

fn code(response: &Response) -> &str {
    let code = response.headers().get("x-ms-error-code");
    code.and_then(|code| code.to_str().ok())
        .unwrap_or("no code")
}

/// The body, read as XML.
pub(super) async fn xml<T: DeserializeOwned>(response: Response) -> Result<T> {
    let text = response.text().await.context("an answer is cut off")?;
    let text = text.trim_start_matches('\u{feff}');
    from_str(text).context("the storage service's answer cannot be read")
}

/// A list of containers or of queues.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Names {
    containers: Option<Entries>,
    queues: Option<Entries>,
}

#[derive(Debug, Deserialize)]
struct Entries {
    #[serde(rename = "Container", alias = "Queue", default)]
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
}

impl Names {
    pub(super) fn containers(self) -> Vec<String> {
        names(self.containers)
    }

    pub(super) fn queues(self) -> Vec<String> {
        names(self.queues)
    }
}

fn names(entries: Option<Entries>) -> Vec<String> {
    let entries = entries.into_iter().flat_map(|entries| entries.entries);
    entries.map(|entry| entry.name).collect()
}
