//! The crates whose code is in the executable, as cargo resolves them for one platform.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that the executable is of.
pub const PACKAGE: &str = "softlabel";

/// What an executable can do, as features of cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// What the function app needs, and nothing that only a person asks for.
    App,
    /// Everything.
    CommandLine,
}

impl Features {
    /// How cargo is told.
    pub fn arguments(self) -> &'static [&'static str] {
        const ARGUMENTS: &[&str] = &["--features", "jemalloc", "--no-default-features"];
        match self {
            Self::App => ARGUMENTS,
            Self::CommandLine => ARGUMENTS.split_at(2).0,
        }
    }
}

/// A crate's name and version.
pub type Id = (String, String);

/// A crate in the executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Name and version.
    pub id: Id,
    /// An SPDX expression.
    pub license: String,
    /// Who wrote it, where it says so.
    pub authors: Vec<String>,
    /// What it is for, in its own words.
    pub description: Option<String>,
    /// The URL of its repository.
    pub repository: Option<String>,
    /// The SHA-256 of its source as the registry has it, in hexadecimal. `None` for a crate of this
    /// repository.
    pub checksum: Option<String>,
    /// Where its source lies on this machine.
    pub folder: PathBuf,
    /// The crates in the executable that it uses.
    pub uses: BTreeSet<Id>,
}

/// The crates of an executable for `target`, a triple, by name and version; softlabel is one of them.
/// Macros and build scripts run when it is built and are not in it.
///
/// Asks cargo, which downloads what is not on this machine yet.
pub fn linked(repository: &Path, target: &str, features: Features) -> Result<Vec<Crate>> {
    let tree = [
        "tree",
        "--locked",
        "--package",
        PACKAGE,
        "--edges",
        "normal,no-proc-macro",
        "--target",
        target,
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = [&tree[..], features.arguments()].concat();
    let linked: BTreeSet<Id> = cargo(repository, &tree)?.lines().filter_map(id).collect();
    let metadata = [
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        target,
    ];
    // Of a workspace's features cargo wants to know whose they are.
    let of_package = |argument: &&str| match argument.starts_with("--") {
        true => (*argument).to_owned(),
        false => format!("{PACKAGE}/{argument}"),
    };
    let features = features
        .arguments()
        .iter()
        .map(of_package)
        .collect::<Vec<_>>();
    let features = features.iter().map(String::as_str);
    let metadata = metadata.into_iter().chain(features).collect::<Vec<_>>();
    let metadata: Metadata = serde_json::from_str(&cargo(repository, &metadata)?)
        .context("cannot read what cargo metadata says")?;
    let lock = repository.join("Cargo.lock");
    let lock =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let checksums = checksums(&lock);

    let ids: BTreeMap<&str, Id> = metadata
        .packages
        .iter()
        .map(|it| (it.id.as_str(), (it.name.clone(), it.version.clone())))
        .collect();
    let mut uses: BTreeMap<&Id, BTreeSet<Id>> = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        let normal = node.deps.iter().filter(|it| it.is_normal());
        let normal = normal.filter_map(|it| ids.get(it.pkg.as_str()));
        let normal = normal.filter(|id| linked.contains(*id)).cloned();
        if let Some(id) = ids.get(node.id.as_str()) {
            uses.insert(id, normal.collect());
        }
    }
    let mut crates = Vec::new();
    for package in &metadata.packages {
        let id = (package.name.clone(), package.version.clone());
        if !linked.contains(&id) {
            continue;
        }
        let license = package.license.as_deref();
        let license = license.with_context(|| format!("{} states no licence", package.name))?;
        crates.push(Crate {
            // An older way to write the same.
            license: license.replace('/', " OR "),
            authors: package.authors.clone(),
            description: package.description.as_deref().map(one_line),
            repository: package.repository.clone(),
            checksum: checksums.get(&id).cloned(),
            folder: package.manifest_path.parent().unwrap_or(repository).into(),
            uses: uses.remove(&id).unwrap_or_default(),
            id,
        });
    }
    crates.sort_by(|one, other| one.id.cmp(&other.id));
    ensure!(
        crates.len() == linked.len(),
        "cargo tree and cargo metadata do not tell of the same crates"
    );
    Ok(crates)
}

/// Name and version in a line of `cargo tree`: `name v1.2.3 (/where/it/lies)`.
fn id(line: &str) -> Option<Id> {
    let mut words = line.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some((name.to_owned(), version.to_owned()))
}

/// The checksums in a `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<Id, String> {
    let value = |package: &str, key: &str| {
        let lines = package.lines();
        let mut values = lines.filter_map(|it| it.strip_prefix(key)?.strip_prefix(" = \""));
        values.next()?.strip_suffix('"').map(str::to_owned)
    };
    let packages = lock.split("[[package]]").skip(1);
    let checksums = packages.filter_map(|it| {
        let id = (value(it, "name")?, value(it, "version")?);
        Some((id, value(it, "checksum")?))
    });
    checksums.collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cargo(repository: &Path, arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(repository)
        .output()
        .context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let name = arguments.first().copied().unwrap_or_default();
    ensure!(
        output.status.success(),
        "cargo {name} ended with {}: {}",
        output.status,
        said.trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("cargo {name} wrote no text"))
}

/// What `cargo metadata` says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
    description: Option<String>,
    repository: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

impl Dependency {
    fn is_normal(&self) -> bool {
        self.dep_kinds.iter().any(|it| it.kind.is_none())
    }
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// `dev` or `build`; `None` for a normal dependency.
    kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_tree_give_names_and_versions() {
        let own = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(id("bytes v1.12.2"), own("bytes", "1.12.2"));
        assert_eq!(id("softlabel v0.1.0 (/a b/c)"), own("softlabel", "0.1.0"));
        assert_eq!(id("sys v0.7.1+5.3 (*)"), own("sys", "0.7.1+5.3"));
        assert_eq!(id(""), None);
    }

    #[test]
    fn checksums_are_those_of_the_registry() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
            source = \"registry\"\nchecksum = \"abc\"\ndependencies = [\n \"b\",\n]\n\n\
            [[package]]\nname = \"b\"\nversion = \"2.0.0\"\n";
        let id = ("a".to_owned(), "1.0.0".to_owned());
        assert_eq!(checksums(lock), [(id, "abc".to_owned())].into());
    }
}
