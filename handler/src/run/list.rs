//! The list of all runs, the newest first, in pages.
//!
//! A run's name follows from what it labels, and says nothing of when it began. So each run has an empty
//! blob beside its record, whose name does: a page takes one listing and the records it shows.

use super::RunError;
use super::record::{Record, State};
use super::runs::{READ_AT_ONCE, Runs, is_run_name};
use futures::{StreamExt, stream};
use std::collections::BTreeSet;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64;

const FOLDER: &str = "began";

/// No run began later, in seconds since 1970: what is left until then grows with a run's age.
const LATEST: i64 = 9_999_999_999;

/// A request reads no more records than this to find those that are wanted.
const EXAMINED: usize = 1_000;

/// The place of a run in the list. A later one sorts first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    left: i64,
    dataset: u32,
    run: String,
}

/// A text that is no [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace;

impl Place {
    /// That of a run.
    pub fn of(record: &Record) -> Self {
        Self {
            left: (LATEST - record.created.as_second()).clamp(0, LATEST),
            dataset: dataset_number(&record.dataset),
            run: record.run.clone(),
        }
    }

    /// Of the blob that stands for it.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{self}")
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { left, dataset, run } = self;
        write!(f, "{left:010}-{dataset:08x}-{run}")
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(NoPlace);
        let (left, dataset, run) = (part()?, part()?, part()?);
        let place = Self {
            left: left.parse().map_err(|_| NoPlace)?,
            dataset: u32::from_str_radix(dataset, 16).map_err(|_| NoPlace)?,
            run: run.to_owned(),
        };
        let is_one = is_run_name(run) && place.to_string() == text;
        is_one.then_some(place).ok_or(NoPlace)
    }
}

/// What stands for a dataset in the list: most other datasets need not be read.
fn dataset_number(dataset: &str) -> u32 {
    (xxh3_64(dataset.as_bytes()) >> 32) as u32
}

/// Which runs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those of a dataset.
    pub dataset: Option<String>,
    /// Those in a state.
    pub state: Option<State>,
}

impl Wanted {
    fn has(&self, record: &Record) -> bool {
        let same = |dataset: &String| *dataset == record.dataset;
        self.dataset.as_ref().is_none_or(same)
            && self.state.is_none_or(|state| state == record.state)
    }
}

/// Some runs of the list.
#[derive(Debug, Default)]
pub struct Page {
    /// Their records, the newest first.
    pub records: Vec<Record>,
    /// The place after which the list continues, if it may.
    pub next: Option<Place>,
}

impl Runs {
    /// Gives a run its place in the list.
    ///
    /// # Errors
    /// If that cannot be written.
    pub async fn list_run(&self, record: &Record) -> Result<(), RunError> {
        let path = Place::of(record).path();
        Ok(self.work().create(&path, Vec::new()).await.map(drop)?)
    }

    /// Takes a run out of the list.
    ///
    /// # Errors
    /// If that cannot be done.
    pub async fn unlist_run(&self, record: &Record) -> Result<(), RunError> {
        Ok(self.work().remove_file(&Place::of(record).path()).await?)
    }

    async fn places(&self) -> Result<Vec<Place>, RunError> {
        let listed = self.work().list(FOLDER).await?;
        let places = listed.iter().filter_map(|listed| {
            let name = listed.path.strip_prefix(FOLDER)?.strip_prefix('/')?;
            name.parse().ok()
        });
        let mut places = places.collect::<Vec<Place>>();
        places.sort_unstable();
        Ok(places)
    }

    /// The first `limit` runs that are `wanted`, after a place in the list. It may be fewer though there
    /// are more: then the page says where to go on.
    ///
    /// # Errors
    /// If something cannot be read.
    pub async fn page(
        &self,
        wanted: &Wanted,
        limit: usize,
        after: Option<&Place>,
    ) -> Result<Page, RunError> {
        let mut places = self.places().await?;
        places.retain(|place| after.is_none_or(|after| place > after));
        if let Some(dataset) = &wanted.dataset {
            let number = dataset_number(dataset);
            places.retain(|place| place.dataset == number);
        }
        // Runs that go on are marked.
        if wanted.state.is_some_and(|state| !state.is_over()) {
            let open = self.active().await?.into_iter().map(|(run, _)| run);
            let open = open.collect::<BTreeSet<_>>();
            places.retain(|place| open.contains(&place.run));
        }
        let last = places.last().cloned();
        let read = stream::iter(places.into_iter().take(EXAMINED)).map(|place| async move {
            let record = self.read_unless_newer(&place.run).await;
            record.map(|record| (place, record))
        });
        let mut read = read.buffered(READ_AT_ONCE);
        let mut page = Page::default();
        while let Some(next) = read.next().await {
            let (place, record) = next?;
            // A run that is gone may still have its place, and one that began twice has two.
            let record = record.filter(|record| Place::of(record) == place && wanted.has(record));
            page.records.extend(record);
            page.next = Some(place).filter(|place| Some(place) != last.as_ref());
            if page.records.len() >= limit {
                break;
            }
        }
        Ok(page)
    }

