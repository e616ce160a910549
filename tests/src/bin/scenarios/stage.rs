//! What all scenarios share: the app, the cloud, the datasets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, Excuse, Latency, Loss, Record, repeats};
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::dataset::{self, Size};
use softlabel_doubles::faulty_line::FaultyLine;
use softlabel_doubles::functions_host::Scaling;
use softlabel_doubles::local_cloud::{Instance, LocalCloud, Options};
use softlabel_doubles::prompt::is_probe;
use softlabel_package::archive;
use softlabel_package::script_root::{Hosting, ScriptRoot};
use tempfile::TempDir;

use crate::checks;
use crate::report::Report;

/// US dollars that a dataset may cost in all: more than any scenario needs.
const CAP: f64 = 20.0;

/// US dollars for a million tokens of the prompt, and of the answer.
const PRICES: [f64; 2] = [1.75, 14.0];

/// Nothing that works takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Time between two looks: each reads something of every run.
const LOOK: Duration = Duration::from_secs(1);

/// A result may lie so long before it is kept.
const UNFLUSHED: Duration = Duration::from_secs(2);

/// The app as it is deployed.
#[derive(Debug)]
pub(crate) struct App {
    repository: PathBuf,
    executable: PathBuf,
    local: ScriptRoot,
    flex: ScriptRoot,
    /// Holds the executable of the packages.
    _unpacked: Option<TempDir>,
}

impl App {
    /// The packages that `cargo xtask zip` made.
    pub(crate) fn of_packages(repository: &Path, folder: &Path) -> Result<Self> {
        let read = |name: &str, hosting| {
            let zip = folder.join(name);
            let read = archive::read(&zip, hosting);
            read.with_context(|| {
                format!(
                    "{} cannot be run: make it with `cargo xtask zip`",
                    zip.display()
                )
            })
        };
        let (local, executable) = read("softlabel-local.zip", Hosting::Local)?;
        let (flex, same) = read("softlabel-flex.zip", Hosting::Flex)?;
        ensure!(
            executable == same,
            "the two packages are of different builds"
        );
        let unpacked = tempfile::tempdir()?;
        let path = unpacked.path().join(local.executable());
        fs::write(&path, executable)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode)?;
        Ok(Self {
            repository: repository.to_owned(),
            executable: path,
            local,
            flex,
            _unpacked: Some(unpacked),
        })
    }

    /// An executable, laid out as a package has it.
    pub(crate) fn of_executable(repository: &Path, executable: PathBuf) -> Result<Self> {
        Ok(Self {
            repository: repository.to_owned(),
            executable,
            local: ScriptRoot::read(repository, Hosting::Local)?,
            flex: ScriptRoot::read(repository, Hosting::Flex)?,
            _unpacked: None,
        })
    }

    /// The function groups, as they scale apart: all HTTP functions, all blob triggers, and each other function.
    pub(crate) fn groups(&self) -> Result<Vec<Vec<String>>> {
        let (mut http, mut others) = (Vec::new(), Vec::new());
        for function in self.flex.functions() {
            match function.trigger()?.kind.as_str() {
                "httpTrigger" => http.push(function.name.clone()),
                _ => others.push(vec![function.name.clone()]),
            }
        }
        others.insert(0, http);
        Ok(others)
    }
}

/// What scenarios are given.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) app: App,
    pub(crate) echo: bool,
    /// Waits for what takes ten minutes.
    pub(crate) long: bool,
}

impl Stage {
    /// The app as it is deployed, with the real times of the host, and a service that takes its time.
    pub(crate) fn options(&self, hosting: Hosting) -> Options {
        let root = match hosting {
            Hosting::Local => &self.app.local,
            Hosting::Flex => &self.app.flex,
        };
        Options {
            script_root: Some(root.clone()),
            hosting,
            host_json: json!({}),
            service: Config {
                keep_bodies: true,
                prompt_cache: false,
                latency: Latency::Fixed { ms: 100.0 },
                ..Config::default()
            },
            scaling: Scaling {
                cold_start: Duration::from_secs(3),
                look: Duration::from_secs(1),
                ..Scaling::default()
            },
            looks: Duration::from_millis(500),
            reconcile_every: None,
            message_lease: Duration::from_secs(600),
            echo: self.echo,
            ..Options::new(&self.app.repository, &self.app.executable)
        }
        .setting("SOFTLABEL_PRICE_INPUT", PRICES[0].to_string())
        .setting("SOFTLABEL_PRICE_OUTPUT", PRICES[1].to_string())
        .setting("SOFTLABEL_MAX_COST", CAP.to_string())
    }
}

/// Starts the cloud of a scenario.
pub(crate) async fn cloud<H: Instance>(options: Options) -> Result<LocalCloud<H>> {
    let account = Azurite::shared().await?.account()?;
    LocalCloud::with(account, options).await
}

/// A bucket file of RAW.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// `<dataset>/<split>/<bucket>.json`.
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

impl Bucket {
    /// A file of so many conversations, of eight turns on average.
    pub(crate) fn generated(path: &str, seed: u64, conversations: u64) -> Result<Self> {
        let options = dataset::Options {
            seed,
            size: Size::Conversations(conversations),
            ..dataset::Options::default()
        };
        let mut content = Vec::new();
        dataset::write(&options, &mut content)?;
        let path = path.to_owned();
        Ok(Self { path, content })
    }

