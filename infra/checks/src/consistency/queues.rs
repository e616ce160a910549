//! Queues: those of the functions, those that are deployed, and where Event Grid sends to.

use super::Function;
use crate::snapshot::Snapshot;
use serde_json::Value;
use std::collections::BTreeSet;

const QUEUE: &str = "Microsoft.Storage/storageAccounts/queueServices/queues";
const SUBSCRIPTION: &str = "Microsoft.EventGrid/systemTopics/eventSubscriptions";

/// Compares them. `parked` is the queue that the host makes beside blobs, which no function names.
pub fn check(functions: &[Function], snapshot: &Snapshot, parked: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let triggers: BTreeSet<&str> = functions
        .iter()
        .filter_map(Function::trigger_queue)
        .collect();
    let outputs = functions.iter().flat_map(Function::output_queues);
    let outputs: BTreeSet<&str> = outputs.collect();
    let deployed: BTreeSet<&str> = snapshot.of_kind(QUEUE).map(|it| it.short_name()).collect();

    for queue in triggers.union(&outputs) {
        if !deployed.contains(queue) {
            problems.push(format!("the functions use {queue}, which is not deployed"));
        }
    }
    for queue in outputs.difference(&triggers) {
        problems.push(format!(
            "nothing wakes on {queue}, though functions send to it"
        ));
    }
    let poison: BTreeSet<String> = triggers.iter().map(|it| format!("{it}-poison")).collect();
    for queue in &poison {
        // A queue of that name has no poison queue of its own.
        let of_poison = queue.ends_with("-poison-poison");
        if !of_poison && !deployed.contains(queue.as_str()) {
            problems.push(format!("{queue} is not deployed"));
        }
    }
    for queue in &deployed {
        let named = triggers.contains(queue) || outputs.contains(queue);
        let used = named || poison.contains(*queue) || *queue == parked;
        if !used {
            problems.push(format!("{queue} is deployed, but no function uses it"));
        }
    }
    let woken_by_events = functions.iter().find(|it| it.name == "bucket-uploaded");
    let expected = woken_by_events.and_then(Function::trigger_queue);
    for subscription in snapshot.of_kind(SUBSCRIPTION) {
        let path = "properties.deliveryWithResourceIdentity.destination.properties.queueName";
        let queue = subscription.at(path).and_then(Value::as_str);
        if queue != expected {
            let text = format!("events go to {queue:?}, bucket-uploaded wakes on {expected:?}");
            problems.push(text);
        }
    }
    problems
}
