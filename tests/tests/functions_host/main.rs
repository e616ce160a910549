//! The double of the Functions host, with a worker that does what it is told, over Azurite.

mod harness;
mod queue;
