//! The `softlabel` executable: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    softlabel::cli::run()
}
