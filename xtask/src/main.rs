//! `cargo xtask TASK`: runs the program of a task. `cargo xtask renew`: runs what writes generated text.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use xtask::{RENEWALS, TASKS, command};

fn main() -> ExitCode {
    let matches = command().get_matches();
    let given = matches.subcommand();
    if let Some(("renew", own)) = given {
        let named = own.get_many::<String>("what").into_iter().flatten();
        return renew(&named.map(String::as_str).collect::<Vec<_>>());
    }
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

/// Runs what writes the texts that are `named`, or all of them.
fn renew(named: &[&str]) -> ExitCode {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_meant = |name: &str| named.is_empty() || named.contains(&name);
    for renewal in RENEWALS.iter().filter(|renewal| is_meant(renewal.name)) {
        println!("{}: {}", renewal.name, renewal.about);
        let Some((program, arguments)) = renewal.command.split_first() else {
            continue;
        };
        let mut command = Command::new(program);
        let run = command
            .args(arguments)
            .current_dir(&repository)
            .env("RENEW", "1")
            .status();
        match run {
            Ok(status) if status.success() => {}
            Ok(status) => {
                eprintln!("error: {} ended with {status}", renewal.command.join(" "));
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("error: cannot run {program}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
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
