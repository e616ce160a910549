//! Settings of `softlabel compare`.

use super::LogArgs;
use super::read::IdentityArgs;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use std::path::PathBuf;

/// Two labelled outputs.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The first output: the folder of a labelled dataset or of a pilot, or a single labelled file. Like the
    /// next two settings it is a path or a blob URL.
    #[arg(env = "SOFTLABEL_COMPARE_A", value_name = "A")]
    pub a: PathBuf,
    /// The second output; differences are B - A.
    #[arg(env = "SOFTLABEL_COMPARE_B", value_name = "B")]
    pub b: PathBuf,
    /// The RAW data that was labelled, to show the messages of the turns that moved most.
    #[arg(short, long, env = "SOFTLABEL_INPUT", value_name = "RAW")]
    pub input: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, env = "SOFTLABEL_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// Who reads blobs.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}
