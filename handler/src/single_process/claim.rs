//! Who may work on the runs of a command: one process at a time.

use crate::clock::Clock;
use crate::steps::Named;
use crate::store::{Lock, OwnFolder, StoreError};

/// The work folder and the output belong to the process that holds this.
#[derive(Debug)]
pub struct Claim {
    // Given back in this order, the reverse of taking them, which leaves no empty folder.
    output: Lock,
    work: Lock,
}

impl Claim {
    /// Takes work folder and output for this process. One output may be reached from two work folders.
    ///
    /// # Errors
    /// [`StoreError::Held`] if another process has one of them.
    pub async fn take(named: &Named, work: &OwnFolder, clock: Clock) -> Result<Self, StoreError> {
        let holder = format!("process {} since {}", std::process::id(), clock.now());
        let in_work = work.lock("lock", &holder).await?;
        let name = named.lone_output.as_deref().unwrap_or_default();
        let lock = format!(".{name}.softlabel-lock");
        let output = named.output.lock(&lock, &holder).await?;
        Ok(Self {
            output,
            work: in_work,
        })
    }

    /// `folder`, in which nothing is replaced or removed once another process took over.
    #[must_use]
    pub fn only_ours(&self, folder: &OwnFolder) -> OwnFolder {
        folder.held_by(&[&self.work, &self.output])
    }

    /// Makes sure that no other process took over.
    ///
    /// # Errors
    /// [`StoreError::Held`] if one did, or if that is unknown.
    pub async fn prove(&self) -> Result<(), StoreError> {
        self.work.prove().await?;
        self.output.prove().await
    }

    /// Ends, with [`StoreError::Held`], when it is known that another process took over: after this one
    /// was frozen, or cut off from storage, for longer than its leases last.
    pub async fn lost(&self) -> StoreError {
        tokio::select! {
            lost = self.output.lost() => lost,
            lost = self.work.lost() => lost,
        }
    }

    /// Gives both back, so that the next process can have them at once.
    pub async fn release(self) {
        self.output.release().await;
        self.work.release().await;
    }
}
