//! The `softlabel` executable: everything is in the library.

use std::process::ExitCode;

/// The C library's allocator keeps memory for each thread, and what it keeps grows with the length of a
/// run; this one gives back what is free.
#[cfg(all(unix, feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    softlabel::cli::run()
}
