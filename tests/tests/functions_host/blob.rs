//! Blob triggers.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::functions_host::{Host, Options};
use softlabel_doubles::storage::Storage;
use softlabel_doubles::until;

use super::harness::*;

/// An app that watches an account of its own for data.
struct Data {
    app: App,
    storage: Storage,
    options: Options,
}

impl Data {
    async fn new(script: Value) -> Self {
        Self::with_source(script, "LogsAndContainerScan").await
    }

    async fn with_source(script: Value, source: &str) -> Self {
        let app = App::new().await;
        let trigger = json!({
            "type": "blobTrigger", "direction": "in", "name": "metadata",
            "path": "%BELOW%/{dataset}/metadata.json", "connection": "Data", "source": source,
        });
        app.function("uploaded", json!([trigger]));
        let account = Azurite::shared().await.unwrap().account().unwrap();
        let options = app
            .options()
            .setting("Data", account.connection_string())
            .setting("BELOW", "raw/base")
            .setting("ON_UPLOADED", script.to_string());
        let storage = account.storage();
        storage.container("raw").create().await.unwrap();
        Self {
            app,
            storage,
            options,
        }
    }

    async fn put(&self, path: &str, content: &'static str) {
        self.storage
            .container("raw")
            .put(path, content)
            .await
            .unwrap();
    }

    async fn start(&self) -> Host {
        Host::start(self.options.clone()).await.unwrap()
    }
}

#[tokio::test]
async fn a_blob_comes_whole_with_what_its_path_says() {
    let data = Data::new(json!({})).await;
    // What was there before counts as well.
    data.put("base/d 1/metadata.json", "{\"Uri\": \"x\"}").await;
    let host = data.start().await;
    let invocations = ended(&host, 1).await;
    assert_eq!(invocations[0].subject, "raw/base/d 1/metadata.json");
    assert_eq!(invocations[0].dequeue_count, Some(1));
    let body = data.app.received().remove(0).body;
    assert_eq!(
        body["Data"]["metadata"],
        BASE64_STANDARD.encode("{\"Uri\": \"x\"}")
    );
    let metadata = &body["Metadata"];
    assert_eq!(metadata["dataset"], "\"d 1\"");
    let url = data
        .storage
        .container("raw")
        .url("base/d 1/metadata.json")
        .unwrap();
    assert_eq!(metadata["Uri"], format!("\"{url}\""));
    assert_eq!(metadata["Properties"]["ContentLength"], 12);
    assert!(
        metadata["Properties"]["ETag"]
            .as_str()
            .unwrap()
            .starts_with("\"0x")
    );
}

