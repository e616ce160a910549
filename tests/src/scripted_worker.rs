//! A custom handler that does what it is told, for tests of the Functions host and its double.
//!
//! Every request is first appended to the file that `RECORD` names, as a line of JSON. What to do then
//! comes from the message, where it is an object that says so, or else from the setting `ON_<FUNCTION>`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What to do with a request.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Script {
    stdout: Option<String>,
    stderr: Option<String>,
    sleep_ms: u64,
    exit: Option<i32>,
    status: u16,
    content_type: String,
    /// The whole body; without one it is the usual object with `outputs`.
    body: Option<String>,
    outputs: Map<String, Value>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            stdout: None,
            stderr: None,
            sleep_ms: 0,
            exit: None,
            status: 200,
            content_type: "application/json".to_owned(),
            body: None,
            outputs: Map::new(),
        }
    }
}

/// Answers requests on the port that the host says, until it is killed.
///
/// # Errors
/// When there is no port, or it is taken.
pub async fn serve() -> Result<()> {
    if let Some(code) = number("EXIT_AT_START") {
        std::process::exit(code);
    }
    if let Some(delay) = number("START_AFTER_MS") {
        tokio::time::sleep(Duration::from_millis(u64::try_from(delay)?)).await;
    }
    if let Some(code) = number("EXIT_AT_SIGTERM") {
        let mut signals = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            signals.recv().await;
            std::process::exit(code);
        });
    }
    let port = number("FUNCTIONS_CUSTOMHANDLER_PORT").context("there is no port")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, u16::try_from(port)?)).await?;
    let app = Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::disable());
    axum::serve(listener, app).await?;
    Ok(())
}

fn number(name: &str) -> Option<i32> {
    std::env::var(name).ok()?.parse().ok()
}

async fn answer(
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method == Method::GET && uri.path() == "/" {
        // Any answer will do.
        return StatusCode::IM_A_TEAPOT.into_response();
    }
    if let Err(reason) = record(&method, &uri.to_string(), &headers, &body) {
        return (StatusCode::INTERNAL_SERVER_ERROR, reason.to_string()).into_response();
    }
    let script = match script(uri.path(), &body) {
        Ok(script) => script,
        Err(reason) => {
            return (StatusCode::BAD_REQUEST, reason.to_string()).into_response();
        }
    };
    if let Some(line) = script.stdout {
        println!("{line}");
    }
    if let Some(line) = script.stderr {
        eprintln!("{line}");
    }
    tokio::time::sleep(Duration::from_millis(script.sleep_ms)).await;
    if let Some(code) = script.exit {
        std::process::exit(code);
    }
    let usual = json!({ "Outputs": script.outputs, "Logs": [], "ReturnValue": null });
    let body = script.body.unwrap_or_else(|| usual.to_string());
    let status = StatusCode::from_u16(script.status).unwrap_or(StatusCode::IM_A_TEAPOT);
    (status, [(CONTENT_TYPE, script.content_type)], body).into_response()
}

fn record(method: &Method, uri: &str, headers: &HeaderMap, body: &[u8]) -> Result<()> {
    let Ok(path) = std::env::var("RECORD") else {
        return Ok(());
    };
    let text =
        |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), text(value)));
    let line = json!({
        "method": method.as_str(),
        "uri": uri,
        "headers": headers.collect::<BTreeMap<_, _>>(),
        "body": String::from_utf8_lossy(body),
    });
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)?;
    // In one piece, as several requests are recorded at once.
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

/// The message decides, if it is a script; then the function's setting.
fn script(path: &str, body: &[u8]) -> Result<Script> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let data = request["Data"].as_object();
    let message = data.and_then(|data| data.values().next()?.as_str());
    let message = message.and_then(|doubled| serde_json::from_str::<String>(doubled).ok());
    let script = message.and_then(|text| serde_json::from_str(&text).ok());
    if let Some(script) = script {
        return Ok(script);
    }
    let name = path
        .trim_matches('/')
        .to_uppercase()
        .replace(['/', '-'], "_");
    match std::env::var(format!("ON_{name}")) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("ON_{name} is no script")),
        Err(_) => Ok(Script::default()),
    }
}
