//! From the paths of the command line to where a run reads and writes.

pub(super) mod read;
mod spot;

use crate::config::{LabelArgs, UsageError};
use crate::dataset::layout::{self, BucketName, LeftOut};
use crate::dataset::pilot::Pilot;
use crate::identity::{Identities, Surroundings};
use crate::steps;
use crate::store::{Buckets, OwnFolder, Protected, RawFile, RawFolder, StoreError};
use anyhow::{anyhow, bail};
use spot::{Accounts, Spot};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the command line names.
struct Named {
    input: Spot,
    output: Spot,
    work: Option<Spot>,
}

/// Resolves input and output, and refuses what would write into RAW. Gives the work folder, too.
///
/// # Errors
/// If the input is not there or holds nothing, or the output is refused.
pub(super) async fn resolve(
    args: &LabelArgs,
    pilot: Option<Pilot>,
) -> anyhow::Result<(steps::Named, OwnFolder)> {
    refuse_streams(args)?;
    let settings = args.service.credential(Surroundings::of_process());
    let named = named(args, settings.identities)?;
    let is_folder = match &named.input {
        Spot::Local(input) => is_folder(input)?,
        Spot::Blob(_) => !named.input.is_file().await?,
    };
    let input = match named.input {
        Spot::Local(input) => {
            Spot::Local(fs::canonicalize(&input).map_err(|e| unreadable(&input, &e))?)
        }
        input @ Spot::Blob(_) => input,
    };
    let named = Named { input, ..named };
    match is_folder {
        true => dataset(args, named, pilot).await,
        false => lone_file(args, named, pilot).await,
    }
}

/// `-` stands for stdin and stdout elsewhere.
fn refuse_streams(args: &LabelArgs) -> anyhow::Result<()> {
    let refuse = |refused: bool, text: &str| match refused {
        true => Err(usage(text)),
        false => Ok(()),
    };
    let is_stream = |path: &Path| path.as_os_str() == "-";
    refuse(
        is_stream(&args.input),
        "--input - cannot be read: RAW is read more than once; save it to a file and give its path (./- for \
         a file of that name)",
    )?;
    refuse(
        is_stream(&args.output),
        "--output - cannot be written: labels appear as a whole, in a file that a run continues from; give \
         a path (./- for a file of that name)",
    )?;
    refuse(
        args.work.as_deref().is_some_and(is_stream),
        "--work - is not a folder; give a path",
    )
}

fn named(args: &LabelArgs, identities: Identities) -> anyhow::Result<Named> {
    let mut accounts = Accounts::new(identities);
    let work = args.work.as_deref();
    Ok(Named {
        input: accounts.spot(&args.input, "--input")?,
        output: accounts.spot(&args.output, "--output")?,
        work: work.map(|work| accounts.spot(work, "--work")).transpose()?,
    })
}

fn unreadable(input: &Path, error: &io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "give this user the right to do that",
        _ => "check the path",
    };
    anyhow!(
        "--input {} cannot be read: {error}; {remedy}",
        input.display()
    )
}

/// Whether the input is a folder rather than a file.
fn is_folder(input: &Path) -> anyhow::Result<bool> {
    let kind = fs::metadata(input).map_err(|error| unreadable(input, &error))?;
    if !kind.is_dir() && !kind.is_file() {
        return Err(usage(format!(
            "--input {} is not a regular file, and it is read twice; copy it to one",
            input.display()
        )));
    }
    Ok(kind.is_dir())
}

/// The ending of output names that keeps a pilot from replacing the whole output.
fn ending(pilot: Option<&Pilot>) -> String {
    pilot.map_or(String::new(), |pilot| format!(".pilot-{}", pilot.name))
}

