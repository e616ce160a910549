//! Datasets that are dropped, and how the app hears of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::Latency;
use softlabel_doubles::event_grid::Faults;
use softlabel_doubles::local_cloud::{Instance, LocalCloud, Options};
use softlabel_package::script_root::Hosting;

use crate::report::Report;
use crate::requests::post;
use crate::stage::{Bucket, Ending, PATIENCE, Stage, cloud, ended, later, mark, metadata, until};

/// Bytes of a marker that a host cannot hand over in a body of 32 MiB, as it is in base64 then.
const LARGE_MARKER: usize = 27 << 20;

/// A dataset is dropped; queue events tell of its files, and the host finds its marker.
pub(crate) async fn polled<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    let cloud = cloud::<H>(stage.options(Hosting::Local)).await?;
    let buckets = dataset(&cloud, report).await?;
    Ok(Ending::new(cloud, buckets))
}

/// As on Flex Consumption, function for function on an instance of its own.
pub(crate) async fn one_function_an_instance<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let options = Options {
        groups: stage.app.groups()?,
        ..stage.options(Hosting::Flex)
    };
    let cloud = cloud::<H>(options).await?;
    let buckets = dataset(&cloud, report).await?;
    Ok(Ending::new(cloud, buckets))
}

/// Drops a dataset of three splits as the exporter does, `metadata.json` last.
async fn dataset<H: Instance>(cloud: &LocalCloud<H>, report: &mut Report) -> Result<Vec<Bucket>> {
    let mut buckets = Vec::new();
    for split in ["train", "val", "test"] {
        for name in ["short", "medium", "long"] {
            let seed = 100 + buckets.len() as u64;
            let path = format!("v4/{split}/{name}.json");
            buckets.push(Bucket::generated(&path, seed, 3)?);
        }
    }
    let began = Instant::now();
    for bucket in &buckets {
        bucket.upload(cloud).await?;
    }
    mark(cloud, "v4").await?;
    let took = ended(cloud, buckets.len(), began, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the upload to the last label",
        took.as_secs_f64()
    ));
    let complete = async || {
        let metadata = metadata(cloud, "v4").await?;
        Ok(metadata["status"] == "complete" && metadata["completed"].is_string())
    };
    until(PATIENCE, "the metadata is complete", complete).await?;
    Ok(buckets)
}

/// `options` with which every event of a blob gets lost.
pub(crate) fn without_events(options: Options) -> Options {
    Options {
        event_faults: Faults {
            lost: 1.0,
            ..Faults::default()
        },
        ..options
    }
}

/// Every event of a bucket file gets lost. The marker's reaches the blob trigger by its webhook.
pub(crate) async fn notified<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    let options = without_events(stage.options(Hosting::Flex));
    let cloud = cloud::<H>(options).await?;
    let buckets = vec![
        Bucket::generated("v4/train/short.json", 1, 6)?,
        Bucket::generated("v4/test/long.json", 2, 6)?,
    ];
    let began = Instant::now();
    for bucket in &buckets {
        bucket.upload(&cloud).await?;
    }
    mark(&cloud, "v4").await?;
    let took = ended(&cloud, buckets.len(), began, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the upload to the last label",
        took.as_secs_f64()
    ));
    Ok(Ending::new(cloud, buckets))
}

/// Every event comes twice, and some come late.
pub(crate) async fn twice_and_late<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let longest_delay = Duration::from_secs(15);
    let options = Options {
        event_faults: Faults {
            seed: 1,
            twice: 1.0,
            late: 0.5,
            longest_delay,
            reordered: 1.0,
            lost: 0.0,
        },
        ..stage.options(Hosting::Local)
    };
    let cloud = cloud::<H>(options).await?;
    let mut buckets = Vec::new();
    for seed in 0..4 {
        let path = format!("v4/train/bucket_{seed}.json");
        let bucket = Bucket::generated(&path, 10 + seed, 5)?;
        bucket.upload(&cloud).await?;
        buckets.push(bucket);
    }
    let began = Instant::now();
    ended(&cloud, buckets.len(), began, PATIENCE).await?;
    // The last of them may come now.
    tokio::time::sleep(longest_delay.saturating_sub(began.elapsed()) + Duration::from_secs(5))
        .await;
    ended(&cloud, buckets.len(), began, PATIENCE).await?;
    let runs = cloud.runs().await?.len();
    report.expect(
        "a file has one run",
        (runs == buckets.len())
            .then_some(())
            .with_context(|| format!("there are {runs}")),
    );
    Ok(Ending::new(cloud, buckets))
}

