//! The files of this repository.

use crate::Problem;
use crate::deployment::Sources;
use crate::syntax::parse;
use crate::types::Types;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file that everything begins with.
pub const MAIN: &str = "infra/main.bicep";

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads `infra/`, `functions/` and `host.json`; the problems are those of the syntax.
pub fn read() -> anyhow::Result<(Sources, Vec<Problem>)> {
    let root = root();
    let mut sources = Sources {
        types: Types::read(&root.join("infra/types"))?,
        ..Sources::default()
    };
    for part in ["infra", "functions", "host.json"] {
        collect(&root, Path::new(part), &mut sources.texts)?;
    }
    let mut problems = Vec::new();
    for (path, text) in &sources.texts {
        if !path.ends_with(".bicep") {
            continue;
        }
        match parse(path, text) {
            Ok(file) => {
                sources.files.insert(path.clone(), file);
            }
            Err(found) => problems.extend(found),
        }
    }
    Ok((sources, problems))
}

fn collect(root: &Path, part: &Path, texts: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    let whole = root.join(part);
    if whole.is_dir() {
        for entry in fs::read_dir(&whole)? {
            let name = entry?.file_name();
            if !["types", "checks", "target"].iter().any(|it| name == *it) {
                collect(root, &part.join(name), texts)?;
            }
        }
        return Ok(());
    }
    let text = fs::read_to_string(&whole).with_context(|| format!("{}", whole.display()))?;
    let path = part.components().map(|it| it.as_os_str().to_string_lossy());
    texts.insert(path.collect::<Vec<_>>().join("/"), text);
    Ok(())
}
