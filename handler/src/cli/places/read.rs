//! Opens the labelled dataset that a command reads, and RAW with it.

use super::spot::{Accounts, Spot};
use super::usage;
use crate::config::{CompareArgs, ReadArgs};
use crate::dataset::layout;
use crate::labeled::{Bucket, Labeled, Location, ReadError, Texts};
use crate::store::azure::BlobUrl;
use crate::store::{OwnFolder, Protected, RawFolder};
use anyhow::{anyhow, bail};
use std::path::Path;

/// A labelled dataset, and RAW where it was given.
#[derive(Debug)]
pub(in crate::cli) struct Opened {
    pub(in crate::cli) labeled: Labeled,
    path: Spot,
    metadata: Spot,
    lone: bool,
    raw: Option<Spot>,
    raw_folder: Option<RawFolder>,
}

/// The work folder to read if none is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Work {
    /// None.
    Given,
    /// The one that a run has by default.
    Usual,
}

/// Opens what the arguments name.
///
/// # Errors
/// If it is not there or cannot be read.
pub(in crate::cli) async fn open(args: &ReadArgs, which: Work) -> anyhow::Result<Opened> {
    let mut accounts = Accounts::new(args.identity.identities());
    let path = accounts.spot(&args.path, "PATH")?;
    let work = args.work.as_deref();
    let work = work.map(|work| accounts.spot(work, "--work")).transpose()?;
    let raw = args.input.as_deref();
    let raw = raw.map(|raw| accounts.spot(raw, "--input")).transpose()?;
    Opened::new(path, work, which, raw).await
}

/// Opens two outputs to be compared, the first one with RAW where it is given.
///
/// # Errors
/// If one is not there or cannot be read.
pub(in crate::cli) async fn open_both(args: &CompareArgs) -> anyhow::Result<[Opened; 2]> {
    let mut accounts = Accounts::new(args.identity.identities());
    let (a, b) = (accounts.spot(&args.a, "A")?, accounts.spot(&args.b, "B")?);
    let raw = args.input.as_deref();
    let raw = raw.map(|raw| accounts.spot(raw, "--input")).transpose()?;
    Ok([
        Opened::new(a, None, Work::Given, raw).await?,
        Opened::new(b, None, Work::Given, None).await?,
    ])
}

/// Says which folder was meant, where a labelled dataset lies in the one that was given.
fn elsewhere(path: &Spot, error: ReadError) -> anyhow::Error {
    let Spot::Local(local) = path else {
        return error.into();
    };
    let entries = std::fs::read_dir(local).into_iter().flatten().flatten();
    let mut inside = entries
        .map(|entry| entry.path())
        .filter(|entry| entry.join(layout::LABELED_METADATA).is_file())
        .collect::<Vec<_>>();
    inside.sort();
    match inside.first() {
        Some(one) => anyhow!(
            "{path} is not a labelled dataset; give the dataset's own folder, such as {}",
            one.display()
        ),
        None => error.into(),
    }
}

impl Opened {
    /// Opens the labelled output at `path`, with what is `given` as its work folder, and RAW.
    async fn new(
        path: Spot,
        given: Option<Spot>,
        which: Work,
        raw: Option<Spot>,
    ) -> anyhow::Result<Self> {
        let lone = path.is_file().await?;
        if let Spot::Local(local) = &path
            && !local.exists()
        {
            bail!(
                "{path} does not exist; give the folder of a labelled dataset, or a single labelled file"
            );
        }
        let parent = || {
            path.parent()
                .ok_or_else(|| usage(format!("{path} lies in no folder")))
        };
        let usual = match (lone, &path) {
            (true, _) => path.with_ending(".softlabel"),
            (false, Spot::Blob(_)) => path.join(".softlabel"),
            (false, Spot::Local(_)) => {
                let name = path.name().unwrap_or_default();
                let name = name
                    .strip_prefix(layout::LABELED_PREFIX)
                    .unwrap_or_default()
                    .to_owned();
                path.join("..").join(".softlabel").join(&name)
            }
        };
        let (labels, metadata) = match lone {
            true => (parent()?, given.clone().unwrap_or_else(|| usual.clone())),
            false => (path.clone(), path.clone()),
        };
        let work = given.or((which == Work::Usual).then_some(usual));
        let place = Location {
            labels: labels.raw()?,
            metadata: metadata.raw()?,
            lone: lone.then(|| path.name()).transpose()?,
            // It is only read.
            work: work
                .map(|work| {
                    work.own(
                        &Spot::Local(Path::new("").into()),
                        &Protected::default(),
                        None,
                        Some(&work),
                    )
                })
                .transpose()?,
            dataset: None,
        };
        let mut labeled = match Labeled::open(&place).await {
            Err(error @ ReadError::NoMetadata { .. }) => return Err(elsewhere(&path, error)),
            labeled => labeled?,
        };
        let raw_folder = match &raw {
            None => None,
            Some(raw) => {
                let is_file = raw.is_file().await?;
                if let Spot::Local(local) = raw
                    && !local.exists()
                {
                    bail!("--input {raw} does not exist; give the RAW data of these labels");
                }
                if is_file != lone {
                    let text = match lone {
                        true => {
                            "is a folder, but the labels are those of a single file; give that file"
                        }
                        false => {
                            "is a file, but the labels are those of a dataset; give its folder"
                        }
                    };
                    return Err(usage(format!("--input {raw} {text}")));
                }
                Some(match raw.parent().filter(|_| is_file) {
                    None => raw.raw()?,
                    Some(folder) => {
                        // The file may have been renamed since it was labelled.
                        let name = raw.name()?;
                        let buckets = labeled.buckets.iter_mut();
                        buckets.for_each(|bucket| bucket.report.source.path.clone_from(&name));
                        folder.raw()?
                    }
                })
            }
        };
        Ok(Self {
            labeled,
            path,
            metadata,
            lone,
            raw,
            raw_folder,
        })
    }

