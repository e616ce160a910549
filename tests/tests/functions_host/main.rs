//! The double of the Functions host, with a worker that does what it is told, over Azurite.

mod answers;
mod app;
mod blob;
mod chaos;
mod groups;
mod harness;
mod http;
mod outputs;
mod payload;
mod queue;
mod timer;
mod worker;
