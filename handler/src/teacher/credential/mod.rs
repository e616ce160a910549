//! What proves to the service who is asking: a key, or a token of Entra.
//!
//! `order` tries the sources one after the other: `vault`, `key`, or `entra` in their stead.
//! `identity` is how vault and entra learn who this process is. `renewal` keeps what was obtained
//! valid while a run lasts, `attempts` is what a person reads when nothing works.
//!
//! Invariant: a secret is in no log, no error and no `Debug` output.

mod attempts;
mod entra;
mod identity;
mod key;
#[cfg(debug_assertions)]
mod loopback;
mod order;
mod proof;
mod renewal;
mod secret;
mod vault;

pub use attempts::{Attempt, Failure, NoCredential};
pub use identity::{Identities, Surroundings, Way};
#[cfg(debug_assertions)]
pub use loopback::VAULT_LOOPBACK;
pub use order::{Auth, Settings, VaultChoice};
pub use proof::Proof;
pub use renewal::{Credential, Header, RenewalError, Source};
pub use secret::Secret;
pub use vault::VaultSecret;
