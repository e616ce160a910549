//! Locks between processes.

use crate::place::Place;
use softlabel::store::{PutMode, StoreError};
use std::time::{Duration, Instant};

over_every_backend!(
    the_second_is_told_who_has_it,
    a_lock_that_is_given_back_leaves_nothing,
    a_dropped_lock_is_given_back,
    what_a_dead_process_wrote_is_no_lock,
    who_holds_a_lock_writes_under_it,
);

async fn the_second_is_told_who_has_it(place: &Place) {
    let _lock = place.own().lock("work/lock", "process 7").await.unwrap();
    let error = place
        .own()
        .lock("work/lock", "process 8")
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    assert!(error.to_string().contains("process 7"), "{error}");
    // Another name is another lock.
    place.own().lock("lock", "process 8").await.unwrap();
}

async fn a_lock_that_is_given_back_leaves_nothing(place: &Place) {
    for holder in ["process 7", "process 8"] {
        let lock = place.own().lock("lock", holder).await.unwrap();
        lock.release().await;
        assert_eq!(place.everything().await, [""; 0]);
    }
}

async fn a_dropped_lock_is_given_back(place: &Place) {
    drop(place.own().lock("lock", "process 7").await.unwrap());
    let started = Instant::now();
    while let Err(error) = place.own().lock("lock", "process 8").await {
        assert!(started.elapsed() < Duration::from_secs(10), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn what_a_dead_process_wrote_is_no_lock(place: &Place) {
    place.put_own("lock", "process 7").await;
    place.own().lock("lock", "process 8").await.unwrap();
}

async fn who_holds_a_lock_writes_under_it(place: &Place) {
    let lock = place.own().lock("lock", "process 7").await.unwrap();
    let own = place.own().held_by(&[&lock]);
    assert!(own.create("a", b"one".to_vec()).await.unwrap());
    let (_, one) = own.read_versioned("a").await.unwrap().unwrap();
    assert!(own.swap("a", b"two".to_vec(), &one).await.unwrap());
    assert!(!own.swap("a", b"three".to_vec(), &one).await.unwrap());
    let mut draft = own.publish("b").await.unwrap();
    draft.write(b"drafted").await.unwrap();
    assert!(draft.commit(PutMode::Create).await.unwrap());
    lock.prove().await.unwrap();
    assert_eq!(place.own().read("a").await.unwrap().unwrap(), b"two");
    assert_eq!(place.own().read("b").await.unwrap().unwrap(), b"drafted");
    own.remove_file("a").await.unwrap();
    assert!(!own.exists("a").await.unwrap());
}
