//! What is ours: written as a whole, by appending, or where it is still the version that was read.

use super::azure::{Account, Area, AzureOwn, Guard};
use super::fenced::Fenced;
use super::local::LocalOwn;
use super::{BlobStatus, Listed, StoreError, Version};
use async_trait::async_trait;
use futures::future::BoxFuture;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a write does with a file that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// It takes the place of whatever is there.
    Overwrite,
    /// It makes the file, and leaves one that is there alone.
    Create,
    /// It takes the place of this version, and leaves any other, or none, alone.
    Update(Version),
}

impl From<Option<Version>> for PutMode {
    /// The mode that replaces the file as it was read: `None` where there was none.
    fn from(there: Option<Version>) -> Self {
        there.map_or(Self::Create, Self::Update)
    }
}

/// What a place that holds files of ours can do. Paths are [plain](check_path).
#[async_trait]
pub(super) trait OwnBlobs: Debug + Send + Sync {
    fn locate(&self, path: &str) -> String;
    async fn read_versioned(&self, path: &str) -> Result<Option<(Vec<u8>, Version)>, StoreError>;
    async fn put(&self, path: &str, content: Vec<u8>, mode: PutMode) -> Result<bool, StoreError>;
    async fn publish(&self, path: &str) -> Result<Box<dyn Draft>, StoreError>;
    async fn try_out(&self, path: &str) -> Result<(), StoreError>;
    async fn append(&self, path: &str) -> Result<(Box<dyn AppendLines>, Vec<u8>), StoreError>;
    async fn add_line(&self, path: &str, line: Vec<u8>) -> Result<u64, StoreError>;
    async fn status(&self, path: &str) -> Result<Option<BlobStatus>, StoreError>;
    async fn exists(&self, path: &str) -> Result<bool, StoreError>;
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError>;
    async fn remove_file(&self, path: &str) -> Result<(), StoreError>;
    async fn remove(&self, prefix: &str) -> Result<(), StoreError>;
    async fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn Held>, StoreError>;
}

/// A file on its way to appear. One that is dropped leaves nothing.
#[async_trait]
pub(super) trait Draft: Debug + Send + Sync {
    async fn write(&mut self, content: &[u8]) -> Result<(), StoreError>;
    async fn commit(self: Box<Self>, mode: PutMode) -> Result<bool, StoreError>;
}

/// A file of lines that is held for appending.
#[async_trait]
pub(super) trait AppendLines: Debug + Send + Sync {
    async fn append(&mut self, lines: &[u8]) -> Result<(), StoreError>;
    fn lost(&self) -> BoxFuture<'static, StoreError>;
    async fn release(self: Box<Self>);
}

/// A lock that is held.
#[async_trait]
pub(super) trait Held: Debug + Send + Sync {
    /// `None` where nothing but the end of this process ends it.
    fn right(&self) -> Option<Arc<dyn Right>>;
    fn lost(&self) -> BoxFuture<'static, StoreError>;
    async fn release(self: Box<Self>);
}

/// The right to write that a lock gives.
#[async_trait]
pub(super) trait Right: Debug + Send + Sync {
    /// Fails, with [`StoreError::Held`], if another process had the lock since it was taken.
    async fn prove(&self) -> Result<(), StoreError>;
}

/// A folder that may be written, which never lies inside RAW. Paths below it are names with `/`
/// between them; none leaves it.
#[derive(Clone, Debug)]
pub struct OwnFolder(Arc<dyn OwnBlobs>);

