//! Holds the deployment against everything that it must agree with, and draws it.
//!
//! What a deployment makes is read from the snapshots in `infra/snapshots/`, which Bicep's compiler wrote
//! (`cargo xtask renew templates`); nothing here reads Bicep. The compiler answers for the language and for the
//! properties of resources; this crate answers for rights, queues, settings, events, logs and documents.
//! Neither knows what Azure will accept.

#![doc(test(attr(deny(warnings))))]

pub mod consistency;
pub mod documents;
pub mod picture;
pub mod repository;
pub mod snapshot;
