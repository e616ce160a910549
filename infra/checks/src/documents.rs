//! The parts of `infra/README.md` that are made from the files.

use crate::ast::{Expr, Node, Part};
use crate::builtin::text;
use crate::consistency::of_kind;
use crate::deployment::{Sources, deploy};
use crate::picture::draw;
use crate::repository::MAIN;
use anyhow::{Context, anyhow};
use serde_json::{Map, json};
use std::fmt::Write;

/// The document, in the repository.
pub const README: &str = "infra/README.md";

/// Puts what the files say now between the document's marks, `<!-- begin NAME -->` and
/// `<!-- end NAME -->`.
pub fn weave(document: &str, sources: &Sources) -> anyhow::Result<String> {
    let mut document = document.to_owned();
    for (name, section) in [
        ("picture", picture(sources)?),
        ("parameters", parameters(sources)?),
    ] {
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

fn picture(sources: &Sources) -> anyhow::Result<String> {
    let mut parameters = Map::new();
    parameters.insert("environmentName".to_owned(), json!("ENVIRONMENT"));
    parameters.insert("location".to_owned(), json!("LOCATION"));
    let deployment = deploy(sources, MAIN, parameters)?;
    let accounts = of_kind(&deployment, "Microsoft.Storage/storageAccounts");
    let name = accounts.first().map(|it| it.name.as_str());
    let token = name.and_then(|name| name.strip_prefix("st"));
    let token = token.context("the app's account is called st and the token")?;
    Ok(format!("```mermaid\n{}```\n", draw(&deployment, token)))
}

fn parameters(sources: &Sources) -> anyhow::Result<String> {
    let main = sources.files.get(MAIN).context(MAIN)?;
    let mut table = String::from("| parameter | default | what it is for |\n|---|---|---|\n");
    for param in &main.params {
        let description = param.decorators.iter().find(|it| it.name == "description");
        let description = description
            .and_then(|it| it.arguments.first())
            .and_then(plain);
        let description =
            description.ok_or_else(|| anyhow!("{} has no description", param.name))?;
        let default = match param.default.as_ref().map(|it| (plain(it), &it.node)) {
            None => "to be given".to_owned(),
            Some((Some(text), _)) if text.is_empty() => String::new(),
            Some((Some(text), _)) => format!("`{text}`"),
            Some((None, _)) => "as described".to_owned(),
        };
        writeln!(table, "| `{}` | {default} | {description} |", param.name)?;
    }
    Ok(table)
}

fn plain(expr: &Expr) -> Option<String> {
    match &expr.node {
        Node::Int(number) => Some(text(&json!(number))),
        Node::Bool(value) => Some(text(&json!(value))),
        Node::Object(properties) if properties.is_empty() => Some("{}".to_owned()),
        Node::Text(parts) => match parts.as_slice() {
            [] => Some(String::new()),
            [Part::Plain(text)] => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}
