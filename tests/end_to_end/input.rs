//! Input as it comes: in both formats, damaged, cut off, or not a dataset at all.

use crate::harness::{message as message_of, *};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Conversations `a` to `c` with two messages each.
fn three() -> Vec<Value> {
    ["a", "b", "c"]
        .map(|id| conversation(id, &[&format!("first of {id}"), &format!("second of {id}")]))
        .into()
}

/// Labels a lone file without rationales and expects that the run ends with `code`.
fn labelled(input: &Path, args: &[&str], code: i32) -> (Vec<Map<String, Value>>, Value, Outcome) {
    let service = Service::well();
    let out = Home::new();
    let path = out.path("out.jsonl");
    let label = Softlabel::label(&service, input, &path);
    let outcome = label.arg("--no-rationales").args(args).ends(code);
    let metadata = json_file(&out.path("out.jsonl.softlabel/labeling_metadata.json"));
    (lines(&path), metadata, outcome)
}

fn ids(lines: &[Map<String, Value>]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["messageId"].as_str().unwrap())
        .collect()
}

#[test]
fn an_array_and_lines_are_told_apart_by_content_and_not_by_the_name() {
    let home = Home::new();
    let minified = serde_json::to_string(&three()).unwrap();
    let bom = format!("\u{feff}{}", array(&three()));
    for (name, content) in [
        ("array.json", array(&three())),
        ("array.jsonl", array(&three())),
        ("array.txt", format!("\n\n  {}\n\n", array(&three()))),
        ("minified.json", minified),
        ("lines.jsonl", jsonl(&three())),
        ("lines.json", jsonl(&three())),
        (
            "no_last_newline.jsonl",
            jsonl(&three()).trim_end().to_owned(),
        ),
        ("blank_lines.jsonl", jsonl(&three()).replace('\n', "\n\n")),
        ("windows.jsonl", jsonl(&three()).replace('\n', "\r\n")),
        ("windows.json", array(&three()).replace('\n', "\r\n")),
        ("bom.json", bom),
    ] {
        let input = home.write(name, content);
        let (lines, metadata, _) = labelled(&input, &[], 0);
        assert_eq!(
            ids(&lines),
            ["a-m0", "a-m1", "b-m0", "b-m1", "c-m0", "c-m1"],
            "{name}"
        );
        assert_eq!(metadata["totals"]["conversations"], 3, "{name}");
    }
}

#[test]
fn the_sample_in_both_formats_gives_the_same_labels() {
    let array = samples().join("devchat_sample_20261101/test/short_3_to_5_turns.json");
    let lines = samples().join("jsonl/devchat.jsonl");
    let names = ["--split", "s", "--bucket", "b"];
    let (from_array, ..) = labelled(&array, &names, 0);
    let (from_lines, ..) = labelled(&lines, &names, 0);
    assert_eq!(from_array.len(), 16);
    assert_eq!(from_array, from_lines);
}

