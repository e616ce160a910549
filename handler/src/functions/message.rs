//! The messages between functions. They name a run and a chunk, and whether that failed too often before.

use super::FunctionError;
use crate::host::Invocation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Wakes `plan-bucket` or `publish-bucket`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunMessage {
    /// The run.
    pub(super) run: String,
}

/// Wakes `label-chunk` or `abandon-chunk`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkMessage {
    /// The run.
    pub(super) run: String,
    /// Which of its chunks.
    pub(super) chunk: u64,
    /// It failed too often before, and gets further tries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) again: bool,
}

impl RunMessage {
    pub(super) fn new(run: &str) -> Self {
        let run = run.to_owned();
        Self { run }
    }
}

impl ChunkMessage {
    pub(super) fn new(run: &str, chunk: u64) -> Self {
        Self {
            run: run.to_owned(),
            chunk,
            again: false,
        }
    }
}

/// The message in a binding.
pub(super) fn message<M: DeserializeOwned>(
    invocation: &Invocation,
    binding: &'static str,
) -> Result<M, FunctionError> {
    let message = invocation.message(binding)?;
    serde_json::from_value(message).map_err(|error| FunctionError::Message { binding, error })
}
