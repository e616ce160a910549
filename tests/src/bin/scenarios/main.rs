//! The function app under the real listeners of Azure Functions and under the double of the host: `cargo xtask real-host`.
//!
//! Storage is Azurite; Azure OpenAI and Event Grid are doubles. The same scenarios run on both hosts, side by side,
//! and each ends with all turns labelled once, at the right place, with the service's own probabilities, within the
//! cap. Then both hosts are given the same app with a scripted worker, and what they sent to it and did to the queues is
//! compared.

#[cfg(unix)]
mod checks;
#[cfg(unix)]
mod compare;
#[cfg(unix)]
mod instances;
#[cfg(unix)]
mod places;
#[cfg(unix)]
mod poison;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod requests;
#[cfg(unix)]
mod scenario;
#[cfg(unix)]
mod stage;
#[cfg(unix)]
mod storage;
#[cfg(unix)]
mod uploads;

use anyhow::Result;
use std::process::ExitCode;

#[cfg(unix)]
#[tokio::main]
async fn main() -> Result<ExitCode> {
    scenario::main().await
}

#[cfg(not(unix))]
fn main() -> Result<ExitCode> {
    anyhow::bail!("the real host runs on Linux alone")
}
