//! What must hold at the end of a day.

use crate::bucket::Bucket;
use crate::tally::Tally;
use crate::{books, calls};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::Loss;
use softlabel_doubles::local_cloud::LocalCloud;
use softlabel_doubles::until;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A run is shown in so long.
const SHOWN_IN: Duration = Duration::from_secs(20);

/// The runs of which the test knows that they were given up, as nothing answered them.
pub(crate) type GivenUp = BTreeSet<String>;

/// What is not as it should be about a bucket's labelled file, if anything.
pub(crate) async fn complaint(cloud: &LocalCloud, bucket: &Bucket) -> Result<Option<String>> {
    let Some(lines) = lines(cloud, bucket).await? else {
        return Ok(Some("there is no labelled file".to_owned()));
    };
    let mut ids = Vec::new();
    for line in &lines {
        let code = error_code(line);
        ensure!(
            is_labeled(line) != code.is_some(),
            "a line has both or none: {line}"
        );
        if code.is_some_and(|code| code != "empty_message") {
            return Ok(Some(format!("a turn failed: {line}")));
        }
        let id = line.get("messageId").and_then(Value::as_str);
        ids.push(id.context("a line without messageId")?);
    }
    let labeled = ids == bucket.newest()?.ids;
    Ok((!labeled).then(|| "it is not labelled as RAW is now".to_owned()))
}

/// The lines of a bucket's labelled file.
pub(crate) async fn lines(cloud: &LocalCloud, bucket: &Bucket) -> Result<Option<Vec<Value>>> {
    let path = format!("LABELED_v4/{}.jsonl", bucket.name);
    cloud.lines(&path).await
}

pub(crate) fn is_labeled(line: &Value) -> bool {
    line.get("soft_label").is_some_and(Value::is_f64)
}

pub(crate) fn error_code(line: &Value) -> Option<&str> {
    line.pointer("/labeling_error/code").and_then(Value::as_str)
}

/// Checks everything.
pub(crate) async fn all(
    cloud: &LocalCloud,
    buckets: &[Bucket],
    losses: &[Loss],
    given_up: &GivenUp,
    tally: &mut Tally,
) -> Result<()> {
    for bucket in buckets {
        let complaint = complaint(cloud, bucket).await?;
        ensure!(complaint.is_none(), "{}: {complaint:?}", bucket.name);
        tally.turns += bucket.newest()?.ids.len();
    }
    let records = records(cloud).await?;
    let mut ends = Ok(());
    for record in &records {
        ends = ends.and(ended(record, given_up));
        *tally.states.entry(state(record).to_owned()).or_default() += 1;
    }
    written(cloud, buckets).await?;
    begun(&records, buckets)?;
    let books = books::check(cloud, buckets, &records).await;
    // After that: of a run that ended early, what was in flight is recorded a little later.
    let asked = calls::check(cloud, buckets, &records, losses, tally).await;
    // One complaint is no reason not to tell of another.
    let complaints = [ends, asked, books].into_iter().filter_map(Result::err);
    let complaints = complaints.map(|error| format!("{error:#}"));
    let complaints = complaints.collect::<Vec<_>>().join("; and ");
    ensure!(complaints.is_empty(), complaints);
    Ok(())
}

/// The state of a run.
pub(crate) fn state(record: &Value) -> &str {
    record
        .get("state")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The records of all runs, as the app keeps them.
pub(crate) async fn records(cloud: &LocalCloud) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for item in cloud.work().list(&cloud.in_work("runs/").await?).await? {
        if let Some(blob) = cloud.work().get(&item.name).await? {
            records.push(serde_json::from_slice(&blob.content)?);
        }
    }
    Ok(records)
}

/// What the app shows of a run. An answer may get lost, and an instance that was just killed has none.
pub(crate) async fn status(cloud: &LocalCloud, run: &str) -> Result<Value> {
    let mut shown = None;
    let answered = async || {
        let reply = cloud.call("GET", &format!("runs/{run}"), None).await;
        shown = reply.ok().filter(|reply| reply.status == 200);
        Ok(shown.is_some())
    };
    until(SHOWN_IN, "a run is shown", answered).await?;
    Ok(shown.map(|reply| reply.body).unwrap_or_default())
}

/// A run is given up only where the service answered nobody, and fails or loses a turn only then.
fn ended(record: &Value, given_up: &GivenUp) -> Result<()> {
    let run = record.get("run").and_then(Value::as_str);
    let known = run.is_some_and(|run| given_up.contains(run));
    let over = ["complete", "superseded", "cancelled"].contains(&state(record));
    let gave_up = record.get("given_up") == Some(&Value::Bool(true));
    let reason = record.get("reason").and_then(Value::as_str);
    ensure!(
        known || (over && !gave_up),
        "a run came to nothing: {record}"
    );
    ensure!(
        !known || reason.is_some_and(|reason| reason.contains("made no progress")),
        "a run that was given up does not say so: {record}"
    );
    Ok(())
}

/// RAW is as it was uploaded, and all else lies where the app may write.
async fn written(cloud: &LocalCloud, buckets: &[Bucket]) -> Result<()> {
    let mut raw = BTreeMap::new();
    for bucket in buckets {
        let path = cloud.path(&format!("v4/{}", bucket.file()));
        raw.insert(path, Some(bucket.newest()?.etag.clone()));
    }
    raw.insert(cloud.path("v4/metadata.json"), None);
    let labeled = cloud.path("LABELED_v4/");
    for item in cloud.data().list("").await? {
        match raw.get(&item.name) {
            Some(Some(etag)) => ensure!(
                item.etag.trim_matches('"') == etag,
                "{} was written by somebody",
                item.name
            ),
            Some(None) => {}
            None => ensure!(
                item.name.starts_with(&labeled),
                "{} was written by somebody",
                item.name
            ),
        }
    }
    let known = ["datasets", "softlabel-work", "azure-webjobs-hosts"];
    for container in cloud.storage().containers().await? {
        ensure!(
            known.contains(&container.as_str()),
            "there is a container {container}"
        );
    }
    Ok(())
}

/// A version of a file has at most one run that its upload began, and nothing else has one.
fn begun(records: &[Value], buckets: &[Bucket]) -> Result<()> {
    let mut uploads = BTreeMap::<_, usize>::new();
    for record in records {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
        let file = text("/file").unwrap_or_default();
        let etag = text("/source/etag").unwrap_or_default();
        let bucket = buckets.iter().find(|bucket| bucket.file() == file);
        let bucket = bucket.with_context(|| format!("a run is about {file}"))?;
        ensure!(
            bucket.versions.iter().any(|version| version.etag == etag),
            "a run is about a version of {file} that never was"
        );
        if text("/origin") == Some("upload") {
            *uploads.entry((file, etag)).or_default() += 1;
        }
    }
    ensure!(
        uploads.values().all(|&runs| runs == 1),
        "an upload began more than one run: {uploads:?}; the records are {}",
        json!(records)
    );
    Ok(())
}
