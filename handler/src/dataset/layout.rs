//! Where things lie: `<dataset>/<split>/<bucket>.json` and its mirror
//! `LABELED_<dataset>/<split>/<bucket>.jsonl`.

use super::packed::Packed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What the name of a labelled dataset begins with. A RAW dataset never does.
pub const LABELED_PREFIX: &str = "LABELED_";

/// The file the exporter uploads last into a RAW dataset.
pub const RAW_METADATA: &str = "metadata.json";

/// The file that tells how a labelled dataset came about.
pub const LABELED_METADATA: &str = "labeling_metadata.json";

/// The dataset card of a labelled dataset, which says what `load_dataset` of Hugging Face loads.
pub const CARD: &str = "README.md";

/// The report of a labelled dataset.
pub const REPORT: &str = "report.html";

/// The folder with the details of a labelled dataset, laid out like the dataset itself.
const DETAILS: &str = "details";

/// What a lone file's dataset is called in its work folder.
pub const LONE: &str = "file";

/// The details of a lone file, beside its metadata.
pub const LONE_DETAILS: &str = "details.jsonl";

/// What the names of the exporter's lists of invalid records begin with.
const INVALID_RECORDS: &str = "invalid_records_";

/// Which part of a dataset a bucket file is: both names come from its path and are data, not an
/// enumeration. Either may be unknown for a lone file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName {
    /// The folder's name, for example `train`.
    pub split: Option<String>,
    /// The file's name without its ending, for example `short_3_to_5_turns`.
    pub bucket: Option<String>,
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.split, &self.bucket) {
            (Some(split), Some(bucket)) => write!(f, "{split}/{bucket}"),
            (Some(name), None) | (None, Some(name)) => f.write_str(name),
            (None, None) => f.write_str("the file"),
        }
    }
}

/// What a file of a dataset is, judged by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file of conversations that is read.
    Bucket(BucketName),
    /// Named like data and not read, with what is wrong and what to do.
    Unread(&'static str),
    /// Data that has to be converted first.
    Packed(Packed),
    /// Not data, with the reason.
    Ignored(&'static str),
}

/// Says what `path`, relative to its dataset and with `/` between names, is.
///
/// Exactly `<split>/<bucket>.json` (or `.jsonl`, in upper or lower case) is a bucket file.
pub fn classify(path: &str) -> Entry {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    if path.split('/').any(|name| name.starts_with('.')) {
        return Entry::Ignored("hidden");
    }
    if path.starts_with(LABELED_PREFIX) {
        return Entry::Ignored("a labelled dataset");
    }
    if [RAW_METADATA, LABELED_METADATA].contains(&file.to_ascii_lowercase().as_str()) {
        return Entry::Ignored("metadata, not data");
    }
    if file.to_ascii_lowercase().starts_with(INVALID_RECORDS) {
        return Entry::Ignored("the exporter's list of invalid records, not data");
    }
    let is_ours = |split: &str| {
        let ours = [CARD, REPORT, LABELED_METADATA];
        ours.iter().any(|file| file.eq_ignore_ascii_case(split))
    };
    match (folders.split('/').count(), bucket(file)) {
        (1, Some(_)) if is_ours(folders) => Entry::Unread(LIKE_OURS),
        (1, Some(bucket)) if !folders.is_empty() => Entry::Bucket(BucketName {
            split: Some(folders.to_owned()),
            bucket: Some(bucket.to_owned()),
        }),
        _ if !is_like_data(file) => Entry::Ignored("not named like data"),
        (1, _) if folders.is_empty() => {
            Entry::Unread("it lies beside the splits; move it into a split's folder")
        }
        (_, Some(_)) => Entry::Unread("it lies deeper than in a split's folder; move it up"),
        _ if file.to_ascii_lowercase().ends_with(".ndjson") => {
            Entry::Unread("JSON Lines are read as .jsonl; rename it")
        }
        _ => Packed::of_name(file).map_or(Entry::Unread(NOT_JSON), Entry::Packed),
    }
}

const LIKE_OURS: &str =
    "its folder is called like a file of the labelled dataset; rename the folder";

const NOT_JSON: &str = "it is neither JSON nor JSON Lines; unpack or convert it";

fn bucket(file: &str) -> Option<&str> {
    let (bucket, ending) = file.rsplit_once('.')?;
    let is_read = ["json", "jsonl"]
        .iter()
        .any(|it| ending.eq_ignore_ascii_case(it));
    (is_read && !bucket.is_empty()).then_some(bucket)
}

/// Whether the file's name looks like data.
fn is_like_data(file: &str) -> bool {
    let file = file.to_ascii_lowercase();
    let unpacked = [".gz", ".zst", ".xz", ".bz2", ".zip", ".lz4", ".7z"]
        .iter()
        .find_map(|it| file.strip_suffix(it));
    let unpacked = unpacked.unwrap_or(&file);
    let endings = [
        ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow",
    ];
    endings.iter().any(|ending| unpacked.ends_with(ending))
}

/// A file that is named like data and is not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadFile {
    /// Where it lies in its dataset, with `/` between names.
    pub path: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// The files of a dataset that are named like data and are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Those in the folders of splits, or deeper. Without them the labelled dataset is `partial`.
    pub in_splits: Vec<UnreadFile>,
    /// Those beside the folders of splits, which do not make anything partial.
    pub beside: Vec<UnreadFile>,
}

