//! Where the datasets lie: RAW to be read, LABELED_ to be written.

use crate::dataset::layout::{self, BucketName, Entry, LeftOut};
use crate::dataset::pilot::Pilot;
use crate::labeled::Location;
use crate::run::publish::Target;
use crate::store::azure::{Account, Area, Guard};
use crate::store::{OwnFolder, RawFile, RawFolder, StoreError};
use std::collections::BTreeSet;
use std::fmt::Debug;
#[cfg(test)]
use std::path::PathBuf;

/// Where the datasets lie: a container of the data account with the path in it below which they are, or
/// one dataset that a command names.
#[derive(Clone, Debug)]
pub struct Data {
    container: String,
    base: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    #[cfg(test)]
    Local(PathBuf),
    Azure {
        account: Account,
        guard: Guard,
    },
    Named(Box<Named>),
}

/// The one dataset, or the lone file, that a command is about.
#[derive(Clone, Debug)]
pub struct Named {
    /// RAW: the dataset's folder, or the folder of the lone file.
    pub raw: RawFolder,
    /// Its bucket files.
    pub files: Vec<RawFile>,
    /// Files in it that are named like data and are not bucket files.
    pub left_out: LeftOut,
    /// What the dataset is called in the work area.
    pub dataset: String,
    /// The RAW dataset's name, or the lone file's path.
    pub source: String,
    /// The labelled dataset's name, or the path of the lone file's output.
    pub labeled: String,
    /// Where labelled files appear.
    pub output: OwnFolder,
    /// The folder of the labelled files, to be read.
    pub labeled_files: RawFolder,
    /// The folder of the metadata, to be read.
    pub metadata_files: RawFolder,
    /// The name of a lone file's output in `output`; `None` for a dataset, which mirrors RAW.
    pub lone_output: Option<String>,
    /// The pilot that is asked for, if it is one.
    pub pilot: Option<Pilot>,
    /// The folder of the metadata: `output` for a dataset, the work folder for a lone file.
    pub metadata: OwnFolder,
}

impl Named {
    /// Where the labelled files appear, as a person would write it: the dataset's folder, or the lone file.
    pub fn labeled_at(&self) -> String {
        let file = self.lone_output.as_deref().unwrap_or_default();
        let place = self.output.locate(file);
        place.trim_end_matches('/').to_owned()
    }
}

impl Data {
    /// The datasets in a local folder, which counts as the container `data`.
    #[cfg(test)]
    pub(crate) fn local(root: impl Into<PathBuf>) -> Self {
        Self {
            container: "data".into(),
            base: String::new(),
            place: Place::Local(root.into()),
        }
    }

    /// The datasets below the path `base` of a `container`.
    ///
    /// # Errors
    /// If those are no names that a container can have.
    pub fn azure(account: Account, container: &str, base: &str) -> Result<Self, StoreError> {
        let guard = Guard::default().labeled_in(Area::new(container, base)?);
        Ok(Self {
            container: container.to_owned(),
            base: base.to_owned(),
            place: Place::Azure { account, guard },
        })
    }

    /// The dataset that a command names.
    pub fn named(named: Named) -> Self {
        Self {
            container: String::new(),
            base: String::new(),
            place: Place::Named(Box::new(named)),
        }
    }

    /// Where something below the base path lies in the container.
    fn in_container(&self, path: &str) -> String {
        match self.base.as_str() {
            "" => path.to_owned(),
            base => format!("{base}/{path}"),
        }
    }

