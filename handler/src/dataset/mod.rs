//! The data contract: RAW in, LABELED out.
//!
//! Everything here is a function over bytes and values. It knows no network and opens no file.

pub mod conversation;
pub mod details;
pub mod figures;
pub mod histogram;
pub mod layout;
pub mod line;
pub mod metadata;
pub mod packed;
pub mod pilot;
pub mod scanner;
pub mod seal;
