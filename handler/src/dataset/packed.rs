//! Files that may hold conversations and are not read, and the commands that convert them.

use std::borrow::Cow;

/// Bytes at the beginning of a file that show what it is.
pub const TELLING_BYTES: u64 = 6;

/// Reads a Parquet file group by group, whatever its size, and keeps lists and objects as they are.
const FROM_PARQUET: &str = "import json, sys, pyarrow.parquet as p; [print(json.dumps(r, default=str)) \
     for b in p.ParquetFile(sys.argv[1]).iter_batches() for r in b.to_pylist()]";

const FROM_CSV: &str = "import csv, json, sys; csv.field_size_limit(2**31 - 1); [print(json.dumps(r)) \
     for r in csv.DictReader(open(sys.argv[1], newline=\"\", encoding=\"utf-8-sig\"))]";

/// A shape of file that has to be converted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// A file compressed by gzip (`.gz`).
    Gzip,
    /// A file compressed by Zstandard (`.zst`).
    Zstd,
    /// A file compressed by xz (`.xz`).
    Xz,
    /// A file compressed by bzip2 (`.bz2`).
    Bzip2,
    /// A file compressed by LZ4 (`.lz4`).
    Lz4,
    /// An archive of PKZIP's format (`.zip`).
    Zip,
    /// An archive of 7-Zip's format (`.7z`).
    SevenZip,
    /// A table in Apache Parquet (`.parquet`).
    Parquet,
    /// A table as comma-separated text (`.csv`), which only its name tells.
    Csv,
}

impl Packed {
    const ALL: [Self; 9] = [
        Self::Gzip,
        Self::Zstd,
        Self::Xz,
        Self::Bzip2,
        Self::Lz4,
        Self::Zip,
        Self::SevenZip,
        Self::Parquet,
        Self::Csv,
    ];

    /// What a file that begins with these bytes is. A CSV file begins with anything.
    pub fn of_content(first: &[u8]) -> Option<Self> {
        match first {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', ..] => Some(Self::Bzip2),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Some(Self::SevenZip),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            [b'P', b'A', b'R', b'1', ..] => Some(Self::Parquet),
            _ => None,
        }
    }

    /// What a file is by its name.
    pub fn of_name(file: &str) -> Option<Self> {
        let (_, ending) = file.rsplit_once('.')?;
        let mut all = Self::ALL.into_iter();
        all.find(|it| it.ending().eq_ignore_ascii_case(ending))
    }

    /// What [`Self::what`] calls so.
    pub(super) fn called(what: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.what() == what)
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
            Self::Xz => "xz",
            Self::Bzip2 => "bz2",
            Self::Lz4 => "lz4",
            Self::Zip => "zip",
            Self::SevenZip => "7z",
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }

    /// The shape in words for messages, such as `a zip archive`.
    pub fn what(self) -> &'static str {
        match self {
            Self::Gzip => "gzip-compressed data",
            Self::Zstd => "zstd-compressed data",
            Self::Xz => "xz-compressed data",
            Self::Bzip2 => "bzip2-compressed data",
            Self::Lz4 => "lz4-compressed data",
            Self::Zip => "a zip archive",
            Self::SevenZip => "a 7z archive",
            Self::Parquet => "a Parquet file",
            Self::Csv => "a CSV file",
        }
    }

    /// What to do about `file`, a path: the command line that makes a file of it that is read.
    pub fn remedy(self, file: &str) -> String {
        let stem = file.rsplit_once('.').filter(|(stem, ending)| {
            !stem.is_empty() && ending.eq_ignore_ascii_case(self.ending())
        });
        let is_data = |name: &str| {
            let ending = name.rsplit_once('.').map(|(_, ending)| ending);
            ending.is_some_and(|it| ["json", "jsonl"].iter().any(|e| it.eq_ignore_ascii_case(e)))
        };
        let to = match stem {
            Some((stem, _)) if is_data(stem) => stem.to_owned(),
            Some((stem, _)) => format!("{stem}.json"),
            // It is called like something else.
            None => format!("{}.unpacked.json", file.trim_end_matches(".json")),
        };
        let (from, to) = (quoted(file), quoted(&to));
        let (verb, command) = match self {
            Self::Gzip => ("unpack", format!("gzip -dc < {from} > {to}")),
            Self::Zstd => ("unpack", format!("zstd -dc < {from} > {to}")),
            Self::Xz => ("unpack", format!("xz -dc < {from} > {to}")),
            Self::Bzip2 => ("unpack", format!("bzip2 -dc < {from} > {to}")),
            Self::Lz4 => ("unpack", format!("lz4 -dc < {from} > {to}")),
            Self::Zip => ("unpack", format!("unzip -p {from} > {to}")),
            Self::SevenZip => ("unpack", format!("7z x -so {from} > {to}")),
            Self::Parquet => (
                "convert",
                format!("python3 -c '{FROM_PARQUET}' {from} > {to} (with pip install pyarrow)"),
            ),
            Self::Csv => ("convert", format!("python3 -c '{FROM_CSV}' {from} > {to}")),
        };
        format!("{verb} it: {command}")
    }
}

