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
Exit codes: 0 complete, 1 could not run or stopped early, 2 wrong usage, 3 finished with failed turns \
or unreadable input, or stopped at --max-cost, 130 or 143 stopped by a signal (the same command continues).

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
    /// Label one message and show the full response.
    Test(Box<TestArgs>),
    /// Show and check tasks: the yes/no questions that are asked about messages.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Compare two labelled outputs turn by turn: agreement, correlation, what moved most.
    Compare(Box<CompareArgs>),
    /// Export a labelled dataset, one row per turn, as Parquet, CSV, JSON Lines or Label Studio tasks.
    Export(Box<ExportArgs>),
    /// Show turns of a labelled dataset with their labels, rationales and, with --input, messages.
    Show(Box<ShowArgs>),
    /// Write the HTML report of a labelled dataset, even while its run is unfinished.
    Report(Box<ReportArgs>),
    /// Run as the custom handler of an Azure Functions app; the Functions host starts this.
    Serve(Box<ServeArgs>),
    /// Print the completion script of a shell.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
    /// Print a man page.
    #[command(after_help = MAN_HELP)]
    Man(ManArgs),
}

/// Settings of `softlabel completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to print the script for.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Settings of `softlabel man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command to describe, such as `label` or `task show`; by default softlabel itself.
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Settings of `softlabel label`.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// The folder of a dataset, or one file: a JSON array or JSON Lines, recognised by its content. Like
    /// the next two settings it is a path or a blob URL. Conversations may have turnsArray (a list, or a
    /// text that holds one), OpenAI's messages or ShareGPT's conversations, or be chats exported from VS
    /// Code.
    #[arg(short, long, env = "SOFTLABEL_INPUT", value_name = "PATH")]
    pub input: PathBuf,
    /// For a dataset: the folder in which LABELED_DATASET/ appears. For a single file: the file to write,
    /// or a folder (an existing one, or a name that ends in /).
    #[arg(short, long, env = "SOFTLABEL_OUTPUT", value_name = "PATH")]
    pub output: PathBuf,
    /// The work folder, from which a run continues. By default .softlabel/DATASET in the output folder
    /// for a dataset, LABELED_DATASET/.softlabel in a container, OUTPUT.softlabel for a single file.
    #[arg(long, env = "SOFTLABEL_WORK", value_name = "FOLDER")]
    pub work: Option<PathBuf>,
    /// The split to write into the lines of a single file outside a dataset.
    #[arg(long, env = "SOFTLABEL_SPLIT", value_name = "NAME")]
    pub split: Option<String>,
    /// The bucket to write into the lines of a single file outside a dataset.
    #[arg(long, env = "SOFTLABEL_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,
    /// Discard the results of an earlier run in the work folder, and start over.
    #[arg(long, env = "SOFTLABEL_RESTART", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub restart: bool,
    /// Do not ask before --restart discards the results of an earlier run.
    #[arg(long, env = "SOFTLABEL_YES", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub yes: bool,
    /// Replace labelled files that no run wrote, or that were changed afterwards.
    #[arg(long, env = "SOFTLABEL_OVERWRITE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub overwrite: bool,
    /// Ask again only for turns that failed.
    #[arg(long, env = "SOFTLABEL_ONLY", value_enum)]
    pub only: Option<Only>,
    /// Send nothing; print the cost and time of the run, and one prompt of each kind.
    #[arg(long, env = "SOFTLABEL_DRY_RUN", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// Most US dollars that the run may cost. It stops before the call that might exceed them; the same
    /// command with a higher amount continues it.
    #[arg(long, env = "SOFTLABEL_MAX_COST", value_name = "USD", value_parser = parse_usd)]
    pub max_cost: Option<Usd>,
    /// Latency of a label call, assumed by --dry-run.
    #[arg(long, env = "SOFTLABEL_LABEL_LATENCY", default_value = "600ms", value_name = "TIME",
          value_parser = parse_time)]
    pub label_latency: Duration,
    /// Latency of a rationale call, assumed by --dry-run.
    #[arg(long, env = "SOFTLABEL_RATIONALE_LATENCY", default_value = "2s", value_name = "TIME",
          value_parser = parse_time)]
    pub rationale_latency: Duration,
    /// How to show progress.
    #[arg(long, env = "SOFTLABEL_PROGRESS", value_enum, default_value_t = ProgressStyle::Auto)]
    pub progress: ProgressStyle,
    /// Show the run live on a page of this machine, whose address is printed. The page ends with the run.
    #[arg(long, env = "SOFTLABEL_WATCH", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub watch: bool,
    /// Which turns to label, where that is not all of them.
    #[command(flatten)]
    pub pilot: PilotArgs,
    /// How the input is cut into chunks of work.
    #[command(flatten)]
    pub cut: CutArgs,
    /// What is asked about a message.
    #[command(flatten)]
    pub task: TaskArgs,
    /// What a label is.
    #[command(flatten)]
    pub labeling: LabelingArgs,
    /// The service, and how patiently it is asked.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// What the report at the end of the run holds.
    #[command(flatten)]
    pub report: RunReportArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// How RAW is cut into chunks of work, and what of it is read.
#[derive(Clone, Debug, Args)]
pub struct CutArgs {
    /// Label the intact part of a file that is cut off, and mark the result partial.
    #[arg(long, env = "SOFTLABEL_SALVAGE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub salvage: bool,
    /// Turns in a chunk of work; a chunk holds whole conversations.
    #[arg(long, env = "SOFTLABEL_CHUNK_TURNS", default_value_t = 128, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub chunk_turns: u32,
    /// Largest conversation in RAW, in MiB: conversations are held in memory, and a larger one counts as
    /// unreadable.
    #[arg(long, env = "SOFTLABEL_MAX_CONVERSATION_MIB", default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_conversation_mib: u32,
}

impl CutArgs {
    /// When a chunk is full, and how long a conversation may be.
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
    /// Print the built-in task as TOML, to start a task file from.
    Show,
    /// Check a task file and print what asking it costs; nothing is sent.
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
    /// Average tokens of a message and of the context shown with it, for the cost.
    #[arg(long, env = "SOFTLABEL_TYPICAL_TOKENS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub typical_tokens: u32,
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// The service that would be asked, for the cost.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Settings of `softlabel info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// What would be asked about a message.
    #[command(flatten)]
    pub task: TaskArgs,
    /// What a label would be.
    #[command(flatten)]
    pub labeling: LabelingArgs,
    /// The service that would be asked.
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
    /// What is asked about the message.
    #[command(flatten)]
    pub task: TaskArgs,
    /// What a label is.
    #[command(flatten)]
    pub labeling: LabelingArgs,
    /// The service, and how patiently it is asked.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What is logged.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// What to log: error, warn, info, debug, or a filter such as softlabel=debug. By default warn, to
    /// stderr; serve logs info, to stdout.
    #[arg(long, env = "SOFTLABEL_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

impl LogArgs {
    /// The filter that is set, or else `default`.
    ///
    /// # Errors
    /// If it is not a filter.
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

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// A line every few seconds.
    Lines,
    /// A JSON object on a line of its own, every few seconds and for each message.
    Json,
    /// Nothing.
    None,
}
