//! The same command over blobs: in Azurite, by URL, and in any mix with paths.

use crate::harness::*;
use serde_json::{Map, Value, json};
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault, Faults, Latency};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::storage::Container;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A container of its own, with RAW datasets in the folder `base`.
pub(crate) struct Data(Container);

impl Data {
    pub(crate) fn new() -> Self {
        let container = runtime().block_on(async {
            let azurite = Azurite::shared().await.unwrap();
            let container = azurite.account().unwrap().storage().container("data");
            container.create().await.unwrap();
            container
        });
        Self(container)
    }

    /// The URL of a path, as the command line takes it.
    pub(crate) fn url(&self, path: &str) -> PathBuf {
        self.0
            .url(path)
            .unwrap()
            .to_string()
            .replace("%2F", "/")
            .into()
    }

    pub(crate) fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        let put = self.0.put(path, content.into());
        runtime().block_on(put).unwrap();
    }

    pub(crate) fn delete(&self, path: &str) {
        let delete = self.0.delete(path);
        assert!(runtime().block_on(delete).unwrap(), "{path} was there");
    }

    pub(crate) fn get(&self, path: &str) -> Option<Vec<u8>> {
        let blob = runtime().block_on(self.0.get(path)).unwrap();
        blob.map(|blob| blob.content)
    }

    pub(crate) fn lines(&self, path: &str) -> Vec<Map<String, Value>> {
        let text = String::from_utf8(self.get(path).expect("it was published")).unwrap();
        let line = |line| serde_json::from_str(line).unwrap();
        text.lines().map(line).collect()
    }

    /// Name and ETag of everything.
    pub(crate) fn everything(&self) -> BTreeMap<String, String> {
        let listed = runtime().block_on(self.0.list("")).unwrap();
        listed
            .into_iter()
            .map(|item| (item.name, item.etag))
            .collect()
    }

    /// Everything that is no labelled dataset.
    fn raw(&self) -> BTreeMap<String, String> {
        let mut all = self.everything();
        all.retain(|name, _| !name.starts_with("base/LABELED_"));
        all
    }

    /// A small RAW dataset.
    fn with_dataset(self, name: &str) -> Self {
        let bucket = |texts: &[&str]| array(&[conversation("a", texts), conversation("b", texts)]);
        self.put(
            &format!("base/{name}/train/short 3.json"),
            bucket(&["one", "two"]),
        );
        self.put(&format!("base/{name}/val/short 3.json"), bucket(&["three"]));
        self.put(&format!("base/{name}/notes.txt"), "not data");
        self.put(
            &format!("base/{name}/metadata.json"),
            r#"{"actual_counts":{"train":{"short 3":2},"val":{"short 3":2}}}"#,
        );
        self
    }
}

pub(crate) fn ids(lines: &[Map<String, Value>]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["messageId"].as_str().unwrap())
        .collect()
}

#[test]
fn a_dataset_in_a_container_is_labelled_beside_it() {
    let service = Service::well();
    let data = Data::new().with_dataset("v 4");
    let raw = data.raw();
    let label = Softlabel::label(&service, &data.url("base/v 4"), &data.url("base"));
    let outcome = label.ends(0);
    assert_eq!(outcome.row("labelled dataset"), "LABELED_v 4");
    let train = data.lines("base/LABELED_v 4/train/short 3.jsonl");
    assert_eq!(ids(&train), ["a-m0", "a-m1", "b-m0", "b-m1"]);
    assert!(
        train
            .iter()
            .all(|line| line["split"] == "train" && line["bucket"] == "short 3")
    );
    assert!(train.iter().all(|line| line.contains_key("rationale")));
    assert_eq!(data.lines("base/LABELED_v 4/val/short 3.jsonl").len(), 2);
    let metadata = data.get("base/LABELED_v 4/labeling_metadata.json").unwrap();
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    assert_eq!(metadata["status"], "complete");
    let url = data.url("base/LABELED_v 4/labeling_metadata.json");
    assert!(outcome.stdout.contains(url.to_str().unwrap()), "{outcome}");
    assert_eq!(data.raw(), raw, "RAW was changed");
    let published = data.everything();
    assert!(
        published.keys().all(|name| !name.ends_with("lock")),
        "{published:?}"
    );
    let runs = "base/LABELED_v 4/.softlabel/runs/";
    assert!(published.keys().any(|name| name.starts_with(runs)));

    service.clear();
    label.ends(0);
    assert_eq!(service.stats().requests, 0, "all was there");
    let etags = |everything: BTreeMap<String, String>| {
        let mut etags = everything;
        etags.retain(|name, _| name.ends_with(".jsonl"));
        etags
    };
    assert_eq!(etags(data.everything()), etags(published));
}

