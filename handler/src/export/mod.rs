//! A labelled dataset in other shapes: a row a turn as Parquet, CSV or JSON Lines, or tasks for Label Studio.
//!
//! Rows are written as they are read, so that memory does not grow with the dataset.

mod columns;
mod label_studio;
#[cfg(feature = "parquet")]
mod parquet;
mod table;

pub use columns::{Origin, Turn};

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::Xxh3Default;

/// The shape of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns with types, compressed by zstd: for training.
    Parquet,
    /// For spreadsheets.
    Csv,
    /// One object a line.
    Jsonl,
    /// A JSON array of tasks with predictions, to be imported.
    LabelStudio,
}

/// Why an export cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// This executable cannot write that.
    #[error(
        "this build of softlabel writes no Parquet; build it with the feature parquet, or export csv or jsonl"
    )]
    NoParquet,
    /// The rows cannot be put into that shape.
    #[error("the rows cannot be written as {format}: {reason}")]
    Write {
        /// The shape.
        format: &'static str,
        /// Why.
        reason: String,
    },
}

impl ExportError {
    fn write(format: &'static str, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self::Write { format, reason }
    }
}

/// What was written and not yet taken.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes rows and gives bytes.
pub trait Sheet: Send {
    /// Adds a row; what of it is ready to be written is appended to `out`.
    ///
    /// # Errors
    /// If it does not fit into the shape.
    fn add(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), ExportError>;

    /// Appends what is left.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<(), ExportError>;
}

/// How rows are written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The shape of what is written.
    pub format: Format,
    /// With the column of messages.
    pub with_text: bool,
    /// With the column of the turns before.
    pub with_context: bool,
    /// Cells that a spreadsheet would take for a formula are left as they are.
    pub exact: bool,
}

/// An empty sheet.
///
/// # Errors
/// If this executable cannot write that shape.
pub fn sheet(options: Options) -> Result<Box<dyn Sheet>, ExportError> {
    Ok(match options.format {
        Format::Csv => Box::new(table::Csv::new(options)?),
        Format::Jsonl => Box::new(table::Jsonl::new(options)),
        Format::LabelStudio => Box::new(label_studio::Tasks::default()),
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(parquet::Parquet::new(options)?),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => return Err(ExportError::NoParquet),
    })
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only rows whose soft label is in this range.
    pub uncertain: Option<RangeInclusive<f64>>,
    /// The greatest draw of a row that is taken, where not all are.
    pub sample: Option<u64>,
}

impl Choice {
    /// Whether a row is wanted that has this soft label.
    pub fn takes(&self, soft_label: Option<f64>, draw: u64) -> bool {
        let certain =
            |range: &RangeInclusive<f64>| soft_label.is_none_or(|soft| !range.contains(&soft));
        !self.uncertain.as_ref().is_some_and(certain)
            && self.sample.is_none_or(|greatest| draw <= greatest)
    }
}

/// A number that belongs to a line for good, and is evenly distributed: a sample is the lines with the
/// smallest ones, so that the same dataset gives the same sample.
pub fn draw(bucket: &str, number: u64) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(bucket.as_bytes());
    hash.update(&number.to_le_bytes());
    hash.digest()
}

/// Parses `0.2..0.8`.
///
/// # Errors
/// A sentence, if that is no such range.
pub fn parse_range(text: &str) -> Result<RangeInclusive<f64>, String> {
    let bounds = text.split_once("..").and_then(|(low, high)| {
        let high = high.strip_prefix('=').unwrap_or(high);
        Some((
            low.trim().parse::<f64>().ok()?,
            high.trim().parse::<f64>().ok()?,
        ))
    });
    match bounds {
        Some((low, high)) if 0.0 <= low && low <= high && high <= 1.0 => Ok(low..=high),
        _ => Err(format!(
            "{text:?} is no range of soft labels; write two numbers from 0 to 1, such as 0.2..0.8"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_in_order() {
        assert_eq!(parse_range("0.2..0.8"), Ok(0.2..=0.8));
        assert_eq!(parse_range("0..1"), Ok(0.0..=1.0));
        for wrong in [
            "0.2", "0.8..0.2", "-1..0.5", "0.2..NaN", "a..b", "..", "0.2..1.2",
        ] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_turn_without_a_label_is_not_uncertain() {
        let choice = Choice {
            uncertain: Some(0.2..=0.8),
            sample: Some(10),
        };
        assert!(choice.takes(Some(0.2), 10) && !choice.takes(Some(0.1), 0));
        assert!(!choice.takes(None, 0) && !choice.takes(Some(0.5), 11));
        assert!(Choice::default().takes(None, u64::MAX));
    }
}
