//! The real listeners of Azure Functions, as processes: `real-host`, whose sources lie in `tests/real-host/`.
//!
//! Polling, leases, retries, poison and blob triggers are Microsoft's WebJobs SDK and Storage extension; see
//! `tests/real-host/README.md` for what is not. The executable is found by `$REAL_HOST`, else as `real-host` on
//! the path.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use softlabel_doubles::azurite::Azurite;
//! use softlabel_doubles::real_host::{Options, RealHost};
//!
//! let account = Azurite::shared().await?.account()?;
//! let mut options = Options::new("target/app");
//! options.settings.insert("AzureWebJobsStorage".to_owned(), account.connection_string());
//! let host = RealHost::start(options).await?;
//! // … put blobs and messages into `account.storage()`, call `host.endpoint()` …
//! host.crash().await;
//! # Ok(())
//! # }
//! ```

mod process;
mod said;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::Mutex;

use process::Process;
use said::Said;

/// The variable that names the executable.
const EXECUTABLE: &str = "REAL_HOST";

/// How long a start may take. The host gives its worker 30 s, three times.
const START: Duration = Duration::from_secs(120);

/// How long the host takes to end when it is asked to: 10 s for what runs, and some.
const STOP: Duration = Duration::from_secs(15);

/// What an instance is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder with `host.json` and `<name>/function.json`, as a package has them at its root.
    pub root: PathBuf,
    /// The app's settings: the environment of host and worker. Nothing overrides `host.json` here.
    pub settings: BTreeMap<String, String>,
    /// The functions that this instance runs; all of them where it is empty.
    pub functions: Vec<String>,
    /// Prints what host and worker say to stderr.
    pub echo: bool,
}

impl Options {
    /// All functions, no settings.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            settings: BTreeMap::new(),
            functions: Vec::new(),
            echo: false,
        }
    }
}

/// A running instance. Dropping it kills host and worker, and so does the end of this process, however it
/// comes.
#[derive(Debug)]
pub struct RealHost {
    options: Options,
    endpoint: String,
    said: Arc<Said>,
    /// `None` once it is gone.
    process: Mutex<Option<Process>>,
}

/// The executable of the host.
///
/// # Errors
/// When neither `$REAL_HOST` nor the path has it.
pub fn executable() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(EXECUTABLE) {
        let named = PathBuf::from(named);
        if !named.is_file() {
            bail!("{EXECUTABLE} is {}, which is no file", named.display());
        }
        return Ok(std::path::absolute(named)?);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("real-host"));
    found.find(|file| file.is_file()).with_context(|| {
        format!(
            "there is no real-host: publish it as tests/real-host/README.md says, and put it on the path or \
             name it in {EXECUTABLE}"
        )
    })
}

impl RealHost {
    /// Starts host and worker, and waits until all listens.
    ///
    /// # Errors
    /// When there is no such executable, or it ends or does not listen in time; the error has its last lines.
    pub async fn start(options: Options) -> Result<Self> {
        let said = Arc::new(Said::default());
        let process = Process::start(&executable()?, &options, &said)?;
        let endpoint = said.endpoint(START).await?;
        Ok(Self {
            options,
            endpoint,
            said,
            process: Mutex::new(Some(process)),
        })
    }

    /// Where HTTP functions are called, as `http://127.0.0.1:PORT`, without a slash at the end. No key is asked for.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A setting of the app.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.options.settings.get(name).map(String::as_str)
    }

    /// Whether it runs that function.
    pub fn runs(&self, function: &str) -> bool {
        let functions = &self.options.functions;
        functions.is_empty() || functions.iter().any(|name| name == function)
    }

    /// The process id of the worker that was started last.
    pub fn worker_pid(&self) -> Option<u32> {
        self.said.worker()
    }

    /// What host and worker said so far, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.said.lines()
    }

    /// Why the host ended by itself, in its last words; `None` while it runs, and once it was stopped.
    pub async fn ended(&self) -> Option<String> {
        let runs = self.process.lock().await.is_none() || !self.said.is_over();
        (!runs).then(|| self.said.last_words())
    }

    /// Kills the worker (SIGKILL) and waits until the host has started another one.
    ///
    /// # Errors
    /// When the host starts none.
    pub async fn kill_worker(&self) -> Result<()> {
        let pid = self.worker_pid().context("there is no worker")?;
        process::kill(&pid.to_string()).await;
        self.said.other_worker(pid, START).await
    }

    /// Kills host and worker at once (SIGKILL), as when their machine is gone.
    pub async fn crash(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.kill().await;
        }
    }

    /// Kills the host alone (SIGKILL). The worker is left alone, as on a real machine.
    pub async fn kill_host_alone(&self) {
        if self.process.lock().await.is_some() {
            process::kill(&self.said.host().unwrap_or_default()).await;
        }
    }

    /// Asks the host to end (SIGTERM), waits for that, and kills what is left.
    pub async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process::terminate(&self.said.host().unwrap_or_default()).await;
            let _ = tokio::time::timeout(STOP, self.said.over()).await;
            process.kill().await;
        }
    }
}
