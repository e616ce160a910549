//! The teacher: the Azure OpenAI deployment that is asked for labels.
//!
//! `wire` is what goes over the line, `profile` which parameters a model takes, `probe` how that is
//! settled before a run, `disposition` what each answer means, `gate` who may send, `pacing` when, and
//! `turnstile` in which order, `breaker` what happens in an outage, `ask` one question with its retries.
//!
//! Invariant: no message text and no secret is ever logged.

pub mod ask;
pub mod bill;
pub mod breaker;
pub mod credential;
pub mod disposition;
pub mod endpoint;
pub mod gate;
pub mod meter;
pub mod model;
pub mod pacing;
pub mod probe;
pub mod profile;
pub mod purse;
pub mod record;
pub mod sharing;
pub mod tariff;
pub mod tokens;
pub mod transport;
pub mod turnstile;
pub mod wire;

pub use ask::{AskError, Patience, Question, Reply, Teacher};
