//! The demo over a local folder.

use super::{Args, DATASET, Stage, service};
use anyhow::{Result, bail};
use softlabel_doubles::azure_openai::Double;
use std::process::{Command, ExitCode};

/// Labels the samples as `softlabel label` does.
pub(super) async fn run(args: &Args, stage: &Stage) -> Result<ExitCode> {
    let double = Double::start(service()).await?;
    println!(
        "The teacher is SIMULATED: a double of Azure OpenAI at {} answers by a seeded\n\
         function of each message. Its labels are for show, not for training.\n",
        double.endpoint()
    );
    let mut command = Command::new(&stage.softlabel);
    command
        .arg("label")
        .arg("--input")
        .arg(stage.repository.join("samples").join(DATASET))
        .arg("--output")
        .arg(&stage.output)
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
    stage.show("softlabel label --watch shows a run live")?;
    println!("The teacher was simulated.");
    Ok(ExitCode::SUCCESS)
}
