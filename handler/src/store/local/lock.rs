//! Locks: on a run's folder, so that two processes never write one run, and on a file while its
//! version is compared and the file replaced.

use super::super::StoreError;
use super::super::own::Held;
use super::protected::Rights;
use super::{beside, is_at, missing_folders, open_and_lock, open_in_place, remove_empty};
use async_trait::async_trait;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Held by one process; given back when it is dropped, also by a kill.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
    path: PathBuf,
    /// Folders that were made for it, the deepest first.
    made: Vec<PathBuf>,
}

impl FolderLock {
    /// Takes the lock file at `path` and writes `holder` into it for others. Its folder is made.
    pub(super) fn take(path: &Path, holder: &str, rights: &Rights) -> Result<Self, StoreError> {
        let made = missing_folders(path);
        let taken = Self::take_in(path, holder, rights);
        if taken.is_err() {
            remove_empty(&made);
        }
        taken.map(|file| Self {
            _file: file,
            path: path.to_owned(),
            made,
        })
    }

    fn take_in(path: &Path, holder: &str, rights: &Rights) -> Result<File, StoreError> {
        if let Some(folder) = path.parent() {
            let made = rights.make_folder(folder);
            made.map_err(|e| StoreError::io("make", folder, e))?;
        }
        let failed = |error| StoreError::io("lock", path, error);
        let (mut file, free) = open_and_lock("lock", path, rights)?;
        if !free {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            return Err(StoreError::Held {
                place: path.display().to_string(),
                holder,
            });
        }
        file.set_len(0).map_err(failed)?;
        if let Err(error) = file.write_all(holder.as_bytes()) {
            let _ = fs::remove_file(path);
            return Err(failed(error));
        }
        Ok(file)
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // While it is still locked.
        let _ = fs::remove_file(&self.path);
        remove_empty(&self.made);
    }
}

#[async_trait]
impl Held for FolderLock {
    async fn release(self: Box<Self>) {}
}

/// Keeps other writers from one file, for an instant. A killed writer leaves a hidden empty file, which
/// the next one removes.
#[derive(Debug)]
pub(super) struct FileGuard {
    _file: File,
    path: PathBuf,
}

impl FileGuard {
    /// Waits until no other writer is at `target`, whose folder must exist.
    pub(super) fn take(target: &Path, rights: &Rights) -> Result<Self, StoreError> {
        let path = beside(target, ".lock");
        loop {
            let file = open_in_place("lock", &path, rights)?;
            file.lock()
                .map_err(|error| StoreError::io("lock", &path, error))?;
            if is_at(&file, &path) {
                return Ok(Self { _file: file, path });
            }
        }
    }
}

impl Drop for FileGuard {
    fn drop(&mut self) {
        // While it is still locked.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("work/lock");
        fs::create_dir(folder.path().join("work")).unwrap();
        let first = FolderLock::take(&path, "process 7", &Rights::default()).unwrap();
        let second = FolderLock::take(&path, "process 8", &Rights::default()).unwrap_err();
        assert!(second.to_string().contains("process 7"), "{second}");
        drop(first);
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_a_link_is_refused_and_the_file_behind_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        fs::write(&theirs, "precious").unwrap();
        let path = folder.path().join("lock");
        std::os::unix::fs::symlink(&theirs, &path).unwrap();
        let refused = FolderLock::take(&path, "process 7", &Rights::default()).unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        fs::remove_file(&path).unwrap();
        fs::hard_link(&theirs, &path).unwrap();
        let refused = FolderLock::take(&path, "process 7", &Rights::default()).unwrap_err();
        assert!(refused.to_string().contains("hard link"), "{refused}");
        assert_eq!(fs::read(&theirs).unwrap(), b"precious");
        let guard = folder.path().join(".out.lock");
        std::os::unix::fs::symlink(folder.path().join("new"), &guard).unwrap();
        assert!(FileGuard::take(&folder.path().join("out"), &Rights::default()).is_err());
        assert!(!folder.path().join("new").exists());
    }

    #[test]
    fn what_a_killed_process_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "process 7").unwrap();
        assert!(FolderLock::take(&path, "process 8", &Rights::default()).is_ok());
    }
}
