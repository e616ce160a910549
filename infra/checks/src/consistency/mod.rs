//! What stands in more than one place must agree: the deployment, `functions/`, `host.json` and the
//! program's settings.
//!
//! Each check takes what it compares and gives a sentence for everything that does not fit.

mod condition;
mod events;
mod functions;
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
pub use logs::logged;
pub use queries::fields;
pub use queues::check as queues;
pub use rights::check as rights;
pub use roles::{ROLES, Role};
pub use settings::check as settings;
pub use storage::check as containers;

use crate::deployment::{Deployed, Deployment};
use serde_json::{Map, Value};

/// The resources of a type.
pub fn of_kind<'a>(deployment: &'a Deployment, kind: &str) -> Vec<&'a Deployed> {
    let resources = deployment.resources.iter();
    resources.filter(|resource| resource.kind == kind).collect()
}

/// The settings of the function app.
pub fn app_settings(deployment: &Deployment) -> Map<String, Value> {
    let configs = of_kind(deployment, "Microsoft.Web/sites/config");
    let settings = configs.iter().find(|it| it.name.ends_with("/appsettings"));
    let settings = settings.and_then(|it| it.body.get("properties"));
    settings
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// The resource that a value will come from, as `TYPE NAME`: of `⟨TYPE NAME.properties.x⟩`.
pub fn origin(value: &str) -> Option<&str> {
    let (_, inside) = value.split_once('⟨')?;
    let (kind, rest) = inside.split_once(' ')?;
    let name = rest.split(['.', '⟩']).next()?;
    inside.get(..kind.len() + 1 + name.len())
}

/// The last part of a resource's name.
pub(crate) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The value at a path such as `properties.filter.subjectEndsWith`.
pub fn at<'a>(body: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = body.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}
