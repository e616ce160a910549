//! Our own files in a local folder.

use super::super::own::{Appender, Lock, OwnBlobs, Publication};
use super::super::{BlobStatus, Listed, PutMode, StoreError, Version};
use super::draft::{self, DraftFile, LocalDraft};
use super::lines::{self, LocalAppender};
use super::lock::{FileGuard, FolderLock};
use super::protected::{Protected, Rights};
use super::{blocking, missing_folders, modified, open_file, remove_empty, version_of};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Debug)]
pub(super) struct Root {
    folder: PathBuf,
    raw: Arc<Protected>,
    /// Folders without drafts that killed processes left.
    swept: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Root {
    fn at(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Where to write `path`; its folder is made.
    pub(super) fn prepare(&self, path: &str) -> Result<PathBuf, StoreError> {
        let plain = Path::new(path)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        if !plain || path.is_empty() {
            let reason = "the path would leave its folder";
            return Err(StoreError::forbidden(self.at(path).display(), reason));
        }
        let path = self.outside_raw(self.at(path))?;
        if let Some(folder) = path.parent() {
            let made = self.rights().make_folder(folder);
            made.map_err(|e| StoreError::io("make", folder, e))?;
        }
        Ok(path)
    }

    /// Removes the drafts beside `target` that killed processes left, once for each folder.
    pub(super) fn sweep(&self, target: &Path) {
        let Some(folder) = target.parent() else {
            return;
        };
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.insert(folder.to_owned()) {
            draft::remove_stale(folder);
        }
    }

    /// Refuses a path that is RAW, lies in it or holds it, links resolved: a folder of ours may hold
    /// links, and may lie above RAW.
    pub(super) fn outside_raw(&self, path: PathBuf) -> Result<PathBuf, StoreError> {
        let real = resolve(&path).map_err(|e| StoreError::io("resolve", &path, e))?;
        if let Some(raw) = self.raw.around(&real).or_else(|| self.raw.within(&real)) {
            let reason = format!("it leads to the RAW data at {}", raw.display());
            return Err(StoreError::forbidden(path.display(), reason));
        }
        Ok(path)
    }

    /// What files and folders that are made here may have.
    pub(super) fn rights(&self) -> &Rights {
        self.raw.rights()
    }
}

#[derive(Debug)]
pub(in crate::store) struct LocalOwn {
    root: Root,
}

impl LocalOwn {
    /// The folder `root`, which must not lie inside `raw`, links resolved.
    pub(in crate::store) fn new(root: PathBuf, raw: &Protected) -> Result<Self, StoreError> {
        let real = resolve(&root).map_err(|e| StoreError::io("resolve", &root, e))?;
        if let Some(raw) = raw.around(&real) {
            let reason = format!("it lies inside the RAW data at {}", raw.display());
            return Err(StoreError::forbidden(root.display(), reason));
        }
        let root = Root {
            folder: real,
            raw: Arc::new(raw.clone()),
            swept: Arc::default(),
        };
        Ok(Self { root })
    }

    /// Runs `work` with the path's place, where it may block.
    async fn run<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Root, PathBuf) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (root, path) = (self.root.clone(), self.root.at(path));
        blocking(move || work(&root, path)).await
    }
}

#[async_trait]
impl OwnBlobs for LocalOwn {
    fn locate(&self, path: &str) -> String {
        self.root.at(path).display().to_string()
    }

