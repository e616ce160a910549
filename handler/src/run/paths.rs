//! Where the files of a run lie in its work area.

/// What is pinned for the whole run.
pub const RUN: &str = "run.json";

/// The paths of one bucket in the work area.
#[derive(Clone, Debug)]
pub struct BucketPaths(String);

impl BucketPaths {
    /// The paths for the bucket file `source`, as RAW calls it.
    pub fn new(source: &str) -> Self {
        Self(format!("buckets/{source}"))
    }

    /// The chunks.
    pub fn manifest(&self) -> String {
        format!("{}/manifest.json", self.0)
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
