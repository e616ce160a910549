//! What must hold at the end of a day.

use crate::day::Tally;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use softlabel_doubles::azure_openai::{Excuse, Record, repeats};
use softlabel_doubles::dataset::{self, Options, Size};
use softlabel_doubles::local_cloud::LocalCloud;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A result may wait so long before it is appended.
const UNFLUSHED: Duration = Duration::from_secs(2);

/// No call takes longer, on a busy machine and with its retries.
const LONGEST_CALL: Duration = Duration::from_secs(3);

/// A bucket file and its versions.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    seed: u64,
    versions: Vec<Version>,
}

/// One version of a bucket file.
#[derive(Debug)]
struct Version {
    etag: String,
    /// Message ids in raw order.
    ids: Vec<String>,
    messages: Vec<String>,
}

impl Bucket {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            seed,
            versions: Vec::new(),
        }
    }

    /// The content of a version that was never there.
    pub(crate) fn next_version(&mut self) -> Result<Vec<u8>> {
        let options = Options {
            seed: self.seed.wrapping_add(self.versions.len() as u64),
            size: Size::Conversations(20),
            ..Options::default()
        };
        let mut content = Vec::new();
        dataset::write(&options, &mut content)?;
        let conversations = serde_json::from_slice::<Vec<Value>>(&content)?;
        let turns = conversations
            .iter()
            .filter_map(|c| c.get("turnsArray")?.as_array());
        let text = |turn: &Value, key: &str| {
            let text = turn.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let turns = turns.flatten();
        let turns = turns.map(|turn| (text(turn, "messageId"), text(turn, "userMessage")));
        let (ids, messages) = turns.unzip();
        self.versions.push(Version {
            etag: String::new(),
            ids,
            messages,
        });
        Ok(content)
    }

    /// The newest version is there, under that ETag.
    pub(crate) fn uploaded(&mut self, etag: String) {
        if let Some(version) = self.versions.last_mut() {
            version.etag = etag.trim_matches('"').to_owned();
        }
    }

    fn newest(&self) -> Result<&Version> {
        self.versions
            .last()
            .context("the bucket was never uploaded")
    }
}

/// For every bucket whether it is labelled as its newest version is.
pub(crate) async fn labeled(cloud: &LocalCloud, buckets: &[Bucket]) -> Result<Vec<(String, bool)>> {
    let mut labeled = Vec::new();
    for bucket in buckets {
        let ids = ids(cloud, bucket).await?;
        labeled.push((
            bucket.name.clone(),
            ids.as_ref() == Some(&bucket.newest()?.ids),
        ));
    }
    Ok(labeled)
}

/// The message ids of a bucket's labelled file.
async fn ids(cloud: &LocalCloud, bucket: &Bucket) -> Result<Option<Vec<String>>> {
    let path = format!("LABELED_v4/{}.jsonl", bucket.name);
    let Some(lines) = cloud.lines(&path).await? else {
        return Ok(None);
    };
    let ids = lines.iter().map(|line| {
        let labeled = line.get("soft_label").is_some_and(Value::is_f64);
        let code = line.pointer("/labeling_error/code").and_then(Value::as_str);
        ensure!(labeled != code.is_some(), "a line has both or none: {line}");
        ensure!(
            labeled || code == Some("empty_message"),
            "a turn failed: {line}"
        );
        let id = line.get("messageId").and_then(Value::as_str);
        Ok(id.context("a line without messageId")?.to_owned())
    });
    Ok(Some(ids.collect::<Result<_>>()?))
}

/// Checks everything.
pub(crate) async fn all(
    cloud: &LocalCloud,
    buckets: &[Bucket],
    kills: &[Duration],
    tally: &mut Tally,
) -> Result<()> {
    for (bucket, labeled) in labeled(cloud, buckets).await? {
        ensure!(labeled, "{bucket} is not labelled as it is now");
    }
    for bucket in buckets {
        tally.turns += bucket.newest()?.ids.len();
    }
    let records = records(cloud).await?;
    for record in &records {
        let state = record
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or_default();
        *tally.states.entry(state.to_owned()).or_default() += 1;
    }
    written(cloud, buckets).await?;
    begun(&records, buckets)?;
    calls(cloud, buckets, &records, kills, tally)
}

/// The records of all runs, as the app keeps them.
async fn records(cloud: &LocalCloud) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for item in cloud.work().list("runs/").await? {
        if let Some(blob) = cloud.work().get(&item.name).await? {
            records.push(serde_json::from_slice(&blob.content)?);
        }
    }
    Ok(records)
}

/// RAW is as it was uploaded, and all else lies where the app may write.
async fn written(cloud: &LocalCloud, buckets: &[Bucket]) -> Result<()> {
    let mut raw = BTreeMap::new();
    for bucket in buckets {
        let path = cloud.path(&format!("v4/{}.json", bucket.name));
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
        let bucket = buckets
            .iter()
            .find(|bucket| format!("{}.json", bucket.name) == file);
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
        "an upload began more than one run: {uploads:?}"
    );
    Ok(())
}

/// Nothing was asked again without need.
fn calls(
    cloud: &LocalCloud,
    buckets: &[Bucket],
    records: &[Value],
    kills: &[Duration],
    tally: &mut Tally,
) -> Result<()> {
    let mut runs = HashMap::<&str, usize>::new();
    for version in buckets.iter().flat_map(|bucket| &bucket.versions) {
        let about = |record: &&Value| {
            let etag = record.pointer("/source/etag").and_then(Value::as_str);
            etag == Some(version.etag.as_str())
        };
        let count = records.iter().filter(about).count();
        for message in &version.messages {
            *runs.entry(message.trim()).or_default() += count;
        }
    }
    let allowed = |record: &Record| {
        let message = record.user_text.as_deref().and_then(message);
        // The probe's message is asked until the request parameters are pinned.
        message.map_or(usize::MAX, |message| {
            runs.get(message.trim()).copied().unwrap_or(usize::MAX)
        })
    };
    let log = cloud.service().log();
    let excuse = Excuse {
        kills,
        unflushed: UNFLUSHED,
        longest_call: LONGEST_CALL,
    };
    tally.repeated += repeats(&log, excuse, allowed)?;
    let answered = |record: &&Record| record.status == Some(200) && record.fully_sent;
    tally.calls += log.iter().filter(answered).count();
    Ok(())
}

/// The message that a prompt is about.
fn message(prompt: &str) -> Option<&str> {
    let (_, rest) = prompt.split_once(" Message to label>>>\n")?;
    Some(rest.split_once("\n<<<END ")?.0)
}
