//! Settings of a pilot: which turns it is about, and what it is called.

use clap::{Args, value_parser};

/// A pilot labels some turns, apart from the run that labels all.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pilot")]
pub struct PilotArgs {
    /// Label a random sample of this many turns, from each split and bucket in proportion to its turns.
    /// This makes a pilot, as --limit does: it is written to LABELED_DATASET.pilot-NAME/
    /// (OUTPUT.pilot-NAME.jsonl for a single file), and the real output is left untouched.
    #[arg(long, env = "SOFTLABEL_SAMPLE", value_name = "TURNS", value_parser = value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// The seed of the sample: another number draws other turns. By default 0.
    #[arg(long, env = "SOFTLABEL_SEED", value_name = "N")]
    pub seed: Option<u64>,
    /// Label the first N turns of the whole input, as a pilot.
    #[arg(long, env = "SOFTLABEL_LIMIT", value_name = "TURNS", value_parser = value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// The name of the pilot: letters, digits, dots, - and _. By default composed of task, model,
    /// strategy, selection and seed.
    #[arg(long, env = "SOFTLABEL_PILOT", value_name = "NAME")]
    pub pilot: Option<String>,
}
