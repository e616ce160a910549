//! RAW: read and never written.

use crate::place::Place;
use softlabel::store::{RawFolder, StoreError, Version};

over_every_backend!(
    a_dataset_is_its_bucket_files,
    a_file_is_read_as_a_whole_in_ranges_and_in_blocks,
    an_empty_file_is_empty,
    what_changed_is_not_read_as_what_it_was,
    a_range_beyond_the_end_is_an_error,
    what_is_not_there_is_said,
);

async fn a_dataset_is_its_bucket_files(place: &Place) {
    for file in [
        "metadata.json",
        "invalid_records_1.json",
        "train/short.json",
        "train/metadata.json",
        "train/.short.json.swp",
        ".git/config.json",
        "test/long.jsonl",
        "test/notes.txt",
        "test/a b & c%.json",
    ] {
        place.put_raw(file, "[]").await;
    }
    let buckets = place.raw().buckets().await.unwrap();
    let paths = buckets.files.iter().map(|file| file.path.as_str());
    assert_eq!(
        paths.collect::<Vec<_>>(),
        ["test/a b & c%.json", "test/long.jsonl", "train/short.json"]
    );
    assert!(buckets.left_out.in_splits.is_empty(), "{buckets:?}");
    let files = buckets.files;
    for file in files {
        assert_eq!(place.raw().read(&file.path).await.unwrap(), "[]");
    }
}

async fn content(raw: &RawFolder, path: &str, version: Option<&Version>) -> Vec<u8> {
    let (found, mut blocks) = raw.blocks(path, version).await.unwrap();
    let mut content = Vec::new();
    while let Some(block) = blocks.recv().await {
        content.extend_from_slice(&block.unwrap());
    }
    assert_eq!(found.length, content.len() as u64);
    content
}

async fn a_file_is_read_as_a_whole_in_ranges_and_in_blocks(place: &Place) {
    let expected = (0..3_000_017).map(|i| (i * 7) as u8).collect::<Vec<_>>();
    place.put_raw("train/a.json", expected.clone()).await;
    let raw = place.raw();
    let version = raw.version("train/a.json").await.unwrap();
    assert_eq!(version.length, expected.len() as u64);
    assert!(!version.etag.contains('"'));
    assert!(raw.read("train/a.json").await.unwrap() == expected);
    assert!(content(&raw, "train/a.json", None).await == expected);
    assert!(content(&raw, "train/a.json", Some(&version)).await == expected);
    for range in [
        0..1,
        5..5,
        17..4096,
        1_000_000..3_000_017,
        0..3_000_017,
        3_000_016..3_000_017,
    ] {
        let read = raw
            .read_range("train/a.json", range.clone(), &version)
            .await;
        let expected = &expected[range.start as usize..range.end as usize];
        assert!(read.unwrap() == expected, "{range:?}");
    }
}

async fn an_empty_file_is_empty(place: &Place) {
    place.put_raw("train/a.json", "").await;
    let raw = place.raw();
    let version = raw.version("train/a.json").await.unwrap();
    assert_eq!(version.length, 0);
    assert_eq!(raw.read("train/a.json").await.unwrap(), "");
    assert_eq!(content(&raw, "train/a.json", Some(&version)).await, b"");
    let read = raw
        .read_range("train/a.json", 0..0, &version)
        .await
        .unwrap();
    assert_eq!(read, "");
}

async fn what_changed_is_not_read_as_what_it_was(place: &Place) {
    place.put_raw("train/a.json", "0123456789").await;
    let raw = place.raw();
    let old = raw.version("train/a.json").await.unwrap();
    assert_eq!(
        raw.read_range("train/a.json", 2..5, &old).await.unwrap(),
        "234"
    );
    place.put_raw("train/a.json", "another text").await;
    let new = raw.version("train/a.json").await.unwrap();
    let errors = [
        raw.read_range("train/a.json", 2..5, &old)
            .await
            .unwrap_err(),
        raw.read_range("train/a.json", 2..2, &old)
            .await
            .unwrap_err(),
        raw.blocks("train/a.json", Some(&old)).await.unwrap_err(),
    ];
    for error in errors {
        let StoreError::Changed {
            expected, found, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((expected, found), (&old.etag, &new.etag));
        assert!(!error.is_passing());
    }
    assert_eq!(
        content(&raw, "train/a.json", Some(&new)).await,
        b"another text"
    );
}

async fn a_range_beyond_the_end_is_an_error(place: &Place) {
    place.put_raw("train/a.json", "0123456789").await;
    let raw = place.raw();
    let version = raw.version("train/a.json").await.unwrap();
    for range in [5..11, 10..11, 50..60] {
        let read = raw
            .read_range("train/a.json", range.clone(), &version)
            .await;
        assert!(
            matches!(read, Err(StoreError::Io { .. })),
            "{range:?}: {read:?}"
        );
    }
}

async fn what_is_not_there_is_said(place: &Place) {
    let raw = place.raw();
    let version = Version {
        etag: "x".into(),
        length: 1,
    };
    let errors = [
        raw.version("train/a.json").await.unwrap_err(),
        raw.read("train/a.json").await.unwrap_err(),
        raw.read_range("train/a.json", 0..1, &version)
            .await
            .unwrap_err(),
        raw.blocks("train/a.json", None).await.unwrap_err(),
        raw.blocks("train/a.json", Some(&version))
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_not_found(), "{error}");
        let place = raw.locate("train/a.json");
        assert_eq!(
            error.to_string(),
            format!("{place} does not exist; check the path")
        );
    }
}
