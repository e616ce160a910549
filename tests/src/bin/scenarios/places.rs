//! Datasets whose place changes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Latency, Loss};
use softlabel_doubles::local_cloud::{Instance, LocalCloud};
use softlabel_package::script_root::Hosting;

use crate::checks;
use crate::report::Report;
use crate::requests::post;
use crate::stage::{Bucket, Ending, PATIENCE, Stage, cloud, ended, mark, metadata, until};
use crate::uploads::without_events;

/// As with a hierarchical namespace: a bucket appears by a rename, is renamed again, and then its whole dataset.
pub(crate) async fn renamed<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    // Storage here has no such namespace: what a rename leaves is made by copying, and told as a rename is.
    let options = without_events(stage.options(Hosting::Local));
    let cloud = cloud::<H>(options).await?;
    let mut bucket = Bucket::generated("v4/_temporary/part-0.json", 63, 6)?;
    bucket.upload(&cloud).await?;
    let began = Instant::now();
    for (number, name) in ["first", "second"].into_iter().enumerate() {
        let path = format!("v4/train/{name}.json");
        rename(&cloud, &bucket.path, &path).await?;
        tell(&cloud, "Blob", &bucket.path, &path).await?;
        bucket.path = path;
        ended(&cloud, number + 1, began, PATIENCE).await?;
    }
    let turns = checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    let told = async || {
        let metadata = metadata(&cloud, "v4").await?;
        let warnings = metadata["warnings"].to_string();
        Ok(metadata["status"] == "complete"
            && metadata["totals"]["turns"] == turns
            && warnings.contains("train/first.jsonl was labelled from train/first.json"))
    };
    until(PATIENCE, "the old name leaves the metadata", told).await?;
    let path = bucket.path.replace("v4/", "v5/");
    rename(&cloud, &bucket.path, &path).await?;
    tell(&cloud, "Directory", "v4", "v5").await?;
    bucket.path = path;
    ended(&cloud, 3, began, PATIENCE).await?;
    checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    let complete = async || Ok(metadata(&cloud, "v5").await?["status"] == "complete");
    until(PATIENCE, "the dataset is complete", complete).await?;
    let left = metadata(&cloud, "v4").await?;
    report.expect(
        "nothing is left in the metadata of the old name",
        (left["status"] == "partial" && left["totals"]["turns"] == 0)
            .then_some(())
            .with_context(|| left.to_string()),
    );
    report.figure(format!("{turns} turns under three names"));
    Ok(Ending::new(cloud, vec![bucket]).asked(3))
}

/// The settings name another path, then another container. What lies there is labelled as if nothing were known of its
/// dataset, which has the same name; what was under way in the first place goes on when the settings are put back.
pub(crate) async fn elsewhere<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let options = stage.options(Hosting::Local);
    let (container, base) = (options.container.clone(), options.base.clone());
    let options = options
        .setting("SOFTLABEL_CONCURRENCY", "4")
        .setting("SOFTLABEL_CHUNK_TURNS", "8")
        .setting("SOFTLABEL_STALL_AFTER", "30s");
    let mut cloud = cloud::<H>(options).await?;
    let first = Bucket::generated("v4/train/short.json", 70, 4)?;
    first.upload(&cloud).await?;
    let began = Instant::now();
    ended(&cloud, 1, began, PATIENCE).await?;
    let relabel = json!({ "dataset": "v4", "strategy": "with_context", "rationales": false });
    post(&cloud, 202, "relabel", Some(&relabel)).await?;
    ended(&cloud, 2, began, PATIENCE).await?;
    let spent_there = spent(&cloud).await?;
    let service = cloud.service();
    service.update(|config| config.latency = Latency::Fixed { ms: 2_000.0 })?;
    let second = Bucket::generated("v4/val/long.json", 71, 4)?;
    let calls = service.log().len();
    second.upload(&cloud).await?;
    let labels = async || Ok(cloud.service().log().len() > calls + 4);
    until(PATIENCE, "the second bucket is labelled", labels).await?;
    let caller = Some(cloud.caller(cloud.host()?));
    let moved = cloud.service().now();
    cloud.look_elsewhere(&container, "elsewhere").await?;
    let service = cloud.service();
    let lost = Loss {
        caller,
        began: moved,
        ended: service.now(),
    };
    service.update(|config| config.latency = Latency::Fixed { ms: 100.0 })?;

    ensure!(
        cloud.runs().await?.is_empty(),
        "runs of another place are shown"
    );
    let third = Bucket::generated("v4/test/short.json", 72, 3)?;
    third.upload(&cloud).await?;
    ended(&cloud, 1, began, PATIENCE).await?;
    let lines = cloud.lines("LABELED_v4/test/short.jsonl").await?;
    let lines = lines.unwrap_or_default();
    let labelled = lines.iter().filter(|line| line.get("soft_label").is_some());
    let mut rationales = labelled.map(|line| line["rationale"].is_string());
    ensure!(
        rationales.all(|there| there),
        "the settings are those of another place"
    );
    let spent_here = spent(&cloud).await?;
    ensure!(
        spent_here < spent_there,
        "{spent_here} US dollars were spent here, and {spent_there} in another place"
    );
    is_complete(&cloud, &[third]).await?;

    cloud.look_elsewhere("more-datasets", &base).await?;
    // Found by its marker, and called like the first one in all but its container.
    let fourth = Bucket::generated("v4/train/short.json", 73, 3)?;
    fourth.upload(&cloud).await?;
    mark(&cloud, "v4").await?;
    ended(&cloud, 1, began, PATIENCE).await?;
    is_complete(&cloud, &[fourth]).await?;

    cloud.look_elsewhere(&container, &base).await?;
    let put_back = Instant::now();
    let took = ended(&cloud, 3, put_back, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the settings put back to the last label",
        took.as_secs_f64()
    ));
    post(&cloud, 200, "relabel", Some(&relabel)).await?;
    let buckets = vec![first, second];
    is_complete(&cloud, &buckets).await?;
    Ok(Ending::new(cloud, buckets).asked(2).lost(vec![lost]))
}

