//! What people ask for: relabels and cancels.

use super::*;

#[tokio::test]
async fn failed_turns_alone_are_asked_again() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    let run = world.only_run().await;
    // One chunk is given up before it is labelled.
    let message = serde_json::to_value(ChunkMessage::new(&run.run, 0)).unwrap();
    // However often it comes it gets further tries; one of those that fails too is given up.
    let mut again = message.clone();
    again["again"] = json!(true);
    again["format_number"] = json!(1);
    for _ in 0..2 {
        let answer = world.call("abandon-chunk", "chunk", message.clone()).await;
        assert_eq!(answer.messages("chunks"), std::slice::from_ref(&again));
        world.queue.pop_back();
    }
    world.call("abandon-chunk", "chunk", again).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Partial);
    let asked = world.asked();
    assert!(asked < turns);
    let body = json!({"dataset": "v4", "only": "failed"});
    let (status, answer) = world.http("relabel", "POST", "relabel", &body).await;
    assert_eq!(status, 202, "{answer}");
    let again = world.http("relabel", "POST", "relabel", &body).await.1;
    assert_eq!(again["runs"][0]["run"], answer["runs"][0]["run"]);
    world.until_quiet().await;
    assert_eq!(world.asked(), turns);
    let lines = world.lines(LABELED);
    assert_eq!(lines.len(), turns);
    assert!(lines.iter().all(|line| line["labeling_error"].is_null()));
    assert_eq!(world.metadata()["status"], "complete");
    // Each has taken what it paid itself; the status counts what both did.
    world.reconcile_later(60).await;
    let taken = world.budget()["runs"].clone();
    let taken = taken.as_object().unwrap().iter();
    // Beside what it cost to settle the request parameters.
    let taken = taken.filter(|(name, _)| !name.starts_with("profile-"));
    let taken = taken.map(|(_, share)| share["spent_usd"].as_f64().unwrap());
    let taken = taken.collect::<Vec<_>>();
    assert!(
        taken.len() == 2 && taken.iter().all(|&usd| usd > 0.0),
        "{taken:?}"
    );
    let cost = world.cost(answer["runs"][0]["run"].as_str().unwrap()).await;
    assert!(
        (taken.iter().sum::<f64>() - cost).abs() < 1e-9,
        "{taken:?} {cost}"
    );
}

#[tokio::test]
async fn a_relabel_is_a_run_of_its_own_and_a_bucket_in_progress_is_a_conflict() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    let others = world.put("v4/test/long.json", 2, 2);
    world.event("v4/test/long.json").await;
    world.event(FILE).await;
    let body = json!({"dataset": "v4", "splits": ["train"], "strategy": "with_response"});
    let (status, answer) = world.http("relabel", "POST", "relabel", &body).await;
    assert_eq!(status, 409, "{answer}");
    world.until_quiet().await;
    assert_eq!(world.asked(), turns + others);
    let (status, answer) = world.http("relabel", "POST", "relabel", &body).await;
    assert_eq!(status, 202, "{answer}");
    let run = answer["runs"][0]["run"].as_str().unwrap().to_owned();
    let (status, shown) = world
        .http("runs", "GET", &format!("runs/{run}"), &json!(""))
        .await;
    assert_eq!((status, &shown["state"]), (200, &json!("planning")));
    assert_eq!(
        shown["links"]["cancel"],
        format!("https://app.example/api/runs/{run}/cancel")
    );
    world.until_quiet().await;
    assert_eq!(world.asked(), 2 * turns + others);
    let bucket = &world.metadata()["splits"]["train"]["short_3_to_5_turns"];
    assert_eq!(bucket["settings"]["strategy"], "with_response");
    // Nothing is bought twice.
    let (status, again) = world.http("relabel", "POST", "relabel", &body).await;
    assert_eq!((status, &again["runs"][0]["run"]), (200, &json!(run)));
    world.until_quiet().await;
    assert_eq!(world.asked(), 2 * turns + others);
    let (_, all) = world.http("runs", "GET", "runs", &json!("")).await;
    assert_eq!(all["runs"].as_array().unwrap().len(), 3);
    let (status, _) = world
        .http("relabel", "POST", "relabel", &json!({"dataset": "nothing"}))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_run_can_be_cancelled_and_then_stays_as_it_is() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let run = world.only_run().await.run;
    let asked = world.asked();
    let (status, shown) = world.act(&run, "cancel", &json!("")).await;
    assert_eq!((status, &shown["state"]), (200, &json!("cancelled")));
    let message = serde_json::to_value(RunMessage { run: run.clone() }).unwrap();
    world.call("publish-bucket", "publish", message).await;
    world.until_quiet().await;
    assert_eq!(world.asked(), asked);
    assert!(!world.path(LABELED).exists());
    let (status, _) = world
        .http("runs", "GET", "runs/nosuchrun", &json!(""))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_forced_relabel_is_asked_anew() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let body = json!({"dataset": "v4", "force": true});
    assert_eq!(world.http("relabel", "POST", "relabel", &body).await.0, 202);
    world.until_quiet().await;
    assert_eq!(world.asked(), 2 * turns);
}

