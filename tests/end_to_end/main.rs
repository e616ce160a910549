//! The program as its users meet it: the real binary, real files, a real HTTP server on loopback.
//!
//! Nothing here waits for a fixed time. What is random is seeded in the double, and what takes time in
//! the real service is short here, by the same settings that users have.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::expect_used, reason = "a test may fail loudly")]
#![expect(clippy::panic, reason = "a test may fail loudly")]
#![expect(clippy::indexing_slicing, reason = "a test may fail loudly")]
#![expect(clippy::print_stdout, reason = "a test says what it has to leave out")]
#![expect(clippy::string_slice, reason = "a test may fail loudly")]

mod bad_input;
mod blobs;
mod cli;
mod compare;
mod cost;
mod credentials;
mod details;
mod dry_run;
mod faults;
mod formats;
mod freeze;
mod function_app;
mod gateway;
mod harness;
mod input;
mod labels;
mod openai;
mod outage;
mod output;
mod pacing;
mod pilot;
mod profiles;
mod prompts;
mod raw;
mod reading;
mod resume;
mod service;
mod tasks;
mod terminal;
mod watch;
