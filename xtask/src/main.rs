//! `cargo xtask TASK`: runs the program of a task. `cargo demo`: builds the demo and runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use xtask::{DEMO_BUILD, DEMO_PROFILE, Renewal, Wish, help};

fn main() -> ExitCode {
    let done = match Wish::parse(std::env::args_os().skip(1)) {
        Ok(Wish::Help) => {
            print!("{}", help());
            Ok(())
        }
        Ok(Wish::Renew(texts)) => texts.into_iter().try_for_each(renew),
        Ok(Wish::Demo(arguments)) => demo().and_then(|demo| {
            let mut command = Command::new(demo);
            become_it(command.args(arguments))
        }),
        Ok(Wish::Run {
            task,
            arguments,
            dev,
        }) => become_it(cargo().args(task.cargo(dev)).args(arguments)),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("cannot run {program}: {error}")),
    }
}

/// Runs what writes a generated text.
fn renew(renewal: &Renewal) -> Result<(), String> {
    println!("{}: {}", renewal.name, renewal.about);
    let [program, arguments @ ..] = renewal.command else {
        return Ok(());
    };
    let mut command = Command::new(program);
    let command = command.args(arguments).env("RENEW", "1");
    run(command.current_dir(repository()))
}

/// Builds the demo, and the program that it shows beside it. Gives the demo's program.
fn demo() -> Result<PathBuf, String> {
    run(cargo().args(DEMO_BUILD).current_dir(repository()))?;
    let here =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let target = here.parent().and_then(Path::parent);
    let target = target.ok_or("this program does not lie in a target folder")?;
    let demo = format!("demo{}", std::env::consts::EXE_SUFFIX);
    Ok(target.join(DEMO_PROFILE).join(demo))
}

/// The command takes the place of this process, so that signals and exit codes are its own.
#[cfg(unix)]
fn become_it(command: &mut Command) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    let program = command.get_program().display();
    Err(format!("cannot run {program}: {error}"))
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> Result<(), String> {
    run(command)
}
