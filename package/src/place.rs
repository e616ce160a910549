//! Where packages are made from and to.

use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
