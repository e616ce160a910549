//! The task: which yes/no question is asked about every user message, and what its answers mean.
//!
//! A task is data. How it is asked is the [prompt](super::prompt)'s business, and no task changes that.

mod file;

pub use file::{TaskError, is_name, parse};

use super::label::Label;
use super::prompt::PROMPT_VERSION;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

/// The task that is used unless another is named, as a file with comments.
pub const BUILT_IN: &str = include_str!("built_in.toml");

/// The JSON Schema of task files, for editors.
pub const SCHEMA: &str = include_str!("schema.json");

/// Bytes of a task's hash that its version shows.
const HASH_BYTES: usize = 16;

/// A yes/no question, what 0 and 1 mean, and what a rationale has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its name in summaries and metadata: small letters, digits, - and _, at most 64, a letter or a digit first.
    #[cfg_attr(test, schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")))]
    pub name: String,
    /// The first paragraph of the prompt: what the messages are, and what to decide about them.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub question: String,
    /// Rules for the border between 0 and 1.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Messages with their labels.
    #[serde(default)]
    pub examples: Vec<Example>,
    /// What the labels mean.
    pub label: Labels,
    /// What a rationale has to say, and how long it may be.
    #[serde(default)]
    pub rationale: Rationale,
}

/// What the labels mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// What 0 means.
    #[serde(rename = "0")]
    pub zero: Definition,
    /// What 1 means.
    #[serde(rename = "1")]
    pub one: Definition,
}

/// What a label means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// A statement on one line, without a full stop: it follows "0 =", and "It was decided that".
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub meaning: String,
    /// When the label is right: it follows "It is 0 when".
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub description: String,
}

/// A message with its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The message.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub message: String,
    /// 0 or 1.
    #[cfg_attr(test, schemars(with = "u8", range(min = 0, max = 1)))]
    pub label: Label,
}

/// What a rationale has to say, and how long it may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rationale {
    /// The first paragraph of the prompt; by default derived from the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introduction: Option<String>,
    /// What it has to say, as a request without a full stop.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub say: String,
    /// Sentences, at least and at most.
    #[cfg_attr(test, schemars(inner(range(min = 1, max = 20))))]
    pub sentences: [u8; 2],
    /// Words at most.
    #[cfg_attr(test, schemars(range(min = 5, max = 500)))]
    pub words: u32,
    /// The language that it is written in.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub language: String,
    /// The longest rationale, in tokens, which the quota is charged for each.
    #[cfg_attr(test, schemars(range(min = 16, max = 2048)))]
    pub tokens: u32,
}

impl Default for Rationale {
    fn default() -> Self {
        Self {
            introduction: None,
            say: "name what in the message decides it".into(),
            sentences: [2, 4],
            words: 80,
            language: "English".into(),
            tokens: 128,
        }
    }
}

impl Task {
    /// The task that is used unless another is named.
    #[must_use]
    pub fn built_in() -> Arc<Self> {
        // That it can be parsed is tested.
        static BUILT_IN: LazyLock<Arc<Task>> =
            LazyLock::new(|| Arc::new(parse(self::BUILT_IN, "built_in.toml").unwrap_or_default()));
        Arc::clone(&BUILT_IN)
    }

    /// Whether it is the task that is used unless another is named, by its content.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        *self == *Self::built_in()
    }

    /// What a label means: a statement without a full stop.
    #[must_use]
    pub fn meaning(&self, label: Label) -> &str {
        &self.label.of(label).meaning
    }

    /// The version of the prompts that it gives, written into each run: labels are comparable only under
    /// the same one. A hash of its content, or [`PROMPT_VERSION`] for the built-in task.
    #[must_use]
    pub fn version(&self) -> String {
        if self.is_built_in() {
            return PROMPT_VERSION.to_owned();
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        // What stands around a task is a part of its prompts.
        hash.update(PROMPT_VERSION.as_bytes());
        hash.update(b"\0");
        hash.update(&serde_json::to_vec(self).unwrap_or_default());
        let hash = hash.finish();
        let bytes = hash.as_ref().iter().take(HASH_BYTES);
        bytes.fold(String::new(), |mut version, byte| {
            let _ = write!(version, "{byte:02x}");
            version
        })
    }
}

impl Labels {
    /// What `label` means, and when it is right.
    #[must_use]
    pub fn of(&self, label: Label) -> &Definition {
        match label {
            Label::Zero => &self.zero,
            Label::One => &self.one,
        }
    }
}

/// For serde: a task that many share, as its content.
pub(crate) mod shared {
    use super::Task;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(crate) fn serialize<S: Serializer>(task: &Arc<Task>, to: S) -> Result<S::Ok, S::Error> {
        task.as_ref().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Task>, D::Error> {
        Task::deserialize(from).map(Arc::new)
    }
}

/// For serde: the built-in task is not written down, so that what is pinned with it stays as it was.
pub(crate) fn is_built_in(task: &Arc<Task>) -> bool {
    task.is_built_in()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_task_is_whole_and_keeps_its_version() {
        let task = parse(BUILT_IN, "built_in.toml").unwrap();
        assert_eq!(task, *Task::built_in());
        assert_eq!(task.name, "reasoning");
        assert_eq!(task.version(), PROMPT_VERSION);
        // A comment or white space more is the same task.
        let again = BUILT_IN.replace("\n\n", "\n# more\n\n");
        assert_eq!(parse(&again, "x").unwrap().version(), PROMPT_VERSION);
    }

    #[test]
    fn another_word_is_another_version() {
        let built_in = Task::built_in();
        let mut versions = vec![built_in.version()];
        let changes: [fn(&mut Task); 7] = [
            |task| task.name = "other".into(),
            |task| task.question.push('!'),
            |task| task.rules.truncate(1),
            |task| task.label.one.meaning.push('s'),
            |task| task.rationale.tokens = 64,
            |task| task.rationale.introduction = None,
            |task| {
                task.examples.push(Example {
                    message: "thanks".into(),
                    label: Label::One,
                });
            },
        ];
        for change in changes {
            let mut task = built_in.as_ref().clone();
            change(&mut task);
            assert_eq!(task.version(), task.clone().version());
            assert_eq!(task.version().len(), 32);
            assert!(!versions.contains(&task.version()), "{task:?}");
            versions.push(task.version());
        }
    }

    #[test]
    fn a_task_is_read_back_from_json() {
        let task = Task::built_in();
        let json = serde_json::to_string(&*task).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), *task);
    }

    /// With `RENEW=1`, as `cargo xtask renew` sets it, this test writes the schema.
    #[test]
    fn generated_schema_of_tasks_is_current() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Task)).unwrap() + "\n";
        if std::env::var_os("RENEW").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/labeling/task/schema.json");
            std::fs::write(path, &schema).unwrap();
            return;
        }
        assert_eq!(
            schema, SCHEMA,
            "schema.json is stale: run `cargo xtask renew tables`"
        );
    }
}
