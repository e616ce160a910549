//! Chats in the formats of others, and files that have to be converted first.

use crate::harness::{message as message_of, *};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn keys(lines: &[Map<String, Value>]) -> Vec<String> {
    let key = |line: &Map<String, Value>| {
        let id = |name: &str| line[name].as_str().unwrap().to_owned();
        format!("{}/{}", id("conversationId"), id("messageId"))
    };
    lines.iter().map(key).collect()
}

/// Labels a lone file and gives its lines, its bucket in the metadata, and what the model was asked.
fn labelled(input: &Path, code: i32) -> (Vec<Map<String, Value>>, Value, BTreeSet<String>) {
    let (service, out) = (Service::well(), Home::new());
    let path = out.path("out.jsonl");
    Softlabel::label(&service, input, &path).ends(code);
    let metadata = json_file(&out.path("out.jsonl.softlabel/labeling_metadata.json"));
    let asked = service.classifications().iter().map(message_of).collect();
    (lines(&path), metadata["splits"]["-"]["-"].clone(), asked)
}

#[test]
fn a_file_of_every_format_is_labelled_with_no_flag_but_input_and_output() {
    for (file, format, expected) in [
        (
            "openai_messages.jsonl",
            "messages",
            vec![
                "openai_messages.jsonl:0/0",
                "openai_messages.jsonl:0/1",
                "chat-2/0",
                "chat-2/1",
                "chat-3/m-1",
            ],
        ),
        (
            "sharegpt.json",
            "conversations",
            vec!["identity_0/0", "identity_0/1", "identity_1/0"],
        ),
        (
            "vscode_chat_export.json",
            "requests",
            vec![
                "vscode_chat_export.json:0/request_4f0c",
                "vscode_chat_export.json:0/request_9b1d",
            ],
        ),
        (
            "turns_array_text.jsonl",
            "turns_text",
            vec!["t-1/m1", "t-1/m2", "t-2/m3"],
        ),
    ] {
        let (lines, bucket, asked) = labelled(&samples().join("formats").join(file), 0);
        assert_eq!(keys(&lines), expected, "{file}");
        assert_eq!(bucket["format"], format, "{file}");
        assert!(
            lines.iter().all(|line| line.contains_key("rationale")),
            "{file}"
        );
        assert_eq!(asked.len(), lines.len(), "{file}");
        if file == "openai_messages.jsonl" {
            assert!(asked.contains("And how should my client react?"));
            let ids = json!({
                "conversations": {"<file>:<position>": 1, "conversation_id": 1, "id": 1},
                "messages": {"<turn index>": 4, "given": 1},
            });
            assert_eq!(bucket["ids"], ids);
        }
    }
}

#[test]
fn files_of_one_dataset_may_differ_and_what_the_model_said_is_its_context() {
    let (service, home) = (Service::well(), Home::new());
    let share = json!({"conversations": [
        {"from": "human", "value": "first"}, {"from": "gpt", "value": "answer one"},
        {"from": "gpt", "value": "answer two"}, {"from": "human", "value": "second"}]});
    home.write("raw/train/a.json", array(&[conversation("c", &["native"])]));
    home.write("raw/train/b.jsonl", format!("{share}\n"));
    let label = Softlabel::label(&service, &home.path("raw"), &home.path("out"));
    label
        .args(["--no-rationales", "-s", "with_context"])
        .ends(0);
    let metadata = json_file(&home.path("out/LABELED_raw/labeling_metadata.json"));
    let buckets = &metadata["splits"]["train"];
    assert!(buckets["a"].get("format").is_none() && buckets["a"].get("ids").is_none());
    assert_eq!(buckets["b"]["format"], "conversations");
    let lines = lines(&home.path("out/LABELED_raw/train/b.jsonl"));
    assert_eq!(keys(&lines), ["train/b.jsonl:0/0", "train/b.jsonl:0/1"]);
    let asked = service.classifications();
    let second = asked.iter().find(|it| message_of(it) == "second").unwrap();
    let texts = sections(second).into_iter().map(|(_, text)| text);
    let texts = texts.collect::<Vec<_>>();
    assert!(
        texts.contains(&"answer one\nanswer two".to_owned()),
        "{texts:?}"
    );
}

#[test]
fn a_later_record_of_another_format_is_one_unreadable_conversation_with_its_place() {
    let home = Home::new();
    let openai = json!({"messages": [{"role": "user", "content": "good"}]}).to_string();
    let native = conversation("c", &["other"]).to_string();
    let input = home.write("in.jsonl", format!("{openai}\n{native}\n{openai}\n"));
    let (lines, bucket, _) = labelled(&input, 3);
    assert_eq!(keys(&lines), ["in.jsonl:0/0", "in.jsonl:2/0"]);
    let broken = &bucket["broken"][0];
    let start = openai.len() as u64 + 1;
    let range = json!({"start": start, "end": start + native.len() as u64});
    assert_eq!((&broken["number"], &broken["bytes"]), (&json!(1), &range));
    let reason = broken["reason"].as_str().unwrap();
    assert!(reason.contains("a list turnsArray"), "{reason}");
}

