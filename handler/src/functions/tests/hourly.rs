//! What the reconciler does once an hour.

use super::*;
use std::time::Duration;

const HOUR: i64 = 3600;

const DAY: i64 = 24 * HOUR;

/// Reconciles so much later.
async fn reconcile_later(world: &mut World, seconds: i64) {
    world.reconcile_later(seconds).await;
    world.until_quiet().await;
}

async fn labeled_once(world: &mut World, seed: u64) -> usize {
    let turns = world.put(FILE, seed, 8);
    world.event(FILE).await;
    world.until_quiet().await;
    // Until its end is settled the run is not old work.
    reconcile_later(world, 60).await;
    turns
}

#[tokio::test]
async fn a_version_that_nobody_told_of_is_taken_up_within_an_hour() {
    let mut world = World::new(&[]).await;
    labeled_once(&mut world, 1).await;
    let turns = world.put(FILE, 2, 12);
    let other = "v4/test/long_10_plus_turns.json";
    let more = world.put(other, 3, 4);
    // It was there before anybody asked for it.
    world.put("v3/train/short_3_to_5_turns.json", 4, 4);
    reconcile_later(&mut world, HOUR / 2).await;
    assert_eq!(world.runs().await.len(), 1);
    reconcile_later(&mut world, HOUR / 2).await;
    assert_eq!(world.lines(LABELED).len(), turns);
    let labeled = world.lines("LABELED_v4/test/long_10_plus_turns.jsonl");
    assert_eq!(labeled.len(), more);
    assert_eq!(world.runs().await.len(), 3);
    assert!(!world.path("LABELED_v3").exists());
    reconcile_later(&mut world, DAY).await;
    assert_eq!(world.runs().await.len(), 3);
}

#[tokio::test]
async fn rounds_that_were_missed_cost_no_hour_and_what_fails_is_tried_again_soon() {
    let mut world = World::new(&[]).await;
    labeled_once(&mut world, 1).await;
    let turns = world.put(FILE, 2, 12);
    // RAW cannot be read when the hour has passed, three minutes late.
    let raw = world.path("v4");
    let aside = world.path("aside");
    fs::rename(&raw, &aside).unwrap();
    fs::write(&raw, "no folder").unwrap();
    reconcile_later(&mut world, HOUR + 180).await;
    fs::remove_file(&raw).unwrap();
    fs::rename(&aside, &raw).unwrap();
    reconcile_later(&mut world, 60).await;
    assert_eq!(world.runs().await.len(), 1);
    reconcile_later(&mut world, 600).await;
    assert_eq!(world.lines(LABELED).len(), turns);
}

#[tokio::test]
async fn old_work_is_removed_and_what_the_metadata_shows_stays() {
    let mut world = World::new(&["--retention-days=30"]).await;
    let turns = labeled_once(&mut world, 1).await;
    let run = world.only_run().await.run;
    let work = world.home.path().join(format!("work/work/{run}"));
    reconcile_later(&mut world, 29 * DAY).await;
    assert!(work.exists());
    reconcile_later(&mut world, 2 * DAY).await;
    assert!(!work.exists());
    let shown = world.only_run().await;
    assert_eq!((shown.state, shown.swept), (State::Complete, true));
    assert_eq!(world.metadata()["status"], "complete");
    assert_eq!(world.lines(LABELED).len(), turns);
    // Whatever is old, what took its place is shown.
    let request = json!({"dataset": "v4", "force": true});
    let (status, _) = world.http("relabel", "POST", "relabel", &request).await;
    assert_eq!(status, 202);
    world.until_quiet().await;
    reconcile_later(&mut world, 31 * DAY).await;
    let left = world.runs().await;
    assert!(left.iter().all(|record| record.run != run));
    assert_eq!(left.len(), 1);
    let listed = fs::read_dir(world.home.path().join("work/began")).unwrap();
    assert_eq!(listed.count(), 1);
}