    async fn read_versioned(&self, path: &str) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        self.run(path, |_, path| {
            let read = || {
                let mut file = open_file(&path)?;
                let version = version_of(&file.metadata()?);
                let mut content = Vec::new();
                file.read_to_end(&mut content)?;
                Ok((content, version))
            };
            present(read(), "read", &path)
        })
        .await
    }

    async fn put(&self, path: &str, content: Vec<u8>, mode: PutMode) -> Result<bool, StoreError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        blocking(move || {
            let draft = DraftFile::begin(&root, &path)?;
            draft.write(&content)?;
            draft.commit(&mode)
        })
        .await
    }

    async fn publish(&self, path: &str) -> Result<Publication, StoreError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        let draft = blocking(move || DraftFile::begin(&root, &path)).await?;
        Ok(Box::new(LocalDraft::new(draft)))
    }

    async fn try_out(&self, path: &str) -> Result<(), StoreError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        blocking(move || {
            let target = root.at(&path);
            let made = missing_folders(&target);
            let tried = DraftFile::begin(&root, &path).map(drop);
            remove_empty(&made);
            tried?;
            match target.is_dir() {
                true => {
                    let reason = "a folder has its name; remove it, or choose another place";
                    Err(StoreError::forbidden(target.display(), reason))
                }
                false => Ok(()),
            }
        })
        .await
    }

    async fn append(&self, path: &str) -> Result<(Appender, Vec<u8>), StoreError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        let take = move || LocalAppender::take(root.prepare(&path)?, root.rights());
        let (appender, lines) = blocking(take).await?;
        Ok((Box::new(appender), lines))
    }

    async fn add_line(&self, path: &str, line: Vec<u8>) -> Result<u64, StoreError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        blocking(move || lines::add_line(&root.prepare(&path)?, &line, root.rights())).await
    }

    async fn status(&self, path: &str) -> Result<Option<BlobStatus>, StoreError> {
        self.run(path, |_, path| {
            let Some(metadata) = present(fs::metadata(&path), "look at", &path)? else {
                return Ok(None);
            };
            let leased = match lines::is_taken(&path) {
                Err(error) if error.is_not_found() => return Ok(None),
                leased => leased?,
            };
            Ok(Some(BlobStatus {
                version: version_of(&metadata),
                modified: timestamp(&metadata),
                leased,
            }))
        })
        .await
    }

    async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.run(path, |_, path| {
            path.try_exists()
                .map_err(|e| StoreError::io("look for", path, e))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let (folder, prefix) = (self.root.at(prefix), prefix.to_owned());
        blocking(move || {
            let mut listed = Vec::new();
            list(&folder, &prefix, &mut listed)?;
            Ok(listed)
        })
        .await
    }

    async fn remove_file(&self, path: &str) -> Result<(), StoreError> {
        self.run(path, |root, path| {
            if present(fs::symlink_metadata(&path), "remove", &path)?.is_none() {
                return Ok(());
            }
            let path = root.outside_raw(path)?;
            let _guard = FileGuard::take(&path, root.rights())?;
            present(fs::remove_file(&path), "remove", &path).map(drop)
        })
        .await
    }

    async fn remove(&self, prefix: &str) -> Result<(), StoreError> {
        self.run(prefix, |root, path| {
            let path = root.outside_raw(path)?;
            present(fs::remove_dir_all(&path), "remove", &path).map(drop)
        })
        .await
    }

    async fn lock(&self, name: &str, holder: &str) -> Result<Lock, StoreError> {
        let holder = holder.to_owned();
        let lock = self.run(name, move |root, path| {
            FolderLock::take(&root.outside_raw(path)?, &holder, root.rights())
        });
        Ok(Box::new(lock.await?))
    }
}

fn present<T>(
    result: io::Result<T>,
    operation: &'static str,
    path: &Path,
) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(operation, path, error)),
    }
}

/// Adds the files below `folder`, whose path is `prefix`. Links to folders are not followed.
fn list(folder: &Path, prefix: &str, listed: &mut Vec<Listed>) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("list", folder, error);
    let entries = match fs::read_dir(folder) {
        // Nothing lies below a file.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        entries => entries,
    };
    let Some(entries) = present(entries, "list", folder)? else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // Names of our own are all UTF-8.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = match prefix {
            "" => name,
            prefix => format!("{prefix}/{name}"),
        };
        if entry.file_type().map_err(failed)?.is_dir() {
            list(&entry.path(), &path, listed)?;
        } else if let Some(metadata) = present(fs::metadata(entry.path()), "list", folder)?
            && metadata.is_file()
        {
            listed.push(Listed {
                path,
                version: version_of(&metadata),
                modified: timestamp(&metadata),
            });
        }
    }
    Ok(())
}

