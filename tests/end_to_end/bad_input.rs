//! Everything that can be wrong with what the program is given, in one table.

use crate::harness::*;
use serde_json::json;
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault, Limits, NoLogprobs};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

/// Where one row of the table plays.
struct World {
    home: Home,
    service: Service,
    other: RefCell<Option<Running>>,
}

/// One kind of bad input.
struct Row {
    name: &'static str,
    code: i32,
    /// What is wrong, as the message must name it: a file, a byte, a flag, a variable.
    place: &'static [&'static str],
    /// What the message must say about what to do.
    remedy: &'static str,
    /// Whether only the service can tell that it is wrong.
    asks: bool,
    set_up: fn(&World) -> Softlabel,
}

const fn row(
    name: &'static str,
    code: i32,
    place: &'static [&'static str],
    remedy: &'static str,
    set_up: fn(&World) -> Softlabel,
) -> Row {
    Row {
        name,
        code,
        place,
        remedy,
        asks: false,
        set_up,
    }
}

/// A row in which the service is asked.
const fn asking(
    name: &'static str,
    place: &'static [&'static str],
    remedy: &'static str,
    set_up: fn(&World) -> Softlabel,
) -> Row {
    Row {
        name,
        code: 1,
        place,
        remedy,
        asks: true,
        set_up,
    }
}

impl World {
    fn label(&self, input: &str, output: &str) -> Softlabel {
        // Waits are short for the rows whose service does not answer.
        Softlabel::label(
            &self.service,
            &self.home.path(input),
            &self.home.path(output),
        )
        .env("SOFTLABEL_ATTEMPTS", "2")
        .env("SOFTLABEL_CALL_TIMEOUT", "300ms")
    }

    /// A lone file with this content.
    fn file(&self, content: impl AsRef<[u8]>) -> Softlabel {
        self.home.write("in.json", content);
        self.label("in.json", "out.jsonl")
    }

    /// A lone file with nothing wrong.
    fn good(&self) -> Softlabel {
        self.file(good())
    }

    /// A dataset with nothing wrong.
    fn dataset(&self) -> Softlabel {
        self.home.write("raw/train/short.json", good());
        self.home.write(
            "raw/metadata.json",
            r#"{"actual_counts": {"train": {"short": 2}}}"#,
        );
        self.label("raw", "labeled")
    }

    /// A lone file whose run is complete.
    fn done(&self) -> Softlabel {
        let label = self.good();
        label.ends(0);
        label
    }

    /// The same, of a dataset.
    fn dataset_done(&self) -> Softlabel {
        let label = self.dataset();
        label.ends(0);
        label
    }

    fn update(&self, change: impl FnOnce(&mut Config)) -> Softlabel {
        self.service.update(change).unwrap();
        self.dataset()
    }

    /// A run against a server that answers everything with `answer`.
    fn against(&self, answer: &'static [u8], endless: bool) -> Softlabel {
        self.good()
            .env("AZURE_OPENAI_ENDPOINT", server(answer, endless))
    }

    /// What there is: names, contents, and of files the time of change.
    fn entries(&self) -> BTreeMap<PathBuf, (Option<SystemTime>, Vec<u8>)> {
        let mut entries = BTreeMap::new();
        let mut folders = vec![self.home.path(".")];
        while let Some(folder) = folders.pop() {
            // Rows about permissions have folders and files that cannot be read here either.
            for path in fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
            {
                let metadata = fs::symlink_metadata(&path).unwrap();
                let content = if metadata.is_file() {
                    fs::read(&path).unwrap_or_default()
                } else {
                    Vec::new()
                };
                // What came and went changes the time of its folder.
                let changed = (!metadata.is_dir()).then(|| metadata.modified().unwrap());
                entries.insert(path.clone(), (changed, content));
                if metadata.is_dir() {
                    folders.push(path);
                }
            }
        }
        entries
    }
}

fn good() -> String {
    array(&[
        conversation("c1", &["one", "two"]),
        conversation("c2", &["three"]),
    ])
}

/// An HTTP server that says `answer` to everything, or again and again.
fn server(answer: &'static [u8], endless: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut block = [0; 1 << 14];
            // A request ends with the brackets of its JSON.
            while !request.ends_with(b"}") {
                match stream.read(&mut block) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&block[..read]),
                }
            }
            let mut sent = stream.write_all(answer);
            while endless && sent.is_ok() {
                sent = stream.write_all(&block);
            }
        }
    });
    url
}

