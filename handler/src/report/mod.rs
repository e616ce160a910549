//! The report of a labelled dataset: one HTML file that holds all it needs and loads nothing.
//!
//! Counts are those of the metadata; histograms are exact; of the turns it shows those that are worth reading
//! and a sample. Its size does not grow with the dataset, and neither does memory.

mod data;
mod page;
mod picture;
mod sample;

use crate::labeled::{Labeled, ReadError, said};
use crate::store::RawFolder;
use page::Page;
use sample::Sample;

/// What a report may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The messages, where RAW is at hand.
    pub texts: bool,
    /// The rationales.
    pub rationales: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The dataset or RAW cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The page cannot be made.
    #[error("the report cannot be made: {0}")]
    Page(#[from] askama::Error),
}

/// Makes the report, with the messages if `raw` is given.
///
/// # Errors
/// If something cannot be read.
pub async fn report(
    labeled: &mut Labeled,
    raw: Option<&RawFolder>,
    options: Options,
) -> Result<Vec<u8>, ReportError> {
    let mut sample = Sample::default();
    for (index, bucket) in labeled.buckets.iter_mut().enumerate() {
        let histogram = sample.add(index, bucket).await?;
        // Earlier versions did not count them.
        if bucket.report.figures.soft_labels != histogram {
            bucket.report.figures.soft_labels = histogram;
        }
    }
    labeled.metadata.totals.soft_labels = Default::default();
    for bucket in &labeled.buckets {
        labeled.metadata.totals.soft_labels += &bucket.report.figures.soft_labels;
    }
    let mut turns = Vec::new();
    for (index, chosen) in sample.chosen() {
        let Some(bucket) = labeled.buckets.get(index) else {
            continue;
        };
        let (rows, kinds) = chosen.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let texts = match raw.filter(|_| options.texts) {
            Some(raw) => said(raw, bucket, &rows).await?,
            None => Vec::new(),
        };
        let mut texts = texts.into_iter();
        for (row, kinds) in rows.iter().zip(kinds) {
            let text = texts.next();
            turns.push(data::turn(index, row, kinds, text.as_deref(), options));
        }
    }
    let has_texts = raw.is_some() && options.texts;
    Ok(Page::new(labeled, &turns, has_texts, options).render()?)
}
