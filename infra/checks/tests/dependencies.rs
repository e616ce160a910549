//! Every dependency stands once, in the workspace's `Cargo.toml`, with its version and the reason for it.

use softlabel_infra::repository::text;

/// The lines of `manifest` that declare dependencies, each with the line before it and its section.
fn declarations(manifest: &str) -> Vec<(String, String, String)> {
    let (mut section, mut before) = (String::new(), String::new());
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if section.ends_with("dependencies]") && line.contains('=') && !line.starts_with('#')
        {
            found.push((section.clone(), before, line.to_owned()));
        }
        before = line.to_owned();
    }
    found
}

#[test]
fn each_dependency_has_its_reason() {
    let declared = declarations(&text("Cargo.toml").unwrap());
    assert!(declared.len() > 30, "{declared:?}");
    for (_, before, line) in declared {
        let reason = before.strip_prefix("# ").unwrap_or_default();
        assert!(reason.ends_with('.'), "no reason stands above: {line}");
    }
}

/// `cargo demo` and all tasks begin with its build.
#[test]
fn the_tasks_need_no_dependency() {
    assert!(declarations(&text("xtask/Cargo.toml").unwrap()).is_empty());
}

#[test]
fn no_member_declares_a_version_of_its_own() {
    for member in ["handler", "infra/checks", "package", "tests"] {
        let declared = declarations(&text(&format!("{member}/Cargo.toml")).unwrap());
        assert!(!declared.is_empty(), "{member}");
        for (section, _, line) in declared {
            assert!(
                line.contains("workspace = true") || line.contains("path = "),
                "{member}, {section}: move the version and the reason to the workspace: {line}"
            );
        }
    }
}
