//! What the reconciler sets right, and what nobody can.

use super::*;
use crate::steps::label_chunk;
use std::time::Duration;

#[tokio::test]
async fn a_version_whose_event_got_lost_is_taken_up_by_the_reconciler() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    let turns = world.put(FILE, 2, 6);
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Waiting);
    world.call("reconcile", "timer", json!({})).await;
    world.until_quiet().await;
    assert_eq!(world.lines(LABELED).len(), turns);
    // What was in flight is waited for.
    world.reconcile_later(200).await;
    assert_eq!(world.app.runs.active().await.unwrap(), []);
}

#[tokio::test]
async fn a_start_that_is_under_way_is_left_alone_and_one_that_was_interrupted_goes_on() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    // As it stands after the run was written and before it became current. Its messages are lost.
    world.queue.clear();
    std::fs::remove_file(world.work(&format!("current/{FILE}"))).unwrap();
    world.call("reconcile", "timer", json!({})).await;
    assert!(world.queue.is_empty());
    world.reconcile_later(3600).await;
    world.until_quiet().await;
    assert_eq!(world.lines(LABELED).len(), turns);
    assert_eq!(world.asked(), turns);
}

#[tokio::test]
async fn chunks_of_a_run_that_is_given_up_end() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    assert!(world.step().await);
    let run = world.only_run().await.run;
    let stop = CancellationToken::new();
    let given_up = async {
        let give_up = |record: &mut Record| {
            record.give_up(now());
            true
        };
        world.app.runs.update(&run, give_up).await.unwrap();
        stop.cancelled().await;
    };
    tokio::time::pause();
    let watch = label_chunk::watch(&world.app, &run, None, &stop);
    let within = tokio::time::timeout(Duration::from_secs(60), given_up);
    tokio::select! {
        never = watch => match never {},
        ended = within => ended.unwrap(),
    }
}

#[tokio::test]
async fn messages_that_got_lost_are_sent_again() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..200 {
        // Half of the messages get lost.
        let lost = rng.random_bool(0.5);
        if world.queue.is_empty() {
            world.reconcile_later(3600).await;
        } else if lost {
            world.queue.pop_front();
        } else {
            world.step().await;
        }
        if world.only_run().await.state.is_over() {
            break;
        }
    }
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
}

#[tokio::test]
async fn a_run_that_never_moves_ends() {
    let mut world = World::new(&["--tries=2"]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    for _ in 0..6 {
        world
            .queue
            .retain(|(function, ..)| *function == "abandon-chunk");
        world.until_quiet().await;
        world.reconcile_later(3600).await;
    }
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::Failed);
    assert!(run.reason.unwrap().contains("2 tries"));
    let lines = world.lines(LABELED);
    assert_eq!(lines.len(), turns);
    assert_eq!(lines[0]["labeling_error"]["code"], "abandoned");
    assert_ne!(lines[0]["messageId"], "");
}

/// The host has no queue for what fails in a poison queue, and leaves it alone for good after five times.
#[tokio::test]
async fn giving_up_a_chunk_never_fails() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 3);
    world.event(FILE).await;
    world.queue.clear();
    // What another program sent is kept, with its text.
    let foreign = json!({"order": 7});
    let answer = world.call("abandon-chunk", "chunk", foreign.clone()).await;
    assert_eq!(answer, Answer::done());
    let work = world.home.path().join("work/foreign");
    let kept = fs::read_dir(work)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let kept = kept.collect::<Vec<_>>();
    let kept = kept
        .iter()
        .map(|text| serde_json::from_slice::<Value>(text).unwrap());
    assert_eq!(kept.collect::<Vec<_>>(), [foreign]);
    // Where storage fails, the reconciler sends the chunk again.
    let run = world.only_run().await.run;
    let parts = world.home.path().join("work/work").join(&run).join("parts");
    let _ = fs::remove_dir_all(&parts);
    fs::write(&parts, "").unwrap();
    let answer = world
        .call("abandon-chunk", "chunk", json!({"run": run, "chunk": 0}))
        .await;
    assert_eq!(answer, Answer::done());
    fs::remove_file(&parts).unwrap();
    world.reconcile_later(3600).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.lines(LABELED).len(), turns);
}

