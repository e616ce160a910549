//! Files of lines that grow at their end.

use super::super::StoreError;
use super::super::own::AppendLines;
use super::is_at;
use super::lock::FileGuard;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who only looks whether a file is taken has it for an instant: whoever wants it tries so often,
const LOOKS: u32 = 10;

/// and waits so long in between.
const LOOK: Duration = Duration::from_millis(10);

/// Held by the operating system's lock on the file itself.
#[derive(Debug)]
pub(super) struct LocalAppender {
    file: File,
    path: PathBuf,
    /// Bytes that are there for certain.
    length: u64,
    /// An append failed, so that there may be something of it.
    torn: bool,
}

impl LocalAppender {
    /// Takes the file at `path` and gives its whole lines; a torn one is cut off.
    pub(super) fn take(path: PathBuf) -> Result<(Self, Vec<u8>), StoreError> {
        let mut file = open(&path)?;
        let failed = |error| StoreError::io("append to", &path, error);
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        let whole = memchr::memrchr(b'\n', &content).map_or(0, |end| end + 1);
        if whole < content.len() {
            content.truncate(whole);
            file.set_len(whole as u64).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        let appender = Self {
            file,
            path,
            length: content.len() as u64,
            torn: false,
        };
        Ok((appender, content))
    }
}

#[async_trait]
impl AppendLines for LocalAppender {
    async fn append(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        let cut = match self.torn {
            true => self.file.set_len(self.length),
            false => Ok(()),
        };
        self.torn = true;
        // Into the system's memory, which is quicker than handing it to another thread.
        cut.and_then(|()| self.file.write_all(lines))
            .map_err(|e| StoreError::io("append to", &self.path, e))?;
        self.length += lines.len() as u64;
        self.torn = false;
        Ok(())
    }

    fn lost(&self) -> BoxFuture<'static, StoreError> {
        futures::future::pending().boxed()
    }

    async fn release(self: Box<Self>) {}
}

/// Adds `line` to the file at `path` and gives how many lines it has. A torn line before it becomes
/// one of its own.
pub(super) fn add_line(path: &Path, line: &[u8]) -> Result<u64, StoreError> {
    let _guard = FileGuard::take(path)?;
    let mut file = open(path)?;
    let failed = |error| StoreError::io("append to", path, error);
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(failed)?;
    let torn = content.last().is_some_and(|last| *last != b'\n');
    let before = content.len();
    if torn {
        content.push(b'\n');
    }
    content.extend_from_slice(line);
    let added = content.get(before..).unwrap_or_default();
    file.write_all(added).map_err(failed)?;
    Ok(memchr::memchr_iter(b'\n', &content).count() as u64)
}

pub(super) fn is_taken(path: &Path) -> Result<bool, StoreError> {
    let failed = |error| StoreError::io("look at", path, error);
    match File::open(path).map_err(failed)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let failed = |error| StoreError::io("append to", path, error);
    let mut looks = 0;
    loop {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if looks < LOOKS => {
                looks += 1;
                std::thread::sleep(LOOK);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Held {
                    place: path.display().to_string(),
                    holder: "somebody who appends to it".into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_of_an_append_that_failed_is_written_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("part");
        let (mut appender, _) = LocalAppender::take(path.clone()).unwrap();
        appender.append(b"one\n").await.unwrap();
        // As a disk does that gets full in the middle.
        appender.file.write_all(b"two\nthr").unwrap();
        appender.torn = true;
        appender.append(b"two\nthree\n").await.unwrap();
        appender.append(b"four\n").await.unwrap();
        let there = std::fs::read_to_string(&path).unwrap();
        assert_eq!(there, "one\ntwo\nthree\nfour\n");
    }
}
