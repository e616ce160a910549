//! Which version of a blob it is, and what is known of it without reading it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which version of a blob it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The store's mark, without quotes. For a local file: its length and time of change.
    pub etag: String,
    /// Length in bytes.
    pub length: u64,
}

/// A file as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the folder that was listed, with `/`.
    pub path: String,
    /// Which version it is.
    pub version: Version,
    /// When it was last written.
    pub modified: Timestamp,
}

/// A file as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobStatus {
    /// Which version it is.
    pub version: Version,
    /// When it was last written.
    pub modified: Timestamp,
    /// Whether somebody has it for appending, or as a lock.
    pub leased: bool,
}
