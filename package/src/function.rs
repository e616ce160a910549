//! A function as its `function.json` describes it, and what must hold between functions: messages
//! reach somebody, and nobody waits at a queue that nothing fills.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Queues that are filled from outside the app.
const FILLED_FROM_OUTSIDE: [&str; 1] = ["bucket-uploaded"];

/// What the host appends to a queue's name for messages that failed too often.
const POISON: &str = "-poison";

/// One function: its folder's name and what its `function.json` binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The folder's name, by which the host calls the function.
    pub name: String,
    /// The trigger and the outputs.
    pub bindings: Vec<Binding>,
}

/// One binding of a `function.json`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The name under which values are exchanged with the handler.
    pub name: String,
    /// `queueTrigger`, `queue`, `http` …
    #[serde(rename = "type")]
    pub kind: String,
    /// `in` for the trigger, `out` for what the function sends.
    pub direction: String,
    /// The queue that is read or written.
    pub queue_name: Option<String>,
    /// The path of a blob, with patterns.
    pub path: Option<String>,
    /// The setting that says how the storage account is reached.
    pub connection: Option<String>,
    /// How a blob trigger learns of blobs: `EventGrid`, or by polling if there is none.
    pub source: Option<String>,
    /// When a timer fires.
    pub schedule: Option<String>,
    /// The route of an HTTP trigger.
    pub route: Option<String>,
    /// The methods of an HTTP trigger.
    pub methods: Option<Vec<String>>,
    /// Who may call an HTTP trigger.
    pub auth_level: Option<String>,
}

impl Function {
    /// Reads the contents of `<name>/function.json`.
    pub fn parse(name: &str, function_json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct FunctionJson {
            bindings: Vec<Binding>,
        }
        let parsed: FunctionJson = serde_json::from_slice(function_json)
            .with_context(|| format!("cannot read {name}/function.json"))?;
        Ok(Self {
            name: name.to_owned(),
            bindings: parsed.bindings,
        })
    }

    /// What wakes the function: the one binding that the host calls a trigger.
    pub fn trigger(&self) -> Result<&Binding> {
        let mut triggers = self.bindings.iter().filter(|binding| binding.is_trigger());
        match (triggers.next(), triggers.next()) {
            (Some(trigger), None) => Ok(trigger),
            _ => bail!("{}/function.json must have exactly one trigger", self.name),
        }
    }

    /// What the function sends.
    pub fn outputs(&self) -> impl Iterator<Item = &Binding> {
        let outputs = self.bindings.iter();
        outputs.filter(|binding| !binding.is_trigger())
    }

    fn check(&self) -> Result<()> {
        let name = &self.name;
        ensure!(
            is_function_name(name),
            "the host takes no function called {name:?}: use letters, digits, - and _, a letter first"
        );
        self.trigger()?;
        let mut names = BTreeSet::new();
        for binding in &self.bindings {
            let what = format!("the binding {} of {name}/function.json", binding.name);
            ensure!(names.insert(&binding.name), "{what} is there twice");
            let direction = if binding.is_trigger() { "in" } else { "out" };
            ensure!(
                binding.direction == direction,
                "{what} must have the direction {direction:?}"
            );
            match binding.kind.as_str() {
                "queueTrigger" | "queue" => {
                    let queue = binding.queue_name.as_deref().unwrap_or_default();
                    ensure!(
                        is_queue_name(queue),
                        "{what} needs a queueName that Azure takes, {queue:?} is none"
                    );
                    ensure!(binding.connection.is_some(), "{what} needs a connection");
                }
                "blobTrigger" => {
                    ensure!(binding.path.is_some(), "{what} needs a path");
                    ensure!(binding.connection.is_some(), "{what} needs a connection");
                }
                "timerTrigger" => ensure!(binding.schedule.is_some(), "{what} needs a schedule"),
                "httpTrigger" => ensure!(
                    binding.route.is_some() && binding.auth_level.is_some(),
                    "{what} needs a route and an authLevel"
                ),
                "http" => {}
                other => bail!("{what} has the unknown type {other:?}"),
            }
        }
        Ok(())
    }
}

impl Binding {
    /// Whether it is what wakes its function.
    pub fn is_trigger(&self) -> bool {
        self.kind.ends_with("Trigger")
    }
}

