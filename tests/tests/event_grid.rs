//! The double of Event Grid over Azurite.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::event_grid::{EventGrid, Faults, Filter, Options, Webhook};
use softlabel_doubles::storage::{Container, Queue};
use softlabel_doubles::until;
use tokio::net::TcpListener;

/// Longer than anything here takes, even on a busy machine; only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

/// A container, its events, and the queue for them.
struct Topic {
    raw: Container,
    queue: Queue,
    events: EventGrid,
}

impl Topic {
    async fn with(filter: Value, faults: Faults) -> Self {
        let storage = Azurite::shared()
            .await
            .unwrap()
            .account()
            .unwrap()
            .storage();
        let (raw, queue) = (storage.container("raw"), storage.queue("written"));
        raw.create().await.unwrap();
        queue.create().await.unwrap();
        raw.put("old.json", "[]").await.unwrap();
        let options = Options {
            polling: Duration::from_millis(20),
            faults,
            ..Options::new(
                raw.clone(),
                serde_json::from_value(filter).unwrap(),
                queue.clone(),
            )
        };
        let events = EventGrid::start(options).await.unwrap();
        Self { raw, queue, events }
    }

    /// Waits for so many messages, and returns the events in them.
    async fn messages(&self, count: usize) -> Vec<Value> {
        let enough = async || Ok(self.queue.peek(32).await?.len() >= count);
        until(HANG, "enough events came", enough).await.unwrap();
        let messages = self.queue.peek(32).await.unwrap().into_iter();
        let events = messages.map(|message| {
            let text = BASE64_STANDARD.decode(message.text).unwrap();
            serde_json::from_slice(&text).unwrap()
        });
        events.collect()
    }

    /// Waits until the event about a blob was seen, and so all before it.
    async fn seen(&self, blob: &str) {
        let seen = async || {
            let log = self.events.log();
            Ok(log
                .iter()
                .any(|delivery| delivery.event["subject"].as_str().unwrap().ends_with(blob)))
        };
        until(HANG, "the event was seen", seen).await.unwrap();
    }
}

fn created() -> Value {
    json!({ "includedEventTypes": ["Microsoft.Storage.BlobCreated"] })
}

#[tokio::test]
async fn each_way_to_write_a_blob_causes_an_event_in_the_schema() {
    let topic = Topic::with(created(), Faults::default()).await;
    let etag = topic.raw.put("base/d 1/a.json", "[1, 2]").await.unwrap();
    topic.raw.put_blocks("b.json", ["[1,", "2]"]).await.unwrap();
    topic
        .raw
        .copy_from(&topic.raw, "old.json", "c.json")
        .await
        .unwrap();
    let events = topic.messages(3).await;
    let by_api = |api: &str| {
        let mut found = events.iter().filter(|event| event["data"]["api"] == api);
        found
            .next()
            .unwrap_or_else(|| panic!("no {api} in {events:#?}"))
    };
    assert!(
        by_api("PutBlockList")["subject"]
            .as_str()
            .unwrap()
            .ends_with("/b.json")
    );
    assert!(
        by_api("CopyBlob")["subject"]
            .as_str()
            .unwrap()
            .ends_with("/c.json")
    );
    let event = by_api("PutBlob");
    assert_eq!(
        event["subject"],
        "/blobServices/default/containers/raw/blobs/base/d 1/a.json"
    );
    assert_eq!(event["eventType"], "Microsoft.Storage.BlobCreated");
    let data = &event["data"];
    assert_eq!(data["eTag"], etag);
    assert_eq!(data["contentLength"], 6);
    assert_eq!(data["contentType"], "application/json");
    assert_eq!(data["blobType"], "BlockBlob");
    assert_eq!(
        data["url"],
        topic.raw.url("base/d 1/a.json").unwrap().as_str()
    );
    assert!(data["sequencer"].is_string() && data["storageDiagnostics"]["batchId"].is_string());
    assert!(
        event["topic"]
            .as_str()
            .unwrap()
            .contains("/storageAccounts/")
    );
    assert!(event["id"].is_string() && event["eventTime"].is_string());
    assert_eq!(
        (&event["dataVersion"], &event["metadataVersion"]),
        (&json!(""), &json!("1"))
    );
}

#[tokio::test]
async fn a_blob_that_is_replaced_or_deleted_causes_another_event() {
    let topic = Topic::with(json!({}), Faults::default()).await;
    topic.raw.put("a.json", "1").await.unwrap();
    let first = topic.messages(1).await[0]["data"]["eTag"].clone();
    let second = topic.raw.put("a.json", "2").await.unwrap();
    let events = topic.messages(2).await;
    assert!(
        events
            .iter()
            .any(|event| event["data"]["eTag"] == second.as_str())
    );
    assert_ne!(first, second.as_str());
    topic.raw.put_blocks("a.json", ["3", "4"]).await.unwrap();
    topic.messages(3).await;
    let copied = topic
        .raw
        .copy_from(&topic.raw, "old.json", "a.json")
        .await
        .unwrap();
    let events = topic.messages(4).await;
    let last = events
        .iter()
        .find(|event| event["data"]["eTag"] == copied.as_str());
    assert_eq!(last.unwrap()["data"]["api"], "CopyBlob");
    topic.raw.delete("old.json").await.unwrap();
    let events = topic.messages(5).await;
    let deleted = events
        .iter()
        .find(|event| event["data"]["api"] == "DeleteBlob")
        .unwrap();
    assert_eq!(deleted["eventType"], "Microsoft.Storage.BlobDeleted");
}

