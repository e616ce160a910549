//! Every setting, once: its flag, its variable, its default and what it is for.
//!
//! Flags win over variables. A variable that is set to nothing counts as not set, and a `SOFTLABEL_`
//! variable that no setting has stops the start, since it is a spelling mistake.

mod compare;
mod labeling;
mod pilot;
mod read;
mod serve;
mod service;
#[cfg(test)]
mod tests;
mod values;
mod variables;

pub use compare::CompareArgs;
pub(crate) use labeling::read_task;
pub use labeling::{LabelingArgs, StrategyName, TaskArgs};
pub use pilot::PilotArgs;
pub use read::{ExportArgs, ReadArgs, ReportArgs, RunReportArgs, ShowArgs};
pub use serve::{DataPath, ServeArgs};
pub use service::ServiceArgs;
pub use variables::{unknown_variables, without_empty_variables};

use crate::money::Usd;
use crate::run::manifest::ChunkLimits;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
pub use values::ChunksOut;
use values::{parse_time, parse_usd};

const AFTER_HELP: &str = "\
Exit codes: 0 complete, 1 could not run, 2 wrong usage, 3 ran to the end with failed turns or \
conversations, or stopped at --max-cost, 130 or 143 stopped by a signal (the same command continues).

Example:
  export AZURE_OPENAI_ENDPOINT=https://NAME.openai.azure.com AZURE_OPENAI_API_KEY=…
  softlabel test --message \"why does my build fail?\"
  softlabel label --input data/v4 --output labeled/";

const COMPLETIONS_HELP: &str = "\
Example, for bash:
  mkdir -p ~/.local/share/bash-completion/completions
  softlabel completions bash >~/.local/share/bash-completion/completions/softlabel";

const MAN_HELP: &str = "\
Example:
  mkdir -p ~/.local/share/man/man1
  softlabel man label >~/.local/share/man/man1/softlabel-label.1";

/// Settings that are invalid or contradict each other; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Labels chat datasets: per user turn a hard label, a soft label and a rationale.
///
/// The label says whether answering the user's message requires reasoning (0) or not (1). The soft
/// label is P(1), taken from the token probabilities of an Azure OpenAI deployment.
#[derive(Debug, Parser)]
#[command(name = "softlabel", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Subcommands,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Subcommands {
    /// Label a dataset folder or a single file.
    #[command(after_help = AFTER_HELP)]
    Label(Box<LabelArgs>),
    /// Show the effective settings, limits, strategies and what the labels mean.
    Info(Box<InfoArgs>),
    /// Label one message and show everything the answer says.
    Test(Box<TestArgs>),
    /// Show, check and describe tasks: the yes/no questions that are asked about messages.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Compare two labelled outputs turn by turn: agreement, correlation, what moved most.
    Compare(Box<CompareArgs>),
    /// Write a labelled dataset as Parquet, CSV, JSON Lines, or tasks for Label Studio: a row a turn.
    Export(Box<ExportArgs>),
    /// Show turns of a labelled dataset, with labels, rationales and, given RAW, texts.
    Show(Box<ShowArgs>),
    /// Write the report of a labelled dataset, one HTML file, also of a run that is half done.
    Report(Box<ReportArgs>),
    /// Be the custom handler of an Azure Functions app; its host starts this.
    Serve(Box<ServeArgs>),
    /// Print what a shell needs to complete commands, flags and values.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
    /// Print a man page.
    #[command(after_help = MAN_HELP)]
    Man(ManArgs),
}

