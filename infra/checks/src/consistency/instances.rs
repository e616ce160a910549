//! Instances that are kept ready for a function.

use super::Function;
use crate::snapshot::Snapshot;
use serde_json::Value;

/// The groups of functions that Flex Consumption scales as one: `http`, `blob`, `durable`; each other
/// function is a group of its own.
const SHARED: &[&str] = &["http", "blob", "durable"];

/// Compares the groups that are kept ready with the functions.
pub fn check(functions: &[Function], snapshot: &Snapshot) -> Vec<String> {
    let path = "properties.functionAppConfig.scaleAndConcurrency.alwaysReady";
    let apps = snapshot.of_kind("Microsoft.Web/sites");
    let groups = apps
        .filter_map(|app| app.at(path)?.as_array())
        .flatten()
        .filter_map(|it| it.get("name").and_then(Value::as_str));
    let known = |group: &str| match group.strip_prefix("function:") {
        Some(name) => functions.iter().any(|it| it.name == name),
        None => SHARED.contains(&group),
    };
    groups
        .filter(|group| !known(group))
        .map(|group| format!("an instance is kept ready for {group}, which there is not"))
        .collect()
}
