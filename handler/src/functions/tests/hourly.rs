//! What the reconciler does once an hour.

use super::*;

const DAY: i64 = 24 * 3600;

/// Reconciles `days` later, at the next time at which it is `minute` minutes past an hour.
async fn reconcile_at(world: &mut World, days: i64, minute: i64) {
    LATER.set(LATER.get() + days * DAY);
    let minutes = (minute - now().as_second() / 60).rem_euclid(60);
    world.reconcile_later(minutes * 60).await;
    world.until_quiet().await;
}

async fn labeled_once(world: &mut World, seed: u64) -> usize {
    let turns = world.put(FILE, seed, 8);
    world.event(FILE).await;
    world.until_quiet().await;
    // Until its end is settled the run is not old work.
    reconcile_at(world, 0, 10).await;
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
    reconcile_at(&mut world, 0, 29).await;
    assert_eq!(world.runs().await.len(), 1);
    reconcile_at(&mut world, 0, 30).await;
    assert_eq!(world.lines(LABELED).len(), turns);
    let labeled = world.lines("LABELED_v4/test/long_10_plus_turns.jsonl");
    assert_eq!(labeled.len(), more);
    assert_eq!(world.runs().await.len(), 3);
    assert!(!world.path("LABELED_v3").exists());
    reconcile_at(&mut world, 1, 30).await;
    assert_eq!(world.runs().await.len(), 3);
}

#[tokio::test]
async fn old_work_is_removed_and_what_the_metadata_shows_stays() {
    let mut world = World::new(&["--retention-days=30"]).await;
    let turns = labeled_once(&mut world, 1).await;
    let run = world.only_run().await.run;
    let work = world.home.path().join(format!("work/work/{run}"));
    reconcile_at(&mut world, 29, 0).await;
    assert!(work.exists());
    reconcile_at(&mut world, 2, 1).await;
    assert!(work.exists());
    reconcile_at(&mut world, 0, 0).await;
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
    reconcile_at(&mut world, 31, 0).await;
    let left = world.runs().await;
    assert!(left.iter().all(|record| record.run != run));
    assert_eq!(left.len(), 1);
}