/// What the dataset has cost, in US dollars.
async fn spent<H: Instance>(cloud: &LocalCloud<H>) -> Result<f64> {
    let shown = cloud.call("GET", "runs", None).await?.body;
    let spent = shown.pointer("/datasets/v4/spent_usd");
    let spent = spent.and_then(Value::as_f64);
    spent.with_context(|| format!("v4 has cost nothing: {shown}"))
}

/// Checks these buckets of a dataset, and that its metadata is about them and no others.
async fn is_complete<H: Instance>(cloud: &LocalCloud<H>, buckets: &[Bucket]) -> Result<()> {
    let turns = checks::labels(cloud, buckets).await?;
    let mut shown = Value::Null;
    let complete = async || {
        shown = metadata(cloud, "v4").await?;
        Ok(shown["status"] == "complete" && shown["totals"]["turns"] == turns)
    };
    let complete = until(PATIENCE, "the metadata is complete", complete).await;
    complete.with_context(|| shown.to_string())?;
    let splits = shown["splits"].as_object();
    let there = splits.map_or(0, |splits| splits.len());
    ensure!(
        there == buckets.len(),
        "the metadata has {}",
        shown["splits"]
    );
    let warnings = shown["warnings"].to_string();
    ensure!(
        !warnings.contains(".jsonl"),
        "the metadata warns: {warnings}"
    );
    Ok(())
}

async fn rename<H: Instance>(cloud: &LocalCloud<H>, from: &str, to: &str) -> Result<()> {
    let data = cloud.data();
    let (from, to) = (cloud.path(from), cloud.path(to));
    data.copy_from(&data, &from, &to).await?;
    data.delete(&from).await?;
    Ok(())
}

/// What Event Grid tells of a rename of a blob or a folder.
async fn tell<H: Instance>(cloud: &LocalCloud<H>, what: &str, from: &str, to: &str) -> Result<()> {
    let data = cloud.data();
    let (from, to) = (cloud.path(from), cloud.path(to));
    let event = json!({
        "subject": format!("/blobServices/default/containers/{}/blobs/{to}", data.name()),
        "eventType": format!("Microsoft.Storage.{what}Renamed"),
        "data": {
            "api": format!("Rename{}", if what == "Blob" { "File" } else { what }),
            "destinationUrl": data.url(&to)?.as_str(),
            "sourceUrl": data.url(&from)?.as_str(),
        },
        "eventTime": jiff::Timestamp::now().to_string(),
    });
    let uploads = cloud.storage().queue("bucket-uploaded");
    uploads
        .put(&BASE64_STANDARD.encode(event.to_string()))
        .await
}
