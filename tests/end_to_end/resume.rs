//! A run that ends before its end, and the same command again: nothing is lost and nothing is paid
//! for twice.

use crate::harness::*;
use serde_json::{Map, Value};
use softlabel_doubles::azure_openai::{
    AlwaysFail, Config, Fault, Faults, Kind, Latency, Limits, Record,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A result waits no longer than this for the disk, and as long again on a busy machine.
const UNFLUSHED: Duration = Duration::from_secs(2);

/// A lone file of distinct messages, and its service.
struct Lone {
    service: Service,
    home: Home,
}

impl Lone {
    fn new(config: Config, messages: &[&str]) -> Self {
        let (service, home) = (Service::start(config), Home::new());
        home.messages(messages);
        Self { service, home }
    }

    fn of(count: usize, latency_ms: f64) -> Self {
        let latency = Latency::Fixed { ms: latency_ms };
        Self::new(
            Config {
                latency,
                ..Config::default()
            },
            &borrowed(&distinct(count)),
        )
    }

    fn label(&self) -> Softlabel {
        Softlabel::label(&self.service, &self.input(), &self.output()).args(["--concurrency", "4"])
    }

    fn input(&self) -> PathBuf {
        self.home.path("in.json")
    }

    fn output(&self) -> PathBuf {
        self.home.path("out.jsonl")
    }

    fn work(&self) -> PathBuf {
        self.home.path("out.jsonl.softlabel")
    }

    /// The lines, one a message and in the order of the messages.
    fn lines(&self, count: usize) -> Vec<Map<String, Value>> {
        let lines = lines(&self.output());
        let ids = lines
            .iter()
            .map(|line| line["messageId"].as_str().unwrap().to_owned());
        assert_eq!(
            ids.collect::<Vec<_>>(),
            (0..count).map(|i| format!("c1-m{i}")).collect::<Vec<_>>()
        );
        lines
    }

    /// Calls that were answered more than once, by kind and message.
    fn repeated(&self) -> Vec<Vec<Record>> {
        let mut calls = BTreeMap::<_, Vec<Record>>::new();
        let answered = |record: &Record| record.status == Some(200) && record.fully_sent;
        for record in self.service.log().into_iter().filter(answered) {
            let probe = record.kind == Kind::Classification && message(&record) == PROBE;
            if !probe {
                calls
                    .entry((record.kind, record.key))
                    .or_default()
                    .push(record);
            }
        }
        calls
            .into_values()
            .filter(|records| records.len() > 1)
            .collect()
    }
}

fn poison(fault: Fault) -> Faults {
    let always = AlwaysFail {
        contains: "poison".to_owned(),
        fault,
        code: None,
    };
    Faults {
        always_fail: vec![always],
        ..Faults::default()
    }
}

fn heal(service: &Service) {
    service
        .update(|config| config.faults.always_fail.clear())
        .unwrap();
}

#[test]
fn a_kill_costs_what_was_in_flight_or_not_flushed_and_nothing_else() {
    let lone = Lone::of(60, 10.0);
    let started = Instant::now();
    let mut kills = Vec::new();
    let mut running = lone.label().start();
    for requests in [15, 40, 70, 100] {
        lone.service
            .wait_until(|double| double.stats().requests >= requests);
        running.kill();
        kills.push(started.elapsed());
        running = lone.label().start();
    }
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        lone.lines(60)
            .iter()
            .all(|line| line.contains_key("rationale"))
    );
    let repeated = lone.repeated();
    assert!(!repeated.is_empty(), "nothing was in flight at any kill");
    for records in repeated {
        // The double counts time from its own start, before `started`.
        let first = Duration::from_micros(records[0].arrived_us);
        let again = Duration::from_micros(records[1].arrived_us);
        let excused = |kill: &Duration| first <= *kill + UNFLUSHED && *kill <= again + UNFLUSHED;
        assert!(
            kills.iter().any(excused),
            "{first:?} and {again:?}, killed at {kills:?}"
        );
        assert!(
            again - first < 2 * UNFLUSHED,
            "{first:?} was lost though it was old: {again:?}"
        );
    }
}