/// Takes as long as a lease lasts at least, 15 seconds.
#[test]
fn a_killed_run_is_continued_by_the_same_command() {
    let service = Service::start(Config {
        latency: Latency::Fixed { ms: 100.0 },
        ..Config::default()
    });
    let texts = distinct(60);
    let data = Data::new();
    let raw = array(&[conversation("c1", &borrowed(&texts))]);
    data.put("base/v4/train/short.json", raw);
    let label = Softlabel::label(&service, &data.url("base/v4"), &data.url("base")).args([
        "--no-rationales",
        "--concurrency",
        "4",
        "--chunk-turns",
        "16",
    ]);
    let kept = || {
        let parts = data.everything().into_keys();
        let parts = parts.filter(|name| name.contains("/.softlabel/") && name.contains("/parts/"));
        let parts = parts.filter_map(|name| data.get(&name));
        let lines = parts.map(|part| part.iter().filter(|byte| **byte == b'\n').count());
        lines.sum::<usize>()
    };
    let running = label.start();
    service.wait_until(|_| kept() > 0);
    running.kill();
    let kept = kept();
    service.clear();
    let outcome = label.ends(0);
    assert!(
        outcome.stderr.contains("waiting for another process"),
        "{outcome}"
    );
    let lines = data.lines("base/LABELED_v4/train/short.jsonl");
    let expected = (0..60).map(|i| format!("c1-m{i}")).collect::<Vec<_>>();
    assert_eq!(ids(&lines), expected);
    assert!(lines.iter().all(|line| line.contains_key("soft_label")));
    assert!(kept < 60, "it was killed too late");
    // What was on its way at the kill may still have arrived.
    let asked = service.classifications().len();
    assert!(
        asked <= 60 - kept,
        "{asked} asked again, though {kept} were kept"
    );
}

#[test]
fn the_second_of_two_processes_is_told_who_the_first_is() {
    let service = Service::start(Config {
        latency: Latency::Fixed { ms: 600_000.0 },
        ..Config::default()
    });
    let data = Data::new().with_dataset("v4");
    let label = Softlabel::label(&service, &data.url("base/v4"), &data.url("base"));
    let first = label.start();
    // The probe comes once the run is claimed.
    service.wait_until(|double| double.stats().requests >= 1);
    let started = Instant::now();
    let outcome = label.ends(1);
    let holder = format!("process {}", first.pid());
    assert!(outcome.error().contains(&holder), "{outcome}");
    assert!(
        started.elapsed() > Duration::from_secs(15),
        "a dead holder would have lost it"
    );
    first.kill();
}

#[test]
fn only_failed_asks_for_what_failed_and_nothing_else() {
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
    let label =
        Softlabel::label(&service, &data.url("base/v4"), &data.url("base")).arg("--no-rationales");
    label.ends(3);
    let path = "base/LABELED_v4/train/short.jsonl";
    let before = data.lines(path);
    let failed = |lines: &[Map<String, Value>]| {
        lines
            .iter()
            .filter(|line| line.contains_key("labeling_error"))
            .count()
    };
    assert_eq!((before.len(), failed(&before)), (4, 2));
    service
        .update(|config| config.faults.always_fail.clear())
        .unwrap();
    service.clear();
    label.arg("--only").arg("failed").ends(0);
    assert_eq!(service.classifications().len(), 2);
    let after = data.lines(path);
    assert_eq!((after.len(), failed(&after)), (4, 0));
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
}

