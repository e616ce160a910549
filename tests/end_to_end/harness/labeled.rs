//! Reads what a run writes.

use super::folder::files;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

pub(crate) fn json_file(path: &Path) -> Value {
    let content = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&content).unwrap()
}

/// The lines of a LABELED file, each checked against the contract: its keys, their order, their types.
pub(crate) fn lines(path: &Path) -> Vec<Map<String, Value>> {
    let content =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        content.is_empty() || content.ends_with('\n'),
        "the last line has its end"
    );
    content.lines().map(line).collect()
}

fn line(text: &str) -> Map<String, Value> {
    let line: Map<String, Value> = serde_json::from_str(text).unwrap();
    let keys = line.keys().map(String::as_str).collect::<Vec<_>>();
    let ids = ["conversationId", "messageId", "split", "bucket"];
    assert_eq!(keys[..4], ids, "{text}");
    match keys[4..] {
        ["hard_label", "soft_label"] | ["hard_label", "soft_label", "rationale"] => {
            let soft = line["soft_label"].as_f64().unwrap();
            assert!(soft > 0.0 && soft < 1.0, "{text}");
            assert!([json!(0), json!(1)].contains(&line["hard_label"]), "{text}");
            let rationale = line
                .get("rationale")
                .map(|rationale| rationale.as_str().unwrap());
            assert!(
                rationale.is_none_or(|rationale| !rationale.trim().is_empty()),
                "{text}"
            );
            let decimals = text.split_once("\"soft_label\":0.").unwrap().1;
            assert!(
                decimals.bytes().take(6).all(|b| b.is_ascii_digit()),
                "{text}"
            );
        }
        ["labeling_error"] => {
            let error = line["labeling_error"].as_object().unwrap();
            let keys = error.keys().map(String::as_str).collect::<Vec<_>>();
            assert_eq!(keys, ["code", "message"], "{text}");
            assert!(!error["message"].as_str().unwrap().is_empty(), "{text}");
        }
        _ => panic!("these keys are not the contract's: {text}"),
    }
    line
}

/// The code of a line's error, or an empty text where it has a label.
pub(crate) fn error_code(line: &Map<String, Value>) -> &str {
    line.get("labeling_error")
        .map_or("", |error| error["code"].as_str().unwrap())
}

/// The full records of labels in a work folder, by message id.
pub(crate) fn full_records(work: &Path) -> HashMap<String, Value> {
    let mut records = HashMap::new();
    for path in files(work)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/parts/"))
    {
        let text = fs::read_to_string(path).unwrap();
        // A process that writes it may be in the middle of its last line.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            if let Some(label) = entry.get("label") {
                records.insert(
                    label["message_id"].as_str().unwrap().to_owned(),
                    label.clone(),
                );
            }
        }
    }
    records
}
