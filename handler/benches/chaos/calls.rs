//! No call is asked again without need.

use crate::bucket::Bucket;
use crate::tally::Tally;
use anyhow::Result;
use serde_json::Value;
use softlabel_doubles::azure_openai::{Excuse, Loss, Record, repeats};
use softlabel_doubles::local_cloud::LocalCloud;
use std::collections::HashMap;
use std::time::Duration;

/// A result may wait so long before it is appended.
pub(crate) const UNFLUSHED: Duration = Duration::from_secs(2);

/// What the probe asks about until the request parameters are settled; it belongs to no dataset.
const PROBE: &str = "Thanks, that worked!";

/// Checks the service's log: a question comes once for each run that asks all turns of a version, and
/// once more only where the answer may have been lost.
pub(crate) fn check(
    cloud: &LocalCloud,
    buckets: &[Bucket],
    records: &[Value],
    losses: &[Loss],
    tally: &mut Tally,
) -> Result<()> {
    let mut runs = HashMap::<&str, usize>::new();
    for version in buckets.iter().flat_map(|bucket| &bucket.versions) {
        // One that was replaced or cancelled before it was planned asked nothing, and one with a base
        // begins with the answers of that.
        let asks_all = |record: &&Value| {
            let etag = record.pointer("/source/etag").and_then(Value::as_str);
            etag == Some(version.etag.as_str())
                && record.get("chunks").is_some_and(Value::is_u64)
                && record.get("base").is_none_or(Value::is_null)
        };
        let count = records.iter().filter(asks_all).count();
        for message in &version.messages {
            *runs.entry(message.trim()).or_default() += count;
        }
    }
    let allowed = |record: &Record| {
        let message = record.user_text.as_deref().and_then(message);
        let message = message.unwrap_or_default().trim();
        match message {
            PROBE => usize::MAX,
            message => runs.get(message).copied().unwrap_or_default(),
        }
    };
    let excuse = Excuse {
        losses,
        unflushed: UNFLUSHED,
    };
    let counted = repeats(&cloud.service().log(), excuse, allowed)?;
    tally.calls += counted.answered;
    tally.exposed += counted.exposed;
    tally.repeated += counted.repeated;
    Ok(())
}

/// The message that a prompt is about.
fn message(prompt: &str) -> Option<&str> {
    let (_, rest) = prompt.split_once(" Message to label>>>\n")?;
    Some(rest.split_once("\n<<<END ")?.0)
}
