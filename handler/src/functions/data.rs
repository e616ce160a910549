//! Where the datasets of the app lie: RAW to be read, LABELED_ to be written.

use crate::dataset::layout;
use crate::store::azure::{Account, Area, Guard};
use crate::store::{OwnFolder, RawFolder, StoreError};
use std::fmt::Debug;
use std::path::PathBuf;

/// A container of the data account and the path in it below which the datasets lie.
#[derive(Clone, Debug)]
pub struct Data {
    container: String,
    base: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Local(PathBuf),
    Azure { account: Account, guard: Guard },
}

impl Data {
    /// The datasets in a local folder, which counts as the container `data`.
    pub fn local(root: impl Into<PathBuf>) -> Self {
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

    /// Where something below the base path lies in the container.
    fn in_container(&self, path: &str) -> String {
        match self.base.as_str() {
            "" => path.to_owned(),
            base => format!("{base}/{path}"),
        }
    }

    /// What a path in a container is below the base path; `None` where it is not below it.
    pub(super) fn below_base<'a>(&self, container: &str, path: &'a str) -> Option<&'a str> {
        if container != self.container {
            return None;
        }
        match self.base.as_str() {
            "" => Some(path),
            base => path.strip_prefix(base)?.strip_prefix('/'),
        }
    }

    /// Where the data lies, as part of what makes a run the one it is.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.container, self.base)
    }

    /// A RAW dataset.
    ///
    /// # Errors
    /// If that can be no name of one.
    pub(super) fn raw(&self, dataset: &str) -> Result<RawFolder, StoreError> {
        match &self.place {
            Place::Local(root) => Ok(RawFolder::local(root.join(dataset))),
            Place::Azure { account, .. } => {
                RawFolder::azure(account, &self.container, &self.in_container(dataset))
            }
        }
    }

    /// The labelled dataset that mirrors a RAW dataset.
    ///
    /// # Errors
    /// If it may not be written.
    pub(super) fn labeled(&self, dataset: &str) -> Result<OwnFolder, StoreError> {
        let labeled = format!("{}{dataset}", layout::LABELED_PREFIX);
        match &self.place {
            Place::Local(root) => OwnFolder::local(root.join(labeled), &root.join(dataset)),
            Place::Azure { account, guard } => {
                let prefix = self.in_container(&labeled);
                OwnFolder::azure(account, &self.container, &prefix, guard)
            }
        }
    }
}
