//! softlabel labels chat datasets: per user turn a hard label, a soft label taken from the
//! model's token probabilities, and a rationale.
//!
//! The way of a turn: `dataset` finds it in RAW, `labeling` makes a prompt of it, `teacher` asks the
//! model, `labeling` makes a label of the answer, `run` records and publishes it. `store` reads and
//! writes the files, `money` counts dollars, `cli` is what a person sees.

pub mod cli;
pub mod clock;
pub mod config;
pub mod dataset;
pub mod functions;
pub mod host;
pub mod identity;
pub mod labeling;
pub mod money;
pub mod run;
pub mod store;
pub mod teacher;
