//! Pilots that are none.

use super::*;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a sample of no turn", 2, &["--sample", "0"], "1..", |w| {
            w.good().args(["--sample", "0"])
        }),
        row(
            "a sample of a share",
            2,
            &["--sample", "10%"],
            "invalid digit",
            |w| w.good().args(["--sample", "10%"]),
        ),
        row("the first none", 2, &["--limit", "0"], "1..", |w| {
            w.good().args(["--limit", "0"])
        }),
        row(
            "a sample and a limit",
            2,
            &["--sample and --limit exclude each other"],
            "give one",
            |w| w.good().args(["--sample", "2", "--limit", "2"]),
        ),
        row(
            "a seed without a sample",
            2,
            &["--seed"],
            "give --sample",
            |w| w.good().args(["--limit", "2", "--seed", "7"]),
        ),
        row(
            "a name for no pilot",
            2,
            &["--pilot names a pilot"],
            "give --sample or --limit",
            |w| w.good().args(["--pilot", "p"]),
        ),
        row(
            "a pilot's name that is a path",
            2,
            &["--pilot"],
            "letters, digits, dots, - and _",
            |w| w.good().args(["--limit", "2", "--pilot", "../../etc"]),
        ),
        row(
            "an empty name of a pilot",
            2,
            &["--pilot"],
            "letters, digits, dots, - and _",
            |w| w.good().args(["--limit", "2", "--pilot", ""]),
        ),
        row(
            "a pilot's name that ends with a dot",
            2,
            &["--pilot"],
            "no dot last",
            |w| w.good().args(["--limit", "2", "--pilot", "p."]),
        ),
        row(
            "a pilot's name beyond ASCII",
            2,
            &["--pilot"],
            "letters, digits, dots, - and _",
            |w| w.good().args(["--limit", "2", "--pilot", "p\u{e9}"]),
        ),
        row(
            "a pilot's name that is too long for a file",
            2,
            &["--pilot"],
            "up to 100",
            |w| w.good().args(["--limit", "2", "--pilot", &"p".repeat(101)]),
        ),
        row(
            "another pilot of that name",
            1,
            &["the pilot p in", "limit: 1 there, 2 here"],
            "another name with --pilot",
            |w| {
                w.good().args(["--limit", "1", "--pilot", "p"]).ends(0);
                w.label("in.json", "out.jsonl")
                    .args(["--limit", "2", "--pilot", "p"])
            },
        ),
        row(
            "a pilot of an input without turns",
            1,
            &["the input has no turn to make a pilot of"],
            "check it",
            |w| w.file("[]").args(["--sample", "5"]),
        ),
    ]
}
