//! Files as a whole: read, replaced, made once, swapped, listed, removed.

use crate::place::Place;
use softlabel::store::{OwnFolder, StoreError};

over_every_backend!(
    a_file_is_what_was_written_last,
    of_many_that_make_a_file_one_does,
    of_many_that_swap_a_version_one_does,
    a_version_never_comes_twice,
    what_was_swapped_or_removed_meanwhile_is_left_alone,
    a_status_tells_what_a_read_would,
    names_are_kept_as_they_are,
    a_listing_is_what_lies_below_a_folder,
    a_listing_of_many_pages_has_each_file_once,
    a_folder_is_removed_with_all_below_and_nothing_beside,
    no_path_leaves_the_folder,
    trying_out_leaves_nothing,
);

async fn a_file_is_what_was_written_last(place: &Place) {
    let own = place.own();
    assert_eq!(own.read("a/b.json").await.unwrap(), None);
    assert!(!own.exists("a/b.json").await.unwrap());
    for content in ["one", "", "three"] {
        let written = own.replace("a/b.json", content.into()).await;
        written.unwrap();
        let read = place.own().read("a/b.json").await.unwrap().unwrap();
        assert_eq!(read, content.as_bytes());
    }
    assert!(own.exists("a/b.json").await.unwrap());
    own.remove_file("a/b.json").await.unwrap();
    own.remove_file("a/b.json").await.unwrap();
    own.remove_file("nowhere/at.all").await.unwrap();
    assert_eq!(own.read("a/b.json").await.unwrap(), None);
    assert_eq!(place.everything().await, [""; 0]);
}

async fn of_many_that_make_a_file_one_does(place: &Place) {
    let tasks = (0..8).map(|number| {
        let own = place.own();
        tokio::spawn(async move {
            let content = format!("{number}").repeat(1000);
            own.create("once", content.into()).await.unwrap()
        })
    });
    let mut made = Vec::new();
    for (number, task) in tasks.collect::<Vec<_>>().into_iter().enumerate() {
        if task.await.unwrap() {
            made.push(number);
        }
    }
    assert_eq!(made.len(), 1, "{made:?}");
    let content = place.own().read("once").await.unwrap().unwrap();
    assert_eq!(content, made[0].to_string().repeat(1000).as_bytes());
}

async fn of_many_that_swap_a_version_one_does(place: &Place) {
    let own = place.own();
    own.replace("counter", b"0".to_vec()).await.unwrap();
    let count = |own: OwnFolder| async move {
        let mut swapped = 0;
        for _ in 0..5 {
            let (content, version) = own.read_versioned("counter").await.unwrap().unwrap();
            let number = String::from_utf8(content).unwrap().parse::<u32>().unwrap();
            let next = (number + 1).to_string().into_bytes();
            swapped += u32::from(own.swap("counter", next, &version).await.unwrap());
        }
        swapped
    };
    let tasks = (0..4).map(|_| tokio::spawn(count(place.own())));
    let mut swapped = 0;
    for task in tasks.collect::<Vec<_>>() {
        swapped += task.await.unwrap();
    }
    let content = own.read("counter").await.unwrap().unwrap();
    assert_eq!(String::from_utf8(content).unwrap(), swapped.to_string());
    assert!(swapped >= 5, "{swapped}");
}

async fn a_version_never_comes_twice(place: &Place) {
    let own = place.own();
    let mut versions = Vec::new();
    for number in 0..20 {
        // As long as the others, and quicker than a file system's clock ticks.
        own.replace("a", format!("{:02}", number % 2).into())
            .await
            .unwrap();
        versions.push(own.status("a").await.unwrap().unwrap().version.etag);
    }
    let all = versions.len();
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), all);
}

async fn what_was_swapped_or_removed_meanwhile_is_left_alone(place: &Place) {
    let own = place.own();
    own.replace("a", b"old".to_vec()).await.unwrap();
    let (_, version) = own.read_versioned("a").await.unwrap().unwrap();
    assert!(own.swap("a", b"new".to_vec(), &version).await.unwrap());
    assert!(!own.swap("a", b"late".to_vec(), &version).await.unwrap());
    assert!(!own.create("a", b"late".to_vec()).await.unwrap());
    assert_eq!(own.read("a").await.unwrap().unwrap(), b"new");
    let (_, version) = own.read_versioned("a").await.unwrap().unwrap();
    own.remove_file("a").await.unwrap();
    assert!(!own.swap("a", b"late".to_vec(), &version).await.unwrap());
    assert_eq!(own.read("a").await.unwrap(), None);
    assert!(own.create("a", b"again".to_vec()).await.unwrap());
}

