//! A script root as a zip. The same contents give the same bytes: order, times and modes are fixed.

use crate::papers::{self, Papers};
use crate::script_root::{Hosting, ScriptRoot, executable_name};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

const EXECUTABLE_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// The permissions among the bits of a mode.
const PERMISSIONS: u32 = 0o7777;

/// Writes `root` with the contents of `executable` and its papers to `zip`, which is written over.
pub fn write(root: &ScriptRoot, executable: &[u8], papers: &Papers, zip: &Path) -> Result<()> {
    let unwritable = || format!("cannot write {}", zip.display());
    let mut writer = ZipWriter::new(File::create(zip).with_context(unwritable)?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        // The beginning of a zip's time: when it was made would make each zip another one.
        .last_modified_time(DateTime::DEFAULT);
    let files = root.files().iter();
    let files = files.map(|(name, contents)| (name.as_str(), contents.as_slice(), FILE_MODE));
    let papers = papers
        .files()
        .map(|(name, contents)| (name, contents, FILE_MODE));
    let executable = (root.executable(), executable, EXECUTABLE_MODE);
    for (name, contents, mode) in files.chain(papers).chain([executable]) {
        writer
            .start_file(name, options.unix_permissions(mode))
            .with_context(unwritable)?;
        writer.write_all(contents).with_context(unwritable)?;
    }
    writer.finish().with_context(unwritable)?;
    Ok(())
}

/// Reads `zip` back and checks that it is a package for `hosting`: a script root with an executable
/// that may be executed, and the papers.
///
/// Returns the root and the contents of the executable.
pub fn read(zip: &Path, hosting: Hosting) -> Result<(ScriptRoot, Vec<u8>)> {
    let unreadable = || format!("cannot read {}", zip.display());
    let file = File::open(zip).with_context(unreadable)?;
    let mut archive = ZipArchive::new(file).with_context(unreadable)?;
    let mut files = BTreeMap::new();
    let mut modes = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).with_context(unreadable)?;
        let name = entry.name().with_context(unreadable)?.into_owned();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).with_context(unreadable)?;
        let mode = entry.unix_mode().unwrap_or_default() & PERMISSIONS;
        modes.insert(name.clone(), mode);
        let twice = files.insert(name, contents).is_some();
        ensure!(!twice, "{} holds a file twice", zip.display());
    }
    let wrong = || format!("{} is no package", zip.display());
    let name = executable_name(&files).with_context(wrong)?;
    let executable = files
        .remove(&name)
        .with_context(|| format!("{} lacks the executable {name}", zip.display()))?;
    for paper in papers::NAMES {
        let contents = files.remove(paper).unwrap_or_default();
        ensure!(!contents.is_empty(), "{} lacks {paper}", zip.display());
    }
    let root = ScriptRoot::from_files(files, hosting).with_context(wrong)?;
    for (file, mode) in modes {
        let wanted = if file == name {
            EXECUTABLE_MODE
        } else {
            FILE_MODE
        };
        ensure!(
            mode == wanted,
            "{file} in {} has the mode {mode:o}, wanted is {wanted:o}",
            zip.display()
        );
    }
    Ok((root, executable))
}
