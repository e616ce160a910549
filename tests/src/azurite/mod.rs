//! Blob and queue storage on this machine: Azurite, Microsoft's emulator, started by whoever needs it.
//!
//! **Azurite is an emulator**, not the service: it knows no throughput limits, no replication, no network, and
//! implements less than the service does. What it is asked through is Azure's REST API, so a client cannot tell.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use softlabel_doubles::azurite::Azurite;
//!
//! let account = Azurite::shared().await?.account()?;
//! let raw = account.storage().container("raw");
//! raw.create().await?;
//! raw.put("dataset/metadata.json", "{}").await?;
//! // … let something use `account.connection_string()` …
//! # Ok(())
//! # }
//! ```
//!
//! Version and Node runtime are pinned by the lock file in `tests/azurite/`; they are installed with npm under
//! `target/azurite/` by the first process that needs them, while others wait. A changed lock file installs anew.
//!
//! An Azurite has many accounts, so that tests that share one never see each other's containers and queues:
//! [`Azurite::account`] hands out one after the other.

mod account;
mod install;
mod process;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use tokio::sync::OnceCell;

pub use account::Account;

use process::Process;

/// As many as fit into one environment variable with room to spare.
const ACCOUNTS: usize = 500;

/// Where what is stored is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Persistence {
    /// In Azurite's memory, which may take half of the machine's.
    #[default]
    Memory,
    /// In a folder, which is made if need be and stays.
    Folder(PathBuf),
}

/// A running Azurite. Dropping it kills it, and so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Azurite {
    process: Process,
    handed_out: AtomicUsize,
}

impl Azurite {
    /// Installs Azurite if that has not been done yet, and starts it on free ports.
    ///
    /// # Errors
    /// When Node's npm is missing, the installation fails, or Azurite does not start.
    pub async fn start(persistence: Persistence) -> Result<Self> {
        let start = move || {
            let installed = install::ensure()?;
            Process::start(&installed, &persistence, &account::list(ACCOUNTS))
        };
        let process = tokio::task::spawn_blocking(start)
            .await
            .context("starting Azurite was cut short")??;
        Ok(Self {
            process,
            handed_out: AtomicUsize::new(0),
        })
    }

    /// The one Azurite of this process, in memory. It is started when it is first asked for.
    ///
    /// # Errors
    /// As [`Azurite::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Azurite> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::start(Persistence::Memory))
            .await
    }

    /// Lets it write what it keeps in a folder, and stops it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(self) -> Result<()> {
        let stop = move || self.process.stop();
        let stopped = tokio::task::spawn_blocking(stop).await;
        stopped.context("stopping Azurite was cut short")?
    }

    /// An account that nobody has been given before, and that is empty if the store was.
    ///
    /// # Errors
    /// When all 500 have been handed out.
    pub fn account(&self) -> Result<Account> {
        let index = self.handed_out.fetch_add(1, Ordering::Relaxed);
        if index >= ACCOUNTS {
            bail!("all {ACCOUNTS} accounts of this Azurite are handed out: start another one");
        }
        Ok(self.account_at(index))
    }

    /// The account that everybody knows, `devstoreaccount1`. It is never handed out by
    /// [`Azurite::account`].
    pub fn well_known_account(&self) -> Account {
        Account::new(account::WELL_KNOWN.to_owned(), self.process.endpoints())
    }

    fn account_at(&self, index: usize) -> Account {
        Account::new(account::name(index), self.process.endpoints())
    }

    /// Where blobs are served, as `http://127.0.0.1:PORT`; an account's are below `/ACCOUNT`.
    pub fn blob_endpoint(&self) -> &str {
        &self.process.endpoints().blob
    }

    /// Where queues are served, as `http://127.0.0.1:PORT`; an account's are below `/ACCOUNT`.
    pub fn queue_endpoint(&self) -> &str {
        &self.process.endpoints().queue
    }
}