#[test]
fn blobs_and_paths_go_together() {
    let service = Service::well();
    let data = Data::new().with_dataset("v4");
    let home = Home::new();
    // From a container to this machine.
    Softlabel::label(&service, &data.url("base/v4"), &home.path("out")).ends(0);
    let here = lines(&home.path("out/LABELED_v4/train/short 3.jsonl"));
    assert!(home.path("out/.softlabel/v4/runs").is_dir());
    assert!(
        data.everything()
            .keys()
            .all(|name| !name.contains("LABELED_"))
    );
    // From this machine to a container, with work here.
    home.write(
        "v5/train/short.json",
        array(&[conversation("a", &["one", "two"])]),
    );
    Softlabel::label(&service, &home.path("v5"), &data.url("base"))
        .arg("--work")
        .arg(home.path("work"))
        .ends(0);
    let there = data.lines("base/LABELED_v5/train/short.jsonl");
    assert_eq!(there[0]["soft_label"], here[0]["soft_label"]);
    assert!(home.path("work/runs").is_dir());
    assert!(
        data.everything()
            .keys()
            .all(|name| !name.contains(".softlabel"))
    );
    // Work in a container of its own.
    let work = data
        .url("base")
        .to_str()
        .unwrap()
        .replace("/data/base", "/work/runs/v4");
    runtime().block_on(async {
        let azurite = Azurite::shared().await.unwrap();
        let account = data
            .url("")
            .to_str()
            .unwrap()
            .split('/')
            .nth(3)
            .unwrap()
            .to_owned();
        let storage = softlabel_doubles::storage::Storage::from_connection_string(
            &azurite
                .well_known_account()
                .connection_string()
                .replace("devstoreaccount1", &account),
        );
        storage.unwrap().container("work").create().await.unwrap();
    });
    Softlabel::label(&service, &data.url("base/v4"), &data.url("base"))
        .arg("--work")
        .arg(work)
        .ends(0);
    assert_eq!(data.lines("base/LABELED_v4/train/short 3.jsonl").len(), 4);
    assert!(
        data.everything()
            .keys()
            .all(|name| !name.contains(".softlabel"))
    );
}

#[test]
fn a_single_blob_is_labelled_into_a_file_or_a_labelled_folder() {
    let service = Service::well();
    let data = Data::new().with_dataset("v4");
    let home = Home::new();
    let input = data.url("base/v4/train/short 3.json");
    Softlabel::label(&service, &input, &home.path("out.jsonl"))
        .arg("--no-rationales")
        .ends(0);
    let here = lines(&home.path("out.jsonl"));
    assert_eq!(here.len(), 4);
    // The names are those of the dataset that it lies in.
    assert_eq!(
        (&here[0]["split"], &here[0]["bucket"]),
        (&"train".into(), &"short 3".into())
    );
    let label = Softlabel::label(&service, &input, &data.url("base/LABELED_try/a.jsonl"))
        .arg("--no-rationales");
    label.ends(0);
    assert_eq!(data.lines("base/LABELED_try/a.jsonl"), here);
    let work = "base/LABELED_try/a.jsonl.softlabel/labeling_metadata.json";
    assert!(data.get(work).is_some());
    service.clear();
    label.ends(0);
    assert_eq!(service.stats().requests, 0);
    // Not over a file that comes from no run.
    data.put("base/LABELED_try/b.jsonl", "precious");
    let over = Softlabel::label(&service, &input, &data.url("base/LABELED_try/b.jsonl"));
    assert!(over.ends(2).error().contains("no run wrote it"));
    assert_eq!(data.get("base/LABELED_try/b.jsonl").unwrap(), b"precious");
}