    /// Adds the missing places of runs that an earlier version began, or whose process was killed; and
    /// removes the places of runs that are gone.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub async fn mend_list(&self) -> Result<(), RunError> {
        let places = self.places().await?;
        let runs = self.listed().await?.into_iter().map(|(run, _)| run);
        let runs = runs.collect::<BTreeSet<_>>();
        let listed = places.iter().map(|place| &place.run);
        let listed = listed.collect::<BTreeSet<_>>();
        for run in runs.iter().filter(|run| !listed.contains(run)) {
            if let Some(record) = self.read_unless_newer(run).await? {
                self.list_run(&record).await?;
            }
        }
        for place in places.iter().filter(|place| !runs.contains(&place.run)) {
            // It may have been begun since the runs were listed.
            if self.read(&place.run).await?.is_none() {
                self.work().remove_file(&place.path()).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::run::record::tests::{at, record};
    use crate::run::work;
    use crate::store::OwnFolder;

    #[test]
    fn a_place_is_read_as_it_is_written_and_a_later_run_comes_first() {
        let mut early = record("aaa");
        let late = Place::of(&early);
        early.created = at(-1);
        let early = Place::of(&early);
        assert!(late < early && late.to_string() < early.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        for wrong in [
            "",
            "x",
            "1-2-3",
            "8199999999-1a2b3c4d-",
            "8199999999-1a2b3c4d-../x",
            "8199999999-1A2B3C4D-aaa",
            "-199999999-1a2b3c4d-aaa",
            "+199999999-1a2b3c4d-aaa",
        ] {
            assert_eq!(wrong.parse::<Place>(), Err(NoPlace), "{wrong}");
        }
    }

    async fn write(runs: &Runs, record: &Record) {
        let path = format!("runs/{}.json", record.run);
        work::write(runs.work(), &path, record).await.unwrap();
    }

    /// Names of all runs that are wanted, page by page.
    async fn all(runs: &Runs, wanted: &Wanted, limit: usize) -> Vec<Vec<String>> {
        let (mut pages, mut after) = (Vec::new(), None::<Place>);
        loop {
            let page = runs.page(wanted, limit, after.as_ref()).await.unwrap();
            let names = page.records.iter().map(|record| record.run.clone());
            pages.push(names.collect());
            after = page.next;
            if after.is_none() {
                return pages;
            }
        }
    }

    #[tokio::test]
    async fn pages_show_every_run_once_whatever_happens_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let work = OwnFolder::local_alone(home.path().join("work")).unwrap();
        let runs = Runs::new(work, Clock::system());
        for number in 0..5 {
            let mut record = record(&format!("r{number}"));
            record.created = at(number);
            record.dataset = format!("v{}", number % 2);
            if number == 3 {
                record.state = State::Complete;
            }
            write(&runs, &record).await;
        }
        assert_eq!(all(&runs, &Wanted::default(), 2).await, [[""; 0]]);
        runs.mend_list().await.unwrap();
        let every = all(&runs, &Wanted::default(), 2).await;
        assert_eq!(every, [vec!["r4", "r3"], vec!["r2", "r1"], vec!["r0"]]);
        let wanted = Wanted {
            dataset: Some("v1".into()),
            state: None,
        };
        assert_eq!(all(&runs, &wanted, 9).await, [["r3", "r1"]]);
        let complete = Wanted {
            dataset: None,
            state: Some(State::Complete),
        };
        assert_eq!(all(&runs, &complete, 9).await, [["r3"]]);
        // One that begins between two pages is none of them, one that is gone leaves no hole.
        let first = runs.page(&Wanted::default(), 2, None).await.unwrap();
        let mut new = record("r9");
        new.created = at(9);
        write(&runs, &new).await;
        runs.list_run(&new).await.unwrap();
        runs.forget("r2").await.unwrap();
        let wanted = Wanted::default();
        let second = runs.page(&wanted, 2, first.next.as_ref());
        let names = second.await.unwrap().records.into_iter().map(|r| r.run);
        assert_eq!(names.collect::<Vec<_>>(), ["r1", "r0"]);
        runs.mend_list().await.unwrap();
        assert_eq!(runs.work().list(FOLDER).await.unwrap().len(), 5);
    }
}
