//! The command line: from settings to steps, and back to what a person reads.
//!
//! Errors are printed here, once, as sentences that say what to do. Results go to stdout, progress
//! and logs to stderr.

mod compare;
mod completions;
mod confirm;
mod dry_run;
mod export;
mod info;
mod label;
mod man;
mod open_files;
mod pilot;
mod places;
mod progress;
mod report;
mod screen;
mod serve;
mod show;
mod signals;
mod summary;
mod table;
mod task;
mod test;
mod watch;

use crate::config::{Cli, Subcommands, UsageError, unknown_variables, without_empty_variables};
use crate::store::sentence;
use crate::text::visible_lines;
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Complete,
    /// It could not run.
    CouldNotRun,
    /// The arguments or settings are wrong.
    Usage,
    /// It ran to its end, but turns or conversations failed.
    Partial,
    /// A signal stopped it; the same command continues.
    Signal(u8),
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::CouldNotRun => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Signal(number) => 128 + number,
        }
    }
}

/// Runs the command line and tells how it ended.
pub fn run() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // --help goes to stdout, mistakes to stderr. A closed pipe is not an error.
            let _ = error.print();
            for name in blamed_variables(&error) {
                let _ = writeln!(io::stderr(), "The value comes from the variable {name}.");
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = execute(cli);
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            let told = visible_lines(&sentence(error.as_ref()));
            let _ = writeln!(io::stderr(), "error: {told}");
            if error.is::<UsageError>() {
                Exit::Usage
            } else {
                Exit::CouldNotRun
            }
        }
    };
    ExitCode::from(exit.code())
}

fn parse() -> Result<Cli, clap::Error> {
    let command = without_empty_variables(Cli::command(), &|name| std::env::var_os(name));
    Cli::from_arg_matches(&command.try_get_matches_from(std::env::args_os())?)
}

/// The variables that `error` is about: clap names only flags, even if the value came from a variable.
fn blamed_variables(error: &clap::Error) -> BTreeSet<String> {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let flag = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    let blamed = |arg: &clap::Arg| {
        let set = std::env::var_os(arg.get_env()?)?;
        let blamed = match set.to_str() {
            Some(set) => flag == Some(arg.to_string()) && value.as_deref() == Some(set),
            None => error.kind() == ErrorKind::InvalidUtf8,
        };
        blamed.then(|| {
            arg.get_env()
                .map(|name| name.to_string_lossy().into_owned())
        })?
    };
    let mut command = Cli::command();
    // Fills in how arguments are written.
    command.build();
    let commands = command.get_subcommands();
    let arguments = commands.flat_map(clap::Command::get_arguments);
    arguments.filter_map(blamed).collect()
}

fn execute(cli: Cli) -> anyhow::Result<Exit> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Some(name) = unknown_variables(&Cli::command(), names).first() {
        let text = format!("{name} is not a setting; softlabel label --help lists them");
        return Err(UsageError(text).into());
    }
    match cli.command {
        Subcommands::Info(args) => info::run(&args),
        Subcommands::Label(args) => runtime()?.block_on(label::run(*args)),
        Subcommands::Compare(args) => runtime()?.block_on(compare::run(*args)),
        Subcommands::Task(command) => task::run(&command),
        Subcommands::Test(args) => runtime()?.block_on(test::run(*args)),
        Subcommands::Export(args) => runtime()?.block_on(export::run(*args)),
        Subcommands::Show(args) => runtime()?.block_on(show::run(*args)),
        Subcommands::Report(args) => runtime()?.block_on(report::run(*args)),
        Subcommands::Serve(args) => runtime()?.block_on(serve::run(*args)),
        Subcommands::Completions(args) => completions::run(&args),
        Subcommands::Man(args) => man::run(&args),
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        // File work is short, and each thread keeps memory of its own.
        .max_blocking_threads(8)
        .enable_all()
        .build()
}

/// Writes a result to stdout. Gives `false` if the pipe is closed, which is not an error.
fn print(text: &str) -> io::Result<bool> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}
