//! The data contract: RAW in, LABELED out. Knows no network.

pub mod conversation;
pub mod scanner;
