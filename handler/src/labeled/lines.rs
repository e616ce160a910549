//! A file of ours, line by line.

use crate::store::{RawFolder, StoreError};
use bytes::Bytes;
use std::ops::Range;
use tokio::sync::mpsc;

/// The lines of a file as its blocks come. Memory holds a line and a block.
#[derive(Debug)]
pub(super) struct Lines {
    blocks: mpsc::Receiver<Result<Bytes, StoreError>>,
    held: Vec<u8>,
    /// Where the next line begins in `held`.
    at: usize,
}

impl Lines {
    pub(super) async fn open(folder: &RawFolder, path: &str) -> Result<Self, StoreError> {
        let (_, blocks) = folder.blocks(path, None).await?;
        Ok(Self {
            blocks,
            held: Vec::new(),
            at: 0,
        })
    }

    /// The next line, without its end; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, StoreError> {
        let mut searched = self.at;
        loop {
            let rest = self.held.get(searched..).unwrap_or_default();
            if let Some(length) = memchr::memchr(b'\n', rest) {
                let end = searched + length;
                return Ok(self.take(self.at..end, end + 1));
            }
            searched = self.held.len();
            match self.blocks.recv().await {
                Some(block) => {
                    self.held.drain(..self.at);
                    searched -= self.at;
                    self.at = 0;
                    self.held.extend_from_slice(&block?);
                }
                None if self.at < self.held.len() => {
                    return Ok(self.take(self.at..searched, searched));
                }
                None => return Ok(None),
            }
        }
    }

    fn take(&mut self, line: Range<usize>, next: usize) -> Option<&[u8]> {
        self.at = next;
        self.held.get(line)
    }
}
