//! Folders on this machine.
//!
//! Files appear by a rename, locks are those of the operating system: they end with the process that
//! has them, however it ends.

mod draft;
mod lines;
mod lock;
mod own;
mod protected;
mod raw;

pub(super) use own::LocalOwn;
pub use protected::Protected;
pub(super) use raw::LocalRaw;

use super::{StoreError, Version};
use protected::Rights;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::broken_off("finish work on", "a file", error)),
    }
}

fn version_of(metadata: &Metadata) -> Version {
    let changed = modified(metadata).duration_since(UNIX_EPOCH);
    let etag = format!(
        "{:x}-{:x}",
        metadata.len(),
        changed.unwrap_or_default().as_nanos()
    );
    Version {
        etag,
        length: metadata.len(),
    }
}

fn modified(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(UNIX_EPOCH)
}

/// Opens a file for reading. Nothing else of that name is opened: opening a pipe waits for what writes
/// into it.
fn open_file(path: &Path) -> io::Result<File> {
    let there = fs::metadata(path)?;
    if there.is_file() {
        return File::open(path);
    }
    Err(io::Error::other(match there.is_dir() {
        true => "it is a folder; a file is needed",
        false => "it is not a regular file; copy it to one",
    }))
}

/// Names have 255 bytes at most, and what belongs to a file is called like it with something around.
const LONGEST: usize = 200;

/// A hidden name beside `target`, for what belongs to it.
fn beside(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split_at(name.floor_char_boundary(LONGEST)).0;
    target.with_file_name(format!(".{name}{ending}"))
}

/// The folders above `path` that are not there, the deepest first.
fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1);
    let missing = above.take_while(|folder| !folder.exists());
    missing.map(Path::to_owned).collect()
}

/// Removes those of `folders` that are empty, so that a run that did nothing leaves nothing.
fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        let _ = fs::remove_dir(folder);
    }
}

/// Opens a file of ours that is changed in place, and makes it if need be. Neither a link nor a file
/// that has another name is opened: what it leads to, or is elsewhere, is not ours.
fn open_in_place(
    operation: &'static str,
    path: &Path,
    rights: &Rights,
) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    rights.of_file(path, &mut options);
    let file = match no_follow(&mut options).open(path) {
        Err(_) if fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink()) => {
            let reason = "it is a symbolic link, and no link is followed here; remove the link";
            return Err(StoreError::forbidden(path.display(), reason));
        }
        opened => opened.map_err(|error| StoreError::io(operation, path, error))?,
    };
    let there = file.metadata();
    let there = there.map_err(|error| StoreError::io(operation, path, error))?;
    if names(&there) > 1 {
        let reason = "the same file has another name elsewhere (a hard link), where it would change too; \
                      put a copy in its place";
        return Err(StoreError::forbidden(path.display(), reason));
    }
    Ok(file)
}

/// Opens the file at `path` as [`open_in_place`] does and locks it; gives whether the lock was free.
fn open_and_lock(
    operation: &'static str,
    path: &Path,
    rights: &Rights,
) -> Result<(File, bool), StoreError> {
    loop {
        let file = open_in_place(operation, path, rights)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok((file, true)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok((file, false)),
            Err(TryLockError::Error(error)) => return Err(StoreError::io(operation, path, error)),
        }
    }
}

/// Lets opening a symbolic link fail.
#[cfg(unix)]
fn no_follow(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
}

#[cfg(not(unix))]
fn no_follow(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// How many names the file has.
#[cfg(unix)]
fn names(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn names(_: &Metadata) -> u64 {
    1
}

/// Whether `path` still leads to `file`: another process may have removed or replaced it between
/// opening and locking.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => inode(held) == inode(there),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
