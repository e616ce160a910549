//! Locks: on a folder of ours, so that two processes never write one run, and on a file for as long as
//! it takes to compare its version and replace it.

use super::super::StoreError;
use super::super::own::{Held, Right};
use super::{beside, is_at};
use async_trait::async_trait;
use futures::future::BoxFuture;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    pub(super) fn take(path: &Path, holder: &str) -> Result<Self, StoreError> {
        let above = path.ancestors().skip(1);
        let made = above
            .take_while(|folder| !folder.exists())
            .map(Path::to_owned);
        let made = made.collect::<Vec<_>>();
        let taken = Self::take_in(path, holder);
        if taken.is_err() {
            remove_empty(&made);
        }
        taken.map(|file| Self {
            _file: file,
            path: path.to_owned(),
            made,
        })
    }

    fn take_in(path: &Path, holder: &str) -> Result<File, StoreError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| StoreError::io("make", folder, e))?;
        }
        let failed = |error| StoreError::io("lock", path, error);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder).map_err(failed)?;
                    return Err(StoreError::Held {
                        place: path.display().to_string(),
                        holder,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The holder removes the file when it is done: it may be gone, or another one by now.
            if !is_at(&file, path) {
                continue;
            }
            file.set_len(0)
                .and_then(|()| file.rewind())
                .map_err(failed)?;
            if let Err(error) = file.write_all(holder.as_bytes()) {
                let _ = fs::remove_file(path);
                return Err(failed(error));
            }
            return Ok(file);
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // While it is still locked.
        let _ = fs::remove_file(&self.path);
        remove_empty(&self.made);
    }
}

/// A run that came to nothing leaves nothing: of the folders that were made for it, those that are
/// empty are removed.
fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        let _ = fs::remove_dir(folder);
    }
}

#[async_trait]
impl Held for FolderLock {
    fn right(&self) -> Option<Arc<dyn Right>> {
        None
    }

    fn lost(&self) -> BoxFuture<'static, StoreError> {
        Box::pin(std::future::pending())
    }

    async fn release(self: Box<Self>) {}
}

/// Keeps other writers of ours from one file while it is held, which is an instant. A writer that was
/// killed leaves a hidden empty file, which the next removes.
#[derive(Debug)]
pub(super) struct FileGuard {
    _file: File,
    path: PathBuf,
}

impl FileGuard {
    /// Waits until no other writer is at `target`, whose folder must exist.
    pub(super) fn take(target: &Path) -> Result<Self, StoreError> {
        let path = beside(target, ".lock");
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .and_then(|file| file.lock().map(|()| file))
                .map_err(|e| StoreError::io("lock", &path, e))?;
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
        let first = FolderLock::take(&path, "process 7").unwrap();
        let second = FolderLock::take(&path, "process 8").unwrap_err();
        assert!(second.to_string().contains("process 7"), "{second}");
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "process 7").unwrap();
        assert!(FolderLock::take(&path, "process 8").is_ok());
    }
}