impl LeftOut {
    /// Adds the file at `path`, relative to the dataset, with what is wrong and what to do.
    pub fn add(&mut self, path: String, reason: &str) {
        let side = match path.contains('/') {
            true => &mut self.in_splits,
            false => &mut self.beside,
        };
        let reason = reason.to_owned();
        side.push(UnreadFile { path, reason });
    }

    /// A sentence for each file, those in the folders of splits first.
    pub fn warnings(&self) -> Vec<String> {
        let all = self.in_splits.iter().chain(&self.beside);
        all.map(|UnreadFile { path, reason }| format!("{path} is not read: {reason}."))
            .collect()
    }
}

/// The folders among `paths` that are datasets of their own: they have a split's folder with a bucket
/// file in it but none beside it, and are known by the split's name or by their metadata.
pub fn datasets_inside<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> BTreeSet<&'a str> {
    const SPLITS: [&str; 7] = ["train", "val", "valid", "validation", "dev", "test", "eval"];
    let metadata = paths.clone().filter_map(|path| {
        let (folder, file) = path.split_once('/')?;
        file.eq_ignore_ascii_case(RAW_METADATA).then_some(folder)
    });
    let metadata = metadata.collect::<BTreeSet<_>>();
    let split_of = |path: &str| match classify(path) {
        Entry::Bucket(name) => name.split,
        _ => None,
    };
    let splits = paths.clone().filter_map(split_of).collect::<BTreeSet<_>>();
    let datasets = paths.filter_map(|path| {
        let (dataset, file) = path.split_once('/')?;
        let split = split_of(file).filter(|_| !splits.contains(dataset))?;
        let known = SPLITS.iter().any(|it| split.eq_ignore_ascii_case(it));
        let is_raw = !dataset.starts_with('.') && !dataset.starts_with(LABELED_PREFIX);
        (is_raw && (known || metadata.contains(dataset))).then_some(dataset)
    });
    datasets.collect()
}

/// Splits a path below the base path of the function app into the RAW dataset and the bucket file in
/// it: exactly `<dataset>/<split>/<bucket>.json`, the ending in upper or lower case.
pub fn bucket_file(path: &str) -> Result<(&str, &str), &'static str> {
    let (dataset, file) = path
        .split_once('/')
        .ok_or("not inside a dataset's folder")?;
    raw_dataset(dataset)?;
    has_blob_names(file)?;
    match classify(file) {
        Entry::Bucket(_) if is_json(file) => Ok((dataset, file)),
        Entry::Bucket(_) => Err(LINES_IN_APP),
        Entry::Unread(reason) | Entry::Ignored(reason) => Err(reason),
        Entry::Packed(_) => Err(NOT_JSON),
    }
}