#[tokio::test]
async fn a_round_that_is_cut_short_goes_on_where_it_was() {
    let mut world = World::new(&["--max-cost=0"]).await;
    for number in 0..40 {
        let file = format!("v4/train/b{number:02}.json");
        world.put(&file, number, 1);
        world.event(&file).await;
    }
    world.until_quiet().await;
    assert!(
        world
            .states()
            .await
            .iter()
            .all(|s| *s == State::AwaitingApproval)
    );
    world.app.settings.max_cost = Some("100".parse().unwrap());
    // There is no time for any, and none is looked at.
    world.app.settings.deadline = Some(Duration::ZERO);
    world.reconcile_later(60).await;
    assert_eq!(world.queue.len(), 0);
    // As after a round that came to the 30th.
    let mut runs = world.runs().await;
    runs.sort_by(|a, b| a.run.cmp(&b.run));
    let rounds = world.home.path().join("work/rounds");
    fs::create_dir_all(&rounds).unwrap();
    let looks = json!({"due": null, "up_to": runs[29].run});
    fs::write(rounds.join("looks.json"), looks.to_string()).unwrap();
    world.app.settings.deadline = None;
    world.reconcile_later(60).await;
    let first = world.queue.front().unwrap().2["run"].clone();
    assert_eq!((first, world.queue.len()), (json!(runs[30].run), 40));
    let looks = fs::read_to_string(rounds.join("looks.json")).unwrap();
    let looks = serde_json::from_str::<Value>(&looks).unwrap();
    assert_eq!(
        (&looks["due"], &looks["up_to"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_file_that_is_removed_leaves_the_metadata_within_an_hour() {
    let mut world = World::new(&[]).await;
    let turns = labeled_once(&mut world, 1).await;
    let other = "v4/test/long_10_plus_turns.json";
    let more = world.put(other, 3, 4);
    world.event(other).await;
    world.until_quiet().await;
    assert_eq!(world.metadata()["totals"]["turns"], turns + more);
    fs::remove_file(world.path(other)).unwrap();
    // Its event starts no run.
    let unread = "v4/train/a%20b.json";
    fs::write(world.path(unread), "[]").unwrap();
    world.event(unread).await;
    reconcile_later(&mut world, HOUR).await;
    let metadata = world.metadata();
    assert_eq!(metadata["totals"]["turns"], turns);
    let warnings = metadata["warnings"].to_string();
    for told in [
        "test/long_10_plus_turns.jsonl was labelled from",
        "train/a%20b.json",
    ] {
        assert!(warnings.contains(told), "{warnings}");
    }
    // The last one, too.
    fs::remove_file(world.path(FILE)).unwrap();
    reconcile_later(&mut world, HOUR).await;
    let metadata = world.metadata();
    assert_eq!(
        (&metadata["status"], &metadata["totals"]["turns"]),
        (&json!("partial"), &json!(0))
    );
    let path = world.path("LABELED_v4/labeling_metadata.json");
    let written = || fs::metadata(&path).unwrap().modified().unwrap();
    let before = written();
    reconcile_later(&mut world, HOUR).await;
    assert_eq!(written(), before);
    // What is removed with its RAW does not come back.
    fs::remove_dir_all(world.path("LABELED_v4")).unwrap();
    reconcile_later(&mut world, HOUR).await;
    assert!(!world.path("LABELED_v4").exists());
}

#[tokio::test]
async fn a_dataset_that_cannot_be_listed_is_not_taken_for_gone() {
    let mut world = World::new(&[]).await;
    let turns = labeled_once(&mut world, 1).await;
    fs::rename(world.path("v4"), world.path("aside")).unwrap();
    reconcile_later(&mut world, HOUR).await;
    let event = json!({
        "subject": "/blobServices/default/containers/data/blobs/v5",
        "eventType": "Microsoft.Storage.DirectoryRenamed",
        "data": {
            "api": "RenameDirectory",
            "destinationUrl": "https://account.dfs.core.windows.net/other/v4",
            "sourceUrl": "https://account.dfs.core.windows.net/data/v4",
        },
    });
    world.call("bucket-uploaded", "event", event).await;
    let metadata = world.metadata();
    assert_eq!(
        (&metadata["status"], &metadata["totals"]["turns"]),
        (&json!("complete"), &json!(turns))
    );
}