#[tokio::test]
async fn a_run_of_another_prompt_version_is_not_labelled_on() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 6);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let (run, asked) = (world.only_run().await.run, world.asked());
    let update = world.app.runs.update(&run, |record| {
        record.settings.prompt_version = "of another version".into();
        true
    });
    update.await.unwrap();
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!((run.state, world.asked()), (State::Failed, asked));
    assert!(run.reason.unwrap().contains("relabel the whole dataset"));
}

#[tokio::test]
async fn the_metadata_is_brought_up_to_date_before_an_end_is_settled() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    // As if whoever published had been killed before it wrote the metadata.
    let path = world.path("LABELED_v4/labeling_metadata.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    world.reconcile_later(60).await;
    assert_eq!(world.app.runs.active().await.unwrap().len(), 1);
    fs::remove_dir(&path).unwrap();
    world.reconcile_later(60).await;
    assert_eq!(world.app.runs.active().await.unwrap(), []);
    assert_eq!(world.metadata()["totals"]["turns"], turns);
}

/// The lines of a run's ledger, in all its files.
fn ledger(world: &World, run: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    for file in ["ledger.jsonl", "ledger-2.jsonl"] {
        let path = world.home.path().join(format!("work/work/{run}/{file}"));
        let text = fs::read_to_string(path).unwrap_or_default();
        let parsed = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.extend(parsed);
    }
    lines
}

#[tokio::test]
async fn a_finished_chunk_is_entered_once_however_often_its_message_comes() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let run = world.only_run().await.run;
    for function in ["label-chunk", "label-chunk", "abandon-chunk"] {
        let message = json!({"run": run, "chunk": 0, "again": true});
        world.call(function, "chunk", message).await;
    }
    assert_eq!(ledger(&world, &run).len(), 1);
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::Complete);
    let chunks = usize::try_from(run.chunks.unwrap()).unwrap();
    assert_eq!(ledger(&world, &run.run).len(), chunks);
}

#[tokio::test]
async fn a_full_ledger_goes_on_in_a_second_one() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let run = world.only_run().await.run;
    let first = world
        .home
        .path()
        .join(format!("work/work/{run}/ledger.jsonl"));
    let line = fs::read_to_string(&first).unwrap();
    fs::write(&first, line.repeat(50_000)).unwrap();
    world.until_quiet().await;
    let ended = world.only_run().await;
    assert_eq!((ended.state, world.asked()), (State::Complete, turns));
    assert_eq!(fs::read_to_string(&first).unwrap().lines().count(), 50_000);
    let chunks = ended.chunks.unwrap() as usize;
    assert!(chunks > 1);
    assert_eq!(ledger(&world, &run).len(), 50_000 + chunks - 1);
    assert_eq!(world.lines(LABELED).len(), turns);
    world.reconcile_later(60).await;
    let spent = world.budget()["runs"][&run]["spent_usd"].clone();
    assert_eq!(spent, json!(world.cost(&run).await));
}

#[tokio::test]
async fn a_run_whose_turns_are_all_settled_is_published_though_its_ledger_lacks_them() {
    let mut world = World::new(&["--stall-after=10m"]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    let run = world.only_run().await.run;
    while world
        .queue
        .front()
        .is_some_and(|(function, ..)| *function == "label-chunk")
    {
        world.step().await;
    }
    // As if no line could have been entered, and the message to publish it had been lost.
    world.queue.clear();
    let work = world.home.path().join("work/work").join(&run);
    fs::remove_file(work.join("ledger.jsonl")).unwrap();
    assert_eq!(world.asked(), turns);
    // All messages were lost.
    world.reconcile_later(700).await;
    let sent = world.queue.iter().map(|(function, ..)| *function);
    assert_eq!(sent.collect::<Vec<_>>(), ["publish-bucket"]);
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!(world.lines(LABELED).len(), turns);
    assert_eq!(world.metadata()["totals"]["turns"], turns);
}
