//! The evening of the day: what went wrong is over, and everything comes to its end by itself.

use crate::bucket::Bucket;
use crate::check;
use crate::day::Day;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use softlabel_doubles::local_cloud::LocalCloud;
use std::time::{Duration, Instant};

/// Everything must come to its end in so long.
const EVENING: Duration = Duration::from_secs(240);

/// Where nothing happens any more for so long, nothing will: no delay here is longer.
const STILL: Duration = Duration::from_secs(30);

/// Queues in which a message ends up that the app could not work on.
const POISON: [&str; 4] = [
    "bucket-uploaded-poison",
    "plan-bucket-poison",
    "label-chunk-poison",
    "publish-bucket-poison",
];

impl Day {
    /// Waits until every bucket is labelled. A person helps only where nobody else can know what to do:
    /// where every word of an upload got lost, or a person had cancelled the run.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + EVENING;
        let (mut seen, mut still) = (Vec::new(), Instant::now());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let runs = self.cloud.until_all_ended(0, left).await?;
            let mut missing = Vec::new();
            for (place, bucket) in self.buckets.iter().enumerate() {
                if let Some(complaint) = check::complaint(&self.cloud, bucket).await? {
                    missing.push((place, complaint));
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            let ended = runs.iter().map(|run| run.get("run").cloned());
            let ended = ended.collect::<Vec<_>>();
            if ended != seen {
                (seen, still) = (ended, Instant::now());
            }
            for (place, complaint) in missing {
                let bucket = self.buckets.get(place).context("there is no such bucket")?;
                if let Some(why) = self.recourse(bucket).await? {
                    self.ask(&self.asking_for(place)?).await?;
                    self.tally.count(&format!("person asked as {why}"));
                } else if still.elapsed() > STILL {
                    let records = check::records(&self.cloud).await?;
                    bail!(
                        "{}: {complaint}, and nothing happens any more; poisonous messages: {:?}; the \
                         records are {}",
                        bucket.name,
                        poisonous(&self.cloud).await?,
                        json!(records)
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks for a relabel until somebody takes it.
    pub(crate) async fn ask(&self, body: &Value) -> Result<()> {
        let deadline = Instant::now() + EVENING;
        loop {
            // An instance that was just killed answers nothing, and one that is to end says so.
            let reply = self.cloud.call("POST", "relabel", Some(body)).await;
            if let Ok(reply) = &reply
                && reply.status == 202
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{body} is not taken but answered {reply:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The name of the run that a bucket is labelled by.
    pub(crate) async fn current(&self, bucket: &Bucket) -> Result<String> {
        let path = format!("current/v4/{}", bucket.file());
        let path = self.cloud.in_work(&path).await?;
        let current = self.cloud.work().get(&path).await?;
        let current = current.context("a file with runs has no current one")?;
        let current = serde_json::from_slice::<Value>(&current.content)?;
        let run = current.get("run").and_then(Value::as_str);
        Ok(run.context("a file has no current run")?.to_owned())
    }

    /// Why a person may have to ask for a bucket, if so.
    async fn recourse(&self, bucket: &Bucket) -> Result<Option<&'static str>> {
        let newest = bucket.newest()?;
        let mut over_it = check::records(&self.cloud).await?;
        over_it.retain(|record| {
            let etag = record.pointer("/source/etag").and_then(Value::as_str);
            etag == Some(newest.etag.as_str())
        });
        if over_it.is_empty() {
            // While a former run is not settled, the reconciler still takes up what is there.
            let active = self.cloud.in_work("active/").await?;
            let settled = self.cloud.work().list(&active).await?.is_empty();
            let unheard = settled && self.is_unheard_of(bucket)?;
            return Ok(unheard.then_some("every word of an upload was lost"));
        }
        let current = self.current(bucket).await?;
        let last = over_it
            .iter()
            .find(|record| record.get("run") == Some(&json!(current)));
        let cancelled = last.is_some_and(|last| {
            let run = last.get("run").and_then(Value::as_str);
            check::state(last) == "cancelled" && run.is_some_and(|run| self.cancelled.contains(run))
        });
        Ok(cancelled.then_some("a person had cancelled the run"))
    }

    /// Whether no event of the newest version, nor the marker, came to the app: all were lost on purpose.
    fn is_unheard_of(&self, bucket: &Bucket) -> Result<bool> {
        let newest = bucket.newest()?;
        let lost = self.cloud.lost_messages();
        let events = self.cloud.events().log();
        let events = events
            .iter()
            .filter(|delivery| delivery.event.to_string().contains(&newest.etag));
        let sent = events.map(|delivery| delivery.times as usize);
        let sent = sent.collect::<Vec<_>>();
        let about = |(queue, text): &&(String, String)| {
            queue == "bucket-uploaded" && text.contains(&newest.etag)
        };
        let unheard =
            !sent.is_empty() && sent.iter().sum::<usize>() <= lost.iter().filter(about).count();
        let is_marker =
            |(queue, _): &(String, String)| queue.starts_with("azure-webjobs-blobtrigger");
        Ok(unheard && (!newest.marked || lost.iter().any(is_marker)))
    }
}

/// How many messages the app could not work on, by queue.
async fn poisonous(cloud: &LocalCloud) -> Result<Vec<(&'static str, u64)>> {
    let mut counts = Vec::new();
    for queue in POISON {
        counts.push((queue, cloud.storage().queue(queue).count().await?));
    }
    Ok(counts)
}