#[test]
fn a_pilot_of_blobs_lies_beside_the_whole_and_is_continued() {
    let service = Service::well();
    let data = Data::new().with_dataset("v 4");
    let pilot = |args: &[&str]| {
        Softlabel::label(&service, &data.url("base/v 4"), &data.url("base"))
            .args(["--no-rationales", "--strategy", "with_context"])
            .args(args.to_vec())
    };
    pilot(&["--sample", "3", "--pilot", "p"]).ends(0);
    assert_eq!(service.classifications().len(), 3);
    let folder = "base/LABELED_v 4.pilot-p";
    let drawn = || {
        let buckets = ["train", "val"].map(|split| format!("{folder}/{split}/short 3.jsonl"));
        buckets.map(|path| data.lines(&path).len())
    };
    assert_eq!(drawn(), [2, 1]);
    let names = data.everything().into_keys();
    let outside =
        names.filter(|name| name.starts_with("base/LABELED_") && !name.starts_with(folder));
    assert_eq!(outside.count(), 0, "only the pilot is written");
    let metadata = data
        .get(&format!("{folder}/labeling_metadata.json"))
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    let marks = json!({"name": "p", "sample": 3, "seed": 0, "of_turns": 6});
    assert_eq!(metadata["pilot"], marks);

    // Continued, and refused under its name with other settings.
    service.clear();
    data.delete(&format!("{folder}/val/short 3.jsonl"));
    pilot(&["--sample", "3", "--pilot", "p"]).ends(0);
    assert_eq!((drawn(), service.stats().requests), ([2, 1], 0));
    let refused = pilot(&["--sample", "4", "--pilot", "p"]).ends(1);
    assert!(
        refused.stderr.contains("sample: 3 there, 4 here"),
        "{refused}"
    );

    // The first turns, named after their settings; and of a single blob, beside its output.
    pilot(&["--limit", "5"]).ends(0);
    let first = "base/LABELED_v 4.pilot-reasoning-gpt-5.2-with_context-first5";
    assert_eq!(data.lines(&format!("{first}/val/short 3.jsonl")).len(), 1);
    let (input, output) = (
        data.url("base/v 4/train/short 3.json"),
        data.url("base/LABELED_try/a.jsonl"),
    );
    Softlabel::label(&service, &input, &output)
        .args(["--no-rationales", "--limit", "3", "--pilot", "p"])
        .ends(0);
    let lone = data.lines("base/LABELED_try/a.jsonl.pilot-p.jsonl");
    assert_eq!(ids(&lone), ["a-m0", "a-m1", "b-m0"]);
    assert!(data.get("base/LABELED_try/a.jsonl").is_none());

    // From this machine to a container, and back.
    let home = Home::new();
    home.write(
        "v5/train/short.json",
        array(&[conversation("a", &["one", "two"])]),
    );
    for (input, output, there) in [
        (
            home.path("v5"),
            data.url("base"),
            data.url("base/LABELED_v5.pilot-p"),
        ),
        (
            data.url("base/v 4"),
            home.path("out"),
            home.path("out/LABELED_v 4.pilot-p"),
        ),
    ] {
        Softlabel::label(&service, &input, &output)
            .args(["--limit", "1", "--pilot", "p"])
            .ends(0);
        let shown = Softlabel::new(["show", "--uncertain", "9"])
            .arg(&there)
            .ends(0);
        assert_eq!(shown.stdout.matches("soft 0.").count(), 1, "{shown}");
    }
}

#[test]
fn what_was_labelled_into_a_container_is_read_from_there() {
    let service = Service::well();
    let data = Data::new().with_dataset("v4");
    let raw = data.url("base/v4");
    Softlabel::label(&service, &raw, &data.url("base")).ends(0);
    Softlabel::label(&service, &raw, &data.url("base"))
        .args(["--sample", "2", "--pilot", "p"])
        .ends(0);
    let input = data.url("base/v4/train/short 3.json");
    let lone = data.url("base/LABELED_try/a.jsonl");
    Softlabel::label(&service, &input, &lone).ends(0);
    for (labeled, raw, turns) in [
        (data.url("base/LABELED_v4"), &raw, 6),
        (data.url("base/LABELED_v4.pilot-p"), &raw, 2),
        (lone, &input, 4),
    ] {
        let read = |command: &[&str]| {
            let read = Softlabel::new(command.to_vec()).arg(&labeled);
            read.arg("--input").arg(raw).ends(0).stdout
        };
        let rows = read(&["export", "--to", "jsonl"]);
        let rows = rows
            .lines()
            .map(|row| serde_json::from_str::<Value>(row).unwrap());
        let messages = rows.map(|row| row["message"].as_str().unwrap().to_owned());
        let said = ["one", "two", "three"];
        let messages = messages.collect::<Vec<_>>();
        assert_eq!(messages.len(), turns);
        assert!(
            messages
                .iter()
                .all(|message| said.contains(&message.as_str()))
        );
        let shown = read(&["show", "--uncertain", "9"]);
        assert_eq!(shown.matches("soft 0.").count(), turns, "{shown}");
        let report = read(&["report", "-o", "-"]);
        assert!(report.contains(&format!("about {turns} turns")), "{report}");
    }
}

