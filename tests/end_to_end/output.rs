//! What a run leaves behind: whole files or none, and everything that was paid for, however it ended.

use crate::harness::*;
use softlabel_doubles::azure_openai::{
    AlwaysFail, Asked, Config, Double, Fault, Faults, Latency, Limits,
};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A dataset of two buckets with 24 messages each, and a service that takes its time.
struct Slow {
    service: Service,
    home: Home,
}

impl Slow {
    fn new() -> Self {
        let latency = Latency::Fixed { ms: 20.0 };
        let service = Service::start(Config {
            latency,
            ..Config::default()
        });
        let home = Home::new();
        for (i, bucket) in ["first", "second"].into_iter().enumerate() {
            let messages = distinct(48).split_off(24 * i);
            let conversations = messages.chunks(6).take(4).enumerate();
            let conversations = conversations
                .map(|(n, messages)| conversation(&format!("{bucket}{n}"), &borrowed(messages)));
            home.write(
                &format!("ds/train/{bucket}.json"),
                array(&conversations.collect::<Vec<_>>()),
            );
        }
        home.write(
            "ds/metadata.json",
            r#"{"actual_counts":{"train":{"first":4,"second":4}}}"#,
        );
        Self { service, home }
    }

    fn command(&self) -> Softlabel {
        Softlabel::label(&self.service, &self.home.path("ds"), &self.home.path("out")).args([
            "--concurrency",
            "3",
            "--chunk-turns",
            "6",
        ])
    }

    fn labeled(&self, bucket: &str) -> PathBuf {
        self.home
            .path(&format!("out/LABELED_ds/train/{bucket}.jsonl"))
    }

    /// Starts a run and gives it back once the service was asked so often.
    fn started(&self, requests: u64) -> Running {
        self.service.clear();
        let running = self.command().start();
        self.service
            .wait_until(|double| double.stats().requests >= requests);
        running
    }

    /// Asserts that a bucket's file is either whole or not there.
    fn assert_whole_or_absent(&self) -> usize {
        let there = ["first", "second"]
            .map(|bucket| self.labeled(bucket))
            .into_iter();
        let there = there.filter(|path| path.exists()).collect::<Vec<_>>();
        for path in &there {
            assert_eq!(lines(path).len(), 24, "{}", path.display());
        }
        there.len()
    }

    fn assert_complete(&self) {
        for bucket in ["first", "second"] {
            let lines = lines(&self.labeled(bucket));
            let ids = lines
                .iter()
                .map(|line| line["messageId"].as_str().unwrap().to_owned());
            let expected = (0..4).flat_map(|n| (0..6).map(move |m| format!("{bucket}{n}-m{m}")));
            assert_eq!(ids.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            assert!(lines.iter().all(|line| line.contains_key("rationale")));
        }
        let metadata = json_file(&self.home.path("out/LABELED_ds/labeling_metadata.json"));
        assert_eq!(metadata["status"], "complete");
        assert_eq!(metadata["totals"]["labeled"], 48);
        let hidden = files(&self.home.path("out/LABELED_ds"));
        assert_eq!(hidden.len(), 7, "no draft stays behind: {hidden:?}");
    }
}

/// How often the question asked most often was answered.
fn most_answered(double: &Double) -> u32 {
    double
        .asked()
        .iter()
        .map(|Asked { answered, .. }| *answered)
        .max()
        .unwrap()
}

#[test]
fn a_killed_run_leaves_whole_files_or_none_and_is_continued() {
    let slow = Slow::new();
    // At the beginning, in the middle of the first bucket, after its end, near the end.
    let mut published = 0;
    for requests in [1, 20, 45, 20, 10] {
        let outcome = slow.started(requests).kill();
        // The last ones may have come to their end before they were killed.
        assert!(matches!(outcome.code, None | Some(0)), "{outcome}");
        published = published.max(slow.assert_whole_or_absent());
    }
    slow.service.clear();
    slow.command().ends(0);
    slow.assert_complete();
    slow.service.clear();
    slow.command().ends(0);
    assert_eq!(slow.service.stats().requests, 0);
}

#[test]
fn what_a_killed_run_had_written_down_is_not_asked_again() {
    let slow = Slow::new();
    let running = slow.started(1);
    let work = slow.home.path("out/.softlabel");
    let written = || full_records(&work).len();
    slow.service.wait_until(|_| written() >= 6);
    running.kill();
    let kept = full_records(&work);
    slow.service.clear();
    slow.command().ends(0);
    slow.assert_complete();
    let again = slow.service.classifications().len();
    assert_eq!(again, 48 - kept.len(), "{} labels were kept", kept.len());
}

#[test]
fn a_signal_lets_what_is_in_flight_finish_and_the_same_command_continues() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let slow = Slow::new();
        let running = slow.started(12);
        let pid = running.pid().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(code), "{outcome}");
        assert!(
            outcome.stderr.contains("the same command continues"),
            "{outcome}"
        );
        let asked = slow.service.stats().requests;
        assert!(asked < 60, "it stopped: {asked}");
        slow.assert_whole_or_absent();
        slow.command().ends(0);
        slow.assert_complete();
        assert_eq!(
            most_answered(&slow.service),
            1,
            "everything was paid for once"
        );
    }
}

