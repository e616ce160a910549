//! The functions of the app: what the Functions host calls, decoded, handed to a [step](crate::steps) and
//! answered through output bindings.
//!
//! ```text
//! bucket-uploaded   an event says that a blob was written
//! dataset-uploaded  a dataset's metadata.json was written, which is uploaded last
//! plan-bucket       cuts a run's file into chunks
//! label-chunk       labels one of them
//! abandon-chunk     gives one up that failed too often
//! publish-bucket    makes the labelled file of a run's parts
//! reconcile         now and then, repairs what got lost
//! relabel, runs     what people ask over HTTP
//! ```

mod app;
mod bindings;
mod bucket_uploaded;
mod dataset_uploaded;
mod http;
mod runs;
#[cfg(test)]
mod tests;

pub use app::{FunctionApp, over};

use crate::host::Failure;
use crate::host::invocation::InvocationError;
use crate::run::RunError;
use crate::store::{StoreError, sentence};

/// Why a function failed. The host hands the message over again.
#[derive(Debug, thiserror::Error)]
enum FunctionError {
    /// A step failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The host sent something else than expected.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    /// There is no such function.
    #[error("there is no function {0:?}")]
    Unknown(String),
    /// This process ends, and the work takes longer.
    #[error("this instance ends before the work is done; another one begins it again")]
    Stopping,
    /// A message that no function of this app sends.
    #[error("cannot parse the message in binding {binding:?}: {error}")]
    Message {
        /// The binding.
        binding: &'static str,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

impl From<StoreError> for FunctionError {
    fn from(error: StoreError) -> Self {
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
        Self::new(kind, sentence(&error))
    }
}
