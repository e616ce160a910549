//! Containers: what is named in settings and rules must be there.

use super::{app_settings, at, last, of_kind};
use crate::deployment::{Deployed, Deployment};
use serde_json::Value;
use std::collections::BTreeSet;

const CONTAINER: &str = "Microsoft.Storage/storageAccounts/blobServices/containers";

/// Compares containers with the app's work container, its package, dead letters and lifecycle rules.
pub fn check(deployment: &Deployment) -> Vec<String> {
    let deployed = of_kind(deployment, CONTAINER);
    let deployed: BTreeSet<&str> = deployed.iter().map(|it| last(&it.name)).collect();
    let settings = app_settings(deployment);
    let setting = |name: &str| settings.get(name).and_then(Value::as_str);
    let mut named: Vec<(&str, String)> = Vec::new();
    named.extend(setting("SOFTLABEL_WORK_CONTAINER").map(|it| ("work data", it.to_owned())));
    let mut from = |what, kind, path: &str| {
        let found = of_kind(deployment, kind).into_iter();
        named.extend(found.filter_map(|it| Some((what, text(it, path)?))));
    };
    let package = "properties.functionAppConfig.deployment.storage.value";
    from("the package", "Microsoft.Web/sites", package);
    let letters = "properties.deadLetterWithResourceIdentity.deadLetterDestination.properties\
        .blobContainerName";
    let subscription = "Microsoft.EventGrid/systemTopics/eventSubscriptions";
    from("dead letters", subscription, letters);
    for policy in of_kind(
        deployment,
        "Microsoft.Storage/storageAccounts/managementPolicies",
    ) {
        let rules = at(&policy.body, "properties.policy.rules").and_then(Value::as_array);
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

/// A container's name at a path, also behind the URL of an account that is known later.
fn text(resource: &Deployed, path: &str) -> Option<String> {
    let value = at(&resource.body, path)?.as_str()?;
    Some(value.rsplit('⟩').next().unwrap_or(value).to_owned())
}
