//! Storage that refuses, and what is not there for a moment.

use super::*;

/// Nothing can be written below a path, until the file in its place is removed.
fn refuse(world: &World, path: &str) {
    fs::create_dir_all(world.path(path).parent().unwrap()).unwrap();
    fs::write(world.path(path), "").unwrap();
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_found_before_the_first_call() {
    let mut world = World::new(&["--tries=2"]).await;
    let turns = world.put(FILE, 1, 6);
    refuse(&world, "LABELED_v4");
    world.event(FILE).await;
    for _ in 0..30 {
        world.until_quiet().await;
        let run = world.only_run().await;
        assert_eq!(run.state, State::Waiting);
        assert!(run.reason.unwrap().contains("LABELED_v4"));
        world.reconcile_later(3600).await;
    }
    assert!(world.service.log().is_empty());
    fs::remove_file(world.path("LABELED_v4")).unwrap();
    world.until_settled().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
}

#[tokio::test]
async fn a_publication_that_is_refused_is_made_when_that_is_mended() {
    let mut world = World::new(&["--tries=2"]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    let _ = fs::remove_dir_all(world.path("LABELED_v4"));
    refuse(&world, "LABELED_v4");
    for _ in 0..20 {
        world.until_quiet().await;
        world.reconcile_later(7200).await;
    }
    world.until_quiet().await;
    let run = world.only_run().await;
    assert_eq!(run.state, State::Waiting, "{:?}", run.reason);
    let reason = run.reason.unwrap();
    assert!(
        reason.contains("LABELED_v4") && reason.contains("; "),
        "{reason}"
    );
    fs::remove_file(world.path("LABELED_v4")).unwrap();
    world.until_settled().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
}

#[tokio::test]
async fn what_is_absent_once_is_not_gone_for_ever() {
    let mut world = World::new(&["--tries=2"]).await;
    let turns = world.put(FILE, 1, 24);
    world.event(FILE).await;
    // Planned, and one chunk labelled.
    assert!(world.step().await);
    let (raw, aside) = (world.path(FILE), world.path("aside"));
    fs::rename(&raw, &aside).unwrap();
    for _ in 0..12 {
        world.until_quiet().await;
        world.reconcile_later(7200).await;
    }
    let run = world.only_run().await;
    assert_eq!(run.state, State::Waiting);
    assert!(run.reason.unwrap().contains("is missing"));
    fs::rename(&aside, &raw).unwrap();
    world.until_settled().await;
    assert_eq!(world.only_run().await.state, State::Complete);
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
}

#[tokio::test]
async fn a_file_that_is_absent_before_it_is_planned_is_waited_for() {
    let mut world = World::new(&["--tries=2"]).await;
    let turns = world.put(FILE, 1, 6);
    // The marker has it planned by a message.
    world.marker("v4").await;
    let (raw, aside) = (world.path(FILE), world.path("aside"));
    fs::rename(&raw, &aside).unwrap();
    for _ in 0..12 {
        world.until_quiet().await;
        world.reconcile_later(7200).await;
    }
    assert_eq!(world.only_run().await.state, State::Waiting);
    fs::rename(&aside, &raw).unwrap();
    world.until_settled().await;
    assert_eq!((world.lines(LABELED).len(), world.asked()), (turns, turns));
    assert_eq!(world.only_run().await.state, State::Complete);
}

#[tokio::test]
async fn a_chunk_that_no_manifest_has_leaves_nothing_behind() {
    let mut world = World::new(&[]).await;
    world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.queue.clear();
    let run = world.only_run().await.run;
    for function in ["label-chunk", "abandon-chunk"] {
        for chunk in [99_999, u64::MAX] {
            world
                .call(
                    function,
                    "chunk",
                    json!({"run": run, "chunk": chunk, "again": true}),
                )
                .await;
        }
    }
    let work = world.home.path().join("work/work").join(&run);
    assert!(!work.join("parts").exists() && !work.join("ledger.jsonl").exists());
    assert!(world.queue.is_empty());
}

#[tokio::test]
async fn a_bucket_that_is_not_in_raw_any_more_leaves_status_and_totals() {
    let mut world = World::new(&[]).await;
    let turns = world.put(FILE, 1, 6);
    world.event(FILE).await;
    world.until_quiet().await;
    let other = "v4/train/renamed.json";
    fs::rename(world.path(FILE), world.path(other)).unwrap();
    let event = json!({
        "subject": format!("/blobServices/default/containers/data/blobs/{other}"),
        "eventType": "Microsoft.Storage.BlobRenamed",
        "data": {
            "api": "RenameFile",
            "destinationUrl": format!("https://account.dfs.core.windows.net/data/{other}"),
            "sourceUrl": format!("https://account.dfs.core.windows.net/data/{FILE}"),
        },
    });
    world.call("bucket-uploaded", "event", event).await;
    world.until_settled().await;
    let metadata = world.metadata();
    assert_eq!(metadata["status"], "complete", "{metadata}");
    assert_eq!(metadata["totals"]["turns"], turns);
    let warnings = metadata["warnings"].to_string();
    assert!(
        warnings.contains("train/short_3_to_5_turns.jsonl was labelled from"),
        "{warnings}"
    );
    assert_eq!(world.lines(LABELED).len(), turns);
    // A folder, and one whose names are not read.
    fs::rename(world.path("v4"), world.path("v5")).unwrap();
    // In storage a folder that is gone is listed as an empty one.
    fs::create_dir(world.path("v4")).unwrap();
    fs::write(world.path("v5/train/a%20b.json"), "[]").unwrap();
    fs::write(world.path("v5/train/lines.jsonl"), "").unwrap();
    let event = json!([{
        "subject": "/blobServices/default/containers/data/blobs/v5",
        "eventType": "Microsoft.Storage.DirectoryRenamed",
        "data": {
            "api": "RenameDirectory",
            "destinationUrl": "https://account.dfs.core.windows.net/data/v5",
            "sourceUrl": "https://account.dfs.core.windows.net/data/v4",
        },
    }]);
    world.call("bucket-uploaded", "event", event).await;
    let left = world.metadata();
    assert_eq!(
        (&left["status"], &left["totals"]["turns"], &left["splits"]),
        (&json!("partial"), &json!(0), &json!({}))
    );
    let warnings = left["warnings"].to_string();
    for name in ["short_3_to_5_turns", "renamed"] {
        let stale = format!("train/{name}.jsonl was labelled from train/{name}.json");
        assert!(warnings.contains(&stale), "{warnings}");
    }
    let card = fs::read_to_string(world.path("LABELED_v4/README.md")).unwrap();
    assert!(
        card.contains("data_files: []\n") && card.contains("is **partial**"),
        "{card}"
    );
    world.until_settled().await;
    assert_eq!(world.lines("LABELED_v5/train/renamed.jsonl").len(), turns);
    let path = world.path("LABELED_v5/labeling_metadata.json");
    let metadata = serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let warnings = metadata["warnings"].to_string();
    for name in ["train/a%20b.json", "train/lines.jsonl"] {
        assert!(warnings.contains(name), "{warnings}");
    }
}
