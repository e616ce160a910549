//! The program that is tested, for tasks that are no test of cargo's.

use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `softlabel` without optimisation, beside the program that asks for it. What `cargo build --workspace`
/// built is taken as it is.
///
/// # Errors
/// If cargo cannot be run, or does not build it.
pub fn built() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "build",
        "--locked",
        "--quiet",
        "--workspace",
        "--bin",
        "softlabel",
    ];
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo build ended with {status}");
    let here = std::env::current_exe().context("cannot find this program")?;
    Ok(here.with_file_name(format!("softlabel{}", std::env::consts::EXE_SUFFIX)))
}
