//! The webhook by which Event Grid wakes blob triggers: `/runtime/webhooks/blobs?functionName=…&code=…`.
//!
//! The answers are those of the storage extension 5.3 (`HttpRequestProcessor`), as it gave them when asked.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::blob_trigger;
use super::instance::Instance;
use super::lines::Level;

/// Where it is.
pub(super) const PATH: &str = "/runtime/webhooks/blobs";

/// What a request is about: the header that says it.
const EVENT_TYPE: &str = "aeg-event-type";

/// Answers a request to it. `function` is the id of a function, as in `Host.Functions.dataset-uploaded`:
/// whether there is such a function is found out when the message is read, and nobody is told.
pub(super) async fn answer(
    instance: &Instance,
    function: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let about = headers
        .get(EVENT_TYPE)
        .and_then(|value| value.to_str().ok());
    match about {
        Some("SubscriptionValidation") => match validation_code(body) {
            Some(code) => json!({ "validationResponse": code })
                .to_string()
                .into_response(),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        Some("Notification") => match take(instance, function, body).await {
            Ok(()) => StatusCode::ACCEPTED.into_response(),
            Err(reason) => {
                let text = format!("The host, told of a blob: {reason:#}");
                instance.lines.of_host(Level::Error, text);
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        },
        Some("Unsubscribe") => StatusCode::ACCEPTED.into_response(),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn validation_code(body: &[u8]) -> Option<String> {
    let events = serde_json::from_slice::<Vec<Value>>(body).ok()?;
    let code = events.first()?.pointer("/data/validationCode")?.as_str()?;
    Some(code.to_owned())
}

async fn take(instance: &Instance, function: Option<&str>, body: &[u8]) -> anyhow::Result<()> {
    for event in serde_json::from_slice::<Vec<Value>>(body)? {
        blob_trigger::notified(instance, function, &event).await?;
    }
    Ok(())
}
