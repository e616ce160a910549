//! Where packages are made from and to.

use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The repository that this program was built in.
pub fn repository() -> Result<&'static Path> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().context("the package lies in the repository")
}

/// Cargo's target folder.
pub fn target() -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => repository()?.join("target"),
    };
    std::path::absolute(target).context("cannot find the target folder")
}

/// The folder that was given for what is made, or else `name` in the target folder; it is there then.
pub fn output(given: Option<&Path>, name: &str) -> Result<PathBuf> {
    let output = match given {
        Some(output) => output.to_owned(),
        None => target()?.join(name),
    };
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    Ok(output)
}

/// How a program ends that was to make something.
pub fn ended(made: Result<()>) -> ExitCode {
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says how large a file is that was made, and what else there is to say of it.
pub fn say(file: &Path, more: &str) -> Result<()> {
    let size = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    println!("{}: {}{more}", short(file), megabytes(size.len()));
    Ok(())
}

/// A file's name as seen from the current folder.
pub fn short(file: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = file.strip_prefix(here).unwrap_or(file);
    short.display().to_string()
}

/// A size in bytes, in millions.
pub fn megabytes(size: u64) -> String {
    let tenths = (size + 50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// Removes what an earlier call left: a call that fails must not leave a file that looks new.
pub fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}
