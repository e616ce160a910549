//! What proves to the service who is asking: a key, or a token of Entra.
//!
//! `order` tries the sources one after the other: `vault`, `key`, or `entra` in their stead.
//! `renewal` keeps what was obtained valid while a run lasts. Who this process is stands in
//! `crate::identity`, as storage asks that too.
//!
//! Invariant: a secret is in no log, no error and no `Debug` output.

mod entra;
mod key;
#[cfg(debug_assertions)]
mod loopback;
mod order;
mod proof;
mod renewal;
mod vault;

pub use crate::identity::{Attempt, Failure, Identities, NoCredential, Secret, Surroundings, Way};
#[cfg(debug_assertions)]
pub use loopback::VAULT_LOOPBACK;
pub use order::{Auth, Settings, VaultChoice};
pub use proof::Proof;
pub use renewal::{Credential, Header, RenewalError, Source};
pub use vault::VaultSecret;
