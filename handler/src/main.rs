//! The `softlabel` executable.

fn main() {}
