//! Where things lie: `<dataset>/<split>/<bucket>.json` and its mirror
//! `LABELED_<dataset>/<split>/<bucket>.jsonl`.

use std::fmt;

/// What the name of a labelled dataset begins with. A RAW dataset never does.
pub const LABELED_PREFIX: &str = "LABELED_";

/// The file the exporter uploads last into a RAW dataset.
pub const RAW_METADATA: &str = "metadata.json";

/// The file that tells how a labelled dataset came about.
pub const LABELED_METADATA: &str = "labeling_metadata.json";

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

/// What a path inside a dataset folder turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A bucket file.
    Bucket(BucketName),
    /// Not data, with the reason.
    Ignored(&'static str),
}

/// Says what `path`, relative to its dataset and with `/` between names, is.
///
/// Exactly `<split>/<bucket>.json` (or `.jsonl`) is a bucket file.
pub fn classify(path: &str) -> Entry {
    let mut names = path.split('/');
    let (Some(first), second, None) = (names.next(), names.next(), names.next()) else {
        return Entry::Ignored("not directly inside a split's folder");
    };
    let Some(file) = second else {
        return Entry::Ignored("not inside a split's folder");
    };
    let Some(bucket) = file
        .strip_suffix(".json")
        .or_else(|| file.strip_suffix(".jsonl"))
    else {
        return Entry::Ignored("not a .json or .jsonl file");
    };
    if first.starts_with('.') || file.starts_with('.') {
        return Entry::Ignored("hidden");
    }
    if file == RAW_METADATA || file == LABELED_METADATA {
        return Entry::Ignored("metadata, not data");
    }
    if bucket.starts_with("invalid_records_") {
        return Entry::Ignored("the exporter's list of invalid records, not data");
    }
    if first.is_empty() || bucket.is_empty() {
        return Entry::Ignored("an empty name");
    }
    Entry::Bucket(BucketName {
        split: Some(first.to_owned()),
        bucket: Some(bucket.to_owned()),
    })
}

/// Splits a path below the base path of the function app into the RAW dataset and the bucket file in
/// it: exactly `<dataset>/<split>/<bucket>.json`.
///
/// # Errors
/// Why it is none.
pub fn bucket_file(path: &str) -> Result<(&str, &str), &'static str> {
    let (dataset, file) = path
        .split_once('/')
        .ok_or("not inside a dataset's folder")?;
    raw_dataset(dataset)?;
    file.split('/').try_for_each(is_blob_name)?;
    match classify(file) {
        Entry::Bucket(_) if file.ends_with(".json") => Ok((dataset, file)),
        Entry::Bucket(_) => Err("not a .json file"),
        Entry::Ignored(reason) => Err(reason),
    }
}

/// Checks that a text can be the name of a RAW dataset: one plain name that is not a labelled one's.
///
/// # Errors
/// Why it cannot.
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

/// Blob storage drops a dot at the end of a name, and somebody on the way may decode a percent sign.
fn is_blob_name(name: &str) -> Result<(), &'static str> {
    match name.ends_with('.') || name.contains('%') {
        true => Err("a name that ends with a dot or has a percent sign"),
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
            "train/deep/short.json",
            "train/short.csv",
            "train/.short.json",
            ".git/short.json",
            "train/.json",
            "/short.json",
            "",
        ];
        for path in ignored {
            assert!(matches!(classify(path), Entry::Ignored(_)), "{path}");
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
