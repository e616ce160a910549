//! A service that answers nobody for a while: sending stops but for probes, no turn pays for it, and
//! nothing waits without an end.

use crate::harness::*;
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Double, Fault, Latency, Record};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PROBE_EVERY: Duration = Duration::from_millis(200);

/// A run of sixty messages, slow enough that an outage comes in its middle.
struct Long {
    service: Service,
    home: Home,
}

fn fails(fault: Fault, contains: &str) -> AlwaysFail {
    AlwaysFail {
        contains: contains.to_owned(),
        fault,
        code: None,
    }
}

impl Long {
    fn new() -> Self {
        Self::of(60)
    }

    /// The same with so many messages.
    fn of(messages: usize) -> Self {
        let latency = Latency::Fixed { ms: 10.0 };
        let service = Service::start(Config {
            latency,
            ..Config::default()
        });
        let home = Home::new();
        home.messages(&borrowed(&distinct(messages)));
        Self { service, home }
    }

    /// The program's own proportions, a hundredth of their size.
    fn label(&self, concurrency: &str) -> Softlabel {
        self.patient(concurrency).args(["--call-timeout", "300ms"])
    }

    /// The same, but that a call may take as long as ever.
    fn patient(&self, concurrency: &str) -> Softlabel {
        Softlabel::label(&self.service, &self.home.path("in.json"), &self.output())
            .env("SOFTLABEL_FIRST_BACKOFF", "10ms")
            .env("SOFTLABEL_LONGEST_BACKOFF", "600ms")
            .args(["--concurrency", concurrency])
            .env("SOFTLABEL_OUTAGE_PROBE", "200ms")
            .args(["--outage-after", "50ms"])
    }

    fn output(&self) -> PathBuf {
        self.home.path("out.jsonl")
    }

    fn break_down(&self, fault: Fault) {
        let breaks = |config: &mut Config| config.faults.always_fail = vec![fails(fault, "")];
        self.service.update(breaks).unwrap();
    }

    fn heal(&self) {
        self.service
            .update(|config| config.faults.always_fail.clear())
            .unwrap();
    }

    /// Starts a run that meets `fault` in its middle and has found out that it is an outage.
    fn in_outage(&self, label: &Softlabel, fault: Fault) -> Heard {
        let heard = Heard::start(label, self.home.path("stderr"));
        self.service
            .wait_until(|double| double.stats().requests > 20);
        self.break_down(fault);
        heard.wait_for("sending stops");
        heard
    }

    /// Every turn has its label and its rationale.
    fn assert_complete(&self) {
        self.assert_complete_of(60);
    }

    fn assert_complete_of(&self, messages: usize) {
        let lines = lines(&self.output());
        assert_eq!(lines.len(), messages);
        assert!(lines.iter().all(|line| line.contains_key("rationale")));
        let metadata = json_file(&self.home.path("out.jsonl.softlabel/labeling_metadata.json"));
        assert_eq!(metadata["totals"]["failed"], 0);
        assert_eq!(metadata["totals"]["rationale_failures"], 0);
    }
}

fn requests(double: &Double) -> usize {
    usize::try_from(double.stats().requests).unwrap()
}

/// What the run does while nobody is answered, until it is healed.
fn only_probes_go_out(fault: Fault, why: &str) {
    let long = Long::new();
    let mut heard = long.in_outage(&long.label("16"), fault);
    let before = requests(&long.service);
    // The first request of a run is the probe.
    let probe = long.service.log()[0].text_hash;
    let is_probe = |record: &&Record| record.text_hash == probe;
    long.service
        .wait_until(|double| double.log().iter().skip(before).filter(is_probe).count() > 5);
    // What was on its way when sending stopped may still have come before the first of them.
    let log = long.service.log();
    let latest = log.iter().skip(log.len() - 5).collect::<Vec<_>>();
    assert!(latest.iter().all(is_probe), "{latest:?}");
    for pair in latest.windows(2) {
        let apart = Duration::from_micros(pair[1].arrived_us - pair[0].arrived_us);
        assert!(
            apart >= PROBE_EVERY.mul_f64(0.9),
            "{apart:?} between two probes"
        );
    }
    let said = heard.so_far();
    let line = said.lines().find(|line| line.contains("sending stops"));
    assert!(line.unwrap().contains(why), "{said}");
    long.heal();
    assert_eq!(heard.code(), Some(0), "{}", heard.so_far());
    assert!(
        heard.so_far().contains("the service answers again"),
        "{}",
        heard.so_far()
    );
    long.assert_complete();
}

#[test]
fn while_the_service_is_down_only_probes_go_out() {
    only_probes_go_out(Fault::Status(503), "HTTP 503");
}

#[test]
fn while_the_service_answers_429_alone_only_probes_go_out() {
    only_probes_go_out(Fault::Status(429), "HTTP 429");
}

#[test]
fn while_the_service_does_not_answer_only_probes_go_out() {
    only_probes_go_out(Fault::Hang, "time-out");
}

