//! Reads a task file. Errors name the line.

use super::Task;
use std::collections::HashMap;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A larger file is no task.
const MOST_BYTES: usize = 1 << 20;

/// Examples a task may have: all of them are sent with every message.
const MOST_EXAMPLES: usize = 200;

/// What is wrong with a task file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct TaskError {
    /// The file, as it was named.
    file: String,
    /// Counted from 1.
    line: usize,
    /// What is wrong, and what to write.
    what: String,
}

/// Reads the task in `content`, that of `file`. White space around its texts is dropped.
///
/// # Errors
/// The first thing that is wrong with it, with its line and what to write.
pub fn parse(content: impl AsRef<[u8]>, file: &str) -> Result<Task, TaskError> {
    let content = content.as_ref();
    let fail = |at: usize, what: String| TaskError {
        file: file.to_owned(),
        line: 1 + content
            .iter()
            .take(at)
            .filter(|byte| **byte == b'\n')
            .count(),
        what,
    };
    if content.len() > MOST_BYTES {
        return Err(fail(0, "a task has at most 1 MiB".into()));
    }
    // What Windows PowerShell redirects into a file, among others.
    let text = std::str::from_utf8(content).map_err(|error| {
        let what = "the text is not UTF-8; save the file as UTF-8";
        fail(error.valid_up_to(), what.into())
    })?;
    let mut task = toml::from_str::<Task>(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let what = in_words_of_toml(error.message());
        fail(
            at,
            format!("{what}; \"softlabel task show\" prints a task with all its fields"),
        )
    })?;
    tidy(&mut task);
    match check(&task) {
        Ok(()) => Ok(task),
        Err(Wrong { path, what }) => {
            let at = DeTable::parse(text).map_or(0, |table| find(&table, &path));
            Err(fail(at, format!("{}{what}", Dotted(&path))))
        }
    }
}

/// What serde says of a value, without the types of Rust.
fn in_words_of_toml(message: &str) -> String {
    let message = message.trim_end_matches('.').replace('\n', ", ");
    [
        ("expected u8", "expected a whole number"),
        ("expected u32", "expected a whole number"),
        ("expected a sequence", "expected a list in brackets"),
        (
            "expected an array of length 2",
            "expected two numbers in brackets",
        ),
        ("expected struct ", "expected a table like "),
    ]
    .iter()
    .fold(message, |said, (rust, toml)| said.replace(rust, toml))
}

/// Drops what is said by the frame, or is nothing.
fn tidy(task: &mut Task) {
    let trim = |text: &mut String| *text = text.trim().to_owned();
    // They become parts of sentences.
    let unstop = |text: &mut String| *text = text.trim().trim_end_matches('.').to_owned();
    trim(&mut task.question);
    task.rules.iter_mut().for_each(trim);
    for definition in [&mut task.label.zero, &mut task.label.one] {
        unstop(&mut definition.meaning);
        trim(&mut definition.description);
    }
    if let Some(introduction) = &mut task.rationale.introduction {
        trim(introduction);
    }
    unstop(&mut task.rationale.say);
    trim(&mut task.rationale.language);
}

/// A step to a value of a file.
#[derive(Clone, Copy, Debug)]
enum Step {
    Key(&'static str),
    Item(usize),
}

struct Wrong {
    path: Vec<Step>,
    what: String,
}

/// A path as TOML writes it.
struct Dotted<'a>(&'a [Step]);

impl fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if number == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

