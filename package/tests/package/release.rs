//! The archive for machines without Rust, around a program that answers as softlabel does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = r#"#!/bin/sh
case $1 in
--version) echo "softlabel 1.2.3" ;;
man)
    case "$*" in
    man) printf 'softlabel\\-label(1)\nlabels\nsoftlabel\\-two\\-words(1)\n' ;;
    "man two-words") printf 'softlabel\\-two\\-words\\-below(1)\n' ;;
    esac
    ;;
esac
[ "$1" = --version ] || echo "$*"
"#;

fn program(folder: &Path, text: &str) -> PathBuf {
    let program = folder.join("program");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn dist(program: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_softlabel-dist"))
        .arg("--executable")
        .arg(program)
        .arg("--output")
        .arg(output)
        .output()
        .unwrap()
}

#[test]
fn the_archive_has_all_that_a_machine_needs() {
    let folder = tempfile::tempdir().unwrap();
    let made = dist(&program(folder.path(), PROGRAM), folder.path());
    assert!(made.status.success(), "{made:?}");
    let name = format!(
        "softlabel-1.2.3-{}-unknown-linux-gnu",
        std::env::consts::ARCH
    );
    let archive = folder.path().join(format!("{name}.tar.gz"));
    let first = fs::read(&archive).unwrap();

    let mut files = BTreeMap::new();
    let unpacked = flate2::read::GzDecoder::new(File::open(&archive).unwrap());
    for entry in tar::Archive::new(unpacked).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mode = entry.header().mode().unwrap();
        let mut contents = String::new();
        entry.read_to_string(&mut contents).unwrap();
        let path = path.strip_prefix(&format!("{name}/")).unwrap().to_owned();
        files.insert(path, (mode, contents));
    }
    let (mode, contents) = files.remove("bin/softlabel").unwrap();
    assert_eq!((mode, contents.as_str()), (0o755, PROGRAM));
    for paper in ["LICENSE", "THIRD-PARTY-NOTICES.txt", "softlabel.cdx.json"] {
        let (mode, contents) = files
            .remove(&format!("share/doc/softlabel/{paper}"))
            .unwrap();
        assert!(mode == 0o644 && !contents.is_empty(), "{paper}");
    }
    let shared = files.iter().map(|(path, (mode, contents))| {
        assert_eq!(*mode, 0o644);
        (path.as_str(), contents.lines().last().unwrap())
    });
    assert_eq!(
        shared.collect::<Vec<_>>(),
        [
            (
                "share/bash-completion/completions/softlabel",
                "completions bash"
            ),
            (
                "share/fish/vendor_completions.d/softlabel.fish",
                "completions fish"
            ),
            ("share/man/man1/softlabel-label.1", "man label"),
            (
                "share/man/man1/softlabel-two-words-below.1",
                "man two-words below"
            ),
            ("share/man/man1/softlabel-two-words.1", "man two-words"),
            ("share/man/man1/softlabel.1", "man"),
            ("share/zsh/site-functions/_softlabel", "completions zsh"),
        ]
    );

    let again = tempfile::tempdir().unwrap();
    let made = dist(&program(again.path(), PROGRAM), again.path());
    assert!(made.status.success(), "{made:?}");
    let second = fs::read(again.path().join(format!("{name}.tar.gz"))).unwrap();
    assert!(first == second, "the same program gave another archive");
}

#[test]
fn a_program_that_is_not_softlabel_makes_no_archive() {
    let folder = tempfile::tempdir().unwrap();
    for (text, says) in [
        ("#!/bin/sh\nexit 2\n", "--version ended with"),
        ("#!/bin/sh\necho other 1.0\n", "has no version"),
    ] {
        let made = dist(&program(folder.path(), text), folder.path());
        assert_eq!(made.status.code(), Some(1));
        let error = String::from_utf8(made.stderr).unwrap();
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
