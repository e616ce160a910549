//! What a run says of itself: the metadata of its labelled dataset.

use super::manifest::Manifest;
use super::places::Places;
use super::publish;
use super::settings::{Method, Pinned};
use crate::dataset::figures::Figures;
use crate::dataset::metadata::{BucketReport, Cost, LabelingMetadata, Spending, Status};
use crate::teacher::model::Price;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The metadata of a labelled dataset as this program writes it.
pub type Metadata = LabelingMetadata<Method>;

/// A bucket that was published, and in which round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// The round.
    pub round: u32,
    #[serde(flatten)]
    /// How it came out.
    pub report: BucketReport,
}

impl Published {
    /// Whether nothing of the bucket is left to be done in `round`.
    pub fn is_settled(&self, round: u32) -> bool {
        self.round == round || self.report.figures.failed == 0
    }
}

/// The metadata of a run whose `buckets` are as far as their reports say.
pub fn metadata<'a>(
    places: &Places,
    pinned: &Pinned,
    buckets: impl Iterator<Item = (&'a Manifest, Option<&'a Published>)>,
    warnings: &[String],
    price: Option<Price>,
    spending: Spending,
) -> Metadata {
    let mut totals = Figures::default();
    let mut splits = BTreeMap::<String, BTreeMap<String, BucketReport>>::new();
    for (manifest, published) in buckets {
        // Until its failed turns are done, a bucket is what it was.
        let report = published.map_or_else(
            || publish::pending(manifest),
            |published| published.report.clone(),
        );
        totals += &report.figures;
        let key = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        let split = splits.entry(key(&manifest.split)).or_default();
        split.insert(key(&manifest.bucket), report);
    }
    let reports = || splits.values().flat_map(BTreeMap::values);
    let pending = reports().any(|report| report.published.is_none());
    let all = |status| reports().all(|report| report.status == status);
    let status = if all(Status::Complete) {
        Status::Complete
    } else if all(Status::Failed) {
        Status::Failed
    } else {
        Status::Partial
    };
    let mut warnings = warnings.to_vec();
    if pinned.restarted && pending {
        warnings.push(
            "The run was started over: a labelled file of a bucket that is not published yet is \
             that of an earlier run."
                .into(),
        );
    }
    let completed = reports().map(|report| report.published).max().flatten();
    LabelingMetadata {
        status,
        source_dataset: places.source.clone(),
        labeled_dataset: places.labeled.clone(),
        started: pinned.started,
        completed: completed.filter(|_| !pending),
        tool: concat!("softlabel ", env!("CARGO_PKG_VERSION")).into(),
        settings: pinned.method.clone(),
        cost_usd: Cost::from(price.map(|price| price.of(totals.tokens))),
        spending,
        totals,
        splits,
        warnings,
    }
}
