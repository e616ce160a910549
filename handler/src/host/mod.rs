//! The custom-handler protocol of the Azure Functions host, and nothing else.
//!
//! The host starts one process an instance and sends it a request an invocation; `invocation` is what
//! it sends, `answer` what it gets back, `server` who takes the requests. Source: the host's own code
//! (4.1037), which differs from the published samples: it encodes values twice.

pub mod answer;
pub mod invocation;
pub mod process;
pub mod server;

pub use answer::{Answer, Failure};
pub use invocation::{HttpRequest, Invocation};
pub use process::HostProcess;
pub use server::{Functions, is_json, serve};
