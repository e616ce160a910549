//! A labelled output on this machine: its metadata, and its turns line by line.

use crate::dataset::details::Details;
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::{BucketReport, LabelingMetadata};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

/// The metadata of a labelled output, with whatever settings it names.
type Metadata = LabelingMetadata<Map<String, Value>>;

/// Why an output cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(
        "{place} is not a labelled output ({reason}); give the folder of a labelled dataset, \
         LABELED_DATASET, or a single labelled file"
    )]
    None { place: String, reason: String },
    #[error("{place} is a folder of labelled datasets; give one of them, such as {one}")]
    Around { place: String, one: String },
    #[error(
        "{place} cannot be read: {reason}; run the same label command again, which rewrites it"
    )]
    Damaged { place: String, reason: String },
    #[error(
        "{place} is not the file that was labelled: {reason}; give the RAW data of these labels"
    )]
    OtherRaw { place: String, reason: String },
}

/// A labelled dataset, a pilot or the labelled file of a single one.
#[derive(Debug)]
pub struct Output {
    pub metadata: Metadata,
    pub buckets: Vec<Bucket>,
}

#[derive(Clone, Debug)]
pub struct Bucket {
    pub name: BucketName,
    pub report: BucketReport,
    labels: PathBuf,
    details: PathBuf,
}

/// A turn's labelled line, and what its details say of where it stands.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// Number of the line, counted from 0.
    #[serde(skip)]
    pub number: u32,
    #[serde(rename = "conversationId")]
    pub conversation_id: String,
    #[serde(rename = "messageId")]
    pub message_id: String,
    pub hard_label: Option<u8>,
    pub soft_label: Option<f64>,
    #[serde(skip)]
    pub place: Option<(u64, u32)>,
}

impl Output {
    /// Reads the metadata of the output at `path`.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        let none = |reason: String| OutputError::None {
            place: path.display().to_string(),
            reason,
        };
        let kind = std::fs::metadata(path).map_err(|error| none(error.to_string()))?;
        let folder = match kind.is_dir() {
            true => path.to_owned(),
            false => {
                let mut work = path.as_os_str().to_owned();
                work.push(".softlabel");
                work.into()
            }
        };
        let file = folder.join(layout::LABELED_METADATA);
        let content = match std::fs::read(&file) {
            Ok(content) => content,
            Err(_) if kind.is_dir() => return Err(around(path, none)),
            Err(error) => return Err(none(format!("{}: {error}", file.display()))),
        };
        let metadata = serde_json::from_slice::<Metadata>(&content);
        let metadata = metadata.map_err(|error| OutputError::Damaged {
            place: file.display().to_string(),
            reason: error.to_string(),
        })?;
        let mut buckets = Vec::new();
        for (split, in_split) in &metadata.splits {
            for (bucket, report) in in_split {
                let key = |key: &String| (key != "-").then(|| key.clone());
                let name = BucketName {
                    split: key(split),
                    bucket: key(bucket),
                };
                let (labels, details) = match kind.is_dir() {
                    true => (
                        folder.join(layout::labeled_path(&name)),
                        folder.join(layout::details_path(&name)),
                    ),
                    false => (path.to_owned(), folder.join(layout::LONE_DETAILS)),
                };
                buckets.push(Bucket {
                    name,
                    report: report.clone(),
                    labels,
                    details,
                });
            }
        }
        Ok(Self { metadata, buckets })
    }
}

/// Names a labelled dataset in the folder, if one is there.
fn around(folder: &Path, none: impl Fn(String) -> OutputError) -> OutputError {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let inside = entries.map(|entry| entry.path());
    let inside = inside.filter(|path| path.join(layout::LABELED_METADATA).is_file());
    match inside.min() {
        Some(one) => OutputError::Around {
            place: folder.display().to_string(),
            one: one.display().to_string(),
        },
        None => none(format!("it holds no {}", layout::LABELED_METADATA)),
    }
}

impl Bucket {
    /// Its turns, in the order of RAW; none where it is not published.
    ///
    /// # Errors
    /// If its files cannot be opened.
    pub fn rows(&self) -> Result<Rows, OutputError> {
        let (labels, details) = match self.report.published {
            None => (None, None),
            Some(_) => (
                Some(opened(&self.labels)?),
                match self.report.details_file.is_some() && self.details.exists() {
                    true => Some(opened(&self.details)?),
                    false => None,
                },
            ),
        };
        Ok(Rows {
            place: self.labels.display().to_string(),
            labels,
            details,
            number: 0,
        })
    }
}

fn opened(path: &Path) -> Result<BufReader<File>, OutputError> {
    let file = File::open(path).map_err(|error| OutputError::Damaged {
        place: path.display().to_string(),
        reason: match error.kind() {
            ErrorKind::NotFound => "it is not there".to_owned(),
            _ => error.to_string(),
        },
    });
    file.map(BufReader::new)
}

/// The turns of a bucket, one after the other.
#[derive(Debug)]
pub struct Rows {
    place: String,
    labels: Option<BufReader<File>>,
    details: Option<BufReader<File>>,
    number: u32,
}

impl Rows {
    /// The next turn; `None` after the last one.
    ///
    /// # Errors
    /// If a line cannot be read, or the details are those of other lines.
    pub fn next(&mut self) -> Result<Option<Row>, OutputError> {
        let Some(labels) = &mut self.labels else {
            return Ok(None);
        };
        let number = self.number;
        let damaged = |reason: &str| OutputError::Damaged {
            place: format!("{}, line {}", self.place, u64::from(number) + 1),
            reason: reason.to_owned(),
        };
        let mut line = Vec::new();
        let read = |from: &mut BufReader<File>, line: &mut Vec<u8>| from.read_until(b'\n', line);
        if read(labels, &mut line).map_err(|error| damaged(&error.to_string()))? == 0 {
            return Ok(None);
        }
        let mut row = serde_json::from_slice::<Row>(&line)
            .map_err(|_| damaged("it is not a labelled line"))?;
        row.number = number;
        if let Some(details) = &mut self.details {
            line.clear();
            read(details, &mut line).map_err(|error| damaged(&error.to_string()))?;
            let details = serde_json::from_slice::<Details<'_>>(&line).ok();
            let details = details.filter(|it| {
                it.conversation_id == row.conversation_id && it.message_id == row.message_id
            });
            let details =
                details.ok_or_else(|| damaged("its details are those of another line"))?;
            row.place = details.position.zip(details.turn);
        }
        self.number += 1;
        Ok(Some(row))
    }
}
