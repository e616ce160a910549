//! The command that is killed and frozen, and the service it asks.

use anyhow::{Context, Result, bail, ensure};
use softlabel_doubles::azure_openai::{Config, Double, Faults, Latency, Limits};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A process that takes longer to its end hangs.
pub(crate) const HANG: Duration = Duration::from_secs(300);

/// A service on a bad day.
pub(crate) fn service(seed: u64) -> Result<Config> {
    let rates = r#"{"rates": {"500": 0.02, "503": 0.02, "408": 0.01, "reset": 0.03, "half_body": 0.01,
                    "no_usage": 0.02, "billed_504": 0.02}}"#;
    Ok(Config {
        seed,
        latency: Latency::LogNormal {
            median_ms: 60.0,
            sigma: 0.5,
        },
        faults: serde_json::from_str::<Faults>(rates)?,
        limits: Limits {
            rpm: Some(7200),
            ..Limits::default()
        },
        ..Config::default()
    })
}

/// `softlabel label`, in an environment of its own, silent.
pub(crate) fn label(input: &str, output: &str, double: &Double) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_softlabel"));
    command
        .env_clear()
        .args(["label", "--progress", "none", "--concurrency", "8"])
        .args(["--chunk-turns", "40", "--log", "error"])
        .args(["--input", input, "--output", output])
        .env("AZURE_OPENAI_ENDPOINT", double.endpoint())
        // More than the double takes, so that it refuses some.
        .env("SOFTLABEL_TPM", "4000000000")
        .env("SOFTLABEL_FIRST_BACKOFF", "50ms")
        .env("SOFTLABEL_ATTEMPTS", "8")
        .env("AZURE_OPENAI_API_KEY", "key")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Lets it say to a file what it has to say.
pub(crate) fn heard(mut command: Command, stderr: &Path) -> Result<Command> {
    command.stderr(File::create(stderr)?);
    Ok(command)
}

/// Its end, if it comes in this time.
pub(crate) async fn wait_at_most(child: &mut Child, time: Duration) -> Result<Option<ExitStatus>> {
    let until = Instant::now() + time;
    loop {
        if let Some(ended) = child.try_wait()? {
            return Ok(Some(ended));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs it to its end, which is to come in `time`, and gives its exit code and what it said.
pub(crate) async fn run(command: Command, stderr: &Path) -> Result<(Option<i32>, String)> {
    let mut child = Process(heard(command, stderr)?.spawn()?);
    child.end(HANG, stderr).await
}

/// A process that ends with this value, frozen or not.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its exit code and what it said, once it has ended, which is to be in `time`.
    pub(crate) async fn end(
        &mut self,
        time: Duration,
        stderr: &Path,
    ) -> Result<(Option<i32>, String)> {
        let ended = wait_at_most(&mut self.0, time).await?;
        let said = std::fs::read_to_string(stderr)?;
        match ended {
            Some(ended) => Ok((ended.code(), said)),
            None => bail!("softlabel hangs: {said}"),
        }
    }

    /// Sends it a signal, such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let kill = Command::new("kill")
            .args([name, &self.id().to_string()])
            .status()
            .context("there is no command kill")?;
        ensure!(kill.success(), "kill {name} ended with {kill}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also where a check failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
