//! Brings the parts of infra/README.md up to date that are made from the files: `cargo infra-docs`.

use anyhow::{Context, bail};
use softlabel_infra::documents::{README, weave};
use softlabel_infra::repository::{read, root};
use std::fs;

fn main() -> anyhow::Result<()> {
    let (sources, problems) = read()?;
    if let Some(problem) = problems.first() {
        bail!("{problem}");
    }
    let path = root().join(README);
    let document = fs::read_to_string(&path).with_context(|| format!("cannot read {README}"))?;
    fs::write(&path, weave(&document, &sources)?).with_context(|| format!("cannot write {README}"))
}
