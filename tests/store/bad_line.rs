//! What holds over a line that loses and cuts: nothing is done twice, given up wrongly, or read wrongly.

use crate::place::{BadPlace, tuning};
use axum::http::Method;
use softlabel::store::azure::Tuning;
use softlabel::store::{PutMode, StoreError};
use softlabel_doubles::faulty_line::Fault::{self, CutBody, Hang, LoseAnswer, LoseRequest};
use softlabel_doubles::faulty_line::When;
use std::time::{Duration, Instant};

/// Every way in which one request can go wrong and leave in doubt whether it took effect.
const DOUBTFUL: [Fault; 6] = [
    LoseRequest,
    LoseAnswer,
    Fault::Status(503),
    Fault::StatusAfter(500),
    Fault::Status(429),
    Fault::StatusAfter(503),
];

fn delete(path: &str) -> When {
    When::new(Method::DELETE, path)
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_known_again() {
    let bad = BadPlace::new().await;
    let own = bad.place.own();
    for (number, fault) in DOUBTFUL.into_iter().enumerate() {
        let path = format!("file-{number}");
        let when = || When::put(&path);
        bad.line.plan(fault, when());
        assert!(
            bad.own.create(&path, b"made".to_vec()).await.unwrap(),
            "{fault:?}"
        );
        assert!(!bad.own.create(&path, b"late".to_vec()).await.unwrap());
        let (content, version) = own.read_versioned(&path).await.unwrap().unwrap();
        assert_eq!(content, b"made");
        bad.line.plan(fault, when());
        let swapped = bad.own.swap(&path, b"swapped".to_vec(), &version).await;
        assert!(swapped.unwrap(), "{fault:?}");
        assert!(
            !bad.own
                .swap(&path, b"late".to_vec(), &version)
                .await
                .unwrap()
        );
        bad.line.plan(fault, when());
        bad.own.replace(&path, b"replaced".to_vec()).await.unwrap();
        assert_eq!(own.read(&path).await.unwrap().unwrap(), b"replaced");
        bad.line.plan(fault, delete(&path));
        bad.own.remove_file(&path).await.unwrap();
        assert!(!own.exists(&path).await.unwrap());
        assert!(bad.line.is_through(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_that_came_too_late_is_no_success() {
    let bad = BadPlace::new().await;
    let own = bad.place.own();
    own.replace("a", b"old".to_vec()).await.unwrap();
    let (_, version) = own.read_versioned("a").await.unwrap().unwrap();
    // The first try of either gets lost, and before the second somebody else writes.
    for (path, over) in [("a", Some(version)), ("b", None)] {
        bad.line.plan(LoseRequest, When::put(path));
        let held = bad.line.hold(When::put(path));
        let late = tokio::spawn({
            let own = bad.own.clone();
            async move {
                match over {
                    Some(over) => own.swap(path, b"late".to_vec(), &over).await,
                    None => own.create(path, b"late".to_vec()).await,
                }
            }
        });
        held.arrived().await;
        own.replace(path, b"other".to_vec()).await.unwrap();
        drop(held);
        assert!(!late.await.unwrap().unwrap(), "{path}");
        assert_eq!(own.read(path).await.unwrap().unwrap(), b"other");
    }
    assert!(bad.line.is_through());
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_known_again() {
    let bad = BadPlace::new().await;
    let own = bad.place.own();
    for (number, fault) in DOUBTFUL.into_iter().enumerate() {
        let path = format!("file-{number}");
        let mut mode = PutMode::Create;
        for content in ["first", "second"] {
            let commit = When::put(&path).query("comp=blocklist");
            let block = When::put(&path).query("blockid=");
            bad.line.plan(fault, block);
            bad.line.plan(fault, commit);
            let mut publication = bad.own.publish(&path).await.unwrap();
            publication.write(content.as_bytes()).await.unwrap();
            assert!(publication.commit(mode).await.unwrap(), "{fault:?}");
            let there = own.read(&path).await.unwrap().unwrap();
            assert_eq!(there, content.as_bytes());
            mode = PutMode::from(
                own.status(&path)
                    .await
                    .unwrap()
                    .map(|status| status.version),
            );
            assert!(bad.line.is_through(), "{fault:?}: {:?}", bad.line.log());
        }
        let mut stale = bad.own.publish(&path).await.unwrap();
        stale.write(b"late").await.unwrap();
        let late = stale.commit(PutMode::Create).await.unwrap();
        assert!(!late);
    }
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_there_once() {
    let bad = BadPlace::new().await;
    let own = bad.place.own();
    for (number, fault) in DOUBTFUL.into_iter().enumerate() {
        let path = format!("part-{number}");
        let append = || When::put(&path).query("comp=appendblock");
        // Making the blob and taking its lease get lost, too.
        bad.line.plan(fault, When::put(&path));
        bad.line.plan(fault, When::put(&path).query("comp=lease"));
        let (mut appender, lines) = bad.own.append(&path).await.unwrap();
        assert_eq!(lines, b"");
        bad.line.plan(fault, append().times(2));
        bad.line.plan(fault, append().after(1));
        for line in ["one\n", "two\n", "three\n"] {
            appender.append(line.as_bytes()).await.unwrap();
        }
        assert!(bad.line.is_through(), "{fault:?}");
        appender.release().await;
        let there = own.read(&path).await.unwrap().unwrap();
        assert_eq!(
            String::from_utf8(there).unwrap(),
            "one\ntwo\nthree\n",
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn an_append_that_failed_can_be_made_again() {
    let bad = BadPlace::new().await;
    for (number, fault) in DOUBTFUL.into_iter().enumerate() {
        let path = format!("part-{number}");
        let (mut appender, _) = bad.own.append(&path).await.unwrap();
        appender.append(b"zero\n").await.unwrap();
        let append = When::put(&path).query("comp=appendblock");
        bad.line.plan(fault, append.times(3));
        let error = appender.append(b"one\ntwo\n").await.unwrap_err();
        assert!(error.is_passing(), "{fault:?}: {error}");
        assert!(bad.line.is_through(), "{fault:?}");
        appender.append(b"one\ntwo\nthree\n").await.unwrap();
        appender.append(b"four\n").await.unwrap();
        let there = bad.place.own().read(&path).await.unwrap().unwrap();
        assert_eq!(
            String::from_utf8(there).unwrap(),
            "zero\none\ntwo\nthree\nfour\n",
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_ledgers_line_is_there_at_least_once() {
    let bad = BadPlace::new().await;
    for (number, fault) in DOUBTFUL.into_iter().enumerate() {
        let path = format!("ledger-{number}");
        let append = When::put(&path).query("comp=appendblock");
        // The first meets no blob.
        bad.line.plan(fault, append.after(1));
        bad.line.plan(fault, When::put(&path));
        let count = bad.own.add_line(&path, b"7").await.unwrap();
        let ledger = bad.place.own().read(&path).await.unwrap().unwrap();
        let lines = ledger
            .split_inclusive(|byte| *byte == b'\n')
            .collect::<Vec<_>>();
        assert!(
            lines.iter().all(|line| *line == b"7\n"),
            "{fault:?}: {ledger:?}"
        );
        assert!((1..=2).contains(&lines.len()), "{fault:?}");
        assert_eq!(count, lines.len() as u64);
        assert!(bad.line.is_through(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_lock_whose_answers_were_lost_is_taken_and_given_back() {
    let bad = BadPlace::new().await;
    for (number, fault) in DOUBTFUL.into_iter().enumerate() {
        let path = format!("lock-{number}");
        bad.line.plan(fault, When::put(&path).times(1));
        bad.line
            .plan(fault, When::put(&path).query("comp=lease").after(1));
        bad.line.plan(fault, delete(&path));
        let lock = bad.own.lock(&path, "process 7").await.unwrap();
        let error = bad.place.own().lock(&path, "process 8").await.unwrap_err();
        assert!(error.to_string().contains("process 7"), "{error}");
        lock.release().await;
        assert!(bad.line.is_through(), "{fault:?}: {:?}", bad.line.log());
        bad.place
            .own()
            .lock(&path, "process 8")
            .await
            .unwrap()
            .release()
            .await;
    }
    assert_eq!(bad.place.everything().await, [""; 0]);
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_read_on() {
    let bad = BadPlace::new().await;
    let expected = (0..2_000_003).map(|i| (i * 7) as u8).collect::<Vec<_>>();
    bad.place.put_raw("train/a.json", expected.clone()).await;
    let version = bad.raw.version("train/a.json").await.unwrap();
    for cuts in [
        &[0][..],
        &[1],
        &[1_000_000, 70_000, 1],
        &[2_000_002],
        &[100, 200, 300, 400, 500],
    ] {
        for cut in cuts {
            bad.line.plan(CutBody(*cut), When::get("train/a.json"));
        }
        // In between the service is not even there.
        bad.line.plan(Fault::Status(503), When::get("train/a.json"));
        let (_, mut blocks) = bad
            .raw
            .blocks("train/a.json", Some(&version))
            .await
            .unwrap();
        let mut read = Vec::new();
        while let Some(block) = blocks.recv().await {
            read.extend_from_slice(&block.unwrap());
        }
        assert!(read == expected, "{cuts:?}");
        assert!(bad.line.is_through(), "{cuts:?}");
    }
    for cut in [0, 1, 999_999] {
        bad.line.plan(CutBody(cut), When::get("train/a.json"));
        let range = 500_000..1_500_000;
        let read = bad
            .raw
            .read_range("train/a.json", range, &version)
            .await
            .unwrap();
        assert!(read == expected[500_000..1_500_000], "{cut}");
        bad.line.plan(CutBody(cut), When::get("train/a.json"));
        assert!(
            bad.raw.read("train/a.json").await.unwrap() == expected,
            "{cut}"
        );
    }
    assert!(bad.line.is_through());
}

#[tokio::test]
async fn what_was_replaced_while_it_was_read_is_not_read_on() {
    let bad = BadPlace::new().await;
    let (old, new) = (vec![b'1'; 1_000_000], vec![b'2'; 1_000_000]);
    bad.place.put_raw("train/a.json", old).await;
    bad.line.plan(CutBody(600_000), When::get("train/a.json"));
    let held = bad.line.hold(When::get("train/a.json"));
    let (version, mut blocks) = bad.raw.blocks("train/a.json", None).await.unwrap();
    let replace = async {
        held.arrived().await;
        bad.place.put_raw("train/a.json", new).await;
        drop(held);
    };
    let read = async {
        let mut read = 0;
        loop {
            match blocks.recv().await.unwrap() {
                Ok(block) => {
                    assert!(block.iter().all(|byte| *byte == b'1'));
                    read += block.len();
                }
                Err(error) => return (read, error),
            }
        }
    };
    let ((), (read, error)) = tokio::join!(replace, read);
    assert_eq!(read, 600_000);
    let StoreError::Changed { expected, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*expected, version.etag);
    assert!(blocks.recv().await.is_none());
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let bad = BadPlace::new().await;
    bad.place
        .put_raw("train/a.json", vec![b'1'; 1_000_000])
        .await;
    bad.line.plan(CutBody(1000), When::get("train/a.json"));
    bad.line
        .plan(CutBody(0), When::get("train/a.json").times(9));
    let error = bad.raw.read("train/a.json").await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    // The set number of tries, as none after the first brought another byte.
    assert_eq!(bad.line.log().len(), 3);
}

#[tokio::test]
async fn an_outage_is_told_apart_and_ends_with_it() {
    let bad = BadPlace::new().await;
    for fault in [Fault::Status(503), LoseRequest] {
        bad.line.plan(fault, When::put("a").times(3));
        let error = bad.own.replace("a", b"x".to_vec()).await.unwrap_err();
        assert!(error.is_passing(), "{error}");
        assert!(error.to_string().contains("try again later"), "{error}");
        bad.own.replace("a", b"x".to_vec()).await.unwrap();
    }
    assert!(bad.line.is_through());
}

#[tokio::test]
async fn a_service_that_is_silent_is_not_waited_for_for_ever() {
    let bad = BadPlace::with(Tuning {
        timeout: Duration::from_millis(500),
        ..tuning()
    })
    .await;
    bad.line.plan(Hang, When::put("a").times(2));
    bad.own.replace("a", b"x".to_vec()).await.unwrap();
    bad.line.plan(Hang, When::put("a").times(3));
    let started = Instant::now();
    let error = bad.own.replace("a", b"y".to_vec()).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert!(
        error.to_string().contains("no answer within 0.5 s"),
        "{error}"
    );
    assert!(started.elapsed() >= Duration::from_millis(1500));
    assert!(bad.line.is_through());
}

#[tokio::test]
async fn a_page_that_is_lost_is_asked_for_again() {
    let bad = BadPlace::with(Tuning {
        page: 3,
        ..tuning()
    })
    .await;
    for number in 0..10 {
        bad.own
            .replace(&number.to_string(), Vec::new())
            .await
            .unwrap();
    }
    for fault in [CutBody(50), Fault::Status(503), LoseAnswer] {
        let page = || When::get("/data").query("comp=list");
        bad.line.plan(fault, page().after(1));
        let listed = bad.own.list("").await.unwrap();
        let paths = listed.into_iter().map(|listed| listed.path);
        let expected = (0..10).map(|number| number.to_string());
        assert_eq!(paths.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
    assert!(bad.line.is_through());
}

#[tokio::test]
async fn who_lost_the_lease_appends_nothing() {
    let bad = BadPlace::new().await;
    let own = bad.place.own();
    let (mut first, _) = bad.own.append("part").await.unwrap();
    first.append(b"mine\n").await.unwrap();
    bad.data.break_lease("base/LABELED_v4/part").await.unwrap();
    let (mut second, lines) = own.append("part").await.unwrap();
    assert_eq!(lines, b"mine\n");
    second.append(b"theirs\n").await.unwrap();
    for _ in 0..2 {
        let error = first.append(b"lost\n").await.unwrap_err();
        assert!(matches!(error, StoreError::Held { .. }), "{error}");
    }
    second.append(b"theirs too\n").await.unwrap();
    // Also when it is given back: the other keeps it.
    first.release().await;
    second.append(b"and this\n").await.unwrap();
    let there = own.read("part").await.unwrap().unwrap();
    assert_eq!(there, b"mine\ntheirs\ntheirs too\nand this\n");
}

/// Takes as long as it is until the next renewal, 5 seconds.
#[tokio::test]
async fn who_loses_the_lease_hears_of_it() {
    let bad = BadPlace::new().await;
    let (kept, _) = bad.own.append("kept").await.unwrap();
    let (first, _) = bad.own.append("part").await.unwrap();
    bad.data.break_lease("base/LABELED_v4/part").await.unwrap();
    let _second = bad.place.own().append("part").await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(60), first.lost()).await;
    assert!(matches!(error, Ok(StoreError::Held { .. })), "{error:?}");
    assert!(futures::FutureExt::now_or_never(kept.lost()).is_none());
}

#[tokio::test]
async fn who_lost_a_lock_replaces_and_removes_nothing_under_it() {
    let bad = BadPlace::new().await;
    let work = bad.own.lock("work/lock", "process 7").await.unwrap();
    let output = bad.own.lock("lock", "process 7").await.unwrap();
    let own = bad.own.held_by(&[&work, &output]);
    own.replace("a", b"old".to_vec()).await.unwrap();
    let (_, old) = own.read_versioned("a").await.unwrap().unwrap();
    let mut draft = own.publish("a").await.unwrap();
    draft.write(b"late").await.unwrap();
    bad.data.break_lease("base/LABELED_v4/lock").await.unwrap();
    let theirs = bad.place.own();
    let second = theirs.lock("lock", "process 8").await.unwrap();
    theirs.replace("a", b"new".to_vec()).await.unwrap();
    let (_, new) = own.read_versioned("a").await.unwrap().unwrap();
    let late = || b"late".to_vec();
    let hidden = own.exists("%2e%2e/v4").await;
    assert!(matches!(hidden, Err(StoreError::Forbidden { .. })));
    let refused = [
        own.replace("a", late()).await,
        own.create("b", late()).await.map(drop),
        own.swap("a", late(), &old).await.map(drop),
        own.swap("a", late(), &new).await.map(drop),
        draft.commit(PutMode::Update(new)).await.map(drop),
        own.remove_file("a").await,
        own.remove("a").await,
        output.prove().await,
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(matches!(error, StoreError::Held { .. }), "{error}");
        assert!(error.to_string().contains("process 8"), "{error}");
    }
    assert_eq!(theirs.read("a").await.unwrap().unwrap(), b"new");
    assert!(!theirs.exists("b").await.unwrap());
    work.prove().await.unwrap();
    // Also when the other is through.
    second.release().await;
    let error = own.create("b", late()).await.unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
}

#[tokio::test]
async fn an_append_that_arrives_late_is_refused() {
    let bad = BadPlace::with(Tuning {
        timeout: Duration::from_secs(1),
        ..tuning()
    })
    .await;
    let (mut appender, _) = bad.own.append("part").await.unwrap();
    // The first try is on its way for longer than anybody waits; the second gets there.
    let held = bad.line.hold(When::put("part").query("comp=appendblock"));
    appender.append(b"one\n").await.unwrap();
    appender.append(b"two\n").await.unwrap();
    held.arrived().await;
    drop(held);
    appender.append(b"three\n").await.unwrap();
    let there = bad.place.own().read("part").await.unwrap().unwrap();
    assert_eq!(there, b"one\ntwo\nthree\n");
}

/// Takes as long as a lease lasts at least, 15 seconds.
#[tokio::test]
async fn a_lease_that_ran_out_comes_back_unless_somebody_has_it() {
    let bad = BadPlace::new().await;
    let own = bad.place.own();
    let (mut back, _) = bad.own.append("back").await.unwrap();
    let (mut gone, _) = bad.own.append("gone").await.unwrap();
    for path in ["back", "gone"] {
        let renewal = When::put(path).query("comp=lease");
        bad.line.plan(Fault::Status(503), renewal.times(1000));
    }
    let started = Instant::now();
    for path in ["back", "gone"] {
        while own.status(path).await.unwrap().unwrap().leased {
            assert!(started.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(
        started.elapsed() > Duration::from_secs(10),
        "the lease was short"
    );
    let (mut other, _) = own.append("gone").await.unwrap();
    bad.line.clear();
    back.append(b"mine\n").await.unwrap();
    assert_eq!(own.read("back").await.unwrap().unwrap(), b"mine\n");
    assert!(own.append("back").await.is_err());
    let error = gone.append(b"lost\n").await.unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    other.append(b"theirs\n").await.unwrap();
    assert_eq!(own.read("gone").await.unwrap().unwrap(), b"theirs\n");
}
