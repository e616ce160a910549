//! Containers of Azure Blob Storage, and of an emulator on this machine.
//!
//! Invariants: every request has a time-out; a write whose answer was lost is recognised as one's
//! own before it counts as a conflict, so that nothing is done twice or given up wrongly; a body that
//! was cut off is continued at its offset, of the same version; memory holds a few blocks, whatever
//! a blob's size.

mod account;
mod answer;
mod body;
mod calls;
mod connection;
mod draft;
mod folder;
mod guard;
mod lease;
mod lines;
mod own;
mod raw;
mod shared_key;

pub use account::Account;
pub(crate) use connection::decode;
pub use connection::{BlobUrl, Connection, ConnectionError};
pub use guard::{Area, Guard};

pub(super) use own::AzureOwn;
pub(super) use raw::AzureRaw;

use std::time::Duration;

/// Time limits, tries and leases of the requests to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// For one try of a request, and for the next bytes of a body.
    pub timeout: Duration,
    /// Tries of a request, the first one counted, and of a body between two bytes.
    pub tries: usize,
    /// The longest wait before the second try; it doubles from one to the next.
    pub first_wait: Duration,
    /// The bound of all waits between two tries.
    pub longest_wait: Duration,
    /// Names that a page of a listing has at most, up to 5,000.
    pub page: u16,
    /// How long a lease lasts after its holder died, 15 to 60 seconds, whole ones. It is renewed
    /// after a third of it.
    pub lease: Duration,
    /// How long to wait for a lease that another holds before it counts as held. More than `lease`
    /// is enough to outlive a holder that died.
    pub lease_patience: Duration,
}

impl Default for Tuning {
    /// A try is given up after 30 s, four of them after two minutes and the waits in between; a
    /// chunk that was killed can be taken up after half a minute.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            tries: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(8),
            page: 5000,
            lease: Duration::from_secs(30),
            lease_patience: Duration::ZERO,
        }
    }
}
