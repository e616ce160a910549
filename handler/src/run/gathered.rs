//! Files of ours that many executions of one process change, each a little.
//!
//! Alone, each of them would read the file and swap it, and race against the others. So those that come while
//! the file is read or written make their changes to one content, and the last of them writes it.
//!
//! Invariant: a change is made to what was read of the file, and it counts once that was written in place of what was
//! read. Where another writer was faster, all of them are made again.

use super::{RunError, work};
use crate::store::{Cell, OwnFolder, StoreError, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The files, by their paths, each of which holds a `V`.
#[derive(Clone, Debug)]
pub(super) struct Gathered<V>(Arc<Mutex<HashMap<String, File<V>>>>);

/// The changes of one file. The lock is fair: a caller that made a change and takes it again comes after those who waited
/// meanwhile.
type File<V> = Arc<tokio::sync::Mutex<Changes<V>>>;

struct Changes<V> {
    batch: Option<Batch<V>>,
    /// Races that were lost since one was won.
    lost: u32,
}

/// Changes that are written together.
struct Batch<V> {
    there: Option<Version>,
    before: V,
    after: V,
    /// Whether they were written, once that is tried. Everybody whose change is among them has it.
    written: Arc<OnceLock<bool>>,
}

impl<V> Default for Gathered<V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<V> Default for Changes<V> {
    fn default() -> Self {
        Self {
            batch: None,
            lost: 0,
        }
    }
}

impl<V> fmt::Debug for Changes<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

impl<V> Gathered<V>
where
    V: Clone + Default + PartialEq + Serialize + DeserializeOwned,
{
    /// Changes the file `path` of `folder` by `change`, which may be asked again, about a newer content. Gives what
    /// that gives. A file that is not there is as by default.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(super) async fn change<T>(
        &self,
        folder: &OwnFolder,
        path: &str,
        mut change: impl FnMut(&mut V) -> T + Send,
    ) -> Result<T, RunError> {
        let file = self.file(path);
        loop {
            let (given, written) = {
                let mut changes = file.lock().await;
                let batch = changes.open(folder, path).await?;
                (change(&mut batch.after), Arc::clone(&batch.written))
            };
            let mut changes = file.lock().await;
            let own = |batch: &mut Batch<V>| Arc::ptr_eq(&batch.written, &written);
            if let Some(batch) = changes.batch.take_if(own) {
                let is_written = batch.write(folder, path).await;
                changes.lost = match is_written {
                    Ok(false) => changes.lost + 1,
                    _ => 0,
                };
                let _ = written.set(matches!(is_written, Ok(true)));
                is_written?;
            }
            if written.get() == Some(&true) {
                return Ok(given);
            }
        }
    }

    fn file(&self, path: &str) -> File<V> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(files.entry(path.to_owned()).or_default())
    }
}

impl<V> Changes<V>
where
    V: Clone + Default + PartialEq + Serialize + DeserializeOwned,
{
    /// The batch for another change.
    async fn open(&mut self, folder: &OwnFolder, path: &str) -> Result<&mut Batch<V>, RunError> {
        // One whose changes were all given up is written by nobody.
        let batch = self.batch.take();
        let batch = batch.filter(|batch| Arc::strong_count(&batch.written) > 1);
        let batch = match batch {
            Some(batch) => batch,
            None => {
                let mut cell = Cell::after(folder, path, self.lost);
                let read = cell.read().await;
                if matches!(read, Err(StoreError::Contended { .. })) {
                    self.lost = 0;
                }
                let read = read?.map(|content| work::parse::<V>(folder, path, &content));
                let before = read.transpose()?.unwrap_or_default();
                Batch {
                    there: cell.into_version(),
                    after: before.clone(),
                    before,
                    written: Arc::default(),
                }
            }
        };
        Ok(self.batch.insert(batch))
    }
}

impl<V> Batch<V>
where
    V: PartialEq + Serialize,
{
    /// Writes the file in place of what was read; `false` if that is not there any more.
    async fn write(&self, folder: &OwnFolder, path: &str) -> Result<bool, RunError> {
        if self.after == self.before {
            return Ok(true);
        }
        let content = work::formatted(folder, path, &self.after)?;
        Ok(match &self.there {
            Some(version) => folder.swap(path, content, version).await?,
            None => folder.create(path, content).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::join_all;
    use serde::{Deserialize, Serializer};
    use std::cell::Cell;
    use std::pin::pin;

    thread_local! {
        /// A test has a thread of its own.
        static WRITES: Cell<u32> = const { Cell::new(0) };
    }

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        #[serde(serialize_with = "counted")]
        numbers: Vec<u32>,
    }

    fn counted<S: Serializer>(numbers: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
        WRITES.set(WRITES.get() + 1);
        numbers.serialize(serializer)
    }

    fn folder() -> (tempfile::TempDir, OwnFolder) {
        let home = tempfile::tempdir().unwrap();
        let folder = OwnFolder::local_alone(home.path().join("own")).unwrap();
        (home, folder)
    }

    async fn there(folder: &OwnFolder) -> Vec<u32> {
        let there = work::read::<Numbers>(folder, "f.json").await.unwrap();
        there.unwrap_or_default().numbers
    }

    #[tokio::test]
    async fn changes_of_all_processes_are_made_once_each() {
        let (_home, folder) = folder();
        let processes = [(); 3].map(|()| Gathered::<Numbers>::default());
        let changes = (0..60).map(|number| {
            let process = &processes[number as usize % 3];
            process.change(&folder, "f.json", move |numbers| {
                numbers.numbers.push(number);
                number
            })
        });
        let given = join_all(changes).await;
        let given = given.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(given, (0..60).collect::<Vec<_>>());
        let mut numbers = there(&folder).await;
        numbers.sort_unstable();
        assert_eq!(numbers, given);
    }

    #[tokio::test]
    async fn changes_that_come_together_are_written_together() {
        let (_home, folder) = folder();
        let gathered = Gathered::<Numbers>::default();
        let file = gathered.file("f.json");
        let writes = file.lock().await;
        let add = |number| {
            gathered.change(&folder, "f.json", move |numbers| {
                numbers.numbers.push(number);
            })
        };
        let mut changes = pin!(join_all((0..9).map(add)));
        assert!(changes.as_mut().now_or_never().is_none());
        drop(writes);
        let made = changes.await;
        assert!(made.into_iter().all(|made| made.is_ok()));
        assert_eq!((there(&folder).await.len(), WRITES.get()), (9, 1));
    }

    #[tokio::test]
    async fn a_change_that_is_given_up_is_not_made_and_holds_nobody_up() {
        let (_home, folder) = folder();
        let gathered = Gathered::<Numbers>::default();
        let add = |number| {
            gathered.change(&folder, "f.json", move |numbers: &mut Numbers| {
                numbers.numbers.push(number);
            })
        };
        let file = gathered.file("f.json");
        {
            let mut changes = file.lock().await;
            let batch = changes.open(&folder, "f.json").await.unwrap();
            batch.after.numbers.push(1);
        }
        add(2).await.unwrap();
        assert_eq!(there(&folder).await, [2]);
    }

    #[tokio::test]
    async fn a_change_that_changes_nothing_writes_nothing() {
        let (_home, folder) = folder();
        let gathered = Gathered::<Numbers>::default();
        let looks = |numbers: &mut Numbers| numbers.numbers.len();
        assert_eq!(gathered.change(&folder, "f.json", looks).await.unwrap(), 0);
        assert!(!folder.exists("f.json").await.unwrap());
    }
}
