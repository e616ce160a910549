//! A request is a wish about what is published.

use super::*;
use crate::steps::wish::{Only, Verdict, Wish};

async fn labeled(args: &[&str]) -> (World, usize) {
    let mut world = World::new(args).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(world.asked(), turns);
    (world, turns)
}

fn run_of(answer: &Value) -> String {
    answer["runs"][0]["run"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn labels_that_are_there_are_not_bought_again() {
    let (mut world, turns) = labeled(&[]).await;
    for body in [
        json!({"dataset": "v4"}),
        json!({"dataset": "v4", "strategy": "user_message_only"}),
        json!({"dataset": "v4", "rationales": false}),
        json!({"dataset": "v4", "overwrite": true}),
        json!({"dataset": "v4", "only": "failed"}),
    ] {
        let (status, answer) = world.relabel(body.clone()).await;
        assert_eq!(status, 200, "{body} {answer}");
        assert_eq!(answer["runs"][0]["state"], "complete");
    }
    for _ in 0..3 {
        world.marker("v4").await;
        world.event(FILE).await;
    }
    assert!(world.queue.is_empty());
    assert_eq!((world.runs().await.len(), world.asked()), (1, turns));
}

#[tokio::test]
async fn a_repeat_while_its_run_is_labelled_sends_nothing_again() {
    let (mut world, _) = labeled(&[]).await;
    let body = json!({"dataset": "v4", "strategy": "with_context"});
    let first = world.relabel(body.clone()).await;
    // Planned: its chunks wait.
    assert!(world.step().await);
    let waiting = world.queue.len();
    let again = world.relabel(body).await;
    assert_eq!((first.0, again.0), (202, 202));
    assert_eq!(run_of(&first.1), run_of(&again.1));
    assert_eq!(world.queue.len(), waiting);
}

#[tokio::test]
async fn settings_that_are_put_back_bring_their_labels_back_without_a_call() {
    let (mut world, turns) = labeled(&[]).await;
    let first = world.lines(LABELED);
    let ask = |rationales: bool| json!({"dataset": "v4", "rationales": rationales});
    assert_eq!(world.relabel(ask(true)).await.0, 202);
    world.until_quiet().await;
    let asked = world.asked();
    assert!(asked > turns);
    assert!(
        world
            .lines(LABELED)
            .iter()
            .all(|line| line["rationale"].is_string())
    );
    for rationales in [false, true, false] {
        let (status, answer) = world.relabel(ask(rationales)).await;
        assert_eq!(status, 202, "{answer}");
        world.until_settled().await;
        let lines = world.lines(LABELED);
        assert!(
            lines
                .iter()
                .all(|line| line["rationale"].is_string() == rationales)
        );
        assert_eq!(world.asked(), asked);
        let settings = world.app.dataset_settings("v4").await.unwrap();
        assert_eq!(settings.with_rationales, rationales);
        assert_eq!(world.relabel(ask(rationales)).await.0, 200);
    }
    assert_eq!(world.lines(LABELED), first);
    assert_eq!(world.metadata()["status"], "complete");
}

/// One instance hears of a version at once, the other while it begins a run for the version before.
#[tokio::test]
async fn instances_that_see_a_version_at_different_moments_name_its_run_alike() {
    let (world, _) = labeled(&[]).await;
    let (dataset, file) = FILE.split_once('/').unwrap();
    let wish = Wish {
        dataset: dataset.to_owned(),
        file: file.to_owned(),
        origin: Origin::Upload,
        settings: world.app.dataset_settings(dataset).await.unwrap(),
        only: Only::All,
        force: false,
        overwrite: false,
        sets_dataset: None,
        made: None,
    };
    let mut named = Vec::new();
    for seed in [2, 3] {
        world.put(FILE, seed, 6);
        let version = world.app.raw_version(dataset, file).await.unwrap().unwrap();
        match world.app.weigh(&wish, &version).await.unwrap() {
            Verdict::Begins(record) => named.push(record),
            other => panic!("{other:?}"),
        }
    }
    let [before, newest] = named.try_into().unwrap();
    assert_ne!(before.run, newest.run);
    match world.app.grant(&wish, *before).await.unwrap() {
        Verdict::UnderWay(begun) => assert_eq!(begun.run, newest.run),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_that_was_cancelled_begins_anew_with_what_it_bought() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let bought = world.asked();
    assert!(bought > 0 && bought < turns);
    let cancelled = world.only_run().await.run;
    world.act(&cancelled, "cancel", &json!("")).await;
    // Word of the upload that comes late, and the hourly look, do not bring back what somebody cancelled.
    world.event(FILE).await;
    world.app.take_up_all("v4", None).await.unwrap();
    assert_eq!(world.states().await, [State::Cancelled]);
    let (status, answer) = world.relabel(json!({"dataset": "v4"})).await;
    assert_eq!(status, 202, "{answer}");
    let run = run_of(&answer);
    assert_ne!(run, cancelled);
    let again = world.relabel(json!({"dataset": "v4"})).await;
    assert_eq!((again.0, run_of(&again.1)), (202, run.clone()));
    world.until_settled().await;
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
    let (status, answer) = world.relabel(json!({"dataset": "v4"})).await;
    assert_eq!((status, run_of(&answer)), (200, run));
}

#[tokio::test]
async fn the_marker_begins_anew_what_failed_or_was_cancelled() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let cancelled = world.only_run().await.run;
    world.act(&cancelled, "cancel", &json!("")).await;
    world.marker("v4").await;
    world.until_settled().await;
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
    // A file that somebody removed is published again, without a call.
    fs::remove_file(world.path(LABELED)).unwrap();
    world.event(FILE).await;
    world.until_settled().await;
    assert!(!world.path(LABELED).exists());
    world.marker("v4").await;
    world.until_settled().await;
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
}

#[tokio::test]
async fn a_run_that_was_given_up_is_asked_for_again() {
    let (mut world, _) = labeled(&["--tries=1"]).await;
    let body = json!({"dataset": "v4", "strategy": "with_context"});
    let (_, answer) = world.relabel(body.clone()).await;
    assert!(world.step().await);
    let dead = run_of(&answer);
    for _ in 0..4 {
        world
            .queue
            .retain(|(function, ..)| *function == "abandon-chunk");
        world.until_quiet().await;
        world.reconcile_later(7200).await;
    }
    world.until_quiet().await;
    let asked = world.asked();
    assert_eq!(
        world.app.runs.read(&dead).await.unwrap().unwrap().state,
        State::Failed
    );
    let settings = world.app.dataset_settings("v4").await.unwrap();
    assert_eq!(
        settings.strategy, "user_message_only",
        "it published nothing"
    );
    let (status, answer) = world.relabel(body).await;
    assert_eq!(status, 202, "{answer}");
    assert_ne!(run_of(&answer), dead);
    world.until_settled().await;
    assert!(world.asked() > asked);
    let settings = world.app.dataset_settings("v4").await.unwrap();
    assert_eq!(settings.strategy, "with_context");
    assert_eq!(world.metadata()["status"], "complete");
}

#[tokio::test]
async fn a_cancelled_relabel_leaves_the_settings_of_the_dataset() {
    let (mut world, _) = labeled(&[]).await;
    let (_, answer) = world
        .relabel(json!({"dataset": "v4", "rationales": true}))
        .await;
    world.act(&run_of(&answer), "cancel", &json!("")).await;
    let other = "v4/test/long.json";
    world.put(other, 2, 2);
    world.event(other).await;
    world.until_quiet().await;
    let lines = world.lines("LABELED_v4/test/long.jsonl");
    assert!(lines.iter().all(|line| line["rationale"].is_null()));
}

#[tokio::test]
async fn a_file_that_somebody_changed_is_written_over_only_on_request() {
    let (mut world, turns) = labeled(&[]).await;
    fs::write(world.path(LABELED), "mine").unwrap();
    let (status, answer) = world.relabel(json!({"dataset": "v4"})).await;
    assert_eq!(status, 409, "{answer}");
    let (status, _) = world
        .relabel(json!({"dataset": "v4", "overwrite": true}))
        .await;
    assert_eq!(status, 202);
    world.until_settled().await;
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
}

#[tokio::test]
async fn names_that_are_not_there_are_refused_with_those_that_are() {
    let (mut world, _) = labeled(&[]).await;
    world.put("v4/test/long.json", 2, 2);
    for (body, says) in [
        (
            json!({"dataset": "v4", "splits": ["train", "tset"]}),
            "test, train",
        ),
        (
            json!({"dataset": "v4", "buckets": ["short"]}),
            "short_3_to_5_turns",
        ),
        (
            json!({"dataset": "v4", "splits": ["test"], "buckets": ["short_3_to_5_turns"]}),
            "train/short",
        ),
        (json!({"dataset": "v4", "split": ["train"]}), "`splits`"),
        (json!({"dataset": "v4", "only": "some"}), "`failed`"),
    ] {
        let (status, answer) = world.relabel(body.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].as_str().unwrap().contains(says), "{answer}");
    }
    assert_eq!(world.runs().await.len(), 1);
}

/// Metadata, tier and access control give a blob another mark.
#[tokio::test]
async fn the_same_bytes_under_another_mark_are_the_same_version() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    // While it is labelled: by an event, by a chunk that reads, by the reconciler.
    world.touch(FILE);
    world.event(FILE).await;
    assert!(world.step().await);
    LATER.set(LATER.get() + 10);
    world.touch(FILE);
    assert!(world.step().await);
    LATER.set(LATER.get() + 10);
    world.touch(FILE);
    world.reconcile_later(60).await;
    LATER.set(LATER.get() + 10);
    world.touch(FILE);
    world.until_settled().await;
    assert_eq!(
        (world.states().await, world.asked()),
        (vec![State::Complete], turns)
    );
    // And after that.
    LATER.set(LATER.get() + 10);
    world.touch(FILE);
    world.event(FILE).await;
    world.marker("v4").await;
    world.app.take_up_all("v4", None).await.unwrap();
    assert_eq!(world.relabel(json!({"dataset": "v4"})).await.0, 200);
    assert!(world.queue.is_empty());
    assert_eq!(
        (world.only_run().await.state, world.asked()),
        (State::Complete, turns)
    );
    assert_eq!(world.lines(LABELED).len(), turns);
}

#[tokio::test]
async fn a_version_that_is_put_back_brings_its_labels_back_without_a_call() {
    let (mut world, turns) = labeled(&[]).await;
    let first = (fs::read(world.path(FILE)).unwrap(), world.lines(LABELED));
    let more = world.put(FILE, 2, 9);
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(
        (world.lines(LABELED).len(), world.asked()),
        (more, turns + more)
    );
    fs::write(world.path(FILE), &first.0).unwrap();
    LATER.set(LATER.get() + 10);
    world.touch(FILE);
    world.event(FILE).await;
    world.until_settled().await;
    assert_eq!(
        (world.lines(LABELED), world.asked()),
        (first.1, turns + more)
    );
}
