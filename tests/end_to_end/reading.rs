//! What a labelled dataset is read with: `export`, `show` and `report`.

use crate::harness::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault};
use std::fs;
use std::path::PathBuf;

/// A dataset that is labelled: hostile texts, a turn that fails, one that is empty, conversations that are
/// there twice.
struct Labeled {
    service: Service,
    home: Home,
}

const HOSTILE: &str = "</script><img src=x onerror=alert(1)> \u{202e}evil\u{1b}[31m";

impl Labeled {
    fn new() -> Self {
        let mut config = Config::default();
        config.faults.always_fail = vec![AlwaysFail {
            contains: "this one fails".into(),
            fault: Fault::Status(503),
            code: None,
        }];
        let (service, home) = (Service::start(config), Home::new());
        let one = conversation("a", &["=1+1", HOSTILE, ""]);
        let two = conversation("b", &["this one fails", "a \"quoted\", text\nof two lines"]);
        let lone = r#"{"conversationId": "s", "turnsArray": [{"messageId": "s-m0", "userMessage": "half \ud83d pair"}]}"#;
        let text = [
            one.to_string(),
            two.to_string(),
            one.to_string(),
            lone.to_owned(),
        ];
        home.write("ds/train/short.jsonl", text.join("\n"));
        home.write("ds/val/short.json", array(&[conversation("v", &["seven"])]));
        let labeled = Self { service, home };
        labeled.label().ends(3);
        labeled
    }

    fn label(&self) -> Softlabel {
        Softlabel::label(&self.service, &self.home.path("ds"), &self.home.path("out"))
            .args(["--attempts", "2"])
    }

    fn path(&self) -> PathBuf {
        self.home.path("out/LABELED_ds")
    }

    fn read(&self, command: &str, args: &[&str]) -> Softlabel {
        Softlabel::new([command])
            .arg(self.path())
            .args(args.iter().copied())
    }

