//! Labels the sample dataset against a double of Azure OpenAI: in a whole cloud on this machine, as a
//! user of the function app meets it, or over a local folder.

mod cloud;
mod folder;

use anyhow::{Context, Result, bail};
use clap::Parser;
use softlabel_doubles::azure_openai::{Config, Faults, Latency, Oddities};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The dataset in `samples/`.
const DATASET: &str = "devchat_sample_20261101";

/// Drop the sample dataset into a cloud on this machine, and watch it being labelled.
///
/// Azurite keeps the blobs and queues; Event Grid, the Functions host and Azure OpenAI are doubles; the
/// function app is the real executable. It needs Node's npm, which installs Azurite under target/.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// Without a cloud: label the local folder, as `softlabel label` does.
    #[arg(long)]
    local: bool,
    /// Leave the cloud running: drop further datasets, ask for relabels.
    #[arg(long, conflicts_with = "local")]
    keep: bool,
    /// Which part of a conversation the model sees.
    #[arg(long, default_value = "user_message_only")]
    strategy: String,
    /// Do not ask for rationales.
    #[arg(long)]
    no_rationales: bool,
    /// Where the labelled dataset appears; by default target/demo.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Show this executable, instead of the one beside the demo's.
    #[arg(long, value_name = "PATH")]
    executable: Option<PathBuf>,
    /// Print what the app logs.
    #[arg(long, conflicts_with = "local")]
    echo: bool,
}

/// What both kinds of demo work with.
struct Stage {
    repository: PathBuf,
    softlabel: PathBuf,
    output: PathBuf,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the package lies in the repository")?
        .to_owned();
    let softlabel = match &args.executable {
        Some(executable) => std::path::absolute(executable)
            .with_context(|| format!("cannot find {}", executable.display()))?,
        None => beside()?,
    };
    let output = match &args.output {
        Some(output) => output.clone(),
        None => {
            let output = repository.join("target/demo");
            // The demo shows a run from its beginning.
            if output.exists() {
                std::fs::remove_dir_all(&output).context("cannot remove the last demo's output")?;
            }
            output
        }
    };
    let stage = Stage {
        repository,
        softlabel,
        output,
    };
    match args.local {
        true => folder::run(&args, &stage).await,
        false => cloud::run(&args, &stage).await,
    }
}

impl Stage {
    /// The folder that the dataset becomes.
    fn labeled(&self) -> PathBuf {
        self.output.join(format!("LABELED_{DATASET}"))
    }

    /// Prints five labelled turns with their texts, and where to see more.
    fn show(&self, page: &str) -> Result<()> {
        let samples = self.repository.join("samples").join(DATASET);
        let labeled = self.labeled();
        println!("\nFive of its turns, the most uncertain ones (softlabel show --uncertain 5):\n");
        std::io::stdout().flush()?;
        let status = Command::new(&self.softlabel)
            .args(["show", "--uncertain", "5", "--input"])
            .args([&samples, &labeled])
            .status()
            .context("cannot run softlabel show")?;
        if !status.success() {
            bail!("softlabel show ended with {status}");
        }
        println!(
            "labels:  {}\nreport:  {}\npage:    {page}",
            labeled.display(),
            labeled.join("report.html").display()
        );
        Ok(())
    }
}

/// The product that was built with this program.
fn beside() -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find this program")?;
    let there = here.with_file_name(format!("softlabel{}", std::env::consts::EXE_SUFFIX));
    if !there.is_file() {
        bail!(
            "there is no {}; start the demo with `cargo demo`, or name the program with --executable",
            there.display()
        );
    }
    Ok(there)
}

/// A service with the latency, the odd answers and the faults of a usual day.
fn service() -> Config {
    let faults = serde_json::from_str(r#"{"rates": {"500": 0.01, "503": 0.01, "reset": 0.01}}"#);
    Config {
        seed: 20_261_101,
        latency: Latency::LogNormal {
            median_ms: 250.0,
            sigma: 0.4,
        },
        text_latency: Some(Latency::LogNormal {
            median_ms: 600.0,
            sigma: 0.4,
        }),
        oddities: Oddities {
            single_entry: 0.5,
            short_list: 0.1,
            junk: 0.1,
            whitespace_variants: 0.1,
            sentinel: 0.05,
            ..Oddities::default()
        },
        faults: faults.unwrap_or_else(|_| Faults::default()),
        ..Config::default()
    }
}
