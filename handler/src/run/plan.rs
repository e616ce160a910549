//! Planning: one pass over a bucket file that finds its conversations and cuts it into chunks.
//!
//! It reads the file to its end, so a file that is cut off is known before a call is paid for. It
//! writes nothing, and the same bytes give the same manifest, so it is safe to run twice.

use super::manifest::{ChunkLimits, Cutter, Manifest};
use super::progress::Progress;
use crate::dataset::conversation::{Counted, Format, Reader};
use crate::dataset::metadata::{BrokenConversation, IdSources, SourceFile};
use crate::dataset::scanner::{Found, ScanError, Scanner};
use crate::store::{RawFile, RawFolder, StoreError, Version};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;
use xxhash_rust::xxh3::Xxh3Default;

/// Broken conversations that a manifest lists; all of them are counted.
const LISTED_BROKEN: usize = 1000;

/// Why a file cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is no dataset, or not a whole one. The manifest of what is intact is there all the same.
    #[error("{path}: {error}")]
    Scan {
        /// The file.
        path: String,
        /// What is wrong, and where.
        error: ScanError,
        /// What is intact.
        intact: Box<Manifest>,
    },
}

/// Plans the bucket file `file`, in that `version` where one is given.
///
/// # Errors
/// If the file cannot be read, is no dataset, or is cut off.
pub async fn plan(
    raw: &RawFolder,
    file: &RawFile,
    version: Option<&Version>,
    limits: ChunkLimits,
    progress: &Arc<Progress>,
) -> Result<Manifest, PlanError> {
    let (version, blocks) = raw.blocks(&file.path, version).await?;
    let (file, progress) = (file.clone(), Arc::clone(progress));
    let shown = raw.locate(&file.path);
    let scanned = tokio::task::spawn_blocking(move || {
        let outline = Outline::new(file, version, limits);
        outline.read(blocks, &progress)
    });
    let (manifest, end) = match scanned.await {
        Ok(result) => result?,
        // The task neither panics nor is cancelled, except when the process ends.
        Err(error) => return Err(StoreError::broken_off("scan", shown, error).into()),
    };
    match end {
        Ok(()) => Ok(manifest),
        Err(error) => Err(PlanError::Scan {
            path: shown,
            error,
            intact: Box::new(manifest),
        }),
    }
}

/// A manifest in the making.
struct Outline {
    manifest: Manifest,
    cutter: Cutter,
    ids: IdSources,
    longest: usize,
    hash: Xxh3Default,
}

impl Outline {
    fn new(file: RawFile, version: Version, limits: ChunkLimits) -> Self {
        let manifest = Manifest {
            split: file.name.split,
            bucket: file.name.bucket,
            source: SourceFile {
                path: file.path,
                etag: version.etag,
                length: version.length,
                fingerprint: String::new(),
            },
            format: Format::default(),
            ids: None,
            pilot: None,
            of_turns: None,
            conversations: 0,
            turns: 0,
            chunks: Vec::new(),
            broken_conversations: 0,
            broken: Vec::new(),
            salvaged: None,
        };
        Self {
            manifest,
            cutter: Cutter::new(limits),
            ids: IdSources::default(),
            longest: limits.conversation,
            hash: Xxh3Default::new(),
        }
    }

    /// Reads to the end; the manifest holds what is intact, whatever the end is.
    fn read(
        mut self,
        mut blocks: Receiver<Result<Bytes, StoreError>>,
        progress: &Progress,
    ) -> Result<(Manifest, Result<(), ScanError>), StoreError> {
        let mut scanner = Scanner::new(Reader::default()).with_max_conversation_bytes(self.longest);
        while let Some(block) = blocks.blocking_recv() {
            let block = block?;
            progress.scanned(block.len() as u64);
            self.hash.update(&block);
            scanner.push(&block);
            while let Some(found) = scanner.next() {
                self.take(found);
            }
            // What is no dataset need not be read to its end.
            if !scanner.wants_more() {
                break;
            }
        }
        scanner.finish();
        while let Some(found) = scanner.next() {
            self.take(found);
        }
        let end = scanner.outcome().map(|_| ());
        let Self {
            mut manifest,
            cutter,
            ids,
            hash,
            ..
        } = self;
        manifest.format = scanner.acceptance().format().unwrap_or_default();
        manifest.ids = manifest.format.makes_ids().then_some(ids);
        manifest.chunks = cutter.finish();
        manifest.source.fingerprint = format!("{:032x}", hash.digest128());
        Ok((manifest, end))
    }

    fn take(&mut self, found: Found<'_, Counted>) {
        match found {
            Found::Conversation {
                number,
                range,
                value:
                    Counted {
                        turns,
                        id,
                        messages_without_id,
                    },
                ..
            } => {
                self.ids.add(id, turns, messages_without_id);
                self.manifest.conversations += 1;
                self.manifest.turns += u64::from(turns);
                self.cutter.conversation(number, range, turns);
            }
            Found::Broken {
                number,
                range,
                reason,
            } => {
                self.cutter.close();
                self.manifest.broken_conversations += 1;
                if self.manifest.broken.len() < LISTED_BROKEN {
                    let broken = BrokenConversation {
                        number,
                        bytes: range,
                        reason,
                    };
                    self.manifest.broken.push(broken);
                }
            }
        }
    }
}