fn check(task: &Task) -> Result<(), Wrong> {
    use Step::{Item, Key};
    let wrong = |path: &[Step], what: &str| {
        Err(Wrong {
            path: path.to_vec(),
            what: what.to_owned(),
        })
    };
    let filled = |path: &[Step], text: &str, what: &str| match text.trim().is_empty() {
        true => wrong(path, &format!(" is empty; write {what}")),
        false => Ok(()),
    };
    if !is_name(&task.name) {
        return wrong(
            &[Key("name")],
            " must be at most 64 lowercase letters, digits, - and _, and begin with a letter or a digit",
        );
    }
    filled(
        &[Key("question")],
        &task.question,
        "what the messages are and what to decide about them",
    )?;
    for (number, rule) in task.rules.iter().enumerate() {
        filled(
            &[Key("rules"), Item(number)],
            rule,
            "a rule, or leave it out",
        )?;
    }
    for (key, definition) in [("0", &task.label.zero), ("1", &task.label.one)] {
        let meaning = [Key("label"), Key(key), Key("meaning")];
        filled(
            &meaning,
            &definition.meaning,
            "a statement that is true where this label is right",
        )?;
        if definition.meaning.contains(char::is_control) {
            return wrong(
                &meaning,
                " must be one line without control characters; longer texts belong in the description",
            );
        }
        filled(
            &[Key("label"), Key(key), Key("description")],
            &definition.description,
            "when this label is right",
        )?;
    }
    let one = &task.label.one.meaning;
    if task.label.zero.meaning == *one {
        let meaning = [Key("label"), Key("1"), Key("meaning")];
        return wrong(&meaning, " is the same as for 0; write what 1 means");
    }
    if task.examples.len() > MOST_EXAMPLES {
        let what = format!(
            " are too many; give {MOST_EXAMPLES} at most, as all of them are sent with every message"
        );
        return wrong(&[Key("examples")], &what);
    }
    let mut seen = HashMap::new();
    for (number, example) in task.examples.iter().enumerate() {
        let path = [Key("examples"), Item(number), Key("message")];
        filled(
            &path,
            &example.message,
            "a message, or leave the example out",
        )?;
        let before = seen.insert(example.message.trim(), example.label);
        if before.is_some_and(|label| label != example.label) {
            return wrong(
                &path,
                " also appears with the other label; keep one of them",
            );
        }
    }
    let rationale = &task.rationale;
    let within = |key: &'static str, value: u32, least: u32, most: u32| match (least..=most)
        .contains(&value)
    {
        true => Ok(()),
        false => wrong(
            &[Key("rationale"), Key(key)],
            &format!(" is {value}; write a number from {least} to {most}"),
        ),
    };
    if let Some(introduction) = &rationale.introduction {
        let what = "what the labels are about, or leave it out";
        filled(&[Key("rationale"), Key("introduction")], introduction, what)?;
    }
    let what = "what a rationale has to say";
    filled(&[Key("rationale"), Key("say")], &rationale.say, what)?;
    let language = &rationale.language;
    filled(
        &[Key("rationale"), Key("language")],
        language,
        "a language such as English",
    )?;
    let [least, most] = rationale.sentences;
    if !(1..=20).contains(&least) || !(least..=20).contains(&most) {
        return wrong(
            &[Key("rationale"), Key("sentences")],
            " must be the fewest and the most sentences, from 1 to 20, such as [2, 4]",
        );
    }
    within("words", rationale.words, 5, 500)?;
    within("tokens", rationale.tokens, 16, 2048)
}

/// Whether a text can be the name of a task: that of a file and of a blob.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.len() <= 64
        && name.chars().all(plain)
}

