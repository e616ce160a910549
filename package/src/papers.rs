//! What accompanies an executable: softlabel's licence, the licences of what is in it, and its bill of
//! materials.

use crate::crates::Features;
use crate::{crates, notices, sbom};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// softlabel's own licence.
pub const LICENSE: &str = "LICENSE";

/// The licences of what else is in the executable.
pub const NOTICES: &str = "THIRD-PARTY-NOTICES.txt";

/// The bill of materials, CycloneDX as JSON.
pub const SBOM: &str = "softlabel.cdx.json";

/// The names of all papers.
pub const NAMES: [&str; 3] = [LICENSE, NOTICES, SBOM];

/// The papers of an executable for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Papers {
    files: [(&'static str, Vec<u8>); 3],
}

impl Papers {
    /// Makes the papers for an executable with `features` for `target`, a triple.
    pub fn make(repository: &Path, target: &str, features: Features) -> Result<Self> {
        let crates = crates::linked(repository, target, features)?;
        let license = repository.join(LICENSE);
        let license =
            fs::read(&license).with_context(|| format!("cannot read {}", license.display()))?;
        let files = [
            (LICENSE, license),
            (NOTICES, notices::write(&crates)?.into_bytes()),
            (SBOM, sbom::write(&crates)?),
        ];
        Ok(Self { files })
    }

    /// The papers by their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let files = self.files.iter();
        files.map(|(name, contents)| (*name, contents.as_slice()))
    }

    /// Writes the papers into `folder`.
    pub fn lay_out(&self, folder: &Path) -> Result<()> {
        for (name, contents) in self.files() {
            let file = folder.join(name);
            fs::write(&file, contents)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}