/// Checks each function, and that every queue that is written wakes exactly one function and every
/// queue that is waited at is filled.
pub fn check(functions: &[Function]) -> Result<()> {
    ensure!(!functions.is_empty(), "there is no function");
    let mut wakes = BTreeMap::new();
    for function in functions {
        function.check()?;
        if let Some(queue) = &function.trigger()?.queue_name {
            let other = wakes.insert(queue.as_str(), function.name.as_str());
            if let Some(other) = other {
                bail!("the queue {queue} wakes both {other} and {}", function.name);
            }
        }
    }
    let mut filled = BTreeSet::from(FILLED_FROM_OUTSIDE);
    for function in functions {
        for output in function.outputs() {
            let Some(queue) = output.queue_name.as_deref() else {
                continue;
            };
            filled.insert(queue);
            ensure!(
                wakes.contains_key(queue),
                "the output {} of {} fills the queue {queue}, which wakes nobody",
                output.name,
                function.name
            );
        }
    }
    for (queue, function) in &wakes {
        // The host itself moves messages here from the queue that they failed in.
        let is_filled = match queue.strip_suffix(POISON) {
            Some(origin) => wakes.contains_key(origin),
            None => filled.contains(queue),
        };
        ensure!(
            is_filled,
            "{function} waits at the queue {queue}, which nothing fills"
        );
    }
    Ok(())
}

/// The host's rule for folders that are functions.
fn is_function_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Azure's rule: 3 to 63 lower-case letters, digits and single hyphens between them.
fn is_queue_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, bindings: &str) -> Function {
        let json = format!(r#"{{"bindings": [{bindings}]}}"#);
        Function::parse(name, json.as_bytes()).unwrap()
    }

    fn woken_by(queue: &str) -> String {
        format!(
            r#"{{"name": "in", "type": "queueTrigger", "direction": "in",
                "queueName": "{queue}", "connection": "AzureWebJobsStorage"}}"#
        )
    }

    fn sends_to(queue: &str) -> String {
        format!(
            r#"{{"name": "out", "type": "queue", "direction": "out",
                "queueName": "{queue}", "connection": "AzureWebJobsStorage"}}"#
        )
    }

    fn complaint(functions: &[Function]) -> String {
        check(functions).unwrap_err().to_string()
    }

    const TIMER: &str = r#"{"name": "timer", "type": "timerTrigger", "direction": "in",
        "schedule": "0 * * * * *"}"#;

    #[test]
    fn a_chain_of_queues_passes() {
        let chain = [
            function("clock", &format!("{TIMER}, {}", sends_to("first"))),
            function(
                "one",
                &format!("{}, {}", woken_by("first"), sends_to("second")),
            ),
            function("two", &woken_by("second")),
            function("two-failed", &woken_by("second-poison")),
        ];
        check(&chain).unwrap();
    }

    #[test]
    fn an_output_must_wake_somebody() {
        let functions = [function(
            "clock",
            &format!("{TIMER}, {}", sends_to("first")),
        )];
        assert!(complaint(&functions).contains("fills the queue first, which wakes nobody"));
    }

    #[test]
    fn a_queue_that_wakes_must_be_filled() {
        let functions = [function("one", &woken_by("first"))];
        assert!(
            complaint(&functions).contains("one waits at the queue first, which nothing fills")
        );
    }

    #[test]
    fn a_poison_queue_belongs_to_a_queue() {
        let functions = [function("one-failed", &woken_by("first-poison"))];
        assert!(complaint(&functions).contains("first-poison, which nothing fills"));
    }

    #[test]
    fn a_queue_wakes_one_function() {
        let both = [
            function("one", &woken_by("bucket-uploaded")),
            function("two", &woken_by("bucket-uploaded")),
        ];
        assert!(complaint(&both).contains("bucket-uploaded wakes both one and two"));
    }

    #[test]
    fn a_function_has_one_trigger() {
        let functions = [function("one", &sends_to("first"))];
        assert!(complaint(&functions).contains("exactly one trigger"));
        let functions = [function("one", &format!("{TIMER}, {}", woken_by("first")))];
        assert!(complaint(&functions).contains("exactly one trigger"));
    }

    #[test]
    fn names_of_queues_are_those_azure_takes() {
        for name in ["label-chunk", "a1b", "label-chunk-poison"] {
            assert!(is_queue_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", "ab", "Label", "a--b", "-ab", "ab-", "a_b", &long] {
            assert!(!is_queue_name(name), "{name}");
        }
    }

    #[test]
    fn names_of_functions_are_those_the_host_takes() {
        for name in ["label-chunk", "Runs_2"] {
            assert!(is_function_name(name), "{name}");
        }
        for name in ["", "2nd", "-a", "a.b", "a/b", "ü"] {
            assert!(!is_function_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let unknown = r#"{"name": "b", "type": "blob", "direction": "out", "path": "c/d"}"#;
        let functions = [function("clock", &format!("{TIMER}, {unknown}"))];
        assert!(complaint(&functions).contains("unknown type \"blob\""));
        let bare = r#"{"name": "q", "type": "queue", "direction": "out", "queueName": "first"}"#;
        let functions = [function("clock", &format!("{TIMER}, {bare}"))];
        assert!(complaint(&functions).contains("needs a connection"));
    }
}
