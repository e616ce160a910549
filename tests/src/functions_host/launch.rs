//! How the worker's process is started.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::app::App;
use super::settings::Settings;

/// What of this process's environment a worker needs to run at all, and what coverage writes with.
const INHERITED: [&str; 3] = ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"];

/// The executable with its arguments and its environment.
#[derive(Debug)]
pub(super) struct Launch {
    app: PathBuf,
    root: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Launch {
    pub(super) fn new(app: &App, settings: &Settings) -> Self {
        let inherited = INHERITED.iter().filter_map(|name| {
            let value = std::env::var(name).ok()?;
            Some(((*name).to_owned(), value))
        });
        let settings = settings
            .all()
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        // By which the platform tells instances apart.
        let instance = ("WEBSITE_INSTANCE_ID".to_owned(), Uuid::new_v4().to_string());
        Self {
            app: app.executable.clone(),
            root: app.root.clone(),
            arguments: app.arguments.clone(),
            environment: inherited.chain([instance]).chain(settings).collect(),
        }
    }

    /// Starts the executable, which is to listen on that port.
    pub(super) fn spawn(&self, port: u16) -> Result<Child> {
        let (port, id) = (port.to_string(), Uuid::new_v4().to_string());
        let mut command = Command::new(&self.app);
        command
            .args(&self.arguments)
            .current_dir(&self.root)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", &port)
            .env("FUNCTIONS_HTTPWORKER_PORT", &port)
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &id)
            .env("FUNCTIONS_HTTPWORKER_ID", &id)
            .env("FUNCTIONS_APP_ROOT_PATH", &self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
            .spawn()
            .with_context(|| format!("cannot run {}", self.app.display()))
    }
}

/// A port that nobody listens on at this moment.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener
        .local_addr()
        .context("the port has no address")?
        .port())
}