impl OwnFolder {
    /// The folder `root` on this machine, made when something is written.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if it lies inside `raw`, links resolved.
    pub fn local(root: impl Into<PathBuf>, raw: &Path) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(LocalOwn::new(root.into(), Some(raw))?)))
    }

    /// The folder `root` on this machine, while RAW is in no folder on it.
    ///
    /// # Errors
    /// If the path cannot be resolved.
    pub fn local_alone(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(LocalOwn::new(root.into(), None)?)))
    }

    /// The folder `prefix` of `container`, empty for the whole of it.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if `guard` does not allow everything below to be written.
    pub fn azure(
        account: &Account,
        container: &str,
        prefix: &str,
        guard: &Guard,
    ) -> Result<Self, StoreError> {
        let area = Area::new(container, prefix)?;
        Ok(Self(Arc::new(AzureOwn::new(account, area, guard)?)))
    }

    /// The same folder, in which nothing is replaced or removed any more once another process had one of
    /// `locks`: that fails with [`StoreError::Held`]. What is replaced by [`swap`](Self::swap),
    /// [`create`](Self::create) or [`Publication::commit`] over a version that was read while the locks
    /// were held is never what another process wrote, however long this one was frozen in between.
    #[must_use]
    pub fn held_by(&self, locks: &[&Lock]) -> Self {
        let rights = locks.iter().filter_map(|lock| lock.0.right());
        let rights = rights.collect::<Vec<_>>();
        match rights.is_empty() {
            true => self.clone(),
            false => Self(Arc::new(Fenced::new(Arc::clone(&self.0), rights))),
        }
    }

    /// Where a file of the folder lies, as a person would write it.
    pub fn locate(&self, path: &str) -> String {
        self.0.locate(path)
    }

    fn check(&self, path: &str) -> Result<(), StoreError> {
        check_path(path).map_err(|reason| StoreError::Forbidden {
            place: self.locate(path),
            reason: reason.into(),
        })
    }

    /// The content of a file, or `None` where there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.read_versioned(path).await?;
        Ok(read.map(|(content, _)| content))
    }

    /// The content of a file and the version it is, or `None` where there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read_versioned(
        &self,
        path: &str,
    ) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        self.check(path)?;
        self.0.read_versioned(path).await
    }

    /// Puts `content` in place of the file, in one step.
    ///
    /// # Errors
    /// If it cannot be written; then the file is as before.
    pub async fn replace(&self, path: &str, content: Vec<u8>) -> Result<(), StoreError> {
        self.check(path)?;
        self.0
            .put(path, content, PutMode::Overwrite)
            .await
            .map(drop)
    }

    /// Makes the file, in one step; `false` if there is one already, which is left as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn create(&self, path: &str, content: Vec<u8>) -> Result<bool, StoreError> {
        self.check(path)?;
        self.0.put(path, content, PutMode::Create).await
    }

    /// Puts `content` in place of the version `over`, in one step; `false` if the file is another
    /// version by now, or gone, and is left as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn swap(
        &self,
        path: &str,
        content: Vec<u8>,
        over: &Version,
    ) -> Result<bool, StoreError> {
        self.check(path)?;
        let mode = PutMode::Update(over.clone());
        self.0.put(path, content, mode).await
    }

    /// Begins a file that appears as a whole, when it is committed. Memory holds a few blocks of it,
    /// whatever its size.
    ///
    /// # Errors
    /// If it cannot be begun.
    pub async fn publish(&self, path: &str) -> Result<Publication, StoreError> {
        self.check(path)?;
        self.0.publish(path).await.map(Publication)
    }

    /// Finds out whether the file can be written, and leaves no trace.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn try_out(&self, path: &str) -> Result<(), StoreError> {
        self.check(path)?;
        self.0.try_out(path).await
    }

    /// Takes a file of lines for appending and gives the whole lines that are there. A last line
    /// without its end, which a killed process left, does no harm: it is cut off, or stays a line
    /// of its own that nobody can read.
    ///
    /// # Errors
    /// [`StoreError::Held`] if somebody else has it, in this process or another; and if it cannot be
    /// opened, read or cut.
    pub async fn append(&self, path: &str) -> Result<(Appender, Vec<u8>), StoreError> {
        self.check(path)?;
        let (appender, lines) = self.0.append(path).await?;
        Ok((Appender(appender), lines))
    }

    /// Adds a line, with or without its end, to a file to which many add theirs side by side, and
    /// gives how many lines it has at least. After an answer that was lost the line may be there
    /// twice. In a container such a file takes 50,000 lines.
    ///
    /// # Errors
    /// If it cannot be written; it may be there all the same.
    pub async fn add_line(&self, path: &str, line: &[u8]) -> Result<u64, StoreError> {
        self.check(path)?;
        let mut line = line.to_vec();
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        self.0.add_line(path, line).await
    }

    /// How the file stands, without reading it; `None` where there is none.
    ///
    /// # Errors
    /// If that cannot be told.
    pub async fn status(&self, path: &str) -> Result<Option<BlobStatus>, StoreError> {
        self.check(path)?;
        self.0.status(path).await
    }

    /// Every file below the folder `prefix`, at any depth, by path; below this folder with an empty
    /// one. Files whose own name begins with a dot (drafts, locks) are left out.
    ///
    /// # Errors
    /// If a folder cannot be listed; one that is not there is empty.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        if !prefix.is_empty() {
            self.check(prefix)?;
        }
        let mut listed = self.0.list(prefix).await?;
        listed.retain(|file| {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            !name.starts_with('.')
        });
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    /// Whether there is a file.
    ///
    /// # Errors
    /// If that cannot be told.
    pub async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.check(path)?;
        self.0.exists(path).await
    }

    /// Removes a file; none there is fine.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub async fn remove_file(&self, path: &str) -> Result<(), StoreError> {
        self.check(path)?;
        self.0.remove_file(path).await
    }

    /// Removes the folder `prefix` and all that is in it; nothing there is fine.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn remove(&self, prefix: &str) -> Result<(), StoreError> {
        self.check(prefix)?;
        self.0.remove(prefix).await
    }

    /// Takes the lock `name`, in which `holder` stands for others to read.
    ///
    /// # Errors
    /// [`StoreError::Held`] if another process has it.
    pub async fn lock(&self, name: &str, holder: &str) -> Result<Lock, StoreError> {
        self.check(name)?;
        self.0.lock(name, holder).await.map(Lock)
    }
}