/// Why the function app does not read a bucket file of JSON Lines, and what to do.
pub const LINES_IN_APP: &str =
    "the function app reads only .json files; convert it, or label it with `softlabel label`";

/// Whether a bucket file is one that the function app reads.
pub fn is_json(file: &str) -> bool {
    let ending = file.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
}

/// The file that would become the same labelled file as `file` and goes before it: the one whose name
/// ends in lower case.
pub fn first_of_twins(file: &str) -> Option<String> {
    let (bucket, ending) = file.rsplit_once('.')?;
    let lower = ending.to_ascii_lowercase();
    (lower != ending).then(|| format!("{bucket}.{lower}"))
}

/// Checks that a text can be the name of a RAW dataset: one plain name that is not a labelled one's.
pub fn raw_dataset(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("an empty name")
    } else if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        Err("more than the name of a dataset")
    } else if name.starts_with('.') {
        Err("hidden")
    } else if name.starts_with(LABELED_PREFIX) {
        Err("a labelled dataset, which is not labelled again")
    } else {
        is_blob_name(name)
    }
}

/// Checks that storage and every proxy read the names in a path alike.
pub fn has_blob_names(path: &str) -> Result<(), &'static str> {
    path.split('/').try_for_each(is_blob_name)
}

/// Blob storage drops a dot at the end of a name, and a proxy may decode a percent sign.
fn is_blob_name(name: &str) -> Result<(), &'static str> {
    match name.ends_with('.') || name.contains('%') {
        true => Err("a name in its path ends with a dot or has a percent sign; rename it"),
        false => Ok(()),
    }
}

/// The name of the dataset that mirrors `dataset`, or `None` where `dataset` is itself a labelled
/// one.
pub fn labeled_dataset(dataset: &str) -> Option<String> {
    (!dataset.starts_with(LABELED_PREFIX)).then(|| format!("{LABELED_PREFIX}{dataset}"))
}

/// The path of a bucket's labelled file inside its labelled dataset.
pub fn labeled_path(name: &BucketName) -> String {
    let bucket = name.bucket.as_deref().unwrap_or("labeled");
    match &name.split {
        Some(split) => format!("{split}/{bucket}.jsonl"),
        None => format!("{bucket}.jsonl"),
    }
}

