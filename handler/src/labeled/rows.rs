//! One turn after the other, with its label and its details.

use super::ReadError;
use super::lines::Lines;
use crate::dataset::details::Details;
use crate::dataset::layout::BucketName;
use crate::dataset::line::LabelingError;
use crate::run::publish::{SoFar, Texts};
use crate::store::RawFolder;
use serde::Deserialize;
use std::collections::VecDeque;

/// What a labelled line says, and what its details do.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the line in its bucket, counted from 0; of those that are there, where it is not published.
    pub number: u64,
    /// The labelled line itself.
    pub label: Label,
    /// Files of an earlier version have no details.
    pub details: Option<Details<'static>>,
}

/// A labelled line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Label {
    /// The conversation's id, as in RAW or generated; empty where there is none.
    #[serde(rename = "conversationId")]
    pub conversation_id: String,
    /// The id of the user's message, as in RAW or generated; empty where there is none.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// The split, from RAW's path; `None` where unknown.
    pub split: Option<String>,
    /// The bucket, from RAW's path; `None` where unknown.
    pub bucket: Option<String>,
    /// 0 or 1.
    pub hard_label: Option<u8>,
    /// In [0, 1].
    pub soft_label: Option<f64>,
    /// Why the hard label fits; `None` where rationales are off or this one failed.
    pub rationale: Option<String>,
    /// Why there is no label; `None` for a labelled turn.
    pub labeling_error: Option<LabelingError>,
}

impl Label {
    /// Reads a line; says why it is no labelled one.
    fn read(line: &[u8]) -> Result<Self, String> {
        let label = serde_json::from_slice::<Self>(line).map_err(|error| error.to_string())?;
        if label.hard_label.is_some_and(|hard| hard > 1) {
            return Err("its hard_label is neither 0 nor 1".into());
        }
        if label
            .soft_label
            .is_some_and(|soft| !(0.0..=1.0).contains(&soft))
        {
            return Err("its soft_label is not between 0 and 1".into());
        }
        Ok(label)
    }
}

/// The rows of a bucket, one after the other.
#[derive(Debug)]
pub struct Rows {
    name: BucketName,
    number: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Published {
        labels: Lines,
        details: Option<Lines>,
        place: String,
    },
    SoFar {
        so_far: Box<SoFar>,
        ready: VecDeque<(Label, Details<'static>)>,
    },
    Nothing,
}

impl Rows {
    pub(super) async fn published(
        name: BucketName,
        (folder, path): &(RawFolder, String),
        (details_folder, details_path): &(RawFolder, String),
    ) -> Result<Self, ReadError> {
        let details = match details_path.is_empty() {
            true => None,
            false => match Lines::open(details_folder, details_path).await {
                Ok(details) => Some(details),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self {
            name,
            number: 0,
            source: Source::Published {
                labels: Lines::open(folder, path).await?,
                details,
                place: folder.locate(path),
            },
        })
    }

    pub(super) fn so_far(name: BucketName, so_far: SoFar) -> Self {
        Self {
            name,
            number: 0,
            source: Source::SoFar {
                so_far: Box::new(so_far),
                ready: VecDeque::new(),
            },
        }
    }

    pub(super) fn nothing(name: BucketName) -> Self {
        Self {
            name,
            number: 0,
            source: Source::Nothing,
        }
    }

    /// Which bucket this is.
    pub fn name(&self) -> &BucketName {
        &self.name
    }

    /// The next row; `None` after the last one.
    ///
    /// # Errors
    /// If a line cannot be read, or the details are those of other lines.
    pub async fn next(&mut self) -> Result<Option<Row>, ReadError> {
        let number = self.number;
        let found = match &mut self.source {
            Source::Nothing => None,
            Source::Published {
                labels,
                details,
                place,
            } => {
                let damaged = |reason: String| ReadError::Damaged {
                    place: format!("{place}, line {}", number + 1),
                    reason,
                };
                let Some(line) = labels.next().await? else {
                    return Ok(None);
                };
                let label = Label::read(line).map_err(damaged)?;
                let details = match details {
                    None => None,
                    Some(details) => {
                        let line = details.next().await?.unwrap_or_default();
                        let read = serde_json::from_slice::<Details<'static>>(line);
                        let details = read.ok().filter(|details| {
                            details.conversation_id == label.conversation_id
                                && details.message_id == label.message_id
                        });
                        let other = || damaged("its details are those of another line".into());
                        Some(details.ok_or_else(other)?)
                    }
                };
                Some((label, details))
            }
            Source::SoFar { so_far, ready } => {
                while ready.is_empty() {
                    let Some(Texts { labels, details }) = so_far.next().await? else {
                        break;
                    };
                    let lines = |text: &[u8]| {
                        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
                        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>()
                    };
                    for (label, details) in lines(&labels).iter().zip(lines(&details)) {
                        let read = serde_json::from_slice(label)
                            .and_then(|label| Ok((label, serde_json::from_slice(&details)?)));
                        ready.extend(read.ok());
                    }
                }
                let next = ready.pop_front();
                next.map(|(label, details)| (label, Some(details)))
            }
        };
        self.number += 1;
        Ok(found.map(|(label, details)| Row {
            number,
            label,
            details,
        }))
    }
}

impl Row {
    /// Where its turn stands in RAW, where that is known: its conversation and its number there, both
    /// counted from 0.
    pub fn place(&self) -> Option<(u64, u32)> {
        let details = self.details.as_ref()?;
        Some((details.position?, details.turn?))
    }
}
