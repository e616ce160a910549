//! Our own files: written as a whole, by appending, or only over the version that was read.

use super::azure::{Account, Area, AzureOwn, Guard};
use super::fenced::Fenced;
use super::local::{LocalOwn, Protected};
use super::{BlobStatus, Listed, StoreError, Version};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a write does with a file that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// The write replaces whatever is there.
    Overwrite,
    /// The write creates the file, unless one exists.
    Create,
    /// The write replaces this version, unless the file is another version or gone.
    Update(Version),
}

impl From<Option<Version>> for PutMode {
    /// The mode that replaces the file as it was read: `None` where there was none.
    fn from(there: Option<Version>) -> Self {
        there.map_or(Self::Create, Self::Update)
    }
}

/// What a backend for our own files can do. [`OwnFolder`] has checked every path.
#[async_trait]
pub(super) trait OwnBlobs: Debug + Send + Sync {
    fn locate(&self, path: &str) -> String;
    /// Whether `path` stays in the folder, or what is wrong with it.
    fn check(&self, path: &str) -> Result<(), &'static str> {
        check_path(path)
    }
    async fn read_versioned(&self, path: &str) -> Result<Option<(Vec<u8>, Version)>, StoreError>;
    async fn put(&self, path: &str, content: Vec<u8>, mode: PutMode) -> Result<bool, StoreError>;
    async fn publish(&self, path: &str) -> Result<Publication, StoreError>;
    async fn try_out(&self, path: &str) -> Result<(), StoreError>;
    async fn append(&self, path: &str) -> Result<(Appender, Vec<u8>), StoreError>;
    async fn add_line(&self, path: &str, line: Vec<u8>) -> Result<u64, StoreError>;
    async fn status(&self, path: &str) -> Result<Option<BlobStatus>, StoreError>;
    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        Ok(self.status(path).await?.is_some())
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError>;
    async fn remove_file(&self, path: &str) -> Result<(), StoreError>;
    async fn remove(&self, prefix: &str) -> Result<(), StoreError>;
    async fn lock(&self, name: &str, holder: &str) -> Result<Lock, StoreError>;
}

/// A file that is being written. It appears when it is committed; dropped before, it leaves nothing.
pub type Publication = Box<dyn Draft>;

/// A file of lines that one holder at a time appends to. Dropping it gives the file back, if need be
/// in the background; `release` waits for that.
pub type Appender = Box<dyn AppendLines>;

/// A lock that is held. Dropping it gives the lock back, if need be in the background;
/// `release` waits for that.
pub type Lock = Box<dyn Held>;

/// See [`Publication`].
#[async_trait]
pub trait Draft: Debug + Send + Sync {
    async fn write(&mut self, content: &[u8]) -> Result<(), StoreError>;

    /// Publishes the file in one step; `false` if `mode` keeps the existing file. The new
    /// file outlives a loss of power. After an error the old file is still there.
    async fn commit(self: Box<Self>, mode: PutMode) -> Result<bool, StoreError>;
}

/// See [`Appender`].
#[async_trait]
pub trait AppendLines: Held {
    /// Appends whole lines. When it returns they outlive this process. In a container a file takes
    /// 50,000 appends, one for each 4 MiB.
    ///
    /// # Errors
    /// [`StoreError::Held`] if another process took the file over; others if the lines cannot all be
    /// written, for example on a full disk. The same lines, and more after them, may be appended
    /// again: the part that is there is not written twice. The next [`OwnFolder::append`] makes a partly
    /// written line harmless.
    async fn append(&mut self, lines: &[u8]) -> Result<(), StoreError>;
}

/// Something that one process holds at a time.
#[async_trait]
pub trait Held: Debug + Send + Sync {
    /// The right to write that it gives; `None` where only the end of this process ends it.
    fn right(&self) -> Option<Arc<dyn Right>> {
        None
    }

    /// Ends with [`StoreError::Held`] when another process is known to have taken over. It never ends
    /// on this machine, where only the holder's end gives a lock away.
    fn lost(&self) -> BoxFuture<'static, StoreError> {
        futures::future::pending().boxed()
    }

    /// Proves that no other process took it since it was taken; [`StoreError::Held`] if one did.
    async fn prove(&self) -> Result<(), StoreError> {
        match self.right() {
            Some(right) => right.prove().await,
            None => Ok(()),
        }
    }

    /// Gives it back, so that the next holder can have it at once.
    async fn release(self: Box<Self>);
}

/// The right to write that a lock gives.
#[async_trait]
pub trait Right: Debug + Send + Sync {
    /// Fails, with [`StoreError::Held`], if another process had the lock since it was taken.
    async fn prove(&self) -> Result<(), StoreError>;
}

/// The most lines that can be [added](OwnFolder::add_line) to a file: an append blob takes no more.
pub const MOST_LINES: u64 = 50_000;

/// A folder that may be written, which never lies inside RAW. Paths below it are names with `/`
/// between them; a path that would leave the folder is [`StoreError::Forbidden`].
#[derive(Clone, Debug)]
pub struct OwnFolder(Arc<dyn OwnBlobs>);

impl OwnFolder {
    /// The folder `root` on this machine, made when something is written. It is
    /// [`StoreError::Forbidden`] if it lies inside `raw`, links resolved.
    pub fn local(root: impl Into<PathBuf>, raw: &Path) -> Result<Self, StoreError> {
        Self::local_beside(root, &Protected::new(raw, [] as [&str; 0])?)
    }

