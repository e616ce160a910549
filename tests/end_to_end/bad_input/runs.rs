//! A run that cannot be continued as it is.

use super::*;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "a damaged record of a run",
            1,
            &["out.jsonl.softlabel/runs/", "line 1"],
            "--restart",
            |w| {
                let label = w.done();
                w.damage("out.jsonl.softlabel/runs/", "\0\0\0\0");
                label
            },
        ),
        row(
            "an empty record of a run",
            1,
            &["out.jsonl.softlabel/runs/"],
            "--restart",
            |w| {
                let label = w.done();
                w.damage("out.jsonl.softlabel/runs/", "");
                label
            },
        ),
        row(
            "a record of another program",
            1,
            &["out.jsonl.softlabel/runs/"],
            "--restart",
            |w| {
                let label = w.done();
                w.damage("out.jsonl.softlabel/runs/", "{\"version\": 2}");
                label
            },
        ),
        row(
            "a damaged manifest",
            1,
            &["out.jsonl.softlabel/work/", "manifest.json"],
            "--restart",
            |w| {
                let label = w.done();
                w.damage("/manifest.json", "{\"split\":");
                label
            },
        ),
        row(
            "a damaged mark of the current run",
            1,
            &["current/raw/train/short.json"],
            "--restart",
            |w| {
                let label = w.dataset_done();
                w.damage("current/raw/train/short.json", "[]");
                label
            },
        ),
        row(
            "work of an earlier version",
            1,
            &["out.jsonl.softlabel", "earlier version"],
            "remove it",
            |w| {
                w.home.write("out.jsonl.softlabel/run.json", "{}");
                w.good()
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
            &["limits", "4000", "100"],
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
