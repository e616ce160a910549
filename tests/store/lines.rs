//! Files of lines.

use crate::place::Place;
use softlabel::store::{Appender, OwnFolder, StoreError};
use std::time::{Duration, Instant};

over_every_backend!(
    lines_outlive_their_writer,
    a_file_of_lines_has_one_writer,
    a_dropped_writer_makes_way,
    a_torn_line_is_nobodys,
    more_lines_than_fit_at_once_are_all_there,
    a_ledger_takes_lines_from_many,
    a_ledger_that_is_held_is_not_written,
);

async fn lines_outlive_their_writer(place: &Place) {
    let (mut appender, lines) = place.own().append("parts/1.jsonl").await.unwrap();
    assert_eq!(lines, b"");
    appender.append(b"one\ntwo\n").await.unwrap();
    appender.append(b"").await.unwrap();
    appender.append(b"three\n").await.unwrap();
    let there = place.own().read("parts/1.jsonl").await.unwrap().unwrap();
    assert_eq!(there, b"one\ntwo\nthree\n");
    appender.release().await;
    let (mut appender, lines) = place.own().append("parts/1.jsonl").await.unwrap();
    assert_eq!(lines, b"one\ntwo\nthree\n");
    appender.append(b"four\n").await.unwrap();
    let there = place.own().read("parts/1.jsonl").await.unwrap().unwrap();
    assert_eq!(there, b"one\ntwo\nthree\nfour\n");
}

async fn a_file_of_lines_has_one_writer(place: &Place) {
    let own = place.own();
    let (mut first, _) = own.append("part").await.unwrap();
    assert!(own.status("part").await.unwrap().unwrap().leased);
    for other in [own.clone(), place.own()] {
        let error = other.append("part").await.unwrap_err();
        assert!(matches!(error, StoreError::Held { .. }), "{error}");
        assert!(!error.is_passing());
    }
    first.append(b"mine\n").await.unwrap();
    first.release().await;
    assert!(!own.status("part").await.unwrap().unwrap().leased);
    let (_second, lines) = place.own().append("part").await.unwrap();
    assert_eq!(lines, b"mine\n");
}

/// Takes the file as soon as it is free.
async fn soon(own: &OwnFolder, path: &str) -> (Appender, Vec<u8>) {
    let started = Instant::now();
    loop {
        match own.append(path).await {
            Ok(taken) => return taken,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_dropped_writer_makes_way(place: &Place) {
    let (mut appender, _) = place.own().append("part").await.unwrap();
    appender.append(b"mine\n").await.unwrap();
    drop(appender);
    let (_, lines) = soon(&place.own(), "part").await;
    assert_eq!(lines, b"mine\n");
}

async fn a_torn_line_is_nobodys(place: &Place) {
    let own = place.own();
    let (mut appender, _) = own.append("part").await.unwrap();
    appender.append(b"one\ntwo\nthr").await.unwrap();
    appender.release().await;
    let (mut appender, lines) = own.append("part").await.unwrap();
    assert_eq!(lines, b"one\ntwo\n");
    appender.append(b"three\n").await.unwrap();
    let there = own.read("part").await.unwrap().unwrap();
    let there = String::from_utf8(there).unwrap();
    let whole = there.lines().filter(|line| *line != "thr");
    assert_eq!(whole.collect::<Vec<_>>(), ["one", "two", "three"]);
    assert!(there.ends_with('\n'));
}

async fn more_lines_than_fit_at_once_are_all_there(place: &Place) {
    let own = place.own();
    let line = |number: usize| format!("{number:0>60000}\n");
    let lines = (0..150).map(line).collect::<String>();
    let long = format!("{}\n", "x".repeat(9_000_000));
    let (mut appender, _) = own.append("part").await.unwrap();
    appender.append(lines.as_bytes()).await.unwrap();
    appender.append(long.as_bytes()).await.unwrap();
    appender.release().await;
    let (_, there) = own.append("part").await.unwrap();
    assert!(there == format!("{lines}{long}").as_bytes());
}

async fn a_ledger_takes_lines_from_many(place: &Place) {
    let tasks = (0..4).map(|writer| {
        let own = place.own();
        tokio::spawn(async move {
            let mut counts = Vec::new();
            for number in 0..5 {
                let line = format!("{writer}.{number}");
                counts.push(own.add_line("ledger", line.as_bytes()).await.unwrap());
            }
            counts
        })
    });
    let mut counts = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        let of_one = task.await.unwrap();
        assert!(of_one.is_sorted_by(|a, b| a < b), "{of_one:?}");
        counts.extend(of_one);
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    let ledger = place.own().read("ledger").await.unwrap().unwrap();
    let ledger = String::from_utf8(ledger).unwrap();
    let mut lines = ledger.lines().collect::<Vec<_>>();
    lines.sort_unstable();
    let expected = (0..4).flat_map(|w| (0..5).map(move |n| format!("{w}.{n}")));
    assert_eq!(lines, expected.collect::<Vec<_>>());
    // One that has its end gets no second one.
    assert_eq!(place.own().add_line("ledger", b"end\n").await.unwrap(), 21);
    let ledger = place.own().read("ledger").await.unwrap().unwrap();
    assert!(ledger.ends_with(b"\nend\n"));
}

async fn a_ledger_that_is_held_is_not_written(place: &Place) {
    let own = place.own();
    let (_held, _) = own.append("ledger").await.unwrap();
    let error = place.own().add_line("ledger", b"x").await.unwrap_err();
    // None of ours leases one in Azure, so that a lease there is refused as somebody's.
    let is_held = matches!(error, StoreError::Held { .. } | StoreError::Refused { .. });
    assert!(is_held, "{error}");
    assert_eq!(own.read("ledger").await.unwrap().unwrap(), b"");
}