#[test]
fn dirt_costs_itself_alone_in_every_format() {
    let home = Home::new();
    let good = r#"{"messages": [{"role": "user", "content": "good"}], "score": NaN}"#;
    let bad = r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]},
        {"role": "user", "content": 42}, {"role": "user", "content": "lone \ud83d half"}]}"#;
    let bad = bad.replace('\n', " ");
    let torn = r#"{"messages": [{"role": "user", "content": "to"#;
    let input = home.write(
        "in.jsonl",
        format!("{good}\n{torn}\n{bad}{good}\n\0\0\0\n{good}\n"),
    );
    let (lines, bucket, asked) = labelled(&input, 3);
    let codes = lines.iter().map(error_code).collect::<Vec<_>>();
    assert_eq!(codes, ["", "bad_message", "", "", "", ""]);
    let said = lines[1]["labeling_error"]["message"].as_str().unwrap();
    assert!(
        said.contains("messages[0].content is a list without a text, at byte"),
        "{said}"
    );
    assert!(
        asked.contains("42") && asked.contains("lone \u{fffd} half"),
        "{asked:?}"
    );
    assert_eq!(bucket["broken"].as_array().unwrap().len(), 2);
}

/// What gzip makes of a text.
fn gzip(home: &Home, name: &str, content: &str) -> Vec<u8> {
    let plain = home.write(name, content);
    let packed = Command::new("gzip").arg("-c").arg(plain).output().unwrap();
    packed.stdout
}

#[test]
fn the_command_that_is_named_makes_a_file_that_is_read() {
    let (service, home) = (Service::well(), Home::new());
    let packed = gzip(&home, "plain", &array(&[conversation("c", &["one"])]));
    for name in ["a b.json.gz", "in.json"] {
        let input = home.write(name, &packed);
        let refused = Softlabel::label(&service, &input, &home.path("out.jsonl")).ends(1);
        let (_, command) = refused.stderr.trim().split_once("unpack it: ").unwrap();
        let ran = Command::new("sh").arg("-c").arg(command).status().unwrap();
        assert!(ran.success(), "{command}");
        let target = command.split_once(" > ").unwrap().1.trim_matches('\'');
        let output = home.path(&format!("{name}.jsonl"));
        Softlabel::label(&service, Path::new(target), &output).ends(0);
        assert_eq!(lines(&output).len(), 1);
    }
}

#[test]
fn packed_files_of_a_dataset_are_named_as_unread_with_their_command() {
    let (service, home) = (Service::well(), Home::new());
    home.write("raw/train/a.json", array(&[conversation("c", &["one"])]));
    let packed = gzip(&home, "plain", "[]");
    home.write("raw/train/named.json.gz", &packed);
    home.write("raw/train/misnamed.json", &packed);
    home.write("raw/train/table.parquet", "PAR1....PAR1");
    let label = Softlabel::label(&service, &home.path("raw"), &home.path("out"));
    let outcome = label.arg("--no-rationales").ends(3);
    let metadata = json_file(&home.path("out/LABELED_raw/labeling_metadata.json"));
    assert_eq!(metadata["status"], "partial");
    let unread = metadata["unread"].as_array().unwrap();
    for (file, command) in [
        (
            "train/named.json.gz",
            "gzip -dc < train/named.json.gz > train/named.json",
        ),
        (
            "train/misnamed.json",
            "gzip -dc < train/misnamed.json > train/misnamed.unpacked.json",
        ),
        (
            "train/table.parquet",
            "train/table.parquet > train/table.json",
        ),
    ] {
        let entry = unread.iter().find(|it| it["path"] == file).unwrap();
        let reason = entry["reason"].as_str().unwrap();
        assert!(reason.contains(command), "{reason}");
        assert!(outcome.stderr.contains(command), "{outcome}");
    }
}

/// The texts of a labelled file are found again in the format of its RAW file.
#[test]
fn a_file_of_every_format_is_exported_with_its_texts() {
    for file in [
        "openai_messages.jsonl",
        "sharegpt.json",
        "vscode_chat_export.json",
        "turns_array_text.jsonl",
    ] {
        let (service, out) = (Service::well(), Home::new());
        let (input, path) = (samples().join("formats").join(file), out.path("out.jsonl"));
        Softlabel::label(&service, &input, &path).ends(0);
        let exported = out.path("exported.jsonl");
        let export = Command::new(env!("CARGO_BIN_EXE_softlabel"))
            .arg("export")
            .arg(&path)
            .args(["--to", "jsonl"])
            .arg("--input")
            .arg(&input)
            .arg("-o")
            .arg(&exported)
            .output()
            .unwrap();
        assert!(export.status.success(), "{file}: {export:?}");
        let asked = service.classifications();
        let asked = asked.iter().map(message_of).collect::<BTreeSet<_>>();
        let exported = std::fs::read_to_string(&exported).unwrap();
        let texts = exported.lines().map(|line| {
            let line = serde_json::from_str::<Value>(line).unwrap();
            line["message"].as_str().unwrap().to_owned()
        });
        assert_eq!(texts.collect::<BTreeSet<_>>(), asked, "{file}");
    }
}