async fn a_status_tells_what_a_read_would(place: &Place) {
    let own = place.own();
    assert_eq!(own.status("a").await.unwrap(), None);
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(5);
    own.replace("a", b"12345".to_vec()).await.unwrap();
    let status = own.status("a").await.unwrap().unwrap();
    let (_, version) = own.read_versioned("a").await.unwrap().unwrap();
    assert_eq!(status.version, version);
    assert_eq!(version.length, 5);
    assert!(!version.etag.contains('"'));
    assert!(!status.leased);
    let after = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5);
    assert!((before..after).contains(&status.modified), "{status:?}");
    let listed = own.list("").await.unwrap();
    assert_eq!(listed[0].version, version);
    assert_eq!(listed[0].modified.as_second(), status.modified.as_second());
}

async fn names_are_kept_as_they_are(place: &Place) {
    let own = place.own();
    let names = [
        "a b/c+d.json",
        "träin/日本.json",
        "100%/50%25.json",
        "a&b/<c>;d=e,f.json",
        "q/what#now~(1)'[2]{3}@!$.json",
    ];
    for name in names {
        own.replace(name, name.into()).await.unwrap();
    }
    for name in names {
        let content = place.own().read(name).await.unwrap().unwrap();
        assert_eq!(content, name.as_bytes(), "{name}");
    }
    let listed = own.list("").await.unwrap();
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(paths(&listed), expected);
    for name in names {
        own.remove_file(name).await.unwrap();
    }
    assert_eq!(place.everything().await, [""; 0]);
}

fn paths(listed: &[softlabel::store::Listed]) -> Vec<&str> {
    listed.iter().map(|listed| listed.path.as_str()).collect()
}

async fn a_listing_is_what_lies_below_a_folder(place: &Place) {
    let own = place.own();
    assert_eq!(own.list("").await.unwrap(), []);
    assert_eq!(own.list("a").await.unwrap(), []);
    for path in ["a/1", "a/b/2", "a/b/c/3", "ab/4", "5", "a/.hidden", ".x/6"] {
        own.replace(path, path.into()).await.unwrap();
    }
    let listed = |prefix: &'static str| async move {
        let listed = place.own().list(prefix).await.unwrap();
        paths(&listed).join(" ")
    };
    assert_eq!(listed("").await, ".x/6 5 a/1 a/b/2 a/b/c/3 ab/4");
    assert_eq!(listed("a").await, "a/1 a/b/2 a/b/c/3");
    assert_eq!(listed("a/b").await, "a/b/2 a/b/c/3");
    assert_eq!(listed("a/1").await, "");
    assert_eq!(listed("nowhere").await, "");
}

async fn a_listing_of_many_pages_has_each_file_once(place: &Place) {
    let own = place.own();
    // The fixture's pages have 100 names.
    let expected = (0..250).map(|n| format!("many/{n:04}")).collect::<Vec<_>>();
    for path in &expected {
        own.replace(path, Vec::new()).await.unwrap();
    }
    assert_eq!(paths(&own.list("many").await.unwrap()), expected);
    own.remove("many").await.unwrap();
    assert_eq!(place.everything().await, [""; 0]);
}

async fn a_folder_is_removed_with_all_below_and_nothing_beside(place: &Place) {
    let own = place.own();
    for path in ["a/1", "a/b/2", "ab/3", "4"] {
        own.replace(path, Vec::new()).await.unwrap();
    }
    own.remove("a").await.unwrap();
    own.remove("a").await.unwrap();
    let left = own.list("").await.unwrap();
    assert_eq!(paths(&left), ["4", "ab/3"]);
}

async fn no_path_leaves_the_folder(place: &Place) {
    place.put_raw("train/a.json", "RAW").await;
    let before = place.everything().await;
    let own = place.own();
    let version = softlabel::store::Version {
        etag: "x".into(),
        length: 3,
    };
    for path in [
        "",
        ".",
        "..",
        "../v4/train/a.json",
        "x/../../v4/train/a.json",
        "/x",
        "x//y",
        "x/",
    ] {
        let refused = [
            own.read(path).await.err(),
            own.replace(path, Vec::new()).await.err(),
            own.create(path, Vec::new()).await.err(),
            own.swap(path, Vec::new(), &version).await.err(),
            own.publish(path).await.err(),
            own.try_out(path).await.err(),
            own.append(path).await.err(),
            own.add_line(path, b"x").await.err(),
            own.status(path).await.err(),
            own.exists(path).await.err(),
            own.remove_file(path).await.err(),
            own.remove(path).await.err(),
            own.lock(path, "me").await.err(),
        ];
        for (method, error) in refused.iter().enumerate() {
            assert!(
                matches!(error, Some(StoreError::Forbidden { .. })),
                "{path:?}, {method}: {error:?}"
            );
        }
        if !path.is_empty() {
            assert!(own.list(path).await.is_err(), "{path:?}");
        }
    }
    assert_eq!(place.everything().await, before);
}

async fn trying_out_leaves_nothing(place: &Place) {
    let own = place.own();
    own.try_out("train/a.jsonl").await.unwrap();
    assert_eq!(place.everything().await, [""; 0]);
    own.replace("train/a.jsonl", b"old".to_vec()).await.unwrap();
    own.try_out("train/a.jsonl").await.unwrap();
    assert_eq!(own.read("train/a.jsonl").await.unwrap().unwrap(), b"old");
}
