//! A process that is frozen, as by a laptop's lid, while another one does its work.

use crate::blobs::{Data, ids};
use crate::harness::*;
use serde_json::{Map, Value};
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault, Faults, Latency};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::faulty_line::{FaultyLine, When};

/// Takes as long as a lease lasts at least, 15 seconds.
#[test]
fn who_was_frozen_changes_nothing_that_another_published_meanwhile() {
    let poison = AlwaysFail {
        contains: "poison".to_owned(),
        fault: Fault::Status(503),
        code: None,
    };
    let service = Service::start(Config {
        faults: Faults {
            always_fail: vec![poison],
            ..Faults::default()
        },
        ..Config::default()
    });
    let data = Data::new();
    let texts = ["one", "poison 1", "three", "poison 2"];
    data.put(
        "base/v4/train/short.json",
        array(&[conversation("c1", &texts)]),
    );
    let storage = runtime().block_on(async {
        let azurite = Azurite::shared().await.unwrap();
        azurite.blob_endpoint().to_owned()
    });
    let line = runtime().block_on(FaultyLine::start(&storage)).unwrap();
    let url = |path| {
        let url = data.url(path).to_str().unwrap().to_owned();
        url.replace(&storage, &line.endpoint())
    };
    let label = || {
        let (input, output) = (url("base/v4"), url("base"));
        Softlabel::label(&service, input.as_ref(), output.as_ref()).arg("--no-rationales")
    };
    let path = "base/LABELED_v4/train/short.jsonl";
    let failed = || {
        let lines = data.lines(path);
        assert_eq!(ids(&lines), ["c1-m0", "c1-m1", "c1-m2", "c1-m3"]);
        let failed = |line: &&Map<String, Value>| line.contains_key("labeling_error");
        lines.iter().filter(failed).count()
    };
    label().ends(3);
    assert_eq!(failed(), 2);
    data.delete(path);

    // It is to publish again what the run has, and is about to look at what is there.
    let head = When::new("HEAD".parse().unwrap(), path);
    let held = line.hold(head);
    let home = Home::new();
    let mut frozen = Heard::start(&label(), home.path("stderr"));
    runtime().block_on(held.arrived());
    signal(frozen.child.id(), "-STOP");
    label().ends(3);
    service
        .update(|config| config.faults.always_fail.clear())
        .unwrap();
    label().args(["--only", "failed"]).ends(0);
    assert_eq!(failed(), 0);
    let published = || {
        let mut all = data.everything();
        all.retain(|name, _| name.starts_with("base/LABELED_v4/"));
        all
    };
    let before = published();

    drop(held);
    signal(frozen.child.id(), "-CONT");
    assert_eq!(frozen.code(), Some(1), "{}", frozen.so_far());
    let told = "another process works on this run";
    assert!(frozen.so_far().contains(told), "{}", frozen.so_far());
    assert_eq!(published(), before);
    service.clear();
    label().ends(0);
    assert_eq!(service.stats().requests, 0, "nothing was left to ask");
}

#[test]
fn who_was_frozen_on_one_machine_keeps_its_lock_and_goes_on() {
    let service = Service::start(Config {
        latency: Latency::Fixed { ms: 100.0 },
        ..Config::default()
    });
    let home = Home::new();
    let texts = distinct(60);
    let raw = array(&[conversation("c1", &borrowed(&texts))]);
    home.write("v4/train/short.json", raw);
    let label = Softlabel::label(&service, &home.path("v4"), &home.path("out")).args([
        "--no-rationales",
        "--concurrency",
        "4",
    ]);
    let mut frozen = Heard::start(&label, home.path("stderr"));
    let asked = || service.classifications().len();
    service.wait_until(|_| asked() > 10);
    signal(frozen.child.id(), "-STOP");
    let second = label.ends(1);
    let holder = format!("process {}", frozen.child.id());
    assert!(second.error().contains(&holder), "{second}");
    assert!(asked() < 60, "it was frozen too late");

    signal(frozen.child.id(), "-CONT");
    assert_eq!(frozen.code(), Some(0), "{}", frozen.so_far());
    let lines = lines(&home.path("out/LABELED_v4/train/short.jsonl"));
    let expected = (0..60).map(|i| format!("c1-m{i}")).collect::<Vec<_>>();
    assert_eq!(ids(&lines), expected);
    assert!(lines.iter().all(|line| line.contains_key("soft_label")));
    assert_eq!(asked(), 60, "each was asked once");
}