#[test]
fn a_second_process_on_the_same_run_is_turned_away() {
    let slow = Slow::new();
    let first = slow.started(6);
    let outcome = slow.command().ends(1);
    assert!(outcome.error().contains("another process"), "{outcome}");
    let outcome = first.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    slow.assert_complete();
    assert_eq!(most_answered(&slow.service), 1);
}

#[test]
fn an_old_file_stays_until_the_new_one_is_there() {
    let slow = Slow::new();
    slow.command().ends(0);
    let before = ["first", "second"].map(|bucket| fs::read(slow.labeled(bucket)).unwrap());
    slow.service.update(|config| config.seed = 77).unwrap();
    slow.service.clear();
    let running = slow.command().args(["--restart", "--yes"]).start();
    slow.service
        .wait_until(|double| double.stats().requests >= 10);
    running.kill();
    let after = ["first", "second"].map(|bucket| fs::read(slow.labeled(bucket)).unwrap());
    assert_eq!(after, before);
    slow.command().ends(0);
    slow.assert_complete();
    let after = ["first", "second"].map(|bucket| fs::read(slow.labeled(bucket)).unwrap());
    assert!(
        after[0] != before[0] && after[1] != before[1],
        "another seed labels differently"
    );
}

#[test]
fn a_single_file_is_labelled_into_a_folder() {
    let service = Service::well();
    let home = Home::new();
    let input = home.messages(&["one", "two"]);
    fs::create_dir(home.path("there")).unwrap();
    for (output, folder) in [
        ("there", "there"),
        ("there/", "there"),
        ("new/er/", "new/er"),
    ] {
        Softlabel::label(&service, &input, &home.path(output)).ends(0);
        let file = home.path(folder).join("in.jsonl");
        assert_eq!(lines(&file).len(), 2, "{output}");
        assert!(
            home.path(folder).join("in.jsonl.softlabel").is_dir(),
            "{output}"
        );
    }
}

#[test]
fn many_files_are_labelled_where_few_may_be_open() {
    let service = Service::well();
    let home = Home::new();
    for shard in 0..150 {
        let message = format!("Why does shard {shard} fail?");
        home.write(
            &format!("ds/train/shard_{shard:03}.json"),
            array(&[conversation(&format!("c{shard}"), &[&message])]),
        );
    }
    // The soft limit is raised to the hard one.
    let limits = "ulimit -Sn 64; ulimit -Hn 128; exec \"$@\"";
    let label = Softlabel::label(&service, &home.path("ds"), &home.path("out"));
    let label = label.args(["--no-rationales", "--concurrency", "auto"]);
    let outcome = label.through(["sh", "-c", limits, "sh"]).ends(0);
    assert!(outcome.stderr.contains("128 files"), "{outcome}");
    assert_eq!(files(&home.path("out/LABELED_ds/train")).len(), 150);
}

#[test]
fn what_cannot_be_published_is_refused_before_the_first_call() {
    let slow = Slow::new();
    let metadata = slow.home.path("out/LABELED_ds/labeling_metadata.json");
    for (file, code, says) in [
        (slow.labeled("first"), 2, "a folder has its name"),
        (metadata, 1, "labeling_metadata.json"),
    ] {
        fs::create_dir_all(&file).unwrap();
        let outcome = slow.command().ends(code);
        assert!(outcome.error().contains(says), "{outcome}");
        assert!(!slow.home.path("out/.softlabel").exists(), "{outcome}");
        fs::remove_dir(&file).unwrap();
    }
    assert_eq!(slow.service.stats().requests, 0);
}

