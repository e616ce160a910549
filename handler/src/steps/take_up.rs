//! Beginning a run for a version of a bucket file.

use super::hourly::AT_ONCE;
use super::message::Message;
use super::wish::{Only, Verdict, Wish};
use super::world::{App, InTrouble};
use crate::dataset::layout;
use crate::run::RunError;
use crate::run::record::{Beginning, Identity, Origin, Record, State};
use crate::run::settings::LabelSettings;
use crate::store::Version;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is pinned for a dataset: the settings of all runs that uploads begin in it.
pub(crate) const SETTINGS: &str = "settings";

/// The settings as they are pinned.
#[derive(Debug, Serialize, Deserialize)]
struct Pinned {
    #[serde(flatten)]
    settings: LabelSettings,
    /// When a request set them; `None` if the first upload did.
    #[serde(default)]
    asked: Option<Timestamp>,
}

impl App {
    /// The settings of a dataset: those in force when its first run began, so that a new deployment
    /// of the app neither mixes labels nor buys them twice.
    pub(crate) async fn dataset_settings(&self, dataset: &str) -> Result<LabelSettings, RunError> {
        if let Some(pinned) = self.runs.pinned(dataset, SETTINGS).await? {
            return Ok(pinned);
        }
        let settings = self.default_settings().await?;
        self.runs.pin(dataset, SETTINGS, settings).await
    }

    /// Labels requested at the time `asked` are published: later uploads are labelled like them, unless a
    /// later request set others.
    pub(crate) async fn set_dataset(
        &self,
        dataset: &str,
        settings: &LabelSettings,
        asked: Timestamp,
    ) -> Result<(), RunError> {
        let set = |there: Option<Pinned>| {
            let is_later = there.is_none_or(|there| there.asked.is_none_or(|then| then < asked));
            is_later.then(|| Pinned {
                settings: settings.clone(),
                asked: Some(asked),
            })
        };
        self.runs.change_pinned(dataset, SETTINGS, set).await
    }

    /// Takes up every bucket file of a dataset, for a wish that was `made` then. Gives the messages that
    /// have them planned.
    pub(crate) async fn take_up_all(
        &self,
        dataset: &str,
        made: Option<Timestamp>,
    ) -> Result<Vec<Message>, RunError> {
        let listed = self.data.raw(dataset)?.buckets().await;
        let mut files = listed.map_err(RunError::Raw)?.in_app().files;
        // An event would not bring those either whose names storage and others read differently.
        files.retain(|file| layout::bucket_file(&format!("{dataset}/{}", file.path)).is_ok());
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let settings = match self.dataset_settings(dataset).await {
            Err(error) if error.newer().is_some() => return Ok(Vec::new()),
            settings => &settings?,
        };
        let taken_up = stream::iter(files).map(|file| async move {
            let version = self.raw_version(dataset, &file.path).await;
            let version = version.map_err(RunError::Raw)?;
            let Some(version) = version.filter(|version| version.length > 0) else {
                return Ok(None);
            };
            let taken_up = self.take_up_as(settings, dataset, &file.path, version, made);
            match taken_up.await {
                // Its run is one of a newer version, whose instances look through datasets, too.
                Err(error) if error.newer().is_some() => Ok(None),
                taken_up => taken_up,
            }
        });
        let messages = taken_up.buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(messages.into_iter().flatten().collect())
    }

    /// Begins the run that an upload of `version` of a file means, or finds it. Gives the message
    /// that has it planned, unless it is. A run that has ended since the upload was `made` was the answer to it;
    /// without such a time every run was.
    ///
    /// Safe to repeat: see [`wish`](super::wish).
    pub(crate) async fn take_up(
        &self,
        dataset: &str,
        file: &str,
        version: Version,
        made: Option<Timestamp>,
    ) -> Result<Option<Message>, RunError> {
        let settings = self.dataset_settings(dataset).await?;
        self.take_up_as(&settings, dataset, file, version, made)
            .await
    }

    /// The same, with the `settings` of the dataset.
    async fn take_up_as(
        &self,
        settings: &LabelSettings,
        dataset: &str,
        file: &str,
        version: Version,
        made: Option<Timestamp>,
    ) -> Result<Option<Message>, RunError> {
        if let Some(first) = layout::first_of_twins(file)
            && self.raw_version(dataset, &first).await?.is_some()
        {
            tracing::warn!(
                dataset,
                file,
                first,
                "both would become the same labelled file"
            );
            return Ok(None);
        }
        let wish = Wish {
            dataset: dataset.to_owned(),
            file: file.to_owned(),
            origin: Origin::Upload,
            settings: settings.clone(),
            only: Only::All,
            force: false,
            overwrite: false,
            sets_dataset: None,
            made,
        };
        let verdict = match self.weigh(&wish, &version).await? {
            Verdict::Begins(record) => self.grant(&wish, *record).await?,
            verdict => verdict,
        };
        Ok(match verdict {
            Verdict::UnderWay(record) => to_be_planned(&record),
            _ => None,
        })
    }

    /// The record of a run that would begin now. Its name follows from what it begins with and from the
    /// `request` that it answers.
    pub(crate) fn new_record(&self, beginning: Beginning, request: &str) -> Record {
        let identity = Identity {
            data: &self.data.name(),
            dataset: &beginning.dataset,
            file: &beginning.file,
            etag: &beginning.source.etag,
            request,
        };
        let run = identity.name();
        Record::new(run, beginning, self.runs.clock().now())
    }

    /// Begins a run while RAW still is its version.
    pub(crate) async fn begin(&self, record: Record) -> Result<Record, RunError> {
        let (dataset, file) = (record.dataset.clone(), record.file.clone());
        let begun = self
            .runs
            .begin(record, || self.raw_version(&dataset, &file))
            .await?;
        // A command line has no list of runs to show.
        if self.settings.in_trouble == InTrouble::Wait {
            self.runs.list_run(&begun).await?;
        }
        Ok(begun)
    }
}

/// The message that has a run planned. A planned run gets no second one, which would send all its chunks
/// twice: if its chunks get lost, the reconciler sends them again.
pub(super) fn to_be_planned(record: &Record) -> Option<Message> {
    (record.state == State::Planning).then(|| Message::plan(&record.run))
}
