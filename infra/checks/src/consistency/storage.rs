//! Containers: what is named in settings and rules must be there.

use crate::snapshot::{Resource, Snapshot};
use serde_json::Value;
use std::collections::BTreeSet;

const CONTAINER: &str = "Microsoft.Storage/storageAccounts/blobServices/containers";

/// Compares containers with the app's work container, its package, dead letters and lifecycle rules.
pub fn check(snapshot: &Snapshot) -> Vec<String> {
    let deployed = snapshot.of_kind(CONTAINER).map(Resource::short_name);
    let deployed: BTreeSet<&str> = deployed.collect();
    let settings = snapshot.app_settings();
    let setting = |name: &str| settings.get(name).and_then(Value::as_str);
    let mut named: Vec<(&str, String)> = Vec::new();
    named.extend(setting("SOFTLABEL_WORK_CONTAINER").map(|it| ("work data", it.to_owned())));
    let mut from = |what, kind, path: &str| {
        let found = snapshot.of_kind(kind);
        named.extend(found.filter_map(|it| Some((what, container(it, path)?))));
    };
    let package = "properties.functionAppConfig.deployment.storage.value";
    from("the package", "Microsoft.Web/sites", package);
    let letters = "properties.deadLetterWithResourceIdentity.deadLetterDestination.properties\
        .blobContainerName";
    let subscription = "Microsoft.EventGrid/systemTopics/eventSubscriptions";
    from("dead letters", subscription, letters);
    let policies = "Microsoft.Storage/storageAccounts/managementPolicies";
    for policy in snapshot.of_kind(policies) {
        let rules = policy
            .at("properties.policy.rules")
            .and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            let prefixes = rule.pointer("/definition/filters/prefixMatch");
            let prefixes = prefixes.and_then(Value::as_array).into_iter().flatten();
            let prefixes = prefixes.filter_map(Value::as_str);
            let containers = prefixes.filter_map(|it| it.split('/').next());
            named.extend(containers.map(|it| ("a lifecycle rule", it.to_owned())));
        }
    }
    let missing = named
        .into_iter()
        .filter(|(_, name)| !deployed.contains(name.as_str()));
    missing
        .map(|(what, name)| format!("the container {name} of {what} is not deployed"))
        .collect()
}

/// A container's name at a path, also behind the URL of an account that is known later:
/// `[format('{0}{1}', reference(…).primaryEndpoints.blob, 'NAME')]`.
fn container(resource: &Resource, path: &str) -> Option<String> {
    let value = resource.at(path)?.as_str()?;
    let name = match value.strip_suffix("')]") {
        Some(expression) => expression.rsplit('\'').next()?,
        None => value,
    };
    Some(name.to_owned())
}