#[test]
fn a_restart_that_cannot_begin_forgets_nothing() {
    let slow = Slow::new();
    slow.started(30).kill();
    let work = slow.home.path("out/.softlabel");
    let mut before = files(&work);
    before.retain(|path| !path.ends_with("lock"));
    assert!(
        before
            .iter()
            .any(|path| path.to_string_lossy().contains("/parts/"))
    );
    let label = slow.command().args(["--restart", "--yes"]);
    slow.service
        .update(|config| config.access.api_keys = vec!["rotated".to_owned()])
        .unwrap();
    label.ends(1);
    let after = files(&work);
    assert_eq!(
        after, before,
        "what was paid for was thrown away for nothing"
    );
}

#[test]
fn a_lost_output_is_written_again_without_a_call() {
    let slow = Slow::new();
    slow.command().ends(0);
    let before = fs::read(slow.labeled("first")).unwrap();
    fs::remove_file(slow.labeled("first")).unwrap();
    slow.service.clear();
    slow.command().ends(0);
    assert_eq!(fs::read(slow.labeled("first")).unwrap(), before);
    fs::remove_dir_all(slow.home.path("out/LABELED_ds")).unwrap();
    slow.command().ends(0);
    slow.assert_complete();
    assert_eq!(fs::read(slow.labeled("first")).unwrap(), before);
    assert_eq!(slow.service.stats().requests, 0);
}

#[test]
fn a_damaged_record_costs_its_turn_and_no_other() {
    let slow = Slow::new();
    slow.command().ends(0);
    let parts = files(&slow.home.path("out/.softlabel")).into_iter();
    let mut parts = parts.filter(|path| path.to_string_lossy().contains("/parts/000000"));
    let (part, content) = parts
        .find_map(|part| {
            let content = fs::read_to_string(&part).unwrap();
            content.contains("first0-m3").then_some((part, content))
        })
        .unwrap();
    // As a full disk or a bad sector leaves it: rubbish in a line, and a torn last one.
    let kept = content.lines().filter(|line| !line.contains("first0-m3"));
    let kept = kept.map(|line| format!("{line}\n")).collect::<String>();
    let kept = kept
        .lines()
        .filter(|line| !line.contains("\"turn\":3,"))
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(
        &part,
        format!("{kept}\n\0\0\0 rubbish\n{{\"turn\":3,\"round\":0,\"lab"),
    )
    .unwrap();
    fs::remove_dir_all(slow.home.path("out/LABELED_ds")).unwrap();
    slow.service.clear();
    slow.command().ends(0);
    slow.assert_complete();
    let asked = slow.service.log();
    assert_eq!(asked.len(), 2, "one label and one rationale");
}

#[test]
fn other_settings_never_mix_with_a_run_that_began() {
    let service = Service::well();
    let home = Home::new();
    let input = home.messages(&["one", "two"]);
    let label = || Softlabel::label(&service, &input, &home.path("out.jsonl"));
    label().ends(0);
    let before = fs::read(home.path("out.jsonl")).unwrap();
    service.clear();
    for (args, says) in [
        (["--strategy", "with_context"], "strategy"),
        (["--model", "gpt-4.1"], "model"),
        (["--hard-label", "argmax"], "hard_label"),
        (["--message-tokens", "99"], "limits"),
        (["--encoding", "cl100k_base"], "encoding"),
        (["--deployment", "gpt-5.1"], "deployment"),
        (["--no-rationales", "--no-dedupe"], "with_rationales"),
    ] {
        let outcome = label().args(args).ends(1);
        assert!(outcome.error().contains("--restart"), "{outcome}");
        assert!(outcome.error().contains(says), "{says}: {outcome}");
    }
    assert_eq!(service.stats().requests, 0);
    // What decides nothing about a label may change.
    label()
        .args([
            "--concurrency",
            "7",
            "--attempts",
            "2",
            "--price-input",
            "1",
        ])
        .args(["--price-output", "2"])
        .ends(0);
    assert_eq!(service.stats().requests, 0);
    assert_eq!(fs::read(home.path("out.jsonl")).unwrap(), before);
    label()
        .args(["--strategy", "with_context", "--restart", "--yes"])
        .ends(0);
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["strategy"], "with_context");
}

