//! The claim of one process on a run.

use super::Run;
use crate::run::RunError;
use crate::run::paths;
use crate::run::places::Places;
use crate::run::settings::Pinned;
use crate::run::work;
use crate::store::Lock;

/// A run belongs to the process that holds this.
#[derive(Debug)]
pub struct Claim {
    // Given back in this order, the reverse of taking them, which leaves no empty folder.
    output: Lock,
    work: Lock,
}

impl Claim {
    /// Gives the run back, so that the next process can have it at once.
    pub async fn release(self) {
        self.output.release().await;
        self.work.release().await;
    }
}

impl Run {
    /// Takes the run for this process, until what it gives is dropped.
    ///
    /// # Errors
    /// If another process has it, or had it since it was planned.
    pub async fn claim(&self) -> Result<Claim, RunError> {
        let Places { work, output, .. } = &self.places;
        let holder = format!(
            "process {} since {}",
            std::process::id(),
            self.options.clock.now()
        );
        let in_work = work.lock("lock", &holder).await?;
        // One output may be reached from two work folders.
        let in_output = output.lock(&self.places.output_lock(), &holder).await?;
        if !self.options.restart && work::read::<Pinned>(work, paths::RUN).await? != self.pinned {
            return Err(RunError::Overtaken {
                work: work.locate(""),
            });
        }
        Ok(Claim {
            output: in_output,
            work: in_work,
        })
    }
}