#[tokio::test]
async fn the_filter_decides_what_comes() {
    let filter = json!({
        "subjectBeginsWith": "/blobServices/default/containers/raw/blobs/base/",
        "subjectEndsWith": ".json",
        "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
        "advancedFilters": [
            { "operatorType": "StringNotContains", "key": "subject", "values": ["/LABELED_"] },
        ],
    });
    let topic = Topic::with(filter, Faults::default()).await;
    for blob in [
        "other/a.json",
        "base/a.txt",
        "base/LABELED_d/a.json",
        "base/d/a.json",
    ] {
        topic.raw.put(blob, "1").await.unwrap();
    }
    topic.raw.delete("old.json").await.unwrap();
    topic.raw.put("base/z.json", "1").await.unwrap();
    topic.seen("base/z.json").await;
    let subjects = topic.events.log();
    assert_eq!(subjects.len(), 2, "{subjects:#?}");
    assert!(
        subjects[0].event["subject"]
            .as_str()
            .unwrap()
            .ends_with("base/d/a.json")
    );
}

#[tokio::test]
async fn events_come_twice_or_never_where_that_is_wanted() {
    let always = Faults {
        twice: 1.0,
        longest_delay: Duration::from_millis(50),
        ..Faults::default()
    };
    let topic = Topic::with(created(), always).await;
    topic.raw.put("a.json", "1").await.unwrap();
    let events = topic.messages(2).await;
    assert_eq!(events[0], events[1]);

    let some = Faults {
        seed: 5,
        lost: 0.5,
        late: 0.5,
        reordered: 1.0,
        longest_delay: Duration::from_millis(50),
        ..Faults::default()
    };
    let topic = Topic::with(created(), some).await;
    for number in 0..20 {
        topic.raw.put(&format!("{number}.json"), "1").await.unwrap();
    }
    let all = async || Ok(topic.events.log().len() == 20);
    until(HANG, "all events were seen", all).await.unwrap();
    let delivered = topic
        .events
        .log()
        .iter()
        .map(|delivery| delivery.times)
        .sum::<u32>();
    assert!((4..=16).contains(&delivered), "{delivered}");
    assert_eq!(
        topic.messages(delivered as usize).await.len(),
        delivered as usize
    );
}

#[tokio::test]
async fn the_destination_must_be_there() {
    let storage = Azurite::shared()
        .await
        .unwrap()
        .account()
        .unwrap()
        .storage();
    let options = Options::new(
        storage.container("raw"),
        Filter::default(),
        storage.queue("none"),
    );
    let refused = EventGrid::start(options).await.unwrap_err();
    assert!(refused.to_string().contains("queue none"), "{refused}");
}

/// A server that answers the handshake with the code or without, and takes down what else it is sent.
async fn webhook(honest: bool) -> (String, Arc<Mutex<Vec<Value>>>) {
    let taken = Arc::<Mutex<Vec<Value>>>::default();
    let log = Arc::clone(&taken);
    let answer = async move |headers: HeaderMap, Json(events): Json<Value>| {
        if headers["aeg-event-type"] == "SubscriptionValidation" {
            let code = events[0]["data"]["validationCode"].clone();
            return Json(json!({ "validationResponse": if honest { code } else { json!("") } }));
        }
        assert_eq!(headers["aeg-event-type"], "Notification");
        log.lock().unwrap().push(events);
        Json(json!({}))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, taken)
}

#[tokio::test]
async fn a_webhook_proves_that_it_wants_events_and_gets_one_in_a_request() {
    let raw = Azurite::shared().await.unwrap().account().unwrap();
    let raw = raw.storage().container("raw");
    raw.create().await.unwrap();
    let destination = Webhook::default();
    let options = Options::new(raw.clone(), Filter::default(), destination.clone());
    let error = EventGrid::start(options.clone()).await.unwrap_err();
    assert!(error.to_string().contains("leads nowhere"), "{error:#}");
    let (url, _) = webhook(false).await;
    destination.leads_to(Some(url));
    let error = EventGrid::start(options.clone()).await.unwrap_err();
    assert!(error.to_string().contains("handshake"), "{error:#}");

    let (url, taken) = webhook(true).await;
    destination.leads_to(Some(url));
    let _events = EventGrid::start(options).await.unwrap();
    raw.put("a.json", "1").await.unwrap();
    raw.put("b.json", "1").await.unwrap();
    let both = async || Ok(taken.lock().unwrap().len() == 2);
    until(HANG, "both events came", both).await.unwrap();
    for events in taken.lock().unwrap().iter() {
        assert_eq!(events.as_array().unwrap().len(), 1);
        assert_eq!(events[0]["eventType"], "Microsoft.Storage.BlobCreated");
    }
}
