//! Executables that Azure would and would not run, linked by this machine's Rust.

use crate::{names, zip_command};
use softlabel_package::executable;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// An executable that needs nothing of the machine. Built once.
pub(crate) fn static_executable() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = folder("static");
        let built = folder.join("nothing");
        let flags = ["-C", "target-feature=+crt-static"];
        rustc("fn main() {}", &built, &flags);
        built
    });
    BUILT.clone()
}

/// The command itself: linked, as every debug build, against the glibc of this machine.
fn of_this_machine() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_softlabel-package"))
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn rustc(source: &str, output: &Path, flags: &[&str]) {
    let file = output.with_extension("rs");
    fs::write(&file, source).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args(["--edition", "2024", "-o"])
        .arg(output)
        .args(flags)
        .arg(&file)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_static_executable_needs_no_glibc() {
    let contents = fs::read(static_executable()).unwrap();
    assert_eq!(executable::check(&contents).unwrap(), None);
}

#[test]
fn a_glibc_newer_than_azures_is_refused_and_leaves_no_zip() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("softlabel-flex.zip"),
        "of an earlier call",
    )
    .unwrap();
    let made = zip_command(of_this_machine(), &[], folder.path());
    let error = String::from_utf8(made.stderr).unwrap();
    assert_eq!(made.status.code(), Some(1));
    // Fails where the tests themselves run with a glibc as old as Azure's.
    assert!(error.contains("it needs glibc 2."), "{error}");
    assert!(error.contains("Leave --executable out"), "{error}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn for_this_machine_a_newer_glibc_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let made = zip_command(of_this_machine(), &["--local"], folder.path());
    let warning = String::from_utf8(made.stderr).unwrap();
    assert!(made.status.success(), "{warning}");
    assert!(warning.starts_with("warning: Azure would not run the executable"));
    assert_eq!(
        names(folder.path()),
        ["softlabel-local.zip".to_owned()].into()
    );
}

#[test]
fn a_library_that_azure_need_not_have_is_refused() {
    let folder = folder("library");
    let library = "#[unsafe(no_mangle)] pub extern \"C\" fn own() {}";
    rustc(
        library,
        &folder.join("libown.so"),
        &["--crate-type", "cdylib"],
    );
    let main = "#[link(name = \"own\")] unsafe extern \"C\" { safe fn own(); }\n\
                fn main() { own() }";
    let dependent = folder.join("dependent");
    rustc(main, &dependent, &["-L", folder.to_str().unwrap()]);
    let error = executable::check(&fs::read(dependent).unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("needs the library libown.so"),
        "{error}"
    );
}

#[test]
fn another_processor_and_parts_of_programs_are_refused() {
    let mut contents = fs::read(static_executable()).unwrap();
    // e_machine: AArch64.
    contents[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let error = executable::check(&contents).unwrap_err();
    assert_eq!(error.to_string(), "it is not for x86-64");

    let object = folder("object").join("part.o");
    rustc("fn main() {}", &object, &["--emit", "obj"]);
    let error = executable::check(&fs::read(object).unwrap()).unwrap_err();
    assert!(error.to_string().contains("a part of a program"), "{error}");
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let contents = fs::read(of_this_machine()).unwrap();
    // The table of sections lies at the end.
    let half = &contents[..contents.len() / 2];
    let error = executable::check(half).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn an_executable_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let made = zip_command(Path::new("no/such/file"), &[], folder.path());
    let error = String::from_utf8(made.stderr).unwrap();
    assert_eq!(made.status.code(), Some(1));
    assert!(error.contains("cannot read no/such/file"), "{error}");
}
