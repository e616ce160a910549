//! Locks between processes.

use crate::place::Place;
use softlabel::store::StoreError;
use std::time::{Duration, Instant};

over_every_backend!(
    the_second_is_told_who_has_it,
    a_lock_that_is_given_back_leaves_nothing,
    a_dropped_lock_is_given_back,
    what_a_dead_process_wrote_is_no_lock,
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
