//! Queue triggers.

use std::time::{Duration, Instant};

use serde_json::json;
use softlabel_doubles::functions_host::{Host, Invocation, Options, Outcome};
use softlabel_doubles::until;

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

#[tokio::test]
async fn a_message_that_fails_is_tried_so_often_and_then_goes_to_the_poison_queue() {
    let app = App::new().await;
    app.host_json(json!({ "extensions": { "queues": { "maxDequeueCount": 3 } } }));
    app.queue_function("work");
    let host = app.start().await;
    let message = json!({ "status": 500, "stdout": "as told" }).to_string();
    app.send("work", &message).await;
    app.drained("work").await;
    let invocations = host.invocations();
    assert_eq!(dequeue_counts(&invocations), [1, 2, 3]);
    for invocation in &invocations {
        assert_eq!(invocation.subject, message);
        assert!(failure(invocation).contains("500"), "{invocation:?}");
    }
    assert_eq!(app.messages("work-poison").await, [message]);
}

fn dequeue_counts(invocations: &[Invocation]) -> Vec<u32> {
    let counts = invocations.iter().map(|it| it.dequeue_count.unwrap());
    counts.collect()
}

/// `QueueListenerFactory.CreatePoisonQueueReference` gives a queue named `-poison` no poison queue, and without
/// one `QueueProcessor.CompleteProcessingMessageAsync` does not release a message that failed: it is invisible
/// for the rest of its lease, whatever `visibilityTimeout` says. `BeginProcessingMessageAsync` hands over none
/// that was received more than `maxDequeueCount` times, and nothing deletes it.
#[tokio::test]
async fn what_fails_in_a_poison_queue_waits_for_its_lease_and_stays_there_in_the_end() {
    let app = App::new().await;
    let queues = json!({ "maxDequeueCount": 2, "visibilityTimeout": "00:00:00" });
    app.host_json(json!({ "extensions": { "queues": queues } }));
    app.queue_function("work-poison");
    let lease = Duration::from_secs(2);
    let options = Options {
        lease,
        ..app.options()
    };
    let host = Host::start(options).await.unwrap();
    app.send("work-poison", json!({ "status": 500 })).await;
    let invocations = ended(&host, 2).await;
    let between = invocations[1].started - invocations[0].ended.unwrap();
    // Queues count whole seconds.
    assert!(between >= lease / 2, "{between:?}");
    // It comes twice more, and is not handed over.
    let queue = app.storage.queue("work-poison");
    let refused = async || {
        let visible = queue.peek(1).await?;
        Ok(visible.iter().any(|message| message.dequeue_count >= 3))
    };
    until(HANG, "it was received once more", refused)
        .await
        .unwrap();
    assert_eq!(dequeue_counts(&host.invocations()), [1, 2]);
    assert_eq!(queue.count().await.unwrap(), 1);
    let queues = app.storage.queues().await.unwrap();
    assert_eq!(queues, ["work-poison"]);
}

#[tokio::test]
async fn a_message_that_was_received_too_often_is_poison_without_being_tried() {
    let app = App::new().await;
    app.host_json(json!({ "extensions": { "queues": { "maxDequeueCount": 1 } } }));
    app.queue_function("work");
    app.send("work", "x").await;
    let queue = app.storage.queue("work");
    let mut message = queue.get(1, HANG).await.unwrap().remove(0);
    queue.update(&mut message, Duration::ZERO).await.unwrap();
    let host = app.start().await;
    app.drained("work").await;
    assert_eq!(app.messages("work-poison").await, ["x"]);
    assert_eq!(host.invocations(), []);
}

#[tokio::test]
async fn a_message_that_failed_for_the_last_time_is_poison_at_once() {
    let app = App::new().await;
    let queues = json!({ "maxDequeueCount": 1, "visibilityTimeout": "00:10:00" });
    app.host_json(json!({ "extensions": { "queues": queues } }));
    app.queue_function("work");
    let _host = app.start().await;
    app.send("work", json!({ "status": 500 })).await;
    app.drained("work").await;
    assert_eq!(app.messages("work-poison").await.len(), 1);
}

#[tokio::test]
async fn a_retry_waits_for_the_visibility_timeout() {
    let app = App::new().await;
    app.host_json(json!({ "extensions": { "queues": { "visibilityTimeout": "00:00:02" } } }));
    app.queue_function("work");
    let host = app.start().await;
    app.send("work", json!({ "status": 500 })).await;
    let invocations = ended(&host, 2).await;
    let between = invocations[1].started - invocations[0].ended.unwrap();
    // Queues count whole seconds.
    assert!(between >= Duration::from_secs(1), "{between:?}");
}

