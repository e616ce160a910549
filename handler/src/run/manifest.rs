//! A bucket's manifest: what its file is and into which chunks it is cut.

use crate::dataset::conversation::Format;
use crate::dataset::layout::BucketName;
use crate::dataset::metadata::{BrokenConversation, IdSources, SourceFile};
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
    /// Their turns.
    pub turns: u64,
    /// The chunks, in the order of the file.
    pub chunks: Vec<Chunk>,
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
    /// Its turns.
    pub turns: u32,
}

impl Manifest {
    /// The version of the file that it describes.
    pub fn version(&self) -> Version {
        Version {
            etag: self.source.etag.clone(),
            length: self.source.length,
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
