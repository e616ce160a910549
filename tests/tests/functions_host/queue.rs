//! Queue triggers and queue outputs.

use serde_json::json;

use super::harness::*;

#[tokio::test]
async fn a_message_wakes_its_function_and_is_gone_when_that_succeeded() {
    let app = App::new().await;
    app.function(
        "first",
        json!([queue_trigger("first"), queue_output("out", "second")]),
    );
    app.queue_function("second");
    let host = app.start().await;
    app.send(
        "first",
        json!({ "outputs": { "out": [{ "n": 1 }, { "n": 2 }] } }),
    )
    .await;

    let invocations = ended(&host, 3).await;
    assert!(invocations.iter().all(succeeded), "{invocations:#?}");
    let mut subjects = invocations
        .iter()
        .map(|invocation| invocation.subject.as_str());
    assert!(subjects.next().unwrap().contains("outputs"));
    let mut subjects = subjects.collect::<Vec<_>>();
    subjects.sort_unstable();
    assert_eq!(subjects, ["{\n  \"n\": 1\n}", "{\n  \"n\": 2\n}"]);
    app.drained("first").await;
    app.drained("second").await;
}
