//! A small file that several processes change by compare-and-swap.

use super::{OwnFolder, StoreError, Version};
use rand::RngExt;
use std::time::Duration;

/// Reads before it is given up. With the longest waits that takes about ten seconds.
const TRIES: u32 = 60;

/// Longest wait after the first lost race; it doubles from one to the next,
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// up to this.
const LONGEST_WAIT: Duration = Duration::from_millis(320);

/// One change of a file: read it, compute the new content and write it, and repeat if another process was
/// faster.
///
/// ```text
/// let mut cell = Cell::new(&folder, path);
/// loop {
///     let content = change(cell.read().await?);
///     if cell.write(content).await? {
///         return Ok(());
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Cell<'a> {
    folder: &'a OwnFolder,
    path: &'a str,
    there: Option<Version>,
    reads: u32,
}

impl<'a> Cell<'a> {
    /// A change of the file `path` in `folder`.
    pub fn new(folder: &'a OwnFolder, path: &'a str) -> Self {
        Self {
            folder,
            path,
            there: None,
            reads: 0,
        }
    }

    /// The same, for a writer that has lost `lost` races already.
    pub fn after(folder: &'a OwnFolder, path: &'a str, lost: u32) -> Self {
        Self {
            reads: lost,
            ..Self::new(folder, path)
        }
    }

    /// The version that was read; `None` where there was none.
    pub fn into_version(self) -> Option<Version> {
        self.there
    }

    /// Reads the file; `None` where there is none. After a lost race it waits a moment first.
    ///
    /// # Errors
    /// If it cannot be read; [`StoreError::Contended`] if too many races were lost.
    pub async fn read(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.reads >= TRIES {
            let place = self.folder.locate(self.path);
            return Err(StoreError::Contended { place });
        }
        if self.reads > 0 {
            let doubled = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.reads - 1));
            let wait = doubled.min(LONGEST_WAIT);
            // Only the time of the next read depends on it.
            let jitter = rand::rng().random();
            tokio::time::sleep(wait.mul_f64(jitter)).await;
        }
        self.reads += 1;
        let read = self.folder.read_versioned(self.path).await?;
        let (content, version) = read.unzip();
        self.there = version;
        Ok(content)
    }

    /// Writes the file in place of what was read; `false` if another process changed it since.
    ///
    /// # Errors
    /// If it cannot be written; it may have been all the same.
    pub async fn write(&self, content: Vec<u8>) -> Result<bool, StoreError> {
        match &self.there {
            Some(version) => self.folder.swap(self.path, content, version).await,
            None => self.folder.create(self.path, content).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, OwnFolder) {
        let home = tempfile::tempdir().unwrap();
        let folder = OwnFolder::local_alone(home.path().join("own")).unwrap();
        (home, folder)
    }

    #[tokio::test]
    async fn no_change_is_lost_however_many_make_one() {
        let (_home, folder) = folder();
        let add = || async {
            let mut cell = Cell::new(&folder, "count");
            loop {
                let count = cell.read().await.unwrap().map_or(0, |bytes| bytes[0]);
                if cell.write(vec![count + 1]).await.unwrap() {
                    return;
                }
            }
        };
        futures::future::join_all((0..16).map(|_| add())).await;
        assert_eq!(folder.read("count").await.unwrap().unwrap(), [16]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_others_always_change_is_given_up() {
        let (_home, folder) = folder();
        let mut cell = Cell::new(&folder, "busy");
        let error = loop {
            if let Err(error) = cell.read().await {
                break error;
            }
            folder.replace("busy", b"other".to_vec()).await.unwrap();
            assert!(!cell.write(b"ours".to_vec()).await.unwrap());
        };
        let said = error.to_string();
        assert!(
            said.starts_with("too many concurrent writers on "),
            "{said}"
        );
        assert!(error.is_passing());
    }
}
