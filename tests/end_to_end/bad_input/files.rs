//! Files that are no dataset, or not a whole one.

use super::*;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "no such file",
            1,
            &["--input", "nowhere.json", "No such file"],
            "check the path",
            |w| w.label("nowhere.json", "out.jsonl"),
        ),
        row(
            "a file as a folder of the path",
            1,
            &["--input", "in.json/x"],
            "check the path",
            |w| {
                w.good();
                w.label("in.json/x", "out.jsonl")
            },
        ),
        row(
            "an empty file",
            1,
            &["in.json", "the file is empty"],
            "export it again",
            |w| w.file(""),
        ),
        row(
            "nothing but blanks",
            1,
            &["in.json", "the file is empty"],
            "export it again",
            |w| w.file(" \n\t\r\n "),
        ),
        row(
            "binary",
            1,
            &["in.json", "byte 0", "not a dataset"],
            "JSON array of conversations",
            |w| w.file((0..=255).cycle().take(5000).collect::<Vec<u8>>()),
        ),
        row(
            "gzip",
            1,
            &["in.json", "byte 0", "gzip"],
            "unpack it",
            |w| w.file(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x8b\xae\x8e\x05\x00"),
        ),
        row("zip", 1, &["in.json", "byte 0", "zip"], "unpack it", |w| {
            w.file(b"PK\x03\x04\x14\x00\x00\x00")
        }),
        row(
            "zstd under a name of JSON",
            1,
            &["in.json", "byte 0", "zstd"],
            "in.unpacked.json",
            |w| w.file(b"\x28\xb5\x2f\xfd\x04\x00\x00\x00"),
        ),
        row(
            "lz4 under a name of JSON",
            1,
            &["in.json", "byte 0", "lz4"],
            "unpack it: lz4 -dc < ",
            |w| w.file(b"\x04\x22\x4d\x18\x64\x40\xa7"),
        ),
        row(
            "gzip under its name",
            1,
            &["in.json.gz", "gzip-compressed data"],
            "unpack it: gzip -dc < ",
            |w| {
                w.home
                    .write("in.json.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00");
                w.label("in.json.gz", "out.jsonl")
            },
        ),
        row(
            "a Parquet file",
            1,
            &["in.parquet", "a Parquet file"],
            "convert it: python3 -c 'import json, sys, pyarrow.parquet",
            |w| {
                w.home.write("in.parquet", "PAR1\x15\x04\x15\x10PAR1");
                w.label("in.parquet", "out.jsonl")
            },
        ),
        row(
            "a CSV file under its name",
            1,
            &["in.csv", "byte 0", "not a dataset"],
            "convert it: python3 -c 'import csv",
            |w| {
                w.home
                    .write("in.csv", "conversationId,userMessage\nc1,hello\n");
                w.label("in.csv", "out.jsonl")
            },
        ),
        row(
            "pairs of prompt and completion",
            1,
            &[
                "in.json",
                "byte 0",
                "its fields are prompt (a text), completion (a text)",
            ],
            "softlabel label --help names",
            |w| w.file("{\"prompt\": \"a\", \"completion\": \"b\"}\n".repeat(2)),
        ),
        row(
            "messages without roles",
            1,
            &[
                "in.json",
                "byte 0",
                "messages (a list of objects with user, text)",
            ],
            "JSON array of conversations",
            |w| w.file(r#"{"messages": [{"user": "U1", "text": "hello"}], "ok": true}"#),
        ),
        row(
            "requests of a batch",
            1,
            &["in.json", "byte 0", "custom_id (a text), body (an object)"],
            "JSON array of conversations",
            |w| {
                let request = json!({"custom_id": "1", "body": {"messages": [{"role": "user"}]}});
                w.file(format!("{request}\n{request}\n"))
            },
        ),
        row(
            "turns in a text that is Python's and not JSON's",
            1,
            &["in.json", "byte 0", "its text is not JSON"],
            "JSON array of conversations",
            |w| {
                let record = json!({"turnsArray": "[{'userMessage': 'one'}]"});
                w.file(format!("{record}\n{record}\n"))
            },
        ),
        row(
            "a chat export that is cut off",
            1,
            &["in.json", "byte 0", "cut off"],
            "export it again",
            |w| {
                let export = fs::read_to_string(samples().join("formats/vscode_chat_export.json"));
                let export = export.unwrap();
                w.file(&export[..export.len() / 2])
            },
        ),
        row(
            "an object of no format over several lines",
            1,
            &[
                "in.json",
                "byte 0",
                "its fields are requests (a list of objects with url)",
            ],
            "JSON array of conversations",
            |w| w.file("{\n  \"requests\": [\n    {\"url\": \"x\"}\n  ]\n}\n"),
        ),
        row(
            "UTF-16",
            1,
            &["in.json", "byte 0", "UTF-16"],
            "convert it to UTF-8",
            |w| {
                let text = good()
                    .encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect::<Vec<_>>();
                w.file([b"\xff\xfe".as_slice(), &text].concat())
            },
        ),
        row(
            "HTML",
            1,
            &["in.json", "byte 0", "begins with '<'"],
            "JSON array of conversations",
            |w| w.file("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"),
        ),
        row(
            "CSV",
            1,
            &["in.json", "byte 0", "not a dataset"],
            "JSON array of conversations",
            |w| w.file("conversationId,userMessage\nc1,hello\nc2,bye\n"),
        ),
        row(
            "a word",
            1,
            &["in.json", "byte 0", "not a dataset"],
            "JSON array of conversations",
            |w| w.file("null"),
        ),
        row(
            "the dataset's metadata",
            1,
            &["metadata.json", "byte 0"],
            "JSON array of conversations",
            |w| {
                copy(&samples(), &w.home.path("samples"));
                w.label("samples/devchat_sample_20261101/metadata.json", "out.jsonl")
            },
        ),
        row(
            "an object around the array",
            1,
            &["in.json", "byte 0"],
            "JSON array of conversations",
            |w| w.file(format!("{{\"data\": {}}}", good())),
        ),
        row(
            "one conversation over several lines",
            1,
            &["in.json", "byte 0"],
            "array",
            |w| w.file(serde_json::to_string_pretty(&conversation("c1", &["one"])).unwrap()),
        ),
        row(
            "an array of numbers",
            1,
            &["in.json", "byte 1"],
            "JSON array of conversations",
            |w| w.file("[1, 2, 3]"),
        ),
        row(
            "an array of texts",
            1,
            &["in.json", "byte 1"],
            "JSON array of conversations",
            |w| w.file(r#"["one", "two"]"#),
        ),
        row(
            "an empty text",
            1,
            &["in.json", "byte 0"],
            "JSON array of conversations",
            |w| w.file("\"\""),
        ),
        row(
            "lines that are labels",
            1,
            &["in.json", "byte 0"],
            "JSON array of conversations",
            |w| {
                let line = r#"{"conversationId":"c","messageId":"m","split":null,"bucket":null,"hard_label":0,"soft_label":0.1}"#;
                w.file(format!("{line}\n{line}\n"))
            },
        ),
        row(
            "no conversation can be read",
            1,
            &["in.json", "byte 4", "turnsArray"],
            "JSON array of conversations",
            |w| {
                let mut broken = conversation("c1", &["one"]);
                broken["turnsArray"] = json!("text");
                w.file(array(&[broken.clone(), broken]))
            },
        ),
        row(
            "cut off inside a text",
            1,
            &["in.json", "byte", "cut off"],
            "--salvage",
            |w| {
                let text = good();
                w.file(&text[..text.find("three").unwrap() + 2])
            },
        ),
        row(
            "cut off after a comma",
            1,
            &["in.json", "byte", "cut off"],
            "--salvage",
            |w| {
                let text = good();
                w.file(&text[..text.find("\n  },\n").unwrap() + 6])
            },
        ),
        row(
            "cut off inside a key",
            1,
            &["in.json", "byte", "cut off"],
            "--salvage",
            |w| {
                let text = good();
                w.file(&text[..text.rfind("userName").unwrap() + 4])
            },
        ),
        row(
            "cut off in the first conversation",
            1,
            &["in.json", "byte", "cut off"],
            "export it again",
            |w| {
                let text = good();
                w.file(&text[..text.find("two").unwrap()])
            },
        ),
        row(
            "cut off after the bracket",
            1,
            &["in.json", "byte", "cut off"],
            "export it again",
            |w| w.file("["),
        ),
        row(
            "nothing to salvage",
            1,
            &["in.json", "byte", "cut off"],
            "export it again",
            |w| w.file("[{\"conversationId\": \"c").arg("--salvage"),
        ),
        row(
            "data after the end",
            1,
            &["in.json", "byte", "data after the end"],
            "--salvage",
            |w| w.file(good() + "\n]\n"),
        ),
        row(
            "two arrays",
            1,
            &["in.json", "byte", "data after the end"],
            "--salvage",
            |w| w.file(good() + &good()),
        ),
        row(
            "a link to nothing",
            1,
            &["--input", "link.json"],
            "check the path",
            |w| {
                symlink("nowhere", w.home.path("link.json")).unwrap();
                w.label("link.json", "out.jsonl")
            },
        ),
        row(
            "a link to itself",
            1,
            &["--input", "link.json"],
            "check the path",
            |w| {
                symlink("link.json", w.home.path("link.json")).unwrap();
                w.label("link.json", "out.jsonl")
            },
        ),
        row(
            "a pipe",
            2,
            &["--input", "in.json", "not a regular file"],
            "copy it",
            |w| {
                mkfifo(&w.home.path("in.json"));
                w.label("in.json", "out.jsonl")
            },
        ),
        row(
            "a device",
            2,
            &["--input", "/dev/zero", "not a regular file"],
            "copy it",
            |w| w.label("/dev/zero", "out.jsonl"),
        ),
    ]
}
