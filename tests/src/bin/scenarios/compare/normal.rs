//! Requests without what is never the same twice, so that they can be compared.

use serde_json::{Map, Value, json};

use super::app::Request;

/// What is not compared, as this project wrote it on both sides and the app reads none of it: place, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    ("/headers/traceparent", "written by .NET's HTTP client"),
    (
        "/headers/user-agent",
        "in the host's sources, but not in real-host",
    ),
    ("/headers/accept", "written by the double's HTTP client"),
    (
        "/body/Data/req/Headers",
        "their names are written in another case",
    ),
    (
        "/body/Data/req/Params",
        "real-host has no nulls for what the path leaves out",
    ),
];

/// The metadata that are compared. The rest is binding data from messages, requests and blobs, of which real-host has
/// only some.
const METADATA: [&str; 10] = [
    "DequeueCount",
    "ExpirationTime",
    "Id",
    "InsertionTime",
    "NextVisibleTime",
    "PopReceipt",
    "sys",
    "Uri",
    "dataset",
    "name",
];

/// What it is about, beside the function.
pub(super) fn about(deed: &Value) -> String {
    let data = &deed["body"]["Data"];
    let data = match data.get("req") {
        Some(req) => json!([req["Method"], req["Url"]]),
        None => data.clone(),
    };
    data.to_string()
}

/// A request as it can be compared. Storage is at `blobs`.
pub(super) fn request(request: &Request, blobs: &str) -> Value {
    let mut headers = request.headers.clone();
    headers["host"] = json!("<host>");
    headers["x-azure-functions-invocationid"] = json!("<id>");
    let body = request.body.replace(blobs, "<storage>");
    let mut body: Value = serde_json::from_str(&body).unwrap_or(json!(request.body));
    if let Some(url) = body.pointer_mut("/Data/req/Url") {
        let text = url.as_str().unwrap_or_default();
        let path = text.find("/api/").and_then(|at| text.get(at..));
        *url = json!(path.unwrap_or_default());
    }
    if let Some(metadata) = body.get_mut("Metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| METADATA.contains(&name.as_str()));
        volatile(metadata);
    }
    // Whether bytes are a JSON text within a string like all other texts differs, and the app takes both.
    if let Some(bytes) = body.pointer_mut("/Data/marker") {
        let once = bytes
            .as_str()
            .and_then(|text| serde_json::from_str::<String>(text).ok());
        *bytes = once.map_or(bytes.clone(), Value::from);
    }
    let mut deed = json!({ "method": request.method, "headers": headers, "body": body });
    for (place, _) in LEFT_OUT {
        let (parent, name) = place.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = deed.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(name);
        }
    }
    deed
}

/// Replaces times and random values by what kind of value they are.
fn volatile(metadata: &mut Map<String, Value>) {
    for (name, value) in metadata {
        let text = value.as_str().unwrap_or_default();
        match name.as_str() {
            "ExpirationTime" | "InsertionTime" | "NextVisibleTime" => {
                let is_date = text.parse::<jiff::Timestamp>().is_ok();
                *value = json!(if is_date { "<date>" } else { "<no date>" });
            }
            "PopReceipt" => *value = json!(kind(text)),
            // A message may bring its own.
            "Id" if text.len() > 30 => *value = json!(kind(text)),
            "sys" => {
                let sys = value.as_object_mut();
                for (name, value) in sys.into_iter().flatten() {
                    if name != "MethodName" {
                        *value = json!("<volatile>");
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether a text is a JSON text within a string, as the host hands over strings.
fn kind(text: &str) -> &'static str {
    match serde_json::from_str::<String>(text) {
        Ok(_) => "<text within a text>",
        Err(_) => "<text>",
    }
}

/// The text of a message, with the ends of lines of one machine only.
pub(super) fn text(text: String) -> String {
    text.replace("\r\n", "\n")
}

/// Adds in words where two values differ.
pub(super) fn differ(place: &str, real: &Value, double: &Value, differences: &mut Vec<String>) {
    match (real, double) {
        (Value::Object(real), Value::Object(double)) => {
            let names = real.keys().chain(double.keys());
            let names = names.collect::<std::collections::BTreeSet<_>>();
            for name in names {
                let of = |object: &Map<String, Value>| object.get(name).cloned();
                let place = format!("{place} /{name}");
                match (of(real), of(double)) {
                    (Some(real), Some(double)) => differ(&place, &real, &double, differences),
                    (real, double) => differences.push(format!(
                        "{place}: {} by the real host, {} by the double",
                        shown(real.as_ref()),
                        shown(double.as_ref())
                    )),
                }
            }
        }
        _ if real == double => {}
        _ => differences.push(format!(
            "{place}: {real} by the real host, {double} by the double"
        )),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), Value::to_string)
}