/// A file of lines that grows at its end, held by one at a time. Dropping it gives it back, where
/// that is possible in the background; [`release`](Self::release) waits for it.
#[derive(Debug)]
pub struct Appender(Box<dyn AppendLines>);

impl Appender {
    #[cfg(test)]
    pub(super) fn over(lines: impl AppendLines + 'static) -> Self {
        Self(Box::new(lines))
    }

    /// Appends whole lines. When it returns they outlive this process. In a container a file takes
    /// 50,000 appends, one for each 4 MiB.
    ///
    /// # Errors
    /// [`StoreError::Held`] if somebody else took the file over; and if the lines cannot all be
    /// written, for example on a full disk. The same lines may be appended again, and more after
    /// them: what is there of them is not written twice. A line that stays there in part is made
    /// harmless by the next [`OwnFolder::append`].
    pub async fn append(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.0.append(lines).await
    }

    /// Ends, with [`StoreError::Held`], when it is known that somebody else took the file over. Never
    /// on this machine, where only the end of this process gives it away.
    pub fn lost(&self) -> BoxFuture<'static, StoreError> {
        self.0.lost()
    }

    /// Gives the file back, so that the next can have it at once.
    pub async fn release(self) {
        self.0.release().await;
    }
}

/// A file on its way to appear. One that is dropped before it appeared leaves nothing to be seen.
#[derive(Debug)]
pub struct Publication(Box<dyn Draft>);

impl Publication {
    /// Adds to the draft.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.0.write(content).await
    }

    /// Makes the file appear in one step, as `mode` says; `false` if that leaves the file
    /// that is there alone. What appeared outlives a loss of power.
    ///
    /// # Errors
    /// If it cannot be completed; then what was there before still is.
    pub async fn commit(self, mode: PutMode) -> Result<bool, StoreError> {
        self.0.commit(mode).await
    }
}

/// A lock that is held. Dropping it gives it back, where that is possible in the background;
/// [`release`](Self::release) waits for it.
#[derive(Debug)]
pub struct Lock(Box<dyn Held>);

impl Lock {
    /// Ends, with [`StoreError::Held`], when it is known that another process took the lock over. Never on
    /// this machine, where only the end of this process gives it away.
    pub fn lost(&self) -> BoxFuture<'static, StoreError> {
        self.0.lost()
    }

    /// Makes sure that no other process had the lock since it was taken.
    ///
    /// # Errors
    /// [`StoreError::Held`] if one had it; and if that cannot be told.
    pub async fn prove(&self) -> Result<(), StoreError> {
        match self.0.right() {
            Some(right) => right.prove().await,
            None => Ok(()),
        }
    }

    /// Gives the lock back, so that the next can have it at once.
    pub async fn release(self) {
        self.0.release().await;
    }
}

/// Whether `path` is plain names with `/` between them, or what is wrong with it.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    for name in path.split('/') {
        match name {
            "" => return Err("the path has an empty name"),
            "." | ".." => return Err("the path would leave its folder"),
            _ => {}
        }
    }
    Ok(())
}
