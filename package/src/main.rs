//! Makes the packages of the function app: `cargo xtask zip`.

use anyhow::{Context, Result, bail};
use clap::Parser;
use softlabel_package::crates::Features;
use softlabel_package::papers::Papers;
use softlabel_package::place::{self, megabytes, remove, short};
use softlabel_package::portable::{self, Place, Processor};
use softlabel_package::script_root::{Hosting, ScriptRoot};
use softlabel_package::{archive, executable};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make the packages of the function app.
///
/// Builds softlabel for Linux on x86-64 with the oldest glibc that Azure Functions has, and makes
/// two zips that differ in how the blob trigger learns of new blobs:
///
/// softlabel-flex.zip for Flex Consumption: from Event Grid
///
/// softlabel-local.zip for Azure Functions Core Tools and for the other plans: the host polls
///
/// Each also holds the licences of what is in the executable (THIRD-PARTY-NOTICES.txt) and a bill of
/// materials (softlabel.cdx.json, CycloneDX).
///
/// What the build needs beside Rust, a C compiler, make and Python 3 with pip is installed into
/// target/tools. Zips are checked before they get their names: structure, functions and queues,
/// permissions, and what the executable needs of the machine.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask zip", max_term_width = 100)]
struct Args {
    /// Take this executable, instead of building one
    #[arg(long, value_name = "PATH")]
    executable: Option<PathBuf>,
    /// Make the local zip alone, for this machine: what Azure would refuse about the executable is
    /// a warning
    #[arg(long, requires = "executable")]
    local: bool,
    /// Where the zips are made; by default target/package
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    place::ended(make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    let (repository, target) = (place::repository()?, place::target()?);
    let output = place::output(args.output.as_deref(), "package")?;
    let zips = [
        (Hosting::Flex, output.join("softlabel-flex.zip")),
        (Hosting::Local, output.join("softlabel-local.zip")),
    ];
    for (_, zip) in &zips {
        remove(zip)?;
    }
    let processor = Processor::X86_64;
    let papers = Papers::make(repository, processor.target(), Features::App)?;
    let executable = match &args.executable {
        Some(executable) => executable.clone(),
        None => {
            let target = &target;
            let place = Place { repository, target };
            portable::build(place, (processor, Features::App), &papers, &[])?.executable
        }
    };
    let contents =
        fs::read(&executable).with_context(|| format!("cannot read {}", executable.display()))?;
    let mut made: Vec<_> = zips.into_iter().collect();
    made.retain(|(hosting, _)| !args.local || *hosting == Hosting::Local);
    for (hosting, zip) in &made {
        let root = ScriptRoot::read(repository, *hosting)?;
        let unchecked = zip.with_extension("unchecked");
        archive::write(&root, &contents, &papers, &unchecked)?;
        let checked = check(&unchecked, *hosting, args);
        if checked.is_err() {
            remove(&unchecked)?;
        }
        let needs = checked.with_context(|| format!("cannot pack {}", executable.display()))?;
        fs::rename(&unchecked, zip).with_context(|| format!("cannot write {}", zip.display()))?;
        let size = megabytes(contents.len() as u64);
        place::say(zip, &format!(", with an executable of {size} that {needs}"))?;
    }
    for (hosting, zip) in &made {
        println!("\n{}", next_step(*hosting, &short(zip)));
    }
    Ok(())
}

/// Reads the zip back; says what its executable needs.
fn check(zip: &Path, hosting: Hosting, args: &Args) -> Result<String> {
    let (_, contents) = archive::read(zip, hosting)?;
    match executable::check(&contents) {
        Ok(Some(glibc)) => Ok(format!("runs with glibc {glibc} and newer")),
        Ok(None) => Ok("runs without glibc".to_owned()),
        Err(error) if args.local => {
            eprintln!("warning: Azure would not run the executable: {error:#}");
            Ok("runs on this machine".to_owned())
        }
        Err(error) if args.executable.is_some() => bail!(
            "{error:#}. Leave --executable out for one that is built to suit, or add --local for a \
             zip that is for this machine alone"
        ),
        Err(error) => Err(error),
    }
}

fn next_step(hosting: Hosting, zip: &str) -> String {
    match hosting {
        Hosting::Flex => format!(
            "Deploy it to Flex Consumption:\n  \
             az functionapp deployment source config-zip --resource-group GROUP --name APP --src {zip}\n\
             or, where azd made the app:\n  \
             azd deploy SERVICE --from-package {zip}"
        ),
        Hosting::Local => format!(
            "Run it with Azure Functions Core Tools and Azurite (docs/function-app.md):\n  \
             unzip {zip} -d target/app\n  \
             cp local.settings.sample.json target/app/local.settings.json\n  \
             cd target/app && func start"
        ),
    }
}
