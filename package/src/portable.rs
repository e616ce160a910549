//! The portable build: an executable that runs with glibcs older than the building machine's.
//!
//! Zig links it, because it knows which symbols each glibc had; cargo-zigbuild puts Zig in the
//! place of the linker. Both are installed under the target folder, at the versions named here.

use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tool that puts Zig in the place of the linker.
const CARGO_ZIGBUILD: &str = "cargo-zigbuild";

/// Its version, exactly.
const CARGO_ZIGBUILD_VERSION: &str = "=0.24.1";

/// Zig's version and hashes, in pip's format.
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// What is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The glibc that is linked against, older than what any image of Azure Functions has.
const GLIBC: &str = "2.28";

/// Builds the `softlabel` executable in release mode and returns where it is. Installs the tools
/// where they are not there yet.
pub fn build(repository: &Path, target: &Path) -> Result<PathBuf> {
    let tools = target.join("tools");
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    install_cargo_zigbuild(&tools)?;
    let zig = install_zig(&tools)?;
    let mut build = Command::new(tools.join("bin").join(CARGO_ZIGBUILD));
    build
        .args(["zigbuild", "--release", "--locked"])
        .args(["--package", "softlabel", "--bin", "softlabel"])
        .arg("--target")
        .arg(format!("{TARGET}.{GLIBC}"))
        .arg("--target-dir")
        .arg(target)
        .current_dir(repository)
        .env("PYTHONPATH", zig)
        .env("ZIG_GLOBAL_CACHE_DIR", tools.join("zig-cache"))
        .env("CARGO_ZIGBUILD_CACHE_DIR", tools.join("cargo-zigbuild"))
        // They may ask for this machine's processor, and the cloud has others.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(
        build,
        &format!("needs Rust's {TARGET}: `rustup target add {TARGET}` installs it"),
    )?;
    Ok(target.join(TARGET).join("release").join("softlabel"))
}

fn install_cargo_zigbuild(tools: &Path) -> Result<()> {
    let mut install = Command::new(cargo());
    install
        // Unoptimised: it compiles in half of the time, and does little.
        .args(["install", "--quiet", "--debug"])
        .args([CARGO_ZIGBUILD, "--version", CARGO_ZIGBUILD_VERSION])
        .args(["--locked", "--no-default-features"])
        .arg("--root")
        .arg(tools);
    run(
        install,
        "installs the tool that builds for older glibcs, and needs crates.io and a C compiler",
    )
}

/// Returns the folder that Python finds the module `ziglang` in.
fn install_zig(tools: &Path) -> Result<PathBuf> {
    let folder = tools.join("ziglang");
    // Written last: what is installed is complete, and is what is wanted now.
    let installed = folder.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let wanted = tools.join("requirements.txt");
    fs::write(&wanted, REQUIREMENTS)
        .with_context(|| format!("cannot write {}", wanted.display()))?;
    let mut install = Command::new("python3");
    install
        .args(["-m", "pip", "install", "--quiet", "--no-user", "--no-deps"])
        .args(["--require-hashes", "--only-binary", ":all:"])
        .arg("--requirement")
        .arg(&wanted)
        .arg("--target")
        .arg(&folder)
        // It warns of what an installation outside the target folder would bring.
        .env("PIP_ROOT_USER_ACTION", "ignore");
    run(
        install,
        "installs Zig, and needs Python 3 with pip, and PyPI",
    )?;
    fs::rename(&wanted, &installed)
        .with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(folder)
}

/// The cargo that runs this program, so that the toolchain is the same.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs `command`; `what` says what it is for and needs, should it fail.
fn run(mut command: Command, what: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}, which {what}"))?;
    ensure!(status.success(), "{program} ended with {status}; it {what}");
    Ok(())
}
