//! The files of this repository.

use crate::consistency::{Function, read_functions};
use crate::snapshot::Snapshot;
use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of a file, such as `infra/main.bicep`.
pub fn text(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// The texts of the files below a folder whose path ends so, by path.
pub fn texts(folder: &str, ending: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder));
        for entry in entries.with_context(|| format!("cannot read {folder}"))? {
            let entry = entry?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.ends_with(ending) {
                found.insert(path.clone(), text(&path)?);
            }
        }
    }
    Ok(found)
}

/// The functions in `functions/`.
pub fn functions() -> anyhow::Result<Vec<Function>> {
    read_functions(&texts("functions", "/function.json")?).context("cannot read functions/")
}

/// The dry deployment of `infra/snapshots/NAME.bicepparam`.
pub fn snapshot(name: &str) -> anyhow::Result<Snapshot> {
    let path = format!("infra/snapshots/{name}.snapshot.json");
    let read = || serde_json::from_str(&text(&path)?).context("it is no snapshot");
    let mut snapshot: Snapshot = read().with_context(|| path.clone())?;
    snapshot.name = name.to_owned();
    Ok(snapshot)
}

/// All of them.
pub fn snapshots() -> anyhow::Result<Vec<Snapshot>> {
    let files = texts("infra/snapshots", ".bicepparam")?;
    let names = files.keys().filter_map(|path| {
        let name = path.strip_prefix("infra/snapshots/")?;
        name.strip_suffix(".bicepparam")
    });
    names.map(snapshot).collect()
}

/// What the compiler read in `infra/main.bicep`.
#[derive(Debug, Deserialize)]
pub struct Template {
    /// In their order, each with `type`, `defaultValue` and limits.
    pub parameters: Map<String, Value>,
    /// Its resources and modules, each with those that it waits for.
    pub order: BTreeMap<String, Vec<String>>,
}

/// Reads it.
pub fn template() -> anyhow::Result<Template> {
    let path = "infra/snapshots/main.json";
    serde_json::from_str(&text(path)?).context(path)
}
