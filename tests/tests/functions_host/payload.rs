//! What the worker is sent.

use serde_json::{Value, json};

use super::harness::*;

/// A request for a queue trigger as users have captured it from the real host.
const CAPTURE: &str = r#"
{"Data":{"queue":"\"hello!!\""},
 "Metadata":{"DequeueCount":"1","ExpirationTime":"2025-02-25T03:06:19+00:00","Id":"\"52d5\"",
   "InsertionTime":"2025-02-18T03:06:19+00:00","NextVisibleTime":"2025-02-18T03:16:19+00:00","PopReceipt":"\"MThG\"",
   "sys":{"MethodName":"queue","RandGuid":"…","UtcNow":"…Z"}}}"#;

fn keys(object: &Value) -> Vec<&String> {
    object.as_object().unwrap().keys().collect()
}

/// The text with every digit and letter of times and ids replaced.
fn form(value: &Value) -> String {
    let text = value.as_str().unwrap();
    text.chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect()
}

#[tokio::test]
async fn a_message_comes_as_it_was_captured() {
    let app = App::new().await;
    let mut trigger = queue_trigger("queue");
    trigger["name"] = json!("queue");
    app.function("queue", json!([trigger]));
    let host = app.start().await;
    app.send("queue", "hello!!").await;
    let invocations = ended(&host, 1).await;
    let received = app.received().remove(0);

    let capture: Value = serde_json::from_str(CAPTURE).unwrap();
    let (body, metadata) = (&received.body, &received.body["Metadata"]);
    assert_eq!(keys(body), keys(&capture));
    assert_eq!(body["Data"], capture["Data"]);
    assert_eq!(keys(metadata), keys(&capture["Metadata"]));
    assert_eq!(
        metadata["DequeueCount"],
        capture["Metadata"]["DequeueCount"]
    );
    for date in ["ExpirationTime", "InsertionTime", "NextVisibleTime"] {
        assert_eq!(form(&metadata[date]), form(&capture["Metadata"][date]));
    }
    for text in ["Id", "PopReceipt"] {
        let doubled = metadata[text].as_str().unwrap();
        assert!(
            serde_json::from_str::<String>(doubled).unwrap().len() > 3,
            "{doubled}"
        );
    }
    let sorted = |value: &serde_json::Value| {
        let mut names = value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>();
        names.sort();
        names
    };
    let (sys, captured) = (&metadata["sys"], &capture["Metadata"]["sys"]);
    assert_eq!(sorted(sys), sorted(captured));
    assert_eq!(metadata["sys"]["MethodName"], "queue");
    assert!(metadata["sys"]["UtcNow"].as_str().unwrap().ends_with('Z'));

    assert_eq!(
        (received.method.as_str(), received.uri.as_str()),
        ("POST", "/queue")
    );
    let headers = &received.headers;
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(headers["transfer-encoding"], "chunked");
    assert_eq!(headers["content-length"], Value::Null);
    assert_eq!(
        headers["x-azure-functions-invocationid"],
        invocations[0].id.as_str()
    );
    assert!(
        headers["x-azure-functions-hostversion"]
            .as_str()
            .unwrap()
            .starts_with("4.")
    );
}

#[tokio::test]
async fn json_stays_text_and_its_properties_replace_metadata() {
    let app = App::new().await;
    app.queue_function("work");
    let host = app.start().await;
    let event = r#"{"a":1,"id":"x","Id":"the event's","b":true,"c":{"d":[1]},"e":[1],"f":null}"#;
    app.send("work", event).await;
    ended(&host, 1).await;
    let body = app.received().remove(0).body;
    let doubled = body["Data"]["message"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<String>(doubled).unwrap(), event);
    let metadata = &body["Metadata"];
    assert_eq!(metadata["Id"], "\"the event's\"");
    assert_eq!(metadata["id"], "\"x\"");
    assert_eq!(metadata["a"], "\"1\"");
    assert_eq!(metadata["b"], "\"True\"");
    assert_eq!(metadata["c"], json!({ "d": [1] }));
    assert_eq!(
        (&metadata["e"], &metadata["f"]),
        (&Value::Null, &Value::Null)
    );

    // The shortest example: {"a":1} arrives as "\"{\\\"a\\\":1}\"".
    app.send("work", r#"{"a":1}"#).await;
    ended(&host, 2).await;
    let text = app.received().remove(1).text;
    assert!(text.contains(r#""\"{\\\"a\\\":1}\"""#), "{text}");
}