#[test]
fn every_kind_of_dirt_keeps_its_line() {
    let home = Home::new();
    let mut first = conversation("a", &["one", "two", "three", "four", "five"]);
    let turns = first["turnsArray"].as_array_mut().unwrap();
    turns[0]["turnIndex"] = json!(7);
    turns[1].as_object_mut().unwrap().remove("turnIndex");
    turns[1].as_object_mut().unwrap().remove("messageId");
    turns[2]["userMessage"] = Value::Null;
    turns[3].as_object_mut().unwrap().remove("userMessage");
    turns[4]["turnIndex"] = json!("nine");
    turns[4]["modelMessage"] = Value::Null;
    let mut second = conversation("b", &["\u{200b}\u{feff} \n", "HALF", "ok"]);
    second.as_object_mut().unwrap().remove("conversationId");
    let repeated = conversation("c", &["said twice", "said once"]);
    let nothing = json!({"conversationId": "d", "turnsArray": []});
    let bare = json!({"turnsArray": [{"userMessage": "bare"}]});
    let all = [first, second, repeated.clone(), nothing, repeated, bare];
    let content = array(&all).replace("HALF", "half \\ud83d a pair");
    let input = home.write("dirt.json", content);
    let (lines, metadata, _) = labelled(&input, &[], 0);
    assert_eq!(
        ids(&lines),
        [
            "a-m0", "", "a-m2", "a-m3", "a-m4", "b-m0", "b-m1", "b-m2", "c-m0", "c-m1", "c-m0",
            "c-m1", "",
        ]
    );
    let conversations = lines
        .iter()
        .map(|line| line["conversationId"].as_str().unwrap());
    let conversations = conversations.collect::<Vec<_>>();
    assert_eq!(
        conversations,
        ["a", "a", "a", "a", "a", "", "", "", "c", "c", "c", "c", ""]
    );
    let codes = lines.iter().map(error_code).collect::<Vec<_>>();
    let (bad, empty) = ("bad_message", "empty_message");
    assert_eq!(
        codes,
        ["", "", bad, empty, "", empty, "", "", "", "", "", "", ""]
    );
    let totals = &metadata["totals"];
    assert_eq!(totals["conversations"], 6);
    assert_eq!(totals["turns"], 13);
    assert_eq!(totals["not_labelable"], 3);
    assert_eq!(
        totals["duplicate_keys"], 2,
        "the repeated conversation's two turns"
    );
    assert_eq!(totals["missing_ids"], 5);
    assert_eq!(totals["failed"], 0);
    assert_eq!(metadata["status"], "complete");
}

/// Where a text stands in another, in bytes.
fn range_of(part: &str, whole: &str) -> (u64, u64) {
    let start = whole.find(part).unwrap() as u64;
    (start, start + part.len() as u64)
}