#[test]
fn a_raw_file_that_changed_stops_the_run_and_a_touched_one_does_not() {
    let slow = Slow::new();
    slow.started(20).kill();
    let raw = slow.home.path("ds/train/first.json");
    let content = fs::read(&raw).unwrap();
    fs::write(
        &raw,
        String::from_utf8(content.clone())
            .unwrap()
            .replace("parser", "lexers"),
    )
    .unwrap();
    slow.service.clear();
    let outcome = slow.command().ends(1);
    assert!(
        outcome.error().contains("first.json") && outcome.error().contains("--restart"),
        "{outcome}"
    );
    assert_eq!(slow.service.stats().requests, 0);
    // The same bytes again, with another date.
    fs::write(&raw, content).unwrap();
    slow.command().ends(0);
    slow.assert_complete();
}

#[test]
fn only_failed_asks_for_what_failed_and_nothing_else() {
    let poison = AlwaysFail {
        contains: "poison".to_owned(),
        fault: Fault::Status(500),
        code: None,
    };
    let faults = Faults {
        always_fail: vec![poison],
        ..Faults::default()
    };
    let service = Service::start(Config {
        faults,
        ..Config::default()
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let input = home.messages(&["one", "poison", "", "two", "more poison"]);
    let label = || Softlabel::label(&service, &input, &out);
    label().ends(3);
    let before = lines(&out);
    service.clear();
    label().ends(3);
    assert_eq!(
        service.stats().requests,
        0,
        "a run that is at its end stays there"
    );

    service
        .update(|config| config.faults.always_fail.clear())
        .unwrap();
    label().args(["--only", "failed"]).ends(0);
    let asked = service
        .classifications()
        .iter()
        .map(message)
        .collect::<Vec<_>>();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked.iter().all(|message| message.contains("poison")),
        "{asked:?}"
    );
    let after = lines(&out);
    for (i, line) in after.iter().enumerate() {
        match i {
            1 | 4 => assert!(line.contains_key("rationale"), "{line:?}"),
            _ => assert_eq!(*line, before[i]),
        }
    }
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["status"], "complete");
    assert_eq!(metadata["totals"]["failed"], 0);
}

#[test]
fn a_signal_ends_a_wait_for_quota_at_once() {
    let latency = Latency::Fixed { ms: 20.0 };
    let service = Service::start(Config {
        latency,
        ..Config::default()
    });
    let home = Home::new();
    let input = home.messages(&borrowed(&distinct(40)));
    let label = || Softlabel::label(&service, &input, &home.path("out.jsonl"));
    let running = label().args(["--concurrency", "4"]).start();
    service.wait_until(|double| double.stats().requests > 12);
    // Nothing more in this minute, and perhaps not in the next.
    service.set_limits(Limits {
        tpm: Some(1),
        ..Limits::default()
    });
    service.wait_until(|double| double.stats().throttled_tokens > 0);
    service.wait_until(|double| double.stats().in_flight == 0);
    let start = Instant::now();
    let pid = running.pid().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    // By itself it would wait until the next minute begins.
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    service.set_limits(Limits::default());
    label().ends(0);
    assert_eq!(most_answered(&service), 1);
}

