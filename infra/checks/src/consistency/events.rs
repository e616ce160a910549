//! Which blobs' events a subscription delivers, as Event Grid's filters work.

use crate::snapshot::Resource;
use serde_json::Value;

/// A storage event, as far as filters look at it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `Microsoft.Storage.BlobCreated`.
    pub kind: &'a str,
    /// The operation that made the blob: `PutBlockList`.
    pub api: &'a str,
    /// The container. Of what was renamed, where it is then.
    pub container: &'a str,
    /// The blob's path in it.
    pub path: &'a str,
}

/// Whether a subscription's filter lets an event through. A filter that this does not know lets nothing
/// through.
pub fn accepts(subscription: &Resource, event: Event<'_>) -> bool {
    let Event {
        kind,
        api,
        container,
        path,
    } = event;
    let subject = format!("/blobServices/default/containers/{container}/blobs/{path}");
    let filter = |name: &str| subscription.at(&format!("properties.filter.{name}"));
    let text = |name: &str| filter(name).and_then(Value::as_str).unwrap_or_default();
    let list = |name: &str| filter(name).and_then(Value::as_array).into_iter().flatten();
    let kinds = list("includedEventTypes").any(|it| it == kind);
    let begins = subject.starts_with(text("subjectBeginsWith"));
    let ends = subject.ends_with(text("subjectEndsWith"));
    let advanced = list("advancedFilters").all(|filter| {
        let value = match filter["key"].as_str() {
            Some("subject") => subject.to_lowercase(),
            Some("data.api") => api.to_lowercase(),
            Some("data.destinationUrl") => {
                format!("https://account.dfs.core.windows.net/{container}/{path}").to_lowercase()
            }
            _ => return false,
        };
        let values = filter["values"].as_array().into_iter().flatten();
        let values = values.filter_map(Value::as_str).map(str::to_lowercase);
        let mut values = values.map(|it| match filter["operatorType"].as_str() {
            Some("StringIn") => Some(value == it),
            Some("StringContains") => Some(value.contains(&it)),
            Some("StringNotContains") => Some(!value.contains(&it)),
            Some("StringNotEndsWith") => Some(!value.ends_with(&it)),
            _ => None,
        });
        match filter["operatorType"].as_str() {
            Some("StringIn" | "StringContains") => values.any(|it| it == Some(true)),
            _ => values.all(|it| it == Some(true)),
        }
    });
    kinds && begins && ends && advanced
}