/// The one event that comes names another ETag than the blob has: its metadata, say, were set since.
pub(crate) async fn other_etag<H: Instance>(stage: &Stage) -> Result<Ending<H>> {
    let options = without_events(stage.options(Hosting::Local));
    let cloud = cloud::<H>(options).await?;
    let bucket = Bucket::generated("v4/train/short.json", 20, 6)?;
    bucket.upload(&cloud).await?;
    let mut event = Value::Null;
    let seen = async || {
        let first = cloud.events().log().into_iter().next();
        event = first.map_or(Value::Null, |delivery| delivery.event);
        Ok(!event.is_null())
    };
    until(PATIENCE, "the upload caused an event", seen).await?;
    event["data"]["eTag"] = json!("0x8DE000000000000");
    let uploads = cloud.storage().queue("bucket-uploaded");
    uploads
        .put(&BASE64_STANDARD.encode(event.to_string()))
        .await?;
    let patience = Duration::from_secs(90);
    let planned = ended(&cloud, 1, Instant::now(), patience).await;
    planned.context("the version that is there is not planned")?;
    Ok(Ending::new(cloud, vec![bucket]))
}

/// A marker of many MB is the only word of a dataset, in which some files are not read. One that is uploaded later
/// begins anew what was cancelled, and another publishes again what was removed, with what is bought.
pub(crate) async fn marker<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    let mut options = without_events(stage.options(Hosting::Local));
    options.service.latency = Latency::Fixed { ms: 500.0 };
    let options = options
        .setting("SOFTLABEL_CONCURRENCY", "4")
        .setting("SOFTLABEL_CHUNK_TURNS", "8");
    let cloud = cloud::<H>(options).await?;
    let bucket = Bucket::generated("v4/train/short.json", 64, 6)?;
    let upper = Bucket::generated("v4/val/upper.JSON", 65, 1)?;
    bucket.upload(&cloud).await?;
    upper.upload(&cloud).await?;
    let unread = ["train/short.JSON", "train/lines.jsonl", "test/50%.json"];
    for name in unread {
        let path = format!("v4/{name}");
        Bucket::generated(&path, 66, 1)?.upload(&cloud).await?;
    }
    let large = json!({ "actual_counts": {}, "notes": "x".repeat(LARGE_MARKER) }).to_string();
    let path = cloud.path("v4/metadata.json");
    let bytes = large.len();
    later().await;
    cloud.data().put(&path, large).await?;
    let uploaded = Instant::now();
    let labels = async || Ok(cloud.service().log().len() > 12);
    until(PATIENCE, "labelling began", labels).await?;
    report.figure(format!(
        "{:.1} s from a marker of {} MB to the first labels",
        uploaded.elapsed().as_secs_f64(),
        bytes / 1_000_000
    ));
    let runs = cloud.runs().await?;
    let run = runs.iter().find(|run| run["file"] == "train/short.json");
    let run = run.and_then(|run| run["run"].as_str());
    let run = run.with_context(|| format!("the runs are {}", json!(runs)))?;
    post(&cloud, 200, &format!("runs/{run}/cancel"), None).await?;
    mark(&cloud, "v4").await?;
    ended(&cloud, 3, uploaded, PATIENCE).await?;
    let mut shown = Value::Null;
    let named = async || {
        shown = metadata(&cloud, "v4").await?;
        let warnings = shown["warnings"].as_array().cloned().unwrap_or_default();
        let warns = |name: &&str| {
            let warning = format!("{name} is not read: ");
            let mut texts = warnings.iter().filter_map(Value::as_str);
            texts.any(|text| text.starts_with(&warning))
        };
        Ok(unread.iter().all(warns) && shown["status"] == "partial")
    };
    let named = until(PATIENCE, "the metadata names what is not read", named).await;
    named.with_context(|| shown.to_string())?;

    let labeled = "LABELED_v4/train/short.jsonl";
    let before = cloud.lines(labeled).await?;
    let calls = cloud.service().log().len();
    cloud.data().delete(&cloud.path(labeled)).await?;
    mark(&cloud, "v4").await?;
    ended(&cloud, 4, uploaded, PATIENCE).await?;
    ensure!(
        cloud.lines(labeled).await? == before,
        "what is published again differs"
    );
    ensure!(
        cloud.service().log().len() == calls,
        "what is published again was bought again"
    );
    Ok(Ending::new(cloud, vec![bucket, upper]))
}