/// A path quoted so that a shell reads one word and no command reads an option.
fn quoted(path: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-:@%+=,".contains(&byte);
    let path = match path.starts_with('-') {
        true => Cow::Owned(format!("./{path}")),
        false => Cow::Borrowed(path),
    };
    match path.bytes().all(is_plain) && !path.is_empty() {
        true => path,
        false => Cow::Owned(format!("'{}'", path.replace('\'', r"'\''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_one_that_a_shell_takes() {
        for (packed, file, command) in [
            (Packed::Gzip, "a.json.gz", "gzip -dc < a.json.gz > a.json"),
            (
                Packed::Zstd,
                "t/a.jsonl.ZST",
                "zstd -dc < t/a.jsonl.ZST > t/a.jsonl",
            ),
            (
                Packed::Gzip,
                "a.json",
                "gzip -dc < a.json > a.unpacked.json",
            ),
            (Packed::Xz, "a b.xz", "xz -dc < 'a b.xz' > 'a b.json'"),
            (
                Packed::Bzip2,
                "it's.bz2",
                r"bzip2 -dc < 'it'\''s.bz2' > 'it'\''s.json'",
            ),
            (Packed::Lz4, "a.json.lz4", "lz4 -dc < a.json.lz4 > a.json"),
            (Packed::Zip, "-a.zip", "unzip -p ./-a.zip > ./-a.json"),
            (Packed::SevenZip, "a.7z", "7z x -so a.7z > a.json"),
        ] {
            assert_eq!(packed.remedy(file), format!("unpack it: {command}"));
        }
        let parquet = Packed::Parquet.remedy("train/a.parquet");
        assert!(
            parquet.contains("' train/a.parquet > train/a.json"),
            "{parquet}"
        );
        assert_eq!(
            FROM_PARQUET.matches('\'').count() + FROM_CSV.matches('\'').count(),
            0
        );
    }

    #[test]
    fn every_shape_has_a_name_and_an_ending_of_its_own() {
        for packed in Packed::ALL {
            assert_eq!(Packed::called(packed.what()), Some(packed));
            assert_eq!(
                Packed::of_name(&format!("x.{}", packed.ending())),
                Some(packed)
            );
        }
        assert_eq!(Packed::of_name("x.json"), None);
        assert_eq!(Packed::of_content(b"PAR1\x15\x04"), Some(Packed::Parquet));
        let frame = [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40];
        assert_eq!(Packed::of_content(&frame), Some(Packed::Lz4));
        let archive = b"7z\xbc\xaf\x27\x1c";
        assert_eq!(Packed::of_content(archive), Some(Packed::SevenZip));
        assert_eq!(Packed::of_content(b"[{"), None);
    }
}
