//! A file that is written under a hidden name and appears by a rename.

use super::super::own::Draft;
use super::super::{PutMode, StoreError};
use super::lock::FileGuard;
use super::own::Root;
use super::protected::Rights;
use super::{beside, blocking, is_at, modified, no_follow, version_of};
use async_trait::async_trait;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BLOCK: usize = 1 << 18;

/// How the name of a draft ends.
const UNFINISHED: &str = ".unfinished";

/// The least step in time that every file system with fractions of a second can tell.
const LATER: Duration = Duration::from_micros(1);

/// The file under its hidden name, which no other process can guess. Dropping it removes it.
#[derive(Debug)]
pub(super) struct DraftFile {
    file: File,
    draft: PathBuf,
    target: PathBuf,
    rights: Rights,
    appeared: bool,
}

impl DraftFile {
    pub(super) fn begin(root: &Root, path: &str) -> Result<Self, StoreError> {
        let target = root.prepare(path)?;
        root.sweep(&target);
        loop {
            let ending = format!(".{:016x}{UNFINISHED}", rand::random::<u64>());
            let draft = root.outside_raw(beside(&target, &ending))?;
            let failed = |error| StoreError::io("write", &draft, error);
            let mut options = OpenOptions::new();
            root.rights().of_file(&draft, &mut options);
            let options = no_follow(options.write(true).create_new(true));
            let file = match options.open(&draft) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(failed)?,
            };
            match file.try_lock() {
                // Between making and locking it, another process may have taken it for a stale one.
                Ok(()) if is_at(&file, &draft) => {
                    return Ok(Self {
                        file,
                        draft,
                        target,
                        rights: root.rights().clone(),
                        appeared: false,
                    });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    pub(super) fn write(&self, content: &[u8]) -> Result<(), StoreError> {
        (&self.file)
            .write_all(content)
            .map_err(|e| StoreError::io("write", &self.draft, e))
    }

    /// Publishes the file; `false` if `mode` keeps the existing file.
    pub(super) fn commit(mut self, mode: &PutMode) -> Result<bool, StoreError> {
        let failed = |error| StoreError::io("write", &self.target, error);
        self.file.sync_all().map_err(failed)?;
        let _guard = FileGuard::take(&self.target, &self.rights)?;
        let there = match fs::metadata(&self.target) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let may_write = match (mode, &there) {
            (PutMode::Overwrite, _) | (PutMode::Create, None) => true,
            (PutMode::Update(version), Some(there)) => *version == version_of(there),
            (PutMode::Create, Some(_)) | (PutMode::Update(_), None) => false,
        };
        if !may_write {
            return Ok(false);
        }
        if let Some(there) = there {
            // Clocks of file systems tick in milliseconds, and a version must not come twice.
            let earliest = modified(&there) + LATER;
            let draft = self.file.metadata().map_err(failed)?;
            if modified(&draft) < earliest {
                self.file.set_modified(earliest).map_err(failed)?;
            }
        }
        if !is_at(&self.file, &self.draft) {
            let source = io::Error::other("another process removed or replaced its draft");
            return Err(StoreError::io("write", &self.target, source));
        }
        fs::rename(&self.draft, &self.target).map_err(failed)?;
        sync_folder(&self.target).map_err(failed)?;
        self.appeared = true;
        Ok(true)
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !self.appeared {
            let _ = fs::remove_file(&self.draft);
        }
    }
}

/// Removes the drafts in `folder` that killed processes left: those that no process has locked.
pub(super) fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let is_ours = is_draft(name) || is_old_draft(name) && has_one_name(&entry);
        if !is_file || !is_ours {
            continue;
        }
        let path = entry.path();
        // A file that cannot be opened or removed belongs to another user, and does no harm.
        if let Ok(file) = no_follow(OpenOptions::new().read(true)).open(&path)
            && file.try_lock().is_ok()
            && is_at(&file, &path)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether a file is called as drafts are: `.NAME.0123456789abcdef.unfinished`.
fn is_draft(name: &str) -> bool {
    let name = name.strip_prefix('.');
    let Some(name) = name.and_then(|name| name.strip_suffix(UNFINISHED)) else {
        return false;
    };
    let digits = |random: &str| {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        random.len() == 16 && random.bytes().all(hex)
    };
    name.rsplit_once('.')
        .is_some_and(|(target, random)| !target.is_empty() && digits(random))
}

/// Whether a file is called as earlier versions called drafts of what they wrote, JSON and lines of it:
/// `.NAME.unfinished`.
fn is_old_draft(name: &str) -> bool {
    let name = name.strip_prefix('.');
    let target = name.and_then(|name| name.strip_suffix(UNFINISHED));
    let is_written = |target: &str| {
        let (name, ending) = target.rsplit_once('.').unwrap_or_default();
        !name.is_empty() && ["json", "jsonl"].contains(&ending)
    };
    target.is_some_and(is_written)
}

/// Whether a file has only this name; with another name it may be someone else's.
fn has_one_name(entry: &fs::DirEntry) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        entry.metadata().is_ok_and(|file| file.nlink() == 1)
    }
    #[cfg(not(unix))]
    {
        entry.metadata().is_ok()
    }
}

/// Makes a rename outlive a loss of power; a file system that cannot is not an error.
fn sync_folder(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|_| cfg!(unix)) {
        let _ = File::open(folder)?.sync_all();
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct LocalDraft {
    /// `None` after a write that failed or was given up: what it holds is unknown.
    draft: Option<DraftFile>,
    target: PathBuf,
    pending: Vec<u8>,
}

impl LocalDraft {
    pub(super) fn new(draft: DraftFile) -> Self {
        Self {
            target: draft.target.clone(),
            draft: Some(draft),
            pending: Vec::new(),
        }
    }

    fn take(&mut self) -> Result<DraftFile, StoreError> {
        self.draft.take().ok_or_else(|| {
            let source = io::Error::other("an earlier write to it failed");
            StoreError::io("write", &self.target, source)
        })
    }
}

#[async_trait]
impl Draft for LocalDraft {
    async fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.pending.extend_from_slice(content);
        if self.pending.len() < BLOCK {
            return Ok(());
        }
        let (draft, mut pending) = (self.take()?, std::mem::take(&mut self.pending));
        let (draft, pending) = blocking(move || {
            draft.write(&pending)?;
            pending.clear();
            Ok((draft, pending))
        })
        .await?;
        (self.draft, self.pending) = (Some(draft), pending);
        Ok(())
    }

    async fn commit(mut self: Box<Self>, mode: PutMode) -> Result<bool, StoreError> {
        let (draft, pending) = (self.take()?, std::mem::take(&mut self.pending));
        blocking(move || {
            draft.write(&pending)?;
            draft.commit(&mode)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OwnFolder;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names = names.collect::<Vec<_>>();
        names.sort();
        names
    }

    #[tokio::test]
    async fn stale_drafts_are_removed_and_nothing_else_is() {
        let home = tempfile::tempdir().unwrap();
        let stale = ".b.jsonl.0123456789abcdef.unfinished";
        let kept = [
            ".a.fedcba9876543210.unfinished",
            ".a.unfinished",
            ".a.0123456789ABCDEF.unfinished",
            "a.0123456789abcdef.unfinished",
            ".linked.json.unfinished",
            ".json.unfinished",
        ];
        // As earlier versions called them.
        let older = [".b.jsonl.unfinished", ".labeling_metadata.json.unfinished"];
        for name in kept.iter().chain([&stale]).chain(&older) {
            fs::write(home.path().join(name), "left").unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let linked = home.path().join(".linked.json.unfinished");
        fs::hard_link(linked, elsewhere.path().join("theirs")).unwrap();
        let held = File::open(home.path().join(kept[0])).unwrap();
        held.lock().unwrap();
        let own = OwnFolder::local_alone(home.path()).unwrap();
        let draft = own.publish("a").await.unwrap();
        let there = names(home.path());
        assert!(!there.contains(&stale.to_owned()), "{there:?}");
        assert!(kept.iter().all(|name| there.contains(&(*name).to_owned())));
        assert_eq!(there.len(), kept.len() + 1, "{there:?}");
        drop(draft);
        assert_eq!(names(home.path()).len(), kept.len());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_with_the_name_of_a_draft_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let theirs = home.path().join("theirs");
        fs::write(&theirs, "precious").unwrap();
        let (soft, hard) = (".a.unfinished", ".a.0123456789abcdef.unfinished");
        std::os::unix::fs::symlink(&theirs, home.path().join(soft)).unwrap();
        fs::hard_link(&theirs, home.path().join(hard)).unwrap();
        let own = OwnFolder::local_alone(home.path()).unwrap();
        own.replace("a", b"ours".to_vec()).await.unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"precious");
        assert_eq!(own.read("a").await.unwrap().unwrap(), b"ours");
    }

    #[tokio::test]
    async fn a_draft_that_was_replaced_is_not_published() {
        let home = tempfile::tempdir().unwrap();
        let own = OwnFolder::local_alone(home.path()).unwrap();
        let draft = own.publish("a").await.unwrap();
        let name = names(home.path()).remove(0);
        fs::remove_file(home.path().join(&name)).unwrap();
        fs::write(home.path().join(&name), "forged").unwrap();
        assert!(draft.commit(PutMode::Overwrite).await.is_err());
        assert!(!home.path().join("a").exists());
    }
}
