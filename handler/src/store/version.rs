//! Which version of a blob it is, and what is known of it without reading it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The store's mark, without quotes. For a local file: its length and time of change.
    pub etag: String,
    /// Bytes.
    pub length: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the folder that was listed, with `/`.
    pub path: String,
    pub version: Version,
    pub modified: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobStatus {
    pub version: Version,
    pub modified: Timestamp,
    /// Whether a process holds it for appending, or as a lock.
    pub leased: bool,
}
