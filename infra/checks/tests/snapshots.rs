//! The snapshots, against the templates that they were made from.

use sha2::{Digest, Sha256};
use softlabel_infra::repository::{root, snapshots, text, texts};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const SOURCES: &str = "infra/snapshots/sources.sha256";

/// The files that are no longer what `digests` says (`DIGEST  PATH`, one a line).
fn stale(root: &Path, digests: &str) -> Vec<String> {
    let lines = digests.lines().filter_map(|line| line.split_once("  "));
    let changed = lines.filter(|(digest, path)| {
        let now = fs::read(root.join(path)).map(|content| {
            let digest = Sha256::digest(content);
            digest.iter().map(|it| format!("{it:02x}")).collect()
        });
        now.unwrap_or_else(|error| error.to_string()) != **digest
    });
    changed.map(|(_, path)| path.to_owned()).collect()
}

#[test]
fn snapshots_are_those_of_the_templates() {
    let digests = text(SOURCES).unwrap();
    let changed = stale(&root(), &digests);
    assert!(
        changed.is_empty(),
        "{changed:?} changed since the snapshots were made: run `cargo xtask renew templates`"
    );
    // A file that came since is named in no digest.
    let listed: BTreeSet<&str> = digests
        .lines()
        .filter_map(|it| it.split("  ").nth(1))
        .collect();
    for ending in [".bicep", ".bicepparam"] {
        for path in texts("infra", ending).unwrap().keys() {
            assert!(listed.contains(path.as_str()), "{path} has no snapshot");
        }
    }
    for path in texts("infra/snapshots", ".snapshot.json").unwrap().keys() {
        let parameters = path.replace(".snapshot.json", ".bicepparam");
        assert!(listed.contains(parameters.as_str()), "{path} is of nothing");
    }
    for path in texts("infra/queries", ".kql").unwrap().keys() {
        assert!(listed.contains(path.as_str()), "no template loads {path}");
    }
}

#[test]
fn a_template_that_changed_since_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let digests = format!("{abc}  a.bicep\n{abc}  gone.bicep\n");
    fs::write(folder.path().join("a.bicep"), "abc").unwrap();
    assert_eq!(stale(folder.path(), &digests), ["gone.bicep"]);
    fs::write(folder.path().join("a.bicep"), "abd").unwrap();
    assert_eq!(stale(folder.path(), &digests), ["a.bicep", "gone.bicep"]);
}

#[test]
fn the_compiler_had_nothing_to_say_and_knew_every_deployment() {
    let snapshots = snapshots().unwrap();
    assert!(snapshots.len() >= 6);
    for snapshot in snapshots {
        assert!(snapshot.diagnostics.is_empty(), "{}", snapshot.name);
        assert!(snapshot.resources.len() > 40, "{}", snapshot.name);
        // A resource that may or may not be there is shown with its condition. One is: a key, of which the
        // compiler does not say whether it is empty.
        let open = snapshot.resources.iter();
        let open = open.filter(|it| it.body.contains_key("condition"));
        assert!(
            open.map(|it| it.kind.as_str())
                .all(|it| it == "Microsoft.KeyVault/vaults/secrets"),
            "{}",
            snapshot.name
        );
    }
}

#[test]
fn every_module_is_used() {
    let main = text("infra/main.bicep").unwrap();
    for path in texts("infra/app", ".bicep").unwrap().keys() {
        let name = path.strip_prefix("infra/").unwrap();
        assert!(main.contains(&format!("'{name}'")), "nothing uses {path}");
    }
}
