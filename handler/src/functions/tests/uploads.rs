//! What an upload begins.

use super::*;

#[tokio::test]
async fn an_upload_is_labelled_once_however_often_it_is_told() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    for _ in 0..3 {
        world.event(FILE).await;
    }
    let twice = world.queue.clone();
    world.queue.extend(twice);
    world.until_quiet().await;
    assert_eq!(world.lines(LABELED).len(), turns);
    assert_eq!(world.asked(), turns);
    let run = world.only_run().await;
    assert_eq!(run.state, State::Complete);
    let metadata = world.metadata();
    assert_eq!(metadata["status"], "complete");
    assert_eq!(
        metadata["splits"]["train"]["short_3_to_5_turns"]["run"],
        run.run
    );
    assert_eq!(metadata["totals"]["turns"], turns);
    // Late words change nothing.
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(world.asked(), turns);
}

/// Metadata, properties and access control make a new version of a blob without an event; then an event of the
/// upload comes late.
#[tokio::test]
async fn an_event_of_an_older_version_has_the_one_that_is_there_labelled() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 12);
    world.event_of(FILE, "0x1").await;
    world.until_quiet().await;
    assert_eq!(world.lines(LABELED).len(), turns);
    let published = world.lines(LABELED);
    world.touch(FILE);
    world.event_of(FILE, "0x1").await;
    world.until_quiet().await;
    assert_eq!(world.lines(LABELED), published);
    assert_eq!(world.states().await, [State::Complete]);
    // The content is the same: nothing was asked again.
    assert_eq!(world.asked(), turns);
}

#[tokio::test]
async fn what_is_no_bucket_file_begins_no_run() {
    let mut world = World::new(&[]).await;
    for path in [
        "v4/metadata.json",
        "LABELED_v4/train/a.json",
        "v4/a/b/c.json",
    ] {
        world.put(path, 1, 1);
        let answer = world.event(path).await;
        assert_eq!(answer, Answer::done(), "{path}");
    }
    world.put(FILE, 1, 1);
    let event = json!({
        "subject": format!("/blobServices/default/containers/data/blobs/{FILE}"),
        "eventType": "Microsoft.Storage.BlobCreated",
        "data": {"api": "CreateFile", "eTag": "0x1", "contentLength": 5},
    });
    let answer = world.call("bucket-uploaded", "event", json!([event])).await;
    assert_eq!(answer, Answer::done());
    assert_eq!(world.runs().await, []);
}

#[tokio::test]
async fn the_marker_has_every_file_planned_and_its_counts_compared() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    world.put("v4/test/long.json", 2, 2);
    let metadata = json!({"actual_counts": {"train": {"short": 3}, "test": {"long": 5}}});
    fs::write(world.path("v4/metadata.json"), metadata.to_string()).unwrap();
    let body = json!({"Data": {"metadata": "e30="}, "Metadata": {"dataset": "v4"}}).to_string();
    let invocation = Invocation::decode("dataset-uploaded", "i", body.as_bytes()).unwrap();
    let answer = world.app.invoke(invocation).await.unwrap();
    let messages = answer.messages("plans").to_vec();
    assert_eq!(messages.len(), 2);
    world.queue.extend(
        messages
            .into_iter()
            .map(|message| ("plan-bucket", "plan", message)),
    );
    world.until_quiet().await;
    let metadata = world.metadata();
    assert_eq!(metadata["status"], "complete");
    let warnings = metadata["warnings"].to_string();
    assert!(warnings.contains("holds 2 conversations"), "{warnings}");
}

#[tokio::test]
async fn a_file_that_is_cut_off_ends_as_a_failed_run_with_the_place() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 3);
    let path = world.path(FILE);
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 100]).unwrap();
    world.event(FILE).await;
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::Failed);
    let reason = run.reason.unwrap();
    assert!(reason.contains("byte"), "{reason}");
    assert!(world.service.log().is_empty());
}

#[tokio::test]
async fn a_new_version_takes_the_place_of_the_run_over_the_old_one() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 12);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let turns = world.put(FILE, 2, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let states = world.states().await;
    assert!(states.contains(&State::Superseded) && states.contains(&State::Complete));
    assert_eq!(world.lines(LABELED).len(), turns);
}

#[tokio::test]
async fn a_chat_in_another_format_is_labelled_as_any_file_and_a_packed_one_says_how_to_convert_it()
{
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 1);
    let chat = |n: usize| {
        let said =
            |turn: usize| json!({"role": "user", "content": format!("what about {n}.{turn}?")});
        json!({"messages": [said(0), {"role": "assistant", "content": "a"}, said(1)]}).to_string()
    };
    let chats = (0..40).map(chat).collect::<Vec<_>>().join("\n");
    fs::write(world.path(FILE), chats).unwrap();
    world.event(FILE).await;
    world.until_quiet().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    let lines = world.lines(LABELED);
    assert_eq!(lines.len(), 80);
    let last = lines.last().unwrap();
    assert_eq!(last["conversationId"], "train/short_3_to_5_turns.json:39");
    assert_eq!(last["messageId"], "1");
    let bucket = &world.metadata()["splits"]["train"]["short_3_to_5_turns"];
    assert_eq!(bucket["format"], "messages");
    assert_eq!(bucket["ids"]["messages"]["<turn index>"], 80);

    let packed = "v4/train/packed.json";
    fs::write(world.path(packed), b"PAR1\x15\x04PAR1").unwrap();
    world.event(packed).await;
    world.until_quiet().await;
    let runs = world.runs().await;
    let failed = runs.iter().find(|run| run.state == State::Failed).unwrap();
    let reason = failed.reason.as_ref().unwrap();
    assert!(
        reason.contains("a Parquet file; convert it: python3"),
        "{reason}"
    );
}