    fn with_raw(&self, command: &str, args: &[&str]) -> Softlabel {
        self.read(command, args)
            .arg("--input")
            .arg(self.home.path("ds"))
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn json_lines_have_a_row_a_turn_with_everything_that_is_known() {
    let labeled = Labeled::new();
    let outcome = labeled
        .with_raw("export", &["--to", "jsonl", "--context"])
        .ends(0);
    let rows = objects(&outcome.stdout);
    let labels = lines(&labeled.path().join("train/short.jsonl"));
    assert_eq!(rows.len(), labels.len() + 1);
    for (row, line) in rows.iter().zip(&labels) {
        for key in [
            "conversationId",
            "messageId",
            "hard_label",
            "soft_label",
            "rationale",
        ] {
            assert_eq!(row[key], *line.get(key).unwrap_or(&Value::Null), "{key}");
        }
        assert_eq!(
            (&row["split"], &row["bucket"]),
            (&json!("train"), &json!("short"))
        );
        assert_eq!(
            (&row["model"], &row["task"]),
            (&json!("gpt-5.2"), &json!("reasoning"))
        );
    }
    let messages = rows.iter().map(|row| row["message"].as_str().unwrap());
    let expected = [
        "=1+1",
        HOSTILE,
        "",
        "this one fails",
        "a \"quoted\", text\nof two lines",
        "=1+1",
        HOSTILE,
        "",
        "half \u{fffd} pair",
        "seven",
    ];
    assert_eq!(messages.collect::<Vec<_>>(), expected);
    assert_eq!(
        (&rows[6]["position"], &rows[6]["turn"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(rows[3]["error_code"], "transient");
    let before = json!([
        {"role": "user", "content": "=1+1"},
        {"role": "assistant", "content": "answer 0 of a"},
    ]);
    assert_eq!(rows[1]["context"], before);
    assert_eq!(rows[0]["context"], json!([]));
}

#[test]
fn csv_has_no_formulas_unless_it_is_to_be_exact() {
    let labeled = Labeled::new();
    let csv = labeled.with_raw("export", &["--to", "csv"]).ends(0).stdout;
    assert!(
        csv.starts_with("conversationId,messageId,split,bucket,position,turn,"),
        "{csv}"
    );
    assert!(csv.contains(",'=1+1\n"), "{csv}");
    assert!(
        csv.contains("\"a \"\"quoted\"\", text\nof two lines\""),
        "{csv}"
    );
    let exact = labeled
        .with_raw("export", &["--to", "csv", "--csv-exact"])
        .ends(0)
        .stdout;
    assert!(
        exact.contains(",=1+1\n") && !exact.contains("'=1+1"),
        "{exact}"
    );
}

#[test]
fn label_studio_gets_tasks_with_predictions() {
    let labeled = Labeled::new();
    let needs = labeled.read("export", &["--to", "label-studio"]).ends(2);
    assert!(needs.error().contains("--input"), "{needs}");
    let tasks = labeled
        .with_raw("export", &["--to", "label-studio"])
        .ends(0)
        .stdout;
    let tasks = serde_json::from_str::<Vec<Value>>(&tasks).unwrap();
    assert_eq!(tasks.len(), 10);
    let labels = lines(&labeled.path().join("train/short.jsonl"));
    for (task, line) in tasks.iter().zip(&labels) {
        let prediction = &task["predictions"][0];
        assert_eq!(
            prediction["score"],
            *line.get("soft_label").unwrap_or(&Value::Null)
        );
        let hard = line.get("hard_label").map(|hard| json!([hard.to_string()]));
        let choices = prediction["result"][0]["value"]["choices"].clone();
        assert_eq!(choices, hard.unwrap_or(Value::Null));
    }
    assert_eq!(tasks[1]["data"]["text"], HOSTILE);
}

#[test]
fn a_choice_is_the_same_each_time() {
    let labeled = Labeled::new();
    let ids = |args: &[&str]| {
        let rows = objects(&labeled.read("export", args).ends(0).stdout);
        rows.iter()
            .map(|row| row["messageId"].to_string() + &row["position"].to_string())
            .collect::<Vec<_>>()
    };
    let all = ids(&["--to", "jsonl"]);
    let sample = ids(&["--to", "jsonl", "--sample", "4"]);
    assert_eq!((all.len(), sample.len()), (10, 4));
    assert!(sample.iter().all(|id| all.contains(id)));
    assert_eq!(sample, ids(&["--to", "jsonl", "--sample", "4"]));
    assert_eq!(ids(&["--to", "jsonl", "--sample", "0"]).len(), 0);
    assert_eq!(ids(&["--to", "jsonl", "--sample", "100"]).len(), 10);
    let labeled_turns = ids(&["--to", "jsonl", "--uncertain", "0..1"]);
    assert_eq!(
        labeled_turns.len(),
        7,
        "turns without a label are not uncertain"
    );
    let wrong = labeled
        .read("export", &["--to", "csv", "--uncertain", "0.8..0.2"])
        .ends(2);
    assert!(wrong.stderr.contains("0.2..0.8"), "{wrong}");
}

#[test]
fn a_file_appears_as_a_whole_and_not_over_another() {
    let labeled = Labeled::new();
    let file = labeled.home.path("rows.parquet");
    let path = file.to_str().unwrap();
    let export = |more: &[&str]| {
        labeled
            .with_raw("export", &["--to", "parquet", "-o", path])
            .args(more.iter().copied())
    };
    export(&[]).ends(0);
    let content = fs::read(&file).unwrap();
    assert!(content.starts_with(b"PAR1") && content.ends_with(b"PAR1"));
    assert!(export(&[]).ends(2).error().contains("--overwrite"));
    export(&["--overwrite"]).ends(0);
    assert_eq!(fs::read(&file).unwrap(), content);
    let inside = labeled.path().join("rows.csv");
    let refused = labeled
        .read("export", &["--to", "csv", "-o", inside.to_str().unwrap()])
        .ends(2);
    assert!(
        refused.error().contains("lies in the labelled dataset"),
        "{refused}"
    );
    let raw = labeled.home.path("ds/train/rows.csv");
    labeled
        .with_raw("export", &["--to", "csv", "-o", raw.to_str().unwrap()])
        .ends(2);
    assert!(!raw.exists());
}

#[test]
fn what_is_not_a_labelled_dataset_or_its_raw_data_is_said() {
    let labeled = Labeled::new();
    let export = |path: PathBuf| Softlabel::new(["export", "--to", "csv"]).arg(path);
    let above = export(labeled.home.path("out")).ends(1);
    assert!(above.error().contains("LABELED_ds"), "{above}");
    let nothing = export(labeled.home.path("nothing")).ends(1);
    assert!(nothing.error().contains("does not exist"), "{nothing}");
    labeled.home.write("other/train/short.jsonl", "{}\n");
    let other = labeled
        .read("export", &["--to", "csv", "--input"])
        .arg(labeled.home.path("other"));
    let other = other.ends(1);
    assert!(
        other.error().contains("is not the file that was labelled"),
        "{other}"
    );
    let path = labeled.path().join("train/short.jsonl");
    fs::write(&path, "{\"conversationId\": 7}\n").unwrap();
    let damaged = labeled.read("export", &["--to", "csv"]).ends(1);
    assert!(damaged.error().contains("short.jsonl, line 1"), "{damaged}");
}

#[test]
fn turns_are_shown_with_their_texts_and_no_terminal_escapes() {
    let labeled = Labeled::new();
    let shown = labeled
        .with_raw("show", &["--uncertain", "20"])
        .ends(0)
        .stdout;
    assert_eq!(shown.matches("soft 0.").count(), 7, "{shown}");
    let soft = shown.split("soft ").skip(1);
    let apart = soft.map(|soft| (soft[..8].parse::<f64>().unwrap() - 0.5).abs());
    assert!(apart.is_sorted(), "the most uncertain come first: {shown}");
    assert!(
        shown.contains("\\u{1b}[31m") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    assert!(shown.contains("\\u{202e}evil"), "{shown}");
    let failed = labeled.read("show", &["--errors"]).ends(0);
    assert!(
        failed.stdout.contains("transient") && failed.stdout.contains("empty_message"),
        "{failed}"
    );
    assert_eq!(failed.stdout.matches("no label").count(), 3);
    assert!(failed.stderr.contains("--input"), "{failed}");
    let turn = labeled.read("show", &["--id", "b-m1"]).ends(0).stdout;
    assert_eq!(turn.matches("soft 0.").count(), 1, "{turn}");
    assert!(
        labeled
            .read("show", &["--id", "x"])
            .ends(0)
            .stderr
            .contains("no such turn")
    );
    labeled.read("show", &[]).ends(2);
}

/// The turns in a report, as its script reads them.
fn turns(report: &str) -> Vec<Value> {
    let data = report.split_once("id=\"data\">").unwrap().1;
    let data = data.split_once("</script>").unwrap().0;
    let data = serde_json::from_str::<Value>(data).unwrap();
    data["turns"].as_array().unwrap().clone()
}

#[test]
fn a_run_writes_a_report_without_texts() {
    let labeled = Labeled::new();
    let path = labeled.path().join("report.html");
    let report = fs::read_to_string(&path).unwrap();
    assert!(
        report.contains("default-src &#39;none&#39;")
            || report.contains("default-src &#x27;none&#x27;"),
        "the policy"
    );
    assert!(
        !report.contains("http://") && !report.contains("https://"),
        "asks nobody"
    );
    assert!(
        !report.contains("evil") && !report.contains("quoted"),
        "no text"
    );
    let found = turns(&report);
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|turn| turn["text"].is_null()));
    assert!(found.iter().any(|turn| turn["why"].is_string()));
    let metadata = json_file(&labeled.path().join("labeling_metadata.json"));
    let sentence = format!(
        "about 10 turns of ds: {} labelled, 2 not labelable, 1 failed.",
        metadata["totals"]["labeled"]
    );
    assert!(report.contains(&sentence), "{sentence}");
    // Kept up to date, and somebody else's is left.
    labeled
        .label()
        .arg("--report-texts")
        .arg("--no-rationales-in-report")
        .ends(3);
    let found = turns(&fs::read_to_string(&path).unwrap());
    assert!(
        found
            .iter()
            .all(|turn| turn["text"].is_string() && turn["why"].is_null())
    );
    fs::write(&path, "mine").unwrap();
    let kept = labeled.label().ends(3);
    assert!(kept.stderr.contains("softlabel did not write"), "{kept}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_report_with_texts_holds_them_as_text() {
    let labeled = Labeled::new();
    let outcome = labeled.with_raw("report", &[]).ends(0);
    let path = labeled.path().join("report.html");
    assert!(outcome.stdout.contains("report.html"), "{outcome}");
    let report = fs::read_to_string(path).unwrap();
    assert!(
        !report.contains("<img") && report.matches("</script>").count() == 2,
        "data is no markup"
    );
    let found = turns(&report);
    assert!(found.iter().any(|turn| turn["text"] == HOSTILE));
    let elsewhere = labeled.home.path("r.html");
    labeled
        .read("report", &["-o", elsewhere.to_str().unwrap()])
        .ends(0);
    assert!(
        turns(&fs::read_to_string(elsewhere).unwrap())
            .iter()
            .all(|turn| turn["text"].is_null())
    );
}

#[test]
fn a_run_that_is_half_done_has_a_report_of_what_there_is() {
    let labeled = Labeled::new();
    // As it is before its file is published, and after a kill.
    let path = labeled.path().join("labeling_metadata.json");
    let mut metadata = json_file(&path);
    let bucket = &mut metadata["splits"]["train"]["short"];
    let figures = bucket.clone();
    bucket["published"] = Value::Null;
    for key in ["labeled", "failed", "not_labelable", "label_0", "label_1"] {
        bucket[key] = json!(0);
    }
    fs::write(&path, metadata.to_string()).unwrap();
    fs::remove_file(labeled.path().join("train/short.jsonl")).unwrap();
    let report = labeled.with_raw("report", &["-o", "-"]).ends(0).stdout;
    let sentence = format!(
        ": {} labelled, 2 not labelable, 1 failed.",
        figures["labeled"].as_u64().unwrap() + 1
    );
    assert!(report.contains(&sentence), "{sentence}");
    assert_eq!(turns(&report).len(), 10);
    let without = labeled.read("export", &["--to", "jsonl"]).ends(0);
    assert!(
        without.stderr.contains("train/short is not published yet"),
        "{without}"
    );
    assert_eq!(objects(&without.stdout).len(), 1);
    let work = labeled.home.path("out/.softlabel/ds");
    let with = labeled
        .read(
            "export",
            &["--to", "jsonl", "--work", work.to_str().unwrap()],
        )
        .ends(0);
    assert_eq!(objects(&with.stdout).len(), 10);
}

#[test]
fn a_single_file_is_read_in_the_same_ways() {
    let labeled = Labeled::new();
    let input = labeled.home.path("ds/train/short.jsonl");
    let output = labeled.home.path("one.jsonl");
    let label = Softlabel::label(&labeled.service, &input, &output).args(["--attempts", "2"]);
    let outcome = label.ends(3);
    assert!(
        labeled
            .home
            .path("one.jsonl.softlabel/report.html")
            .exists(),
        "{outcome}"
    );
    let export = Softlabel::new(["export", "--to", "jsonl"])
        .arg(&output)
        .arg("--input")
        .arg(&input);
    let rows = objects(&export.ends(0).stdout);
    assert_eq!((rows.len(), &rows[1]["message"]), (9, &json!(HOSTILE)));
    Softlabel::new(["report"]).arg(&output).ends(0);
}

#[test]
fn an_export_ends_when_nobody_reads_on() {
    let service = Service::well();
    let home = Home::new();
    // More than a pipe holds.
    let messages = distinct(3_000);
    home.write(
        "ds/train/short.json",
        array(&[conversation("a", &borrowed(&messages))]),
    );
    let label = Softlabel::label(&service, &home.path("ds"), &home.path("out"));
    label.arg("--no-rationales").ends(0);
    let mut export = Softlabel::new(["export", "--to", "jsonl"])
        .arg(home.path("out/LABELED_ds"))
        .start();
    export.close_stdout();
    let outcome = export.wait();
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(0), ""),
        "{outcome}"
    );
}