async fn dataset(
    args: &LabelArgs,
    named: Named,
    pilot: Option<Pilot>,
) -> anyhow::Result<(steps::Named, OwnFolder)> {
    let Named {
        input,
        output,
        work,
    } = named;
    if args.split.is_some() || args.bucket.is_some() {
        return Err(usage(
            "--split and --bucket are for a single file; in a dataset's folder the paths give both",
        ));
    }
    let source = input.name()?;
    let name = format!("{source}{}", ending(pilot.as_ref()));
    let Some(labeled) = layout::labeled_dataset(&name) else {
        return Err(usage(format!(
            "--input {input} is a labelled dataset; give the RAW one"
        )));
    };
    if output.is_file().await? {
        return Err(usage(format!(
            "--output {output} is a file; for a dataset it is the folder in which {labeled} appears"
        )));
    }
    let raw = input.raw()?;
    let Buckets {
        files,
        left_out,
        datasets,
    } = raw.without_packed(raw.buckets().await?).await?;
    if let Some(one) = datasets.first() {
        bail!(
            "--input {input} is a folder of datasets: {}; give the dataset's own folder, such as {}",
            datasets.join(", "),
            input.join(one)
        );
    }
    if files.is_empty() {
        let unread = left_out.warnings().join(" ");
        bail!(
            "--input {input} holds no <split>/<bucket>.json; give the dataset's own folder{}",
            if unread.is_empty() {
                unread
            } else {
                format!(". {unread}")
            }
        );
    }
    for pair in files.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            bail!(
                "--input {input}: {} and {} would become the same labelled file; remove one",
                a.path,
                b.path
            );
        }
    }
    let own = Own {
        protected: input.protected().await?,
        raw: &input,
        base: Some(&output),
        work: work.as_ref(),
    };
    let labeled_at = output.join(&labeled);
    let work_at = work.clone().unwrap_or_else(|| match &output {
        Spot::Local(_) => output.join(".softlabel").join(&name),
        // Nothing may be written beside a labelled dataset in a container.
        Spot::Blob(_) => labeled_at.join(".softlabel"),
    });
    let output = own.folder(&labeled_at, "--output").await?;
    let named = steps::Named {
        raw,
        files,
        dataset: name,
        left_out,
        source,
        labeled,
        pilot,
        metadata: output.clone(),
        labeled_files: labeled_at.raw()?,
        metadata_files: labeled_at.raw()?,
        output,
        lone_output: None,
    };
    Ok((named, own.folder(&work_at, "--work").await?))
}

async fn lone_file(
    args: &LabelArgs,
    named: Named,
    pilot: Option<Pilot>,
) -> anyhow::Result<(steps::Named, OwnFolder)> {
    let Named {
        input,
        output,
        work,
    } = named;
    let output = in_folder(args, &input, output)?;
    let output = match &pilot {
        Some(_) => output.with_ending(&format!("{}.jsonl", ending(pilot.as_ref()))),
        None => output,
    };
    let output = match output {
        Spot::Local(output) => Spot::Local(output_file(&output)?),
        output @ Spot::Blob(_) => output,
    };
    let (Some(folder), Some(parent)) = (input.parent(), output.parent()) else {
        return Err(usage("--input and --output are files"));
    };
    if output.is(&input) {
        return Err(usage("--output is the --input; RAW is never written"));
    }
    let base = parent.above_labeled();
    if matches!(output, Spot::Blob(_)) && base.is_none() {
        return Err(usage(format!(
            "--output {output} must lie in a folder whose name begins with {prefix}; give \
             {parent}/{prefix}NAME/FILE.jsonl",
            prefix = layout::LABELED_PREFIX
        )));
    }
    // If the file lies in a dataset, nothing in that dataset may be written.
    let dataset = match folder.parent() {
        Some(dataset) if dataset.is_dataset().await? => Some(dataset),
        _ => None,
    };
    let in_dataset = dataset.is_some();
    let name = BucketName {
        split: args
            .split
            .clone()
            .or_else(|| folder.name().ok().filter(|_| in_dataset)),
        bucket: args
            .bucket
            .clone()
            .or_else(|| input.stem().filter(|_| in_dataset)),
    };
    check_names(&name)?;
    let work_at = work
        .clone()
        .unwrap_or_else(|| output.with_ending(".softlabel"));
    if let Some(dataset) = parent.dataset_around().await? {
        return Err(usage(format!(
            "--output {output} lies inside the RAW dataset {dataset}; RAW is never written"
        )));
    }
    let own = Own {
        protected: protected(&input, dataset.as_ref()).await?,
        raw: dataset.as_ref().unwrap_or(&input),
        base: base.as_ref(),
        work: work.as_ref(),
    };
    let folder_of_output = own.folder(&parent, "--output").await?;
    let work = own.folder(&work_at, "--work").await?;
    let named = steps::Named {
        raw: folder.raw()?,
        left_out: LeftOut::default(),
        files: vec![RawFile {
            name,
            path: input.name()?,
        }],
        dataset: format!("{}{}", layout::LONE, ending(pilot.as_ref())),
        pilot,
        source: input.to_string(),
        labeled: output.to_string(),
        labeled_files: parent.raw()?,
        metadata_files: work_at.raw()?,
        output: folder_of_output,
        lone_output: Some(output.name()?),
        metadata: work.clone(),
    };
    Ok((named, work))
}

