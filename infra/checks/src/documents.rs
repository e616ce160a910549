//! The pages of the repository, and the parts of `infra/README.md` that are made from the templates.

use crate::picture::draw;
use crate::repository;
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

/// The document, in the repository.
pub const README: &str = "infra/README.md";

/// Every page of the repository, by path.
pub fn pages() -> anyhow::Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(repository::root().join(&folder));
        for entry in entries.with_context(|| format!("cannot read {folder}"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}{name}");
            if entry.file_type()?.is_dir() {
                // What is built or fetched, and what git keeps.
                if !matches!(
                    name.as_str(),
                    "target" | "node_modules" | "bin" | "obj" | ".git"
                ) {
                    folders.push(format!("{path}/"));
                }
            } else if name.ends_with(".md") {
                pages.insert(path.clone(), repository::text(&path)?);
            }
        }
    }
    Ok(pages)
}

/// Puts what the templates say now between the document's marks, `<!-- begin NAME -->` and
/// `<!-- end NAME -->`.
pub fn weave(document: &str) -> anyhow::Result<String> {
    let mut document = document.to_owned();
    for (name, section) in [("picture", picture()?), ("parameters", parameters()?)] {
        let (begin, end) = (
            format!("<!-- begin {name} -->\n"),
            format!("<!-- end {name} -->"),
        );
        let marks = || format!("{README} has no marks for {name}");
        let (before, rest) = document.split_once(&begin).with_context(marks)?;
        let (_, after) = rest.split_once(&end).with_context(marks)?;
        document = format!("{before}{begin}{section}{end}{after}");
    }
    Ok(document)
}

fn picture() -> anyhow::Result<String> {
    let snapshot = repository::snapshot("everything-new")?;
    let mut accounts = snapshot.of_kind("Microsoft.Storage/storageAccounts");
    let token = accounts.find_map(|it| it.name.strip_prefix("st"));
    let token = token.context("the app's account is called st and the token")?;
    Ok(format!("```mermaid\n{}```\n", draw(&snapshot, token)))
}

fn parameters() -> anyhow::Result<String> {
    let mut table = String::from("| parameter | default | what it is for |\n|---|---|---|\n");
    for (name, parameter) in repository::template()?.parameters {
        let description = parameter.pointer("/metadata/description");
        let description = description.and_then(Value::as_str);
        let description = description.with_context(|| format!("{name} has no description"))?;
        let default = match parameter.get("defaultValue") {
            None => "to be given".to_owned(),
            Some(Value::String(text)) if text.is_empty() => String::new(),
            // An expression.
            Some(Value::String(text)) if text.starts_with('[') => "as described".to_owned(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{other}`"),
        };
        writeln!(table, "| `{name}` | {default} | {description} |")?;
    }
    Ok(table)
}
