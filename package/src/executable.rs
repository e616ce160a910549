//! What an executable asks of the machine that runs it, and whether the machines of Azure
//! Functions have it.

use anyhow::{Context, Result, bail, ensure};
use object::elf::{EM_X86_64, ET_DYN, ET_EXEC};
use object::read::elf::{ElfFile64, FileHeader};
use object::{FileKind, LittleEndian, Object};
use std::fmt;

/// The glibc of the oldest image that a custom handler is started in (Debian 11).
const NEWEST_GLIBC: [u32; 2] = [2, 31];

/// The shared libraries that every such image has: glibc's own, and the compiler's for unwinding.
const LIBRARIES: [&str; 9] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
];

/// A version of glibc's symbols, such as 2.28 or 2.2.5.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GlibcVersion(Vec<u32>);

impl GlibcVersion {
    /// The version in a symbol version's name such as `GLIBC_2.28`. `None` for names without one,
    /// such as `GLIBC_PRIVATE`.
    fn parse(symbol_version: &str) -> Option<Self> {
        let numbers = symbol_version.strip_prefix("GLIBC_")?.split('.');
        numbers
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()
            .map(Self)
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Checks that `executable`, a file's contents, runs where Azure Functions runs custom handlers:
/// an ELF executable for x86-64 that needs no library but glibc's, and no newer glibc than theirs.
///
/// Returns the oldest glibc it runs with, `None` for a static executable.
pub fn check(executable: &[u8]) -> Result<Option<GlibcVersion>> {
    ensure!(
        matches!(FileKind::parse(executable), Ok(FileKind::Elf64)),
        "it is no 64-bit ELF executable"
    );
    let elf = ElfFile64::<LittleEndian>::parse(executable).context("its ELF cannot be read")?;
    let header = elf.elf_header();
    ensure!(
        header.e_machine(LittleEndian) == EM_X86_64,
        "it is not for x86-64"
    );
    ensure!(
        matches!(header.e_type(LittleEndian), ET_EXEC | ET_DYN),
        "it is a part of a program, no executable"
    );
    for library in elf.import_libraries().context("its ELF cannot be read")? {
        let library = library.context("its ELF cannot be read")?;
        let name = String::from_utf8_lossy(library.name());
        ensure!(
            LIBRARIES.contains(&name.as_ref()),
            "it needs the library {name}, which the machines of Azure Functions need not have: \
             link that statically"
        );
    }
    let newest = newest_glibc(&elf)?;
    let limit = GlibcVersion(NEWEST_GLIBC.to_vec());
    if let Some(needed) = newest.as_ref().filter(|needed| **needed > limit) {
        bail!(
            "it needs glibc {needed}, and the machines of Azure Functions need not have more than \
             {limit}"
        );
    }
    Ok(newest)
}

/// The newest version of glibc's symbols that `elf` refers to.
fn newest_glibc(elf: &ElfFile64<'_, LittleEndian>) -> Result<Option<GlibcVersion>> {
    let unreadable = "its ELF's table of needed versions cannot be read";
    let sections = elf.elf_section_table();
    let Some((libraries, strings)) = sections
        .gnu_verneed(LittleEndian, elf.data())
        .context(unreadable)?
    else {
        return Ok(None);
    };
    let strings = sections
        .strings(LittleEndian, elf.data(), strings)
        .context(unreadable)?;
    let mut newest = None;
    for library in libraries {
        let (_, versions) = library.context(unreadable)?;
        for version in versions {
            let version = version.context(unreadable)?;
            let name = version.name(LittleEndian, strings).context(unreadable)?;
            let name = String::from_utf8_lossy(name);
            if !name.starts_with("GLIBC_") {
                continue;
            }
            // GLIBC_ABI_DT_RELR and the like: marks of a glibc newer than the numbers say.
            let version = GlibcVersion::parse(&name)
                .with_context(|| format!("it needs {name}, which not every glibc has"))?;
            newest = newest.max(Some(version));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> GlibcVersion {
        GlibcVersion::parse(name).unwrap()
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(version("GLIBC_2.9") < version("GLIBC_2.31"));
        assert!(version("GLIBC_2.2.5") < version("GLIBC_2.28"));
        assert!(version("GLIBC_2.31") < version("GLIBC_2.32"));
        assert_eq!(version("GLIBC_2.2.5").to_string(), "2.2.5");
    }

    #[test]
    fn names_without_numbers_are_no_versions() {
        for name in ["GLIBC_PRIVATE", "GLIBC_ABI_DT_RELR", "GLIBC_", "GCC_3.0"] {
            assert_eq!(GlibcVersion::parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        for contents in [
            &b""[..],
            b"#!/bin/sh\n",
            b"\xcf\xfa\xed\xfe0000000000000000",
        ] {
            let error = check(contents).unwrap_err();
            assert_eq!(error.to_string(), "it is no 64-bit ELF executable");
        }
    }
}
