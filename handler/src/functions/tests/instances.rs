//! Instances that die, that are of another version, and how many chunks keep them busy.

use super::*;
use crate::run::format_number;
use crate::steps::Message;

fn chunk(run: &str, chunk: u64) -> Message {
    Message::label(run, chunk)
}

impl World {
    /// The numbers of the chunks whose messages wait.
    fn waiting(&self) -> Vec<u64> {
        let chunks = self
            .queue
            .iter()
            .filter(|(function, ..)| *function == "label-chunk");
        chunks
            .map(|(_, _, message)| message["chunk"].as_u64().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn what_a_dead_instance_held_is_sent_again_once_and_what_waits_is_not() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event(FILE).await;
    let run = world.only_run().await.run;
    let chunks = world.waiting().len();
    assert!(chunks > 4);
    // Handed to an instance: four chunks, one of which it has labelled, and one that another instance holds by
    // now.
    let old = world.queue.drain(..4).collect::<Vec<_>>();
    let mut held = Vec::new();
    for number in 0..4 {
        held.push(world.app.holder.hold(chunk(&run, number)).await);
    }
    let (function, binding, message) = old[1].clone();
    world.call(function, binding, message).await;
    LATER.set(LATER.get() + 44);
    world.reconcile_later(0).await;
    assert_eq!(world.waiting().len(), chunks - 4);
    LATER.set(LATER.get() + 2);
    let alive = world.work("holders/another/one.json");
    fs::create_dir_all(alive.parent().unwrap()).unwrap();
    let sign = json!({"format_number": 1, "held": [{"step": "label", "run": run, "chunk": 3}]});
    fs::write(&alive, sign.to_string()).unwrap();
    let later = std::time::SystemTime::from(now());
    let file = fs::File::options().write(true).open(&alive).unwrap();
    file.set_modified(later).unwrap();
    let before = world.waiting();
    for _ in 0..3 {
        world.reconcile_later(0).await;
    }
    let mut expected = before;
    expected.extend([0, 2]);
    assert_eq!(world.waiting(), expected);
    // The fourth chunk's holder finishes it.
    let (function, binding, message) = old[3].clone();
    world.call(function, binding, message).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    // The old messages come after all, and find nothing to do.
    world.queue.extend(old);
    world.until_quiet().await;
    assert_eq!((world.asked(), world.lines(LABELED).len()), (turns, turns));
    drop(held);
}

#[tokio::test]
async fn a_chunk_that_is_handed_on_is_held_by_nobody() {
    let mut world = World::new(&["--invocation-deadline=1ms"]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    assert!(world.step().await);
    world.reconcile_later(50).await;
    let mut waiting = world.waiting();
    waiting.sort_unstable();
    waiting.dedup();
    assert_eq!(waiting.len(), world.waiting().len());
}

#[tokio::test]
async fn so_many_chunks_are_out_and_each_that_ends_sends_the_next() {
    let mut world = World::new(&["--chunks-out=3"]).await;
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    let chunks = world.only_run().await.chunks.unwrap();
    assert!(chunks > 8, "{chunks}");
    assert_eq!(world.waiting(), [0, 1, 2]);
    // A word of the chunk that was next gets lost with its sender.
    assert!(world.step().await);
    let lost = world.queue.pop_back().unwrap();
    assert_eq!(lost.2["chunk"], 3);
    world.until_quiet().await;
    assert_eq!(world.waiting(), [0; 0]);
    let run = world.only_run().await;
    assert_eq!((run.state, run.sent), (State::Labeling, Some(chunks)));
    // That it moved is seen first.
    world.reconcile_later(60).await;
    world.reconcile_later(700).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.asked(), world.lines(LABELED).len()), (turns, turns));
}

#[tokio::test]
async fn the_reconciler_lets_out_what_nobody_sent() {
    let mut world = World::new(&["--chunks-out=4"]).await;
    let turns = world.put(FILE, 1, 24);
    world.put("v4/test/long.json", 2, 6);
    world.event("v4/test/long.json").await;
    world.event(FILE).await;
    let of_file = |world: &World, run: &str| {
        let messages = world.queue.iter();
        messages
            .filter(|(_, _, message)| message["run"] == run)
            .count()
    };
    let (function, binding, message) = world.queue.back().unwrap().clone();
    let run = message["run"].as_str().unwrap().to_owned();
    // The first run has all that may be out, the second one a chunk beside them.
    assert_eq!((of_file(&world, &run), world.queue.len()), (1, 5));
    // Whoever finished a chunk died before it sent the next.
    world.queue.pop_back();
    let first = world.app.runs.read(&run).await.unwrap().unwrap();
    let body = json!({"Data": {binding: message}, "Metadata": {}}).to_string();
    let invocation = Invocation::decode(function, "i", body.as_bytes()).unwrap();
    world.app.invoke(invocation).await.unwrap();
    let back = world.app.runs.update(&run, |record| {
        record.sent = first.sent;
        true
    });
    back.await.unwrap();
    world.reconcile_later(1).await;
    assert_eq!(of_file(&world, &run), 1);
    // The other run's chunks end.
    for _ in 0..4 {
        assert!(world.step().await);
    }
    world.reconcile_later(1).await;
    world.reconcile_later(1).await;
    assert_eq!(of_file(&world, &run), 4);
    world.until_quiet().await;
    assert_eq!(world.states().await, [State::Complete, State::Complete]);
    assert_eq!(world.lines(LABELED).len(), turns);
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_for_it() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    let run = world.only_run().await.run;
    let path = world.work(&format!("runs/{run}.json"));
    let own = fs::read(&path).unwrap();
    assert_eq!(format_number::of(&own), format_number::own());
    let mut newer = serde_json::from_slice::<Value>(&own).unwrap();
    newer["format_number"] = json!(format_number::own() + 1);
    newer["state"] = json!("in a way that nobody knows yet");
    fs::write(&path, newer.to_string()).unwrap();
    let waiting = world.queue.clone();
    // Nothing fails, whatever comes: each invocation is answered.
    world.until_quiet().await;
    world.event(FILE).await;
    world.call("plan-bucket", "plan", json!({"run": run})).await;
    world
        .call("publish-bucket", "publish", json!({"run": run}))
        .await;
    world
        .call("abandon-chunk", "chunk", json!({"run": run, "chunk": 0}))
        .await;
    for seconds in [60, 7200, 100_000] {
        world.reconcile_later(seconds).await;
    }
    assert_eq!((world.waiting(), world.asked()), (vec![], 0));
    assert_eq!(fs::read(&path).unwrap(), newer.to_string().into_bytes());
    let (status, shown) = world.http("runs", "GET", "runs", &json!("")).await;
    assert_eq!((status, shown["runs"].clone()), (200, json!([])));
    let (status, shown) = world
        .http("runs", "GET", &format!("runs/{run}"), &json!(""))
        .await;
    let why = shown["error"].to_string();
    assert!(
        status == 409 && why.contains("newer version"),
        "{status} {why}"
    );
    // Each message lies where an instance of that version finds it.
    let left = fs::read_dir(world.work("holders/left")).unwrap();
    let left = left.map(|entry| {
        let content = fs::read(entry.unwrap().path()).unwrap();
        serde_json::from_slice::<Value>(&content).unwrap()
    });
    let left = left.collect::<Vec<_>>();
    assert_eq!(left.len(), waiting.len() + 3);
    assert!(
        left.iter()
            .all(|sign| sign["format_number"] == format_number::own() + 1)
    );
    // Such an instance goes on. Its signs of what was left are of its format.
    fs::write(&path, &own).unwrap();
    for entry in fs::read_dir(world.work("holders/left")).unwrap() {
        let path = entry.unwrap().path();
        let mut sign = serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
        sign["format_number"] = json!(format_number::own());
        fs::write(&path, sign.to_string()).unwrap();
    }
    world.reconcile_later(60).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.asked(), world.lines(LABELED).len()), (turns, turns));
}

