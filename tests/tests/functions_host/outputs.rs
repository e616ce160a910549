//! Queue outputs.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::functions_host::{Host, Invocation};

use super::harness::*;

/// An app whose function sends to two queues, and what becomes of a message
/// with these outputs.
async fn send(outputs: Value) -> (App, Host, Invocation) {
    let app = App::new().await;
    let (one, two) = (queue_output("first", "one"), queue_output("second", "two"));
    app.function("work", json!([queue_trigger("work"), one, two]));
    let script = json!({ "outputs": outputs }).to_string();
    let options = app.options().setting("ON_WORK", script);
    let host = Host::start(options).await.unwrap();
    app.send("work", "as the setting says").await;
    let invocation = ended(&host, 1).await.remove(0);
    (app, host, invocation)
}

#[tokio::test]
async fn an_array_is_one_message_for_each_element_and_names_of_no_binding_are_nothing() {
    let outputs =
        json!({ "first": [{ "a": "ä" }, "text", 7], "second": { "b": 1 }, "third": ["x"] });
    let (app, _host, invocation) = send(outputs).await;
    assert!(succeeded(&invocation));
    let mut one = app.messages("one").await;
    one.sort_unstable();
    assert_eq!(one, ["7", "text", "{\n  \"a\": \"ä\"\n}"]);
    assert_eq!(app.messages("two").await, ["{\n  \"b\": 1\n}"]);
    assert_eq!(app.storage.queues().await.unwrap(), ["one", "two", "work"]);
}

#[tokio::test]
async fn a_string_that_could_be_base64_is_decoded() {
    let (app, _host, _) = send(json!({ "first": "label123", "second": "label-123" })).await;
    let stored = app.storage.queue("one").peek(1).await.unwrap();
    // Decoded once, and encoded again as every message is.
    assert_eq!(stored[0].text, "label123");
    let stored = app.storage.queue("two").peek(1).await.unwrap();
    assert_eq!(
        BASE64_STANDARD.decode(&stored[0].text).unwrap(),
        b"label-123"
    );
}

/// `WorkerFunctionInvoker.BindOutputsAsync` sends all bindings at once (`Task.WhenAll`), the messages of one in
/// order.
#[tokio::test]
async fn a_message_beyond_64_kb_fails_the_invocation_and_all_other_outputs_are_sent() {
    let large = "x y".repeat(20_000);
    let outputs = json!({ "first": ["before", large, "after"], "second": ["other"] });
    let (app, host, invocation) = send(outputs).await;
    assert!(
        failure(&invocation).contains("the output first"),
        "{invocation:?}"
    );
    // The message is tried again at once.
    host.stop().await;
    assert_eq!(app.messages("one").await[0], "before");
    assert!(!app.messages("one").await.contains(&"after".to_owned()));
    assert_eq!(app.messages("two").await[0], "other");
}
