//! A file that is written under a hidden name and appears by a rename.

use super::super::own::Draft;
use super::super::{PutMode, StoreError};
use super::lock::FileGuard;
use super::own::Root;
use super::{beside, blocking, modified, open_and_lock, version_of};
use async_trait::async_trait;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BLOCK: usize = 1 << 18;

/// The least step in time that every file system with fractions of a second can tell.
const LATER: Duration = Duration::from_micros(1);

/// The file under its hidden name. Dropping it removes it.
#[derive(Debug)]
pub(super) struct DraftFile {
    file: File,
    draft: PathBuf,
    target: PathBuf,
    appeared: bool,
}

impl DraftFile {
    pub(super) fn begin(root: &Root, path: &str) -> Result<Self, StoreError> {
        let target = root.prepare(path)?;
        let mut ending = ".unfinished".to_owned();
        let mut taken = 0;
        loop {
            // The same few names each time, so that a draft of a killed process is written over.
            let draft = root.outside_raw(beside(&target, &ending))?;
            let failed = |error| StoreError::io("write", &draft, error);
            let (file, free) = open_and_lock(&draft).map_err(failed)?;
            if free {
                file.set_len(0).map_err(failed)?;
                return Ok(Self {
                    file,
                    draft,
                    target,
                    appeared: false,
                });
            }
            taken += 1;
            ending = format!(".{taken}.unfinished");
        }
    }

    pub(super) fn write(&self, content: &[u8]) -> Result<(), StoreError> {
        (&self.file)
            .write_all(content)
            .map_err(|e| StoreError::io("write", &self.draft, e))
    }

    /// Makes the file appear; `false` if `mode` leaves what is there alone.
    pub(super) fn commit(mut self, mode: &PutMode) -> Result<bool, StoreError> {
        let failed = |error| StoreError::io("write", &self.target, error);
        self.file.sync_all().map_err(failed)?;
        let _guard = FileGuard::take(&self.target)?;
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