fn timestamp(metadata: &Metadata) -> Timestamp {
    Timestamp::try_from(modified(metadata)).unwrap_or_default()
}

/// The absolute path with its links resolved, for as much of it as exists.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut existing = path.as_path();
    loop {
        match fs::canonicalize(existing) {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(error);
                };
                missing.push(name);
                existing = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{OwnFolder, PutMode, StoreError};
    use std::fs;

    fn folder() -> (tempfile::TempDir, OwnFolder) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("raw")).unwrap();
        let own = OwnFolder::local(home.path().join("own"), &home.path().join("raw")).unwrap();
        (home, own)
    }

    #[test]
    fn raw_cannot_be_written() {
        let (home, _) = folder();
        let raw = home.path().join("raw");
        for inside in [
            raw.clone(),
            raw.join("new/deep"),
            home.path().join("own/../raw/x"),
        ] {
            // A `..` through a folder that is not there leads nowhere.
            let refused = OwnFolder::local(&inside, &raw);
            assert!(refused.is_err(), "{}", inside.display());
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&raw, home.path().join("link")).unwrap();
            let refused = OwnFolder::local(home.path().join("link/out"), &raw).unwrap_err();
            assert!(matches!(refused, StoreError::Forbidden { .. }), "{refused}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn no_link_in_a_folder_above_raw_leads_into_it() {
        let home = tempfile::tempdir().unwrap();
        let raw = home.path().join("buckets");
        fs::create_dir_all(raw.join("train")).unwrap();
        fs::write(raw.join("train/.a.unfinished"), "RAW").unwrap();
        std::os::unix::fs::symlink(&raw, home.path().join("link")).unwrap();
        let own = OwnFolder::local(home.path(), &raw).unwrap();
        for path in ["buckets/train/a", "link/train/a", "buckets"] {
            let error = own.publish(path).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Forbidden { .. }),
                "{path}: {error}"
            );
        }
        assert!(own.remove("buckets").await.is_err());
        assert!(own.remove("link").await.is_err());
        let lone = OwnFolder::local(home.path(), &raw.join("train/.a.unfinished"));
        let itself = "buckets/train/.a.unfinished";
        assert!(lone.unwrap().publish(itself).await.is_err());
        assert_eq!(fs::read(raw.join("train/.a.unfinished")).unwrap(), b"RAW");
    }

    #[tokio::test]
    async fn no_path_leaves_the_folder() {
        let (_home, own) = folder();
        for path in ["../x", "/etc/x", "a/../../x", "", "."] {
            let error = own.publish(path).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Forbidden { .. }),
                "{path}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_publication_appears_only_when_committed() {
        let (_home, own) = folder();
        own.replace("a/b", b"old".to_vec()).await.unwrap();
        let mut publication = own.publish("a/b").await.unwrap();
        publication.write(b"new").await.unwrap();
        assert_eq!(own.read("a/b").await.unwrap().unwrap(), b"old");
        assert!(publication.commit(PutMode::Overwrite).await.unwrap());
        assert_eq!(own.read("a/b").await.unwrap().unwrap(), b"new");
        assert_eq!(own.read("a/c").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_torn_line_is_cut_off() {
        let (_home, own) = folder();
        own.replace("part", b"one\ntwo\nthr".to_vec())
            .await
            .unwrap();
        let (mut appender, lines) = own.append("part").await.unwrap();
        assert_eq!(lines, b"one\ntwo\n");
        appender.append(b"three\n").await.unwrap();
        assert_eq!(
            own.read("part").await.unwrap().unwrap(),
            b"one\ntwo\nthree\n"
        );
    }
}