#[test]
fn the_progress_says_since_when_and_why_nothing_is_sent() {
    let long = Long::new();
    let mut heard = long.in_outage(&long.label("8"), Fault::Status(503));
    let started = Instant::now();
    heard.wait_for("OUTAGE for ");
    let said = heard.so_far();
    let line = said.lines().rfind(|line| line.contains("OUTAGE")).unwrap();
    assert!(line.contains(" s (HTTP 503), probing"), "{line}");
    let since = line
        .split_once("OUTAGE for ")
        .unwrap()
        .1
        .split_once(" s")
        .unwrap()
        .0;
    // The outage began a little before it was found out.
    let since = since.parse::<f64>().unwrap() - 2.0;
    assert!(since < started.elapsed().as_secs_f64(), "{line}");
    long.heal();
    assert_eq!(heard.code(), Some(0), "{}", heard.so_far());
}

#[test]
fn few_calls_in_flight_lose_no_turn_either() {
    for concurrency in ["1", "3"] {
        let long = Long::new();
        let mut heard = long.in_outage(&long.label(concurrency), Fault::Status(502));
        long.heal();
        assert_eq!(heard.code(), Some(0), "{}", heard.so_far());
        long.assert_complete();
    }
}

#[test]
fn an_outage_costs_no_turn_where_too_few_messages_are_left_to_tell_it_from_their_own_faults() {
    for (concurrency, attempts) in [("1", "5"), ("3", "5"), ("4", "2")] {
        let long = Long::of(5);
        let label = long.label(concurrency).args(["--attempts", attempts]);
        // The first call finds out the parameters.
        let mut heard = Heard::start(&label, long.home.path("stderr"));
        long.service
            .wait_until(|double| double.stats().requests > 1);
        long.break_down(Fault::Status(503));
        heard.wait_for("sending stops");
        long.heal();
        assert_eq!(heard.code(), Some(0), "{}", heard.so_far());
        long.assert_complete_of(5);
    }
}

#[test]
fn an_answer_from_before_an_outage_does_not_make_a_failure_in_it_the_messages_own() {
    let (service, home) = (Service::well(), Home::new());
    home.messages(&["a slow one", "a victim"]);
    service
        .update(|config| {
            config.faults.slow_body_ms = 200;
            config.faults.always_fail = vec![
                fails(Fault::SlowBody, "slow"),
                fails(Fault::Status(503), "victim"),
            ];
        })
        .unwrap();
    let long = Long { service, home };
    let label = long
        .patient("4")
        .args(["--attempts", "3", "--no-rationales"]);
    // The slow answer comes between the victim's first attempt and its second.
    let label = label.env("SOFTLABEL_FIRST_BACKOFF", "800ms");
    let label = label.env("SOFTLABEL_LONGEST_BACKOFF", "800ms");
    let mut heard = Heard::start(&label, long.home.path("stderr"));
    // The first call finds out the parameters; the other two are of the messages.
    long.service
        .wait_until(|double| double.stats().requests > 2);
    long.break_down(Fault::Status(503));
    heard.wait_for("sending stops");
    long.heal();
    assert_eq!(heard.code(), Some(0), "{}", heard.so_far());
}

#[test]
fn an_outage_without_end_stops_the_run_also_where_few_messages_are_left() {
    let long = Long::of(5);
    let label = long.label("2").args(["--outage-patience", "700ms"]);
    let mut heard = Heard::start(&label, long.home.path("stderr"));
    long.service
        .wait_until(|double| double.stats().requests > 1);
    long.break_down(Fault::Status(503));
    assert_eq!(heard.code(), Some(1), "{}", heard.so_far());
    assert!(
        heard.so_far().contains("--outage-patience"),
        "{}",
        heard.so_far()
    );
    long.heal();
    label.ends(0);
    long.assert_complete_of(5);
}

#[test]
fn a_message_that_fails_by_itself_has_its_attempts_and_no_more() {
    for attempts in [1, 2, 5] {
        let (service, home) = (Service::well(), Home::new());
        let input = home.messages(&["one", "poison"]);
        let poison = fails(Fault::Status(500), "poison");
        service
            .update(|config| config.faults.always_fail = vec![poison])
            .unwrap();
        Softlabel::label(&service, &input, &home.path("out.jsonl"))
            .args(["--no-rationales", "--attempts", &attempts.to_string()])
            .ends(3);
        let log = service.log();
        let failed = log.iter().filter(|record| record.status == Some(500));
        assert_eq!(failed.count(), attempts);
    }
}

#[test]
fn an_outage_without_end_stops_the_run_and_the_same_command_continues() {
    for fault in [Fault::Status(500), Fault::Status(429), Fault::Hang] {
        let long = Long::new();
        let label = long.label("8").args(["--outage-patience", "700ms"]);
        let mut heard = long.in_outage(&label, fault);
        assert_eq!(heard.code(), Some(1), "{}", heard.so_far());
        let said = heard.so_far();
        let error = said
            .lines()
            .find(|line| line.starts_with("error: "))
            .unwrap();
        assert!(
            error.contains("--outage-patience") && error.contains("same command"),
            "{error}"
        );
        assert!(!long.output().exists());
        let kept = full_records(&long.home.path("out.jsonl.softlabel")).len();
        assert!(kept > 5, "what was answered is kept: {kept}");
        long.heal();
        long.service.clear();
        label.ends(0);
        assert_eq!(long.service.classifications().len(), 60 - kept);
        long.assert_complete();
    }
}

