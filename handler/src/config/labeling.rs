//! Settings of what a label is.

use super::UsageError;
use crate::labeling::label::HardLabel;
use crate::labeling::strategy::{self, Limits, Strategy};
use crate::labeling::task::{self, Task};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a label is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Labels")]
pub struct LabelingArgs {
    /// Which part of a conversation the model sees; `softlabel info` describes the strategies.
    #[arg(short, long, env = "SOFTLABEL_STRATEGY", default_value = strategy::DEFAULT,
          value_name = "NAME", value_parser = parse_strategy)]
    pub strategy: StrategyName,
    /// Do not ask for rationales.
    #[arg(long, visible_alias = "no-rationale", env = "SOFTLABEL_NO_RATIONALES",
          action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_rationales: bool,
    /// Take as hard label the generated token, or the more probable one.
    #[arg(
        long,
        env = "SOFTLABEL_HARD_LABEL",
        default_value = "generated",
        value_name = "generated|argmax"
    )]
    pub hard_label: HardLabel,
    /// Most tokens of a message that the model sees; a longer message is shortened in the middle.
    #[arg(long, env = "SOFTLABEL_MESSAGE_TOKENS", default_value_t = 4000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=200_000))]
    pub message_tokens: u32,
    /// Most tokens of context or response that the model sees beside the message (strategies
    /// with_context, with_response).
    #[arg(long, env = "SOFTLABEL_CONTEXT_TOKENS", default_value_t = 4000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=200_000))]
    pub context_tokens: u32,
    /// Ask about identical inputs each time, instead of once.
    #[arg(long, env = "SOFTLABEL_NO_DEDUPE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_dedupe: bool,
}

/// What is asked about a message.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Labels")]
pub struct TaskArgs {
    /// The file with the yes/no question to ask. By default the question is whether answering requires
    /// reasoning; "softlabel task show" prints it as a file to start from.
    #[arg(long, env = "SOFTLABEL_TASK", value_name = "FILE")]
    pub task: Option<PathBuf>,
}

impl TaskArgs {
    /// The task that is named, or the built-in one.
    ///
    /// # Errors
    /// If its file cannot be read, or is no task.
    pub fn task(&self) -> Result<Arc<Task>, UsageError> {
        match &self.task {
            Some(path) => read_task(path).map(Arc::new),
            None => Ok(Task::built_in()),
        }
    }
}

/// The task in a file.
///
/// # Errors
/// If it cannot be read, or is no task.
pub(crate) fn read_task(path: &Path) -> Result<Task, UsageError> {
    let file = path.display().to_string();
    let content = std::fs::read(path).map_err(|error| {
        UsageError(format!(
            "the task {file} cannot be read: {error}; \"softlabel task show > task.toml\" makes one"
        ))
    })?;
    task::parse(content, &file).map_err(|error| UsageError(error.to_string()))
}

/// A strategy, given by its name.
#[derive(Clone, Copy)]
pub struct StrategyName(pub &'static dyn Strategy);

impl std::fmt::Debug for StrategyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

fn parse_strategy(name: &str) -> Result<StrategyName, strategy::UnknownStrategy> {
    strategy::by_name(name).map(StrategyName)
}

impl LabelingArgs {
    /// How much of a conversation the model sees.
    pub fn limits(&self) -> Limits {
        Limits {
            message_tokens: self.message_tokens as usize,
            context_tokens: self.context_tokens as usize,
        }
    }
}
