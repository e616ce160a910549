//! What a run says of itself: the metadata of its labelled dataset.

use super::settings::Method;
use crate::dataset::figures::Figures;
use crate::dataset::layout::BucketName;
use crate::dataset::metadata::{BucketReport, Cost, LabelingMetadata, Spending, Status};
use crate::labeling::label::Label;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The metadata of a labelled dataset as this program writes it.
pub type Metadata = LabelingMetadata<Method>;

/// What stands at the head of the metadata.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The RAW dataset's name, or the file's path.
    pub source: String,
    /// The labelled dataset's name, or the file's path.
    pub labeled: String,
    /// When the first run began.
    pub started: Timestamp,
    /// How labels are made.
    pub method: Method,
}

/// The metadata of `buckets` that are as far as their reports say.
pub fn metadata(
    heading: Heading,
    buckets: Vec<(BucketName, BucketReport)>,
    warnings: Vec<String>,
    spending: Spending,
) -> Metadata {
    let mut totals = Figures::default();
    let mut splits = BTreeMap::<String, BTreeMap<String, BucketReport>>::new();
    for (name, report) in buckets {
        totals += &report.figures;
        let key = |name: Option<String>| name.unwrap_or_else(|| "-".into());
        let split = splits.entry(key(name.split)).or_default();
        split.insert(key(name.bucket), report);
    }
    let reports = || splits.values().flat_map(BTreeMap::values);
    let pending = reports().any(|report| report.published.is_none());
    // Of nothing nothing is complete, and nothing failed.
    let all = |status| !splits.is_empty() && reports().all(|report| report.status == status);
    let status = if all(Status::Complete) {
        Status::Complete
    } else if all(Status::Failed) {
        Status::Failed
    } else {
        Status::Partial
    };
    let task = Arc::clone(&heading.method.settings.task);
    let completed = reports().map(|report| report.published).max().flatten();
    let pilot = reports().find_map(|report| report.pilot.clone());
    LabelingMetadata {
        status,
        pilot,
        source_dataset: heading.source,
        labeled_dataset: heading.labeled,
        started: heading.started,
        completed: completed.filter(|_| !pending),
        tool: concat!("softlabel ", env!("CARGO_PKG_VERSION")).into(),
        task_name: task.name.clone(),
        labels: Label::BOTH
            .map(|label| (u8::from(label).to_string(), task.meaning(label).to_owned()))
            .into(),
        settings: heading.method,
        cost_usd: Cost::of(totals.tokens),
        spending,
        totals,
        splits,
        warnings,
        unread: Vec::new(),
    }
}
