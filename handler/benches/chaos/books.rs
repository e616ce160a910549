//! What the app says of its work: the metadata agree with the files, the budget with the runs.

use crate::bucket::Bucket;
use crate::check;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::local_cloud::LocalCloud;
use softlabel_doubles::until;
use std::collections::BTreeMap;
use std::time::Duration;

/// The reconciler settles the end of a run in so long.
const SETTLED_IN: Duration = Duration::from_secs(60);

/// Sums of fractions are not exact.
const NOTHING: f64 = 1e-9;

/// Checks both, once every end is settled.
pub(crate) async fn check(cloud: &LocalCloud, buckets: &[Bucket], records: &[Value]) -> Result<()> {
    let mut active = Vec::new();
    let settled = async || {
        let marks = cloud.work().list(&cloud.in_work("active/").await?).await?;
        active = marks.into_iter().map(|mark| mark.name).collect();
        Ok(active.is_empty())
    };
    let settled = until(SETTLED_IN, "the end of every run is settled", settled).await;
    settled.with_context(|| {
        let name = |record: &Value| record.get("run").and_then(Value::as_str).map(str::to_owned);
        let left = records.iter().filter(|record| {
            name(record).is_some_and(|name| active.iter().any(|mark| mark.ends_with(&name)))
        });
        format!("marked are {active:?}: {}", json!(left.collect::<Vec<_>>()))
    })?;
    metadata(cloud, buckets).await.context("the metadata")?;
    budget(cloud, records).await.context("the budget")
}

/// What a labelled file holds, as the metadata count it.
async fn counted(cloud: &LocalCloud, bucket: &Bucket) -> Result<Value> {
    let lines = check::lines(cloud, bucket).await?;
    let lines = lines.context("there is no labelled file")?;
    let labeled = lines.iter().filter(|line| check::is_labeled(line)).count();
    let mut errors = BTreeMap::<&str, usize>::new();
    for line in &lines {
        if let Some(code) = check::error_code(line) {
            *errors.entry(code).or_default() += 1;
        }
    }
    let not_labelable = errors.get("empty_message").copied().unwrap_or_default();
    Ok(json!({
        "turns": lines.len(),
        "labeled": labeled,
        "not_labelable": not_labelable,
        "failed": lines.len() - labeled - not_labelable,
        "errors": errors,
    }))
}

async fn metadata(cloud: &LocalCloud, buckets: &[Bucket]) -> Result<()> {
    let path = cloud.path("LABELED_v4/labeling_metadata.json");
    let blob = cloud.data().get(&path).await?.context("there are none")?;
    let metadata = serde_json::from_slice::<Value>(&blob.content)?;
    let mut totals = BTreeMap::<String, u64>::new();
    for bucket in buckets {
        let (split, name) = bucket.parts();
        let said = metadata.pointer(&format!("/splits/{split}/{name}"));
        let said = said.with_context(|| format!("{} is not in them", bucket.name))?;
        let counted = counted(cloud, bucket).await?;
        for (key, value) in counted.as_object().into_iter().flatten() {
            ensure!(
                said.get(key) == Some(value),
                "{}: the file has {key} {value}, not as they say: {said}",
                bucket.name
            );
            if let Some(value) = value.as_u64() {
                *totals.entry(key.clone()).or_default() += value;
            }
        }
        let etag = said.pointer("/source/etag").and_then(Value::as_str);
        ensure!(
            said.get("status") == Some(&json!("complete"))
                && said.get("published").is_some_and(Value::is_string)
                && etag == Some(bucket.newest()?.etag.as_str()),
            "{} is labelled as RAW is now, not as they say: {said}",
            bucket.name
        );
    }
    for (key, value) in totals {
        let said = metadata.pointer(&format!("/totals/{key}"));
        ensure!(
            said == Some(&json!(value)),
            "{key} is {value} in all, not as they say: {metadata}"
        );
    }
    ensure!(
        metadata.get("status") == Some(&json!("complete"))
            && metadata.get("completed").is_some_and(Value::is_string),
        "everything is labelled, not as they say: {metadata}"
    );
    Ok(())
}

/// Of every run the budget holds what its status says that it has cost, less what is in there of the run
/// whose results it began with; nothing is reserved any more. One that did not finish its chunks may have
/// cost more: they are in the status only when they are finished.
async fn budget(cloud: &LocalCloud, records: &[Value]) -> Result<()> {
    let path = cloud.in_work("datasets/v4/budget.json").await?;
    let blob = cloud.work().get(&path).await?.context("there is none")?;
    let budget = serde_json::from_slice::<Value>(&blob.content)?;
    let shares = budget.get("runs").and_then(Value::as_object);
    let shares = shares.context("it has no runs")?;
    // What it cost to settle a deployment's request parameters stands beside the runs.
    for name in shares.keys().filter(|name| !name.starts_with("profile-")) {
        let known = records
            .iter()
            .any(|record| record.get("run") == Some(&json!(name)));
        ensure!(known, "there is no run {name}");
    }
    for record in records {
        let run = record.get("run").and_then(Value::as_str);
        let run = run.context("a record without a name")?;
        let share = shares.get(run);
        let share = share.with_context(|| format!("run {run} is not in it"))?;
        let nothing_reserved = share.get("chunks") == Some(&json!({}));
        let ended = share.get("ended") == Some(&json!(true));
        ensure!(nothing_reserved && ended, "run {run} is settled: {share}");
        let taken = share.get("spent_usd").and_then(Value::as_f64);
        let taken = taken.with_context(|| format!("nothing is said to be spent: {share}"))?;
        let status = check::status(cloud, run).await?;
        let all = status.get("chunks") == status.get("chunks_done");
        let base = record.get("base").and_then(Value::as_str);
        let before = match base {
            Some(base) => cost(&check::status(cloud, base).await?)?,
            None => 0.0,
        };
        let own = cost(&status)? - before;
        // A base may have cost more than its status says, too.
        let less = base.is_some() && (0.0..own).contains(&taken);
        ensure!(
            (taken - own).abs() < NOTHING || (!all && taken > own) || less,
            "run {run} cost {own}, and {taken} is taken for it: {status}; the ledger is {}",
            ledger(cloud, run).await?
        );
    }
    Ok(())
}

/// The ledger of a run, as it is kept.
async fn ledger(cloud: &LocalCloud, run: &str) -> Result<String> {
    let path = cloud.in_work(&format!("{run}/ledger.jsonl")).await?;
    let ledger = cloud.work().get(&path).await?;
    let ledger = ledger.map(|blob| blob.content).unwrap_or_default();
    Ok(String::from_utf8_lossy(&ledger).into_owned())
}

/// What a run has cost, as its status says.
fn cost(status: &Value) -> Result<f64> {
    let cost = status.get("cost_usd").and_then(Value::as_f64);
    cost.with_context(|| format!("no cost is known: {status}"))
}
