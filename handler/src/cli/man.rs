//! `softlabel man`.

use super::{Exit, print};
use crate::config::{Cli, ManArgs, UsageError};
use clap::{Command, CommandFactory};
use clap_mangen::Man;

/// Prints a man page in roff.
pub(super) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let mut softlabel = without_help(Cli::command());
    // Gives the commands the names of their pages, such as softlabel-label.
    softlabel.build();
    let mut command = &softlabel;
    for name in &args.command {
        command = command
            .find_subcommand(name)
            .ok_or_else(|| unknown(name, command))?;
    }
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    print(&String::from_utf8(page)?)?;
    Ok(Exit::Complete)
}

/// Each command has a page of its own; the generated `help` commands would repeat all of them.
fn without_help(command: Command) -> Command {
    command
        .disable_help_subcommand(true)
        .mut_subcommands(without_help)
}

fn unknown(name: &str, command: &Command) -> UsageError {
    let own = command.get_bin_name().unwrap_or_default();
    let commands: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
    UsageError(match commands.as_slice() {
        [] => format!("{own} has no commands of its own, so there is no page of {name:?}"),
        commands => format!(
            "{own} has no command {name:?}, so there is no page of it; its commands are {}",
            commands.join(", ")
        ),
    })
}
