//! The ledger of a run: a line for each finished chunk, with how its turns ended. When its
//! file is full, another one goes on.
//!
//! It shows the progress of a run, and whether all chunks are finished, without reading a part. A chunk
//! may be listed twice, for example after a lost answer: the first line counts.

use super::entry::{FailureRecord, Part};
use super::paths::BucketPaths;
use super::record::Record;
use crate::dataset::figures::Tokens;
use crate::dataset::histogram::Histogram;
use crate::dataset::line::ErrorCode;
use crate::store::{MOST_LINES, OwnFolder, StoreError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Turns without a label that a finished chunk names of each code, and all chunks together.
const NAMED: u64 = 5;
const NAMED_IN_ALL: usize = 20;

/// Characters of an id that are kept of such a turn.
const LONGEST_ID: usize = 200;

/// A turn without a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTurn {
    /// Why it has none.
    pub code: ErrorCode,
    /// Of its conversation, as far as it is not too long.
    pub conversation_id: String,
    /// Of its message.
    pub message_id: String,
}

impl FailedTurn {
    fn of(failure: &FailureRecord) -> Self {
        let id = |id: &str| id.chars().take(LONGEST_ID).collect();
        Self {
            code: failure.error.code,
            conversation_id: id(&failure.conversation_id),
            message_id: id(&failure.message_id),
        }
    }
}

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
    /// The first of those, a few of each code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_turns: Vec<FailedTurn>,
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
    /// 429 answers to calls of its run since the process that finished it finished the one before.
    #[serde(default)]
    pub throttled: u64,
}

impl FinishedChunk {
    /// What the part of a chunk adds up to. Of a chunk that is not finished, the turns that are settled count.
    pub fn of(chunk: u64, part: &Part, at: Timestamp) -> Self {
        let settled = part.turns.iter().filter(|turn| turn.label.is_some());
        let mut finished = Self {
            chunk,
            at,
            turns: settled.count() as u64,
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
                Some(Err(failure)) => {
                    let count = finished.errors.entry(failure.error.code).or_default();
                    *count += 1;
                    if *count <= NAMED {
                        finished.failed_turns.push(FailedTurn::of(failure));
                    }
                }
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
        self.sum_with(&[])
    }

    /// The same with what there is of others that are `begun`.
    pub fn sum_with(&self, begun: &[FinishedChunk]) -> Option<FinishedChunk> {
        let mut chunks = self.finished.iter().chain(begun);
        let first = chunks.next()?.clone();
        Some(chunks.fold(first, |mut sum, finished| {
            sum.turns += finished.turns;
            sum.labeled += finished.labeled;
            sum.rationales += finished.rationales;
            sum.throttled += finished.throttled;
            sum.soft_labels += &finished.soft_labels;
            sum.tokens += finished.tokens;
            sum.inherited += finished.inherited;
            sum.at = sum.at.max(finished.at);
            for turn in &finished.failed_turns {
                let same = sum
                    .failed_turns
                    .iter()
                    .filter(|named| named.code == turn.code);
                if same.count() < NAMED_IN_ALL {
                    sum.failed_turns.push(turn.clone());
                }
            }
            for (code, count) in &finished.errors {
                *sum.errors.entry(*code).or_default() += count;
            }
            sum
        }))
    }

    /// What was done over the last `span` before `now`, with `begun`; `None` where nothing was.
    pub fn rate(
        &self,
        begun: &[FinishedChunk],
        now: Timestamp,
        began: Timestamp,
        span: SignedDuration,
    ) -> Option<Rate> {
        let from = now
            .saturating_sub(span)
            .map_or(began, |from| from.max(began));
        let recent = self.finished.iter().filter(|finished| finished.at > from);
        let (mut turns, mut tokens) = (0, Tokens::default());
        for chunk in recent.chain(begun) {
            turns += chunk.turns;
            tokens += chunk.own();
        }
        let seconds = now.duration_since(from).as_secs_f64();
        (turns > 0 && seconds > 0.0).then(|| Rate {
            turns: turns as f64 / seconds,
            charged: tokens.reserved as f64 / seconds,
            calls: tokens.calls as f64 / seconds,
        })
    }
}

/// What is done a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Turns.
    pub turns: f64,
    /// Tokens that the quota is charged.
    pub charged: f64,
    /// Calls.
    pub calls: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::tests::at;

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
        let sum = ledger.sum_with(&[finished(1, 11)]).unwrap();
        assert_eq!(sum.turns, 300);
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
        let turns = |now, begun: &[FinishedChunk]| {
            let rate = ledger.rate(begun, at(now), at(0), span);
            rate.map(|rate| (rate.turns, rate.calls))
        };
        assert_eq!(turns(120, &[]), Some((4.0, 0.08)));
        assert_eq!(turns(120, &[finished(3, 119)]), Some((6.0, 0.12)));
        assert_eq!(turns(20, &[]), Some((15.0, 0.3)));
        assert_eq!(turns(900, &[]), None);
    }

    #[test]
    fn a_few_turns_of_each_code_are_named_and_no_id_is_too_long() {
        let entry = |turn: usize, code: &str| {
            let id = "i".repeat(1_000);
            let error = serde_json::json!({"turn": turn, "round": 0, "error": {
                "conversation_id": id, "message_id": format!("m{turn}"),
                "code": code, "message": "why", "tokens": Tokens::default()}});
            format!("{error}\n")
        };
        let mut lines = (0..8)
            .map(|turn| entry(turn, "transient"))
            .collect::<String>();
        lines.push_str(&entry(9, "content_filtered"));
        let part = Part::read(lines.as_bytes(), 12);
        let chunk = FinishedChunk::of(0, &part, at(1));
        assert_eq!((chunk.turns, chunk.errors[&ErrorCode::Transient]), (9, 8));
        let named = chunk
            .failed_turns
            .iter()
            .map(|turn| turn.message_id.as_str());
        assert_eq!(
            named.collect::<Vec<_>>(),
            ["m0", "m1", "m2", "m3", "m4", "m9"]
        );
        assert_eq!(chunk.failed_turns[0].conversation_id.len(), LONGEST_ID);
        let read = Ledger::read(&chunk.line(), 1);
        assert_eq!(read.finished(), [chunk]);
    }
}
