//! Files that appear as a whole.

use crate::place::Place;
use softlabel::store::{OwnFolder, PutMode, Version};

over_every_backend!(
    a_publication_appears_only_when_committed,
    one_that_is_dropped_leaves_nothing,
    one_of_many_blocks_is_whole,
    one_without_content_is_an_empty_file,
    it_appears_only_over_what_it_was_made_for,
    of_many_at_once_one_appears_over_a_version,
    of_many_at_once_the_last_one_stays_whole,
);

async fn version(own: &OwnFolder, path: &str) -> Option<Version> {
    let status = own.status(path).await.unwrap();
    status.map(|status| status.version)
}

async fn a_publication_appears_only_when_committed(place: &Place) {
    let own = place.own();
    own.replace("train/a.jsonl", b"old".to_vec()).await.unwrap();
    let mut publication = own.publish("train/a.jsonl").await.unwrap();
    publication.write(b"new, ").await.unwrap();
    publication.write(b"and more").await.unwrap();
    assert_eq!(own.read("train/a.jsonl").await.unwrap().unwrap(), b"old");
    assert!(publication.commit(PutMode::Overwrite).await.unwrap());
    let read = place.own().read("train/a.jsonl").await.unwrap().unwrap();
    assert_eq!(read, b"new, and more");
    assert_eq!(place.everything().await, ["base/LABELED_v4/train/a.jsonl"]);
}

async fn one_that_is_dropped_leaves_nothing(place: &Place) {
    let own = place.own();
    let mut publication = own.publish("a").await.unwrap();
    publication.write(&vec![b'x'; 5 << 20]).await.unwrap();
    drop(publication);
    assert!(!own.exists("a").await.unwrap());
    assert_eq!(own.list("").await.unwrap(), []);
    assert_eq!(place.everything().await, [""; 0]);
    // It stands in nobody's way. (Not so `create` in Azurite, to which a blob without a commit is there.)
    let free = own.publish("a").await.unwrap();
    assert!(free.commit(PutMode::Create).await.unwrap());
}

async fn one_of_many_blocks_is_whole(place: &Place) {
    let own = place.own();
    let mut publication = own.publish("a").await.unwrap();
    let mut expected = Vec::new();
    // Pieces of all sizes across the ends of blocks.
    for (number, size) in [1, 4 << 20, 0, 3_000_000, 5_000_001, 7]
        .into_iter()
        .enumerate()
    {
        let piece = (0..size)
            .map(|i| (i * 31 + number) as u8)
            .collect::<Vec<_>>();
        publication.write(&piece).await.unwrap();
        expected.extend(piece);
    }
    assert!(publication.commit(PutMode::Create).await.unwrap());
    assert!(own.read("a").await.unwrap().unwrap() == expected);
}

async fn one_without_content_is_an_empty_file(place: &Place) {
    let own = place.own();
    let publication = own.publish("a").await.unwrap();
    assert!(publication.commit(PutMode::Overwrite).await.unwrap());
    assert_eq!(own.read("a").await.unwrap().unwrap(), b"");
}

async fn it_appears_only_over_what_it_was_made_for(place: &Place) {
    let own = place.own();
    let publish = |content: &'static str, mode: PutMode| {
        let own = place.own();
        async move {
            let mut publication = own.publish("a").await.unwrap();
            publication.write(content.as_bytes()).await.unwrap();
            publication.commit(mode).await.unwrap()
        }
    };
    assert!(publish("first", PutMode::Create).await);
    assert!(!publish("late", PutMode::Create).await);
    let first = version(&own, "a").await;
    assert!(publish("second", PutMode::from(first.clone())).await);
    assert!(!publish("late", PutMode::from(first)).await);
    assert_eq!(own.read("a").await.unwrap().unwrap(), b"second");
    let second = version(&own, "a").await;
    own.remove_file("a").await.unwrap();
    assert!(!publish("late", PutMode::from(second)).await);
    assert_eq!(place.everything().await, [""; 0]);
}

async fn of_many_at_once_one_appears_over_a_version(place: &Place) {
    let own = place.own();
    own.replace("a", b"old".to_vec()).await.unwrap();
    let mode = PutMode::from(version(&own, "a").await);
    let mut publications = Vec::new();
    for number in 0..4_u8 {
        let mut publication = place.own().publish("a").await.unwrap();
        publication.write(&[number; 100]).await.unwrap();
        publications.push(publication);
    }
    let commits = publications.into_iter().map(|publication| {
        let mode = mode.clone();
        tokio::spawn(publication.commit(mode))
    });
    let mut appeared = Vec::new();
    for (number, commit) in commits.collect::<Vec<_>>().into_iter().enumerate() {
        // One whose blocks another's commit discarded may fail, but never appear.
        if commit.await.unwrap().unwrap_or(false) {
            appeared.push(number as u8);
        }
    }
    assert_eq!(appeared.len(), 1, "{appeared:?}");
    assert_eq!(own.read("a").await.unwrap().unwrap(), [appeared[0]; 100]);
    assert_eq!(place.everything().await, ["base/LABELED_v4/a"]);
}

async fn of_many_at_once_the_last_one_stays_whole(place: &Place) {
    let own = place.own();
    let mut one = own.publish("a").await.unwrap();
    let mut other = place.own().publish("a").await.unwrap();
    one.write(&[1; 1000]).await.unwrap();
    other.write(&[2; 2000]).await.unwrap();
    one.write(&[1; 1000]).await.unwrap();
    assert!(other.commit(PutMode::Overwrite).await.unwrap());
    assert_eq!(own.read("a").await.unwrap().unwrap(), [2; 2000]);
    assert!(one.commit(PutMode::Overwrite).await.unwrap());
    assert_eq!(own.read("a").await.unwrap().unwrap(), [1; 2000]);
}
