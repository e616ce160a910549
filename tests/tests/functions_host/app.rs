//! Apps that cannot be run, and settings that change them.

use serde_json::{Value, json};
use softlabel_doubles::functions_host::{Host, Options};

use super::harness::*;

async fn refusal(options: Options) -> String {
    format!("{:#}", Host::start(options).await.unwrap_err())
}

#[tokio::test]
async fn what_is_wrong_with_an_app_is_said() {
    let app = App::new().await;
    let wrong = |binding: Value| {
        app.function("work", json!([binding]));
        refusal(app.options())
    };
    let error = wrong(json!({ "type": "kafkaTrigger", "direction": "in", "name": "x" })).await;
    assert!(
        error.contains("kafkaTrigger") && error.contains("work/function.json"),
        "{error}"
    );
    let error = wrong(queue_output("out", "x")).await;
    assert!(error.contains("this one has 0"), "{error}");
    let mut trigger = queue_trigger("%QUEUE%");
    let error = wrong(trigger.clone()).await;
    assert!(error.contains("'%QUEUE%' does not resolve"), "{error}");
    trigger["queueName"] = json!("q");
    trigger["connection"] = json!("Other");
    let error = wrong(trigger).await;
    assert!(error.contains("no connection Other"), "{error}");

    app.queue_function("work");
    app.host_json(json!({ "extensionBundle": null }));
    assert!(refusal(app.options()).await.contains("extensionBundle"));
    app.host_json(json!({ "version": "1.0" }));
    assert!(refusal(app.options()).await.contains("2.0"));
    let error = refusal(Options::new(app.path("nowhere"))).await;
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test]
async fn settings_change_host_json_fill_in_names_and_switch_functions_off() {
    let app = App::new().await;
    app.function("work", json!([queue_trigger("%QUEUE%")]));
    app.queue_function("off");
    // One level deeper there are no functions.
    std::fs::create_dir_all(app.path("functions/deep")).unwrap();
    std::fs::write(app.path("functions/deep/function.json"), "no JSON").unwrap();
    let options = app
        .options()
        .setting("QUEUE", "orders")
        .setting("AzureWebJobs.off.Disabled", "true")
        .setting(
            "AzureFunctionsJobHost__extensions__queues__maxDequeueCount",
            "1",
        );
    let host = Host::start(options).await.unwrap();
    app.send("off", "x").await;
    app.send("orders", json!({ "status": 500 })).await;
    ended(&host, 1).await;
    app.drained("orders").await;
    assert_eq!(app.messages("orders-poison").await.len(), 1);
    assert_eq!(app.messages("off").await, ["x"]);
}
