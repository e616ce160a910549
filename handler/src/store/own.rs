//! What is ours in a local folder: written atomically or by appending.

use super::lock::FolderLock;
use super::{StoreError, blocking};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

/// A folder that may be written, which never lies inside RAW.
#[derive(Clone, Debug)]
pub struct OwnFolder {
    root: PathBuf,
    raw: PathBuf,
}

impl OwnFolder {
    /// The folder `root`, made when something is written.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if it lies inside `raw`, links resolved.
    pub fn new(root: impl Into<PathBuf>, raw: &Path) -> Result<Self, StoreError> {
        let root = root.into();
        let forbidden = |reason| StoreError::Forbidden {
            path: root.clone(),
            reason,
        };
        let real = resolve(&root).map_err(|e| StoreError::io("resolve", &root, e))?;
        let raw = resolve(raw).map_err(|e| StoreError::io("resolve", raw, e))?;
        if real.starts_with(&raw) {
            return Err(forbidden(format!(
                "it lies inside the RAW data at {}",
                raw.display()
            )));
        }
        Ok(Self { root: real, raw })
    }

    /// Where a file of the folder lies.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Where `path` is to be written; its folder is made.
    fn prepare(&self, path: &str) -> Result<PathBuf, StoreError> {
        let plain = Path::new(path)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        if !plain || path.is_empty() {
            return Err(StoreError::Forbidden {
                path: self.locate(path),
                reason: "the path would leave its folder".into(),
            });
        }
        let path = self.outside_raw(self.locate(path))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| StoreError::io("make", folder, e))?;
        }
        Ok(path)
    }

    /// Refuses a path that is RAW, lies in it or holds it, links resolved: a folder of ours may hold
    /// links, and may lie above RAW.
    fn outside_raw(&self, path: PathBuf) -> Result<PathBuf, StoreError> {
        let real = resolve(&path).map_err(|e| StoreError::io("resolve", &path, e))?;
        if real.starts_with(&self.raw) || self.raw.starts_with(&real) {
            let reason = format!("it leads to the RAW data at {}", self.raw.display());
            return Err(StoreError::Forbidden { path, reason });
        }
        Ok(path)
    }

    /// Locks the folder for this process, by a file `name` in which `holder` stands for others.
    ///
    /// # Errors
    /// [`StoreError::Held`] if another process has it.
    pub async fn lock(&self, name: &str, holder: &str) -> Result<FolderLock, StoreError> {
        let (own, name, holder) = (self.clone(), name.to_owned(), holder.to_owned());
        blocking(move || FolderLock::take(&own.outside_raw(own.locate(&name))?, &holder)).await
    }

    /// The content of a file, or `None` where there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.locate(path);
        blocking(move || match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", path, error)),
        })
        .await
    }

    /// Puts `content` in place of the file, in one step.
    ///
    /// # Errors
    /// If it cannot be written; then the file is as before.
    pub async fn replace(&self, path: &str, content: Vec<u8>) -> Result<(), StoreError> {
        let mut publication = self.publish(path).await?;
        blocking(move || {
            publication.write(&content)?;
            publication.commit()
        })
        .await
    }

    /// Begins a file that appears as a whole, when it is committed.
    ///
    /// # Errors
    /// If it cannot be begun.
    pub async fn publish(&self, path: &str) -> Result<Publication, StoreError> {
        let (own, path) = (self.clone(), path.to_owned());
        blocking(move || {
            let target = own.prepare(&path)?;
            let mut name = std::ffi::OsString::from(".");
            name.push(target.file_name().unwrap_or_default());
            // One name: what a killed process left is written over.
            name.push(".unfinished");
            let draft = own.outside_raw(target.with_file_name(name))?;
            let file = File::create(&draft).map_err(|e| StoreError::io("write", &draft, e))?;
            Ok(Publication {
                file: Some(BufWriter::with_capacity(1 << 16, file)),
                draft,
                target,
            })
        })
        .await
    }

    /// Finds out whether the file can be written, and leaves no trace.
    ///
    /// # Errors
    /// If it cannot be begun.
    pub async fn try_out(&self, path: &str) -> Result<(), StoreError> {
        self.publish(path).await.map(drop)
    }

    /// Opens a file of lines for appending and gives the whole lines that are there. A last line
    /// without its end, which a killed process left, is cut off.
    ///
    /// # Errors
    /// If it cannot be opened, read or cut.
    pub async fn append(&self, path: &str) -> Result<(Appender, Vec<u8>), StoreError> {
        let (own, path) = (self.clone(), path.to_owned());
        blocking(move || {
            let path = own.prepare(&path)?;
            let failed = |error| StoreError::io("append to", &path, error);
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
                .map_err(failed)?;
            let mut content = Vec::new();
            file.read_to_end(&mut content).map_err(failed)?;
            let whole = memchr::memrchr(b'\n', &content).map_or(0, |end| end + 1);
            if whole < content.len() {
                content.truncate(whole);
                file.set_len(whole as u64).map_err(failed)?;
                file.seek(SeekFrom::End(0)).map_err(failed)?;
            }
            Ok((Appender { file, path }, content))
        })
        .await
    }

    /// Whether there is a file.
    ///
    /// # Errors
    /// If that cannot be told.
    pub async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        let path = self.locate(path);
        blocking(move || {
            path.try_exists()
                .map_err(|e| StoreError::io("look for", path, e))
        })
        .await
    }

    /// Removes a file; none there is fine.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub async fn remove_file(&self, path: &str) -> Result<(), StoreError> {
        let path = self.locate(path);
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", path, error))
            }
            _ => Ok(()),
        })
        .await
    }

    /// Removes the folder `path` and all that is in it; nothing there is fine.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn remove(&self, path: &str) -> Result<(), StoreError> {
        let path = self.outside_raw(self.locate(path))?;
        blocking(move || match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", path, error))
            }
            _ => Ok(()),
        })
        .await
    }
}

