//! What the store promises, over every backend: a local folder, and blobs in Azurite.
//!
//! Each property is one function of a [`Place`](place::Place). `bad_line` has those that only a network can
//! put to the test: lost answers, cut bodies, leases that end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

/// Makes a test over each backend of each property.
macro_rules! over_every_backend {
    ($($property:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $property() {
                super::$property(&crate::place::Place::local()).await;
            })*
        }

        mod azurite {
            $(#[tokio::test]
            async fn $property() {
                super::$property(&crate::place::Place::azurite().await).await;
            })*
        }
    };
}

mod bad_line;
mod files;
mod guard;
mod lines;
mod locks;
mod place;
mod publication;
mod raw;
