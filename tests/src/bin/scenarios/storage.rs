//! Storage that refuses, or does not hold what it held.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use softlabel_doubles::azure_openai::Latency;
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::faulty_line::{Fault, FaultyLine, When};
use softlabel_doubles::local_cloud::{Instance, Options};
use softlabel_doubles::refusals;
use softlabel_package::script_root::Hosting;

use crate::report::Report;
use crate::requests::{post, state};
use crate::stage::{Bucket, Ending, PATIENCE, Stage, cloud, ended, mark, until};

/// The output may not be written at first: nothing is bought before it may. Then the same bytes are uploaded again.
pub(crate) async fn not_writable<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let azurite = Azurite::shared().await?;
    let line = FaultyLine::start(azurite.blob_endpoint()).await?;
    let options = Options {
        blob_endpoint: Some(line.endpoint()),
        ..stage.options(Hosting::Local)
    };
    let options = options.setting("SOFTLABEL_STALL_AFTER", "30s");
    let cloud = cloud::<H>(options).await?;
    let bucket = Bucket::generated("v4/train/short.json", 61, 6)?;
    let role = Fault::Refuse(403, "AuthorizationPermissionMismatch");
    let blocks = When::put("LABELED_v4/train/short.jsonl").query("blockid=");
    line.plan(role, blocks.times(usize::MAX));
    bucket.upload(&cloud).await?;
    let reason = cloud.until_it_waits(PATIENCE).await?;
    for words in ["403 AuthorizationPermissionMismatch", refusals::ROLE] {
        ensure!(reason.contains(words), "the run waits as {reason}");
    }
    let calls = cloud.service().log().len();
    ensure!(calls == 0, "{calls} calls were made before that was known");
    line.clear();
    let began = Instant::now();
    let took = ended(&cloud, 1, began, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the right to the last label",
        took.as_secs_f64()
    ));
    bucket.upload(&cloud).await?;
    // Word of this one comes after it.
    let other = Bucket::generated("v4/test/long.json", 62, 2)?;
    other.upload(&cloud).await?;
    ended(&cloud, 2, began, PATIENCE).await?;
    let runs = cloud.runs().await?.len();
    ensure!(runs == 2, "the same bytes again began another run");
    Ok(Ending::new(cloud, vec![bucket, other]).behind(line))
}

/// A file is removed while it is labelled, and put back: the run waits, and goes on with what it has.
pub(crate) async fn not_there<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let mut options = stage.options(Hosting::Local);
    options.service.latency = Latency::Fixed { ms: 500.0 };
    let options = options
        .setting("SOFTLABEL_CONCURRENCY", "4")
        .setting("SOFTLABEL_CHUNK_TURNS", "8")
        .setting("SOFTLABEL_STALL_AFTER", "30s");
    let cloud = cloud::<H>(options).await?;
    let bucket = Bucket::generated("v4/train/short.json", 40, 8)?;
    bucket.upload(&cloud).await?;
    let begun = async || Ok(cloud.service().log().len() > 8);
    until(PATIENCE, "labelling began", begun).await?;
    cloud.data().delete(&cloud.path(&bucket.path)).await?;
    let waits = async || Ok(state(&cloud).await? == Some("waiting".to_owned()));
    until(PATIENCE, "the run waits for its file", waits).await?;
    let began = Instant::now();
    bucket.upload(&cloud).await?;
    let took = ended(&cloud, 1, began, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the file's return to the last label",
        took.as_secs_f64()
    ));
    Ok(Ending::new(cloud, vec![bucket]))
}

/// Every step of a run is refused something, each of a run of its own; all go on when that is mended.
pub(crate) async fn refusals<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    let azurite = Azurite::shared().await?;
    let line = FaultyLine::start(azurite.blob_endpoint()).await?;
    let options = stage.options(Hosting::Local);
    let options = options.setting("SOFTLABEL_STALL_AFTER", "30s");
    let cloud = cloud::<H>(refusals::options(&line, options)).await?;
    let refused = Instant::now();
    let files = refusals::all(&cloud, &line, PATIENCE).await?;
    let began = Instant::now();
    let buckets = files.into_iter();
    let buckets = buckets.map(|(path, content)| Bucket { path, content });
    let buckets = buckets.collect::<Vec<_>>();
    let took = ended(&cloud, buckets.len(), began, PATIENCE).await?;
    report.figure(format!(
        "{} runs wait after {:.1} s; {:.1} s from there to the last label",
        buckets.len(),
        began.duration_since(refused).as_secs_f64(),
        took.as_secs_f64()
    ));
    Ok(Ending::new(cloud, buckets).behind(line))
}

/// A file gets other ETags while it is labelled and after that, with the bytes that it had: nothing is bought again.
pub(crate) async fn touched<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    let mut options = stage.options(Hosting::Local);
    options.service.latency = Latency::Fixed { ms: 500.0 };
    let options = options
        .setting("SOFTLABEL_CONCURRENCY", "4")
        .setting("SOFTLABEL_CHUNK_TURNS", "8");
    let cloud = cloud::<H>(options).await?;
    let bucket = Bucket::generated("v4/train/short.json", 69, 8)?;
    bucket.upload(&cloud).await?;
    let (data, path) = (cloud.data(), cloud.path(&bucket.path));
    let mut etags = BTreeSet::new();
    for (calls, tier) in [(8, "Cool"), (40, "Hot"), (70, "Cool")] {
        let labels = async || Ok(cloud.service().log().len() > calls);
        until(PATIENCE, "labelling goes on", labels).await?;
        data.set_tier(&path, tier).await?;
        etags.insert(data.set_metadata(&path, "touched", tier).await?);
    }
    ensure!(etags.len() == 3, "its ETags are {etags:?}");
    let now = state(&cloud).await?;
    ensure!(
        now.as_deref() == Some("labeling"),
        "it is touched too late, as the run is {now:?}"
    );
    ended(&cloud, 1, Instant::now(), PATIENCE).await?;
    data.set_metadata(&path, "touched", "at last").await?;
    mark(&cloud, "v4").await?;
    let said = async || {
        let said = cloud.said();
        Ok(said
            .iter()
            .any(|line| line.contains("\"dataset_uploaded\"")))
    };
    until(PATIENCE, "the marker is heard of", said).await?;
    let relabel = json!({ "dataset": "v4" });
    post(&cloud, 200, "relabel", Some(&relabel)).await?;
    let runs = cloud.runs().await?.len();
    ensure!(runs == 1, "the same bytes began another run");
    report.figure("four other ETags");
    Ok(Ending::new(cloud, vec![bucket]))
}
