//! The licences of what is in the executable, for people to read: each text once, with the crates it is of.

use crate::crates::{Crate, Id, PACKAGE};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The MIT licence, for crates that name it and come without a text.
const MIT: &str = include_str!("../licences/MIT.txt");

/// What the file's name begins with, in lower case, where a crate keeps a licence, also one of C code
/// within it.
const NAMES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];

/// Files that are called so and are code.
const CODE: [&str; 8] = ["c", "go", "h", "html", "py", "rs", "sh", "toml"];

const RULE: &str =
    "--------------------------------------------------------------------------------";

/// The notices for an executable of `crates`. Reads the licences from the sources of the crates.
///
/// Fails for a crate that comes without the text of its licence, unless that is the MIT licence.
pub fn write(crates: &[Crate]) -> Result<String> {
    let others = || crates.iter().filter(|it| it.id.0 != PACKAGE);
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list = String::new();
    for it in others() {
        let name = name(&it.id);
        let repository = it.repository.as_deref().unwrap_or_default();
        writeln!(list, "{name}: {}  {repository}", it.license)?;
        for text in licences(it)? {
            let of = texts.entry(text).or_default();
            if !of.contains(&name) {
                of.push(name.clone());
            }
        }
    }
    let std = "Rust's standard library".to_owned();
    writeln!(
        list,
        "{std}: MIT OR Apache-2.0  https://github.com/rust-lang/rust"
    )?;
    let text = MIT.replace("{holders}", "The Rust Project Contributors");
    texts.entry(tidy(&text)).or_default().push(std);

    let mut texts: Vec<_> = texts.into_iter().map(|(text, of)| (of, text)).collect();
    texts.sort();
    let mut notices = format!(
        "The executable softlabel holds the software of others, listed here with its licences. Below, each\n\
         text of a licence follows the names of what it is for.\n\n{list}"
    );
    for (of, text) in texts {
        write!(notices, "\n{RULE}\n{}\n{RULE}\n\n{text}\n", of.join("\n"))?;
    }
    Ok(notices)
}

/// How a crate is called in the notices.
pub fn name((name, version): &Id) -> String {
    format!("{name} {version}")
}

/// The texts of a crate's licences.
fn licences(it: &Crate) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    collect(&it.folder, &mut texts)
        .with_context(|| format!("cannot look for licences in {}", it.folder.display()))?;
    if texts.is_empty() {
        let mut choices = it.license.split(" OR ");
        if !choices.any(|licence| licence == "MIT") {
            bail!(
                "{} comes without the text of its licence, {}: add that text to package/licences",
                name(&it.id),
                it.license
            );
        }
        let holders = match it.authors.as_slice() {
            [] => format!("the authors of {}", it.id.0),
            authors => authors.join(", "),
        };
        texts.push(tidy(&MIT.replace("{holders}", &holders)));
    }
    Ok(texts)
}

fn collect(folder: &Path, texts: &mut Vec<String>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            collect(&path, texts)?;
        } else if kind.is_file() && is_licence(&path) {
            texts.push(tidy(&String::from_utf8_lossy(&fs::read(&path)?)));
        }
    }
    Ok(())
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().and_then(|it| it.to_str());
    let name = name.unwrap_or_default().to_lowercase();
    let extension = path.extension().and_then(|it| it.to_str());
    let is_code = extension.is_some_and(|it| CODE.contains(&it));
    // The custom of REUSE: a folder, and in it MIT.txt.
    let folder = path.parent().and_then(Path::file_name);
    let in_folder = folder.is_some_and(|it| it == "LICENSES");
    !is_code && (in_folder || NAMES.iter().any(|it| name.starts_with(it)))
}

/// The same words in the same lines are the same text, whatever the system they were written on.
fn tidy(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn named(name: &str, license: &str, folder: PathBuf) -> Crate {
        Crate {
            id: (name.to_owned(), "1.0.0".to_owned()),
            license: license.to_owned(),
            authors: Vec::new(),
            description: None,
            repository: None,
            checksum: None,
            folder,
            uses: BTreeSet::new(),
        }
    }

    #[test]
    fn a_text_that_several_crates_have_stands_once() {
        let folder = tempfile::tempdir().unwrap();
        let crates = ["one", "two"].map(|name| {
            let own = folder.path().join(name);
            fs::create_dir_all(own.join("vendored/c")).unwrap();
            fs::write(own.join("license.rs"), "fn no_licence() {}").unwrap();
            let ending = if name == "one" { "\r\n" } else { "\n" };
            fs::write(
                own.join("LICENSE-MIT"),
                format!("shared{ending}text{ending}"),
            )
            .unwrap();
            fs::write(own.join("vendored/c/COPYING"), format!("of {name}'s C")).unwrap();
            named(name, "MIT", own)
        });
        let notices = write(&crates).unwrap();
        assert_eq!(notices.matches("shared\ntext").count(), 1, "{notices}");
        let both = format!("{RULE}\none 1.0.0\ntwo 1.0.0\n{RULE}\n\nshared\ntext\n");
        assert!(notices.contains(&both), "{notices}");
        assert!(notices.contains("of one's C") && notices.contains("of two's C"));
        assert!(!notices.contains("no_licence"));
    }

    #[test]
    fn a_crate_without_a_text_gets_the_mit_licence_or_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let own = || folder.path().to_owned();
        let notices = write(&[named("bare", "Apache-2.0 OR MIT", own())]).unwrap();
        assert!(
            notices.contains("Copyright (c) the authors of bare"),
            "{notices}"
        );
        let error = write(&[named("bare", "BSD-3-Clause", own())]).unwrap_err();
        assert!(
            error.to_string().contains("bare 1.0.0 comes without"),
            "{error}"
        );
    }
}
