//! The double's own surface, under a path that the service does not have: for those who drive a double
//! in another process.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};

use super::config::Config;
use super::log::Stats;
use super::service::Service;

const HELP: &str = "\
GET    /_double/log?since=N  records from number N on, one JSON object a line
DELETE /_double/log          forget records, counts and attempts
GET    /_double/asked        how often each message was asked about, one JSON object a line
GET    /_double/stats        sums over all requests
GET    /_double/config       the configuration that holds
PUT    /_double/config       replace it; what is left out takes its default (listen, log_file stay)
PATCH  /_double/config       change parts of it (JSON merge patch)
";

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/_double", get(|| async { HELP }))
        .route("/_double/", get(|| async { HELP }))
        .route("/_double/log", get(log).delete(clear))
        .route(
            "/_double/asked",
            get(|State(s): State<Arc<Service>>| async move { lines(&s.log.asked()) }),
        )
        .route(
            "/_double/stats",
            get(|State(s): State<Arc<Service>>| async move { json_body(&stats(&s)) }),
        )
        .route(
            "/_double/config",
            get(config).put(replace_config).patch(patch_config),
        )
}

/// Sums over all requests, with the time.
pub(super) fn stats(service: &Service) -> Stats {
    let service_s = service.settings().clock.now().as_secs_f64();
    Stats {
        service_s,
        ..service.log.stats()
    }
}

async fn log(State(service): State<Arc<Service>>, RawQuery(query): RawQuery) -> Response {
    let since = match query
        .as_deref()
        .map(|q| q.strip_prefix("since=").map(str::parse))
    {
        None => 0,
        Some(Some(Ok(since))) => since,
        Some(_) => return refused("expected ?since=N with the number of a record"),
    };
    lines(&service.log.records(since))
}

async fn clear(State(service): State<Arc<Service>>) -> StatusCode {
    service.log.clear();
    StatusCode::NO_CONTENT
}

async fn config(State(service): State<Arc<Service>>) -> Response {
    json_body(&service.settings().config)
}

async fn replace_config(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Config>(&body) {
        Ok(config) => put(&service, config),
        Err(reason) => refused(&reason.to_string()),
    }
}

async fn patch_config(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    let patched = serde_json::from_slice::<Value>(&body).and_then(|patch| {
        let mut config = serde_json::to_value(&service.settings().config)?;
        merge(&mut config, patch);
        serde_json::from_value::<Config>(config)
    });
    match patched {
        Ok(config) => put(&service, config),
        Err(reason) => refused(&reason.to_string()),
    }
}

fn put(service: &Service, config: Config) -> Response {
    match service.update(|current| *current = config) {
        Ok(()) => json_body(&service.settings().config),
        Err(reason) => refused(&format!("{reason:#}")),
    }
}

/// JSON merge patch: objects are merged, `null` removes, anything else replaces.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    into.remove(&name);
                } else {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch,
    }
}

fn refused(reason: &str) -> Response {
    let body = json!({ "error": reason }).to_string();
    (
        StatusCode::BAD_REQUEST,
        [("content-type", "application/json")],
        body,
    )
        .into_response()
}

fn json_body(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([("content-type", "application/json")], body).into_response(),
        Err(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason.to_string()).into_response(),
    }
}

fn lines(values: &[impl Serialize]) -> Response {
    let mut body = Vec::new();
    for value in values {
        if let Err(reason) = serde_json::to_writer(&mut body, value) {
            return (StatusCode::INTERNAL_SERVER_ERROR, reason.to_string()).into_response();
        }
        body.push(b'\n');
    }
    ([("content-type", "application/x-ndjson")], body).into_response()
}
