//! The script root: the folder that the Azure Functions host starts from.
//!
//! The host finds a function only at `<root>/<name>/function.json`, so the repository's
//! `functions/` is flattened into it, beside `host.json` and the executable that `host.json` names.

use crate::function::{self, Function};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The host's own settings.
const HOST_JSON: &str = "host.json";

/// A function's description, in the function's folder.
const FUNCTION_JSON: &str = "function.json";

/// Where the app runs, which decides how its blob trigger learns of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosting {
    /// Flex Consumption, where a blob trigger must get its events from Event Grid.
    Flex,
    /// Core Tools, the other plans, and the doubles: the host polls.
    Local,
}

impl Hosting {
    /// What a blob trigger's `source` must be.
    fn blob_source(self) -> Option<&'static str> {
        match self {
            Self::Flex => Some("EventGrid"),
            Self::Local => None,
        }
    }
}

/// All files of a script root but the executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRoot {
    files: BTreeMap<String, Vec<u8>>,
    functions: Vec<Function>,
    executable: String,
}

impl ScriptRoot {
    /// Reads `host.json` and `functions/` of the repository.
    pub fn read(repository: &Path, hosting: Hosting) -> Result<Self> {
        let mut files = BTreeMap::new();
        files.insert(HOST_JSON.to_owned(), read(&repository.join(HOST_JSON))?);
        let functions = repository.join("functions");
        let unreadable = || format!("cannot read the folder {}", functions.display());
        for entry in fs::read_dir(&functions).with_context(unreadable)? {
            let folder = entry.with_context(unreadable)?.path();
            if !folder.is_dir() {
                continue;
            }
            let name = folder.file_name().and_then(|name| name.to_str());
            let name =
                name.with_context(|| format!("{} is no function's name", folder.display()))?;
            let contents = with_source(read(&folder.join(FUNCTION_JSON))?, hosting)
                .with_context(|| format!("cannot read {name}/{FUNCTION_JSON}"))?;
            files.insert(format!("{name}/{FUNCTION_JSON}"), contents);
        }
        Self::from_files(files, hosting)
    }

    /// Takes `files`, named by their paths in the root, and checks that they are a script root for
    /// `hosting`: nothing is missing, superfluous, or at odds with another file.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>, hosting: Hosting) -> Result<Self> {
        let executable = executable_name(&files)?;
        let mut functions = Vec::new();
        for (path, contents) in files.iter().filter(|(path, _)| *path != HOST_JSON) {
            let name = path
                .strip_suffix(FUNCTION_JSON)
                .and_then(|path| path.strip_suffix('/'))
                .with_context(|| format!("{path} does not belong there"))?;
            functions.push(Function::parse(name, contents)?);
        }
        function::check(&functions)?;
        check_sources(&functions, hosting)?;
        Ok(Self {
            files,
            functions,
            executable,
        })
    }

    /// The functions, by name.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The files by their paths in the root.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// The executable's name in the root, as `host.json` has it.
    pub fn executable(&self) -> &str {
        &self.executable
    }

    /// Lays the root out in `folder`, which must be absent or empty. The executable is linked, so
    /// that tests need not copy it, and copied where that is not possible.
    pub fn lay_out(&self, folder: &Path, executable: &Path) -> Result<()> {
        let unwritable = || format!("cannot lay the function app out in {}", folder.display());
        fs::create_dir_all(folder).with_context(unwritable)?;
        let is_empty = fs::read_dir(folder)
            .with_context(unwritable)?
            .next()
            .is_none();
        ensure!(
            is_empty,
            "{} is not empty, and the function app is laid out in empty folders only",
            folder.display()
        );
        for (path, contents) in &self.files {
            let file = folder.join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).with_context(unwritable)?;
            }
            fs::write(&file, contents).with_context(unwritable)?;
        }
        link_or_copy(executable, &folder.join(&self.executable))
            .with_context(|| format!("cannot copy the executable {}", executable.display()))
    }
}

/// The name of the executable that the host starts, from the `host.json` among `files`.
pub(crate) fn executable_name(files: &BTreeMap<String, Vec<u8>>) -> Result<String> {
    let host_json = files
        .get(HOST_JSON)
        .with_context(|| format!("{HOST_JSON} is missing"))?;
    let host_json: Value =
        serde_json::from_slice(host_json).with_context(|| format!("cannot read {HOST_JSON}"))?;
    let name = host_json
        .pointer("/customHandler/description/defaultExecutablePath")
        .and_then(Value::as_str)
        .with_context(|| {
            format!("{HOST_JSON} must name customHandler.description.defaultExecutablePath")
        })?;
    ensure!(
        !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']),
        "the executable in {HOST_JSON} must be a file of the root, not {name:?}"
    );
    Ok(name.to_owned())
}