/// A lone file as it is protected on this machine, with the `dataset` that it lies in.
async fn protected(input: &Spot, dataset: Option<&Spot>) -> Result<Protected, StoreError> {
    let Spot::Local(file) = input else {
        return Ok(Protected::default());
    };
    let (root, inside) = match dataset {
        Some(Spot::Local(root)) => {
            // A broken link elsewhere in the dataset does not matter for this file.
            let entries = RawFolder::local(root).entries().await;
            (root, entries.unwrap_or_default())
        }
        _ => (file, Vec::new()),
    };
    Protected::new(root, inside.iter().map(|(path, _)| path))?.limit_rights([file])
}

/// The file to write, which in a folder is called like the input. A folder is one that is there, or a name
/// that ends in `/`.
fn in_folder(args: &LabelArgs, input: &Spot, output: Spot) -> anyhow::Result<Spot> {
    let given = args.output.as_os_str().as_encoded_bytes();
    let ends = given
        .last()
        .is_some_and(|b| std::path::is_separator(char::from(*b)));
    let is_there = matches!(&output, Spot::Local(output) if output.is_dir());
    if !ends && !is_there {
        return Ok(output);
    }
    // The name as it was given, which may be that of a link.
    let stem = match input {
        Spot::Local(_) => Spot::Local(args.input.clone()).stem(),
        Spot::Blob(_) => input.stem(),
    };
    let Some(stem) = stem else {
        return Err(usage(format!(
            "--output {output} is a folder, and --input {input} has no name in UTF-8 for the file in it; \
             give the file to write"
        )));
    };
    Ok(output.join(&format!("{stem}.jsonl")))
}

/// The file to write on this machine.
fn output_file(output: &Path) -> anyhow::Result<PathBuf> {
    let output = std::path::absolute(output)?;
    if fs::metadata(&output).is_ok_and(|there| !there.is_file()) {
        return Err(usage(format!(
            "--output {} is not a regular file; give the file to write",
            output.display()
        )));
    }
    Ok(output)
}

/// Names that go into lines are plain.
fn check_names(name: &BucketName) -> anyhow::Result<()> {
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
                "{flag} must be one plain name, such as {example}"
            )));
        }
    }
    Ok(())
}

/// Where softlabel may write.
struct Own<'a> {
    /// What must not be written.
    raw: &'a Spot,
    /// What of it lies on this machine.
    protected: Protected,
    /// Where labelled datasets appear.
    base: Option<&'a Spot>,
    /// What was given for work.
    work: Option<&'a Spot>,
}

impl Own<'_> {
    /// A folder that may be written, or the refusal as wrong usage.
    async fn folder(&self, spot: &Spot, flag: &str) -> anyhow::Result<OwnFolder> {
        if let Some(dataset) = spot.dataset_around().await? {
            return Err(usage(format!(
                "{flag} {spot} lies inside the RAW dataset {dataset}; RAW is never written"
            )));
        }
        if let Spot::Local(path) = spot
            && let Some(occupied) = occupied(path)
        {
            return Err(usage(format!(
                "{flag} needs a folder at {spot}, but {} is a file; remove it, or choose another \
                 {flag}",
                occupied.display()
            )));
        }
        let own = spot.own(self.raw, &self.protected, self.base, self.work);
        own.map_err(|error| match error {
            StoreError::Forbidden { .. } => usage(format!("{flag}: {error}")),
            other => other.into(),
        })
    }
}

/// The file that keeps a folder from being made at `path`: it has the name of the folder or of one above.
fn occupied(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|path| path.exists())?;
    (!there.is_dir()).then(|| there.to_owned())
}

fn usage(text: impl Into<String>) -> anyhow::Error {
    UsageError(text.into()).into()
}
