//! Settings: those that the app is given, those that the program knows, and those that the bindings
//! and the host need.

use super::Function;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What the host reads itself, beside its connections.
const OF_THE_HOST: &[&str] = &[
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
];

/// What the host gives the program, beside the settings.
const FROM_THE_HOST: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

/// Compares them. `known` are the variables that the program reads, `required` those without which it
/// does not serve.
pub fn check(
    functions: &[Function],
    settings: &Map<String, Value>,
    known: &BTreeSet<String>,
    required: &BTreeSet<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let bindings = || functions.iter().flat_map(|function| &function.bindings);
    let mut connections = BTreeSet::new();
    for (connection, kind) in [("AzureWebJobsStorage", "host")]
        .into_iter()
        .chain(bindings().filter_map(|it| Some((it.connection.as_deref()?, it.kind.as_str()))))
    {
        let services: &[&str] = match kind {
            "host" => &["blob", "queue", "table"],
            "blobTrigger" => &["blob", "queue"],
            _ => &["queue"],
        };
        connections.extend(
            services
                .iter()
                .map(|it| format!("{connection}__{it}ServiceUri")),
        );
        connections.insert(format!("{connection}__credential"));
        connections.insert(format!("{connection}__clientId"));
    }
    for name in &connections {
        if !settings.contains_key(name) {
            problems.push(format!("{name} is not set, which a connection needs"));
        }
    }
    for name in bindings()
        .filter_map(|it| it.path.as_deref())
        .flat_map(placeholders)
    {
        if !settings.contains_key(name) {
            problems.push(format!("{name} is not set, which a function's path needs"));
        }
    }
    for name in required.iter().filter(|it| *it != FROM_THE_HOST) {
        if !settings.contains_key(name) {
            problems.push(format!(
                "{name} is not set, without which the program does not serve"
            ));
        }
    }
    for (name, value) in settings {
        let is_known = known.contains(name)
            || connections.contains(name)
            || OF_THE_HOST.contains(&name.as_str());
        if name == "FUNCTIONS_WORKER_RUNTIME" {
            problems.push(format!("{name} must not be set on Flex Consumption"));
        } else if !is_known {
            problems.push(format!("nothing reads {name}"));
        }
        let text = value.as_str().unwrap_or_default();
        if ["AccountKey=", "SharedAccessSignature=", "sig="]
            .iter()
            .any(|it| text.contains(it))
        {
            problems.push(format!("{name} holds a key"));
        }
        if text.is_empty() {
            problems.push(format!("{name} is set to nothing"));
        }
    }
    problems
}

/// The settings in `%NAME%/{dataset}/…`.
fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('%').skip(1).step_by(2)
}
