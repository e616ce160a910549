//! Labels the sample dataset against the double of Azure OpenAI, as a user would label a dataset
//! against the service.

use anyhow::{Context, Result, bail};
use clap::Parser;
use softlabel_doubles::azure_openai::{Config, Double, Faults, Latency, Oddities};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The dataset in `samples/`.
const DATASET: &str = "devchat_sample_20261101";

/// Label the sample dataset against a simulated Azure OpenAI, with progress and a summary.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// What of a conversation the model sees.
    #[arg(long, default_value = "user_message_only")]
    strategy: String,
    /// Do not ask for rationales.
    #[arg(long)]
    no_rationales: bool,
    /// Where the labelled dataset appears; by default target/demo.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the package lies in the repository")?;
    let softlabel = build(repository)?;
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
    let double = Double::start(service()).await?;
    println!(
        "The teacher is SIMULATED: a double of Azure OpenAI at {} answers by a seeded\n\
         function of each message. Its labels are for show, not for training.\n",
        double.endpoint()
    );
    let mut command = Command::new(softlabel);
    command
        .arg("label")
        .arg("--input")
        .arg(repository.join("samples").join(DATASET))
        .arg("--output")
        .arg(&output)
        .args(["--strategy", &args.strategy])
        .args(args.no_rationales.then_some("--no-rationales"))
        .env("AZURE_OPENAI_ENDPOINT", double.endpoint())
        .env("AZURE_OPENAI_API_KEY", "a-key-for-the-double")
        // The double has no quota, and nobody wants to wait for one here.
        .env("SOFTLABEL_TPM", "10000000")
        .env_remove("AZURE_OPENAI_API_VERSION")
        .env_remove("AZURE_OPENAI_DEPLOYMENT");
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    double.stop().await;
    if !status.success() {
        bail!("softlabel label ended with {status}");
    }
    let labeled = output.join(format!("LABELED_{DATASET}"));
    println!(
        "\nLook at {}\n        {}",
        labeled.join("labeling_metadata.json").display(),
        labeled.join("train/short_3_to_5_turns.jsonl").display()
    );
    println!("The teacher was simulated.");
    Ok(ExitCode::SUCCESS)
}

/// Builds the product, under the profile of this program.
fn build(repository: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = (!cfg!(debug_assertions)).then_some("--release");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "softlabel"])
        .args(profile)
        .current_dir(repository)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo build ended with {status}");
    }
    let here = std::env::current_exe().context("cannot find this program")?;
    Ok(here.with_file_name(format!("softlabel{}", std::env::consts::EXE_SUFFIX)))
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
