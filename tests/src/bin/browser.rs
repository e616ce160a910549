//! Drives Chromium through the page that watches runs, with the whole cloud of the function app on this machine.

use anyhow::{Context, Result, bail};
use clap::Parser;
use softlabel_doubles::azure_openai::Config;
use softlabel_doubles::azurite::{Azurite, Persistence};
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::process::Command;

/// Names under which Debian and others have the browser.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Drive Chromium through the page that watches runs.
///
/// Starts the whole cloud on this machine, uploads the sample dataset, and does with the page what a person
/// does: types the key, cancels a run, approves the others, asks again for failed turns. Takes about a minute.
/// The browser is $CHROME, else what is on the path; npm installs what drives it under target/.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// Where screenshots are written; by default target/pictures
    #[arg(long)]
    pictures: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let Some(chrome) = browser() else {
        eprintln!("not checked: the page, for want of Chromium; install it, or name it in CHROME");
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        return Ok(if is_ci {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the package lies in the repository")?;
    let programs = std::env::current_exe()?;
    let programs = programs.parent().context("this program lies in a folder")?;
    let softlabel = programs.join("softlabel");
    if !softlabel.is_file() {
        bail!("there is no softlabel beside this program: run `cargo build --workspace` first");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or(repository.join("target"), PathBuf::from);
    let pictures = args.pictures.unwrap_or(target.join("pictures"));
    std::fs::create_dir_all(&pictures).context("cannot make the folder for pictures")?;
    let driver = install(repository, &target).await?;

    let azurite = Azurite::start(Persistence::Memory).await?;
    let faults = serde_json::from_str(r#"{"rates": {"500": 0.05}}"#)?;
    let options = Options {
        service: Config {
            seed: 20_261_101,
            faults,
            ..Config::default()
        },
        reconcile_every: Some(Duration::from_secs(2)),
        ..Options::new(repository, &softlabel)
    }
    // Turns fail, and every run waits for an approval first.
    .setting("SOFTLABEL_ATTEMPTS", "1")
    .setting("SOFTLABEL_MAX_COST", "0.01");
    let cloud = LocalCloud::start(azurite.well_known_account(), options).await?;
    let drive = async |phase: &str| -> Result<()> {
        let host = cloud.host()?;
        let status = Command::new("node")
            .arg(driver.join("page.mjs"))
            .arg(phase)
            .env("CHROME", &chrome)
            .env("APP", host.endpoint())
            .env("KEY", host.function_key())
            .env("PICTURES", &pictures)
            .status()
            .await
            .context("cannot run node")?;
        if !status.success() {
            bail!("the page does not do what it should, in the phase {phase:?}");
        }
        println!("the page does what it should: {phase}");
        Ok(())
    };
    drive("empty").await?;
    let samples = repository.join("samples/devchat_sample_20261101");
    cloud.upload("devchat <b>&amp;", &samples).await?;
    drive("runs").await?;
    cloud.stop().await;
    println!("screenshots are in {}", pictures.display());
    Ok(ExitCode::SUCCESS)
}

/// The browser to use.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("CHROME").filter(|value| !value.is_empty());
    named.map(PathBuf::from).or_else(|| {
        let path = std::env::var_os("PATH")?;
        let folders = std::env::split_paths(&path).collect::<Vec<_>>();
        let places = BROWSERS
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        places.into_iter().find(|place| place.is_file())
    })
}

/// Installs what drives the browser, as the lock file pins it; gives its folder.
async fn install(repository: &Path, target: &Path) -> Result<PathBuf> {
    let (from, to) = (repository.join("tests/browser"), target.join("browser"));
    std::fs::create_dir_all(&to).context("cannot make target/browser")?;
    for name in ["package.json", "package-lock.json", ".npmrc", "page.mjs"] {
        std::fs::copy(from.join(name), to.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    let status = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
        ])
        .current_dir(&to)
        .status()
        .await
        .context("npm cannot be run: install Node.js")?;
    if !status.success() {
        bail!("npm could not install what drives the browser");
    }
    Ok(to)
}
