//! Where the files of a run lie in its work area.

/// The paths of one run in the work area.
#[derive(Clone, Debug)]
pub struct BucketPaths(String);

impl BucketPaths {
    /// The paths of a run.
    pub fn of_run(run: &str) -> Self {
        Self(format!("work/{run}"))
    }

    /// The folder of all of them.
    pub fn folder(&self) -> &str {
        &self.0
    }

    /// The chunks that are finished: when one file is full, the next goes on.
    pub fn ledgers(&self) -> impl Iterator<Item = String> {
        let first = format!("{}/ledger.jsonl", self.0);
        let further = (2..).map(|number: u32| format!("{}/ledger-{number}.jsonl", self.0));
        std::iter::once(first).chain(further)
    }

    /// The chunks.
    pub fn manifest(&self) -> String {
        format!("{}/manifest.json", self.0)
    }

    /// What was noted of a chunk that failed too often.
    pub fn poisoned(&self, chunk: usize) -> String {
        format!("{}/poisoned/{chunk:06}.json", self.0)
    }

    /// The folder of the results.
    pub fn parts(&self) -> String {
        format!("{}/parts", self.0)
    }

    /// The results of a chunk.
    pub fn part(&self, chunk: usize) -> String {
        format!("{}/parts/{chunk:06}.jsonl", self.0)
    }
}
