//! From the paths of the command line to where a run reads and writes.

use super::UsageError;
use crate::config::LabelArgs;
use crate::dataset::layout::{self, BucketName};
use crate::run::paths;
use crate::run::places::Places;
use crate::store::{OwnFolder, RawFile, RawFolder, StoreError};
use anyhow::{Context, anyhow, bail};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Resolves input and output, and refuses what would write into RAW.
///
/// # Errors
/// If the input is not there or holds nothing, or the output is refused.
pub(super) async fn resolve(args: &LabelArgs) -> anyhow::Result<Places> {
    let input = &args.input;
    let unreadable = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "give this user the right to do that",
            _ => "check the path",
        };
        anyhow!(
            "--input {} cannot be read: {error}; {remedy}",
            input.display()
        )
    };
    let kind = fs::metadata(input).map_err(unreadable)?;
    let input = fs::canonicalize(input).map_err(unreadable)?;
    if kind.is_dir() {
        dataset(args, &input).await
    } else if kind.is_file() {
        lone_file(args, &input)
    } else {
        Err(usage(format!(
            "--input {} is not a regular file, and it is read twice; copy it to one",
            input.display()
        )))
    }
}

async fn dataset(args: &LabelArgs, input: &Path) -> anyhow::Result<Places> {
    if args.split.is_some() || args.bucket.is_some() {
        return Err(usage(
            "--split and --bucket are for a single file; in a dataset's folder the paths say them",
        ));
    }
    let name = file_name(input)?;
    let Some(labeled) = layout::labeled_dataset(&name) else {
        return Err(usage(format!(
            "--input {} is a labelled dataset; give the RAW one",
            input.display()
        )));
    };
    if args.output.is_file() {
        return Err(usage(format!(
            "--output {} is a file; for a dataset it is the folder in which {labeled} appears",
            args.output.display()
        )));
    }
    let raw = RawFolder::local(input);
    let (files, ignored) = raw.buckets().await?;
    for (path, reason) in &ignored {
        if matches!(layout::classify(path), layout::Entry::Bucket(_)) {
            tracing::warn!(path, reason, "passed over, though it is named like data");
        } else {
            tracing::info!(path, reason, "passed over");
        }
    }
    if files.is_empty() {
        bail!(
            "--input {} holds no <split>/<bucket>.json; give the dataset's own folder",
            input.display()
        );
    }
    for pair in files.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            bail!(
                "--input {}: {} and {} would become the same labelled file; remove one",
                input.display(),
                a.path,
                b.path
            );
        }
    }
    let output = own(args.output.join(&labeled), input, "--output")?;
    let work = args
        .work
        .clone()
        .unwrap_or_else(|| args.output.join(".softlabel").join(&name));
    Ok(Places {
        raw,
        files,
        source: name,
        labeled,
        output,
        lone_output: None,
        work: own(work, input, "--work")?,
        metadata: layout::LABELED_METADATA.into(),
    })
}

fn lone_file(args: &LabelArgs, input: &Path) -> anyhow::Result<Places> {
    let output = std::path::absolute(&args.output)?;
    if output.is_dir() {
        return Err(usage(format!(
            "--output {} is a folder; for a single file it is the file to write",
            output.display()
        )));
    }
    if fs::metadata(&output).is_ok_and(|there| !there.is_file()) {
        return Err(usage(format!(
            "--output {} is not a regular file; give the file to write",
            output.display()
        )));
    }
    let (Some(folder), Some(parent)) = (input.parent(), output.parent()) else {
        return Err(usage("--input and --output are files"));
    };
    if fs::canonicalize(&output).is_ok_and(|output| output == input) {
        return Err(usage("--output is the --input; RAW is never written"));
    }
    // Where the file lies in a dataset, nothing of that dataset may be written.
    let dataset = folder.parent().filter(|dataset| is_dataset(dataset));
    let name = BucketName {
        split: args.split.clone().or_else(|| {
            dataset
                .and(folder.file_name())
                .map(|split| split.to_string_lossy().into_owned())
        }),
        bucket: args.bucket.clone().or_else(|| {
            dataset
                .and(input.file_stem())
                .map(|bucket| bucket.to_string_lossy().into_owned())
        }),
    };
    let names = [
        ("--split", &name.split, "train"),
        ("--bucket", &name.bucket, "short_3_to_5_turns"),
    ];
    for (flag, name, example) in names {
        let odd = |name: &String| {
            name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') || name == "-"
        };
        if name.as_ref().is_some_and(odd) {
            return Err(usage(format!(
                "{flag} is one plain name, such as {example}"
            )));
        }
    }
    let forbidden = dataset.unwrap_or(input);
    let output_name = file_name(&output)?;
    let work = args.work.clone().unwrap_or_else(|| {
        let mut work = output.clone().into_os_string();
        work.push(".softlabel");
        PathBuf::from(work)
    });
    if output.exists() && !work.join(paths::RUN).exists() {
        return Err(usage(format!(
            "--output {} is there already and comes from no run in {}; remove it, or give another \
             name",
            output.display(),
            work.display()
        )));
    }
    if let Some(dataset) = raw_dataset_around(parent) {
        return Err(usage(format!(
            "--output {} lies inside the RAW dataset {}; RAW is never written",
            output.display(),
            dataset.display()
        )));
    }
    Ok(Places {
        raw: RawFolder::local(folder),
        files: vec![RawFile {
            name,
            path: file_name(input)?,
        }],
        source: input.display().to_string(),
        labeled: output.display().to_string(),
        output: own(parent.to_owned(), forbidden, "--output")?,
        lone_output: Some(output_name),
        work: own(work, forbidden, "--work")?,
        metadata: layout::LABELED_METADATA.into(),
    })
}

/// A folder that may be written, or the refusal as wrong usage.
fn own(path: PathBuf, raw: &Path, flag: &str) -> anyhow::Result<OwnFolder> {
    if let Some(dataset) = raw_dataset_around(&path) {
        return Err(usage(format!(
            "{flag} {} lies inside the RAW dataset {}; RAW is never written",
            path.display(),
            dataset.display()
        )));
    }
    if let Some(occupied) = occupied(&path) {
        return Err(usage(format!(
            "{flag} needs a folder at {}, but {} is a file; remove it, or choose another {flag}",
            path.display(),
            occupied.display()
        )));
    }
    OwnFolder::local(path, raw).map_err(|error| match error {
        StoreError::Forbidden { .. } => usage(format!("{flag}: {error}")),
        other => other.into(),
    })
}

/// What is in the way of a folder at `path`: the file that has its name or that of a folder above.
fn occupied(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|path| path.exists())?;
    (!there.is_dir()).then(|| there.to_owned())
}

/// The RAW dataset that `path` would lie in, if any.
fn raw_dataset_around(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let existing = path
        .ancestors()
        .find_map(|folder| fs::canonicalize(folder).ok())?;
    existing
        .ancestors()
        .find(|folder| is_dataset(folder))
        .map(Path::to_owned)
}

/// Whether a folder is a RAW dataset: it has the exporter's metadata and is not ours.
fn is_dataset(folder: &Path) -> bool {
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let ours = name.is_some_and(|name| layout::labeled_dataset(&name).is_none());
    !ours && folder.join(layout::RAW_METADATA).is_file()
}

fn file_name(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .with_context(|| format!("{} has no name in UTF-8; rename it", path.display()))
}

fn usage(text: impl Into<String>) -> anyhow::Error {
    UsageError(text.into()).into()
}
