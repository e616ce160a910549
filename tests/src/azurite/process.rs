//! Azurite as a process of its own.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Persistence;
use super::install::Installed;

/// Far more than it takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Seconds until an idle connection is closed. Five by default, and who then sends a request at that very
/// moment gets no answer, which the service's own connections hardly ever do.
const KEEP_ALIVE: &str = "900";

#[derive(Debug)]
pub(super) struct Process {
    // Its stdin stays open in here; see `leash.cjs`.
    child: Child,
    endpoints: Endpoints,
}

/// Where an Azurite listens, as `http://127.0.0.1:PORT`.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints {
    pub(super) blob: String,
    pub(super) queue: String,
    pub(super) table: String,
}

impl Process {
    pub(super) fn start(
        installed: &Installed,
        persistence: &Persistence,
        accounts: &str,
    ) -> Result<Self> {
        let mut command = Command::new(&installed.node);
        command
            .arg("--require")
            .arg(installed.leash())
            .arg(installed.script())
            .args(["--silent", "--disableTelemetry", "--disableProductStyleUrl"])
            .args(["--blobPort", "0", "--queuePort", "0", "--tablePort", "0"])
            .args(["--blobKeepAliveTimeout", KEEP_ALIVE])
            .args(["--queueKeepAliveTimeout", KEEP_ALIVE]);
        match persistence {
            Persistence::Memory => command.arg("--inMemoryPersistence"),
            Persistence::Folder(folder) => command.arg("--location").arg(folder),
        };
        let mut child = command
            .current_dir(&installed.folder)
            .env("AZURITE_ACCOUNTS", accounts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", installed.node.display()))?;
        let stdout = child.stdout.take().context("Azurite has no stdout")?;
        let stderr = child.stderr.take().context("Azurite has no stderr")?;
        // From here on a failure drops, and so kills, the child.
        let mut process = Self {
            child,
            endpoints: Endpoints::default(),
        };
        process.listen(stdout, stderr)?;
        Ok(process)
    }

    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Ends it by its leash and waits for that. It has written what it keeps then.
    pub(super) fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().context("Azurite does not end")?;
        Ok(())
    }

    /// Waits until it says where it listens.
    fn listen(&mut self, stdout: ChildStdout, stderr: ChildStderr) -> Result<()> {
        let (sender, said) = mpsc::channel();
        let also = sender.clone();
        std::thread::spawn(move || forward(stdout, &sender));
        std::thread::spawn(move || forward(stderr, &also));
        let deadline = Instant::now() + PATIENCE;
        let mut words = String::new();
        while !self.endpoints.are_known() {
            match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.endpoints.note(&line);
                    words.push('\n');
                    words.push_str(&line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = PATIENCE.as_secs();
                    bail!("Azurite does not listen after {seconds} s; it said:{words}");
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("Azurite ended before it listened; it said:{words}");
                }
            }
        }
        Ok(())
    }
}

impl Endpoints {
    fn are_known(&self) -> bool {
        ![&self.blob, &self.queue, &self.table]
            .iter()
            .any(|endpoint| endpoint.is_empty())
    }

    /// Takes an endpoint from a line that Azurite says.
    fn note(&mut self, line: &str) {
        for (service, endpoint) in [
            ("Blob", &mut self.blob),
            ("Queue", &mut self.queue),
            ("Table", &mut self.table),
        ] {
            let said = format!("Azurite {service} service is successfully listening at ");
            if let Some(address) = line.strip_prefix(&said) {
                *endpoint = address.trim().to_owned();
            }
        }
    }
}

/// Reads until the end, whether anybody listens or not: a full pipe would stop Azurite.
fn forward(output: impl Read, listener: &Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let _ = listener.send(line);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
