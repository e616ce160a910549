//! Brings the parts of infra/README.md up to date that are made from the templates: `cargo xtask infra-docs`.

use anyhow::Context;
use softlabel_infra::documents::{README, weave};
use softlabel_infra::repository::{root, text};
use std::fs;

fn main() -> anyhow::Result<()> {
    let document = weave(&text(README)?)?;
    fs::write(root().join(README), document).with_context(|| format!("cannot write {README}"))
}