#[test]
fn a_label_that_is_paid_for_keeps_while_its_rationale_is_asked_again() {
    let lone = Lone::new(
        Config {
            text_latency: Some(Latency::Fixed { ms: 600_000.0 }),
            ..Config::default()
        },
        &borrowed(&distinct(4)),
    );
    let running = lone.label().start();
    lone.service
        .wait_until(|_| full_records(&lone.work()).len() == 4);
    running.kill();
    let labels = full_records(&lone.work());
    lone.service
        .update(|config| config.text_latency = None)
        .unwrap();
    lone.service.clear();
    lone.label().ends(0);
    assert!(
        lone.lines(4)
            .iter()
            .all(|line| line.contains_key("rationale"))
    );
    let kinds = lone.service.stats().by_kind;
    assert_eq!(
        kinds,
        [(Kind::Text, 4)].into(),
        "only the rationales, and no probe either"
    );
    assert_eq!(full_records(&lone.work()), labels);
}

#[test]
fn the_first_signal_waits_for_what_is_in_flight_and_the_second_for_nothing() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let config = Config {
            text_latency: Some(Latency::Fixed { ms: 600_000.0 }),
            ..Config::default()
        };
        let lone = Lone::new(config, &borrowed(&distinct(8)));
        let mut heard = Heard::start(&lone.label(), lone.home.path("stderr"));
        lone.service
            .wait_until(|_| full_records(&lone.work()).len() >= 4);
        signal(heard.child.id(), name);
        heard.wait_for("a second signal stops at once");
        assert!(
            heard.child.try_wait().unwrap().is_none(),
            "it waits for what is in flight"
        );
        signal(heard.child.id(), name);
        assert_eq!(heard.code(), Some(code));
        lone.service
            .update(|config| config.text_latency = None)
            .unwrap();
        lone.service.clear();
        lone.label().ends(0);
        lone.lines(8);
    }
}

#[test]
fn a_signal_before_anything_is_labelled_leaves_nothing() {
    let lone = Lone::of(4, 600_000.0);
    let running = lone.label().start();
    lone.service
        .wait_until(|double| double.stats().requests > 0);
    signal(running.pid(), "-INT");
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert_eq!(files(&lone.home.path(".")), [lone.home.path("./in.json")]);
    assert!(!lone.work().exists());
}

#[test]
fn a_signal_keeps_what_was_in_flight_and_says_how_to_go_on() {
    let lone = Lone::of(40, 30.0);
    let running = lone.label().start();
    lone.service
        .wait_until(|double| double.stats().requests >= 12);
    signal(running.pid(), "-INT");
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert!(
        outcome.stderr.contains("the same command continues"),
        "{outcome}"
    );
    let unanswered = lone
        .service
        .log()
        .into_iter()
        .filter(|record| !record.fully_sent)
        .count();
    assert_eq!(unanswered, 0, "every call was let finish");
    lone.label().ends(0);
    lone.lines(40);
    assert_eq!(lone.repeated(), Vec::<Vec<Record>>::new());
}

#[test]
fn a_disk_that_is_full_stops_the_run_and_space_continues_it() {
    let lone = Lone::of(60, 1.0);
    // A limit on the size of files stands for the full disk, for it needs no rights; the signal that
    // comes with it is ignored as it is on a full disk, where there is none.
    let limited = [
        "bash",
        "-c",
        "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"",
    ];
    let outcome = lone.label().through(limited).ends(1);
    let error = outcome.error();
    assert!(
        error.contains("parts/000000.jsonl") && error.contains("the same command continues"),
        "{error}"
    );
    assert!(!lone.output().exists());
    let kept = full_records(&lone.work()).len();
    assert!(kept > 5, "what fitted was kept: {kept}");
    lone.service.clear();
    lone.label().ends(0);
    lone.lines(60);
    assert_eq!(lone.service.classifications().len(), 60 - kept);
}

/// Messages of all kinds: labelled, failed, not labelable.
const MIXED: [&str; 8] = [
    "one",
    "poison a",
    "",
    "two",
    "forbidden fruit",
    "poison b",
    "  ",
    "poison a",
];

