//! A bucket's manifest: what its file is and into which chunks it is cut.

use crate::dataset::conversation::Format;
use crate::dataset::layout::BucketName;
use crate::dataset::metadata::{BrokenConversation, IdSources, SourceFile};
use crate::dataset::pilot::Pilot;
use crate::dataset::scanner::MAX_CONVERSATION_BYTES;
use crate::store::Version;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a bucket file was cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Split of the bucket.
    pub split: Option<String>,
    /// Its name.
    pub bucket: Option<String>,
    /// The file and its version.
    pub source: SourceFile,
    /// How it writes conversations.
    #[serde(default)]
    pub format: Format,
    /// Where their ids come from, if such are made where they are missing.
    #[serde(default)]
    pub ids: Option<IdSources>,
    /// Conversations that can be read.
    pub conversations: u64,
    /// Their turns that are labelled.
    pub turns: u64,
    /// The chunks, in the order of the file.
    pub chunks: Vec<Chunk>,
    /// The pilot that labels some of the bucket's turns, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot: Option<Pilot>,
    /// With a pilot, all turns of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_turns: Option<u64>,
    /// Conversations that cannot be read.
    pub broken_conversations: u64,
    /// The first of them.
    pub broken: Vec<BrokenConversation>,
    /// Why the file could only be read in part, if so.
    pub salvaged: Option<String>,
}

/// A run of neighbouring conversations, all of which can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where it lies in the file.
    pub bytes: Range<u64>,
    /// Number of its first conversation in the file.
    pub first_conversation: u64,
    /// Its conversations.
    pub conversations: u32,
    /// Its turns that are labelled.
    pub turns: u32,
    /// Which those are, where that is not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked: Option<Picked>,
}

/// The turns of a chunk that a pilot labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picked {
    /// Their numbers in the chunk, counted from 0, in increasing order.
    pub turns: Vec<u32>,
    /// All turns of the chunk.
    pub of: u32,
}

impl Chunk {
    /// Its turns, whether they are labelled or not.
    pub fn all_turns(&self) -> u32 {
        self.picked.as_ref().map_or(self.turns, |picked| picked.of)
    }

    /// Whether one of its turns is labelled, given by its number in the chunk.
    pub fn labels(&self, turn: u32) -> bool {
        let picked = self.picked.as_ref();
        picked.is_none_or(|picked| picked.turns.binary_search(&turn).is_ok())
    }

    /// The chunk with those of its turns that are in `picked`; `None` where none is.
    fn only(&self, picked: &[u64], first: u64) -> Option<Self> {
        let turns = picked
            .iter()
            .filter_map(|turn| u32::try_from(turn - first).ok());
        let turns = turns.collect::<Vec<_>>();
        let count = u32::try_from(turns.len()).ok().filter(|count| *count > 0)?;
        let is_part = count < self.turns;
        Some(Self {
            turns: count,
            picked: is_part.then_some(Picked {
                turns,
                of: self.turns,
            }),
            ..self.clone()
        })
    }
}

impl Manifest {
    /// The version of the file that it describes.
    pub fn version(&self) -> Version {
        Version {
            etag: self.source.etag.clone(),
            length: self.source.length,
        }
    }

    /// What `pilot` labels of it: the turns with these numbers in the bucket, counted from 0, in increasing
    /// order.
    #[must_use]
    pub fn only(&self, picked: &[u64], pilot: &Pilot) -> Self {
        let (mut first, mut rest) = (0, picked);
        let mut chunks = Vec::new();
        for chunk in &self.chunks {
            let end = first + u64::from(chunk.turns);
            let (inside, after) = rest.split_at(rest.partition_point(|turn| *turn < end));
            chunks.extend(chunk.only(inside, first));
            (first, rest) = (end, after);
        }
        Self {
            turns: chunks.iter().map(|chunk| u64::from(chunk.turns)).sum(),
            chunks,
            pilot: Some(pilot.clone()),
            of_turns: Some(self.turns),
            ..self.clone()
        }
    }

    /// Which bucket it is.
    pub fn name(&self) -> BucketName {
        BucketName {
            split: self.split.clone(),
            bucket: self.bucket.clone(),
        }
    }
}

/// When a chunk is full, and how long a conversation may be. A chunk always holds whole conversations, so one may be larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Turns, so that a chunk is minutes of work and a lost one is no loss.
    pub turns: u32,
    /// Bytes, so that a chunk fits in memory many times.
    pub bytes: u64,
    /// Bytes of one conversation; a longer one counts as broken.
    pub conversation: usize,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            turns: 128,
            bytes: 4 << 20,
            conversation: MAX_CONVERSATION_BYTES,
        }
    }
}

