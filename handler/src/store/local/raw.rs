//! RAW in a local folder: opened for reading only.

use super::super::raw::{Blocks, Kind, RawBlobs};
use super::super::{StoreError, Version};
use super::{blocking, open_file, version_of};
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

const BLOCK: usize = 1 << 18;

/// The level of the files in the folders of splits.
const SPLITS: u32 = 1;

/// The deepest level that is looked at: links may lead in circles.
const DEEPEST: u32 = SPLITS + 4;

const BLOCKS_AHEAD: usize = 2;

#[derive(Debug)]
pub(in crate::store) struct LocalRaw {
    root: PathBuf,
}

impl LocalRaw {
    pub(in crate::store) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

#[async_trait]
impl RawBlobs for LocalRaw {
    fn locate(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    async fn entries(&self) -> Result<Vec<(String, Kind)>, StoreError> {
        let root = self.root.clone();
        blocking(move || {
            let mut entries = Vec::new();
            gather(&root, "", 0, &mut entries)?;
            Ok(entries)
        })
        .await
    }

    async fn version(&self, path: &str) -> Result<Version, StoreError> {
        let path = self.at(path);
        blocking(move || open(&path).map(|(_, version)| version)).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, StoreError> {
        let path = self.at(path);
        blocking(move || {
            let (mut file, version) = open(&path)?;
            let mut bytes = Vec::with_capacity(usize::try_from(version.length).unwrap_or(0));
            file.read_to_end(&mut bytes)
                .map_err(|e| StoreError::io("read", &path, e))?;
            Ok(Bytes::from(bytes))
        })
        .await
    }

    async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
        version: &Version,
    ) -> Result<Bytes, StoreError> {
        let path = self.at(path);
        let expected = version.clone();
        blocking(move || {
            let (mut file, found) = open(&path)?;
            check(&path, &expected, &found)?;
            let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
            let mut bytes = vec![0; length];
            file.seek(SeekFrom::Start(range.start))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|e| StoreError::io("read", &path, e))?;
            Ok(Bytes::from(bytes))
        })
        .await
    }

    async fn blocks(
        &self,
        path: &str,
        version: Option<&Version>,
    ) -> Result<(Version, Blocks), StoreError> {
        let path = self.at(path);
        let (opened, expected) = (path.clone(), version.cloned());
        let (mut file, version) = blocking(move || {
            let (file, version) = open(&opened)?;
            if let Some(expected) = &expected {
                check(&opened, expected, &version)?;
            }
            Ok((file, version))
        })
        .await?;
        let (blocks, received) = mpsc::channel(BLOCKS_AHEAD);
        let expected = version.clone();
        tokio::task::spawn_blocking(move || {
            loop {
                let mut block = Vec::with_capacity(BLOCK);
                let read = file.by_ref().take(BLOCK as u64).read_to_end(&mut block);
                let block = match read {
                    Ok(0) => break,
                    Ok(_) => Ok(Bytes::from(block)),
                    Err(error) => Err(StoreError::io("read", &path, error)),
                };
                let failed = block.is_err();
                if blocks.blocking_send(block).is_err() || failed {
                    return;
                }
            }
            let unchanged = file
                .metadata()
                .map_err(|e| StoreError::io("read", &path, e))
                .and_then(|metadata| check(&path, &expected, &version_of(&metadata)));
            if let Err(error) = unchanged {
                let _ = blocks.blocking_send(Err(error));
            }
        });
        Ok((version, received))
    }
}

/// Adds what lies in `folder`, which lies `level` levels below `root`, and in its folders.
fn gather(
    root: &Path,
    folder: &str,
    level: u32,
    entries: &mut Vec<(String, Kind)>,
) -> Result<(), StoreError> {
    for (name, kind) in list(&root.join(folder))? {
        let path = match folder {
            "" => name,
            folder => format!("{folder}/{name}"),
        };
        if kind == Kind::Folder && level < DEEPEST {
            match gather(root, &path, level + 1, entries) {
                // No data is read from there, so the failure does not end a run.
                Err(error) if level >= SPLITS => {
                    tracing::warn!(folder = path, %error, "the folder cannot be listed");
                }
                gathered => gathered?,
            }
        }
        entries.push((path, kind));
    }
    Ok(())
}

/// Names and what they stand for, links followed, in order of name. Hidden ones are left out.
fn list(folder: &Path) -> Result<Vec<(String, Kind)>, StoreError> {
    let failed = |error| StoreError::io("list", folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let wrong = |operation, why: &str| StoreError::Io {
            operation,
            place: path.display().to_string(),
            source: std::io::Error::other(why),
        };
        let name = entry.file_name().into_string().map_err(|_| {
            let why = "its name is not UTF-8; rename it";
            wrong("take into a dataset", why)
        })?;
        if name.starts_with('.') {
            continue;
        }
        // `fs::metadata` follows links.
        let metadata = fs::metadata(&path).map_err(|error| {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                let why = format!("{error}; remove the link, or bring back what it leads to");
                wrong("follow the link", &why)
            } else {
                StoreError::io("read", &path, error)
            }
        })?;
        let kind = match metadata {
            metadata if metadata.is_dir() => Kind::Folder,
            metadata if metadata.is_file() => Kind::File,
            _ => Kind::Other,
        };
        names.push((name, kind));
    }
    names.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}

