//! Drives Chromium through the report of a run, and through the page that watches runs: those of a command, and those of
//! the function app, with its whole cloud on this machine.

mod hostile;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use softlabel_doubles::azure_openai::{
    AlwaysFail, Config, Double, Fault, Faults, Latency, Oddities,
};
use softlabel_doubles::azurite::{Azurite, Persistence};
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Names under which Debian and others have the browser.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// How the service answers until what it labels was seen under way.
const SLOW: Latency = Latency::Fixed { ms: 1_500.0 };

/// Drive Chromium through the report and the page that watches runs.
///
/// Labels hostile texts and reads their report; watches a command that labels; starts the whole cloud on this machine,
/// uploads the sample dataset, and does with the page what a person does: types the key, cancels a run, approves the
/// others, opens the report, asks again for failed turns. Takes about two minutes.
/// The browser is $CHROME, else what is on the path; npm installs what drives it under target/.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// Where screenshots are written; by default target/pictures
    #[arg(long)]
    pictures: Option<PathBuf>,
    /// Make the pictures of the README anew: docs/report.png and docs/page.png
    #[arg(long)]
    renew: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let Some(chrome) = browser() else {
        eprintln!(
            "not checked: report and page, for want of Chromium; install it, or name it in CHROME"
        );
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

    let stage = Stage {
        softlabel,
        driver,
        chrome,
        pictures,
    };
    stage.report().await?;
    let samples = repository.join("samples/devchat_sample_20261101");
    stage.command(&samples).await?;
    stage.app(repository, &samples).await?;
    println!("screenshots are in {}", stage.pictures.display());
    if args.renew {
        for name in ["report.png", "page.png"] {
            std::fs::copy(
                stage.pictures.join("readme").join(name),
                repository.join("docs").join(name),
            )
            .with_context(|| format!("cannot renew docs/{name}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A page, and the service that labels what it shows.
#[derive(Default)]
struct Shown<'a> {
    address: &'a str,
    key: &'a str,
    /// The double of Azure OpenAI. It answers slowly until the script has seen runs under way, and tells it so:
    /// on a busy machine a run would else be over before the browser has begun.
    service: String,
}

/// What the pages are tried with.
struct Stage {
    softlabel: PathBuf,
    driver: PathBuf,
    chrome: PathBuf,
    pictures: PathBuf,
}

impl Stage {
    /// Runs a script of `tests/browser`.
    async fn drive(&self, script: &str, argument: &OsStr, page: &Shown<'_>) -> Result<()> {
        let status = Command::new("node")
            .arg(self.driver.join(script))
            .arg(argument)
            .env("CHROME", &self.chrome)
            .env("PICTURES", &self.pictures)
            .env("PAGE", page.address)
            .env("KEY", page.key)
            .env("SERVICE", &page.service)
            .status()
            .await
            .context("cannot run node")?;
        let what = format!("{script} {}", argument.display());
        if !status.success() {
            bail!("a page does not do what it should: {what}");
        }
        println!("the page does what it should: {what}");
        Ok(())
    }

    /// `softlabel` with these arguments, against `double`: over `raw`, to or about what is `labeled`.
    fn softlabel(&self, double: &Double, args: &[&str], raw: &Path, labeled: &Path) -> Command {
        let mut command = Command::new(&self.softlabel);
        command
            .args(args)
            .arg("--input")
            .arg(raw)
            .env("AZURE_OPENAI_ENDPOINT", double.endpoint())
            .env("AZURE_OPENAI_API_KEY", "a-key-for-the-double")
            .env("SOFTLABEL_TPM", "100000000")
            .env("SOFTLABEL_RPM", "1000000");
        match args.contains(&"label") {
            true => command.arg("--output").arg(labeled),
            false => command.arg(labeled),
        };
        command
    }

    /// Labels hostile texts, and reads the report with them.
    async fn report(&self) -> Result<()> {
        let home = tempfile::tempdir().context("cannot make a folder")?;
        let dataset = home.path().join("devchat <img src=x onerror=alert(1)>");
        hostile::write(&dataset)?;
        let double = Double::start(Config {
            oddities: Oddities {
                single_entry: 0.2,
                sentinel: 0.1,
                ..Oddities::default()
            },
            faults: Faults {
                always_fail: vec![AlwaysFail {
                    contains: hostile::FAILS.into(),
                    fault: Fault::Status(503),
                    code: None,
                }],
                ..Faults::default()
            },
            ..Config::default()
        })
        .await?;
        let output = home.path().join("out");
        let mut label = self.softlabel(&double, &["label", "--attempts", "1"], &dataset, &output);
        let labeled = label
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await?;
        // Turns fail.
        ensure!(
            labeled.code() == Some(3),
            "softlabel label ended with {labeled}"
        );
        let name = dataset.file_name().unwrap_or_default().display();
        let labeled = output.join(format!("LABELED_{name}"));
        let mut report = self.softlabel(&double, &["report"], &dataset, &labeled);
        let reported = report.stdout(Stdio::null()).status().await?;
        ensure!(reported.success(), "softlabel report ended with {reported}");
        double.stop().await;
        let report = labeled.join("report.html");
        self.drive("report.mjs", report.as_os_str(), &Shown::default())
            .await
    }

    /// Watches a command until it ends.
    async fn command(&self, dataset: &Path) -> Result<()> {
        let home = tempfile::tempdir().context("cannot make a folder")?;
        let double = Double::start(Config {
            latency: SLOW,
            ..Config::default()
        })
        .await?;
        let output = home.path().join("out");
        let args = [
            "label",
            "--watch",
            "--progress",
            "lines",
            "--concurrency",
            "10",
        ];
        let mut label = self.softlabel(&double, &args, dataset, &output);
        let mut label = label
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = label.stderr.take().context("stderr is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let address = loop {
            let line = lines.next_line().await?;
            let line = line.context("softlabel says no address")?;
            if let Some((_, address)) = line.split_once("watch it at ") {
                break address.to_owned();
            }
        };
        // What else it says must not fill the pipe.
        let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (_, token) = address.split_once('#').context("there is a token")?;
        let shown = Shown {
            address: &address,
            key: token,
            service: double.endpoint(),
        };
        self.drive("page.mjs", OsStr::new("command"), &shown)
            .await?;
        let ended = label.wait().await?;
        ensure!(ended.success(), "softlabel label ended with {ended}");
        rest.await?;
        double.stop().await;
        Ok(())
    }

    /// Watches the function app.
    async fn app(&self, repository: &Path, samples: &Path) -> Result<()> {
        let azurite = Azurite::start(Persistence::Memory).await?;
        let faults = serde_json::from_str(r#"{"rates": {"500": 0.05, "429": 0.05}}"#)?;
        let options = Options {
            service: Config {
                seed: 20_261_101,
                faults,
                latency: SLOW,
                ..Config::default()
            },
            reconcile_every: Some(Duration::from_secs(2)),
            ..Options::new(repository, &self.softlabel)
        }
        // Turns fail, and every run waits for an approval first.
        .setting("SOFTLABEL_ATTEMPTS", "1")
        .setting("SOFTLABEL_MAX_COST", "0.01")
        .setting("SOFTLABEL_CHUNK_TURNS", "16")
        .setting("SOFTLABEL_CONCURRENCY", "8");
        let cloud = LocalCloud::start(azurite.well_known_account(), options).await?;
        let host = cloud.host()?;
        let address = format!("{}/api/page", host.endpoint());
        let shown = Shown {
            address: &address,
            key: host.function_key(),
            service: cloud.service().endpoint(),
        };
        self.drive("page.mjs", OsStr::new("empty"), &shown).await?;
        cloud.upload("devchat <b>&amp;", samples).await?;
        self.drive("page.mjs", OsStr::new("runs"), &shown).await?;
        cloud.stop().await;
        Ok(())
    }
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
    for name in [
        "package.json",
        "package-lock.json",
        ".npmrc",
        "stage.mjs",
        "page.mjs",
        "report.mjs",
    ] {
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
