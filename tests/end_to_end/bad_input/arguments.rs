//! Wrong flags, and paths that must not be written.

use super::*;

pub(super) fn rows() -> Vec<Row> {
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
            "1..=4096",
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
            "an output that is somebody's file",
            2,
            &["out.jsonl", "already exists"],
            "another name",
            |w| {
                w.home.write("out.jsonl", "precious");
                w.good()
            },
        ),
        row(
            "failed turns and a restart",
            2,
            &["--only", "--restart"],
            "give one",
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
            "the output of a file has the name of a folder in a folder",
            2,
            &["--output", "out.jsonl", "in.jsonl"],
            "the file to write",
            |w| {
                fs::create_dir_all(w.home.path("out.jsonl/in.jsonl")).unwrap();
                w.good()
            },
        ),
        row(
            "the labelled file of a bucket has the name of a folder",
            2,
            &["--output", "short.jsonl"],
            "a folder has its name",
            |w| {
                w.dataset();
                fs::create_dir_all(w.home.path("labeled/LABELED_raw/train/short.jsonl")).unwrap();
                w.label("raw", "labeled")
            },
        ),
        row(
            "the folder of a split is a file",
            1,
            &["LABELED_raw/train"],
            "check the path",
            |w| {
                w.dataset();
                w.home.write("labeled/LABELED_raw/train", "mine");
                w.label("raw", "labeled")
            },
        ),
        row(
            "stdin as input",
            2,
            &["--input -"],
            "save it to a file",
            |w| {
                w.good();
                Softlabel::label(&w.service, Path::new("-"), &w.home.path("out.jsonl"))
            },
        ),
        row("stdout as output", 2, &["--output -"], "give a path", |w| {
            w.good();
            Softlabel::label(&w.service, &w.home.path("in.json"), Path::new("-"))
        }),
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
