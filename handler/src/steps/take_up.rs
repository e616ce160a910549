//! Beginning a run for a version of a bucket file.

use super::message::Message;
use super::world::{App, InTrouble};
use crate::dataset::layout;
use crate::run::RunError;
use crate::run::record::{Beginning, Identity, Origin, Record, State};
use crate::run::settings::LabelSettings;
use crate::store::{StoreError, Version};

/// What is pinned for a dataset: the settings of all runs that uploads begin in it.
pub(crate) const SETTINGS: &str = "settings";

impl App {
    /// The settings of a dataset: those in force when its first run began, so that a new deployment
    /// of the app neither mixes labels nor buys them twice.
    pub(crate) async fn dataset_settings(&self, dataset: &str) -> Result<LabelSettings, RunError> {
        let settings = self.settings.labels.clone();
        self.runs.pin(dataset, SETTINGS, settings).await
    }

    /// The version of a RAW file that is there now; `None` where it is gone.
    pub(crate) async fn raw_version(
        &self,
        dataset: &str,
        file: &str,
    ) -> Result<Option<Version>, StoreError> {
        match self.data.raw(dataset)?.version(file).await {
            Ok(version) => Ok(Some(version)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes up every bucket file of a dataset that is there. Gives the messages that have them planned.
    pub(crate) async fn take_up_all(&self, dataset: &str) -> Result<Vec<Message>, RunError> {
        let files = self.data.raw(dataset)?.buckets().await?.in_app().files;
        let mut messages = Vec::new();
        for file in files {
            // An event would not bring those either whose names storage and others read differently.
            if layout::bucket_file(&format!("{dataset}/{}", file.path)).is_err() {
                continue;
            }
            match self.raw_version(dataset, &file.path).await? {
                Some(version) if version.length > 0 => {
                    messages.extend(self.take_up(dataset, &file.path, version).await?);
                }
                _ => {}
            }
        }
        Ok(messages)
    }

    /// Begins the run that an upload of `version` of a file means, or finds it. Gives the message
    /// that has it planned, unless it is.
    ///
    /// Safe to repeat: the run's name follows from the file and its version. A version that somebody had
    /// labelled before word of its upload came is not taken up again.
    pub(crate) async fn take_up(
        &self,
        dataset: &str,
        file: &str,
        version: Version,
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
        if let Some(current) = self.runs.current(dataset, file).await?
            && let Some(there) = self.runs.read(&current.run).await?
            && there.source.etag == version.etag
        {
            return Ok(to_be_planned(&there));
        }
        let beginning = Beginning {
            origin: Origin::Upload,
            dataset: dataset.to_owned(),
            file: file.to_owned(),
            source: version.clone(),
            settings: self.dataset_settings(dataset).await?,
            base: None,
        };
        let record = self.begin(self.new_record(beginning, "")).await?;
        Ok(to_be_planned(&record))
    }

    /// The record of a run that would begin now. Its name follows from what it begins with and from the
    /// `request` that it answers; that of an upload is empty.
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
        // Nobody asks a command for its runs.
        if self.settings.in_trouble == InTrouble::Wait {
            self.runs.list_run(&begun).await?;
        }
        Ok(begun)
    }
}

/// The message that has a run planned. One that is planned gets no second one, which would have all its
/// chunks sent twice: should its chunks get lost, the reconciler sends them again.
fn to_be_planned(record: &Record) -> Option<Message> {
    (record.state == State::Planning).then(|| Message::plan(&record.run))
}
