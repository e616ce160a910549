//! The steps of labelling a dataset: what the function app and the command line both do.
//!
//! ```text
//! take_up         begins the run of a version of a bucket file
//! wish            whether a run must begin for what a request or an upload wishes
//! plan_bucket     cuts a run's file into chunks
//! label_chunk     labels one of them
//! abandon_chunk   gives up a chunk that failed too often
//! publish_bucket  makes the labelled file of a run's parts
//! reconcile       repairs what an event, a message or a process lost
//! relabel         begins runs over what is labelled already
//! report          writes the report of a dataset whose runs have ended
//! retention       removes the work of runs that ended long ago
//! ```
//!
//! A step is a function over one [`App`] (data, work, those who ask the model, clock, settings). It takes
//! a typed [`Message`] and gives messages back. The caller delivers them: the Functions host with its
//! queues, or [one process](crate::single_process) with a queue in memory.
//!
//! Invariant: every step may be called twice, late, in parallel, or be killed at any instant. What is
//! true stands in the work area; a message is only a hint.

pub mod abandon_chunk;
pub mod billed;
mod budget;
mod chunks_out;
mod data;
mod entering;
mod holder;
mod hourly;
pub mod label_chunk;
mod labeled_file;
mod labelers;
mod message;
pub mod metadata;
mod month;
mod orphans;
mod overlooked;
pub mod plan_bucket;
pub mod publish_bucket;
mod raw_version;
pub mod reconcile;
mod refusal;
pub mod relabel;
pub mod report;
pub mod retention;
pub mod status;
mod take_up;
pub mod tasks;
mod trouble;
pub(crate) mod wish;
mod world;

pub use data::{Data, Named};
pub use labelers::{Answers, Connect};
pub use message::{ChunkMessage, Message, RunMessage};
pub use refusal::{Refusal, RequestError};
pub use trouble::Trouble;
pub use world::{App, InTrouble, Settings};
