//! What runs the app: the double of the host, its function groups, or the real listeners.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::Options;
use crate::functions_host::{self, Groups, Host};
#[cfg(unix)]
use crate::real_host::{self, RealHost};

/// How an instance is started.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The folder with the app as it is deployed.
    pub root: PathBuf,
    /// The app's settings.
    pub settings: BTreeMap<String, String>,
    /// The functions that it runs; all of them where it is empty.
    pub functions: Vec<String>,
    /// How the cloud is made up.
    pub options: &'a Options,
}

/// An instance of the app: a host with its worker, or what stands for several of them.
pub trait Instance: Debug + Send + Sync + Sized + 'static {
    /// What it is called in reports.
    const NAME: &str;

    /// Starts it, and waits until it listens.
    fn start(setup: Setup<'_>) -> impl Future<Output = Result<Self>> + Send;

    /// Where HTTP functions are called, as `http://127.0.0.1:PORT`, without a slash at the end.
    fn endpoint(&self) -> &str;

    /// The key that opens functions with the level `function`; empty where none is asked for.
    fn function_key(&self) -> &str;

    /// A setting of the app.
    fn setting(&self, name: &str) -> Option<&str>;

    /// Whether it runs that function.
    fn runs(&self, function: &str) -> bool;

    /// What worker and host said so far, a line each.
    fn lines(&self) -> Vec<String>;

    /// Kills the worker (SIGKILL). The host starts another one.
    fn kill_worker(&self) -> impl Future<Output = Result<()>> + Send;

    /// Host and worker are gone from one moment to the next (SIGKILL).
    fn crash(&self) -> impl Future<Output = ()> + Send;

    /// Begins nothing new, waits some time for what runs, and ends.
    fn stop(&self) -> impl Future<Output = ()> + Send;
}

impl Setup<'_> {
    fn double(self) -> functions_host::Options {
        let options = self.options;
        let mut host = functions_host::Options {
            functions: self.functions,
            lease: options.message_lease,
            singleton_lease: Duration::from_secs(2),
            blob_polling: options.looks * 4,
            // Kills are not the app's fault here.
            exit_window: Duration::ZERO,
            chaos: options.chaos.clone(),
            echo: options.echo,
            settings: self.settings,
            ..functions_host::Options::new(self.root)
        };
        if let Some(period) = options.reconcile_every {
            host.timer_periods.insert("reconcile".to_owned(), period);
        }
        host
    }
}

fn texts(lines: Vec<functions_host::Line>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}

impl Instance for Host {
    const NAME: &str = "double";

    async fn start(setup: Setup<'_>) -> Result<Self> {
        Self::start(setup.double()).await
    }

    fn endpoint(&self) -> &str {
        self.endpoint()
    }

    fn function_key(&self) -> &str {
        self.function_key()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.setting(name)
    }

    fn runs(&self, function: &str) -> bool {
        self.functions().any(|name| name == function)
    }

    fn lines(&self) -> Vec<String> {
        texts(self.lines())
    }

    async fn kill_worker(&self) -> Result<()> {
        self.kill_worker().await;
        Ok(())
    }

    async fn crash(&self) {
        self.crash().await;
    }

    async fn stop(&self) {
        self.stop().await;
    }
}

impl Instance for Groups {
    const NAME: &str = "double in groups";

    async fn start(setup: Setup<'_>) -> Result<Self> {
        let scaling = setup.options.scaling;
        Self::start(setup.double(), scaling).await
    }

    fn endpoint(&self) -> &str {
        self.endpoint()
    }

    fn function_key(&self) -> &str {
        self.function_key()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.setting(name)
    }

    fn runs(&self, _: &str) -> bool {
        true
    }

    fn lines(&self) -> Vec<String> {
        let hosts = self.hosts().into_iter();
        hosts.flat_map(|host| texts(host.lines())).collect()
    }

    async fn kill_worker(&self) -> Result<()> {
        for host in self.hosts() {
            host.kill_worker().await;
        }
        Ok(())
    }

    async fn crash(&self) {
        self.crash().await;
    }

    async fn stop(&self) {
        self.stop().await;
    }
}

#[cfg(unix)]
impl Instance for RealHost {
    const NAME: &str = "real host";

    async fn start(setup: Setup<'_>) -> Result<Self> {
        Self::start(real_host::Options {
            root: setup.root,
            settings: setup.settings,
            functions: setup.functions,
            echo: setup.options.echo,
        })
        .await
    }

    fn endpoint(&self) -> &str {
        self.endpoint()
    }

    fn function_key(&self) -> &str {
        ""
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.setting(name)
    }

    fn runs(&self, function: &str) -> bool {
        self.runs(function)
    }

    fn lines(&self) -> Vec<String> {
        self.lines()
    }

    async fn kill_worker(&self) -> Result<()> {
        self.kill_worker().await
    }

    async fn crash(&self) {
        self.crash().await;
    }

    async fn stop(&self) {
        self.stop().await;
    }
}
