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
        let app = App::new().await;
        let trigger = json!({
            "type": "blobTrigger", "direction": "in", "name": "metadata",
            "path": "%DATA%/{dataset}/metadata.json", "connection": "Data",
        });
        app.function("uploaded", json!([trigger]));
        let account = Azurite::shared().await.unwrap().account().unwrap();
        let options = app
            .options()
            .setting("Data", account.connection_string())
            .setting("DATA", "raw/base")
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
