//! What a label is: strategies, prompts, from token probabilities to a soft label, rationale. Pure:
//! it knows no network, no files and no clock, and randomness is handed in.

pub mod blank;
pub mod call;
pub mod cut;
pub mod label;
pub mod prompt;
pub mod rationale;
pub mod soft_label;
pub mod strategy;
pub mod task;