fn open(path: &Path) -> Result<(File, Version), StoreError> {
    let file = open_file(path).map_err(|e| StoreError::io("open", path, e))?;
    let metadata = file
        .metadata()
        .map_err(|e| StoreError::io("read", path, e))?;
    Ok((file, version_of(&metadata)))
}

fn check(path: &Path, expected: &Version, found: &Version) -> Result<(), StoreError> {
    if expected == found {
        return Ok(());
    }
    Err(StoreError::Changed {
        place: path.display().to_string(),
        expected: expected.etag.clone(),
        found: found.etag.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::layout::UnreadFile;
    use crate::store::{RawFile, RawFolder};

    #[tokio::test]
    async fn a_dataset_is_its_bucket_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for split in ["train", "test"] {
            fs::create_dir(folder.path().join(split)).unwrap();
        }
        for file in [
            "metadata.json",
            "invalid_records_1.json",
            "train/short.json",
            "train/metadata.json",
            "test/long.jsonl",
            "test/notes.txt",
            "test/Medium.JSON",
            "test/deep/er/short.json",
            "test/short.json.gz",
            "all.csv",
        ] {
            fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            fs::write(folder.path().join(file), "[]").unwrap();
        }
        let paths = |files: &[RawFile]| files.iter().map(|it| it.path.clone()).collect::<Vec<_>>();
        let unread = |files: &[UnreadFile]| {
            let mut paths = files.iter().map(|it| it.path.clone()).collect::<Vec<_>>();
            paths.sort();
            paths
        };
        let found = RawFolder::local(folder.path()).buckets().await.unwrap();
        assert_eq!(
            paths(&found.files),
            ["test/Medium.JSON", "test/long.jsonl", "train/short.json"]
        );
        assert_eq!(
            unread(&found.left_out.in_splits),
            ["test/deep/er/short.json", "test/short.json.gz"]
        );
        assert_eq!(unread(&found.left_out.beside), ["all.csv"]);
        assert!(found.datasets.is_empty());
        let in_app = found.in_app();
        assert_eq!(
            paths(&in_app.files),
            ["test/Medium.JSON", "train/short.json"]
        );
        assert!(unread(&in_app.left_out.in_splits).contains(&"test/long.jsonl".to_owned()));
    }

    #[tokio::test]
    async fn a_range_is_read_of_the_version_asked_for_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "0123456789").unwrap();
        let raw = RawFolder::local(folder.path());
        let version = raw.version("a").await.unwrap();
        assert_eq!(raw.read_range("a", 2..5, &version).await.unwrap(), "234");
        fs::write(folder.path().join("a"), "another text").unwrap();
        let error = raw.read_range("a", 2..5, &version).await.unwrap_err();
        assert!(matches!(error, StoreError::Changed { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_stream_is_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let content = (0..3 * BLOCK + 17).map(|i| i as u8).collect::<Vec<_>>();
        fs::write(folder.path().join("a"), &content).unwrap();
        let (version, mut blocks) = RawFolder::local(folder.path())
            .blocks("a", None)
            .await
            .unwrap();
        assert_eq!(version.length, content.len() as u64);
        let mut read = Vec::new();
        while let Some(block) = blocks.recv().await {
            read.extend_from_slice(&block.unwrap());
        }
        assert!(read == content);
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let raw = RawFolder::local("/nowhere");
        let error = raw.version("a").await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            "/nowhere/a does not exist; check the path"
        );
    }
}
