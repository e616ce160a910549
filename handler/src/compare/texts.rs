//! What users wrote in some turns of a RAW file.

use super::output::{Bucket, OutputError, Row};
use crate::dataset::conversation::{Conversation, Format, ParseError};
use crate::dataset::scanner::{Accept, Found, Scanner};
use crate::store::RawFolder;
use std::collections::BTreeMap;

/// The RAW data that was labelled.
#[derive(Clone, Debug)]
pub struct Raw {
    pub folder: RawFolder,
    /// The file in it, for the labels of a single file. It may have been renamed since.
    pub file: Option<String>,
}

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

/// The messages of `rows`, which come in their order, from the file of `raw` that `bucket` was labelled from.
/// Memory holds a conversation and a block.
///
/// # Errors
/// If RAW cannot be read, or is not what was labelled.
pub(super) async fn said(
    raw: &Raw,
    bucket: &Bucket,
    rows: &[Row],
) -> Result<Vec<String>, OutputError> {
    let (source, format) = (&bucket.report.source, bucket.report.format);
    let path = raw.file.as_ref().unwrap_or(&source.path);
    let place = raw.folder.locate(path);
    let other = |reason: String| OutputError::OtherRaw {
        place: place.clone(),
        reason,
    };
    let (version, mut blocks) = raw
        .folder
        .blocks(path, None)
        .await
        .map_err(|error| other(error.to_string()))?;
    if version.length != source.length {
        let (found, was) = (version.length, source.length);
        return Err(other(format!("it has {found} bytes, and had {was}")));
    }
    let mut texts = BTreeMap::new();
    let mut scanner = Scanner::new(Read(format)).with_max_conversation_bytes(LONGEST);
    let (mut ended, mut turns) = (false, 0);
    while !ended && texts.len() < rows.len() {
        match blocks.recv().await {
            Some(block) => scanner.push(&block.map_err(|error| other(error.to_string()))?),
            None => {
                scanner.finish();
                ended = true;
            }
        }
        while let Some(found) = scanner.next() {
            let Found::Conversation { number, value, .. } = found else {
                continue;
            };
            let conversation = value.named(format, &source.path, number);
            for (turn, at) in conversation.turns.iter().zip(0..) {
                // Where places are not recorded, the lines are all turns of the file in their order.
                let is = |row: &&Row| match row.place {
                    Some(place) => place == (number, at),
                    None => u64::from(row.number) == turns,
                };
                if let Some(row) = rows.iter().find(is)
                    && row.conversation_id == conversation.id
                    && row.message_id == turn.message_id
                {
                    texts.insert(row.number, turn.user_message.clone());
                }
                turns += 1;
            }
        }
    }
    let found = rows.iter().map(|row| match texts.remove(&row.number) {
        Some(text) => Ok(text),
        None => {
            let line = u64::from(row.number) + 1;
            Err(other(format!(
                "the turn of line {line} is not where it was"
            )))
        }
    });
    found.collect()
}
