//! What accompanies the executable: complete, and of the crates that are in it.

use crate::{Packages, repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::process::Command;
use zip::ZipArchive;

/// All papers, by name.
pub(crate) const NAMES: [&str; 3] = ["LICENSE", "THIRD-PARTY-NOTICES.txt", "softlabel.cdx.json"];

/// The papers of the zip for Azure.
fn paper(packages: &Packages, name: &str) -> String {
    let mut zip = ZipArchive::new(File::open(packages.flex()).unwrap()).unwrap();
    let mut contents = String::new();
    let mut entry = zip.by_name(name).unwrap();
    entry.read_to_string(&mut contents).unwrap();
    contents
}

/// What cargo says is linked into softlabel for Azure, `name version`.
fn linked() -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--locked", "-p", "softlabel", "-F", "jemalloc"])
        .arg("--no-default-features")
        .args([
            "-e",
            "no-dev,no-build,no-proc-macro",
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .args(["--prefix", "none", "--no-dedupe", "-f", "{p}"])
        .current_dir(repository())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates = tree.lines().filter_map(|line| line.split_once(" v"));
    crates
        .map(|(name, rest)| format!("{name} {}", rest.split(' ').next().unwrap()))
        .collect()
}

#[test]
fn the_bill_of_materials_names_every_crate_of_the_executable() {
    let bill: Value =
        serde_json::from_str(&paper(&Packages::make(), "softlabel.cdx.json")).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let components = bill["components"].as_array().unwrap();
    let component = &bill["metadata"]["component"];
    let named: BTreeSet<String> = components
        .iter()
        .chain([component])
        .map(|it| {
            format!(
                "{} {}",
                it["name"].as_str().unwrap(),
                it["version"].as_str().unwrap()
            )
        })
        .collect();
    let linked = linked();
    assert!(linked.len() > 150, "{linked:?}");
    for name in ["softlabel", "tikv-jemalloc-sys", "aws-lc-sys", "reqwest"] {
        assert!(
            linked.iter().any(|it| it.starts_with(&format!("{name} "))),
            "{name}"
        );
    }
    assert_eq!(named, linked);

    let dependencies = bill["dependencies"].as_array().unwrap().iter();
    let references: BTreeSet<_> = dependencies
        .map(|it| {
            assert!(it["dependsOn"].is_array());
            it["ref"].as_str().unwrap()
        })
        .collect();
    assert_eq!(references.len(), linked.len());
    for it in components {
        assert!(references.contains(it["bom-ref"].as_str().unwrap()), "{it}");
        assert_eq!(
            it["hashes"][0]["content"].as_str().unwrap().len(),
            64,
            "{it}"
        );
        assert_ne!(
            it["licenses"][0]["expression"].as_str().unwrap(),
            "",
            "{it}"
        );
    }
}

#[test]
fn the_notices_hold_a_licence_for_every_crate_of_the_executable() {
    let notices = paper(&Packages::make(), "THIRD-PARTY-NOTICES.txt");
    let (list, texts) = notices.split_once(&"-".repeat(80)).unwrap();
    for name in linked().iter().filter(|it| !it.starts_with("softlabel ")) {
        assert!(
            list.contains(&format!("\n{name}: ")),
            "{name} is not listed"
        );
        assert!(texts.contains(&format!("\n{name}\n")), "{name} has no text");
    }
    // The C code in crates, and a licence that the SDK's crates come without.
    for text in ["Jason Evans", "OpenSSL", "Microsoft", "Rust Project"] {
        assert!(texts.contains(text), "{text}");
    }
}

#[test]
fn the_licence_is_that_of_the_repository() {
    let license = std::fs::read_to_string(repository().join("LICENSE")).unwrap();
    assert_eq!(paper(&Packages::make(), "LICENSE"), license);
}
