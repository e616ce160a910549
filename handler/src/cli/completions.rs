//! `softlabel completions`.

use super::{Exit, print};
use crate::config::{Cli, CompletionsArgs};
use clap::CommandFactory;

/// Prints the script that completes softlabel's command line in a shell.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "softlabel", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(Exit::Complete)
}
