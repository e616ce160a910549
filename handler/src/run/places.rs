//! Where a run reads and writes.

use crate::dataset::layout::{self, BucketName, LeftOut};
use crate::store::{OwnFolder, RawFile, RawFolder};

/// What is read, and where the results go.
#[derive(Clone, Debug)]
pub struct Places {
    /// RAW.
    pub raw: RawFolder,
    /// Its bucket files.
    pub files: Vec<RawFile>,
    /// What is named like data in it and is none of them.
    pub left_out: LeftOut,
    /// Name of the RAW dataset, or path of the lone file.
    pub source: String,
    /// Name of the labelled dataset, or path of the lone file's output.
    pub labeled: String,
    /// Where labelled files appear.
    pub output: OwnFolder,
    /// The name of a lone file's output in `output`; `None` for a dataset, which mirrors RAW.
    pub lone_output: Option<String>,
    /// Manifests and parts.
    pub work: OwnFolder,
    /// The metadata's place: in `output` for a dataset, in `work` for a lone file.
    pub metadata: String,
}

impl Places {
    /// The path of a bucket's labelled file in `output`.
    pub fn labeled_path(&self, name: &BucketName) -> String {
        self.lone_output
            .clone()
            .unwrap_or_else(|| layout::labeled_path(name))
    }

    /// The folder of the metadata.
    pub fn metadata_folder(&self) -> &OwnFolder {
        match &self.lone_output {
            Some(_) => &self.work,
            None => &self.output,
        }
    }

    /// The name of the lock that keeps other processes from this output.
    pub fn output_lock(&self) -> String {
        let name = self.lone_output.as_deref().unwrap_or_default();
        format!(".{name}.softlabel-lock")
    }

    /// Where the metadata lies.
    pub fn metadata_path(&self) -> String {
        self.metadata_folder().locate(&self.metadata)
    }
}
