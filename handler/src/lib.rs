//! softlabel labels chat datasets: per user turn a hard label, a soft label taken from the
//! model's token probabilities, and a rationale.

pub mod dataset;
pub mod labeling;
pub mod teacher;
