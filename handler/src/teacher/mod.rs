//! The teacher: the deployment that is asked for labels.
//!
//! `wire` is what goes over the line, `body` its bytes, `profile` which parameters a model takes, and `probe` how
//! that is settled before a run. `disposition` says what each answer means, `stop` which of them end a run,
//! `service_error` what an error says, and `bill` what it may have cost. `ask` takes a question, `call` is
//! one on its way. `admission` decides who may send, by money, slots, the `pace` of the deployment and the
//! `breaker`; `refusals` separates what concerns one message from what concerns all.
//!
//! Invariant: no message text and no secret is ever logged.

pub mod admission;
pub mod ask;
pub mod bill;
pub mod body;
pub mod breaker;
mod call;
pub mod credential;
pub mod disposition;
pub mod endpoint;
pub mod meter;
pub mod model;
pub mod pace;
pub mod pacing;
pub mod probe;
pub mod profile;
pub mod purse;
pub mod refusals;
pub mod service_error;
pub mod sharing;
pub mod stop;
pub mod tariff;
pub mod tokens;
pub mod transport;
pub mod wire;

pub use ask::{AskError, Kind, Patience, Question, Reply, Teacher};
