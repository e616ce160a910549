//! What is installed without Rust: an archive of the executable with completions, man pages and papers.
//! The same contents give the same bytes: order, times, owners and modes are fixed.

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use tar::{Builder, EntryType, Header};

/// The shells that completions are made for, each with the file it looks for below the prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/softlabel"),
    ("fish", "share/fish/vendor_completions.d/softlabel.fish"),
    ("zsh", "share/zsh/site-functions/_softlabel"),
];

/// What `softlabel --version` says after the name, for example 0.1.0.
pub fn version(executable: &Path) -> Result<String> {
    let said = String::from_utf8(ask(executable, &["--version"])?);
    let said = said.context("it has no version")?;
    let version = said.trim().strip_prefix("softlabel ");
    Ok(version.context("it has no version")?.to_owned())
}

/// Completions and man pages of `executable`, by their paths below a prefix such as `/usr/local`.
pub fn shared(executable: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for (shell, path) in COMPLETIONS {
        files.push((path.to_owned(), ask(executable, &["completions", shell])?));
    }
    pages(executable, &[], &mut files)?;
    Ok(files)
}

/// Adds the man page of a command, and those of the commands below it.
fn pages(executable: &Path, command: &[&str], files: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let page = ask(executable, &[&["man"][..], command].concat())?;
    let text = String::from_utf8_lossy(&page).into_owned();
    let name = [&["softlabel"][..], command].concat().join("-");
    files.push((format!("share/man/man1/{name}.1"), page));
    // The page refers to each on a line of its own: softlabel\-label(1).
    let below = format!("{name}-");
    let lines = text.lines().map(|line| line.replace("\\-", "-"));
    let named = lines.filter_map(|line| {
        let name = line.strip_prefix(&below)?.strip_suffix("(1)")?;
        Some(name.to_owned())
    });
    for name in named.collect::<Vec<_>>() {
        pages(executable, &[command, &[name.as_str()]].concat(), files)?;
    }
    Ok(())
}

fn ask(executable: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let what = || format!("{} {}", executable.display(), arguments.join(" "));
    let output = Command::new(executable)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {}", what()))?;
    ensure!(
        output.status.success(),
        "{} ended with {}",
        what(),
        output.status
    );
    Ok(output.stdout)
}

/// A file of an archive.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its path in the archive's one folder.
    pub path: String,
    /// Its contents.
    pub contents: &'a [u8],
    /// Whether it may be executed.
    pub executable: bool,
}

/// Writes `entries` to `file`, a `.tar.gz`, all below one folder called `folder`.
pub fn write(file: &Path, folder: &str, entries: &[Entry<'_>]) -> Result<()> {
    let unwritable = || format!("cannot write {}", file.display());
    let output = File::create(file).with_context(unwritable)?;
    let output = GzBuilder::new().write(output, Compression::best());
    let mut archive = Builder::new(output);
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(u64::try_from(entry.contents.len())?);
        header.set_mode(if entry.executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let path = format!("{folder}/{}", entry.path);
        archive
            .append_data(&mut header, path, entry.contents)
            .with_context(unwritable)?;
    }
    let compressed = archive.into_inner().with_context(unwritable)?;
    let output = compressed.finish().with_context(unwritable)?;
    output.sync_all().with_context(unwritable)
}