    /// The folder `root` on this machine, as [`local`](Self::local), with all that counts as RAW. What is
    /// made in it has no more rights than `raw` allows.
    pub fn local_beside(root: impl Into<PathBuf>, raw: &Protected) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(LocalOwn::new(root.into(), raw)?)))
    }

    /// The folder `root` on this machine, while RAW is in no folder on it.
    pub fn local_alone(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::local_beside(root, &Protected::default())
    }

    /// The folder `prefix` of `container`, empty for the whole of it. It is
    /// [`StoreError::Forbidden`] unless `guard` allows everything below to be written.
    pub fn azure(
        account: &Account,
        container: &str,
        prefix: &str,
        guard: &Guard,
    ) -> Result<Self, StoreError> {
        let area = Area::new(container, prefix)?;
        Ok(Self(Arc::new(AzureOwn::new(account, area, guard)?)))
    }

    /// The same folder, in which replacing and removing fail with [`StoreError::Held`] once another
    /// process had one of `locks`. What is replaced by [`replace`](Self::replace), or by [`swap`](Self::swap),
    /// [`create`](Self::create) or `Draft::commit` over a version that was read while the locks were held, is
    /// never what another process wrote, however long this one was frozen in between.
    #[must_use]
    pub fn held_by(&self, locks: &[&Lock]) -> Self {
        let rights = locks.iter().filter_map(|lock| lock.right());
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

    /// The backend, for a path that stays in the folder.
    fn at(&self, path: &str) -> Result<&dyn OwnBlobs, StoreError> {
        let checked = self.0.check(path);
        checked.map_err(|reason| StoreError::forbidden(self.locate(path), reason))?;
        Ok(&*self.0)
    }

    /// The content of a file, or `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if the path leaves the folder; others if the file cannot be read.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.read_versioned(path).await?;
        Ok(read.map(|(content, _)| content))
    }

    /// The content of a file and its version, or `None` where there is none.
    pub async fn read_versioned(
        &self,
        path: &str,
    ) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        self.at(path)?.read_versioned(path).await
    }

    /// Replaces the file in one step. After an error the old file is still there.
    pub async fn replace(&self, path: &str, content: Vec<u8>) -> Result<(), StoreError> {
        let put = self.at(path)?.put(path, content, PutMode::Overwrite);
        put.await.map(drop)
    }

    /// Makes the file, in one step; `false` if there is one already, which is left as it is.
    pub async fn create(&self, path: &str, content: Vec<u8>) -> Result<bool, StoreError> {
        self.at(path)?.put(path, content, PutMode::Create).await
    }

    /// Replaces the version `over` of the file, in one step; `false`, and no change, if the file is
    /// another version or gone.
    pub async fn swap(
        &self,
        path: &str,
        content: Vec<u8>,
        over: &Version,
    ) -> Result<bool, StoreError> {
        let mode = PutMode::Update(over.clone());
        self.at(path)?.put(path, content, mode).await
    }

    /// Begins a file that appears as a whole, when it is committed. Memory holds a few blocks of it,
    /// whatever its size.
    pub async fn publish(&self, path: &str) -> Result<Publication, StoreError> {
        self.at(path)?.publish(path).await
    }

    /// Finds out whether the file can be written, and leaves no trace.
    pub async fn try_out(&self, path: &str) -> Result<(), StoreError> {
        self.at(path)?.try_out(path).await
    }

    /// Takes a file of lines for appending and gives the whole lines that are there. A last line
    /// without its end, which a killed process left, does no harm: it is cut off, or stays an
    /// unreadable line of its own. The file is [`StoreError::Held`] if another task or process has it.
    pub async fn append(&self, path: &str) -> Result<(Appender, Vec<u8>), StoreError> {
        self.at(path)?.append(path).await
    }

    /// Adds a line, with or without its end, to a file that several processes add lines to at the
    /// same time, and gives the least number of lines that the file has. The line may be there
    /// after an error, and twice after an answer that was lost. It is [`StoreError::Full`] after
    /// [`MOST_LINES`].
    pub async fn add_line(&self, path: &str, line: &[u8]) -> Result<u64, StoreError> {
        let mut line = line.to_vec();
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        self.at(path)?.add_line(path, line).await
    }

    /// Version, time and lease of the file, without reading it; `None` where there is none.
    pub async fn status(&self, path: &str) -> Result<Option<BlobStatus>, StoreError> {
        self.at(path)?.status(path).await
    }

    /// Every file below the folder `prefix`, at any depth, by path; below this folder with an empty
    /// one. A folder that is not there is empty. Files whose own name begins with a dot (drafts,
    /// locks) are left out.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let blobs = match prefix {
            "" => &*self.0,
            prefix => self.at(prefix)?,
        };
        let mut listed = blobs.list(prefix).await?;
        listed.retain(|file| {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            !name.starts_with('.')
        });
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    /// Whether there is a file at `path`.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if the path leaves the folder; others if that cannot be found out.
    pub async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.at(path)?.exists(path).await
    }

    /// Removes a file; none there is fine.
    pub async fn remove_file(&self, path: &str) -> Result<(), StoreError> {
        self.at(path)?.remove_file(path).await
    }

    /// Removes the folder `prefix` and all that is in it; nothing there is fine.
    pub async fn remove(&self, prefix: &str) -> Result<(), StoreError> {
        self.at(prefix)?.remove(prefix).await
    }

    /// Takes the lock `name`, in which others read who the `holder` is. It is [`StoreError::Held`] if
    /// another process has it.
    pub async fn lock(&self, name: &str, holder: &str) -> Result<Lock, StoreError> {
        self.at(name)?.lock(name, holder).await
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
