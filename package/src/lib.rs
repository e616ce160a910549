//! From the repository to what is deployed and installed: the script root that the Azure Functions host
//! starts, as a folder or as a zip, the archive and the wheel of the command line, and the checks that
//! they must pass.

pub mod archive;
pub mod crates;
pub mod executable;
pub mod function;
pub mod notices;
pub mod papers;
pub mod place;
pub mod portable;
pub mod release;
pub mod sbom;
pub mod script_root;
