//! The ledger of a run: a line for each finished chunk, with how its turns ended. When its
//! file is full, another one goes on.
//!
//! It shows the progress of a run, and whether all chunks are finished, without reading a part. A chunk
//! may be listed twice, for example after a lost answer: the first line counts.

use super::entry::Part;
use super::paths::BucketPaths;
use super::record::Record;
use crate::dataset::figures::Tokens;
use crate::dataset::histogram::Histogram;
use crate::dataset::line::ErrorCode;
use crate::store::{MOST_LINES, OwnFolder, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A finished chunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FinishedChunk {
    /// Its number.
    pub chunk: u64,
    /// When it was finished.
    pub at: Timestamp,
    /// Its turns.
    pub turns: u64,
    /// Those with a label.
    pub labeled: u64,
    /// Those without, by code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<ErrorCode, u64>,
    /// Those with a rationale.
    #[serde(default)]
    pub rationales: u64,
    /// How the soft labels are distributed.
    #[serde(default)]
    pub soft_labels: Histogram,
    /// What was billed.
    pub tokens: Tokens,
    /// The part of that which was billed to the run whose results this run starts from.
    pub inherited: Tokens,
}

impl FinishedChunk {
    /// What the part of a chunk adds up to.
    pub fn of(chunk: u64, part: &Part, at: Timestamp) -> Self {
        let mut finished = Self {
            chunk,
            at,
            turns: part.turns.len() as u64,
            tokens: part.tokens,
            inherited: part.inherited,
            ..Self::default()
        };
        for record in &part.turns {
            match &record.label {
                Some(Ok(label)) => {
                    finished.labeled += 1;
                    let (hard, soft) = (label.hard_label.into(), label.estimate.soft);
                    finished.soft_labels.count(hard, soft);
                }
                Some(Err(failure)) => *finished.errors.entry(failure.error.code).or_default() += 1,
                None => {}
            }
            finished.rationales += u64::from(matches!(record.rationale, Some(Ok(_))));
        }
        finished
    }

    /// What was billed to this run.
    pub fn own(&self) -> Tokens {
        self.tokens.without(self.inherited)
    }

    /// Its line.
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// All finished chunks, each once, in the order in which they were finished.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    finished: Vec<FinishedChunk>,
    chunks: BTreeSet<u64>,
}

impl Ledger {
    /// Reads a ledger of a run of `chunks` chunks. Lines that are none are passed over.
    pub fn read(content: &[u8], chunks: u64) -> Self {
        let mut ledger = Self::default();
        ledger.add(content, chunks);
        ledger
    }

    /// Reads the ledger of the run with these `paths`, which has `chunks` chunks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn of_run(
        work: &OwnFolder,
        paths: &BucketPaths,
        chunks: u64,
    ) -> Result<Self, StoreError> {
        let mut ledger = Self::default();
        for path in paths.ledgers() {
            let content = work.read(&path).await?.unwrap_or_default();
            if ledger.add(&content, chunks) < MOST_LINES {
                break;
            }
        }
        Ok(ledger)
    }

    /// Adds what another file of it holds; gives how many lines that has.
    fn add(&mut self, content: &[u8], chunks: u64) -> u64 {
        let mut lines = 0;
        for line in content.split_inclusive(|&byte| byte == b'\n') {
            lines += 1;
            if let Ok(finished) = serde_json::from_slice::<FinishedChunk>(line)
                && finished.chunk < chunks
                && self.chunks.insert(finished.chunk)
            {
                self.finished.push(finished);
            }
        }
        lines
    }

    /// The finished chunks.
    pub fn finished(&self) -> &[FinishedChunk] {
        &self.finished
    }

    /// Whether that chunk is finished.
    pub fn has(&self, chunk: u64) -> bool {
        self.chunks.contains(&chunk)
    }

    /// Whether every chunk of its run is finished.
    pub fn is_full(&self, record: &Record) -> bool {
        record.chunks.is_some_and(|chunks| self.count() >= chunks)
    }

    /// How many chunks are finished.
    pub fn count(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// What all of them add up to; `None` while none is finished.
    pub fn sum(&self) -> Option<FinishedChunk> {
        let (first, rest) = self.finished.split_first()?;
        Some(rest.iter().fold(first.clone(), |mut sum, finished| {
            sum.turns += finished.turns;
            sum.labeled += finished.labeled;
            sum.rationales += finished.rationales;
            sum.soft_labels += &finished.soft_labels;
            sum.tokens += finished.tokens;
            sum.inherited += finished.inherited;
            sum.at = sum.at.max(finished.at);
            for (code, count) in &finished.errors {
                *sum.errors.entry(*code).or_default() += count;
            }
            sum
        }))
    }

    /// Turns a second over the last `span` before `now`; `None` where nothing was finished in it.
    pub fn rate(
        &self,
        now: Timestamp,
        began: Timestamp,
        span: jiff::SignedDuration,
    ) -> Option<f64> {
        let from = now
            .saturating_sub(span)
            .map_or(began, |from| from.max(began));
        let recent = self.finished.iter().filter(|finished| finished.at > from);
        let turns = recent.map(|finished| finished.turns).sum::<u64>();
        let seconds = now.duration_since(from).as_secs_f64();
        (turns > 0 && seconds > 0.0).then(|| turns as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::tests::at;
    use jiff::SignedDuration;

    fn finished(chunk: u64, second: i64) -> FinishedChunk {
        FinishedChunk {
            chunk,
            at: at(second),
            turns: 100,
            labeled: 99,
            errors: BTreeMap::from([(ErrorCode::EmptyMessage, 1)]),
            tokens: Tokens {
                calls: 2,
                ..Tokens::default()
            },
            ..FinishedChunk::default()
        }
    }

    #[test]
    fn a_chunk_counts_once_and_only_if_there_is_such_a_chunk() {
        let mut content = Vec::new();
        for chunk in [3, 0, 3, 9] {
            content.extend(finished(chunk, 10).line());
        }
        content.extend(b"half a li");
        let ledger = Ledger::read(&content, 4);
        assert_eq!(ledger.count(), 2);
        assert!(ledger.has(0) && ledger.has(3) && !ledger.has(9));
        let sum = ledger.sum().unwrap();
        assert_eq!((sum.turns, sum.labeled, sum.tokens.calls), (200, 198, 4));
        assert_eq!(sum.errors[&ErrorCode::EmptyMessage], 2);
        assert_eq!(Ledger::read(b"", 4).sum(), None);
    }

    #[test]
    fn the_rate_is_that_of_late() {
        let content = [finished(0, 10), finished(1, 100), finished(2, 110)]
            .iter()
            .flat_map(FinishedChunk::line)
            .collect::<Vec<_>>();
        let ledger = Ledger::read(&content, 9);
        let span = SignedDuration::from_secs(50);
        assert_eq!(ledger.rate(at(120), at(0), span), Some(4.0));
        assert_eq!(ledger.rate(at(20), at(0), span), Some(15.0));
        assert_eq!(ledger.rate(at(900), at(0), span), None);
    }
}