#[tokio::test]
async fn a_blob_fires_once_for_each_etag_and_a_name_matches_slashes() {
    let data = Data::new(json!({})).await;
    let host = data.start().await;
    data.put("base/d1/metadata.json", "1").await;
    ended(&host, 1).await;
    data.put("base/d1/other.json", "1").await;
    data.put("base/metadata.json", "1").await;
    data.put("d2/metadata.json", "1").await;
    data.put("base/a/b/metadata.json", "1").await;
    ended(&host, 2).await;
    data.put("base/d1/metadata.json", "2").await;
    ended(&host, 3).await;
    host.stop().await;

    // Receipts outlive the host.
    let again = data.start().await;
    data.put("base/d3/metadata.json", "1").await;
    let invocations = [host.invocations(), ended(&again, 1).await].concat();
    let subjects = invocations
        .iter()
        .map(|invocation| invocation.subject.as_str());
    let expected = [
        "raw/base/d1/metadata.json",
        "raw/base/a/b/metadata.json",
        "raw/base/d1/metadata.json",
        "raw/base/d3/metadata.json",
    ];
    assert_eq!(subjects.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn several_hosts_fire_a_blob_once() {
    let data = Data::new(json!({})).await;
    let (one, other) = (data.start().await, data.start().await);
    for dataset in ["a", "b", "c", "d", "e"] {
        data.put(&format!("base/{dataset}/metadata.json"), "1")
            .await;
    }
    let all = async || Ok(data.app.received().len() >= 5);
    until(HANG, "all were delivered", all).await.unwrap();
    one.stop().await;
    other.stop().await;
    assert_eq!(one.invocations().len() + other.invocations().len(), 5);
}

#[tokio::test]
async fn a_blob_with_which_a_function_fails_goes_to_the_poison_queue_of_its_account() {
    let mut data = Data::new(json!({ "status": 500 })).await;
    let threshold = "AzureFunctionsJobHost__extensions__blobs__poisonBlobThreshold";
    data.options = data.options.setting(threshold, "3");
    let host = data.start().await;
    data.put("base/d1/metadata.json", "1").await;
    let poison = data.storage.queue("webjobs-blobtrigger-poison");
    let moved = async || Ok(poison.count().await? == 1);
    until(HANG, "the blob is poison", moved).await.unwrap();
    let counts = host
        .invocations()
        .into_iter()
        .map(|invocation| invocation.dequeue_count.unwrap());
    assert_eq!(counts.collect::<Vec<_>>(), [1, 2, 3]);
    let message = poison
        .get(1, Duration::from_secs(1))
        .await
        .unwrap()
        .remove(0);
    let message: Value =
        serde_json::from_slice(&BASE64_STANDARD.decode(message.text).unwrap()).unwrap();
    assert_eq!(message["BlobName"], "base/d1/metadata.json");
    assert_eq!(message["ContainerName"], "raw");
}

#[tokio::test]
async fn what_was_found_and_is_no_longer_so_is_passed_over() {
    let data = Data::new(json!({})).await;
    let host = data.start().await;
    data.put("base/d1/metadata.json", "1").await;
    ended(&host, 1).await;
    let queue = "azure-webjobs-blobtrigger-host-double";
    for (function, blob) in [
        // Another ETag, no blob, no function.
        ("Host.Functions.uploaded", "base/d1/metadata.json"),
        ("Host.Functions.uploaded", "base/d2/metadata.json"),
        ("Host.Functions.gone", "base/d1/metadata.json"),
    ] {
        let found = json!({
            "Type": "BlobTrigger", "FunctionId": function, "BlobType": "BlockBlob",
            "ContainerName": "raw", "BlobName": blob, "ETag": "\"0x1\"",
        });
        data.app.send(queue, found).await;
    }
    data.app.drained(queue).await;
    assert_eq!(host.invocations().len(), 1);
    assert_eq!(data.storage.queues().await.unwrap(), [""; 0]);
}

/// What Event Grid says of a blob.
fn event(data: &Data, path: &str, etag: &str) -> Value {
    let url = data.storage.container("raw").url(path).unwrap();
    json!({
        "eventType": "Microsoft.Storage.BlobCreated",
        "data": { "url": url.as_str(), "blobType": "BlockBlob", "eTag": etag },
    })
}

/// Calls the webhook and gives status and body.
async fn tell(host: &Host, function: &str, about: &str, body: &Value) -> (u16, String) {
    let url = format!(
        "{}/runtime/webhooks/blobs?functionName={function}",
        host.endpoint()
    );
    let request = reqwest::Client::new().post(url);
    let request = request.header("aeg-event-type", about).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// With Event Grid as the source `BlobQueueTriggerExecutor` looks neither at receipts nor at the ETag.
#[tokio::test]
async fn an_event_wakes_its_function_as_often_as_it_comes_whatever_its_etag() {
    let data = Data::with_source(json!({}), "EventGrid").await;
    data.put("base/d 1/metadata.json", "1").await;
    let host = data.start().await;
    let events = json!([
        event(&data, "base/d 1/metadata.json", "0x1"),
        event(&data, "base/d 1/metadata.json", "0x1"),
        event(&data, "base/d2/metadata.json", "0x1"),
        event(&data, "base/d 1/other.json", "0x1"),
    ]);
    let told = tell(&host, "Host.Functions.uploaded", "Notification", &events).await;
    assert_eq!(told.0, 202);
    let queue = "azure-webjobs-blobtrigger-host-double";
    data.app.drained(queue).await;
    let invocations = ended(&host, 2).await;
    let subjects = invocations.iter().map(|it| it.subject.as_str());
    let expected = ["raw/base/d 1/metadata.json"; 2];
    assert_eq!(subjects.collect::<Vec<_>>(), expected);
    let body = data.app.received().remove(0).body;
    assert_eq!(body["Metadata"]["dataset"], "\"d 1\"");
    // Nothing was looked for, and nothing noted.
    let own = data.app.storage.container("azure-webjobs-hosts");
    let own = own.list("blobreceipts/").await.unwrap_or_default();
    assert_eq!(own.len(), 0);
}

/// `HttpRequestProcessor` of the storage extension 5.3, asked itself.
#[tokio::test]
async fn the_webhook_answers_as_the_extension_does() {
    let data = Data::with_source(json!({}), "EventGrid").await;
    data.put("base/d1/metadata.json", "1").await;
    let host = data.start().await;
    let events = json!([event(&data, "base/d1/metadata.json", "0x1")]);
    let validation = json!([{ "data": { "validationCode": "a code" } }]);
    let ours = "Host.Functions.uploaded";
    let said = tell(&host, ours, "SubscriptionValidation", &validation).await;
    let answer = r#"{"validationResponse":"a code"}"#;
    assert_eq!(said, (200, answer.to_owned()));
    for (function, about, body, status) in [
        // Nobody is told that there is no such function.
        ("uploaded", "Notification", &events, 202),
        ("Host.Functions.gone", "Notification", &events, 202),
        (ours, "Unsubscribe", &events, 202),
        (ours, "Notification", &json!([]), 202),
        (ours, "Notification", &json!([{ "data": {} }]), 500),
        (ours, "Notification", &json!({}), 500),
        (ours, "SubscriptionValidation", &json!([]), 500),
        (ours, "Anything", &events, 400),
    ] {
        let said = tell(&host, function, about, body).await;
        assert_eq!(said.0, status, "{function} {about} {body}");
    }
    data.app
        .drained("azure-webjobs-blobtrigger-host-double")
        .await;
    assert_eq!(host.invocations(), []);
}
