//! The process group of host and worker.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::process::{Child, ChildStdin, Command};

use super::Options;
use super::said::Said;

/// Runs its arguments, says which process that is, and kills its own group when its input ends: that is when this
/// process closes it, or is gone.
const LEASH: &str = "\"$@\" & echo \"leash: host $!\"; exec >&- 2>&-; read -r _; kill -KILL 0";

/// What of this process's environment the host needs. .NET unpacks itself below `HOME`.
const INHERITED: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// How often .NET runs a method before it compiles it once more, better, in hexadecimal digits. A host here lives
/// for a minute or two, and spends a quarter of its processor time on that by default.
const CALLS_BEFORE_OPTIMISING: (&str, &str) = ("DOTNET_TC_CallCountThreshold", "3000");

/// A group of processes: the leash, the host and its worker. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Process {
    leash: Child,
    /// What holds it.
    _held: ChildStdin,
    group: u32,
}

impl Process {
    pub(super) fn start(executable: &Path, options: &Options, said: &Arc<Said>) -> Result<Self> {
        let mut command = std::process::Command::new("/bin/sh");
        command
            .args(["-c", LEASH, "leash"])
            .arg(executable)
            .arg(&options.root)
            .args(options.functions.iter().flat_map(|name| ["--only", name]))
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .envs([CALLS_BEFORE_OPTIMISING])
            .envs(&options.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut leash = Command::from(command)
            .spawn()
            .with_context(|| format!("cannot run {}", executable.display()))?;
        let group = leash.id().context("the host has no process id")?;
        let held = leash.stdin.take().context("the host has no input")?;
        let stdout = leash.stdout.take().context("the host has no output")?;
        let stderr = leash.stderr.take().context("the host has no output")?;
        let (out, err) = (Arc::clone(said), Arc::clone(said));
        let echo = options.echo;
        tokio::spawn(async move {
            let errors = err.read(stderr, echo);
            tokio::join!(out.read(stdout, echo), errors);
            out.end();
        });
        Ok(Self {
            leash,
            _held: held,
            group,
        })
    }

    /// Kills all of it, and waits until that is done.
    pub(super) async fn kill(mut self) {
        kill(&format!("-{}", self.group)).await;
        let _ = self.leash.wait().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The leash has been waited for where it is gone, so that the id is its own.
        if matches!(self.leash.try_wait(), Ok(None)) {
            let group = format!("-{}", self.group);
            let _ = std::process::Command::new("kill")
                .args(["-KILL", "--", &group])
                .status();
        }
    }
}

/// Sends SIGKILL to a process or, with a `-` before it, a group.
pub(super) async fn kill(pid: &str) {
    signal("-KILL", pid).await;
}

/// Sends SIGTERM.
pub(super) async fn terminate(pid: &str) {
    signal("-TERM", pid).await;
}

async fn signal(signal: &str, pid: &str) {
    let mut command = Command::new("kill");
    let command = command.args([signal, "--", pid]).stderr(Stdio::null());
    let _ = command.status().await;
}
