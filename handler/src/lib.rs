//! softlabel labels chat datasets: per user turn a hard label, a soft label taken from the
//! model's token probabilities, and a rationale.
//!
//! The way of a turn: `dataset` finds it in RAW, `labeling` makes a prompt of it, `teacher` asks the
//! model, `labeling` makes a label of the answer, `run` records and publishes it. `store` reads and
//! writes the files, `money` counts dollars, `json` reads what others write.
//!
//! `steps` is the engine: what is done next, and by what rules. Two drivers deliver its messages:
//! `functions` for the Functions host, whose protocol is `host`, and `single_process` for one command.
//! `deployments` makes those who ask the model from settings (`config`), `cli` is what a person sees.

#![warn(missing_docs)]

pub mod cli;
pub mod clock;
pub mod compare;
pub mod config;
pub mod dataset;
pub mod deployments;
pub mod export;
pub mod functions;
pub mod host;
mod html;
pub mod identity;
pub mod json;
pub mod labeled;
pub mod labeling;
pub mod money;
pub mod page;
pub mod report;
pub mod run;
pub mod shown;
pub mod single_process;
pub mod steps;
pub mod store;
pub mod teacher;
pub mod text;