/// A run over [`MIXED`] that came to its end with three failed turns, two questions.
fn partial() -> Lone {
    let mut config = Config {
        faults: poison(Fault::Status(500)),
        ..Config::default()
    };
    config.content_filter.prompt_contains = vec!["forbidden fruit".to_owned()];
    let lone = Lone::new(config, &MIXED);
    lone.label().ends(3);
    let lines = lone.lines(8);
    let codes = lines.iter().map(error_code).collect::<Vec<_>>();
    let (bad, empty) = ("transient", "empty_message");
    assert_eq!(
        codes,
        ["", bad, empty, "", "content_filtered", bad, empty, bad]
    );
    lone.service.clear();
    lone
}

/// Lines as they are written.
fn text_lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn only_failed_asks_for_failed_turns_and_leaves_every_other_byte() {
    let lone = partial();
    let before = text_lines(&lone.output());
    heal(&lone.service);
    lone.label().args(["--only", "failed"]).ends(0);
    let mut asked = lone
        .service
        .classifications()
        .iter()
        .map(message)
        .collect::<Vec<_>>();
    asked.sort();
    assert_eq!(
        asked,
        ["poison a", "poison b"],
        "not the filtered one, not the empty ones, no probe"
    );
    assert_eq!(
        lone.service.stats().by_kind.values().sum::<u64>(),
        4,
        "labels and rationales"
    );
    let after = text_lines(&lone.output());
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(
            before == after,
            !MIXED[i].contains("poison"),
            "{before}\n{after}"
        );
    }
    lone.service.clear();
    lone.label().args(["--only", "failed"]).ends(0);
    assert_eq!(text_lines(&lone.output()), after);
    assert_eq!(
        lone.service.stats().requests,
        0,
        "nothing failed, nothing is asked"
    );
}

#[test]
fn turns_that_fail_again_are_asked_once_a_command() {
    let lone = partial();
    let before = text_lines(&lone.output());
    for _ in 0..2 {
        lone.service.clear();
        lone.label().args(["--only", "failed"]).ends(3);
        assert_eq!(
            lone.service.classifications().len(),
            10,
            "five attempts for each of two questions"
        );
        assert_eq!(text_lines(&lone.output()), before);
    }
}

#[test]
fn the_old_file_stays_until_the_failed_turns_are_done() {
    let lone = partial();
    let before = fs::read(lone.output()).unwrap();
    heal(&lone.service);
    lone.service
        .update(|config| config.text_latency = Some(Latency::Fixed { ms: 600_000.0 }))
        .unwrap();
    let running = lone.label().args(["--only", "failed"]).start();
    lone.service
        .wait_until(|_| full_records(&lone.work()).len() == 5);
    assert_eq!(fs::read(lone.output()).unwrap(), before);
    running.kill();
    assert_eq!(fs::read(lone.output()).unwrap(), before);
    // Killed itself, it goes on where it was, with its own command and with the plain one.
    lone.service
        .update(|config| config.text_latency = None)
        .unwrap();
    lone.service.clear();
    lone.label().args(["--only", "failed"]).ends(0);
    assert_eq!(
        lone.service.stats().by_kind,
        [(Kind::Text, 2)].into(),
        "the labels were there"
    );
    assert!(lone.lines(8)[1].contains_key("rationale"));
    assert_eq!(
        json_file(&lone.work().join("labeling_metadata.json"))["status"],
        "complete"
    );
}

#[test]
fn only_failed_knows_a_copy_of_raw_for_what_it_is() {
    let lone = partial();
    heal(&lone.service);
    let content = fs::read(lone.input()).unwrap();
    fs::write(lone.input(), content).unwrap();
    lone.label().args(["--only", "failed"]).ends(0);
    assert_eq!(lone.service.classifications().len(), 2);
}

#[test]
fn only_failed_does_not_finish_a_run_that_never_came_to_its_end() {
    let lone = Lone::of(20, 10.0);
    let running = lone.label().start();
    lone.service
        .wait_until(|double| double.stats().requests > 8);
    running.kill();
    lone.service.clear();
    let outcome = lone.label().args(["--only", "failed"]).ends(1);
    assert!(outcome.error().contains("run without it"), "{outcome}");
    assert_eq!(
        lone.service.stats().requests,
        0,
        "other turns than failed ones are not asked for"
    );
    lone.label().ends(0);
    lone.lines(20);
}

