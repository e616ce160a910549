//! What goes wrong on purpose.

use std::time::Duration;

use serde_json::json;
use softlabel_doubles::functions_host::{Chaos, Host, Invocation, Options};
use softlabel_doubles::until;

use super::harness::*;

/// An app that sends what it is told, run with this going wrong.
async fn start(chaos: Chaos) -> (App, Host) {
    let app = App::new().await;
    app.function(
        "work",
        json!([queue_trigger("work"), queue_output("out", "sent")]),
    );
    let host = Host::start(Options {
        chaos,
        ..app.options()
    })
    .await
    .unwrap();
    (app, host)
}

/// The outcomes of a message that sends one.
async fn outcomes(chaos: Chaos, count: usize) -> (App, Vec<Invocation>) {
    let (app, host) = start(chaos).await;
    app.send(
        "work",
        json!({ "outputs": { "out": [{ "n": 1 }] }, "sleep_ms": 100 }),
    )
    .await;
    let invocations = ended(&host, count).await;
    host.stop().await;
    let all = host.invocations();
    assert_eq!(all.len(), count, "{all:#?}");
    (app, invocations)
}

#[tokio::test]
async fn a_message_can_come_twice_at_once_and_again_later() {
    let chaos = Chaos {
        twice_at_once: 1.0,
        ..Chaos::default()
    };
    let (app, twice) = outcomes(chaos, 2).await;
    assert!(twice.iter().all(succeeded));
    assert!(twice[1].started < twice[0].ended.unwrap());
    assert_ne!(twice[0].id, twice[1].id);
    assert_eq!(app.messages("sent").await.len(), 2);

    let chaos = Chaos {
        again_later: 1.0,
        ..Chaos::default()
    };
    let (app, again) = outcomes(chaos, 2).await;
    assert!(again[1].started >= again[0].ended.unwrap());
    assert_eq!(again[1].dequeue_count, Some(2));
    assert_eq!(app.messages("sent").await.len(), 2);
}

#[tokio::test]
async fn a_message_can_be_lost_before_and_after_its_function() {
    let (app, host) = start(Chaos {
        lost: 1.0,
        ..Chaos::default()
    })
    .await;
    app.send("work", "x").await;
    app.drained("work").await;
    assert_eq!(host.invocations(), []);

    for chaos in [
        Chaos {
            lost_output: 1.0,
            ..Chaos::default()
        },
        Chaos {
            lost_outputs: 1.0,
            ..Chaos::default()
        },
    ] {
        let (app, invocations) = outcomes(chaos, 1).await;
        assert!(succeeded(&invocations[0]));
        assert_eq!(app.storage.queue("work").count().await.unwrap(), 0);
        assert_eq!(app.messages("sent").await, [""; 0]);
    }
}

#[tokio::test]
async fn a_success_can_be_taken_for_a_failure() {
    let chaos = Chaos {
        lost_answer: 1.0,
        ..Chaos::default()
    };
    let (app, invocations) = outcomes(chaos, 5).await;
    assert!(
        invocations
            .iter()
            .all(|invocation| failure(invocation).contains("lost"))
    );
    assert_eq!(app.messages("sent").await, [""; 0]);
    assert_eq!(app.messages("work-poison").await.len(), 1);
}

#[tokio::test]
async fn messages_can_come_late_and_in_another_order() {
    let chaos = Chaos {
        seed: 3,
        late: 1.0,
        longest_delay: Duration::from_millis(300),
        reordered: 1.0,
        ..Chaos::default()
    };
    let (app, host) = start(chaos).await;
    let numbers = (0..16).collect::<Vec<_>>();
    app.send("work", json!({ "outputs": { "out": numbers } }))
        .await;
    let sent = async || Ok(app.messages("sent").await.len() == numbers.len());
    until(HANG, "all were sent", sent).await.unwrap();
    let sent = app.messages("sent").await;
    let mut in_order = sent
        .iter()
        .map(|text| text.parse::<i32>().unwrap())
        .collect::<Vec<_>>();
    assert!(!in_order.is_sorted(), "{sent:?}");
    in_order.sort_unstable();
    assert_eq!(in_order, numbers);
    host.stop().await;
}

#[tokio::test]
async fn the_same_seed_does_the_same_to_the_same_messages() {
    let fates = async |seed| {
        let (app, host) = start(Chaos {
            seed,
            lost: 0.5,
            ..Chaos::default()
        })
        .await;
        for number in 0..12 {
            app.send("work", format!("message {number}")).await;
        }
        app.drained("work").await;
        host.stop().await;
        let mut delivered = host.invocations();
        delivered.sort_by(|a, b| a.subject.cmp(&b.subject));
        delivered
            .into_iter()
            .map(|invocation| invocation.subject)
            .collect::<Vec<_>>()
    };
    let first = fates(1).await;
    assert!((1..12).contains(&first.len()), "{first:?}");
    assert_eq!(fates(1).await, first);
    assert_ne!(fates(2).await, first);
}
