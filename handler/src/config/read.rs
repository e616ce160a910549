//! Settings of the commands that read a labelled dataset.

use super::LogArgs;
use crate::export::{Format, parse_range};
use crate::identity::{Identities, Surroundings};
use crate::report;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// The time limit for connecting to a storage account,
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// and for getting a token from an identity.
const CREDENTIAL_TIMEOUT: Duration = Duration::from_secs(60);

/// What is read.
#[derive(Clone, Debug, Args)]
pub struct ReadArgs {
    /// The folder of a labelled dataset, LABELED_DATASET, or a single labelled file. Like the next two
    /// settings it is a path or a blob URL.
    #[arg(env = "SOFTLABEL_LABELED", value_name = "PATH")]
    pub path: PathBuf,
    /// The RAW data that was labelled, to show its messages with the labels.
    #[arg(short, long, env = "SOFTLABEL_INPUT", value_name = "RAW")]
    pub input: Option<PathBuf>,
    /// The work folder of a run, to include buckets that are not published yet as far as they are labelled.
    #[arg(long, env = "SOFTLABEL_WORK", value_name = "FOLDER")]
    pub work: Option<PathBuf>,
    /// Who reads blobs.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Who reads blobs.
#[derive(Clone, Debug, Args)]
pub struct IdentityArgs {
    /// The client id of a user-assigned managed identity, for blob URLs.
    #[arg(long, env = "AZURE_CLIENT_ID", value_name = "ID")]
    pub identity_client_id: Option<String>,
}

impl IdentityArgs {
    /// The identities of this process.
    pub fn identities(&self) -> Identities {
        Identities {
            client_id: self
                .identity_client_id
                .clone()
                .filter(|id| !id.trim().is_empty()),
            only: None,
            surroundings: Surroundings::of_process(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: CREDENTIAL_TIMEOUT,
        }
    }
}

/// Settings of `softlabel export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// What is exported.
    #[command(flatten)]
    pub read: ReadArgs,
    /// The format to write.
    #[arg(long, env = "SOFTLABEL_EXPORT_TO", value_enum, value_name = "FORMAT")]
    pub to: Format,
    /// The file to write; by default, and with -, stdout.
    #[arg(short, long, env = "SOFTLABEL_EXPORT", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(long, env = "SOFTLABEL_OVERWRITE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub overwrite: bool,
    /// Export the turns before each message with it; needs --input.
    #[arg(long, env = "SOFTLABEL_EXPORT_CONTEXT", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub context: bool,
    /// Export only turns whose soft label is in this range, such as 0.2..0.8.
    #[arg(long, env = "SOFTLABEL_UNCERTAIN", value_name = "LOW..HIGH", value_parser = parse_range)]
    pub uncertain: Option<RangeInclusive<f64>>,
    /// Export only this many turns, drawn at random; the same dataset gives the same turns.
    #[arg(long, env = "SOFTLABEL_SAMPLE", value_name = "N")]
    pub sample: Option<u64>,
    /// Leave CSV cells that begin like a formula unchanged. By default they get a ' in front, since
    /// spreadsheets would compute them.
    #[arg(long, env = "SOFTLABEL_CSV_EXACT", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub csv_exact: bool,
}

/// Settings of `softlabel show`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["uncertain", "contradictions", "errors", "id"]))]
pub struct ShowArgs {
    /// Where the turns are read from.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Show the N turns whose soft labels are nearest to one half, the nearest first.
    #[arg(long, env = "SOFTLABEL_SHOW_UNCERTAIN", value_name = "N")]
    pub uncertain: Option<usize>,
    /// Show turns whose hard label is not the more probable one.
    #[arg(long, env = "SOFTLABEL_SHOW_CONTRADICTIONS", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub contradictions: bool,
    /// Show turns without a label.
    #[arg(long, env = "SOFTLABEL_SHOW_ERRORS", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub errors: bool,
    /// Show the turn with this message id, or the turns of the conversation with this id.
    #[arg(long, env = "SOFTLABEL_SHOW_ID", value_name = "ID")]
    pub id: Option<String>,
    /// Most turns to show.
    #[arg(
        long,
        env = "SOFTLABEL_SHOW_LIMIT",
        value_name = "N",
        default_value_t = 100
    )]
    pub limit: usize,
}

/// What the report holds that a run writes at its end.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Report")]
pub struct RunReportArgs {
    /// Put messages into the report, for the turns that it shows. They are private: by default the report
    /// holds none.
    #[arg(long, env = "SOFTLABEL_REPORT_TEXTS", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub report_texts: bool,
    /// Leave the rationales, which paraphrase the messages, out of the report.
    #[arg(long, env = "SOFTLABEL_NO_RATIONALES_IN_REPORT", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_rationales_in_report: bool,
}

impl RunReportArgs {
    /// The contents of the report.
    pub fn options(self) -> report::Options {
        report::Options {
            texts: self.report_texts,
            rationales: !self.no_rationales_in_report,
        }
    }
}

/// Settings of `softlabel report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What the report is about.
    #[command(flatten)]
    pub read: ReadArgs,
    /// The file to write; by default report.html in the labelled dataset, or beside the metadata of a
    /// single file. - is stdout.
    #[arg(short, long, env = "SOFTLABEL_REPORT", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace an existing file that is not a report of softlabel.
    #[arg(long, env = "SOFTLABEL_OVERWRITE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub overwrite: bool,
    /// Leave out the rationales, which paraphrase the messages.
    #[arg(long, env = "SOFTLABEL_NO_RATIONALES_IN_REPORT", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_rationales_in_report: bool,
}