#[tokio::test]
async fn a_message_is_not_given_to_others_for_as_long_as_its_function_runs() {
    let app = App::new().await;
    app.queue_function("work");
    let options = || Options {
        lease: Duration::from_secs(2),
        ..app.options()
    };
    let (one, other) = (
        Host::start(options()).await.unwrap(),
        Host::start(options()).await.unwrap(),
    );
    app.send("work", json!({ "sleep_ms": 5_000 })).await;
    app.drained("work").await;
    let invocations = [one.invocations(), other.invocations()].concat();
    assert_eq!(invocations.len(), 1, "{invocations:#?}");
    assert!(succeeded(&invocations[0]));
    let record = app.received();
    assert_eq!(record.len(), 1);
}

#[tokio::test]
async fn a_message_of_a_crashed_host_comes_back_when_its_lease_is_over() {
    let app = App::new().await;
    app.queue_function("work");
    let options = Options {
        lease: Duration::from_secs(2),
        ..app.options()
    };
    let host = Host::start(options.clone()).await.unwrap();
    app.send("work", json!({ "sleep_ms": 1_500 })).await;
    let begun = async || Ok(!host.invocations().is_empty());
    until(HANG, "the message is worked on", begun)
        .await
        .unwrap();
    let pid = host.worker_pid().unwrap();
    host.crash().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(host.invocations()[0].outcome, Some(Outcome::Abandoned));

    let queue = app.storage.queue("work");
    assert_eq!(queue.count().await.unwrap(), 1);
    assert_eq!(queue.peek(1).await.unwrap(), []);
    let other = Host::start(options).await.unwrap();
    let invocations = ended(&other, 1).await;
    assert_eq!(invocations[0].dequeue_count, Some(2));
    assert!(succeeded(&invocations[0]));
    app.drained("work").await;
}

#[tokio::test]
async fn no_more_messages_are_worked_on_at_once_than_batch_and_threshold_allow() {
    let app = App::new().await;
    let queues = json!({ "batchSize": 3, "newBatchThreshold": 2 });
    app.host_json(json!({ "extensions": { "queues": queues } }));
    app.queue_function("work");
    app.queue_function("other");
    for number in 0..12 {
        // Were all alike, a batch would end as one.
        let sleep = if number % 3 == 0 { 200 } else { 900 };
        app.send("work", json!({ "sleep_ms": sleep })).await;
    }
    app.send("other", "x").await;
    let host = app.start().await;
    let invocations = ended(&host, 13).await;
    let (work, other): (Vec<_>, Vec<_>) = invocations
        .iter()
        .partition(|invocation| invocation.function == "work");
    let at_once = |moment: Instant| {
        let runs = work.iter().filter(|invocation| {
            invocation.started <= moment && moment < invocation.ended.unwrap()
        });
        runs.count()
    };
    let most = work
        .iter()
        .map(|invocation| at_once(invocation.started))
        .max()
        .unwrap();
    assert!((4..=5).contains(&most), "{most}");
    // Another function has its own limits.
    let last = work
        .iter()
        .map(|invocation| invocation.started)
        .max()
        .unwrap();
    assert!(other[0].ended.unwrap() < last);
}

#[tokio::test]
async fn what_is_no_base64_is_poison_unless_texts_are_expected() {
    let app = App::new().await;
    app.queue_function("work");
    app.storage
        .queue("work")
        .put_or_create("hello!!", Duration::ZERO)
        .await
        .unwrap();
    let host = app.start().await;
    app.drained("work").await;
    let poison = app.storage.queue("work-poison").peek(1).await.unwrap();
    assert_eq!(poison[0].text, "hello!!");
    assert_eq!(host.invocations(), []);
    host.stop().await;

    app.host_json(json!({ "extensions": { "queues": { "messageEncoding": "none" } } }));
    let host = app.start().await;
    app.storage.queue("work").put("hello!!").await.unwrap();
    let invocations = ended(&host, 1).await;
    assert_eq!(invocations[0].subject, "hello!!");
}

#[tokio::test]
async fn a_stop_lets_functions_finish_and_begins_nothing_new() {
    let app = App::new().await;
    app.queue_function("work");
    let host = app.start().await;
    app.send("work", json!({ "sleep_ms": 700 })).await;
    let begun = async || Ok(!host.invocations().is_empty());
    until(HANG, "the message is worked on", begun)
        .await
        .unwrap();
    host.stop().await;
    assert!(succeeded(&host.invocations()[0]));
    assert_eq!(app.storage.queue("work").count().await.unwrap(), 0);
    assert_eq!(host.worker_pid(), None);

    app.send("work", "x").await;
    assert_eq!(app.messages("work").await, ["x"]);
    assert_eq!(host.invocations().len(), 1);
}