fn fails(fault: Fault) -> impl FnOnce(&mut Config) {
    move |config| {
        let always = AlwaysFail {
            contains: String::new(),
            fault,
            code: None,
        };
        config.faults.always_fail = vec![always];
    }
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn files_rows() -> Vec<Row> {
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

fn dataset_rows() -> Vec<Row> {
    vec![
        row(
            "an empty folder",
            1,
            &["--input", "raw", "<split>/<bucket>.json"],
            "give the dataset's own folder",
            |w| {
                fs::create_dir(w.home.path("raw")).unwrap();
                w.label("raw", "labeled")
            },
        ),
        row(
            "a folder with metadata alone",
            1,
            &["--input", "raw"],
            "give the dataset's own folder",
            |w| {
                w.home.write("raw/metadata.json", "{}");
                w.label("raw", "labeled")
            },
        ),
        row(
            "a split in place of its dataset",
            1,
            &["--input", "raw/train"],
            "give the dataset's own folder",
            |w| {
                w.dataset();
                w.label("raw/train", "labeled")
            },
        ),
        row(
            "the folder above the dataset",
            1,
            &["--input"],
            "give the dataset's own folder",
            |w| {
                w.home.write("base/raw/train/short.json", good());
                w.label("base", "labeled")
            },
        ),
        row(
            "a bucket that is a folder",
            1,
            &["--input", "raw"],
            "give the dataset's own folder",
            |w| {
                fs::create_dir_all(w.home.path("raw/train/short.json")).unwrap();
                w.label("raw", "labeled")
            },
        ),
        row(
            "a bucket that is a pipe",
            1,
            &["--input", "raw"],
            "give the dataset's own folder",
            |w| {
                fs::create_dir_all(w.home.path("raw/train")).unwrap();
                mkfifo(&w.home.path("raw/train/short.json"));
                w.label("raw", "labeled")
            },
        ),
        row(
            "a labelled dataset",
            2,
            &["--input", "LABELED_raw"],
            "give the RAW one",
            |w| {
                w.dataset_done();
                w.label("labeled/LABELED_raw", "again")
            },
        ),
        row(
            "two files for one bucket",
            1,
            &["--input", "train/short.json", "train/short.jsonl"],
            "remove one",
            |w| {
                w.dataset();
                w.home.write(
                    "raw/train/short.jsonl",
                    jsonl(&[conversation("c1", &["one"])]),
                );
                w.label("raw", "labeled")
            },
        ),
        row(
            "a bucket that is a link to nothing",
            1,
            &["train/long.json"],
            "remove the link",
            |w| {
                let label = w.dataset();
                symlink("nowhere", w.home.path("raw/train/long.json")).unwrap();
                label
            },
        ),
        row(
            "a bucket that is a link to itself",
            1,
            &["train/long.json"],
            "remove the link",
            |w| {
                let label = w.dataset();
                symlink("long.json", w.home.path("raw/train/long.json")).unwrap();
                label
            },
        ),
        row(
            "a name that is not UTF-8",
            1,
            &["raw/train", "UTF-8"],
            "rename it",
            |w| {
                let label = w.dataset();
                let name = OsString::from_vec(b"sh\xffrt.json".to_vec());
                fs::write(w.home.path("raw/train").join(name), good()).unwrap();
                label
            },
        ),
        row(
            "one bucket of two is empty",
            1,
            &["train/long.json", "the file is empty"],
            "export it again",
            |w| {
                let label = w.dataset();
                w.home.write("raw/train/long.json", "");
                label
            },
        ),
        row(
            "two buckets are no datasets",
            1,
            &["long.json", "medium.json", "byte 0"],
            "JSON array",
            |w| {
                let label = w.dataset();
                w.home.write("raw/train/long.json", "<html>");
                w.home.write("raw/test/medium.json", "{}");
                label
            },
        ),
        row(
            "a bucket is cut off",
            1,
            &["raw/train/short.json", "byte", "cut off"],
            "--salvage",
            |w| {
                let label = w.dataset();
                let text = good();
                w.home
                    .write("raw/train/short.json", &text[..text.len() - 30]);
                label
            },
        ),
    ]
}

fn argument_rows() -> Vec<Row> {
    vec![
        row("an unknown flag", 2, &["--frobnicate"], "--help", |w| {
            w.good().arg("--frobnicate")
        }),
        row("an unknown command", 2, &["lable"], "--help", |_| {
            Softlabel::new(["lable"])
        }),
        row("no input", 2, &["--input"], "--help", |w| {
            Softlabel::new(["label", "--output"]).arg(w.home.path("out.jsonl"))
        }),
        row("no output", 2, &["--output"], "--help", |w| {
            w.good();
            Softlabel::new(["label", "--input"]).arg(w.home.path("in.json"))
        }),
        row("a flag without its value", 2, &["--model"], "--help", |w| {
            w.good().arg("--model")
        }),
        row("a flag twice", 2, &["--model"], "--help", |w| {
            w.good().args(["--model", "gpt-4o", "--model", "gpt-4.1"])
        }),
        row(
            "an argument that is not UTF-8",
            2,
            &["UTF-8"],
            "--help",
            |w| w.good().arg("--model").arg(OsString::from_vec(vec![0xff])),
        ),
        row(
            "an unknown strategy",
            2,
            &["--strategy", "guess"],
            "user_message_only",
            |w| w.good().args(["--strategy", "guess"]),
        ),
        row(
            "an unknown hard label",
            2,
            &["--hard-label", "mode"],
            "generated",
            |w| w.good().args(["--hard-label", "mode"]),
        ),
        row(
            "an unknown family",
            2,
            &["--model-family", "big"],
            "classic",
            |w| w.good().args(["--model-family", "big"]),
        ),
        row(
            "an unknown encoding",
            2,
            &["--encoding", "latin-1"],
            "o200k_base",
            |w| w.good().args(["--encoding", "latin-1"]),
        ),
        row(
            "no calls in flight",
            2,
            &["--concurrency", "0"],
            "1..=10000",
            |w| w.good().args(["--concurrency", "0"]),
        ),
        row(
            "too many calls in flight",
            2,
            &["--concurrency", "10001"],
            "1..=10000",
            |w| w.good().args(["--concurrency", "10001"]),
        ),
        row(
            "a chunk of nothing",
            2,
            &["--chunk-turns", "0"],
            "1..=10000",
            |w| w.good().args(["--chunk-turns", "0"]),
        ),
        row("no attempt", 2, &["--attempts", "0"], "1..=20", |w| {
            w.good().args(["--attempts", "0"])
        }),
        row(
            "messages of no token",
            2,
            &["--message-tokens", "0"],
            "16..=200000",
            |w| w.good().args(["--message-tokens", "0"]),
        ),
        row("a quota of nothing", 2, &["--tpm", "0"], "1..", |w| {
            w.good().args(["--dry-run", "--tpm", "0"])
        }),
        row(
            "a time without its unit",
            2,
            &["--connect-timeout", "10"],
            "10s",
            |w| w.good().args(["--connect-timeout", "10"]),
        ),
        row(
            "a time that is none",
            2,
            &["--outage-after", "soon"],
            "10s",
            |w| w.good().args(["--outage-after", "soon"]),
        ),
        row(
            "a time of nothing",
            2,
            &["--outage-probe", "0s"],
            "at least 1ms",
            |w| w.good().args(["--outage-probe", "0s"]),
        ),
        row(
            "a time without end",
            2,
            &["--outage-patience", "48h"],
            "at most 24h",
            |w| w.good().args(["--outage-patience", "48h"]),
        ),
        row(
            "a price that is none",
            2,
            &["--price-input", "cheap"],
            "US dollars",
            |w| {
                w.good()
                    .args(["--price-input", "cheap", "--price-output", "1"])
            },
        ),
        row(
            "a price below nothing",
            2,
            &["--price-output", "-1"],
            "US dollars",
            |w| w.good().args(["--price-input=1", "--price-output=-1"]),
        ),
        row("half a price", 2, &["--price-output"], "--help", |w| {
            w.good().args(["--price-input", "2"])
        }),
        row("an unknown part", 2, &["--only", "good"], "failed", |w| {
            w.good().args(["--only", "good"])
        }),
        row(
            "failed turns and a restart",
            2,
            &["--only", "--restart"],
            "--help",
            |w| w.done().args(["--only", "failed", "--restart"]),
        ),
        row(
            "failed turns without a run",
            1,
            &["--only failed", "out.jsonl.softlabel"],
            "run without it",
            |w| w.good().args(["--only", "failed"]),
        ),
        row(
            "an unknown progress",
            2,
            &["--progress", "loud"],
            "lines",
            |w| w.good().args(["--progress", "loud"]),
        ),
        row("an unknown log filter", 2, &["--log"], "try info", |w| {
            w.good().args(["--log", "softlabel=loudly"])
        }),
        row("an odd split", 2, &["--split"], "such as train", |w| {
            w.good().args(["--split", "a/b"])
        }),
        row("an odd bucket", 2, &["--bucket"], "such as short", |w| {
            w.good().args(["--bucket", ".."])
        }),
        row(
            "a split for a dataset",
            2,
            &["--split"],
            "single file",
            |w| w.dataset().args(["--split", "x"]),
        ),
        row(
            "a bucket for a dataset",
            2,
            &["--bucket"],
            "single file",
            |w| w.dataset().args(["--bucket", "x"]),
        ),
        row(
            "a message without text",
            2,
            &["--message"],
            "give a text",
            |w| Softlabel::new(["test", "--message", " \n"]).against(&w.service),
        ),
        row(
            "the output is the input",
            2,
            &["--output", "--input"],
            "RAW is never written",
            |w| {
                w.good();
                w.label("in.json", "in.json")
            },
        ),
        row(
            "the output is a link to the input",
            2,
            &["--output"],
            "RAW is never written",
            |w| {
                w.good();
                symlink("in.json", w.home.path("out.jsonl")).unwrap();
                w.label("in.json", "out.jsonl")
            },
        ),
        row(
            "the output of a dataset lies in it",
            2,
            &["--output", "raw"],
            "RAW is never written",
            |w| {
                w.dataset();
                w.label("raw", "raw")
            },
        ),
        row(
            "the output lies in the dataset by a link",
            2,
            &["--output", "link"],
            "RAW is never written",
            |w| {
                w.dataset();
                symlink("raw", w.home.path("link")).unwrap();
                w.label("raw", "link/deep/er")
            },
        ),
        row(
            "the output lies in the dataset by ..",
            2,
            &["--output"],
            "RAW is never written",
            |w| {
                w.dataset();
                fs::create_dir(w.home.path("x")).unwrap();
                w.label("raw", "x/../raw/train")
            },
        ),
        row(
            "the output of a file lies in its dataset",
            2,
            &["--output"],
            "RAW is never written",
            |w| {
                w.dataset();
                w.label("raw/train/short.json", "raw/train/labeled.jsonl")
            },
        ),
        row(
            "the output lies in another dataset",
            2,
            &["--output", "raw"],
            "RAW is never written",
            |w| {
                w.dataset();
                w.good();
                w.label("in.json", "raw/labeled.jsonl")
            },
        ),
        row(
            "the work folder lies in the dataset",
            2,
            &["--work", "raw"],
            "RAW is never written",
            |w| w.dataset().arg("--work").arg(w.home.path("raw/.softlabel")),
        ),
        row(
            "the work folder is the dataset",
            2,
            &["--work", "raw"],
            "RAW is never written",
            |w| w.dataset().arg("--work").arg(w.home.path("raw")),
        ),
        row(
            "the work folder is a file",
            2,
            &["--work", "occupied"],
            "is a file",
            |w| {
                w.home.write("occupied", "mine");
                w.good().arg("--work").arg(w.home.path("occupied"))
            },
        ),
        row(
            "the default work folder is a file",
            2,
            &["out.jsonl.softlabel"],
            "--work",
            |w| {
                w.home.write("out.jsonl.softlabel", "mine");
                w.good()
            },
        ),
        row(
            "the output of a file is a folder",
            2,
            &["--output", "out.jsonl"],
            "the file to write",
            |w| {
                fs::create_dir(w.home.path("out.jsonl")).unwrap();
                w.good()
            },
        ),
        row(
            "the output of a dataset is a file",
            2,
            &["--output", "labeled"],
            "the folder in which",
            |w| {
                w.home.write("labeled", "mine");
                w.dataset()
            },
        ),
        row(
            "the labelled dataset is a file",
            2,
            &["LABELED_raw"],
            "another --output",
            |w| {
                w.home.write("labeled/LABELED_raw", "mine");
                w.dataset()
            },
        ),
        row(
            "the output lies in a file",
            2,
            &["--output", "occupied"],
            "is a file",
            |w| {
                w.home.write("occupied", "mine");
                w.good();
                w.label("in.json", "occupied/out.jsonl")
            },
        ),
        row(
            "the output of a dataset lies in a file",
            2,
            &["--output", "occupied"],
            "is a file",
            |w| {
                w.home.write("occupied", "mine");
                w.dataset();
                w.label("raw", "occupied/deep/labeled")
            },
        ),
        row(
            "the output is a pipe",
            2,
            &["--output", "out.jsonl"],
            "regular file",
            |w| {
                mkfifo(&w.home.path("out.jsonl"));
                w.good()
            },
        ),
        row(
            "the output is a device",
            2,
            &["--output", "/dev/full"],
            "regular file",
            |w| {
                w.good();
                w.label("in.json", "/dev/full")
            },
        ),
    ]
}

fn environment_rows() -> Vec<Row> {
    vec![
        row(
            "no endpoint",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "set AZURE_OPENAI_ENDPOINT to https://",
            |w| w.good().without_env("AZURE_OPENAI_ENDPOINT"),
        ),
        row(
            "an empty endpoint",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://NAME.openai.azure.com",
            |w| w.good().env("AZURE_OPENAI_ENDPOINT", ""),
        ),
        row(
            "an endpoint that is no URL",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://NAME.openai.azure.com",
            |w| w.good().env("AZURE_OPENAI_ENDPOINT", "my-resource"),
        ),
        row(
            "an endpoint in the clear",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://",
            |w| {
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", "http://name.openai.azure.com")
            },
        ),
        row(
            "an endpoint of another kind",
            2,
            &["AZURE_OPENAI_ENDPOINT"],
            "https://",
            |w| w.good().env("AZURE_OPENAI_ENDPOINT", "ftp://127.0.0.1"),
        ),
        row(
            "no key",
            1,
            &["AZURE_OPENAI_API_KEY"],
            "set AZURE_OPENAI_API_KEY",
            |w| w.good().without_env("AZURE_OPENAI_API_KEY"),
        ),
        row(
            "a blank key",
            1,
            &["AZURE_OPENAI_API_KEY"],
            "set AZURE_OPENAI_API_KEY",
            |w| w.good().env("AZURE_OPENAI_API_KEY", " \t"),
        ),
        row(
            "a key with a line break",
            1,
            &["AZURE_OPENAI_API_KEY"],
            "copy the key again",
            |w| {
                w.good()
                    .env("AZURE_OPENAI_API_KEY", format!("{KEY}\nexport X=1"))
            },
        ),
        row(
            "a key that is not UTF-8",
            2,
            &["AZURE_OPENAI_API_KEY"],
            "comes from the variable",
            |w| {
                w.good().env(
                    "AZURE_OPENAI_API_KEY",
                    OsString::from_vec([KEY.as_bytes(), b"\xff"].concat()),
                )
            },
        ),
        row(
            "a variable that is no setting",
            2,
            &["SOFTLABEL_CONCURENCY"],
            "--help",
            |w| w.good().env("SOFTLABEL_CONCURENCY", "4"),
        ),
        row(
            "a variable with an unusable number",
            2,
            &["SOFTLABEL_CONCURRENCY", "many"],
            "--help",
            |w| w.good().env("SOFTLABEL_CONCURRENCY", "many"),
        ),
        row(
            "a variable with an unusable time",
            2,
            &["SOFTLABEL_OUTAGE_AFTER"],
            "10s",
            |w| w.good().env("SOFTLABEL_OUTAGE_AFTER", "5"),
        ),
        row(
            "a variable with an unusable yes or no",
            2,
            &["SOFTLABEL_SALVAGE", "maybe"],
            "--help",
            |w| w.good().env("SOFTLABEL_SALVAGE", "maybe"),
        ),
        row(
            "a variable with an unknown strategy",
            2,
            &["SOFTLABEL_STRATEGY", "guess"],
            "user_message_only",
            |w| w.good().env("SOFTLABEL_STRATEGY", "guess"),
        ),
        row(
            "a variable that is not UTF-8",
            2,
            &["SOFTLABEL_MODEL", "UTF-8"],
            "--help",
            |w| {
                w.good()
                    .env("SOFTLABEL_MODEL", OsString::from_vec(vec![b'g', 0xff]))
            },
        ),
        row(
            "a variable with an unusable log filter",
            2,
            &["SOFTLABEL_LOG"],
            "try info",
            |w| w.good().env("SOFTLABEL_LOG", "softlabel=loudly"),
        ),
    ]
}

const HTML: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n\
                      <html><body>Sign in to continue</body></html>";
const HTML_404: &[u8] =
    b"HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n\
                          <html><body>IIS</body></html>";
const REDIRECT: &[u8] = b"HTTP/1.1 302 Found\r\nlocation: https://login.example.com/\r\n\
                          content-length: 0\r\nconnection: close\r\n\r\n";
const WRONG_METHOD: &[u8] =
    b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const NOT_HTTP: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";
const ENDLESS: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
const OTHER_JSON: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"ok\": \"hello\"}";

fn service_rows() -> Vec<Row> {
    vec![
        asking(
            "a refused connection",
            &["cannot be reached", "refused"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| {
                let free = TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap();
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", format!("http://{free}"))
            },
        ),
        asking(
            "a name that nobody has",
            &["cannot be reached"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| {
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", "https://softlabel.invalid")
            },
        ),
        asking(
            "a wrong key",
            &["401", "AZURE_OPENAI_ENDPOINT"],
            "check that AZURE_OPENAI_API_KEY",
            |w| w.update(|config| config.access.api_keys = vec!["another".into()]),
        ),
        asking(
            "no access",
            &["403"],
            "Cognitive Services OpenAI User",
            |w| w.update(fails(Fault::Status(403))),
        ),
        asking(
            "no such deployment",
            &["404", "no such deployment"],
            "check AZURE_OPENAI_DEPLOYMENT",
            |w| w.dataset().env("AZURE_OPENAI_DEPLOYMENT", "teacher"),
        ),
        asking(
            "a wrong path",
            &["404"],
            "check AZURE_OPENAI_DEPLOYMENT, AZURE_OPENAI_ENDPOINT",
            |w| {
                w.dataset().env(
                    "AZURE_OPENAI_ENDPOINT",
                    format!("{}/inference", w.service.endpoint()),
                )
            },
        ),
        asking(
            "an unknown API version",
            &["404"],
            "AZURE_OPENAI_API_VERSION",
            |w| w.dataset().env("AZURE_OPENAI_API_VERSION", "latest"),
        ),
        asking("no quota", &["no quota"], "raise its capacity", |w| {
            w.update(|config| {
                config.limits = Limits {
                    no_quota: true,
                    ..Limits::default()
                }
            })
        }),
        asking(
            "a long wait for quota",
            &["asks to wait"],
            "--throttle-patience",
            |w| {
                w.update(|config| {
                    config.limits = Limits {
                        tpm: Some(1),
                        ..Limits::default()
                    }
                })
                .args(["--throttle-patience", "50ms"])
            },
        ),
        asking(
            "no log probabilities",
            &["no log probabilities"],
            "deploy a model",
            |w| w.update(|config| config.quirks.no_logprobs = Some(NoLogprobs::Omit)),
        ),
        asking(
            "log probabilities forbidden",
            &["no log probabilities"],
            "deploy a model",
            |w| w.update(|config| config.quirks.no_logprobs = Some(NoLogprobs::Forbid)),
        ),
        asking(
            "a model that reasons",
            &["no log probabilities"],
            "deploy a model",
            |w| w.dataset().args(["--model", "o4-mini"]),
        ),
        asking(
            "HTML",
            &["no chat completion"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.against(HTML, false),
        ),
        asking("404 in HTML", &["404"], "AZURE_OPENAI_ENDPOINT", |w| {
            w.against(HTML_404, false)
        }),
        asking(
            "a redirect",
            &["302", "redirect"],
            "AZURE_OPENAI_ENDPOINT",
            |w| w.against(REDIRECT, false),
        ),
        asking(
            "a wrong method",
            &["405"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.against(WRONG_METHOD, false),
        ),
        asking(
            "other JSON",
            &["no chat completion", "no choices"],
            "AZURE_OPENAI_ENDPOINT",
            |w| w.against(OTHER_JSON, false),
        ),
        asking(
            "no HTTP",
            &["cannot be reached"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.against(NOT_HTTP, false),
        ),
        asking(
            "an answer without end",
            &["no end"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.against(ENDLESS, true).args(["--call-timeout", "20s"]),
        ),
        asking(
            "no answer",
            &["time-out"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.update(fails(Fault::Hang)),
        ),
        asking(
            "nothing but resets",
            &["connection broken"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.update(fails(Fault::Reset)),
        ),
        asking(
            "nothing but faults",
            &["HTTP 503"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.update(fails(Fault::Status(503))),
        ),
        asking(
            "one message, a wrong key",
            &["401"],
            "check that AZURE_OPENAI_API_KEY",
            |w| {
                w.update(|config| config.access.api_keys = vec!["another".into()]);
                Softlabel::new(["test", "--message", "hello"]).against(&w.service)
            },
        ),
    ]
}

fn run_rows() -> Vec<Row> {
    vec![
        row(
            "a damaged run.json",
            1,
            &["out.jsonl.softlabel/run.json", "line 1"],
            "--restart",
            |w| {
                let label = w.done();
                w.home.write("out.jsonl.softlabel/run.json", "\0\0\0\0");
                label
            },
        ),
        row(
            "an empty run.json",
            1,
            &["out.jsonl.softlabel/run.json"],
            "--restart",
            |w| {
                let label = w.done();
                w.home.write("out.jsonl.softlabel/run.json", "");
                label
            },
        ),
        row(
            "a run.json of another program",
            1,
            &["out.jsonl.softlabel/run.json"],
            "--restart",
            |w| {
                let label = w.done();
                w.home
                    .write("out.jsonl.softlabel/run.json", "{\"version\": 2}");
                label
            },
        ),
        row(
            "a damaged manifest",
            1,
            &["buckets/-/-/manifest.json"],
            "--restart",
            |w| {
                let label = w.done();
                w.home.write(
                    "out.jsonl.softlabel/buckets/-/-/manifest.json",
                    "{\"split\":",
                );
                label
            },
        ),
        row(
            "a damaged report",
            1,
            &["buckets/train/short/report.json"],
            "--restart",
            |w| {
                let label = w.dataset_done();
                w.home.write(
                    "labeled/.softlabel/raw/buckets/train/short/report.json",
                    "[]",
                );
                label
            },
        ),
        row(
            "another strategy",
            1,
            &["strategy", "user_message_only", "with_context"],
            "--restart",
            |w| w.done().args(["--strategy", "with_context"]),
        ),
        row(
            "another model",
            1,
            &["model", "gpt-5.2", "gpt-4.1"],
            "--restart",
            |w| w.done().args(["--model", "gpt-4.1"]),
        ),
        row(
            "no rationales any more",
            1,
            &["with_rationales", "true", "false"],
            "--restart",
            |w| w.done().arg("--no-rationales"),
        ),
        row(
            "another limit",
            1,
            &["budget", "4000", "100"],
            "--restart",
            |w| w.done().args(["--message-tokens", "100"]),
        ),
        row(
            "another RAW",
            1,
            &["in.json", "content was", "and is"],
            "put the old file back",
            |w| {
                let label = w.done();
                w.home.write("in.json", good().replace("three", "THREE"));
                label
            },
        ),
        row(
            "RAW emptied",
            1,
            &["in.json", "the file is empty"],
            "export it again",
            |w| {
                let label = w.done();
                w.home.write("in.json", "");
                label
            },
        ),
        row(
            "RAW gone",
            1,
            &["--input", "in.json"],
            "check the path",
            |w| {
                let label = w.done();
                fs::remove_file(w.home.path("in.json")).unwrap();
                label
            },
        ),
        row(
            "a bucket gone",
            1,
            &["raw/test/long.json", "gone"],
            "put the old file back",
            |w| {
                w.home.write("raw/test/long.json", good());
                let label = w.dataset_done();
                fs::remove_file(w.home.path("raw/test/long.json")).unwrap();
                label
            },
        ),
        row(
            "another process at work",
            1,
            &["process", "out.jsonl.softlabel/lock"],
            "wait for it",
            |w| {
                w.service.update(fails(Fault::Hang)).unwrap();
                w.other
                    .replace(Some(w.good().args(["--call-timeout", "60s"]).start()));
                w.service.wait_until(|double| double.stats().requests > 0);
                w.good()
            },
        ),
    ]
}

/// Runs `label` where `script` has been run with the folder as `$0`, in a mount namespace of its own.
fn mounted(w: &World, label: Softlabel, script: &str) -> Softlabel {
    let folder = w.home.path("labeled");
    fs::create_dir_all(&folder).unwrap();
    let script = format!("{script} && exec \"$@\"");
    label.through(
        ["unshare", "-rm", "bash", "-c", &script]
            .map(OsString::from)
            .into_iter()
            .chain([folder.into()]),
    )
}

fn can_mount() -> bool {
    let script = "mount -t tmpfs -o size=64k none /tmp";
    let tried = Command::new("unshare")
        .args(["-rm", "bash", "-c", script])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

fn file_system_rows() -> Vec<Row> {
    if !can_mount() {
        println!("no file systems can be mounted here: full and read-only disks are left out");
        return Vec::new();
    }
    vec![
        row(
            "a read-only output folder",
            1,
            &["labeled", "Read-only file system"],
            "another place",
            |w| {
                let label = w.dataset();
                mounted(w, label, "mount -t tmpfs -o ro none \"$0\"")
            },
        ),
        row(
            "a full disk",
            1,
            &["labeled", "No space left"],
            "free some space",
            |w| {
                let label = w.dataset();
                mounted(
                    w,
                    label,
                    "mount -t tmpfs -o size=8k none \"$0\" && head -c 8192 /dev/zero > \"$0/x\"",
                )
            },
        ),
        asking(
            "a disk that fills up",
            &["labeled", "No space left"],
            "free some space",
            |w| {
                let label = w.dataset();
                mounted(w, label, "mount -t tmpfs -o size=12k none \"$0\"")
            },
        ),
        asking(
            "a disk too small for the result",
            &["labeled", "No space left"],
            "free some space",
            |w| {
                let label = w.dataset();
                mounted(w, label, "mount -t tmpfs -o size=16k none \"$0\"")
            },
        ),
    ]
}

fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0)).unwrap();
}

/// Runs `label` as somebody whom permissions bind: root too, without its leave to pass over them.
fn bound(label: Softlabel) -> Softlabel {
    if is_root() {
        label.through(WITHOUT_LEAVE)
    } else {
        label
    }
}

const WITHOUT_LEAVE: [&str; 3] = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
];

fn is_root() -> bool {
    let home = Home::new();
    let path = home.write("forbidden", "");
    forbid(&path);
    fs::read(path).is_ok()
}

fn permission_rows() -> Vec<Row> {
    let [program, flags @ ..] = WITHOUT_LEAVE;
    let dropped = || Command::new(program).args(flags).arg("true").status();
    if is_root() && !dropped().is_ok_and(|status| status.success()) {
        println!("root cannot give up its leave here: rows about permissions are left out");
        return Vec::new();
    }
    vec![
        row(
            "a file that may not be read",
            1,
            &["in.json", "Permission denied"],
            "the right to",
            |w| {
                let label = w.good();
                forbid(&w.home.path("in.json"));
                bound(label)
            },
        ),
        row(
            "a split that may not be listed",
            1,
            &["raw/train", "Permission denied"],
            "the right to",
            |w| {
                let label = w.dataset();
                forbid(&w.home.path("raw/train"));
                bound(label)
            },
        ),
        row(
            "an output folder that may not be written",
            1,
            &["labeled", "Permission denied"],
            "the right to",
            |w| {
                let label = w.dataset();
                fs::create_dir(w.home.path("labeled")).unwrap();
                fs::set_permissions(w.home.path("labeled"), fs::Permissions::from_mode(0o555))
                    .unwrap();
                bound(label)
            },
        ),
    ]
}

fn table() -> Vec<Row> {
    let parts = [
        files_rows(),
        dataset_rows(),
        argument_rows(),
        environment_rows(),
        service_rows(),
        run_rows(),
        file_system_rows(),
        permission_rows(),
    ];
    parts.into_iter().flatten().collect()
}

/// What is wrong with how the program takes `row`; nothing if all is well.
fn complaints(row: &Row) -> Vec<String> {
    let world = World {
        home: Home::new(),
        service: Service::well(),
        other: RefCell::new(None),
    };
    let label = (row.set_up)(&world);
    let (before, asked) = (world.entries(), world.service.stats().requests);
    let outcome = label.run();
    let (after, sent) = (world.entries(), world.service.stats().requests - asked);
    if let Some(other) = world.other.take() {
        other.kill();
    }
    println!(
        "{}: exit {:?}\n    {}",
        row.name,
        outcome.code,
        outcome.stderr.trim().replace('\n', "\n    ")
    );

    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{}: {what}\n{outcome}", row.name));
        }
    };
    check(
        outcome.code == Some(row.code),
        &format!("the exit code is not {}", row.code),
    );
    let errors = outcome.stderr.match_indices("error:").count();
    check(errors == 1, "one error, said once");
    let message = outcome
        .stderr
        .split_once("error: ")
        .map_or("", |(_, message)| message.trim());
    for place in row.place {
        check(message.contains(place), &format!("{place:?} is not named"));
    }
    check(
        message.contains(row.remedy),
        &format!("{:?} is not advised", row.remedy),
    );
    // The arguments' own mistakes come with the usage below them.
    let lines = if row.code == 2 {
        usize::MAX
    } else {
        row.place.len()
    };
    check(message.lines().count() <= lines, "one sentence a problem");
    let causes = message.matches("(os error").count();
    check(causes <= message.lines().count(), "a cause is said once");
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    for internal in [
        "panicked",
        "RUST_BACKTRACE",
        "Os {",
        "Error {",
        "Some(",
        KEY,
    ] {
        check(!said.contains(internal), &format!("{internal:?} is shown"));
    }
    check(
        outcome.stdout.is_empty(),
        "nothing was labelled, and there is a result",
    );
    check(row.asks || sent == 0, "the service was asked");
    if before != after {
        let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
        let paths = before
            .keys()
            .chain(after.keys())
            .filter(differs)
            .collect::<Vec<_>>();
        check(false, &format!("it left its marks: {paths:?}"));
    }
    wrong
}

#[test]
fn whatever_is_wrong_is_said_in_one_sentence_with_its_place_and_its_remedy() {
    let table = table();
    println!("{} kinds of bad input", table.len());
    assert!(table.len() >= 40);
    // Some rows wait for the program's time-outs.
    let next = AtomicUsize::new(0);
    let work = || {
        let rows = std::iter::from_fn(|| table.get(next.fetch_add(1, Relaxed)));
        rows.flat_map(complaints).collect::<Vec<_>>()
    };
    let wrong = std::thread::scope(|scope| {
        let workers = [(); 4].map(|()| scope.spawn(work));
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(
        wrong.is_empty(),
        "{} complaints:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
