//! All runs of the function app, in the work area.
//!
//! ```text
//! runs/<run>.json              a run's record, changed by compare-and-swap
//! began/<time>-<dataset>-<run> the run's place in the list of all
//! active/<run>                 a mark for the reconciler, until the run's end is settled
//! overlooked/<dataset>         a dataset that storage refused to show when something was uploaded
//! current/<dataset>/<file>     which run is the file's current one, and which were before
//! datasets/<dataset>/…         what is pinned for a dataset
//! work/<run>/…                 manifest, parts, ledger
//! ```
//!
//! What all datasets cost in a month stands in `months/<month>.json` of what the app shares.
//!
//! Invariant: only the current run of a file publishes. A run becomes current once, by a compare-and-swap
//! that is made only while RAW is still the version that the run is about, so that a late message about
//! an older version changes nothing.

use super::RunError;
use super::budget::{BUDGET, Budget};
use super::gathered::Gathered;
use super::month::{Account, Month};
use super::record::{Origin, Record, State};
use super::work;
use crate::clock::Clock;
use crate::store::{Cell, OwnFolder, StoreError, Version};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use lru::LruCache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Records read at a time.
pub(super) const READ_AT_ONCE: usize = 16;

/// Which run of a file is the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// The current run.
    pub run: String,
    /// Those that were, the latest last.
    pub before: Vec<String>,
}

/// The least time for which a run's mark tells that its beginning is under way.
const MARKED: Duration = Duration::from_secs(10);

/// Files that are kept in memory with their versions.
const KNOWN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// What is known of files, by their paths: version and content.
type Known = Arc<Mutex<LruCache<String, (String, Arc<Vec<u8>>)>>>;

/// The runs in a work area.
#[derive(Clone, Debug)]
pub struct Runs {
    work: OwnFolder,
    /// What belongs to the app as a whole, for all places of data.
    shared: OwnFolder,
    clock: Clock,
    /// Where reading a file again costs a request.
    known: Option<Known>,
    budgets: Gathered<Budget>,
    accounts: Gathered<Account>,
}

fn record_path(run: &str) -> String {
    format!("runs/{run}.json")
}

fn active_path(run: &str) -> String {
    format!("active/{run}")
}

fn current_path(dataset: &str, file: &str) -> String {
    format!("current/{dataset}/{file}")
}

fn account_path(month: Month) -> String {
    format!("months/{month}.json")
}