#[test]
fn a_bucket_that_arrives_later_is_labelled_by_the_same_command() {
    let service = Service::well();
    let home = Home::new();
    home.write("ds/metadata.json", r#"{"actual_counts":{}}"#);
    home.write(
        "ds/train/short.json",
        array(&[conversation("a", &["one", "two"])]),
    );
    let (ds, labeled) = (home.path("ds"), home.path("out/LABELED_ds"));
    let label = || Softlabel::label(&service, &ds, &home.path("out"));
    label().ends(0);
    let before = fs::read(labeled.join("train/short.jsonl")).unwrap();
    home.write(
        "ds/val/short.json",
        array(&[conversation("b", &["three", "one"])]),
    );
    label().ends(0);
    assert_eq!(fs::read(labeled.join("train/short.jsonl")).unwrap(), before);
    assert_eq!(lines(&labeled.join("val/short.jsonl")).len(), 2);
    let metadata = json_file(&labeled.join("labeling_metadata.json"));
    assert_eq!(metadata["status"], "complete");
    assert_eq!(metadata["totals"]["turns"], 4);
    assert_eq!(metadata["splits"]["train"]["short"]["turns"], 2);
    let probes = service.log().iter().filter(|r| message(r) == PROBE).count();
    assert_eq!(probes, 1, "the request profile stays that of the run");
}

#[test]
fn the_same_command_writes_nothing_again_that_is_published() {
    let (service, home) = (Service::well(), Home::new());
    home.write(
        "ds/train/short.json",
        array(&[conversation("a", &["one", "two"])]),
    );
    let labeled = home.path("out/LABELED_ds");
    let published = || {
        let mut files = snapshot(&labeled);
        let work = labeled.join(".softlabel");
        files.retain(|path, _| path.is_file() && !path.starts_with(&work));
        files
    };
    let label = || Softlabel::label(&service, &home.path("ds"), &home.path("out"));
    label().ends(0);
    let before = published();
    assert!(before.contains_key(&labeled.join("report.html")));
    label().ends(0);
    let after = published();
    let changed = after
        .iter()
        .filter(|(path, file)| before.get(*path) != Some(file));
    let changed = changed.map(|(path, _)| path).collect::<Vec<_>>();
    assert!(
        changed.is_empty() && after.len() == before.len(),
        "{changed:?}"
    );
}

/// A labelled dataset of one bucket with four turns.
struct Done {
    service: Service,
    home: Home,
    content: Vec<u8>,
}

impl Done {
    fn new() -> Self {
        let (service, home) = (Service::well(), Home::new());
        let texts = ["one", "two", "three", "four"];
        home.write("ds/train/short.json", array(&[conversation("a", &texts)]));
        let mut done = Self {
            service,
            home,
            content: Vec::new(),
        };
        done.label().ends(0);
        done.content = fs::read(done.file()).unwrap();
        done.service.clear();
        done
    }

    fn label(&self) -> Softlabel {
        let out = self.home.path("out");
        Softlabel::label(&self.service, &self.home.path("ds"), &out)
    }

    fn file(&self) -> PathBuf {
        self.home.path("out/LABELED_ds/train/short.jsonl")
    }
}

#[test]
fn a_labelled_file_that_was_cut_off_is_written_again_without_a_call() {
    let done = Done::new();
    let half = done.content.len() / 2;
    for left in [0, 1, half, done.content.len() - 1] {
        fs::write(done.file(), &done.content[..left]).unwrap();
        done.label().ends(0);
        assert_eq!(fs::read(done.file()).unwrap(), done.content, "{left} bytes");
    }
    assert_eq!(done.service.stats().requests, 0);
}

#[test]
fn corrections_in_a_labelled_file_are_not_written_over() {
    let done = Done::new();
    let text = String::from_utf8(done.content.clone()).unwrap();
    let longer = format!("{text}{{}}\n");
    for corrected in [text.replace("\"a\"", "\"A\""), longer] {
        fs::write(done.file(), &corrected).unwrap();
        for label in [done.label(), done.label().args(["--only", "failed"])] {
            let outcome = label.ends(2);
            let error = outcome.error();
            assert!(
                error.contains("train/short.jsonl") && error.contains("--overwrite"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(done.file()).unwrap(), corrected);
        }
    }
    done.label().arg("--overwrite").ends(0);
    assert_eq!(fs::read(done.file()).unwrap(), done.content);
    assert_eq!(done.service.stats().requests, 0);
}

#[test]
fn a_labelled_file_that_cannot_be_written_again_stays_and_the_status_is_partial() {
    type Damage = fn(&str) -> Option<String>;
    let damages: [Damage; 4] = [
        |_| None,
        |_| Some(String::new()),
        |whole| {
            Some(
                whole
                    .lines()
                    .take(2)
                    .map(|line| format!("{line}\n"))
                    .collect(),
            )
        },
        |whole| Some(whole.replace("\"hard_label\":0", "\"hard_label\":1")),
    ];
    for gone in ["/parts/", "/work/"] {
        let done = Done::new();
        for file in files(&done.home.path("out/.softlabel")) {
            if file.to_str().unwrap().contains(gone) {
                fs::remove_file(file).unwrap();
            }
        }
        let whole = String::from_utf8(done.content.clone()).unwrap();
        let metadata = done.file().with_file_name("../labeling_metadata.json");
        for damage in damages {
            let damaged = damage(&whole);
            assert_ne!(damaged.as_deref(), Some(&*whole));
            match &damaged {
                Some(content) => fs::write(done.file(), content).unwrap(),
                None => fs::remove_file(done.file()).unwrap(),
            }
            for _ in 0..2 {
                let outcome = done.label().ends(3);
                let told = outcome
                    .stderr
                    .contains("short.jsonl is not as it was published")
                    && outcome.stderr.contains("--restart");
                assert!(told, "{gone}: {outcome}");
                assert_eq!(fs::read_to_string(done.file()).ok(), damaged);
                let metadata = json_file(&metadata);
                assert_eq!(metadata["status"], "partial");
                assert!(metadata["warnings"].to_string().contains("--restart"));
            }
        }
        // Put back, it is what it was.
        fs::write(done.file(), &whole).unwrap();
        done.label().ends(0);
        assert_eq!(json_file(&metadata)["status"], "complete");
        assert_eq!(done.service.stats().requests, 0);
        fs::remove_file(done.file()).unwrap();
        done.label().args(["--restart", "--yes"]).ends(0);
        assert_eq!(lines(&done.file()).len(), 4);
    }
}

#[test]
fn a_restart_that_does_not_come_to_its_end_is_not_complete() {
    let slow = Slow::new();
    slow.command().ends(0);
    let restart = || slow.command().args(["--restart", "--yes"]);
    let capped = restart().args(["--max-cost", "0.0000001"]).ends(3);
    assert!(capped.stderr.contains("stopped early"), "{capped}");
    slow.service.clear();
    let running = restart().start();
    let is_under_way = |double: &Double| double.stats().requests >= 3;
    slow.service.wait_until(is_under_way);
    let pid = running.pid().to_string();
    let mut kill = Command::new("kill");
    assert!(kill.args(["-INT", &pid]).status().unwrap().success());
    let stopped = running.wait();
    assert_eq!(stopped.code, Some(130), "{stopped}");
    slow.assert_complete();
    slow.command().ends(0);
}

#[test]
fn a_labelled_dataset_of_somebody_else_is_refused_before_the_first_call_about_a_turn() {
    for (theirs, content) in [
        ("labeling_metadata.json", "{\"mine\": 1}"),
        ("other/x.jsonl", "precious"),
    ] {
        let (service, home) = (Service::well(), Home::new());
        home.write("ds/train/short.json", array(&[conversation("a", &["one"])]));
        let path = format!("out/LABELED_ds/{theirs}");
        home.write(&path, content);
        let label = || Softlabel::label(&service, &home.path("ds"), &home.path("out"));
        let refused = label().ends(2);
        let error = refused.error();
        assert!(
            error.contains(theirs) && error.contains("--overwrite"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(home.path(&path)).unwrap(), content);
        assert!(service.log().iter().all(|record| message(record) == PROBE));
        label().arg("--overwrite").ends(0);
    }
}

#[test]
fn a_labelled_file_of_somebody_else_is_refused_before_the_first_call_about_a_turn() {
    let service = Service::well();
    let home = Home::new();
    home.write("ds/train/short.json", array(&[conversation("a", &["one"])]));
    home.write("ds/val/short.json", array(&[conversation("b", &["two"])]));
    let theirs = "out/LABELED_ds/val/short.jsonl";
    home.write(theirs, "precious");
    let label = || Softlabel::label(&service, &home.path("ds"), &home.path("out"));
    for label in [label(), label().arg("--restart")] {
        assert!(label.ends(2).error().contains("--overwrite"));
    }
    assert_eq!(fs::read_to_string(home.path(theirs)).unwrap(), "precious");
    assert!(service.log().iter().all(|record| message(record) == PROBE));
    label().arg("--overwrite").ends(0);
    assert_eq!(lines(&home.path(theirs)).len(), 1);
}

#[test]
fn the_metadata_tells_a_labelled_file_of_ours_when_the_work_is_gone() {
    let done = Done::new();
    fs::remove_dir_all(done.home.path("out/.softlabel")).unwrap();
    done.label().ends(0);
    assert_eq!(lines(&done.file()).len(), 4);
    assert_ne!(
        done.service.stats().requests,
        0,
        "nothing of the work was left"
    );
}
