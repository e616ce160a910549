//! A place that the command line names: a path on this machine or the URL of blobs.

use super::usage;
use crate::dataset::layout;
use crate::identity::Identities;
use crate::store::azure::{Account, Area, BlobUrl, Connection, ConnectionError, Guard, Tuning};
use crate::store::{OwnFolder, Protected, RawFolder, StoreError};
use anyhow::Context;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The shortest lease that Azure grants: after a kill the next run waits this long.
const LEASE: Duration = Duration::from_secs(15);

/// Longer than a lease, so that a run can be continued at once after a kill.
const LEASE_PATIENCE: Duration = Duration::from_secs(20);

/// A file or folder, which need not exist.
#[derive(Clone, Debug)]
pub(super) enum Spot {
    Local(PathBuf),
    Blob(Blob),
}

/// A path in a container; empty for the container itself.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    account: Account,
    container: String,
    path: String,
}

/// The storage accounts that the command line names, each connected once.
pub(super) struct Accounts {
    identities: Identities,
    known: Vec<(Connection, Account)>,
}

impl Accounts {
    pub(super) fn new(identities: Identities) -> Self {
        Self {
            identities,
            known: Vec::new(),
        }
    }

    /// What `path`, given with `flag`, stands for.
    pub(super) fn spot(&mut self, path: &Path, flag: &str) -> anyhow::Result<Spot> {
        let Some(text) = path.to_str().filter(|text| BlobUrl::is_meant(text)) else {
            return Ok(Spot::Local(path.to_owned()));
        };
        let wrong = |error: ConnectionError| usage(format!("{flag}: {error}"));
        let url = BlobUrl::parse(text).map_err(wrong)?;
        let known = self
            .known
            .iter()
            .find(|(known, _)| *known == url.connection);
        let account = match known {
            Some((_, account)) => account.clone(),
            None => {
                let tuning = Tuning {
                    lease: LEASE,
                    lease_patience: LEASE_PATIENCE,
                    ..Tuning::default()
                };
                let identities = self.identities.clone();
                let account = Account::new(&url.connection, identities, tuning).map_err(wrong)?;
                self.known.push((url.connection, account.clone()));
                account
            }
        };
        Ok(Spot::Blob(Blob {
            account,
            container: url.container,
            path: url.path,
        }))
    }
}

impl Spot {
    /// Its own name.
    pub(super) fn name(&self) -> anyhow::Result<String> {
        match self {
            Self::Local(path) => {
                let name = path.file_name().and_then(|name| name.to_str());
                name.map(str::to_owned)
                    .with_context(|| format!("{self} has no name in UTF-8; rename it"))
            }
            Self::Blob(blob) => blob
                .name()
                .map(str::to_owned)
                .with_context(|| format!("{self} is a container; give a folder or a file in it")),
        }
    }

    /// Its name without the ending.
    pub(super) fn stem(&self) -> Option<String> {
        let name = self.name().ok()?;
        let stem = Path::new(&name).file_stem()?;
        Some(stem.to_string_lossy().into_owned())
    }

    /// The folder it lies in.
    pub(super) fn parent(&self) -> Option<Self> {
        match self {
            Self::Local(path) => path.parent().map(|path| Self::Local(path.to_owned())),
            Self::Blob(blob) => blob.parent().map(Self::Blob),
        }
    }