#[test]
fn a_service_that_never_answers_ends_the_run_at_its_beginning() {
    let long = Long::new();
    long.break_down(Fault::Hang);
    let started = Instant::now();
    let outcome = long.label("8").ends(1);
    // Five attempts of 300 ms and the waits between them.
    assert!(started.elapsed() < Duration::from_secs(20), "{outcome}");
    assert!(outcome.error().contains("time-out"), "{outcome}");
}

#[test]
fn a_signal_ends_an_outage_at_once() {
    let long = Long::new();
    let label = long.label("8").env("SOFTLABEL_OUTAGE_PROBE", "24h");
    let mut heard = long.in_outage(&label, Fault::Status(503));
    let asked = requests(&long.service);
    signal(heard.child.id(), "-INT");
    assert_eq!(heard.code(), Some(130), "{}", heard.so_far());
    assert!(requests(&long.service) <= asked + 8);
    long.heal();
    long.label("8").ends(0);
    long.assert_complete();
}

#[test]
fn turns_that_fail_by_themselves_are_no_outage() {
    let service = Service::well();
    let home = Home::new();
    let mut messages = distinct(4);
    // More than the breaker needs to open, and nothing else is left to be answered at the end.
    messages.extend((0..14).map(|i| format!("poison {i}")));
    let input = home.messages(&borrowed(&messages));
    let poison =
        |config: &mut Config| config.faults.always_fail = vec![fails(Fault::Status(500), "poison")];
    service.update(poison).unwrap();
    let mut heard = Heard::start(
        &Softlabel::label(&service, &input, &home.path("out.jsonl")).args([
            "--outage-after",
            "20ms",
            "--outage-probe",
            "50ms",
        ]),
        home.path("stderr"),
    );
    assert_eq!(heard.code(), Some(3), "{}", heard.so_far());
    let lines = lines(&home.path("out.jsonl"));
    let failed = lines
        .iter()
        .filter(|line| error_code(line) == "transient")
        .count();
    assert_eq!(failed, 14);
}

#[test]
fn rationales_that_always_fail_are_given_up_and_asked_for_again_with_only_failed() {
    let service = Service::well();
    let home = Home::new();
    let (input, out) = (
        home.messages(&borrowed(&distinct(60))),
        home.path("out.jsonl"),
    );
    // Only the second call of a turn says this.
    let fails_all = fails(Fault::Status(500), "It was decided about");
    let fail = move |config: &mut Config| config.faults.always_fail = vec![fails_all.clone()];
    service.update(fail).unwrap();
    let label = || {
        Softlabel::label(&service, &input, &out)
            .args(["--outage-after", "20ms", "--outage-probe", "50ms"])
            .args(["--concurrency", "8"])
    };
    let outcome = label().ends(0);
    assert!(outcome.stderr.contains("no more rationales"), "{outcome}");
    let labelled =
        |line: &serde_json::Map<String, serde_json::Value>| line.contains_key("soft_label");
    assert!(lines(&out).iter().all(labelled));
    let metadata = || json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata()["status"], "complete");
    assert_eq!(metadata()["totals"]["rationale_failures"], 60);
    // Twenty with five attempts each, and what others had tried until then.
    let asked = service.rationales().len();
    assert!((100..300).contains(&asked), "{asked}");
    let labels = service.classifications().len();

    service
        .update(|config| config.faults.always_fail.clear())
        .unwrap();
    label().args(["--only", "failed"]).ends(0);
    assert!(
        lines(&out)
            .iter()
            .all(|line| line.contains_key("rationale"))
    );
    assert_eq!(metadata()["totals"]["rationale_failures"], 0);
    let asked_again = service.classifications().len() - labels;
    assert!(
        asked_again <= 2,
        "no label is asked for again: {asked_again}"
    );
}

#[test]
fn many_messages_that_always_fail_use_up_their_attempts_and_no_more() {
    let service = Service::well();
    let home = Home::new();
    let mut messages = distinct(60);
    messages.extend((0..40).map(|i| format!("poison {i}")));
    let (input, out) = (home.messages(&borrowed(&messages)), home.path("out.jsonl"));
    let poison =
        |config: &mut Config| config.faults.always_fail = vec![fails(Fault::Status(500), "poison")];
    service.update(poison).unwrap();
    let label = Softlabel::label(&service, &input, &out).args(["--no-rationales"]);
    label
        .args(["--outage-after", "20ms", "--outage-probe", "50ms"])
        .ends(3);
    let codes = lines(&out)
        .iter()
        .filter(|line| error_code(line) == "transient")
        .count();
    assert_eq!(codes, 40);
    let poisoned = service
        .log()
        .iter()
        .filter(|record| record.status == Some(500))
        .count();
    assert!(
        (200..=240).contains(&poisoned),
        "five attempts each: {poisoned}"
    );
}
