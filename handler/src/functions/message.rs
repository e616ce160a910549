//! The messages between functions. They name a run and a chunk, no more.

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
}

impl RunMessage {
    pub(super) fn new(run: &str) -> Self {
        let run = run.to_owned();
        Self { run }
    }
}

impl ChunkMessage {
    pub(super) fn new(run: &str, chunk: u64) -> Self {
        let run = run.to_owned();
        Self { run, chunk }
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
