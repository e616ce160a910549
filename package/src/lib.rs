//! From the repository to what the Azure Functions host starts: the script root, as a folder or as
//! a zip, and the checks that such a zip must pass.

pub mod archive;
pub mod executable;
pub mod function;
pub mod portable;
pub mod script_root;
