//! Blobs: RAW, which can only be read, and our own, which can be written.
//!
//! Two types keep the two apart. [`RawFolder`] has no method that writes; [`OwnFolder`] can only be
//! made for a place outside of every RAW dataset and refuses paths that leave it. Behind both stands
//! one of two backends, `local` for folders on this machine and `azure` for containers; what the two
//! promise is the same, and one conformance suite runs over both.

pub mod azure;
mod cell;
mod error;
mod fenced;
#[cfg(test)]
pub(crate) mod fickle;
mod local;
mod own;
mod raw;
mod version;

pub use cell::Cell;
pub use error::{StoreError, sentence};
pub use local::Protected;
pub use own::{Appender, Lock, MOST_LINES, OwnFolder, Publication, PutMode};
pub use raw::{Buckets, RawFile, RawFolder};
pub use version::{BlobStatus, Listed, Version};