#[test]
fn no_url_leads_into_raw() {
    let service = Service::well();
    let data = Data::new().with_dataset("v4").with_dataset("v5");
    data.put(
        "base/v6/train/short.json",
        array(&[conversation("a", &["one"])]),
    );
    let home = Home::new();
    let lone = home.write("lone.json", array(&[conversation("a", &["one"])]));
    let before = data.everything();
    let check = |input: &Path, output: &Path, work: Option<&Path>, expected: &str| {
        let mut label = Softlabel::label(&service, input, output);
        if let Some(work) = work {
            label = label.arg("--work").arg(work);
        }
        let outcome = label.run();
        let case = format!("{} -> {} ({work:?})", input.display(), output.display());
        assert_eq!(outcome.code, Some(2), "{case}: {outcome}");
        let error = outcome.error();
        assert!(error.contains(expected), "{case}: {error}");
        assert!(error.contains("--"), "{case}: {error}");
    };
    let url = |path: &str| data.url(path);
    let (v4, v6) = (url("base/v4"), url("base/v6"));
    let text =
        |path: &Path, from: &str, to: &str| PathBuf::from(path.to_str().unwrap().replace(from, to));
    let inside = "inside the RAW dataset";
    // Into the dataset itself, another one, and one without metadata.
    check(&v4, &v4, None, inside);
    check(&v4, &url("base/v4/train"), None, inside);
    check(&v4, &url("base/v5"), None, inside);
    check(&v6, &v6, None, "RAW lies there");
    check(&v6, &url("base/v6/out"), None, "RAW lies there");
    // Work where RAW is, or could be.
    check(&v4, &url("base"), Some(&url("base/v4/work")), inside);
    check(&v4, &url("base"), Some(&url("base/v5")), inside);
    check(&v4, &url("base"), Some(&url("base")), "RAW lies there");
    check(
        &v4,
        &url("base"),
        Some(&url("base/work")),
        "datasets lie there",
    );
    check(&v4, &home.path("out"), Some(&url("base")), "RAW lies there");
    check(
        &v6,
        &home.path("out"),
        Some(&url("base/v6")),
        "RAW lies there",
    );
    check(
        &lone,
        &url("base/LABELED_x/a.jsonl"),
        Some(&url("base/v5/x")),
        inside,
    );
    // A single file goes nowhere but into a labelled dataset.
    let no_folder = "must lie in a folder whose name begins with LABELED_";
    check(&lone, &url("base/out.jsonl"), None, no_folder);
    check(&lone, &url("base/v6/train/short.json"), None, no_folder);
    check(&lone, &url("base/v4/LABELED_x/a.jsonl"), None, inside);
    let in_v4 = url("base/v4/train/short 3.json");
    check(&in_v4, &in_v4, None, "RAW is never written");
    // What is not meant, or hides something.
    check(
        &url("base/LABELED_v4"),
        &url("base"),
        None,
        "is a labelled dataset",
    );
    check(
        &v4,
        &text(&url("base"), "/base", "/base?sv=1&sig=x"),
        None,
        "signatures",
    );
    check(
        &v4,
        &text(&url("base"), "/base", "/base/LABELED_x/../v5"),
        None,
        "leave its folder",
    );
    check(
        &v4,
        &text(&url("base"), "/base", "/base/%2e%2e/v5"),
        None,
        "leave its folder",
    );
    check(
        &v4,
        &text(&url("base"), "127.0.0.1", "example.org"),
        None,
        "https",
    );
    check(&in_v4, &url("base/LABELED_x"), None, no_folder);
    check(&v4, &url("base/v4/notes.txt"), None, "is a file");
    assert_eq!(data.everything(), before);
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn what_is_not_there_is_said() {
    let service = Service::well();
    let data = Data::new().with_dataset("v4");
    let output = data.url("base");
    for (input, expected) in [
        (data.url("base/nowhere"), "holds no <split>/<bucket>.json"),
        (data.url("base/v4/train"), "holds no <split>/<bucket>.json"),
        (
            data.url("base")
                .to_str()
                .unwrap()
                .replace("/data/", "/nowhere/")
                .into(),
            "not exist",
        ),
    ] {
        let outcome = Softlabel::label(&service, &input, &output).ends(1);
        assert!(outcome.error().contains(expected), "{outcome}");
        assert!(outcome.error().contains("http://127.0.0.1"), "{outcome}");
    }
}
