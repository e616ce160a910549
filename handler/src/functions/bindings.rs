//! Which binding carries what: the functions with their triggers, and the messages with the output
//! bindings through which they leave.

use super::FunctionError;
use crate::host::{Answer, Invocation};
use crate::run::RunError;
use crate::run::format_number::{self, Formatted};
use crate::steps::Message;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What calls a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    BucketUploaded,
    DatasetUploaded,
    PlanBucket,
    LabelChunk,
    AbandonChunk,
    PublishBucket,
    Reconcile,
    Relabel,
    Runs,
    Tasks,
    Page,
}

/// A function, its name, and the name of the binding that triggers it.
pub(super) const FUNCTIONS: [(Function, &str, &str); 11] = [
    (Function::BucketUploaded, "bucket-uploaded", "event"),
    (Function::DatasetUploaded, "dataset-uploaded", "metadata"),
    (Function::PlanBucket, "plan-bucket", "plan"),
    (Function::LabelChunk, "label-chunk", "chunk"),
    (Function::AbandonChunk, "abandon-chunk", "chunk"),
    (Function::PublishBucket, "publish-bucket", "publish"),
    (Function::Reconcile, "reconcile", "timer"),
    (Function::Relabel, "relabel", "req"),
    (Function::Runs, "runs", "req"),
    (Function::Tasks, "tasks", "req"),
    (Function::Page, "page", "req"),
];

/// The function of that name, with the binding that triggers it.
pub(super) fn function(name: &str) -> Option<(Function, &'static str)> {
    let mut functions = FUNCTIONS.iter();
    let (function, _, trigger) = functions.find(|(_, known, _)| *known == name)?;
    Some((*function, trigger))
}

/// The output binding of a message, whose queue wakes the step of the same name.
pub(super) fn output(message: &Message) -> &'static str {
    match message {
        Message::Plan(_) => "plans",
        Message::Label(_) => "chunks",
        Message::Abandon(_) => "abandoned",
        Message::Publish(_) => "publishes",
    }
}

/// The step that a function takes over its message, as a message names it.
pub(super) fn step(function: Function) -> Option<&'static str> {
    match function {
        Function::PlanBucket => Some("plan"),
        Function::LabelChunk => Some("label"),
        Function::AbandonChunk => Some("abandon"),
        Function::PublishBucket => Some("publish"),
        _ => None,
    }
}

/// Sends `messages` with an answer.
pub(super) fn send(answer: Answer, messages: impl IntoIterator<Item = Message>) -> Answer {
    messages.into_iter().fold(answer, |answer, message| {
        let binding = output(&message);
        match message {
            Message::Plan(message) | Message::Publish(message) => {
                answer.send(binding, [Formatted::from(message)])
            }
            Message::Label(message) | Message::Abandon(message) => {
                answer.send(binding, [Formatted::from(message)])
            }
        }
    })
}

/// The message in a binding, of any format that this version knows.
///
/// # Errors
/// [`RunError::Newer`] if its format is newer, and if it is not a message of this app.
pub(super) fn message<M: DeserializeOwned>(
    invocation: &Invocation,
    binding: &'static str,
) -> Result<M, FunctionError> {
    let message = invocation.message(binding)?;
    let format = message.get("format_number").and_then(Value::as_u64);
    if let Some(format) = format.and_then(|format| u32::try_from(format).ok())
        && format > format_number::own()
    {
        let path = format!("a message in {binding:?}");
        return Err(RunError::Newer { path, format }.into());
    }
    serde_json::from_value(message).map_err(|error| FunctionError::Message { binding, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    /// The bindings of a function as its `function.json` has them.
    fn bindings(name: &str) -> Vec<Value> {
        let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
        let content = std::fs::read(functions.join(name).join("function.json")).unwrap();
        let content: Value = serde_json::from_slice(&content).unwrap();
        content["bindings"].as_array().unwrap().clone()
    }

    #[test]
    fn every_function_json_has_the_bindings_that_the_code_knows() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
        let there = std::fs::read_dir(folder).unwrap();
        let there = there
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap());
        let known = FUNCTIONS.map(|(_, name, _)| name.to_owned());
        assert_eq!(there.collect::<BTreeSet<_>>(), BTreeSet::from(known));

        let messages = [
            (Message::plan("r"), "plan-bucket"),
            (Message::label("r", 0), "label-chunk"),
            (Message::publish("r"), "publish-bucket"),
            (Message::abandon("r", 0), "label-chunk-poison"),
        ];
        let queues = messages
            .iter()
            .map(|(message, queue)| (output(message), *queue));
        let queues = queues.collect::<BTreeMap<_, _>>();
        for (_, name, trigger) in FUNCTIONS {
            for binding in bindings(name) {
                let text = |key: &str| binding[key].as_str().unwrap_or_default();
                if text("type").ends_with("Trigger") {
                    assert_eq!(text("name"), trigger, "{name}");
                }
                if text("type") == "queue" {
                    assert_eq!(Some(&text("queueName")), queues.get(text("name")), "{name}");
                }
            }
        }
    }
}