/// A file of lines that grows at its end.
#[derive(Debug)]
pub struct Appender {
    file: File,
    path: PathBuf,
}

impl Appender {
    /// Appends whole lines. When it returns they outlive this process.
    ///
    /// # Errors
    /// If they cannot all be written, for example on a full disk; a line may then be there in part,
    /// which the next [`OwnFolder::append`] cuts off.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(lines)
            .map_err(|e| StoreError::io("append to", &self.path, e))
    }
}

/// A file on its way to appear. One that is dropped before it appeared leaves nothing.
#[derive(Debug)]
pub struct Publication {
    file: Option<BufWriter<File>>,
    draft: PathBuf,
    target: PathBuf,
}

impl Publication {
    /// Adds to the draft.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(content)
            .map_err(|e| StoreError::io("write", &self.draft, e))
    }

    /// Makes the file appear in one step, in place of an older one. It outlives a loss of power.
    ///
    /// # Errors
    /// If it cannot be completed; then the older one is still there.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let appeared = file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.draft, &self.target))
            .and_then(|()| sync_folder(&self.target));
        if appeared.is_err() {
            let _ = fs::remove_file(&self.draft);
        }
        appeared.map_err(|e| StoreError::io("write", &self.target, e))
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.draft);
        }
    }
}

/// Makes a rename outlive a loss of power; a file system that cannot is not an error.
fn sync_folder(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|_| cfg!(unix)) {
        let _ = File::open(folder)?.sync_all();
    }
    Ok(())
}

/// The absolute path with its links resolved, for as much of it as exists.
fn resolve(path: &Path) -> io::Result<PathBuf> {
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
    use super::*;

    fn folder() -> (tempfile::TempDir, OwnFolder) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("raw")).unwrap();
        let own = OwnFolder::new(home.path().join("own"), &home.path().join("raw")).unwrap();
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
            let refused = OwnFolder::new(&inside, &raw);
            assert!(refused.is_err(), "{}", inside.display());
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&raw, home.path().join("link")).unwrap();
            let refused = OwnFolder::new(home.path().join("link/out"), &raw).unwrap_err();
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
        let own = OwnFolder::new(home.path(), &raw).unwrap();
        for path in ["buckets/train/a", "link/train/a", "buckets"] {
            let error = own.publish(path).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Forbidden { .. }),
                "{path}: {error}"
            );
        }
        assert!(own.remove("buckets").await.is_err());
        assert!(own.remove("link").await.is_err());
        let lone = OwnFolder::new(home.path(), &raw.join("train/.a.unfinished"));
        assert!(lone.unwrap().publish("buckets/train/a").await.is_err());
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
        publication.write(b"new").unwrap();
        assert_eq!(own.read("a/b").await.unwrap().unwrap(), b"old");
        publication.commit().unwrap();
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
        appender.append(b"three\n").unwrap();
        assert_eq!(
            own.read("part").await.unwrap().unwrap(),
            b"one\ntwo\nthree\n"
        );
    }
}
