//! Where the files of a run lie in its work area.

use crate::dataset::layout::BucketName;

/// What is pinned for the whole run.
pub const RUN: &str = "run.json";

/// The paths of one bucket in the work area.
#[derive(Clone, Debug)]
pub struct BucketPaths(String);

impl BucketPaths {
    /// The paths of `name`. A missing name is `-`, which no folder of RAW is called.
    pub fn new(name: &BucketName) -> Self {
        let part = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        Self(format!(
            "buckets/{}/{}",
            part(&name.split),
            part(&name.bucket)
        ))
    }

    /// The chunks.
    pub fn manifest(&self) -> String {
        format!("{}/manifest.json", self.0)
    }

    /// The chunks that are finished.
    pub fn ledger(&self) -> String {
        format!("{}/ledger.jsonl", self.0)
    }

    /// What was published.
    pub fn report(&self) -> String {
        format!("{}/report.json", self.0)
    }

    /// The results of a chunk.
    pub fn part(&self, chunk: usize) -> String {
        format!("{}/parts/{chunk:06}.jsonl", self.0)
    }
}