    /// Uploads it.
    pub(crate) async fn upload<H: Instance>(&self, cloud: &LocalCloud<H>) -> Result<()> {
        let path = cloud.path(&self.path);
        cloud.data().put(&path, self.content.clone()).await?;
        Ok(())
    }
}

/// Writes the file that the exporter writes last, and once more in a later second. A host that scans takes what is
/// later than all that its last scan saw, in whole seconds: a blob of the second in which it scanned may never be seen
/// (`LastSweepCycleLatestModified` in `ScanBlobScanLogHybridPollingStrategy` of Microsoft's Storage extension).
pub(crate) async fn mark<H: Instance>(cloud: &LocalCloud<H>, dataset: &str) -> Result<()> {
    let path = cloud.path(&format!("{dataset}/metadata.json"));
    for _ in 0..2 {
        later().await;
        let marker = json!({ "actual_counts": {} }).to_string();
        cloud.data().put(&path, marker).await?;
    }
    Ok(())
}

/// Waits for another second of storage's clock.
pub(crate) async fn later() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

/// The metadata of a labelled dataset, `null` where there is none.
pub(crate) async fn metadata<H: Instance>(cloud: &LocalCloud<H>, dataset: &str) -> Result<Value> {
    let path = cloud.path(&format!("LABELED_{dataset}/labeling_metadata.json"));
    let blob = cloud.data().get(&path).await?;
    let metadata = blob.map(|blob| serde_json::from_slice(&blob.content));
    Ok(metadata.transpose()?.unwrap_or_default())
}

/// Waits until `holds`, with pauses that cost the app little.
pub(crate) async fn until(
    patience: Duration,
    what: &str,
    mut holds: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    softlabel_doubles::until(patience, what, async || {
        let held = holds().await?;
        if !held {
            tokio::time::sleep(LOOK).await;
        }
        Ok(held)
    })
    .await
}

/// Waits until so many runs are there and all are at their end; says how long that took since `began`.
pub(crate) async fn ended<H: Instance>(
    cloud: &LocalCloud<H>,
    runs: usize,
    began: Instant,
    patience: Duration,
) -> Result<Duration> {
    let mut seen = Vec::new();
    let over = async || {
        // An instance that was just killed answers a little later.
        if let Ok(runs) = cloud.runs().await {
            seen = runs;
        }
        let open = |run: &Value| run.pointer("/links/cancel").is_some();
        Ok(seen.len() >= runs && !seen.iter().any(open))
    };
    let waited = until(patience, "all runs are at their end", over).await;
    waited.with_context(|| format!("the runs are {}", json!(seen)))?;
    Ok(began.elapsed())
}

/// What a scenario leaves behind.
#[derive(Debug)]
pub(crate) struct Ending<H: Instance> {
    cloud: LocalCloud<H>,
    buckets: Vec<Bucket>,
    times: usize,
    lost: Vec<Loss>,
    line: Option<FaultyLine>,
}

impl<H: Instance> Ending<H> {
    /// A cloud with these bucket files, whose labels were asked for once.
    pub(crate) fn new(cloud: LocalCloud<H>, buckets: Vec<Bucket>) -> Self {
        Self {
            cloud,
            buckets,
            times: 1,
            lost: Vec::new(),
            line: None,
        }
    }

    /// Labels of a turn were asked for so often, each time in another way.
    pub(crate) fn asked(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Answers may have been lost.
    pub(crate) fn lost(self, lost: Vec<Loss>) -> Self {
        Self { lost, ..self }
    }

    /// The app reaches blobs over this line.
    pub(crate) fn behind(self, line: FaultyLine) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }

    /// Adds what must hold in the end of every scenario: each turn is labelled once, at its place, as the service
    /// taught it; nothing was bought twice but what was lost; what was billed is counted, and within the caps.
    pub(crate) async fn check(self, report: &mut Report) {
        let labels = checks::labels(&self.cloud, &self.buckets).await;
        if let Some(turns) = report.expect("every turn has its label", labels) {
            report.figure(format!("{turns} turns labelled once"));
        }
        let twice = asked_twice(&self.cloud, self.times, &self.lost);
        if let Some(twice) = report.expect("nothing is bought twice", twice) {
            report.figure(twice);
        }
        let spent = checks::spent(&self.cloud, PRICES).await;
        if let Some(billed) = report.expect("what was spent is within the caps", spent) {
            report.figure(format!("{billed:.2} US dollars"));
        }
        self.cloud.stop().await;
        drop(self.line);
    }
}

/// How many calls were made beyond those that are allowed for a question. An error where one was for which nothing can
/// have `lost` the answer.
pub(crate) fn asked_twice<H: Instance>(
    cloud: &LocalCloud<H>,
    times: usize,
    lost: &[Loss],
) -> Result<String> {
    let excuse = Excuse {
        losses: lost,
        unflushed: UNFLUSHED,
    };
    let most = |call: &Record| match is_probe(call) {
        true => usize::MAX,
        false => times,
    };
    let repeats = repeats(&cloud.service().log(), excuse, most)?;
    Ok(format!(
        "{} of {} calls made twice",
        repeats.repeated, repeats.answered
    ))
}
