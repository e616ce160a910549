//! What is published beside the labels: the details of each line, and the dataset card.

use crate::harness::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault};
use std::fs;
use std::path::PathBuf;

/// A dataset with a conversation that cannot be read between others, gaps in `turnIndex`, ids that are there
/// twice or missing, an empty message, one that fails, and identical ones.
struct Odd {
    service: Service,
    home: Home,
}

impl Odd {
    fn new() -> Self {
        let mut config = Config::default();
        config.faults.always_fail = vec![AlwaysFail {
            contains: "this one fails".into(),
            fault: Fault::Status(503),
            code: None,
        }];
        let (service, home) = (Service::start(config), Home::new());
        let mut gaps = conversation("a", &["one", "", "one"]);
        gaps["turnsArray"][2]["turnIndex"] = json!(17);
        let mut nameless = conversation("a", &["this one fails", "five"]);
        nameless["conversationId"] = json!(null);
        nameless["turnsArray"][1]["turnIndex"] = json!("last");
        let text = [
            gaps.to_string(),
            "{\"conversationId\": \"broken\", \"turnsArray\": 7}".to_owned(),
            conversation("a", &["six"]).to_string(),
            nameless.to_string(),
        ];
        home.write("ds/train/short.jsonl", text.join("\n"));
        home.write("ds/val/short.json", array(&[conversation("v", &["seven"])]));
        Self { service, home }
    }

    fn label(&self) -> Softlabel {
        Softlabel::label(&self.service, &self.home.path("ds"), &self.home.path("out")).args([
            "--chunk-turns",
            "2",
            "--attempts",
            "2",
        ])
    }

    fn labeled(&self, name: &str) -> PathBuf {
        self.home.path("out/LABELED_ds").join(name)
    }
}

