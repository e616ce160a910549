//! The scripts that need a tool which may be missing.

use softlabel_infra::repository::root;
use std::process::{Command, Output};

/// Runs a script of `infra/` where neither Bicep's compiler nor npm is found.
fn without_tools(script: &str, ci: bool) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bash", "dirname"] {
        std::os::unix::fs::symlink(format!("/bin/{name}"), folder.path().join(name)).unwrap();
    }
    let mut command = Command::new(root().join("infra").join(script));
    command
        .env("PATH", folder.path())
        .env_remove("BICEP")
        .env_remove("CI");
    if ci {
        command.env("CI", "true");
    }
    command.output().unwrap()
}

#[test]
fn a_tool_that_is_missing_is_said_in_one_line_and_fails_in_ci() {
    for (script, what) in [
        ("check.sh", "the templates"),
        ("queries/check.sh", "the queries"),
    ] {
        for ci in [false, true] {
            let output = without_tools(script, ci);
            assert_eq!(output.status.success(), !ci, "{script}");
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(
                text.starts_with(&format!("not checked: {what}, for want of ")),
                "{text}"
            );
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}
