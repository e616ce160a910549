//! Datasets that are dropped, and how the app hears of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use softlabel_doubles::event_grid::Faults;
use softlabel_doubles::local_cloud::{Instance, LocalCloud, Options};
use softlabel_package::script_root::Hosting;

use crate::checks;
use crate::report::Report;
use crate::stage::{Bucket, PATIENCE, Stage, cloud, ended, labelled, until};

/// A dataset is dropped; queue events tell of its files, and the host finds its marker.
pub(crate) async fn polled<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
    let cloud = cloud::<H>(stage.options(Hosting::Local)).await?;
    dataset(&cloud, report).await?;
    cloud.stop().await;
    Ok(())
}

/// As on Flex Consumption, function for function on an instance of its own.
pub(crate) async fn one_function_an_instance<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<()> {
    let options = Options {
        groups: stage.app.groups()?,
        ..stage.options(Hosting::Flex)
    };
    let cloud = cloud::<H>(options).await?;
    dataset(&cloud, report).await?;
    cloud.stop().await;
    Ok(())
}

/// Drops a dataset of three splits as the exporter does, `metadata.json` last.
async fn dataset<H: Instance>(cloud: &LocalCloud<H>, report: &mut Report) -> Result<()> {
    let mut buckets = Vec::new();
    for split in ["train", "val", "test"] {
        for name in ["short", "medium", "long"] {
            let seed = 100 + buckets.len() as u64;
            let path = format!("v4/{split}/{name}.json");
            buckets.push(Bucket::generated(&path, seed, 3)?);
        }
    }
    for bucket in &buckets {
        bucket.upload(cloud).await?;
    }
    let marker = json!({ "actual_counts": {} }).to_string();
    let path = cloud.path("v4/metadata.json");
    cloud.data().put(&path, marker).await?;
    let took = ended(cloud, buckets.len(), Instant::now(), PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the upload to the last label",
        took.as_secs_f64()
    ));
    let path = cloud.path("LABELED_v4/labeling_metadata.json");
    let complete = async || {
        let blob = cloud.data().get(&path).await?;
        let metadata = blob.and_then(|blob| serde_json::from_slice::<Value>(&blob.content).ok());
        Ok(metadata.is_some_and(|it| it["status"] == "complete" && it["completed"].is_string()))
    };
    until(PATIENCE, "the metadata is complete", complete).await?;
    report.figure(labelled(cloud, &buckets, &[]).await?);
    Ok(())
}

/// `options` with which every event of a blob gets lost.
fn without_events(options: Options) -> Options {
    Options {
        event_faults: Faults {
            lost: 1.0,
            ..Faults::default()
        },
        ..options
    }
}

/// Every event of a bucket file gets lost. The marker's reaches the blob trigger by its webhook.
pub(crate) async fn notified<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
    let options = without_events(stage.options(Hosting::Flex));
    let cloud = cloud::<H>(options).await?;
    let buckets = [
        Bucket::generated("v4/train/short.json", 1, 6)?,
        Bucket::generated("v4/test/long.json", 2, 6)?,
    ];
    for bucket in &buckets {
        bucket.upload(&cloud).await?;
    }
    let marker = json!({ "actual_counts": {} }).to_string();
    let path = cloud.path("v4/metadata.json");
    cloud.data().put(&path, marker).await?;
    let took = ended(&cloud, buckets.len(), Instant::now(), PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the upload to the last label",
        took.as_secs_f64()
    ));
    report.figure(labelled(&cloud, &buckets, &[]).await?);
    cloud.stop().await;
    Ok(())
}

/// Every event comes twice, and some come late.
pub(crate) async fn twice_and_late<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
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
    report.figure(labelled(&cloud, &buckets, &[]).await?);
    let runs = cloud.runs().await?.len();
    report.expect(
        "a file has one run",
        (runs == buckets.len())
            .then_some(())
            .with_context(|| format!("there are {runs}")),
    );
    cloud.stop().await;
    Ok(())
}

/// The one event that comes names another ETag than the blob has: its metadata, say, were set since.
pub(crate) async fn other_etag<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
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
    if report
        .expect("the version that is there is planned", planned)
        .is_some()
    {
        report.figure(labelled(&cloud, &[bucket], &[]).await?);
    }
    cloud.stop().await;
    Ok(())
}

/// As with a hierarchical namespace: a bucket appears by a rename, is renamed again, and then its whole dataset.
pub(crate) async fn renamed<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
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
    let metadata = async |dataset: &str| {
        let path = cloud.path(&format!("LABELED_{dataset}/labeling_metadata.json"));
        let blob = cloud.data().get(&path).await?;
        let metadata = blob.map(|blob| serde_json::from_slice::<Value>(&blob.content));
        Ok::<_, anyhow::Error>(metadata.transpose()?.unwrap_or_default())
    };
    let turns = checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    let told = async || {
        let metadata = metadata("v4").await?;
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
    let complete = async || Ok(metadata("v5").await?["status"] == "complete");
    until(PATIENCE, "the dataset is complete", complete).await?;
    let left = metadata("v4").await?;
    report.expect(
        "nothing is left in the metadata of the old name",
        (left["status"] == "partial" && left["totals"]["turns"] == 0)
            .then_some(())
            .with_context(|| left.to_string()),
    );
    report.figure(format!("{turns} turns under three names"));
    cloud.stop().await;
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
