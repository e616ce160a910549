//! The portable build: an executable that runs with glibcs older than the building machine's, and the
//! wheel that it is in.
//!
//! Zig links it, because it knows which symbols each glibc had; maturin puts Zig in the place of the
//! linker and makes the wheel. Both are installed under the target folder, at the versions of
//! `requirements.txt`.

use crate::crates::{Features, PACKAGE};
use crate::papers::Papers;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The versions and hashes of the tools, in pip's format.
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// The wheel's description.
const PYPROJECT: &str = include_str!("../pyproject.toml");

/// The glibc that is linked against, 2.28 as the name of a platform for wheels: older than what any
/// image of Azure Functions has.
const GLIBC: &str = "manylinux_2_28";

/// A processor that is built for; the system is Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// What Azure Functions has.
    X86_64,
    /// 64-bit Arm.
    Arm64,
}

impl Processor {
    /// The processor of this machine.
    pub fn of_this_machine() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("nothing is built for the processor of this machine, {other}"),
        }
    }

    /// Rust's name for the platform.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// What a build made.
#[derive(Debug)]
pub struct Built {
    /// The executable.
    pub executable: PathBuf,
    /// The wheel that holds it.
    pub wheel: PathBuf,
}

/// Where builds happen.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The repository.
    pub repository: &'a Path,
    /// Cargo's target folder.
    pub target: &'a Path,
}

/// Builds the `softlabel` executable with `features` in release mode for `processor`, and a wheel of it with `papers`.
/// `shared` are files for everybody on the machine, by their paths below the prefix that a wheel is
/// installed into (`share/man/…`). Installs the tools where they are not there yet.
pub fn build(
    place: Place<'_>,
    (processor, features): (Processor, Features),
    papers: &Papers,
    shared: &[(String, Vec<u8>)],
) -> Result<Built> {
    let tools = place.target.join("tools");
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    let installed = install(&tools)?;
    let project = place.target.join("wheel");
    stage(&project, place.repository, papers, shared)
        .with_context(|| format!("cannot prepare the wheel in {}", project.display()))?;
    let wheels = project.join("made");
    let target = processor.target();
    let mut build = Command::new(installed.join("bin").join("maturin"));
    build
        .args(["build", "--quiet", "--release", "--locked", "--zig"])
        .args(features.arguments())
        .args(["--target", target, "--compatibility", GLIBC])
        .arg("--target-dir")
        .arg(place.target)
        .arg("--out")
        .arg(&wheels)
        .current_dir(&project)
        .env("PYTHONPATH", &installed)
        .env("ZIG_GLOBAL_CACHE_DIR", tools.join("zig-cache"))
        .env("CARGO_ZIGBUILD_CACHE_DIR", tools.join("cargo-zigbuild"))
        // They may ask for this machine's processor, and others have others.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    if processor == Processor::Arm64 {
        // Some kernels for Arm have pages of 64 KiB. jemalloc runs with pages up to what it was built for.
        build.env("JEMALLOC_SYS_WITH_LG_PAGE", "16");
    }
    run(
        build,
        &format!(
            "needs make, a C compiler and Rust's {target}: `rustup target add {target}` installs it"
        ),
    )?;
    let made = fs::read_dir(&wheels).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let made = made.with_context(|| format!("cannot read {}", wheels.display()))?;
    let [wheel] = made.as_slice() else {
        bail!(
            "{} must hold the wheel that was made, alone",
            wheels.display()
        );
    };
    Ok(Built {
        executable: place.target.join(target).join("release").join(PACKAGE),
        wheel: wheel.path(),
    })
}

/// Lays out in `project` what maturin makes the wheel of.
fn stage(
    project: &Path,
    repository: &Path,
    papers: &Papers,
    shared: &[(String, Vec<u8>)],
) -> Result<()> {
    if project.exists() {
        fs::remove_dir_all(project)?;
    }
    fs::create_dir_all(project)?;
    let manifest = repository.join("handler").join("Cargo.toml");
    let manifest = manifest.to_str().context("its path is no text")?;
    // The placeholder is in quotes already; TOML escapes as JSON does.
    let quoted = serde_json::to_string(manifest)?;
    let pyproject = PYPROJECT.replace("\"{manifest}\"", &quoted);
    fs::write(project.join("pyproject.toml"), pyproject)?;
    papers.lay_out(project)?;
    for (path, contents) in shared {
        // The folder that maturin looks for such files in.
        let file = project.join("softlabel.data/data").join(path);
        fs::create_dir_all(file.parent().unwrap_or(project))?;
        fs::write(&file, contents)?;
    }
    Ok(())
}

/// Returns the folder that the tools are in, and that Python finds the module `ziglang` in.
fn install(tools: &Path) -> Result<PathBuf> {
    let folder = tools.join("portable");
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
        "installs maturin and Zig, and needs Python 3 with pip, and PyPI",
    )?;
    fs::rename(&wanted, &installed)
        .with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(folder)
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
