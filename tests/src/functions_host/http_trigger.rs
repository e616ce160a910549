//! Functions that HTTP requests wake: the host's own server.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::function::{Function, Trigger};
use super::instance::{Call, Execution, Instance};
use super::payload::{Payload, doubled};
use super::{route, webhook};

/// What the real host takes.
const LARGEST: usize = 100 << 20;

pub(super) fn router(instance: Arc<Instance>) -> Router {
    Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(instance)
}

/// Values of the names in a route; an optional one may have none.
type Parameters = Vec<(String, Option<String>)>;

/// A request from outside.
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: BTreeMap<String, String>,
    body: Bytes,
}

async fn answer(
    State(instance): State<Arc<Instance>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path() == "/" {
        return "Your Functions 4.0 app is up and running".into_response();
    }
    let mut query = BTreeMap::<String, String>::new();
    for (name, value) in pairs {
        // A name that comes twice has both values, as .NET joins them.
        let values = query.entry(name).or_default();
        if !values.is_empty() {
            values.push(',');
        }
        values.push_str(&value);
    }
    if uri.path() == webhook::PATH && method == Method::POST {
        let function = query.get("functionName").map(String::as_str);
        return webhook::answer(&instance, function, &headers, &body).await;
    }
    let request = Request {
        method,
        uri,
        headers,
        query,
        body,
    };
    // A method that the function does not name is not found, either: the host has no 405.
    let Some((function, parameters)) = find(&instance, &request) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !is_open(&instance, &function, &request) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let subject = format!("{} {}", request.method, request.uri.path());
    let call = Call {
        function: &function,
        subject: &subject,
        dequeue_count: None,
    };
    if instance.app.proxies_http && function.is_plain_http() {
        return forward(&instance, call, &request).await;
    }
    let payload = payload(&function, &request, &parameters);
    match instance.execute(call, &payload).await {
        Execution::Succeeded(outputs) => {
            let output = function.http_output().and_then(|name| outputs.get(name));
            respond(output.unwrap_or(&Value::Null))
        }
        Execution::Failed => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Execution::Abandoned => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The function that a request is for, with the values in its path.
fn find(instance: &Instance, request: &Request) -> Option<(Arc<Function>, Parameters)> {
    let segments = request
        .uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty());
    let mut segments = segments.map(route::decode);
    let mut prefix = instance
        .app
        .route_prefix
        .split('/')
        .filter(|part| !part.is_empty());
    if !prefix.all(|part| {
        segments
            .next()
            .is_some_and(|found| found.eq_ignore_ascii_case(part))
    }) {
        return None;
    }
    let path = segments.collect::<Vec<_>>();
    let fitting = instance.app.functions.iter().filter_map(|function| {
        let Trigger::Http { route, methods, .. } = &function.trigger else {
            return None;
        };
        let method = request.method.as_str();
        if !methods.is_empty() && !methods.iter().any(|allowed| allowed == method) {
            return None;
        }
        Some((route.rank(), function, route.matches(&path)?))
    });
    let (_, function, values) = fitting.min_by(|(a, ..), (b, ..)| a.cmp(b))?;
    Some((Arc::clone(function), values))
}

fn is_open(instance: &Instance, function: &Function, request: &Request) -> bool {
    let Trigger::Http { anonymous, .. } = function.trigger else {
        return false;
    };
    let header = request.headers.get("x-functions-key");
    let header = header.and_then(|value| value.to_str().ok());
    let shown = header.or_else(|| request.query.get("code").map(String::as_str));
    anonymous || shown == Some(instance.options.function_key.as_str())
}

fn payload(
    function: &Function,
    request: &Request,
    parameters: &[(String, Option<String>)],
) -> Payload {
    let host = request
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let mut headers = Map::new();
    for (name, value) in &request.headers {
        let values = headers.entry(title_case(name)).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(String::from_utf8_lossy(value.as_bytes()).into());
        }
    }
    let named = parameters
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)));
    let mut value = json!({
        "Url": format!("http://{}{}", host.unwrap_or_default(), request.uri),
        "Method": request.method.as_str(),
        "Query": request.query,
        "Headers": headers,
        "Params": named.collect::<Map<_, _>>(),
        "Identities": [],
    });
    // A body in chunks has no length, and is lost.
    let has_length = request.headers.contains_key(CONTENT_LENGTH);
    if has_length && !request.body.is_empty() {
        value["Body"] = Value::from(match is_binary(&request.headers) {
            true => BASE64_STANDARD.encode(&request.body),
            false => String::from_utf8_lossy(&request.body).into_owned(),
        });
    }
    let payload = Payload::new(&function.binding, value)
        .with("Query", json!(request.query))
        .with("Headers", Value::Object(headers));
    // What has no value is in `Params`, as null, but not among the binding data.
    let named = parameters
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pairs = request.query.iter().chain(named);
    pairs.fold(payload, |payload, (name, value)| {
        payload.with(name, doubled(&Value::from(value.as_str())))
    })
}

fn is_binary(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    content_type.starts_with("application/octet-stream") || content_type.starts_with("multipart/")
}

/// `content-type` as ASP.NET shows it: `Content-Type`.
fn title_case(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

/// The answer that a function wants to be given.
fn respond(output: &Value) -> Response {
    let field = |names: &[&str]| {
        let mut fields = output.as_object().into_iter().flatten();
        fields.find_map(|(name, value)| {
            names
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
                .then_some(value)
        })
    };
    let status = match field(&["statusCode", "status"]) {
        Some(Value::Number(number)) => number
            .as_u64()
            .and_then(|number| u16::try_from(number).ok()),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let status = StatusCode::from_u16(status.unwrap_or(200));
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (content_type, body) = match field(&["body"]) {
        None | Some(Value::Null) => (None, Vec::new()),
        Some(Value::String(text)) => (Some("text/plain; charset=utf-8"), text.clone().into_bytes()),
        Some(value) => {
            let body = value.to_string().into_bytes();
            (Some("application/json; charset=utf-8"), body)
        }
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    for (name, value) in field(&["headers"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let name = HeaderName::try_from(name.as_str());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&text)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Gives the worker the request as it came, and the caller the worker's answer.
async fn forward(instance: &Instance, call: Call<'_>, request: &Request) -> Response {
    let response = instance.forward(call, |http, port| {
        let url = format!("http://127.0.0.1:{port}{}", request.uri);
        let mut headers = request.headers.clone();
        for own in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(own);
        }
        let url = Url::parse(&url).map_or_else(|_| url.clone(), String::from);
        http.request(request.method.clone(), url)
            .headers(headers)
            .body(request.body.clone())
    });
    let Some(response) = response.await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (status, mut headers) = (response.status(), response.headers().clone());
    headers.remove(TRANSFER_ENCODING);
    match response.bytes().await {
        Ok(body) => (status, headers, body).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