/// Whether a text can be the name of a run, before it becomes part of a path.
pub fn is_run_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Runs {
    /// The runs in `work`.
    pub fn new(work: OwnFolder, clock: Clock) -> Self {
        Self {
            shared: work.clone(),
            work,
            clock,
            known: None,
            budgets: Gathered::default(),
            accounts: Gathered::default(),
        }
    }

    /// The same runs, with a cache: records that a listing shows to be unchanged are not read again.
    #[must_use]
    pub fn remembering(self) -> Self {
        let known = Arc::new(Mutex::new(LruCache::new(KNOWN)));
        Self {
            known: Some(known),
            ..self
        }
    }

    /// The same runs of an app that keeps in `shared` what does not belong to one place of data: tasks, what a
    /// month costs, how instances divide a quota.
    #[must_use]
    pub fn sharing(self, shared: OwnFolder) -> Self {
        Self { shared, ..self }
    }

    /// The work area.
    pub fn work(&self) -> &OwnFolder {
        &self.work
    }

    /// What belongs to the app as a whole, for all places of data.
    pub fn shared(&self) -> &OwnFolder {
        &self.shared
    }

    /// Where "now" comes from.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// A run's record, if there is such a run.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read(&self, run: &str) -> Result<Option<Record>, RunError> {
        if !is_run_name(run) {
            return Ok(None);
        }
        let path = record_path(run);
        let Some((content, version)) = self.work.read_versioned(&path).await? else {
            return Ok(None);
        };
        let mut record = work::parse::<Record>(&self.work, &path, &content)?;
        record.read_as = Some(version);
        Ok(Some(record))
    }

    /// A run's record, if this version can read it: what is newer, instances of that version show.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read_unless_newer(&self, run: &str) -> Result<Option<Record>, RunError> {
        match self.read(run).await {
            Err(error) if error.newer().is_some() => Ok(None),
            read => read,
        }
    }

    /// Changes a record that was [read](Self::read), as [`update`](Self::update) does. Where nobody has changed it
    /// since, it is not read again.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn update_read(
        &self,
        read: &Record,
        mut change: impl FnMut(&mut Record) -> bool + Send,
    ) -> Result<Option<Record>, RunError> {
        if let Some(version) = &read.read_as {
            let path = record_path(&read.run);
            let mut record = read.clone();
            if change(&mut record) {
                let content = self.content(&path, &record)?;
                if self.work.swap(&path, content, version).await? {
                    record.read_as = None;
                    return Ok(Some(record));
                }
            }
        }
        // That nothing has to change is true of what is there now alone.
        self.update(&read.run, change).await
    }

    /// Changes a run's record by `change`, which says whether it did; it may be asked again, about a
    /// newer record. Gives the record as it is then, or `None` if there is no such run.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn update(
        &self,
        run: &str,
        mut change: impl FnMut(&mut Record) -> bool + Send,
    ) -> Result<Option<Record>, RunError> {
        let path = record_path(run);
        let mut cell = Cell::new(&self.work, &path);
        loop {
            let Some(mut record) = self.parse::<Record>(&path, cell.read().await?)? else {
                return Ok(None);
            };
            if !change(&mut record) || cell.write(self.content(&path, &record)?).await? {
                return Ok(Some(record));
            }
        }
    }

    /// Ends a run; one that has ended stays as it is.
    ///
    /// # Errors
    /// If its record cannot be read or written.
    pub async fn end(
        &self,
        run: &str,
        state: State,
        reason: Option<String>,
    ) -> Result<Option<Record>, RunError> {
        let now = self.clock.now();
        let mut ended = false;
        let end = self.update(run, |record| {
            ended = record.end(state, reason.clone(), now);
            ended
        });
        let record = end.await?;
        if ended {
            let (dataset, file) = record.as_ref().map_or(("", ""), |record| {
                (record.dataset.as_str(), record.file.as_str())
            });
            let state = state.as_str();
            tracing::info!(
                event = "run_ended",
                run,
                dataset,
                file,
                state,
                reason,
                "the run ended"
            );
        }
        Ok(record)
    }

    /// Begins a run and makes it the current one of its file, or finds it as it is. `raw` gives the
    /// version of RAW that exists now, `None` if RAW is gone.
    ///
    /// Safe to repeat and to be killed in: the mark comes first, then the record, then the place as
    /// current run, and existing ones are kept.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub async fn begin<F>(
        &self,
        record: Record,
        raw: impl Fn() -> F + Send + Sync,
    ) -> Result<Record, RunError>
    where
        F: Future<Output = Result<Option<Version>, StoreError>> + Send,
    {
        let run = record.run.clone();
        let marked = Instant::now();
        self.work.replace(&active_path(&run), Vec::new()).await?;
        let path = record_path(&run);
        let content = self.content(&path, &record)?;
        let created = self.work.create(&path, content).await?;
        if created {
            if marked.elapsed() > MARKED {
                // The reconciler may have removed the first mark, taking it for an interrupted start.
                self.work.replace(&active_path(&run), Vec::new()).await?;
            }
            let Record { dataset, file, .. } = &record;
            tracing::info!(event = "run_began", run, dataset, file, "a run begins");
        } else if let Some(there) = self.read(&run).await?
            && there.state.is_over()
        {
            return Ok(there);
        }
        let path = current_path(&record.dataset, &record.file);
        if record.replaces.is_none() {
            // Where no run was, there is none of a newer version either.
            let first = Current {
                run: run.clone(),
                before: Vec::new(),
            };
            if self
                .work
                .create(&path, self.content(&path, &first)?)
                .await?
            {
                return match created {
                    true => Ok(record),
                    false => self.as_it_is(record).await,
                };
            }
        }
        let mut cell = Cell::new(&self.work, &path);
        loop {
            let current = self.parse::<Current>(&path, cell.read().await?)?;
            match &current {
                Some(current) if current.run == run => return self.as_it_is(record).await,
                Some(current) if current.before.contains(&run) => {
                    let reason = format!("run {} took its place", current.run);
                    self.end(&run, State::Superseded, Some(reason)).await?;
                    return self.as_it_is(record).await;
                }
                _ => {}
            }
            // A request had this version labelled before the event of its upload came.
            if record.origin == Origin::Upload
                && let Some(current) = &current
                && record.replaces.as_ref() != Some(&current.run)
                && let Some(there) = self.read(&current.run).await?
                && there.source.etag == record.source.etag
            {
                let reason = format!("run {} labels this version", there.run);
                self.end(&run, State::Superseded, Some(reason)).await?;
                return self.as_it_is(record).await;
            }
            // After the place was read: who takes it in between makes the swap fail. A file that is absent has
            // no newer version.
            let raw = raw().await?;
            if raw.is_some_and(|version| version.etag != record.source.etag) {
                let reason = "RAW was replaced by another version".to_owned();
                self.end(&run, State::Superseded, Some(reason)).await?;
                return self.as_it_is(record).await;
            }
            let before = current.map_or_else(Vec::new, |current| {
                let mut before = current.before;
                before.push(current.run);
                before
            });
            let next = Current {
                run: run.clone(),
                before,
            };
            if cell.write(self.content(&path, &next)?).await? {
                if let Some(former) = next.before.last() {
                    let reason = format!("run {run} took its place");
                    self.end(former, State::Superseded, Some(reason)).await?;
                }
                return self.as_it_is(record).await;
            }
        }
    }

    async fn as_it_is(&self, record: Record) -> Result<Record, RunError> {
        Ok(self.read(&record.run).await?.unwrap_or(record))
    }

    /// Which run of a file is the current one, if any ever was.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn current(&self, dataset: &str, file: &str) -> Result<Option<Current>, RunError> {
        work::read(&self.work, &current_path(dataset, file)).await
    }

    /// Whether `record` is of the current run of its file; where it is not, it ends.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub async fn is_current(&self, record: &Record) -> Result<bool, RunError> {
        let current = self.current(&record.dataset, &record.file).await?;
        match current {
            Some(current) if current.run == record.run => Ok(true),
            Some(current) if current.before.contains(&record.run) => {
                let reason = format!("run {} took its place", current.run);
                self.end(&record.run, State::Superseded, Some(reason))
                    .await?;
                Ok(false)
            }
            // Its start was interrupted; the caller starts it again.
            _ => Ok(false),
        }
    }

    /// The names of all runs, with the time their records were last changed.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn listed(&self) -> Result<Vec<(String, Timestamp)>, RunError> {
        let listed = self.work.list("runs").await?.into_iter();
        let named = listed.filter_map(|listed| {
            let name = listed.path.strip_prefix("runs/")?.strip_suffix(".json")?;
            Some((name.to_owned(), listed.modified))
        });
        Ok(named.collect())
    }

    /// The records of all runs that this version can read, in no order.
    ///
    /// # Errors
    /// If something cannot be read.
    #[cfg(test)]
    pub(crate) async fn all(&self) -> Result<Vec<Record>, RunError> {
        let runs = stream::iter(self.listed().await?);
        let read = runs.map(|(run, _)| async move { self.read_unless_newer(&run).await });
        let records = read.buffered(READ_AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(records.into_iter().flatten().collect())
    }

    /// Removes a run's record.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub async fn forget(&self, run: &str) -> Result<(), RunError> {
        Ok(self.work.remove_file(&record_path(run)).await?)
    }

    /// Forgets which runs a file has or had.
    ///
    /// # Errors
    /// If that cannot be removed.
    pub async fn forget_file(&self, dataset: &str, file: &str) -> Result<(), RunError> {
        Ok(self.work.remove_file(&current_path(dataset, file)).await?)
    }

    /// The names of the runs whose end is not settled, with the time they were marked.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn active(&self) -> Result<Vec<(String, Timestamp)>, RunError> {
        let listed = self.work.list("active").await?;
        Ok(listed
            .into_iter()
            .filter_map(|listed| {
                let run = listed.path.strip_prefix("active/")?;
                Some((run.to_owned(), listed.modified))
            })
            .collect())
    }

    /// The end of a run is settled: the reconciler stops looking at it.
    ///
    /// # Errors
    /// If the mark cannot be removed.
    pub async fn settled(&self, run: &str) -> Result<(), RunError> {
        Ok(self.work.remove_file(&active_path(run)).await?)
    }

    /// Notes that a dataset has to be looked through again.
    ///
    /// # Errors
    /// If that cannot be written.
    pub async fn note_overlooked(&self, dataset: &str) -> Result<(), RunError> {
        let path = format!("overlooked/{dataset}");
        Ok(self.work.replace(&path, Vec::new()).await?)
    }

    /// A dataset was looked through.
    ///
    /// # Errors
    /// If the note cannot be removed.
    pub async fn forget_overlooked(&self, dataset: &str) -> Result<(), RunError> {
        Ok(self
            .work
            .remove_file(&format!("overlooked/{dataset}"))
            .await?)
    }

    /// The datasets that have to be looked through again, with the time of the upload that was not seen.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn overlooked(&self) -> Result<Vec<(String, Timestamp)>, RunError> {
        let listed = self.work.list("overlooked").await?.into_iter();
        let named = listed.filter_map(|listed| {
            let dataset = listed.path.strip_prefix("overlooked/")?;
            Some((dataset.to_owned(), listed.modified))
        });
        Ok(named.collect())
    }

    /// The datasets that have runs.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn datasets(&self) -> Result<BTreeSet<String>, RunError> {
        let listed = self.work.list("current").await?;
        let names = listed.iter().filter_map(|listed| {
            let path = listed.path.strip_prefix("current/")?;
            let (dataset, _) = path.split_once('/')?;
            Some(dataset.to_owned())
        });
        Ok(names.collect())
    }

    /// The current run of each file of a dataset, with those before it.
    ///
    /// # Errors
    /// If something cannot be read.
    pub async fn of_dataset(&self, dataset: &str) -> Result<Vec<(Current, Record)>, RunError> {
        let listed = self.work.list(&format!("current/{dataset}")).await?;
        let mut versions = HashMap::new();
        if self.known.is_some() && !listed.is_empty() {
            let records = self.work.list("runs").await?.into_iter();
            versions.extend(records.map(|listed| (listed.path, listed.version.etag)));
        }
        let versions = &versions;
        let found = stream::iter(listed).map(|listed| async move {
            let etag = Some(listed.version.etag);
            let current = self.read_known::<Current>(&listed.path, etag).await?;
            let Some(current) = current else {
                return Ok(None);
            };
            let path = record_path(&current.run);
            let etag = versions.get(&path).cloned();
            let record = self.read_known::<Record>(&path, etag).await?;
            Ok::<_, RunError>(record.map(|record| (current, record)))
        });
        let found = found.buffered(READ_AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The record of a run that published, as it was when it was last read: what was published stays as it is.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn published(&self, run: &str) -> Result<Option<Record>, RunError> {
        let path = record_path(run);
        let known = self.known.as_ref().and_then(|known| {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&path).map(|(_, content)| Arc::clone(content))
        });
        if let Some(content) = known {
            let record = work::parse::<Record>(&self.work, &path, &content)?;
            if record.is_published() {
                return Ok(Some(record));
            }
        }
        let record = self.read_known::<Record>(&path, None).await?;
        Ok(record.filter(Record::is_published))
    }

    /// A file of ours, which is not read where `etag` is the version that is known.
    async fn read_known<T: DeserializeOwned>(
        &self,
        path: &str,
        etag: Option<String>,
    ) -> Result<Option<T>, RunError> {
        let Some(known) = &self.known else {
            return work::read(&self.work, path).await;
        };
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let there = lock().get(path).cloned();
        if let Some((known, content)) = there
            && Some(known) == etag
        {
            return work::parse(&self.work, path, &content).map(Some);
        }
        let Some((content, version)) = self.work.read_versioned(path).await? else {
            return Ok(None);
        };
        let parsed = work::parse(&self.work, path, &content)?;
        lock().put(path.to_owned(), (version.etag, Arc::new(content)));
        Ok(Some(parsed))
    }

    /// What is pinned for a dataset under `name`: what is there already, or else `value` from now on.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn pin<T: Serialize + DeserializeOwned + Sync + Send>(
        &self,
        dataset: &str,
        name: &str,
        value: T,
    ) -> Result<T, RunError> {
        let path = format!("datasets/{dataset}/{name}.json");
        let content = self.content(&path, &value)?;
        if self.work.create(&path, content).await? {
            return Ok(value);
        }
        Ok(work::read(&self.work, &path).await?.unwrap_or(value))
    }

    /// What is pinned for a dataset under `name`, if anything is.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn pinned<T: DeserializeOwned>(
        &self,
        dataset: &str,
        name: &str,
    ) -> Result<Option<T>, RunError> {
        work::read(&self.work, &format!("datasets/{dataset}/{name}.json")).await
    }

    /// Pins something else for a dataset under `name`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn repin<T: Serialize>(
        &self,
        dataset: &str,
        name: &str,
        value: &T,
    ) -> Result<(), RunError> {
        let value = serde_json::to_value(value);
        let value = value.map_err(|source| RunError::Damaged {
            path: self.work.locate(&format!("datasets/{dataset}/{name}.json")),
            source,
        })?;
        let other = |_: Option<serde_json::Value>| Some(value.clone());
        self.change_pinned(dataset, name, other).await
    }

    /// Pins what `change` makes of what is pinned for a dataset under `name`, if anything; it may be asked again.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn change_pinned<T: Serialize + DeserializeOwned>(
        &self,
        dataset: &str,
        name: &str,
        change: impl Fn(Option<T>) -> Option<T> + Send,
    ) -> Result<(), RunError> {
        let path = format!("datasets/{dataset}/{name}.json");
        let mut cell = Cell::new(&self.work, &path);
        loop {
            // Replaces only what was read: a process that lost its right in between replaces nothing.
            let there = self.parse::<T>(&path, cell.read().await?)?;
            let Some(value) = change(there) else {
                return Ok(());
            };
            if cell.write(self.content(&path, &value)?).await? {
                return Ok(());
            }
        }
    }

    /// Changes a dataset's budget by `change`, which may be asked again, about a newer one. Gives what that
    /// gives.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn change_budget<T>(
        &self,
        dataset: &str,
        change: impl FnMut(&mut Budget) -> T + Send,
    ) -> Result<T, RunError> {
        let path = format!("datasets/{dataset}/{BUDGET}.json");
        self.budgets.change(&self.work, &path, change).await
    }

    /// Changes the account of a month by `change`, which may be asked again, about a newer one. Gives what
    /// that gives.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn change_account<T>(
        &self,
        month: Month,
        change: impl FnMut(&mut Account) -> T + Send,
    ) -> Result<T, RunError> {
        let path = account_path(month);
        self.accounts.change(&self.shared, &path, change).await
    }

    /// What all datasets cost in a month.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn account(&self, month: Month) -> Result<Account, RunError> {
        let account = work::read(&self.shared, &account_path(month)).await?;
        Ok(account.unwrap_or_default())
    }

    fn parse<T: DeserializeOwned>(
        &self,
        path: &str,
        content: Option<Vec<u8>>,
    ) -> Result<Option<T>, RunError> {
        let parsed = content.map(|content| work::parse(&self.work, path, &content));
        parsed.transpose()
    }

    fn content<T: Serialize>(&self, path: &str, value: &T) -> Result<Vec<u8>, RunError> {
        work::formatted(&self.work, path, value)
    }
}
