//! Runs the program, plays the service, makes and reads files.

mod dataset;
mod folder;
mod labeled;
mod program;
mod service;
mod taught;

pub(crate) use dataset::*;
pub(crate) use folder::*;
pub(crate) use labeled::*;
pub(crate) use program::*;
pub(crate) use service::*;
pub(crate) use taught::*;

use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) use softlabel_doubles::prompt::PROBE;

/// Longer than any run here takes, even on a busy machine; only a hang reaches it.
pub(crate) const HANG: Duration = Duration::from_secs(120);

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}
