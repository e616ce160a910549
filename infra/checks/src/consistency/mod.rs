//! What stands in more than one place must agree: the deployment, `functions/` and the program's settings.
//!
//! Each check takes what it compares and gives a sentence for everything that does not fit.

mod condition;
mod events;
mod functions;
mod instances;
mod logs;
mod queries;
mod queues;
mod rights;
mod roles;
mod settings;
mod storage;

pub use condition::allows;
pub use events::{Event, accepts};
pub use functions::{Binding, Function, read_functions};
pub use instances::check as instances;
pub use logs::logged;
pub use queries::fields;
pub use queues::check as queues;
pub use rights::check as rights;
pub use roles::{ROLES, Role};
pub use settings::check as settings;
pub use storage::check as containers;
