//! Zips that are no packages, each wrong in one thing.

use crate::papers::NAMES;
use crate::{executables, repository};
use softlabel_package::archive;
use softlabel_package::script_root::{Hosting, ScriptRoot};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The files of a good package, with their modes, to be changed.
fn good() -> BTreeMap<String, (u32, Vec<u8>)> {
    let root = ScriptRoot::read(repository(), Hosting::Local).unwrap();
    let files = root.files().clone().into_iter();
    let mut files: BTreeMap<_, _> = files
        .map(|(name, contents)| (name, (0o644, contents)))
        .collect();
    files.extend(NAMES.map(|paper| (paper.to_owned(), (0o644, b"text".to_vec()))));
    let executable = fs::read(executables::static_executable()).unwrap();
    files.insert("softlabel".to_owned(), (0o755, executable));
    files
}

/// What is wrong with a zip of `files`.
fn complaint(files: BTreeMap<String, (u32, Vec<u8>)>) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let zip = folder.path().join("tampered.zip");
    let mut writer = ZipWriter::new(File::create(&zip).unwrap());
    for (name, (mode, contents)) in files {
        let options = SimpleFileOptions::default().unix_permissions(mode);
        writer.start_file(name, options).unwrap();
        writer.write_all(&contents).unwrap();
    }
    writer.finish().unwrap();
    let error = archive::read(&zip, Hosting::Local).err()?;
    Some(format!("{error:#}"))
}

fn edit(files: &mut BTreeMap<String, (u32, Vec<u8>)>, file: &str, from: &str, to: &str) {
    let contents = &mut files.get_mut(file).unwrap().1;
    let text = String::from_utf8(contents.clone()).unwrap();
    assert!(text.contains(from));
    *contents = text.replace(from, to).into_bytes();
}

#[test]
fn what_is_not_tampered_with_passes() {
    assert_eq!(complaint(good()), None);
}

#[test]
fn an_executable_without_its_permission_is_caught() {
    let mut files = good();
    files.get_mut("softlabel").unwrap().0 = 0o644;
    assert!(
        complaint(files)
            .unwrap()
            .contains("has the mode 644, wanted is 755")
    );
}

#[test]
fn an_executable_that_is_missing_is_caught() {
    let mut files = good();
    files.remove("softlabel");
    assert!(
        complaint(files)
            .unwrap()
            .contains("lacks the executable softlabel")
    );
}

#[test]
fn papers_that_are_missing_or_empty_are_caught() {
    for paper in NAMES {
        let mut files = good();
        files.get_mut(paper).unwrap().1.clear();
        let empty = complaint(files.clone()).unwrap();
        files.remove(paper);
        for complaint in [empty, complaint(files).unwrap()] {
            assert!(complaint.contains(&format!("lacks {paper}")), "{complaint}");
        }
    }
}

#[test]
fn a_missing_function_is_caught_by_those_that_send_to_it() {
    let mut files = good();
    files.remove("publish-bucket/function.json");
    assert!(
        complaint(files)
            .unwrap()
            .contains("fills the queue publish-bucket, which wakes nobody")
    );
}

#[test]
fn a_queue_that_is_misspelt_is_caught() {
    let mut files = good();
    edit(
        &mut files,
        "abandon-chunk/function.json",
        "label-chunk-poison",
        "label-chunks-poison",
    );
    assert!(
        complaint(files)
            .unwrap()
            .contains("fills the queue label-chunk-poison, which wakes nobody")
    );
}

#[test]
fn functions_that_are_not_flattened_are_caught() {
    let mut files = good();
    let function = files.remove("runs/function.json").unwrap();
    files.insert("functions/runs/function.json".to_owned(), function);
    assert!(complaint(files).unwrap().contains("functions/runs"));
}

#[test]
fn broken_json_is_caught() {
    for file in ["host.json", "runs/function.json"] {
        let mut files = good();
        files.get_mut(file).unwrap().1.pop();
        files.get_mut(file).unwrap().1.pop();
        let complaint = complaint(files).unwrap();
        assert!(
            complaint.contains(&format!("cannot read {file}")),
            "{complaint}"
        );
    }
}

#[test]
fn files_that_nobody_asked_for_are_caught() {
    let mut files = good();
    files.insert("local.settings.json".to_owned(), (0o644, b"{}".to_vec()));
    assert!(
        complaint(files)
            .unwrap()
            .contains("local.settings.json does not belong there")
    );
}
