//! The messages that pass from step to step. They name a run and a chunk, and nothing else that is true:
//! what is true stands in the work area.

use serde::{Deserialize, Serialize};

/// One message, with the step that it wakes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Message {
    /// Wakes `plan_bucket`.
    Plan(RunMessage),
    /// Wakes `label_chunk`.
    Label(ChunkMessage),
    /// Wakes `abandon_chunk`.
    Abandon(ChunkMessage),
    /// Wakes `publish_bucket`.
    Publish(RunMessage),
}

/// Names a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMessage {
    /// The run.
    pub run: String,
}

/// Names a chunk of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMessage {
    /// The run.
    pub run: String,
    /// The number of the chunk in the run's manifest.
    pub chunk: u64,
    /// The chunk failed too often before, and gets further tries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

impl Message {
    /// Has `run` planned, or planned again.
    pub fn plan(run: &str) -> Self {
        Self::Plan(RunMessage { run: run.into() })
    }

    /// Has a chunk of `run` labelled.
    pub fn label(run: &str, chunk: u64) -> Self {
        Self::Label(ChunkMessage::new(run, chunk))
    }

    /// Has a chunk of `run` given up.
    pub fn abandon(run: &str, chunk: u64) -> Self {
        Self::Abandon(ChunkMessage::new(run, chunk))
    }

    /// Has `run` published.
    pub fn publish(run: &str) -> Self {
        Self::Publish(RunMessage { run: run.into() })
    }

    /// Whether both ask for the same, be it for further tries.
    pub(super) fn asks_for_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Label(one), Self::Label(other)) => {
                (&one.run, one.chunk) == (&other.run, other.chunk)
            }
            (one, other) => one == other,
        }
    }
}

impl ChunkMessage {
    /// The first message about a chunk.
    pub fn new(run: &str, chunk: u64) -> Self {
        Self {
            run: run.to_owned(),
            chunk,
            again: false,
        }
    }
}
