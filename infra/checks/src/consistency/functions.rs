//! What `functions/*/function.json` says.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name of its folder.
    pub name: String,
    /// In the order of the file.
    pub bindings: Vec<Binding>,
}

/// A trigger or an output.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// `queueTrigger`, `queue`, `blobTrigger`, `timerTrigger`, `httpTrigger`, `http`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For queues.
    pub queue_name: Option<String>,
    /// The prefix of the settings that say where the storage is.
    pub connection: Option<String>,
    /// For blobs.
    pub path: Option<String>,
}

/// Reads them from the texts of the files by path.
pub fn read_functions(texts: &BTreeMap<String, String>) -> serde_json::Result<Vec<Function>> {
    #[derive(Deserialize)]
    struct File {
        bindings: Vec<Binding>,
    }
    let files = texts.iter().filter_map(|(path, text)| {
        let path = path.strip_prefix("functions/")?;
        Some((path.strip_suffix("/function.json")?, text))
    });
    let functions = files.map(|(name, text)| {
        let file: File = serde_json::from_str(text)?;
        Ok(Function {
            name: name.to_owned(),
            bindings: file.bindings,
        })
    });
    functions.collect()
}

impl Function {
    /// The queue that wakes it, if one does.
    pub fn trigger_queue(&self) -> Option<&str> {
        let trigger = self.bindings.iter().find(|it| it.kind == "queueTrigger")?;
        trigger.queue_name.as_deref()
    }

    /// The queues that it sends to.
    pub fn output_queues(&self) -> impl Iterator<Item = &str> {
        let outputs = self.bindings.iter().filter(|it| it.kind == "queue");
        outputs.filter_map(|it| it.queue_name.as_deref())
    }
}