#[tokio::test]
async fn a_message_of_a_newer_version_is_left_for_it_and_an_older_one_is_read() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    let mut messages = std::mem::take(&mut world.queue);
    for (_, _, message) in &mut messages {
        assert_eq!(message["format_number"], format_number::own());
        message.as_object_mut().unwrap().remove("format_number");
    }
    let mut newer = messages[0].clone();
    newer.2["format_number"] = json!(format_number::own() + 1);
    newer.2["chunk"] = json!("named otherwise");
    let (function, binding, message) = newer;
    let answer = world.call(function, binding, message).await;
    assert_eq!(answer, Answer::done());
    let left = fs::read_dir(world.work("holders/left")).unwrap();
    assert_eq!(left.count(), 1);
    // Records of earlier versions carry no number either.
    let run = world.only_run().await.run;
    for path in [
        format!("runs/{run}.json"),
        format!("work/{run}/manifest.json"),
        "datasets/v4/settings.json".to_owned(),
        "datasets/v4/budget.json".to_owned(),
    ] {
        let path = world.work(&path);
        let mut older = serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
        assert!(
            older
                .as_object_mut()
                .unwrap()
                .remove("format_number")
                .is_some()
        );
        older.as_object_mut().unwrap().remove("sent");
        fs::write(&path, older.to_string()).unwrap();
    }
    world.queue = messages;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.asked(), world.lines(LABELED).len()), (turns, turns));
}