/// Where the value at `path` begins, or what is nearest to it of what is there.
fn find(table: &Spanned<DeTable<'_>>, path: &[Step]) -> usize {
    let Some((Step::Key(first), rest)) = path.split_first() else {
        return 0;
    };
    let Some(mut value) = table.get_ref().get(*first) else {
        return 0;
    };
    for step in rest {
        let next = match (value.get_ref(), step) {
            (DeValue::Table(table), Step::Key(key)) => table.get(*key),
            (DeValue::Array(items), Step::Item(item)) => items.get(*item),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    value.span().start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labeling::task::BUILT_IN;

    fn error(text: &str) -> String {
        parse(text, "t.toml").unwrap_err().to_string()
    }

    /// The built-in task with one change.
    fn changed(from: &str, to: &str) -> String {
        assert!(BUILT_IN.contains(from), "{from}");
        BUILT_IN.replacen(from, to, 1)
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_to_write() {
        let line = |text: &str, part: &str| {
            let at = text.find(part).unwrap();
            text.split_at(at).0.matches('\n').count() + 1
        };
        for (from, to, said) in [
            (
                "name = \"reasoning\"",
                "name = \"Not plain\"",
                "lowercase letters",
            ),
            (
                "name = \"reasoning\"",
                "nmae = \"x\"",
                "unknown field `nmae`, expected one of `name`, ",
            ),
            ("words = 80", "words = 2", "a number from 5 to 500"),
            ("words = 80", "words = \"80\"", "expected a whole number"),
            ("tokens = 128", "tokens = 4", "a number from 16 to 2048"),
            ("sentences = [2, 4]", "sentences = [4, 2]", "such as [2, 4]"),
            (
                "say = \"name what",
                "say = \" \" # ",
                "is empty; write what a rationale",
            ),
            (
                "sentences = [2, 4]",
                "sentences = 4",
                "expected two numbers in brackets",
            ),
            (
                "examples = []",
                "examples = \"x\"",
                "expected a list in brackets",
            ),
            (
                "examples = []",
                "examples = [{ message = \"x\", label = \"1\" }]",
                "string \"1\", expected a whole number",
            ),
            (
                "examples = []",
                "examples = [{ message = \"x\", label = 2 }]",
                "only 0 and 1 are",
            ),
            (
                "examples = []",
                "examples = [{ message = \" \", label = 0 }]",
                "examples[0].message is empty",
            ),
            (
                "examples = []",
                "examples = [{ message = \"x\", label = 0 }, { message = \"x\", label = 1 }]",
                "examples[1].message also appears with the other label",
            ),
            (
                "meaning = \"answering the message does not",
                "meaning = \"a\\nb\" #",
                "label.1.meaning must be one line",
            ),
            (
                "meaning = \"answering the message does not",
                "meaning = \"a\\u001b[31m b\" #",
                "label.1.meaning must be one line without control characters",
            ),
            (
                "meaning = \"answering the message does not require reasoning\"",
                "meaning = \"answering the message requires reasoning.\"",
                "the same as for 0",
            ),
        ] {
            let text = changed(from, to);
            let error = error(&text);
            let place = format!("t.toml:{}: ", line(&text, to));
            assert!(error.starts_with(&place), "{place} {error}");
            assert!(error.contains(said), "{error}");
        }
        let open = "name = \"a\"\nquestion = \"open";
        assert!(error(open).starts_with("t.toml:2: "), "{}", error(open));
        assert!(error("").contains("missing field `name`"), "{}", error(""));
        let less = "name = \"a\"\nquestion = \"b\"\n[label.0]\nmeaning = \"c\"\n";
        assert!(error(less).contains("missing field"), "{}", error(less));
        assert!(error(&"#".repeat(MOST_BYTES + 1)).contains("1 MiB"));
        let utf16 = BUILT_IN.encode_utf16().flat_map(u16::to_le_bytes);
        let utf16 = [0xff, 0xfe].into_iter().chain(utf16).collect::<Vec<u8>>();
        for (content, place) in [(&*utf16, "t.toml:1: "), (b"# \n# \xe4\n", "t.toml:2: ")] {
            let error = parse(content, "t.toml").unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
            assert!(error.contains("save the file as UTF-8"), "{error}");
        }
        assert_eq!(
            parse(format!("\u{feff}{BUILT_IN}"), "t.toml"),
            parse(BUILT_IN, "t.toml")
        );
    }

    #[test]
    fn a_short_task_has_the_rest_by_default() {
        let text = "name = \"angry\"\nquestion = \"Is the user angry?\"\n\
                    [label.0]\nmeaning = \"calm.\"\ndescription = \"calm\"\n\
                    [label.1]\nmeaning = \"angry\"\ndescription = \"angry\"\n";
        let task = parse(text, "t.toml").unwrap();
        assert_eq!(task.label.zero.meaning, "calm");
        assert_eq!(task.rationale, crate::labeling::task::Rationale::default());
        assert!(task.rules.is_empty() && task.examples.is_empty());
    }
}
