//! The program as its users meet it: the real binary, real files, a real HTTP server on loopback.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod credentials;
