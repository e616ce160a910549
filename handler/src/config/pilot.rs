//! Settings of a pilot: which turns it is about, and what it is called.

use clap::{Args, value_parser};

/// A pilot labels some turns, apart from the run that labels all.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pilot")]
pub struct PilotArgs {
    /// Label a sample of so many turns, of each split and bucket in proportion to its turns. As with
    /// --limit, it is a pilot: it goes to LABELED_DATASET.pilot-NAME/ (for a file OUTPUT.pilot-NAME.jsonl),
    /// and the real output is left alone.
    #[arg(long, env = "SOFTLABEL_SAMPLE", value_name = "TURNS", value_parser = value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Which sample that is: another number draws other turns. By default 0.
    #[arg(long, env = "SOFTLABEL_SEED", value_name = "N")]
    pub seed: Option<u64>,
    /// Label the first so many turns of the whole input.
    #[arg(long, env = "SOFTLABEL_LIMIT", value_name = "TURNS", value_parser = value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// What the pilot is called: letters, digits, dots, - and _. By default made of task, model, strategy,
    /// selection and seed.
    #[arg(long, env = "SOFTLABEL_PILOT", value_name = "NAME")]
    pub pilot: Option<String>,
}