fn details(path: &std::path::Path) -> Vec<Value> {
    let content = fs::read_to_string(path).unwrap();
    let lines = content
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn each_line_has_its_details_and_where_it_stands() {
    let odd = Odd::new();
    odd.label().ends(3);
    let lines = lines(&odd.labeled("train/short.jsonl"));
    let details = details(&odd.labeled("details/train/short.jsonl"));
    assert_eq!((lines.len(), details.len()), (6, 6));
    let places = details.iter().map(|line| {
        let key = |key: &str| line[key].as_i64();
        (
            key("position").unwrap(),
            key("turn").unwrap(),
            key("turn_index"),
        )
    });
    let expected = [
        (0, 0, Some(1)),
        (0, 1, Some(2)),
        (0, 2, Some(17)),
        (2, 0, Some(1)),
        (3, 0, Some(1)),
        (3, 1, None),
    ];
    assert_eq!(places.collect::<Vec<_>>(), expected);
    for (line, details) in lines.iter().zip(&details) {
        for id in ["conversationId", "messageId"] {
            assert_eq!(line[id], details[id]);
        }
        let code = error_code(line);
        assert_eq!(details["error_code"].as_str().unwrap_or_default(), code);
        let number = |key: &str| details[key].as_f64();
        if code.is_empty() {
            let soft = line["soft_label"].as_f64().unwrap();
            let mass = number("p0").unwrap() + number("p1").unwrap();
            assert!(
                (number("mass").unwrap() - mass.min(1.0)).abs() < 1e-9,
                "{details}"
            );
            let (low, high) = (number("low").unwrap(), number("high").unwrap());
            assert!(low - 2e-4 <= soft && soft <= high + 2e-4, "{details}");
        } else {
            assert_eq!((number("p0"), number("low")), (None, None), "{details}");
        }
    }
    let reused = details.iter().filter(|line| line["reused"] == true);
    assert_eq!(reused.count(), 1, "the turn that says the same");
    let metadata = json_file(&odd.labeled("labeling_metadata.json"));
    for (split, file) in [("train", "train/short.jsonl"), ("val", "val/short.jsonl")] {
        let report = &metadata["splits"][split]["short"];
        let length = fs::metadata(odd.labeled(&format!("details/{file}")))
            .unwrap()
            .len();
        assert_eq!(report["details_file"]["length"], length);
        let bars = ["label_0", "label_1"].map(|key| {
            let bars = report["soft_labels"][key].as_array().unwrap().iter();
            bars.map(|bar| bar.as_u64().unwrap()).sum::<u64>()
        });
        assert_eq!(json!(bars), json!([report["label_0"], report["label_1"]]));
    }
}

#[test]
fn details_are_kept_by_the_same_rules_as_labels() {
    let odd = Odd::new();
    odd.label().ends(3);
    let path = odd.labeled("details/train/short.jsonl");
    let content = fs::read(&path).unwrap();
    odd.service.clear();
    fs::write(&path, &content[..content.len() / 2]).unwrap();
    odd.label().ends(3);
    assert_eq!(
        fs::read(&path).unwrap(),
        content,
        "one that was cut off is mended"
    );
    fs::remove_file(&path).unwrap();
    odd.label().ends(3);
    assert_eq!(
        fs::read(&path).unwrap(),
        content,
        "one that was deleted too"
    );
    fs::write(&path, "theirs\n").unwrap();
    let refused = odd.label().ends(2);
    assert!(
        refused.error().contains("details/train/short.jsonl"),
        "{refused}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"theirs\n");
    odd.label().arg("--overwrite").ends(3);
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(odd.service.stats().requests, 0);
}

#[test]
fn details_of_somebody_else_are_refused_before_the_first_call_about_a_turn() {
    let odd = Odd::new();
    let theirs = "out/LABELED_ds/details/val/short.jsonl";
    odd.home.write(theirs, "precious");
    let refused = odd.label().ends(2);
    assert!(
        refused.error().contains("details/val/short.jsonl"),
        "{refused}"
    );
    assert_eq!(fs::read(odd.home.path(theirs)).unwrap(), b"precious");
    assert!(
        odd.service
            .log()
            .iter()
            .all(|record| message(record) == PROBE)
    );
}

#[test]
fn a_single_file_has_its_details_beside_its_metadata_and_no_card() {
    let odd = Odd::new();
    let input = odd.home.path("ds/train/short.jsonl");
    let label = Softlabel::label(&odd.service, &input, &odd.home.path("one.jsonl"));
    label.args(["--attempts", "2"]).ends(3);
    let work = odd.home.path("one.jsonl.softlabel");
    assert_eq!(details(&work.join("details.jsonl")).len(), 6);
    assert!(!work.join("README.md").exists() && !odd.home.path("README.md").exists());
}

#[test]
fn the_card_names_what_is_there_and_somebody_elses_stays() {
    let odd = Odd::new();
    let card = odd.labeled("README.md");
    odd.label().ends(3);
    let text = fs::read_to_string(&card).unwrap();
    for part in [
        "- split: \"validation\"\n    path:\n    - \"val/short.jsonl\"\n",
        "- split: \"train\"\n    path:\n    - \"train/short.jsonl\"\n",
        "  - name: hard_label\n    dtype: int8\n",
        "| train | short | partial | 6 |",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("details/train"), "{text}");
    fs::remove_file(&card).unwrap();
    odd.label().ends(3);
    assert_eq!(fs::read_to_string(&card).unwrap(), text);
    for theirs in [
        "# mine\n".to_owned(),
        text.replace("# LABELED", "# My LABELED"),
    ] {
        fs::write(&card, &theirs).unwrap();
        let kept = odd.label().ends(3);
        assert!(kept.stderr.contains("README.md is left as it is"), "{kept}");
        assert_eq!(fs::read_to_string(&card).unwrap(), theirs);
        let metadata = json_file(&odd.labeled("labeling_metadata.json"));
        let warnings = metadata["warnings"].to_string();
        assert!(warnings.contains("--overwrite"), "{warnings}");
    }
    odd.label().arg("--overwrite").ends(3);
    assert_eq!(fs::read_to_string(&card).unwrap(), text);
}