/// The path of the details of a bucket inside its labelled dataset. It is never the path of a
/// labelled file, which has one folder fewer.
pub fn details_path(name: &BucketName) -> String {
    format!("{DETAILS}/{}", labeled_path(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_bucket_files_count() {
        let ignored = [
            "metadata.json",
            "invalid_records_20251209.json",
            "train/metadata.json",
            "train/invalid_records_1.json",
            "train/notes.txt",
            "Train/Metadata.JSON",
            "train/INVALID_RECORDS_1.json",
            "train/invalid_records_1.csv.gz",
            "LABELED_v4/train/short.jsonl",
            "train/.cache/short.json",
            "train/.short.json",
            ".git/short.json",
            "train/.json",
            "",
        ];
        for path in ignored {
            assert!(matches!(classify(path), Entry::Ignored(_)), "{path}");
        }
        for path in [
            "short.json",
            "all.parquet",
            "train/deep/short.json",
            "train/deep/deeper/short.JSONL.gz",
            "train/short.csv",
            "train/short.Parquet",
            "train/short.json.gz",
            "train/short.jsonl.ZST",
            "train/short.ndjson",
            "train/short.NDJSON.lz4",
            "train/short.tsv",
            "train/short.arrow",
            "report.html/short.json",
            "ReadMe.md/short.jsonl",
            "labeling_metadata.json/short.json",
            "/short.json",
        ] {
            let entry = classify(path);
            assert!(
                matches!(entry, Entry::Unread(_) | Entry::Packed(_)),
                "{path}"
            );
        }
        for path in ["train/short.json", "train/short.JSON", "train/short.JsonL"] {
            let Entry::Bucket(name) = classify(path) else {
                panic!("{path}");
            };
            assert_eq!(name.to_string(), "train/short", "{path}");
        }
        assert_eq!(
            classify("holdout/short_3_to_5_turns.json"),
            Entry::Bucket(BucketName {
                split: Some("holdout".into()),
                bucket: Some("short_3_to_5_turns".into())
            })
        );
    }

    #[test]
    fn an_upload_is_a_bucket_file_at_exactly_one_depth() {
        assert_eq!(
            bucket_file("v4/train/short.json"),
            Ok(("v4", "train/short.json"))
        );
        assert!(bucket_file("v4/train/short.JSON").is_ok());
        for path in [
            "v4/short.json",
            "v4/train/deep/short.json",
            "v4/train/short.jsonl",
            "LABELED_v4/train/short.json",
            "v4/metadata.json",
            "v4/train/invalid_records_1.json",
            ".softlabel/train/short.json",
            "/train/short.json",
            "../train/short.json",
            "short.json",
            "v4./train/short.json",
            "v4/train./short.json",
            "%2e%2e/train/short.json",
            "v4/train/%2fshort.json",
        ] {
            assert!(bucket_file(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_labelled_dataset_is_not_labelled_again() {
        assert_eq!(labeled_dataset("v4").as_deref(), Some("LABELED_v4"));
        assert_eq!(labeled_dataset("LABELED_v4"), None);
    }

    #[test]
    fn a_folder_of_datasets_is_told_from_a_dataset() {
        let inside = |paths: &[&'static str]| datasets_inside(paths.iter().copied());
        assert!(inside(&["train/short.json", "train/deep/short.json", "metadata.json"]).is_empty());
        assert!(inside(&["a/b/short.json", "LABELED_v4/train/short.json"]).is_empty());
        // What holds a bucket file is a split, whatever else is in it.
        assert!(inside(&["train/a.json", "train/test/n.json", "dev/r.json"]).is_empty());
        let split = ["train/deep/n.json", "train/metadata.json", "train/a.json"];
        assert!(inside(&split).is_empty());
        let named = inside(&["v4/train/short.json", "broken/x.json", "v5/odd/short.JSON"]);
        assert_eq!(named, BTreeSet::from(["v4"]));
        let by_metadata = inside(&["v5/odd/short.json", "v5/metadata.json"]);
        assert_eq!(by_metadata, BTreeSet::from(["v5"]));
    }

    #[test]
    fn a_lower_case_ending_goes_first() {
        assert_eq!(
            first_of_twins("train/a.JSON").as_deref(),
            Some("train/a.json")
        );
        assert_eq!(first_of_twins("train/a.json"), None);
    }

    proptest! {
        #[test]
        fn the_mirror_of_a_bucket_lies_in_the_same_split(
            split in "[a-z][a-z0-9_]{0,12}",
            bucket in "[a-z][a-z0-9_.]{0,20}",
            ending in prop::sample::select(vec![".json", ".jsonl"]),
        ) {
            prop_assume!(bucket != "metadata" && bucket != "labeling_metadata");
            prop_assume!(!bucket.starts_with("invalid_records_"));
            let Entry::Bucket(name) = classify(&format!("{split}/{bucket}{ending}")) else {
                return Err(TestCaseError::fail("ignored"));
            };
            prop_assert_eq!(labeled_path(&name), format!("{split}/{bucket}.jsonl"));
        }

        #[test]
        fn no_path_makes_a_name_with_a_slash(path in ".{0,40}") {
            if let Entry::Bucket(BucketName { split: Some(split), bucket: Some(bucket) }) =
                classify(&path)
            {
                prop_assert!(!split.contains('/') && !bucket.contains('/'));
                prop_assert!(!split.is_empty() && !bucket.is_empty());
            }
        }
    }
}
