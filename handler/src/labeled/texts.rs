//! What was said in the turns of a bucket, read beside its rows.

use super::{Bucket, ReadError, Row};
use crate::dataset::conversation::{Conversation, Format, ParseError};
use crate::dataset::scanner::{Accept, Found, Scanner};
use crate::store::{RawFolder, StoreError};
use bytes::Bytes;
use std::fmt;
use tokio::sync::mpsc;

/// As long as a conversation may ever be.
const LONGEST: usize = 1024 << 20;

/// Reads the conversations of a file in its format.
#[derive(Clone, Copy)]
struct Read(Format);

impl Accept<Conversation> for Read {
    fn accept(&mut self, bytes: &[u8], _: bool) -> Result<Conversation, ParseError> {
        Conversation::read(bytes, self.0)
    }

    fn may_be_a_file(&self) -> bool {
        self.0.may_be_a_file()
    }
}

/// What was said in a turn, half surrogate pairs as U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What the user wrote in that turn.
    pub message: String,
    /// The turns before it, the oldest first: what the user wrote and what the model answered.
    pub context: Vec<(String, Option<String>)>,
}

/// The texts of a bucket, in the order of RAW. Memory holds a conversation and a block.
pub struct Texts {
    place: String,
    format: Format,
    blocks: mpsc::Receiver<Result<Bytes, StoreError>>,
    scanner: Scanner<Conversation, Read>,
    ended: bool,
    /// The conversation that was read last, with its number.
    current: Option<(u64, Conversation)>,
    /// The next turn in it, for rows that do not know where they stand.
    next: usize,
    with_context: bool,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Texts {
    /// Opens the file of `raw` that `bucket` was labelled from.
    ///
    /// # Errors
    /// If it cannot be read, or is another one by its length.
    pub async fn open(
        raw: &RawFolder,
        bucket: &Bucket,
        with_context: bool,
    ) -> Result<Self, ReadError> {
        let source = &bucket.report.source;
        let place = raw.locate(&source.path);
        let (version, blocks) = raw.blocks(&source.path, None).await?;
        if version.length != source.length {
            let reason = format!("it has {} bytes, and had {}", version.length, source.length);
            return Err(ReadError::OtherRaw { place, reason });
        }
        Ok(Self {
            place,
            format: bucket.report.format,
            blocks,
            scanner: Scanner::new(Read(bucket.report.format)).with_max_conversation_bytes(LONGEST),
            ended: false,
            current: None,
            next: 0,
            with_context,
        })
    }

    /// What was said in the turn of `row`. Rows come in their order; some may be left out where they know
    /// where they stand.
    ///
    /// # Errors
    /// If RAW cannot be read, or does not have that turn.
    pub async fn of(&mut self, row: &Row) -> Result<Said, ReadError> {
        match row.place() {
            Some((position, turn)) => {
                while self
                    .current
                    .as_ref()
                    .is_none_or(|(number, _)| *number < position)
                {
                    if !self.advance().await? {
                        break;
                    }
                }
                self.next = turn as usize;
            }
            None => {
                let is_over = |texts: &Self| {
                    let turns = texts
                        .current
                        .as_ref()
                        .map(|(_, current)| current.turns.len());
                    turns.is_none_or(|turns| texts.next >= turns)
                };
                while is_over(self) && self.advance().await? {}
            }
        }
        let at = self.next;
        self.next += 1;
        let found = self.current.as_ref().and_then(|(_, conversation)| {
            let turn = conversation.turns.get(at)?;
            // Generated ids are not in RAW, and depend on its name, which may have changed.
            let is =
                |raw: &str, ours: &str| raw == ours || raw.is_empty() && self.format.makes_ids();
            let same = is(&conversation.id, &row.label.conversation_id)
                && is(&turn.message_id, &row.label.message_id);
            same.then_some((conversation, turn))
        });
        let Some((conversation, turn)) = found else {
            return Err(ReadError::OtherRaw {
                place: self.place.clone(),
                reason: format!("the turn of line {} is not where it was", row.number + 1),
            });
        };
        let before = conversation
            .turns
            .iter()
            .take(at)
            .filter(|_| self.with_context);
        let before = before.map(|turn| (turn.user_message.clone(), turn.model_message.clone()));
        Ok(Said {
            message: turn.user_message.clone(),
            context: before.collect(),
        })
    }

    /// Skips `row`, whose text is not wanted.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub async fn pass_over(&mut self, row: &Row) -> Result<(), ReadError> {
        match row.place() {
            Some(_) => Ok(()),
            None => self.of(row).await.map(drop),
        }
    }

    /// Reads the next conversation; `false` after the last one.
    async fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            while let Some(found) = self.scanner.next() {
                if let Found::Conversation { number, value, .. } = found {
                    self.current = Some((number, value));
                    self.next = 0;
                    return Ok(true);
                }
            }
            if self.ended {
                return Ok(false);
            }
            match self.blocks.recv().await {
                Some(block) => self.scanner.push(&block?),
                None => {
                    self.scanner.finish();
                    self.ended = true;
                }
            }
        }
    }
}

/// What was said in some turns of a bucket, which come in their order.
///
/// # Errors
/// As [`Texts::of`].
pub async fn said(
    raw: &RawFolder,
    bucket: &Bucket,
    wanted: &[Row],
) -> Result<Vec<String>, ReadError> {
    let mut texts = Texts::open(raw, bucket, false).await?;
    let mut said = Vec::new();
    if wanted.iter().all(|row| row.place().is_some()) {
        for row in wanted {
            said.push(texts.of(row).await?.message);
        }
        return Ok(said);
    }
    let (mut rows, mut wanted) = (bucket.rows().await?, wanted.iter().peekable());
    while let Some(next) = wanted.peek() {
        let Some(row) = rows.next().await? else {
            break;
        };
        if row.number < next.number {
            texts.pass_over(&row).await?;
            continue;
        }
        said.push(texts.of(&row).await?.message);
        wanted.next();
    }
    Ok(said)
}