    /// Where it lies, without what a URL may hold of credentials.
    pub(in crate::cli) fn place(&self) -> String {
        self.path.to_string()
    }

    /// Whether RAW was given, so that turns have their texts.
    pub(in crate::cli) fn has_texts(&self) -> bool {
        self.raw.is_some()
    }

    /// The texts of a bucket, where RAW was given.
    pub(in crate::cli) async fn texts(
        &self,
        bucket: &Bucket,
        with_context: bool,
    ) -> Result<Option<Texts>, ReadError> {
        match &self.raw_folder {
            None => Ok(None),
            Some(raw) => Texts::open(raw, bucket, with_context).await.map(Some),
        }
    }

    /// RAW, where it was given.
    pub(in crate::cli) fn raw(&self) -> Option<&RawFolder> {
        self.raw_folder.as_ref()
    }

    /// Where the report of it goes by default: its folder and the name in it.
    pub(in crate::cli) async fn for_report(&self) -> anyhow::Result<OwnFolder> {
        let base = match self.lone {
            true => self.path.parent().and_then(|folder| folder.above_labeled()),
            false => self.path.parent(),
        };
        let nowhere = Spot::Local(Path::new("").into());
        let raw = self.raw.as_ref().unwrap_or(&nowhere);
        let own = self.metadata.own(
            raw,
            &self.rights().await?,
            base.as_ref(),
            Some(&self.metadata),
        );
        own.map_err(|error| {
            usage(format!(
                "{} cannot be written to: {error}; give -o",
                self.metadata
            ))
        })
    }

    /// Where a file that a person names goes: the folder of it, and its name there.
    pub(in crate::cli) async fn for_file(
        &self,
        flag: &str,
        file: &Path,
        overwrite: bool,
    ) -> anyhow::Result<(OwnFolder, String)> {
        if file.to_str().is_some_and(BlobUrl::is_meant) {
            return Err(usage(format!(
                "{flag} is a path on this machine; copy the file afterwards"
            )));
        }
        let file = std::path::absolute(file)?;
        let (Some(folder), Some(name)) = (
            file.parent(),
            file.file_name().and_then(|name| name.to_str()),
        ) else {
            return Err(usage(format!(
                "{flag} {} is not the name of a file",
                file.display()
            )));
        };
        if file.is_dir() {
            return Err(usage(format!(
                "{flag} {} is a folder; give a file",
                file.display()
            )));
        }
        if file.exists() && !overwrite {
            return Err(usage(format!(
                "{flag} {} already exists; give another name, or replace it with --overwrite",
                file.display()
            )));
        }
        if let Spot::Local(labeled) = &self.path
            && let (Ok(labeled), Ok(inside)) = (labeled.canonicalize(), folder.canonicalize())
            && (inside.starts_with(&labeled) || inside.join(name) == labeled)
        {
            return Err(usage(format!(
                "{flag} {} lies in the labelled dataset; give a place outside of it",
                file.display()
            )));
        }
        if let Some(dataset) = Spot::Local(folder.into()).dataset_around().await? {
            return Err(usage(format!(
                "{flag} {} lies inside the RAW dataset {dataset}; RAW is never written",
                file.display()
            )));
        }
        let own = OwnFolder::local_beside(folder, &self.rights().await?);
        let own = own.map_err(|error| usage(format!("{flag}: {error}")))?;
        Ok((own, name.to_owned()))
    }

    /// RAW as it is protected on this machine; what is written has no more rights than it and the labels.
    async fn rights(&self) -> anyhow::Result<Protected> {
        let protected = match &self.raw {
            Some(raw @ Spot::Local(_)) if !self.lone => raw.protected().await?,
            Some(Spot::Local(file)) => {
                Protected::new(file, [] as [&Path; 0])?.limit_rights([file])?
            }
            _ => Protected::default(),
        };
        Ok(match &self.path {
            Spot::Local(path) => protected.limit_rights([path])?,
            Spot::Blob(_) => protected,
        })
    }
}
