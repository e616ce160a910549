//! Blobs: RAW, which can only be read, and our own, which can be written.
//!
//! Two types keep the two apart. [`RawFolder`] has no method that writes; [`OwnFolder`] can only be
//! made for a place outside of every RAW dataset and refuses paths that leave it.

mod lock;
mod own;
mod raw;

pub use lock::FolderLock;
pub use own::{Appender, OwnFolder, Publication};
pub use raw::{RawFile, RawFolder, Version};

use std::io;
use std::path::PathBuf;

/// A store's failure: what was done, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is nothing at that path.
    #[error("{} does not exist; check the path", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The blob is not the version that was asked for.
    #[error(
        "{} changed while it was read: version {found}, not {expected}; run again without \
         changing RAW", path.display()
    )]
    Changed {
        /// The path.
        path: PathBuf,
        /// The version asked for.
        expected: String,
        /// The version that is there.
        found: String,
    },
    /// A place that must not be written.
    #[error("{} must not be written: {reason}", path.display())]
    Forbidden {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process works on the same run.
    #[error(
        "another process works on this run: {holder} holds {}; wait for it, or stop it",
        path.display()
    )]
    Held {
        /// The lock's path.
        path: PathBuf,
        /// Who holds it, in words.
        holder: String,
    },
    /// The operating system refused. Why stands in the source, which whoever prints adds.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// What a person can do about a refusal of the operating system; `None` where the error's own words
/// say it.
pub fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::PermissionDenied => "give this user the right to do that",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, then the same command continues"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the limit on the size of files, then the same command continues"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose another place",
        io::ErrorKind::Other => return None,
        _ => "check the path and the disk",
    })
}

impl StoreError {
    fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::NotFound {
            Self::NotFound { path }
        } else {
            Self::Io {
                operation,
                path,
                source,
            }
        }
    }

    /// Whether there is nothing at the path.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            let source = io::Error::other(error);
            Err(StoreError::io("finish work on", PathBuf::new(), source))
        }
    }
}