#[test]
fn only_failed_is_for_the_raw_file_and_the_settings_of_the_run() {
    let lone = partial();
    heal(&lone.service);
    let outcome = lone
        .label()
        .args(["--only", "failed", "--strategy", "with_context"])
        .ends(1);
    assert!(outcome.error().contains("strategy"), "{outcome}");
    lone.home.messages(&[
        "one",
        "poison a",
        "",
        "TWO",
        "forbidden fruit",
        "poison b",
        "  ",
        "poison a",
    ]);
    let outcome = lone.label().args(["--only", "failed"]).ends(1);
    assert!(
        outcome
            .error()
            .contains("is not the file this run began with"),
        "{outcome}"
    );
    assert_eq!(lone.service.stats().requests, 0);
}

#[test]
fn a_restart_forgets_the_settings_of_the_run() {
    let lone = Lone::of(6, 0.0);
    lone.label().ends(0);
    let with_context = || lone.label().args(["--strategy", "with_context"]);
    let outcome = with_context().ends(1);
    let error = outcome.error();
    assert!(
        error.contains("\"user_message_only\" there, \"with_context\" here"),
        "{error}"
    );
    lone.service.clear();
    with_context().args(["--restart", "--yes"]).ends(0);
    assert_eq!(
        lone.service.classifications().len(),
        6,
        "nothing of the old run is taken"
    );
    lone.lines(6);
    // The new settings are those of the run from now on.
    lone.service.clear();
    with_context().ends(0);
    lone.label().ends(1);
    assert_eq!(lone.service.stats().requests, 0);
}

/// A kill in the instant in which files have appeared and nothing says so yet.
#[test]
fn a_restart_knows_the_files_of_a_run_that_was_killed_before_it_recorded_them() {
    let lone = Lone::of(6, 0.0);
    lone.label().ends(0);
    let unrecorded = || {
        fs::remove_file(lone.work().join("labeling_metadata.json")).unwrap();
        let mut runs = fs::read_dir(lone.work().join("runs")).unwrap();
        let path = runs.find_map(|entry| {
            let path = entry.unwrap().path();
            path.extension()
                .is_some_and(|it| it == "json")
                .then_some(path)
        });
        let path = path.unwrap();
        let mut record = json_file(&path);
        record["state"] = "labeling".into();
        for key in ["published", "labeled_file", "details_file"] {
            record["report"].as_object_mut().unwrap().remove(key);
        }
        fs::write(&path, record.to_string()).unwrap();
    };
    unrecorded();
    lone.label()
        .args(["--strategy", "with_context", "--restart", "--yes"])
        .ends(0);
    lone.lines(6);
    // What somebody else puts there is refused as ever.
    unrecorded();
    fs::write(lone.output(), "precious").unwrap();
    let refused = lone.label().args(["--restart", "--yes"]).ends(2);
    assert!(refused.error().contains("--overwrite"), "{refused}");
}

#[test]
fn a_restart_says_what_it_throws_away_and_needs_a_yes() {
    let lone = Lone::of(6, 0.0);
    // Nothing is lost.
    lone.label().arg("--restart").ends(0);
    lone.service.clear();
    let before = snapshot(lone.home.path("").as_path());
    let outcome = lone.label().arg("--restart").ends(2);
    let error = outcome.error();
    assert!(
        error.contains("6 labelled turns") && error.contains("USD") && error.contains("--yes"),
        "{error}"
    );
    assert_eq!(
        lone.service.stats().requests,
        0,
        "nothing is paid before the answer"
    );
    assert_eq!(
        snapshot(lone.home.path("").as_path())
            .into_keys()
            .collect::<Vec<_>>(),
        before.into_keys().collect::<Vec<_>>()
    );
    lone.label().args(["--restart", "--yes"]).ends(0);
    assert_eq!(lone.service.classifications().len(), 6);
    let from_the_environment = lone.label().arg("--restart").env("SOFTLABEL_YES", "1");
    from_the_environment.ends(0);
}

