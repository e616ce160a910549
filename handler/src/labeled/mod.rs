//! A labelled dataset to read, for `compare`, `export`, `show` and `report`.
//!
//! Published buckets are read from their labelled files and details, unpublished buckets from the parts
//! in the work area, as far as they are labelled. With RAW beside it a turn has its text, too. Nothing
//! here writes, and memory does not grow with the dataset.

mod lines;
mod rows;
mod texts;

pub use rows::{Label, Row, Rows};
pub use texts::{Said, Texts, said};

use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::{BucketReport, LabelingMetadata};
use crate::run::RunError;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::publish::SoFar;
use crate::run::runs::Runs;
use crate::run::work;
use crate::store::{OwnFolder, RawFolder, StoreError};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The metadata of a labelled dataset, with whatever settings it names.
pub type Metadata = LabelingMetadata<Map<String, Value>>;

/// Why a labelled dataset cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work area cannot be read.
    #[error(transparent)]
    Work(#[from] RunError),
    /// There is no labelled dataset.
    #[error(
        "{place} does not exist; give the folder of a labelled dataset, or a single labelled file"
    )]
    NoMetadata {
        /// Where its metadata would be.
        place: String,
    },
    /// Something in it is not what it should be.
    #[error(
        "{place} cannot be read: {reason}; run the same label command again, which rewrites it"
    )]
    Damaged {
        /// The file, with the line.
        place: String,
        /// Why.
        reason: String,
    },
    /// RAW is not what was labelled.
    #[error(
        "{place} is not the file that was labelled: {reason}; give the RAW data of these labels"
    )]
    OtherRaw {
        /// The RAW file.
        place: String,
        /// What differs.
        reason: String,
    },
}

/// A labelled dataset.
#[derive(Debug)]
pub struct Labeled {
    /// What the metadata says; where buckets are not published yet, with totals of what is there.
    pub metadata: Metadata,
    /// All buckets that the metadata names, by split and name.
    pub buckets: Vec<Bucket>,
}

/// One bucket of it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its split and name.
    pub name: BucketName,
    /// What the metadata says of it; where it is not published yet, with the figures of what is there.
    pub report: BucketReport,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// The labelled file and the details.
    Published([(RawFolder, String); 2]),
    /// What a run has so far.
    Parts {
        work: OwnFolder,
        paths: BucketPaths,
        manifest: Arc<Manifest>,
    },
    /// Nothing is known of it yet.
    Nothing,
}

/// Where a labelled dataset lies.
#[derive(Clone, Debug)]
pub struct Location {
    /// The folder of the labelled files.
    pub labels: RawFolder,
    /// The folder of the metadata.
    pub metadata: RawFolder,
    /// The name of a lone file in `labels`; `None` for a dataset.
    pub lone: Option<String>,
    /// The work area, to read what is not published yet.
    pub work: Option<OwnFolder>,
    /// What the dataset is called there; with `None` as the command line calls it.
    pub dataset: Option<String>,
}

impl Labeled {
    /// Reads what there is to read.
    ///
    /// # Errors
    /// If there is no metadata, or something cannot be read.
    pub async fn open(place: &Location) -> Result<Self, ReadError> {
        let path = layout::LABELED_METADATA;
        let located = place.metadata.locate(path);
        let metadata = match place.metadata.read(path).await {
            Ok(metadata) => metadata,
            Err(error) if error.is_not_found() => {
                return Err(ReadError::NoMetadata { place: located });
            }
            Err(error) => return Err(error.into()),
        };
        let mut metadata = serde_json::from_slice::<Metadata>(&metadata).map_err(|error| {
            let reason = error.to_string();
            ReadError::Damaged {
                place: located,
                reason,
            }
        })?;
        let dataset = match &place.dataset {
            Some(dataset) => dataset.clone(),
            None => named_in_work(&metadata, place.lone.is_some()),
        };
        let dataset = dataset.as_str();
        let mut buckets = Vec::new();
        for (split, in_split) in &metadata.splits {
            for (bucket, report) in in_split {
                let key = |key: &String| (key != "-").then(|| key.clone());
                let name = BucketName {
                    split: key(split),
                    bucket: key(bucket),
                };
                let mut report = report.clone();
                let source = match report.published {
                    Some(_) => Source::published(place, &name, &report),
                    None => Source::parts(place, dataset, &mut report).await?,
                };
                buckets.push(Bucket {
                    name,
                    report,
                    source,
                });
            }
        }
        // Unpublished buckets count as far as they are labelled.
        if buckets
            .iter()
            .any(|bucket| bucket.report.published.is_none())
        {
            metadata.totals = Default::default();
            for bucket in &buckets {
                metadata.totals += &bucket.report.figures;
            }
        }
        Ok(Self { metadata, buckets })
    }
}

/// What the command line calls a dataset in its work folder.
fn named_in_work(metadata: &Metadata, lone: bool) -> String {
    let labeled = &metadata.labeled_dataset;
    match (lone, &metadata.pilot) {
        (false, _) => labeled
            .strip_prefix(layout::LABELED_PREFIX)
            .unwrap_or(labeled)
            .to_owned(),
        (true, None) => layout::LONE.to_owned(),
        (true, Some(pilot)) => format!("{}.pilot-{}", layout::LONE, pilot.name),
    }
}

impl Source {
    fn published(place: &Location, name: &BucketName, report: &BucketReport) -> Self {
        let (labels, details) = match &place.lone {
            Some(file) => (file.clone(), layout::LONE_DETAILS.to_owned()),
            None => (layout::labeled_path(name), layout::details_path(name)),
        };
        // An earlier version published no details; a file in their place is not softlabel's.
        let details = match report.details_file {
            Some(_) => details,
            None => String::new(),
        };
        Self::Published([
            (place.labels.clone(), labels),
            (place.metadata.clone(), details),
        ])
    }

    /// The parts of the current run of a file, whose figures become those of the `report`.
    async fn parts(
        place: &Location,
        dataset: &str,
        report: &mut BucketReport,
    ) -> Result<Self, ReadError> {
        let Some(work) = &place.work else {
            return Ok(Self::Nothing);
        };
        let runs = Runs::new(work.clone(), crate::clock::Clock::system());
        let Some(current) = runs.current(dataset, &report.source.path).await? else {
            return Ok(Self::Nothing);
        };
        let paths = BucketPaths::of_run(&current.run);
        let Some(manifest) = work::read::<Manifest>(work, &paths.manifest()).await? else {
            return Ok(Self::Nothing);
        };
        let manifest = Arc::new(manifest);
        let mut so_far = SoFar::new(Arc::clone(&manifest), work.clone(), paths.clone());
        while so_far.next().await?.is_some() {}
        report.figures = so_far.figures();
        report.figures.turns = manifest.turns;
        Ok(Self::Parts {
            work: work.clone(),
            paths,
            manifest,
        })
    }
}

impl Bucket {
    /// The rows of it, in the order of RAW.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub async fn rows(&self) -> Result<Rows, ReadError> {
        match &self.source {
            Source::Published([labels, details]) => {
                Rows::published(self.name.clone(), labels, details).await
            }
            Source::Parts {
                work,
                paths,
                manifest,
            } => {
                let so_far = SoFar::new(Arc::clone(manifest), work.clone(), paths.clone());
                Ok(Rows::so_far(self.name.clone(), so_far))
            }
            Source::Nothing => Ok(Rows::nothing(self.name.clone())),
        }
    }
}