/// `function_json` with the source that `hosting` wants in its blob trigger; without a blob
/// trigger the same bytes.
fn with_source(function_json: Vec<u8>, hosting: Hosting) -> Result<Vec<u8>> {
    let Some(source) = hosting.blob_source() else {
        return Ok(function_json);
    };
    let mut value: Value = serde_json::from_slice(&function_json)?;
    let bindings = value.get_mut("bindings").and_then(Value::as_array_mut);
    let mut changed = false;
    for binding in bindings.into_iter().flatten() {
        if binding.get("type").and_then(Value::as_str) == Some("blobTrigger")
            && let Some(binding) = binding.as_object_mut()
        {
            binding.insert("source".to_owned(), source.into());
            changed = true;
        }
    }
    if !changed {
        return Ok(function_json);
    }
    let mut contents = serde_json::to_vec_pretty(&value)?;
    contents.push(b'\n');
    Ok(contents)
}

fn check_sources(functions: &[Function], hosting: Hosting) -> Result<()> {
    for function in functions {
        let trigger = function.trigger()?;
        let source = trigger.source.as_deref();
        ensure!(
            trigger.kind != "blobTrigger" || source == hosting.blob_source(),
            "the blob trigger of {} has the source {source:?}, wanted is {:?}",
            function.name,
            hosting.blob_source()
        );
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        // Another file system, or one that has no links.
        Err(error) if error.kind() != ErrorKind::NotFound => fs::copy(from, to).map(drop),
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = r#"{"customHandler": {"description": {"defaultExecutablePath": "it"}}}"#;
    const BLOB: &str = r#"{"bindings": [{"name": "b", "type": "blobTrigger", "direction": "in",
        "path": "c/{d}", "connection": "Data"}]}"#;

    fn repository(host: &str, function: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(HOST_JSON), host).unwrap();
        let functions = folder.path().join("functions");
        fs::create_dir_all(functions.join("one")).unwrap();
        fs::write(functions.join("README.md"), "no function").unwrap();
        fs::write(functions.join("one").join(FUNCTION_JSON), function).unwrap();
        folder
    }

    #[test]
    fn only_flex_gets_a_source_and_nothing_else_changes() {
        let repository = repository(HOST, BLOB);
        let local = ScriptRoot::read(repository.path(), Hosting::Local).unwrap();
        assert_eq!(local.files()["one/function.json"], BLOB.as_bytes());
        let flex = ScriptRoot::read(repository.path(), Hosting::Flex).unwrap();
        let mut changed: Value =
            serde_json::from_slice(&flex.files()["one/function.json"]).unwrap();
        let binding = changed["bindings"][0].as_object_mut().unwrap();
        assert_eq!(binding.remove("source"), Some("EventGrid".into()));
        assert_eq!(changed, serde_json::from_str::<Value>(BLOB).unwrap());
    }

    #[test]
    fn a_source_that_the_hosting_does_not_want_is_refused() {
        let repository = repository(HOST, BLOB);
        let flex = ScriptRoot::read(repository.path(), Hosting::Flex).unwrap();
        let error = ScriptRoot::from_files(flex.files, Hosting::Local).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has the source Some(\"EventGrid\")")
        );
    }

    #[test]
    fn the_folder_holds_what_the_host_looks_for() {
        let repository = repository(HOST, BLOB);
        let executable = repository.path().join("built");
        fs::write(&executable, "an executable").unwrap();
        let root = ScriptRoot::read(repository.path(), Hosting::Local).unwrap();
        let folder = repository.path().join("target/root");
        root.lay_out(&folder, &executable).unwrap();
        assert_eq!(
            fs::read_to_string(folder.join("it")).unwrap(),
            "an executable"
        );
        assert_eq!(fs::read_to_string(folder.join(HOST_JSON)).unwrap(), HOST);
        let function = fs::read_to_string(folder.join("one/function.json")).unwrap();
        assert_eq!(function, BLOB);

        let again = root.lay_out(&folder, &executable).unwrap_err();
        assert!(again.to_string().contains("is not empty"));
    }

    #[test]
    fn an_executable_elsewhere_is_refused() {
        for name in ["", "../it", "bin/it", "."] {
            let host = HOST.replace("\"it\"", &format!("{name:?}"));
            let repository = repository(&host, BLOB);
            assert!(
                ScriptRoot::read(repository.path(), Hosting::Local).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn files_that_belong_elsewhere_are_refused() {
        for path in [
            "README.md",
            "function.json",
            "a/b/function.json",
            "one/other.json",
        ] {
            let mut files = BTreeMap::from([(HOST_JSON.to_owned(), HOST.as_bytes().to_vec())]);
            files.insert("one/function.json".to_owned(), BLOB.as_bytes().to_vec());
            files.insert(path.to_owned(), BLOB.as_bytes().to_vec());
            assert!(
                ScriptRoot::from_files(files, Hosting::Local).is_err(),
                "{path}"
            );
        }
    }
}
