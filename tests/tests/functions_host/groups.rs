//! Functions that scale apart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use softlabel_doubles::functions_host::{Groups, Scaling};
use softlabel_doubles::until;

use super::harness::*;

const SCALING: Scaling = Scaling {
    cold_start: Duration::from_millis(700),
    look: Duration::from_millis(100),
    idle: Duration::from_millis(500),
    most: 2,
};

/// Microsoft, "Flex Consumption plan": queue functions and timers scale on instances of their own, HTTP functions
/// share theirs, and so do blob triggers. Each hop of a message may wait for a cold start.
#[tokio::test]
async fn each_hop_starts_cold_on_an_instance_of_its_own_and_what_is_idle_ends() {
    let app = App::new().await;
    app.function(
        "first",
        json!([queue_trigger("first"), queue_output("out", "second")]),
    );
    app.queue_function("second");
    for name in ["one", "other"] {
        let trigger = json!({ "type": "httpTrigger", "direction": "in", "name": "req",
            "authLevel": "anonymous", "route": name });
        let answer = json!({ "type": "http", "direction": "out", "name": "res" });
        app.function(name, json!([trigger, answer]));
    }
    let groups = Groups::start(app.options(), SCALING).await.unwrap();
    assert_eq!(groups.hosts().len(), 0);
    let began = Instant::now();
    app.send("first", json!({ "outputs": { "out": [{ "n": 1 }] } }))
        .await;
    let both = async || {
        Ok(groups
            .invocations()
            .iter()
            .filter(|it| succeeded(it))
            .count()
            == 2)
    };
    until(HANG, "the message passed both queues", both)
        .await
        .unwrap();
    assert!(began.elapsed() >= 2 * SCALING.cold_start);

    let began = Instant::now();
    let call = async |name: &str| {
        let url = format!("{}/api/{name}", groups.endpoint());
        reqwest::get(url).await.unwrap().status().as_u16()
    };
    assert_eq!(call("one").await, 200);
    assert!(began.elapsed() >= SCALING.cold_start);
    assert_eq!(call("other").await, 200);
    let functions = groups.hosts();
    let functions = functions
        .iter()
        .map(|host| host.functions().collect::<Vec<_>>());
    let expected = [vec!["first"], vec!["one", "other"], vec!["second"]];
    assert_eq!(functions.collect::<BTreeSet<_>>(), expected.into());

    let idle = async || Ok(groups.hosts().iter().all(|host| host.stopped().is_some()));
    until(HANG, "every instance ended", idle).await.unwrap();
    // The next message starts one again.
    app.send("second", "x").await;
    app.drained("second").await;
    assert_eq!(groups.hosts().len(), 4);
    groups.stop().await;
}

#[tokio::test]
async fn a_queue_has_as_many_instances_as_its_messages_fill_and_no_more_than_is_allowed() {
    let app = App::new().await;
    let queues = json!({ "batchSize": 2, "newBatchThreshold": 1 });
    app.host_json(json!({ "extensions": { "queues": queues } }));
    app.queue_function("work");
    for _ in 0..9 {
        app.send("work", json!({ "sleep_ms": 1500 })).await;
    }
    let groups = Groups::start(app.options(), SCALING).await.unwrap();
    app.drained("work").await;
    let busy = groups
        .hosts()
        .into_iter()
        .filter(|host| !host.invocations().is_empty());
    assert_eq!(busy.count(), SCALING.most);
    groups.stop().await;
}
