//! Files of lines that grow at their end.

use super::super::StoreError;
use super::super::own::{AppendLines, Held, MOST_LINES};
use super::open_and_lock;
use super::protected::Rights;
use async_trait::async_trait;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Further tries to open a file to append to: what only looks at it has it locked for an instant.
const LOOKS: u32 = 10;

/// Further tries to open a file to add a line to: others that do so have it locked one after the other.
const LOOKS_IN_LINE: u32 = 500;

/// The wait between two tries.
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
    pub(super) fn take(path: PathBuf, rights: &Rights) -> Result<(Self, Vec<u8>), StoreError> {
        let mut file = open(&path, rights, LOOKS)?;
        let failed = |error| StoreError::io("append to", &path, error);
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        let whole = memchr::memrchr(b'\n', &content).map_or(0, |end| end + 1);
        if whole < content.len() {
            content.truncate(whole);
            cut_off(&mut file, whole as u64).map_err(failed)?;
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
            true => cut_off(&mut self.file, self.length),
            false => Ok(()),
        };
        self.torn = true;
        // Written here: this fills a cache of the system, which is quicker than handing it to a thread.
        cut.and_then(|()| self.file.write_all(lines))
            .map_err(|e| StoreError::io("append to", &self.path, e))?;
        self.length += lines.len() as u64;
        self.torn = false;
        Ok(())
    }
}

#[async_trait]
impl Held for LocalAppender {
    async fn release(self: Box<Self>) {}
}

/// Cuts the file to `length` bytes, and goes on there.
fn cut_off(file: &mut File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length)).map(drop)
}

/// Adds `line` to the file at `path` and gives how many lines it has. A torn line before it becomes
/// one of its own.
pub(super) fn add_line(path: &Path, line: &[u8], rights: &Rights) -> Result<u64, StoreError> {
    let mut file = open(path, rights, LOOKS_IN_LINE)?;
    let failed = |error| StoreError::io("append to", path, error);
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(failed)?;
    if memchr::memchr_iter(b'\n', &content).count() as u64 >= MOST_LINES {
        return Err(StoreError::Full {
            place: path.display().to_string(),
        });
    }
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

/// Opens the file and locks it, with so many further tries where it is locked.
fn open(path: &Path, rights: &Rights, looks: u32) -> Result<File, StoreError> {
    for look in 0..=looks {
        if look > 0 {
            std::thread::sleep(LOOK);
        }
        let (file, free) = open_and_lock("append to", path, rights)?;
        if free {
            return Ok(file);
        }
    }
    Err(StoreError::Held {
        place: path.display().to_string(),
        holder: "another process that appends to it".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_of_an_append_that_failed_is_written_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("part");
        let (mut appender, _) = LocalAppender::take(path.clone(), &Rights::default()).unwrap();
        appender.append(b"one\n").await.unwrap();
        // As a disk does that gets full in the middle.
        appender.file.write_all(b"two\nthr").unwrap();
        appender.torn = true;
        appender.append(b"two\nthree\n").await.unwrap();
        appender.append(b"four\n").await.unwrap();
        let there = std::fs::read_to_string(&path).unwrap();
        assert_eq!(there, "one\ntwo\nthree\nfour\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_part_that_is_another_file_too_is_neither_cut_nor_appended_to() {
        let home = tempfile::tempdir().unwrap();
        let (theirs, path) = (home.path().join("theirs"), home.path().join("part"));
        std::fs::write(&theirs, "no line end").unwrap();
        let link = |hard: bool| match hard {
            true => std::fs::hard_link(&theirs, &path),
            false => std::os::unix::fs::symlink(&theirs, &path),
        };
        for (hard, says) in [(true, "hard link"), (false, "symbolic link")] {
            link(hard).unwrap();
            for refused in [
                LocalAppender::take(path.clone(), &Rights::default()).unwrap_err(),
                add_line(&path, b"line\n", &Rights::default()).unwrap_err(),
            ] {
                assert!(refused.to_string().contains(says), "{refused}");
            }
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read(&theirs).unwrap(), b"no line end");
    }
}