#[tokio::test]
async fn a_late_event_does_not_take_the_place_of_what_somebody_asked_for() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    let body = json!({"dataset": "v4", "strategy": "with_context"});
    assert_eq!(world.http("relabel", "POST", "relabel", &body).await.0, 202);
    world.until_quiet().await;
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(
        (world.only_run().await.state, world.asked()),
        (State::Complete, turns)
    );
}

#[tokio::test]
async fn a_relabel_that_comes_to_nothing_leaves_the_labels_that_are_there() {
    let mut world = World::new(&["--tries=1"]).await;
    world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let before = world.lines(LABELED);
    let body = json!({"dataset": "v4", "strategy": "with_context"});
    world.http("relabel", "POST", "relabel", &body).await;
    assert!(world.step().await);
    for _ in 0..4 {
        world
            .queue
            .retain(|(function, ..)| *function == "abandon-chunk");
        world.until_quiet().await;
        world.reconcile_later(7200).await;
    }
    world.until_quiet().await;
    let runs = world.runs().await.into_iter();
    let run = runs.into_iter().find(|run| run.origin == Origin::Relabel);
    let run = run.unwrap();
    assert_eq!((run.state, run.given_up), (State::Failed, true));
    assert_eq!(world.lines(LABELED), before);
    assert_eq!(world.metadata()["totals"]["labeled"], before.len());
}

#[tokio::test]
async fn the_last_request_decides_how_later_uploads_are_labelled() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    world.event(FILE).await;
    world.until_quiet().await;
    for strategy in ["with_context", "with_response", "with_context"] {
        let body = json!({"dataset": "v4", "strategy": strategy});
        world.http("relabel", "POST", "relabel", &body).await;
        world.until_quiet().await;
    }
    let settings = world.app.dataset_settings("v4").await.unwrap();
    assert_eq!(settings.strategy, "with_context");
}

#[tokio::test]
async fn no_web_page_starts_or_ends_anything() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    let body = json!({"dataset": "v4"});
    for headers in [
        json!({}),
        json!({"content-type": ["text/plain"]}),
        json!({"Content-Type": ["application/json"], "Origin": ["https://elsewhere.example"]}),
        json!({"Content-Type": ["application/json"], "Origin": ["https://app.example:8443"]}),
        json!({"Content-Type": ["application/json"], "origin": ["null"]}),
    ] {
        let (status, said) = world
            .http_with("relabel", "POST", "relabel", &body, headers.clone())
            .await;
        assert_eq!(status, 400, "{headers}: {said}");
    }
    assert_eq!(world.runs().await, []);
    let headers = json!({
        "Content-Type": ["application/json; charset=utf-8"], "Origin": ["https://app.example"],
    });
    let (status, _) = world
        .http_with("relabel", "POST", "relabel", &body, headers)
        .await;
    assert_eq!(status, 202);
    let run = world.only_run().await.run;
    let headers = json!({"Origin": ["https://elsewhere.example"]});
    let cancel = format!("runs/{run}/cancel");
    let (status, _) = world
        .http_with("runs", "POST", &cancel, &json!(null), headers)
        .await;
    assert_eq!(status, 400);
    assert_eq!(world.only_run().await.state, State::Planning);
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    for name in ["", "..", ".", "-x", "a/b", "a b", &"a".repeat(65)] {
        for field in ["deployment", "model"] {
            let body = json!({"dataset": "v4", field: name});
            let (status, said) = world.http("relabel", "POST", "relabel", &body).await;
            assert_eq!(status, 400, "{field} {name:?}: {said}");
        }
    }
    assert_eq!(world.runs().await, []);
}

#[tokio::test]
async fn the_page_is_html_that_may_load_nothing_else() {
    let mut world = World::new(&[]).await;
    let request = json!({
        "Url": "https://app.example/api/page", "Method": "GET", "Query": {}, "Params": {}, "Body": "",
        "Headers": {},
    });
    let answer = world.call("page", "req", request).await;
    let (status, body) = answer.response("res").unwrap();
    assert_eq!(status, 200);
    assert!(body.starts_with("<!DOCTYPE html>"), "{body}");
    assert!(
        body.contains("default-src &#39;none&#39;")
            || body.contains("default-src &#x27;none&#x27;"),
        "{body}"
    );
}