    /// What is called `name` in it.
    pub(super) fn join(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Blob(blob) => Self::Blob(blob.join(name)),
        }
    }

    /// What is called like it with `ending` after the name.
    pub(super) fn with_ending(&self, ending: &str) -> Self {
        match self {
            Self::Local(path) => {
                let mut path = path.clone().into_os_string();
                path.push(ending);
                Self::Local(path.into())
            }
            Self::Blob(blob) => Self::Blob(Blob {
                path: format!("{}{ending}", blob.path),
                ..blob.clone()
            }),
        }
    }

    /// Whether there is a file.
    pub(super) async fn is_file(&self) -> Result<bool, StoreError> {
        match self {
            Self::Local(path) => Ok(path.is_file()),
            Self::Blob(blob) => blob.is_file().await,
        }
    }

    /// Whether both are the same file, as far as they exist.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(one), Self::Local(other)) => {
                let there = |path: &Path| fs::canonicalize(path).ok();
                there(one).is_some() && there(one) == there(other)
            }
            (Self::Blob(one), Self::Blob(other)) => one.to_string() == other.to_string(),
            _ => false,
        }
    }

    /// The folder as RAW.
    pub(super) fn raw(&self) -> Result<RawFolder, StoreError> {
        match self {
            Self::Local(path) => Ok(RawFolder::local(path)),
            Self::Blob(blob) => blob.raw(),
        }
    }

    /// The dataset in the folder as it is protected on this machine, and what lies in it.
    pub(super) async fn protected(&self) -> Result<Protected, StoreError> {
        let Self::Local(root) = self else {
            return Ok(Protected::default());
        };
        let entries = self.raw()?.entries().await?;
        let paths = entries.iter().map(|(path, _)| path.as_str());
        // What lies deeper is no data.
        let data = || paths.clone().filter(|path| path.matches('/').count() <= 1);
        let places = data().map(|path| root.join(path)).chain([root.clone()]);
        Protected::new(root, data())?.limit_rights(places)
    }

    /// Whether the folder is a RAW dataset: it has the exporter's metadata and is not ours.
    pub(super) async fn is_dataset(&self) -> Result<bool, StoreError> {
        let Ok(name) = self.name() else {
            return Ok(false);
        };
        if layout::labeled_dataset(&name).is_none() {
            return Ok(false);
        }
        self.join(layout::RAW_METADATA).is_file().await
    }

    /// The RAW dataset that it is or would lie in, if any.
    pub(super) async fn dataset_around(&self) -> Result<Option<Self>, StoreError> {
        let mut around = match self {
            // Links are followed, as far as the path exists.
            Self::Local(path) => {
                let path = std::path::absolute(path).ok();
                let mut above = path.iter().flat_map(|path| path.ancestors());
                above
                    .find_map(|folder| fs::canonicalize(folder).ok())
                    .map(Self::Local)
            }
            Self::Blob(_) => Some(self.clone()),
        };
        while let Some(folder) = around {
            if folder.is_dataset().await? {
                return Ok(Some(folder));
            }
            around = folder.parent();
        }
        Ok(None)
    }

    /// The folder as one of ours. `raw` is what must not be written, and `protected` what of it lies on
    /// this machine. In a container that is allowed where `base` says that labelled datasets lie, and in
    /// `work`.
    pub(super) fn own(
        &self,
        raw: &Self,
        protected: &Protected,
        base: Option<&Self>,
        work: Option<&Self>,
    ) -> Result<OwnFolder, StoreError> {
        let blob = match self {
            Self::Local(path) => return OwnFolder::local_beside(path, protected),
            Self::Blob(blob) => blob,
        };
        let area = |spot: Option<&Self>| match spot {
            Some(Self::Blob(other)) if other.account.endpoint() == blob.account.endpoint() => {
                other.area().map(Some)
            }
            _ => Ok(None),
        };
        let mut guard = Guard::default();
        if let Some(base) = area(base)? {
            guard = guard.labeled_in(base);
        }
        if let Some(work) = area(work)? {
            guard = guard.work_in(work);
        }
        if let Some(raw) = area(Some(raw))? {
            guard = guard.never(raw);
        }
        OwnFolder::azure(&blob.account, &blob.container, &blob.path, &guard)
    }

    /// The folder above the first that is named like a labelled dataset, of this one and those above.
    pub(super) fn above_labeled(&self) -> Option<Self> {
        let Self::Blob(blob) = self else {
            return None;
        };
        let mut above = Vec::new();
        for name in blob.path.split('/') {
            if layout::labeled_dataset(name).is_none() {
                return Some(Self::Blob(Blob {
                    path: above.join("/"),
                    ..blob.clone()
                }));
            }
            above.push(name);
        }
        None
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Blob(blob) => blob.fmt(f),
        }
    }
}

impl Blob {
    fn name(&self) -> Option<&str> {
        self.path.rsplit('/').next().filter(|name| !name.is_empty())
    }

    fn parent(&self) -> Option<Self> {
        let above = match self.path.rsplit_once('/') {
            Some((above, _)) => above,
            None if self.path.is_empty() => return None,
            None => "",
        };
        Some(Self {
            path: above.to_owned(),
            ..self.clone()
        })
    }

    fn join(&self, name: &str) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        Self {
            path,
            ..self.clone()
        }
    }

    fn area(&self) -> Result<Area, StoreError> {
        Area::new(&self.container, &self.path)
    }

    fn raw(&self) -> Result<RawFolder, StoreError> {
        RawFolder::azure(&self.account, &self.container, &self.path)
    }

    async fn is_file(&self) -> Result<bool, StoreError> {
        let (Some(folder), Some(name)) = (self.parent(), self.name()) else {
            return Ok(false);
        };
        match folder.raw()?.version(name).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.account.locate(&self.container, &self.path))
    }
}
