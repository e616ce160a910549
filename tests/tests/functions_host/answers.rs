//! What the host makes of the worker's answers.

use std::time::Duration;

use serde_json::{Value, json};
use softlabel_doubles::functions_host::Invocation;

use super::harness::*;

/// What becomes of a message with which the worker does this.
async fn outcome_of(script: Value) -> (App, Invocation) {
    let app = App::new().await;
    app.host_json(json!({ "functionTimeout": "00:00:01" }));
    app.function(
        "work",
        json!([queue_trigger("work"), queue_output("out", "sent")]),
    );
    let host = app.start().await;
    app.send("work", script).await;
    let invocation = ended(&host, 1).await.remove(0);
    host.stop().await;
    (app, invocation)
}

#[tokio::test]
async fn an_object_is_success_and_other_json_is_not() {
    let (_, invocation) = outcome_of(json!({ "body": "{\"Outputs\":{}}" })).await;
    assert!(succeeded(&invocation));
    let (_, invocation) = outcome_of(json!({ "body": "[]" })).await;
    assert!(failure(&invocation).contains("no object"));
}

#[tokio::test]
async fn text_is_failure_even_with_a_good_status() {
    let script = json!({ "body": "OK", "content_type": "text/plain" });
    let (_, invocation) = outcome_of(script).await;
    assert!(failure(&invocation).contains("text/plain"));
}

#[tokio::test]
async fn outputs_of_a_failure_are_not_sent() {
    let (app, invocation) = outcome_of(json!({ "status": 400, "outputs": { "out": ["x"] } })).await;
    assert!(failure(&invocation).contains("400"));
    assert!(!app.storage.queue("sent").exists().await.unwrap());
    let (app, invocation) = outcome_of(json!({ "status": 201, "outputs": { "out": ["x"] } })).await;
    assert!(succeeded(&invocation));
    assert_eq!(app.messages("sent").await, ["x"]);
}

#[tokio::test]
async fn an_empty_answer_hangs_until_the_functions_time_is_over() {
    let (_, invocation) = outcome_of(json!({ "body": "" })).await;
    assert!(failure(&invocation).contains("time is over"));
    let took = invocation.ended.unwrap() - invocation.started;
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn when_a_functions_time_is_over_the_worker_is_replaced_and_its_siblings_fail() {
    let app = App::new().await;
    app.host_json(json!({ "functionTimeout": "00:00:02" }));
    app.queue_function("slow");
    app.queue_function("sibling");
    let host = app.start().await;
    let first = host.worker_pid().unwrap();
    app.send("slow", json!({ "sleep_ms": 60_000 })).await;
    let begun = async || Ok(app.received().len() == 1);
    softlabel_doubles::until(HANG, "it has begun", begun)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.send("sibling", json!({ "sleep_ms": 60_000 })).await;
    let invocations = ended(&host, 2).await;
    let of = |function: &str| {
        let mut found = invocations
            .iter()
            .filter(|invocation| invocation.function == function);
        found.next().unwrap()
    };
    assert!(failure(of("slow")).contains("time is over"));
    assert!(
        failure(of("sibling")).contains("does not answer"),
        "{invocations:#?}"
    );
    let took = of("sibling").ended.unwrap() - of("sibling").started;
    assert!(took < Duration::from_secs(2), "{took:?}");

    // This is no exit of the worker's own: the host goes on, however often it happens.
    ended(&host, 8).await;
    assert_ne!(host.worker_pid(), Some(first));
    assert_eq!(host.stopped(), None);
}