    /// What a path in a container is below the base path; `None` where it is not below it.
    pub(crate) fn below_base<'a>(&self, container: &str, path: &'a str) -> Option<&'a str> {
        if container != self.container {
            return None;
        }
        match self.base.as_str() {
            "" => Some(path),
            base => path.strip_prefix(base)?.strip_prefix('/'),
        }
    }

    /// The place of the data, as part of a run's identity.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.container, self.base)
    }

    /// A RAW dataset.
    ///
    /// # Errors
    /// If that cannot be the name of one.
    pub(crate) fn raw(&self, dataset: &str) -> Result<RawFolder, StoreError> {
        match &self.place {
            #[cfg(test)]
            Place::Local(root) => Ok(RawFolder::local(root.join(dataset))),
            Place::Named(named) => Ok(named.raw.clone()),
            Place::Azure { account, .. } => {
                RawFolder::azure(account, &self.container, &self.in_container(dataset))
            }
        }
    }

    /// The labelled dataset that mirrors a RAW dataset.
    ///
    /// # Errors
    /// If it may not be written.
    pub(crate) fn labeled(&self, dataset: &str) -> Result<OwnFolder, StoreError> {
        let labeled = format!("{}{dataset}", layout::LABELED_PREFIX);
        match &self.place {
            #[cfg(test)]
            Place::Local(root) => OwnFolder::local(root.join(labeled), &root.join(dataset)),
            Place::Named(named) => Ok(named.output.clone()),
            Place::Azure { account, guard } => {
                let prefix = self.in_container(&labeled);
                OwnFolder::azure(account, &self.container, &prefix, guard)
            }
        }
    }

    fn labeled_to_read(&self, dataset: &str) -> Result<RawFolder, StoreError> {
        match self.as_named() {
            Some(named) => Ok(named.labeled_files.clone()),
            None => self.raw(&format!("{}{dataset}", layout::LABELED_PREFIX)),
        }
    }

    fn as_named(&self) -> Option<&Named> {
        match &self.place {
            Place::Named(named) => Some(named),
            _ => None,
        }
    }

    /// Which bucket a RAW file is; `None` where it is none.
    pub(crate) fn bucket(&self, file: &str) -> Option<BucketName> {
        if let Some(named) = self.as_named() {
            let found = named.files.iter().find(|raw| raw.path == file);
            return found.map(|raw| raw.name.clone());
        }
        match layout::classify(file) {
            Entry::Bucket(name) => Some(name),
            Entry::Unread(_) | Entry::Packed(_) | Entry::Ignored(_) => None,
        }
    }

    /// What is named like data in a RAW dataset, and is not read.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub(crate) async fn left_out(&self, dataset: &str) -> Result<LeftOut, StoreError> {
        Ok(self.contents(dataset).await?.1)
    }

    /// The paths of the bucket files in a RAW dataset, and the files that are named like data and not read.
    /// A dataset that is gone is an empty one in storage; where its container is not found nothing is known.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub(crate) async fn contents(
        &self,
        dataset: &str,
    ) -> Result<(BTreeSet<String>, LeftOut), StoreError> {
        let paths = |files: &[RawFile]| files.iter().map(|file| file.path.clone()).collect();
        if let Some(named) = self.as_named() {
            return Ok((paths(&named.files), named.left_out.clone()));
        }
        let buckets = self.raw(dataset)?.buckets().await?;
        Ok((paths(&buckets.files), buckets.in_app().left_out))
    }

    /// The path of a bucket's labelled file in the [labelled dataset](Self::labeled).
    pub(crate) fn labeled_path(&self, name: &BucketName) -> String {
        let lone = self.as_named().and_then(|named| named.lone_output.clone());
        lone.unwrap_or_else(|| layout::labeled_path(name))
    }

    /// Where the labelled file of a bucket and the details of it are published. The details of a lone file
    /// lie beside its metadata.
    ///
    /// # Errors
    /// If that may not be written.
    pub(crate) fn published(
        &self,
        dataset: &str,
        name: &BucketName,
    ) -> Result<[Target; 2], StoreError> {
        let target = |folder, path| Target {
            folder,
            path,
            beginning: 0,
        };
        Ok([
            target(self.labeled(dataset)?, self.labeled_path(name)),
            target(self.metadata(dataset)?, self.details_path(name)),
        ])
    }

    /// The same, to be read.
    ///
    /// # Errors
    /// If that can be no name of a labelled dataset.
    pub(crate) fn published_to_read(
        &self,
        dataset: &str,
        name: &BucketName,
    ) -> Result<[(RawFolder, String); 2], StoreError> {
        let labels = self.labeled_to_read(dataset)?;
        let details = match self.as_named() {
            Some(named) => named.metadata_files.clone(),
            None => labels.clone(),
        };
        Ok([
            (labels, self.labeled_path(name)),
            (details, self.details_path(name)),
        ])
    }

    fn details_path(&self, name: &BucketName) -> String {
        match self.is_lone_file() {
            true => layout::LONE_DETAILS.to_owned(),
            false => layout::details_path(name),
        }
    }

    /// A labelled dataset, to be read as a whole.
    ///
    /// # Errors
    /// If that cannot be the name of one.
    pub(crate) fn to_read(&self, dataset: &str) -> Result<Location, StoreError> {
        let labels = self.labeled_to_read(dataset)?;
        let named = self.as_named();
        Ok(Location {
            metadata: match named {
                Some(named) => named.metadata_files.clone(),
                None => labels.clone(),
            },
            labels,
            lone: named.and_then(|named| named.lone_output.clone()),
            work: None,
            dataset: None,
        })
    }

    /// The folder in which the metadata of a labelled dataset lies, as `labeling_metadata.json`.
    ///
    /// # Errors
    /// If it may not be written.
    pub(crate) fn metadata(&self, dataset: &str) -> Result<OwnFolder, StoreError> {
        match self.as_named() {
            Some(named) => Ok(named.metadata.clone()),
            None => self.labeled(dataset),
        }
    }

    /// What the RAW dataset and the labelled one are called for people.
    pub(crate) fn titles(&self, dataset: &str) -> (String, String) {
        match self.as_named() {
            Some(named) => (named.source.clone(), named.labeled.clone()),
            None => (
                dataset.to_owned(),
                layout::labeled_dataset(dataset).unwrap_or_default(),
            ),
        }
    }

    /// The pilot that a command asks for, if it does.
    pub(crate) fn pilot(&self) -> Option<&Pilot> {
        self.as_named().and_then(|named| named.pilot.as_ref())
    }

    /// Whether it is a lone file, which has no `metadata.json` beside it.
    pub(crate) fn is_lone_file(&self) -> bool {
        self.as_named()
            .is_some_and(|named| named.lone_output.is_some())
    }
}
