//! From the repository to what the Azure Functions host starts: the script root.

pub mod function;
pub mod script_root;
