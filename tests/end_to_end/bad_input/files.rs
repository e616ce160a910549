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
