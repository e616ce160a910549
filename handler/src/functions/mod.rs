//! The functions of the app, one a file: what each invocation asks for, in steps of `run`.
//!
//! ```text
//! bucket-uploaded   an event says that a blob was written
//! dataset-uploaded  a dataset's metadata.json was written, which is uploaded last
//! plan-bucket       cuts a run's file into chunks
//! label-chunk       labels one of them
//! abandon-chunk     gives one up that failed too often
//! publish-bucket    makes the labelled file of a run's parts
//! reconcile         now and then, sets right what got lost
//! relabel, runs     what people ask over HTTP
//! ```
//!
//! Invariant: every function may be called twice, late, in parallel, or be killed at any instant. What
//! is true stands in blobs; a message only wakes somebody up, and names a run and a chunk, no more.

mod abandon_chunk;
mod app;
mod bucket_uploaded;
mod budget;
mod data;
mod dataset_uploaded;
mod label_chunk;
mod labelers;
mod message;
mod metadata;
mod overlooked;
mod plan_bucket;
mod publish_bucket;
mod reconcile;
mod relabel;
mod retention;
mod runs;
mod status;
mod take_up;
#[cfg(test)]
mod tests;

pub use app::{App, Settings};
pub use data::Data;
pub use labelers::Connect;

use crate::host::invocation::InvocationError;
use crate::host::{Answer, Failure, Functions, Invocation};
use crate::run::RunError;
use async_trait::async_trait;
use std::time::Duration;

/// A process that is to end gives so long to whatever can be begun again at no cost: a scan of a large
/// file, a draft.
const TO_FINISH: Duration = Duration::from_secs(5);

/// Why a function failed. The host hands the message over again.
#[derive(Debug, thiserror::Error)]
enum FunctionError {
    /// A step of the run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The host sent something else than expected.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    /// There is no such function.
    #[error("there is no function {0:?}")]
    Unknown(String),
    /// This process ends, and what it was asked for takes longer.
    #[error("this instance ends before the work is done; another one begins it again")]
    Stopping,
    /// A message that is none of ours.
    #[error("the message in {binding:?} is none of this app's: {error}")]
    Message {
        /// The binding.
        binding: &'static str,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

impl From<crate::store::StoreError> for FunctionError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Run(error.into())
    }
}

impl From<FunctionError> for Failure {
    fn from(error: FunctionError) -> Self {
        let kind = match &error {
            FunctionError::Unknown(_) => "UnknownFunction",
            FunctionError::Stopping => "Stopping",
            FunctionError::Run(_) => "Run",
            FunctionError::Invocation(_) => "Invocation",
            FunctionError::Message { .. } => "Message",
        };
        Self::new(kind, crate::cli::sentence(&error.into()))
    }
}

#[async_trait]
impl Functions for App {
    fn names(&self) -> &'static [&'static str] {
        &[
            "bucket-uploaded",
            "dataset-uploaded",
            "plan-bucket",
            "label-chunk",
            "abandon-chunk",
            "publish-bucket",
            "reconcile",
            "relabel",
            "runs",
        ]
    }

    async fn invoke(&self, invocation: Invocation) -> Result<Answer, Failure> {
        // It stops by itself: what is in flight is paid for, and is recorded.
        if invocation.function == "label-chunk" {
            return Ok(label_chunk::run(self, &invocation).await?);
        }
        let work = async {
            match invocation.function.as_str() {
                "bucket-uploaded" => bucket_uploaded::run(self, &invocation).await,
                "dataset-uploaded" => dataset_uploaded::run(self, &invocation).await,
                "plan-bucket" => plan_bucket::run(self, &invocation).await,
                "abandon-chunk" => abandon_chunk::run(self, &invocation).await,
                "publish-bucket" => publish_bucket::run(self, &invocation).await,
                "reconcile" => reconcile::run(self).await,
                "relabel" => relabel::run(self, &invocation).await,
                "runs" => runs::run(self, &invocation).await,
                other => Err(FunctionError::Unknown(other.to_owned())),
            }
        };
        let too_long = async {
            self.stop.cancelled().await;
            tokio::time::sleep(TO_FINISH).await;
        };
        tokio::select! {
            answer = work => Ok(answer?),
            () = too_long => Err(FunctionError::Stopping.into()),
        }
    }
}
