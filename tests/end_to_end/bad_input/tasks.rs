//! Task files that are none.

use super::*;

/// The built-in task with one change.
fn changed(w: &World, from: &str, to: &str) -> Softlabel {
    let text = Softlabel::new(["task", "show"]).ends(0).stdout;
    assert!(text.contains(from), "{from}");
    with(w, text.replacen(from, to, 1))
}

fn with(w: &World, content: impl AsRef<[u8]>) -> Softlabel {
    let task = w.home.write("task.toml", content);
    w.good().arg("--task").arg(task)
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "no task file",
            2,
            &["none.toml"],
            "softlabel task show",
            |w| w.good().arg("--task").arg(w.home.path("none.toml")),
        ),
        row(
            "a folder as a task",
            2,
            &["cannot be read"],
            "softlabel task show",
            |w| w.good().arg("--task").arg(w.home.path(".")),
        ),
        row(
            "an empty task",
            2,
            &["task.toml:1: ", "name"],
            "softlabel task show",
            |w| with(w, ""),
        ),
        row(
            "a task that is no TOML",
            2,
            &["task.toml:2: "],
            "softlabel task show",
            |w| with(w, "name = \"a\"\nquestion = \"open\n"),
        ),
        row(
            "a task that is JSON",
            2,
            &["task.toml:1: "],
            "softlabel task show",
            |w| with(w, r#"{"name": "a"}"#),
        ),
        row(
            "a task that is not UTF-8",
            2,
            &["task.toml:2: ", "not UTF-8"],
            "save the file as UTF-8",
            |w| with(w, b"name = \"a\"\nquestion = \"\xff\""),
        ),
        row(
            "a task as Windows PowerShell redirects it",
            2,
            &["task.toml:1: ", "not UTF-8"],
            "save the file as UTF-8",
            |w| {
                let text = Softlabel::new(["task", "show"]).ends(0).stdout;
                let units = std::iter::once(0xfeff).chain(text.encode_utf16());
                with(w, units.flat_map(u16::to_le_bytes).collect::<Vec<_>>())
            },
        ),
        row(
            "an example with a label in quotes",
            2,
            &["task.toml:", "string \"1\""],
            "expected a whole number",
            |w| {
                let example = "examples = [{ message = \"thanks\", label = \"1\" }]";
                changed(w, "examples = []", example)
            },
        ),
        row(
            "a misspelt field of a task",
            2,
            &["task.toml:", "`quesion`"],
            "`question`",
            |w| changed(w, "question = ", "quesion = "),
        ),
        row(
            "an unknown field of a rationale",
            2,
            &["task.toml:", "`max_words`"],
            "`words`",
            |w| changed(w, "words = 80", "max_words = 80"),
        ),
        row(
            "a name with blanks",
            2,
            &["task.toml:", "name"],
            "lowercase letters",
            |w| changed(w, "name = \"reasoning\"", "name = \"Needs work\""),
        ),
        row(
            "an empty question",
            2,
            &["task.toml:", "question is empty"],
            "write what",
            |w| {
                with(
                    w,
                    "name = \"a\"\nquestion = \" \"\n[label.0]\nmeaning = \"x\"\ndescription = \"x\"\n\
                 [label.1]\nmeaning = \"y\"\ndescription = \"y\"\n",
                )
            },
        ),
        row(
            "labels that mean the same",
            2,
            &["label.1.meaning"],
            "what 1 means",
            |w| {
                changed(
                    w,
                    "\"answering the message does not require reasoning\"",
                    "\"answering the message requires reasoning\"",
                )
            },
        ),
        row(
            "a label that is missing",
            2,
            &["task.toml:", "1"],
            "softlabel task show",
            |w| {
                with(
                    w,
                    "name = \"a\"\nquestion = \"b\"\n[label.0]\nmeaning = \"x\"\ndescription = \"x\"\n",
                )
            },
        ),
        row("a third label", 2, &["task.toml:", "`2`"], "`0`", |w| {
            changed(w, "[rationale]", "[label.2]\nmeaning = \"x\"\n[rationale]")
        }),
        row(
            "an example with another label",
            2,
            &["task.toml:", "2 is not"],
            "only 0 and 1",
            |w| {
                changed(
                    w,
                    "examples = []",
                    "examples = [{ message = \"x\", label = 2 }]",
                )
            },
        ),
        row(
            "an example with both labels",
            2,
            &["examples[1].message"],
            "keep one",
            |w| {
                changed(
                    w,
                    "examples = []",
                    "examples = [{ message = \"x\", label = 0 }, { message = \"x\", label = 1 }]",
                )
            },
        ),
        row(
            "a rationale without end",
            2,
            &["rationale.tokens is 9000"],
            "16 to 2048",
            |w| changed(w, "tokens = 128", "tokens = 9000"),
        ),
        row(
            "fewer sentences than the fewest",
            2,
            &["rationale.sentences"],
            "[2, 4]",
            |w| changed(w, "sentences = [2, 4]", "sentences = [4, 2]"),
        ),
        row(
            "a meaning with the colours of a terminal",
            2,
            &["task.toml:", "label.1.meaning"],
            "without control characters",
            |w| {
                changed(
                    w,
                    "meaning = \"answering the message does",
                    "meaning = \"\\u001b[31mit does",
                )
            },
        ),
        row(
            "a meaning of two lines",
            2,
            &["label.0.meaning"],
            "description",
            |w| changed(w, "meaning = \"answering", "meaning = \"so\\nanswering"),
        ),
        row(
            "a task to check that is wrong",
            2,
            &["task.toml:1: "],
            "softlabel task show",
            |w| {
                let task = w.home.write("task.toml", "nom = 1");
                Softlabel::new(["task", "check"]).arg(task)
            },
        ),
        row("no task to check", 2, &["<FILE>"], "--help", |_| {
            Softlabel::new(["task", "check"])
        }),
    ]
}
