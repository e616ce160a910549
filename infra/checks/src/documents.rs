//! The parts of `infra/README.md` that are made from the templates.

use crate::picture::draw;
use crate::repository;
use anyhow::Context;
use serde_json::Value;
use std::fmt::Write;

/// The document, in the repository.
pub const README: &str = "infra/README.md";

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
