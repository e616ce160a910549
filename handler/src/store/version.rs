//! Which version of a blob it is, and what is known of it without reading it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What tells one content of a blob from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The store's mark, without quotes. For a local file: its length and time of change.
    pub etag: String,
    /// Bytes.
    pub length: u64,
}

/// One file of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the folder that was listed, with `/`.
    pub path: String,
    /// Its version when it was listed.
    pub version: Version,
    /// When it was last changed.
    pub modified: Timestamp,
}

/// What is known of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobStatus {
    /// The version that is there.
    pub version: Version,
    /// When it was last changed.
    pub modified: Timestamp,
    /// Whether a process holds it for appending, or as a lock.
    pub leased: bool,
}
