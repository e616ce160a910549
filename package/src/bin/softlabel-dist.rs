//! Makes what is installed without Rust: `cargo xtask dist`.

use anyhow::{Context, Result};
use clap::Parser;
use softlabel_package::crates::Features;
use softlabel_package::papers::Papers;
use softlabel_package::place::{self, remove};
use softlabel_package::portable::{self, Place, Processor};
use softlabel_package::release::{self, Entry};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the papers lie below the prefix that the archive is unpacked into.
const DOC: &str = "share/doc/softlabel";

/// Make what softlabel is installed from on machines without Rust.
///
/// Builds softlabel for Linux on this machine's processor, x86-64 or arm64, for glibc 2.28 and newer, and
/// makes of it
///
/// softlabel-VERSION-PLATFORM.tar.gz: the executable, completions for bash, fish and zsh, man pages,
/// licences and a bill of materials
///
/// softlabel-VERSION-py3-none-PLATFORM.whl: the same as a Python wheel, for pip
///
/// What the build needs beside Rust, a C compiler, make and Python 3 with pip is installed into
/// target/tools.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask dist", max_term_width = 100)]
struct Args {
    /// Take this executable, instead of building one, and make the archive alone
    #[arg(long, value_name = "PATH")]
    executable: Option<PathBuf>,
    /// Where the files are made; by default target/dist
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    place::ended(make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    let (repository, target) = (place::repository()?, place::target()?);
    let output = place::output(args.output.as_deref(), "dist")?;
    let processor = Processor::of_this_machine()?;
    let build = (processor, Features::CommandLine);
    let papers = Papers::make(repository, processor.target(), Features::CommandLine)?;
    let place = Place {
        repository,
        target: &target,
    };
    let executable = match &args.executable {
        Some(executable) => executable.clone(),
        None => portable::build(place, build, &papers, &[])?.executable,
    };
    let version = release::version(&executable)?;
    let shared = release::shared(&executable)?;

    let name = format!("softlabel-{version}-{}", processor.target());
    let archive = output.join(format!("{name}.tar.gz"));
    remove(&archive)?;
    pack(&archive, &name, &executable, &papers, &shared)?;
    place::say(&archive, "")?;
    if args.executable.is_none() {
        // Nothing is compiled again: the wheel gets what only the executable could tell.
        let made = portable::build(place, build, &papers, &shared)?.wheel;
        let name = made.file_name().context("the wheel has no name")?;
        let wheel = output.join(name);
        fs::copy(&made, &wheel).with_context(|| format!("cannot write {}", wheel.display()))?;
        place::say(&wheel, "")?;
    }
    Ok(())
}

fn pack(
    archive: &Path,
    name: &str,
    executable: &Path,
    papers: &Papers,
    shared: &[(String, Vec<u8>)],
) -> Result<()> {
    let contents =
        fs::read(executable).with_context(|| format!("cannot read {}", executable.display()))?;
    let mut entries = vec![Entry {
        path: "bin/softlabel".to_owned(),
        contents: &contents,
        executable: true,
    }];
    let papers = papers
        .files()
        .map(|(name, contents)| (format!("{DOC}/{name}"), contents));
    let shared = shared
        .iter()
        .map(|(path, contents)| (path.clone(), contents.as_slice()));
    entries.extend(papers.chain(shared).map(|(path, contents)| Entry {
        path,
        contents,
        executable: false,
    }));
    release::write(archive, name, &entries)
}
