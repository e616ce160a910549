//! `cargo xtask TASK`: runs the program of a task.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use xtask::{TASKS, command};

fn main() -> ExitCode {
    let matches = command().get_matches();
    let given = matches.subcommand();
    let task = given.and_then(|(name, own)| {
        let task = TASKS.iter().find(|task| task.name == name)?;
        Some((task, own.get_many::<OsString>("arguments")))
    });
    let Some((task, arguments)) = task else {
        return ExitCode::FAILURE;
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    cargo
        .args(task.cargo(matches.get_flag("dev")))
        .args(arguments.into_iter().flatten());
    become_it(cargo)
}

/// Cargo takes the place of this process, so that signals and exit codes are its own.
#[cfg(unix)]
fn become_it(mut cargo: Command) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let error = cargo.exec();
    eprintln!("error: cannot run cargo: {error}");
    ExitCode::FAILURE
}

#[cfg(not(unix))]
fn become_it(mut cargo: Command) -> ExitCode {
    match cargo.status() {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            code.map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("error: cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