/// Settings of `softlabel completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Settings of `softlabel man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command whose page is printed, such as `label` or `task show`; without one, the page of softlabel itself.
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Settings of `softlabel label`.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// A dataset's folder, or one file: a JSON array or JSONL, recognised by its content. A path, or
    /// the URL of blobs, as for the next two. A conversation has turnsArray (a list, or a text with
    /// one), OpenAI's messages, ShareGPT's conversations, or is a chat that VS Code exported.
    #[arg(short, long, env = "SOFTLABEL_INPUT", value_name = "PATH")]
    pub input: PathBuf,
    /// For a dataset the folder in which LABELED_DATASET/ appears; for a file the file to write,
    /// or a folder: one that is there, or a name that ends in /.
    #[arg(short, long, env = "SOFTLABEL_OUTPUT", value_name = "PATH")]
    pub output: PathBuf,
    /// Where manifests and results are kept, to continue from. For a dataset by default
    /// .softlabel/DATASET in the output folder, in a container LABELED_DATASET/.softlabel, for a file
    /// OUTPUT.softlabel.
    #[arg(long, env = "SOFTLABEL_WORK", value_name = "FOLDER")]
    pub work: Option<PathBuf>,
    /// The split to write into the lines of a single file that lies in no dataset.
    #[arg(long, env = "SOFTLABEL_SPLIT", value_name = "NAME")]
    pub split: Option<String>,
    /// The bucket to write into the lines of a single file that lies in no dataset.
    #[arg(long, env = "SOFTLABEL_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,
    /// Forget what an earlier run left in the work folder, and start over.
    #[arg(long, env = "SOFTLABEL_RESTART", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub restart: bool,
    /// Throw away with --restart what an earlier run left, without a question.
    #[arg(long, env = "SOFTLABEL_YES", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub yes: bool,
    /// Write over labelled files that no run made, or that were changed since.
    #[arg(long, env = "SOFTLABEL_OVERWRITE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub overwrite: bool,
    /// Ask again for the turns that failed, and for nothing else.
    #[arg(long, env = "SOFTLABEL_ONLY", value_enum)]
    pub only: Option<Only>,
    /// Say what a run will take, with one prompt of each kind, and send nothing.
    #[arg(long, env = "SOFTLABEL_DRY_RUN", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// US dollars that the run may cost. It stops before a call that might cost more, and the same
    /// command with a higher amount continues it.
    #[arg(long, env = "SOFTLABEL_MAX_COST", value_name = "USD", value_parser = parse_usd)]
    pub max_cost: Option<Usd>,
    /// How long a label takes, for --dry-run.
    #[arg(long, env = "SOFTLABEL_LABEL_LATENCY", default_value = "600ms", value_name = "TIME",
          value_parser = parse_time)]
    pub label_latency: Duration,
    /// How long a rationale takes, for --dry-run.
    #[arg(long, env = "SOFTLABEL_RATIONALE_LATENCY", default_value = "2s", value_name = "TIME",
          value_parser = parse_time)]
    pub rationale_latency: Duration,
    /// How progress is shown.
    #[arg(long, env = "SOFTLABEL_PROGRESS", value_enum, default_value_t = ProgressStyle::Auto)]
    pub progress: ProgressStyle,
    #[command(flatten)]
    pub pilot: PilotArgs,
    #[command(flatten)]
    pub cut: CutArgs,
    #[command(flatten)]
    pub task: TaskArgs,
    #[command(flatten)]
    pub labeling: LabelingArgs,
    #[command(flatten)]
    pub service: ServiceArgs,
    #[command(flatten)]
    pub report: RunReportArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub struct CutArgs {
    /// Label what is intact of a file that is cut off, and mark the result partial.
    #[arg(long, env = "SOFTLABEL_SALVAGE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub salvage: bool,
    /// Turns a chunk of work; a chunk holds whole conversations.
    #[arg(long, env = "SOFTLABEL_CHUNK_TURNS", default_value_t = 128, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub chunk_turns: u32,
    /// MiB of a conversation in RAW at most; a longer one counts as broken. It is held in memory.
    #[arg(long, env = "SOFTLABEL_MAX_CONVERSATION_MIB", default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_conversation_mib: u32,
}

impl CutArgs {
    pub fn limits(&self) -> ChunkLimits {
        ChunkLimits {
            turns: self.chunk_turns,
            conversation: (self.max_conversation_mib as usize) << 20,
            ..ChunkLimits::default()
        }
    }
}

/// What `softlabel task` does.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Print the built-in task as TOML, to begin with.
    Show,
    /// Check a task file, and say what asking it costs. Nothing is sent.
    Check(Box<TaskCheckArgs>),
    /// Print the JSON Schema of task files, for editors.
    Schema,
}

/// Settings of `softlabel task check`.
#[derive(Debug, Args)]
pub struct TaskCheckArgs {
    /// The task file.
    #[arg(env = "SOFTLABEL_TASK", value_name = "FILE")]
    pub file: PathBuf,
    /// Tokens of a message, and of what is shown with it, on average, for the figures.
    #[arg(long, env = "SOFTLABEL_TYPICAL_TOKENS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub typical_tokens: u32,
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Settings of `softlabel info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    #[command(flatten)]
    pub task: TaskArgs,
    #[command(flatten)]
    pub labeling: LabelingArgs,
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Settings of `softlabel test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The message to label.
    #[arg(
        long,
        env = "SOFTLABEL_MESSAGE",
        value_name = "TEXT",
        default_value = "Why does my Rust build fail with E0502, and how should I restructure it?"
    )]
    pub message: String,
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    #[command(flatten)]
    pub task: TaskArgs,
    #[command(flatten)]
    pub labeling: LabelingArgs,
    #[command(flatten)]
    pub service: ServiceArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// What is logged: error, warn, info, debug, or a filter such as softlabel=debug. By default warn,
    /// to stderr; for serve info, to stdout.
    #[arg(long, env = "SOFTLABEL_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

impl LogArgs {
    pub fn filter(&self, default: &str) -> Result<EnvFilter, ParseError> {
        EnvFilter::try_new(self.log.as_deref().unwrap_or(default))
    }
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// The turns that failed.
    Failed,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// A line every few seconds.
    Lines,
    /// A JSON object a line, every few seconds, and one for each message.
    Json,
    /// Nothing.
    None,
}