#[test]
fn raw_that_changed_is_refused_with_both_fingerprints_and_a_new_date_is_no_change() {
    let lone = Lone::of(6, 0.0);
    lone.label().ends(0);
    let metadata = || json_file(&lone.work().join("labeling_metadata.json"));
    let fingerprint = || {
        metadata()["splits"]["-"]["-"]["source"]["fingerprint"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let planned = fingerprint();
    let content = fs::read_to_string(lone.input()).unwrap();
    lone.service.clear();

    fs::write(lone.input(), &content).unwrap();
    lone.label().ends(0);
    assert_eq!(fingerprint(), planned);

    fs::write(lone.input(), content.replace("answer 0", "ANSWER 0")).unwrap();
    let published = fs::read(lone.output()).unwrap();
    let outcome = lone.label().ends(1);
    let error = outcome.error();
    let named = error
        .split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.len() == 32);
    let named = named.collect::<Vec<_>>();
    assert!(
        named.len() == 2 && named[0] == planned && named[1] != planned,
        "{error}"
    );
    assert_eq!(fs::read(lone.output()).unwrap(), published);
    assert_eq!(lone.service.stats().requests, 0);

    lone.label().args(["--restart", "--yes"]).ends(0);
    assert_ne!(fingerprint(), planned);
}

#[test]
fn the_second_of_two_processes_is_told_the_first_ones_number() {
    let lone = Lone::of(4, 0.0);
    // The first one waits for quota as long as the second one takes.
    lone.service.set_limits(Limits {
        tpm: Some(1),
        ..Limits::default()
    });
    let first = lone.label().start();
    lone.service
        .wait_until(|double| double.stats().throttled_tokens > 0);
    for again in [
        lone.label(),
        lone.label().arg("--restart"),
        lone.label().args(["--only", "failed"]),
        lone.label().arg("--work").arg(lone.home.path("another")),
    ] {
        let outcome = again.run();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let told = format!("process {} since", first.pid());
        let no_run = "is not labelled yet";
        assert!(
            outcome.error().contains(&told) || outcome.error().contains(no_run),
            "{outcome}"
        );
    }
    let asked = lone.service.stats().requests;
    assert_eq!(asked, 1, "only the first one asks");
    first.kill();
    lone.service.set_limits(Limits::default());
    lone.label().ends(0);
    lone.lines(4);
}

#[test]
fn a_complete_run_asks_nothing_and_brings_back_what_was_deleted() {
    let lone = Lone::of(6, 0.0);
    lone.label().ends(0);
    let published = fs::read(lone.output()).unwrap();
    lone.service.clear();
    // Not even a service is needed.
    let label = || {
        lone.label()
            .env("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:9")
    };
    label().ends(0);
    fs::remove_file(lone.output()).unwrap();
    label().ends(0);
    assert_eq!(fs::read(lone.output()).unwrap(), published);
    assert_eq!(lone.service.stats().requests, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_restart_asks_at_a_terminal() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let lone = Lone::of(3, 0.0);
    lone.label().ends(0);
    for (answer, code) in [("n\n", 1), ("\n", 1), ("y\n", 0)] {
        let asked = lone.service.stats().requests;
        let label = lone.label().arg("--restart").command();
        let words = std::iter::once(label.get_program()).chain(label.get_args());
        let words = words.map(|word| word.to_str().unwrap());
        let words = words.collect::<Vec<_>>().join(" ");
        let envs = label.get_envs();
        let envs = envs.filter_map(|(name, value)| Some((name, value?)));
        // It gives the command a terminal, and passes on what is typed.
        let mut terminal = Command::new("script");
        let arguments = ["--quiet", "--return", "--command", &words, "/dev/null"];
        let mut terminal = terminal
            .args(arguments)
            .env_clear()
            .envs(envs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut typed = terminal.stdin.take().unwrap();
        typed.write_all(answer.as_bytes()).unwrap();
        let ended = terminal.wait_with_output().unwrap();
        drop(typed);
        let shown = String::from_utf8_lossy(&ended.stdout).into_owned();
        let says = shown.contains("3 labelled turns") && shown.contains("[y/N]");
        assert!(says, "{shown}");
        assert_eq!(ended.status.code(), Some(code), "{shown}");
        let is_asked = lone.service.stats().requests > asked;
        assert_eq!(is_asked, code == 0, "{shown}");
    }
    lone.lines(3);
}
