//! What stands in for Azure in tests and in the demo: real servers on loopback.

pub mod azure_openai;
pub mod azurite;
pub mod dataset;
mod dice;
mod epoch;
pub mod event_grid;
pub mod faulty_line;
pub mod functions_host;
pub mod key_vault;
mod line;
pub mod local_cloud;
mod loopback;
pub mod managed_identity;
pub mod openai_compatible;
pub mod product;
pub mod prompt;
#[cfg(unix)]
pub mod real_host;
pub mod refusals;
#[cfg(unix)]
pub mod scripted_worker;
pub mod storage;
mod wait;

pub use wait::until;