#[test]
fn a_broken_conversation_among_good_ones_makes_the_bucket_partial() {
    for name in ["stray_quote", "wrong_shape"] {
        let input = samples().join(format!("broken/{name}.json"));
        let (lines, metadata, outcome) = labelled(&input, &[], 3);
        let intact = raw(&samples().join("devchat_sample_20261101/test/short_3_to_5_turns.json"));
        let broken_number = if name == "stray_quote" { 1 } else { 2 };
        let mut expected = intact.clone();
        expected.remove(broken_number);
        let expected = expected
            .iter()
            .flat_map(|c| c["turnsArray"].as_array().unwrap());
        let expected = expected
            .map(|turn| turn["messageId"].as_str().unwrap())
            .collect::<Vec<_>>();
        assert_eq!(ids(&lines), expected, "{name}");

        let report = &metadata["splits"]["-"]["-"];
        assert_eq!(
            (&metadata["status"], &report["status"]),
            (&json!("partial"), &json!("partial"))
        );
        assert_eq!(
            (&report["conversations"], &report["broken_conversations"]),
            (&json!(4), &json!(1))
        );
        let broken = &report["broken"][0];
        assert_eq!(broken["number"], broken_number);
        let range = |end: &str| broken["bytes"][end].as_u64().unwrap() as usize;
        let content = fs::read_to_string(&input).unwrap();
        let told = &content[range("start")..range("end")];
        let id = intact[broken_number]["conversationId"].as_str().unwrap();
        assert!(
            told.trim_start().starts_with('{') && told.contains(id),
            "{name}: {told}"
        );
        let next = intact[broken_number + 1]["conversationId"]
            .as_str()
            .unwrap();
        assert!(
            !told.contains(next),
            "{name}: the next one is not swallowed"
        );
        assert!(
            outcome.stderr.contains("1 conversation could not be read"),
            "{outcome}"
        );
        // A reason is for people, and quotes nobody's message.
        assert!(!broken["reason"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_broken_line_breaks_that_line_only() {
    let home = Home::new();
    let good = jsonl(&three());
    let mut parts = good.lines().map(str::to_owned).collect::<Vec<_>>();
    let whole = parts[1].clone();
    for damaged in [
        whole[..whole.len() / 2].to_owned(),
        "null".into(),
        "]".into(),
        "x\"y".into(),
    ] {
        parts[1].clone_from(&damaged);
        let content = parts.join("\n");
        let (start, end) = range_of(&damaged, &content);
        let (lines, metadata, _) = labelled(&home.write("in.jsonl", &content), &[], 3);
        assert_eq!(ids(&lines), ["a-m0", "a-m1", "c-m0", "c-m1"], "{damaged}");
        let broken = &metadata["splits"]["-"]["-"]["broken"];
        assert_eq!(broken.as_array().unwrap().len(), 1, "{damaged}");
        assert_eq!(broken[0]["number"], 1);
        if damaged.starts_with('{') {
            assert_eq!(broken[0]["bytes"], json!({"start": start, "end": end}));
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_not_begun() {
    let service = Service::well();
    let home = Home::new();
    let cut = samples().join("broken/cut_off.json");
    let content = fs::read_to_string(&cut).unwrap();
    let out = home.path("out.jsonl");
    let outcome = Softlabel::label(&service, &cut, &out).ends(1);
    let error = outcome.error();
    let at = error.split_once("byte ").unwrap().1;
    let at = at.split_once(':').unwrap().0.parse::<usize>().unwrap();
    assert!(
        content[at..].starts_with('{'),
        "the byte where the unfinished one begins: {error}"
    );
    assert_eq!(
        content[at..].matches("\"conversationId\"").count(),
        1,
        "{error}"
    );
    assert!(
        error.contains("cut off") && error.contains("--salvage"),
        "{error}"
    );
    assert!(error.contains("cut_off.json"), "{error}");
    assert_eq!(service.stats().requests, 0, "nothing is sent for it");
    assert_eq!(
        files(&home.path(".")),
        Vec::<std::path::PathBuf>::new(),
        "nothing is written"
    );

    let outcome = Softlabel::label(&service, &cut, &out)
        .arg("--salvage")
        .ends(3);
    assert_eq!(outcome.row("status"), "partial");
    let intact = raw(&samples().join("devchat_sample_20261101/test/short_3_to_5_turns.json"));
    let expected = intact[..3]
        .iter()
        .flat_map(|c| c["turnsArray"].as_array().unwrap());
    let expected = expected
        .map(|turn| turn["messageId"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(ids(&lines(&out)), expected);
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    let report = &metadata["splits"]["-"]["-"];
    assert_eq!(
        (&metadata["status"], &report["status"]),
        (&json!("partial"), &json!("partial"))
    );
    assert!(report["salvaged"].as_str().unwrap().contains("cut off"));
    // The same command finds that done.
    service.clear();
    Softlabel::label(&service, &cut, &out)
        .arg("--salvage")
        .ends(3);
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn one_file_that_is_cut_off_stops_the_dataset_before_anything_is_sent() {
    let service = Service::well();
    let home = Home::new();
    home.write("ds/train/good.json", array(&three()));
    let whole = array(&three());
    home.write("ds/train/cut.json", &whole[..whole.len() - 40]);
    home.write("ds/val/other.json", "{\"a\": 1}");
    let (ds, out) = (home.path("ds"), home.path("out"));
    let outcome = Softlabel::label(&service, &ds, &out).ends(1);
    for file in ["train/cut.json", "val/other.json"] {
        assert!(
            outcome.stderr.contains(file),
            "all of them are told at once: {outcome}"
        );
    }
    assert!(!outcome.stderr.contains("good.json"), "{outcome}");
    assert_eq!(service.stats().requests, 0);
    assert!(!out.exists());

    fs::remove_file(home.path("ds/val/other.json")).unwrap();
    Softlabel::label(&service, &ds, &out)
        .arg("--salvage")
        .ends(3);
    assert_eq!(lines(&out.join("LABELED_ds/train/good.jsonl")).len(), 6);
    assert_eq!(lines(&out.join("LABELED_ds/train/cut.jsonl")).len(), 4);
    let metadata = json_file(&out.join("LABELED_ds/labeling_metadata.json"));
    assert_eq!(metadata["status"], "partial");
    assert_eq!(metadata["splits"]["train"]["good"]["status"], "complete");
    assert_eq!(metadata["splits"]["train"]["cut"]["status"], "partial");
}

#[test]
fn what_is_no_dataset_is_said_with_the_byte_and_costs_nothing() {
    let service = Service::well();
    let home = Home::new();
    for (name, content) in [
        ("empty", Vec::new()),
        ("blank", b" \n\t\r\n".to_vec()),
        ("object", b"{\"actual_counts\": {\"train\": 1}}".to_vec()),
        ("prose", b"Dear diary, today I labelled nothing.\n".to_vec()),
        ("number", b"42".to_vec()),
        ("text", b"\"hello\"".to_vec()),
        ("html", b"<!doctype html><html></html>".to_vec()),
        ("csv", b"id,message\n1,hello\n2,bye\n".to_vec()),
        ("zip", b"PK\x03\x04\x14\0\0\0\x08\0".to_vec()),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()),
        (
            "utf16",
            "[{}]".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("numbers", b"[1, 2, 3]".to_vec()),
        ("objects", b"[{\"a\": 1}, {\"b\": 2}]".to_vec()),
        ("bracket", b"[".to_vec()),
        (
            "trailing",
            format!("{}{}", array(&three()), array(&three())).into_bytes(),
        ),
        (
            "one_conversation",
            serde_json::to_vec_pretty(&three()[0]).unwrap(),
        ),
    ] {
        let input = home.write(name, content);
        let out = home.path("out.jsonl");
        let outcome = Softlabel::label(&service, &input, &out).run();
        assert_eq!(outcome.code, Some(1), "{name}: {outcome}");
        let error = outcome.error();
        assert!(error.contains(name), "the file is named: {error}");
        if !["empty", "blank"].contains(&name) {
            assert!(error.contains("byte "), "{name}: {error}");
        }
        assert!(
            !out.exists() && !home.path("out.jsonl.softlabel").exists(),
            "{name}"
        );
    }
    let outcome = Softlabel::label(
        &service,
        &samples().join("broken/no_array.json"),
        &home.path("o"),
    )
    .ends(1);
    assert!(outcome.error().contains("not a dataset"), "{outcome}");
    assert_eq!(service.stats().requests, 0);
}

#[test]
fn an_array_without_conversations_is_labelled_at_once() {
    let home = Home::new();
    let (lines, metadata, _) = labelled(&home.write("in.json", "[]"), &[], 0);
    assert_eq!(lines.len(), 0);
    assert_eq!(metadata["status"], "complete");
    assert_eq!(metadata["totals"]["mean_soft_label"], Value::Null);
}

#[test]
fn a_lone_file_has_the_split_and_bucket_that_it_is_given() {
    let home = Home::new();
    let input = home.write("short_3_to_5_turns.json", array(&three()));
    let (lines, ..) = labelled(&input, &[], 0);
    assert!(
        lines
            .iter()
            .all(|line| line["split"].is_null() && line["bucket"].is_null())
    );
    let (lines, metadata, _) = labelled(&input, &["--split", "train", "--bucket", "short"], 0);
    assert!(
        lines
            .iter()
            .all(|line| line["split"] == "train" && line["bucket"] == "short")
    );
    assert_eq!(metadata["splits"]["train"]["short"]["turns"], 6);
    let (lines, ..) = labelled(&input, &["--bucket", "short"], 0);
    assert!(
        lines
            .iter()
            .all(|line| line["split"].is_null() && line["bucket"] == "short")
    );
}

#[test]
fn a_lone_file_of_a_dataset_has_the_split_and_bucket_of_its_path() {
    let input = samples().join("devchat_sample_20261101/val/short_3_to_5_turns.json");
    let (lines, ..) = labelled(&input, &[], 0);
    assert_eq!(lines.len(), 15);
    assert!(
        lines
            .iter()
            .all(|l| l["split"] == "val" && l["bucket"] == "short_3_to_5_turns")
    );
}

#[test]
fn splits_and_buckets_are_whatever_the_dataset_brings() {
    let service = Service::well();
    let home = Home::new();
    for path in [
        "holdout/very long.json",
        "ümläut/.hidden.json",
        "ümläut/größe.jsonl",
    ] {
        home.write(&format!("ds/{path}"), jsonl(&three()));
    }
    home.write("ds/holdout/invalid_records_1.json", "not json");
    home.write("ds/holdout/notes.md", "# notes");
    let out = home.path("out");
    let outcome = Softlabel::label(&service, &home.path("ds"), &out)
        .arg("--no-rationales")
        .ends(0);
    assert!(
        outcome.stderr.contains("no metadata.json"),
        "a warning: {outcome}"
    );
    let labeled = out.join("LABELED_ds");
    let expected = [
        "README.md",
        "details/holdout/very long.jsonl",
        "details/ümläut/größe.jsonl",
        "holdout/very long.jsonl",
        "labeling_metadata.json",
        "report.html",
        "ümläut/größe.jsonl",
    ];
    assert_eq!(files(&labeled), expected.map(|file| labeled.join(file)));
    let lines = lines(&labeled.join("ümläut/größe.jsonl"));
    assert!(
        lines
            .iter()
            .all(|line| line["split"] == "ümläut" && line["bucket"] == "größe")
    );
}

#[test]
fn a_conversation_larger_than_all_limits_is_labelled_turn_by_turn() {
    let home = Home::new();
    let messages = distinct(70);
    let input = home.messages(&borrowed(&messages));
    // More turns than a chunk holds and than may be under way.
    let (lines, ..) = labelled(&input, &["--chunk-turns", "4", "--concurrency", "1"], 0);
    let expected = (0..70).map(|i| format!("c1-m{i}")).collect::<Vec<_>>();
    assert_eq!(ids(&lines), expected);
}

/// One conversation of two turns, as JSON text that is changed by `change`.
fn text_of(id: &str, change: impl Fn(String) -> String) -> String {
    change(conversation(id, &[&format!("first of {id}"), &format!("second of {id}")]).to_string())
}

#[test]
fn a_turn_in_an_odd_shape_costs_itself_alone() {
    let home = Home::new();
    let service = Service::well();
    for (message, code, shown) in [
        (
            r#"[{"type":"text","text":"in parts"},{"type":"image_url"}]"#,
            "",
            "in parts",
        ),
        (r#"["one part","and another"]"#, "", "one part\nand another"),
        (
            r#"{"role":"user","content":"as a message"}"#,
            "",
            "as a message",
        ),
        ("41.50", "", "41.50"),
        (
            "123456789012345678901234567890",
            "",
            "123456789012345678901234567890",
        ),
        ("null", "bad_message", ""),
        ("NaN", "bad_message", ""),
        ("true", "bad_message", ""),
        ("{}", "bad_message", ""),
        (r#"[{"type":"image_url"}]"#, "bad_message", ""),
    ] {
        let odd = text_of("b", |it| it.replace("\"first of b\"", message));
        let content = format!(
            "[{},\n {odd},\n {}]",
            text_of("a", |it| it),
            text_of("c", |it| it)
        );
        let input = home.write("in.json", &content);
        service.clear();
        let out = Home::new();
        let path = out.path("out.jsonl");
        Softlabel::label(&service, &input, &path)
            .arg("--no-rationales")
            .ends(0);
        let lines = lines(&path);
        assert_eq!(
            ids(&lines),
            ["a-m0", "a-m1", "b-m0", "b-m1", "c-m0", "c-m1"]
        );
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(
                error_code(line),
                if number == 2 { code } else { "" },
                "{message}"
            );
        }
        match code {
            "" => {
                let asked = service.classifications();
                assert!(asked.iter().any(|it| message_of(it) == shown), "{message}");
            }
            _ => {
                let error = lines[2]["labeling_error"]["message"].as_str().unwrap();
                let byte = content.find(message).unwrap();
                assert!(error.contains("turnsArray[0].userMessage is "), "{error}");
                assert!(
                    error.contains(&format!("at byte {byte} of the file")),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_turn_has_its_line() {
    let home = Home::new();
    for turn in ["null", "17", "\"text\"", "[]"] {
        let odd = text_of("b", |it| {
            it.replace("\"turnsArray\":[", &format!("\"turnsArray\":[{turn},"))
        });
        let input = home.write("in.jsonl", format!("{odd}\n"));
        let (lines, metadata, _) = labelled(&input, &[], 0);
        assert_eq!(ids(&lines), ["", "b-m0", "b-m1"]);
        assert_eq!(error_code(&lines[0]), "bad_message");
        assert_eq!(metadata["totals"]["not_labelable"], 1);
    }
}

#[test]
fn a_models_message_in_an_odd_shape_costs_nothing() {
    let home = Home::new();
    for message in [
        "{\"a\":1}",
        "[]",
        "[null]",
        "7",
        "true",
        "NaN",
        "{\"role\":\"assistant\",\"content\":\"x\"}",
    ] {
        let odd = text_of("b", |it| it.replace("\"answer 0 of b\"", message));
        let input = home.write("in.jsonl", format!("{odd}\n"));
        for strategy in ["user_message_only", "with_context", "with_response"] {
            let (lines, ..) = labelled(&input, &["--strategy", strategy], 0);
            assert_eq!(
                lines.iter().map(error_code).collect::<Vec<_>>(),
                ["", ""],
                "{message}"
            );
        }
    }
}

#[test]
fn what_python_writes_into_other_fields_is_ignored() {
    let home = Home::new();
    for value in [
        "NaN",
        "Infinity",
        "-Infinity",
        "None",
        "True",
        "nan",
        "1e999",
        "\"\\ud800\"",
        "[1,2,]",
        "{\"a\":1,}",
    ] {
        let odd = |id: &str| {
            text_of(id, |it| {
                it.replace("\"turnCount\":2", &format!("\"turnCount\":{value}"))
                    .replace("\"numRequests\":1", &format!("\"numRequests\":[{value}]"))
            })
        };
        for content in [
            format!("{}\n{}\n", odd("a"), odd("b")),
            format!("[{},\n{}]", odd("a"), odd("b")),
        ] {
            let (lines, ..) = labelled(&home.write("in", content), &[], 0);
            assert_eq!(ids(&lines), ["a-m0", "a-m1", "b-m0", "b-m1"], "{value}");
        }
    }
}

#[test]
fn ids_are_written_to_the_letter() {
    let home = Home::new();
    for (id, expected) in [
        ("17", "17"),
        ("1.0", "1.0"),
        (
            "98765432109876543210987654321",
            "98765432109876543210987654321",
        ),
        (
            "98765432109876543210987654322",
            "98765432109876543210987654322",
        ),
        ("0.10000000000000000001", "0.10000000000000000001"),
        ("\"007\"", "007"),
        ("{\"$oid\": \"65a1\"}", "{\"$oid\":\"65a1\"}"),
        ("null", ""),
    ] {
        let odd = text_of("b", |it| it.replace("\"b\"", id).replace("\"b-m1\"", id));
        let (lines, ..) = labelled(&home.write("in.jsonl", odd + "\n"), &[], 0);
        assert_eq!(lines[0]["conversationId"], expected);
        assert_eq!(ids(&lines), ["b-m0", expected]);
    }
}

#[test]
fn lines_may_be_torn_glued_or_overwritten() {
    let home = Home::new();
    let [a, b, c] = ["a", "b", "c"].map(|id| text_of(id, |it| it));
    let nul = "\0".repeat(4096);
    let (torn, half) = (&b[..b.len() / 2], &b[b.len() / 2..]);
    let in_text = &b[..b.find("of b").unwrap()];
    let all = ["a-m0", "a-m1", "b-m0", "b-m1", "c-m0", "c-m1"];
    let without_b = ["a-m0", "a-m1", "c-m0", "c-m1"];
    for (content, expected, reason) in [
        (format!("{a}{b}{c}"), &all[..], ""),
        (format!("{a},\n{b},\n{c},\n"), &all, ""),
        (format!("{a}\r{b}\r{c}\r"), &all, ""),
        (format!("\u{feff}{a}\n\u{feff}{b}\n{c}\n"), &all, ""),
        (format!("{a}\n{torn}{c}\n"), &without_b, "torn"),
        (format!("{a}\n{in_text}{c}\n"), &without_b, "torn"),
        (format!("{a}\n{in_text}\n{c}\n"), &without_b, "torn"),
        (format!("{a}\n{c}\n{torn}\n"), &without_b, "torn"),
        (format!("{a}\n{in_text}{nul}{c}\n"), &without_b, "NUL bytes"),
        (
            format!("{a}\n{torn}{nul}{half}\n{c}\n"),
            &without_b,
            "NUL bytes",
        ),
        (format!("{half}\n{a}\n{c}\n"), &without_b, "does not begin"),
        (format!("null\n{a}\n{b}\n{c}\n"), &all, "does not begin"),
        (format!("{a}\n{nul}{b}\n{c}\n"), &all, "NUL bytes"),
        (format!("{a}\n{b}\n{c}\n{nul}"), &all, "NUL bytes"),
    ] {
        let input = home.write("in.jsonl", &content);
        let code = if reason.is_empty() { 0 } else { 3 };
        let (lines, metadata, outcome) = labelled(&input, &[], code);
        let shown = content.replace('\0', "");
        assert_eq!(ids(&lines), expected, "{shown}");
        assert!(!outcome.stderr.contains("cut off"), "{outcome}");
        let broken = &metadata["splits"]["-"]["-"]["broken"];
        if reason.is_empty() {
            assert_eq!(broken, &Value::Null, "{shown}");
            continue;
        }
        assert_eq!(broken.as_array().unwrap().len(), 1, "{shown}: {broken}");
        assert!(
            broken[0]["reason"].as_str().unwrap().contains(reason),
            "{broken}"
        );
    }
}

#[test]
fn no_file_that_is_named_like_data_is_left_out_in_silence() {
    let service = Service::well();
    let home = Home::new();
    for path in ["train/short.json", "train/long.JSON", "val/lines.JSONL"] {
        home.write(&format!("ds/{path}"), jsonl(&three()));
    }
    home.write("ds/metadata.json", "{}");
    let beside = ["ds/all.csv", "ds/extra.json"];
    for path in beside {
        home.write(path, "x");
    }
    for path in [
        "ds/invalid_records_1.json",
        "ds/train/.hidden.json",
        "ds/train/metadata.json",
        "ds/notes.md",
    ] {
        home.write(path, "x");
    }
    let label = |out: &str| {
        Softlabel::label(&service, &home.path("ds"), &home.path(out)).arg("--no-rationales")
    };
    let outcome = label("out").ends(0);
    for name in ["all.csv", "extra.json"] {
        assert!(
            outcome
                .stderr
                .contains(&format!("warning: {name} is not read")),
            "{outcome}"
        );
    }
    assert_eq!(
        outcome.stderr.matches("is not read").count(),
        2,
        "{outcome}"
    );
    for file in ["train/short", "train/long", "val/lines"] {
        assert_eq!(
            lines(&home.path(&format!("out/LABELED_ds/{file}.jsonl"))).len(),
            6
        );
    }

    let unread = [
        "train/deep/er/short.json",
        "train/long.json.gz",
        "train/medium.CSV",
        "train/medium.NDJSON",
        "train/medium.tsv.lz4",
        "val/short.jsonl.zst",
        "val/short.parquet",
    ];
    for path in unread {
        home.write(&format!("ds/{path}"), "x");
    }
    let outcome = label("again").ends(3);
    let metadata = json_file(&home.path("again/LABELED_ds/labeling_metadata.json"));
    assert_eq!(metadata["status"], "partial");
    let mut named = metadata["unread"].as_array().unwrap().iter();
    let mut named = named
        .by_ref()
        .map(|it| it["path"].as_str().unwrap())
        .collect::<Vec<_>>();
    named.sort_unstable();
    assert_eq!(named, unread);
    for path in unread {
        assert!(
            outcome
                .stderr
                .contains(&format!("warning: {path} is not read: ")),
            "{outcome}"
        );
    }
}

#[test]
fn the_limit_of_a_conversation_is_a_setting() {
    let home = Home::new();
    let long = "long ".repeat(300_000);
    let content = jsonl(&[conversation("a", &["short"]), conversation("b", &[&long])]);
    let input = home.write("in.jsonl", content);
    let (lines, metadata, _) = labelled(&input, &["--max-conversation-mib", "1"], 3);
    assert_eq!(ids(&lines), ["a-m0"]);
    let reason = &metadata["splits"]["-"]["-"]["broken"][0]["reason"];
    assert!(
        reason
            .as_str()
            .unwrap()
            .contains("SOFTLABEL_MAX_CONVERSATION_MIB"),
        "{reason}"
    );
    let (lines, ..) = labelled(&input, &["--max-conversation-mib", "2"], 0);
    assert_eq!(ids(&lines), ["a-m0", "b-m0"]);
}

#[test]
fn the_metadata_of_raw_costs_nothing_whatever_it_is() {
    let service = Service::well();
    type Make = fn(&Path);
    let kinds: [(Make, &str); 3] = [
        (
            |path| {
                let counts = r#"{"mean": NaN, "actual_counts": {"train": {"short": 4}}}"#;
                fs::write(path, format!("\u{feff}{counts}")).unwrap();
            },
            "train/short holds 3 conversations, RAW's metadata.json says 4",
        ),
        (|path| fs::create_dir(path).unwrap(), "it is a folder"),
        (
            |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            "it is not a regular file",
        ),
    ];
    for (make, says) in kinds {
        let home = Home::new();
        home.write("ds/train/short.json", jsonl(&three()));
        make(&home.path("ds/metadata.json"));
        let label = Softlabel::label(&service, &home.path("ds"), &home.path("out"));
        let outcome = label.arg("--no-rationales").ends(0);
        assert!(outcome.stderr.contains(says), "{says}: {outcome}");
        let labelled = home.path("out/LABELED_ds/train/short.jsonl");
        assert_eq!(lines(&labelled).len(), 6, "{says}");
    }
}

#[test]
fn names_are_no_reason_to_lose_what_was_paid_for() {
    let service = Service::well();
    let home = Home::new();
    // Whatever is made beside it would have too long a name.
    let long = "x".repeat(246);
    home.write(&format!("ds/train/{long}.json"), jsonl(&three()));
    // The labelled dataset has files of these names.
    for split in ["report.html", "README.md", "labeling_metadata.json"] {
        home.write(&format!("ds/{split}/short.json"), jsonl(&three()));
    }
    let label = Softlabel::label(&service, &home.path("ds"), &home.path("out"));
    let outcome = label.arg("--no-rationales").ends(3);
    let labelled = home.path(&format!("out/LABELED_ds/train/{long}.jsonl"));
    assert_eq!(lines(&labelled).len(), 6);
    let metadata = json_file(&home.path("out/LABELED_ds/labeling_metadata.json"));
    assert_eq!(metadata["unread"].as_array().unwrap().len(), 3);
    assert!(outcome.stderr.contains("rename the folder"), "{outcome}");
}

#[test]
fn a_pipe_among_our_own_files_is_not_waited_for() {
    let service = Service::well();
    let home = Home::new();
    let input = home.write("in.jsonl", jsonl(&three()));
    let metadata = home.path("out.jsonl.softlabel/labeling_metadata.json");
    fs::create_dir(metadata.parent().unwrap()).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&metadata)
            .status()
            .unwrap()
            .success()
    );
    let outcome = Softlabel::label(&service, &input, &home.path("out.jsonl")).ends(1);
    assert!(outcome.error().contains("not a regular file"), "{outcome}");
    assert_eq!(service.stats().requests, 0);
}