/// Cuts a sequence of conversations into chunks as they come.
#[derive(Debug)]
pub struct Cutter {
    limits: ChunkLimits,
    open: Option<Chunk>,
    chunks: Vec<Chunk>,
}

impl Cutter {
    /// A cutter that closes chunks at `limits`.
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            open: None,
            chunks: Vec::new(),
        }
    }

    /// Takes the next conversation that can be read.
    pub fn conversation(&mut self, number: u64, bytes: Range<u64>, turns: u32) {
        let fits = self.open.as_ref().is_some_and(|chunk| {
            chunk.turns.saturating_add(turns) <= self.limits.turns
                && bytes.end.saturating_sub(chunk.bytes.start) <= self.limits.bytes
        });
        if !fits {
            self.close();
        }
        let chunk = self.open.get_or_insert_with(|| Chunk {
            bytes: bytes.clone(),
            first_conversation: number,
            conversations: 0,
            turns: 0,
            picked: None,
        });
        chunk.bytes.end = bytes.end;
        chunk.conversations += 1;
        chunk.turns += turns;
    }

    /// Ends the open chunk, as before a conversation that cannot be read: a chunk holds none.
    pub fn close(&mut self) {
        self.chunks.extend(self.open.take());
    }

    /// The chunks.
    pub fn finish(mut self) -> Vec<Chunk> {
        self.close();
        self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_broken_conversation_lies_between_chunks() {
        let mut cutter = Cutter::new(ChunkLimits::default());
        cutter.conversation(0, 1..10, 3);
        cutter.close();
        cutter.conversation(2, 20..30, 4);
        cutter.conversation(3, 32..40, 1);
        let chunks = cutter.finish();
        let bytes = chunks
            .iter()
            .map(|chunk| chunk.bytes.clone())
            .collect::<Vec<_>>();
        assert_eq!(bytes, [1..10, 20..40]);
        assert_eq!((chunks[1].first_conversation, chunks[1].turns), (2, 5));
    }

    #[test]
    fn a_pilot_keeps_the_chunks_that_have_turns_of_it() {
        use crate::dataset::pilot::Selection;
        let mut cutter = Cutter::new(ChunkLimits {
            turns: 4,
            ..ChunkLimits::default()
        });
        for number in 0..5 {
            cutter.conversation(number, number * 10..number * 10 + 9, 2);
        }
        let manifest = Manifest {
            turns: 10,
            chunks: cutter.finish(),
            ..Manifest::default()
        };
        let pilot = Pilot {
            name: "p".into(),
            selection: Selection::First { limit: 1 },
            of_turns: 10,
        };
        let part = manifest.only(&[1, 2, 8, 9], &pilot);
        assert_eq!((part.turns, part.of_turns), (4, Some(10)));
        let picked = part.chunks.iter().map(|chunk| chunk.picked.clone());
        let first = Picked {
            turns: vec![1, 2],
            of: 4,
        };
        assert_eq!(picked.collect::<Vec<_>>(), [Some(first), None]);
        assert_eq!(part.chunks[1].first_conversation, 4);
        let labels = (0..4).map(|turn| part.chunks[0].labels(turn));
        assert_eq!(labels.collect::<Vec<_>>(), [false, true, true, false]);
        assert!(part.chunks[1].labels(1));
        assert_eq!(part.chunks[0].all_turns(), 4);
        assert_eq!(manifest.only(&[], &pilot).chunks, []);
    }

    proptest! {
        #[test]
        fn chunks_hold_everything_once_and_keep_their_limits(
            conversations in prop::collection::vec((1_u32..40, 1_u64..900), 0..200),
        ) {
            let limits = ChunkLimits { turns: 64, bytes: 2000, ..ChunkLimits::default() };
            let mut cutter = Cutter::new(limits);
            let mut offset = 1;
            for (number, &(turns, length)) in conversations.iter().enumerate() {
                cutter.conversation(number as u64, offset..offset + length, turns);
                offset += length + 2;
            }
            let chunks = cutter.finish();
            let total: u32 = chunks.iter().map(|chunk| chunk.turns).sum();
            prop_assert_eq!(total, conversations.iter().map(|(turns, _)| turns).sum::<u32>());
            let mut next = 0;
            for chunk in &chunks {
                prop_assert_eq!(chunk.first_conversation, next);
                next += u64::from(chunk.conversations);
                let alone = chunk.conversations == 1;
                prop_assert!(alone || chunk.turns <= limits.turns);
                prop_assert!(alone || chunk.bytes.end - chunk.bytes.start <= limits.bytes);
            }
            prop_assert_eq!(next, conversations.len() as u64);
        }
    }
}
