//! What stands in for Azure in tests and in the demo: real servers on loopback.

pub mod azure_openai;
pub mod azurite;
pub mod dataset;
mod epoch;
pub mod faulty_line;
pub mod key_vault;
mod line;
mod loopback;
pub mod managed_identity;
pub mod storage;
