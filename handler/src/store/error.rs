//! What went wrong with a blob: few meanings, each a sentence that says what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use tokio::task::JoinError;

/// What to do about a lease that is nobody's of ours.
pub(super) const BREAK_LEASE: &str =
    "another client holds a lease on it: break that lease, or wait for its end";

/// A store's failure: what was done, on what, and why it failed. A place is a path on this machine or
/// a URL, as a person would write it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file or folder.
    #[error("{place} does not exist; check the path")]
    NotFound {
        /// Where it should be.
        place: String,
    },
    /// A file is another version than the one that was to be read.
    #[error(
        "{place} changed while it was read: version {found}, not {expected}; run again without \
         changing RAW"
    )]
    Changed {
        /// The file.
        place: String,
        /// The mark ([`Version::etag`](super::Version::etag)) of the version that was to be read.
        expected: String,
        /// The mark of the version that is there; `another` where the service does not tell it.
        found: String,
    },
    /// Something is still copied into it, so that it is not whole.
    #[error("{place} is still being copied; try again when the copy is complete")]
    Copying {
        /// The blob that is copied to.
        place: String,
    },
    /// The place must not be written, whatever the rights, or its path is not a plain one.
    #[error("{place} must not be written: {reason}")]
    Forbidden {
        /// The file or folder.
        place: String,
        /// Why not, without a full stop.
        reason: String,
    },
    /// Another process works on the same run, or took over from this one.
    #[error("another process works on this run: {holder} holds {place}; wait for it, or stop it")]
    Held {
        /// The lock or file that is held.
        place: String,
        /// What the holder says of itself; `another process` where it says nothing.
        holder: String,
    },
    /// The service is not there, too busy, or took too long, also after several tries.
    #[error("cannot {operation} {place}: {source}; try again later")]
    Unavailable {
        /// What was tried, as a verb that goes before the place: `read`.
        operation: &'static str,
        /// What it was tried on.
        place: String,
        /// What the service answered, or why no answer came.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The service refused, and will again.
    #[error("cannot {operation} {place}: {source}; {remedy}")]
    Refused {
        /// What was tried, as a verb that goes before the place: `read`.
        operation: &'static str,
        /// What it was tried on.
        place: String,
        /// What the service answered.
        source: Box<dyn Error + Send + Sync>,
        /// What a person can do about it, without a full stop.
        remedy: &'static str,
    },
    /// A file of lines has as many as it can have.
    #[error("{place} takes no more lines")]
    Full {
        /// The place.
        place: String,
    },
    /// Other processes changed the file again and again.
    #[error("too many concurrent writers on {place}; try again later")]
    Contended {
        /// The place.
        place: String,
    },
    /// The operating system refused. The source says why; the printer of the error adds it.
    #[error("cannot {operation} {place}")]
    Io {
        /// What was tried, as a verb that goes before the place: `read`.
        operation: &'static str,
        /// The file or folder that it was tried on.
        place: String,
        /// The operating system's error, or that of work which broke off inside this process.
        source: io::Error,
    },
}

impl StoreError {
    pub(super) fn io(operation: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let place = path.as_ref().display().to_string();
        if source.kind() == io::ErrorKind::NotFound {
            Self::NotFound { place }
        } else {
            Self::Io {
                operation,
                place,
                source,
            }
        }
    }

    /// Work on `place` broke off inside this process: it panicked, or the process ends.
    pub fn broken_off(operation: &'static str, place: impl fmt::Display, error: JoinError) -> Self {
        Self::Io {
            operation,
            place: place.to_string(),
            source: io::Error::other(error),
        }
    }

    /// [`Forbidden`](Self::Forbidden) for `place`; `reason` says why, without a full stop.
    pub fn forbidden(place: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Forbidden {
            place: place.to_string(),
            reason: reason.into(),
        }
    }

    /// Another client holds a lease on what only executions of ours lease.
    pub fn leased(operation: &'static str, place: impl fmt::Display) -> Self {
        Self::Refused {
            operation,
            place: place.to_string(),
            source: "there is a lease on it".into(),
            remedy: BREAK_LEASE,
        }
    }

    /// Whether the file is another version than the one that was to be read.
    pub fn is_changed(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }

    /// Whether there is no such file or folder.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether softlabel must not write there, even if it has the rights.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Whether the service refuses it until a right is granted.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether the same may work later by itself.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Contended { .. } | Self::Copying { .. }
        )
    }

    /// Whether something is still copied into the blob.
    pub fn is_copying(&self) -> bool {
        matches!(self, Self::Copying { .. })
    }
}

/// An error with the causes that it does not tell itself as one sentence, and what to do where only the
/// operating system knows why.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let causes = || {
        let mut next = Some(error);
        std::iter::from_fn(move || {
            let cause = next?;
            next = cause.source();
            Some(cause)
        })
    };
    let told = causes().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.is_empty() {
            true => cause,
            false if told.contains(&cause) => told,
            false => format!("{told}: {cause}"),
        }
    });
    let refusal = causes().find_map(|cause| cause.downcast_ref());
    match refusal.and_then(remedy) {
        Some(remedy) => format!("{told}; {remedy}"),
        None => told,
    }
}

/// What a person can do about a refusal of the operating system; `None` where the error's own words
/// say it.
fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::PermissionDenied => "give this user the right to do that",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, then the same command continues"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the limit on the size of files, then the same command continues"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose another place",
        io::ErrorKind::InvalidFilename => "give it a shorter name",
        io::ErrorKind::Other => return None,
        _ => "check the path and the disk",
    })
}
