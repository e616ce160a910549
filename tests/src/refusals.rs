//! Storage that refuses something at every step of the app: each run waits with the store's own words, and goes
//! on by itself when that is mended.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use crate::dataset::{self, Size};
use crate::faulty_line::{Fault, FaultyLine, When};
use crate::local_cloud::{Instance, LocalCloud, Options};
use crate::{prompt, until};

/// What to do about a missing right.
pub const ROLE: &str = "give this identity the role Storage Blob Data Contributor";

/// What to do about somebody else's lease.
pub const LEASE: &str = "another client holds a lease on it: break that lease";

/// What to do about an archived blob.
const ARCHIVE: &str = "set its tier to hot or cool";

/// A missing right, by status and code.
pub const PERMISSION: (u16, &str) = (403, "AuthorizationPermissionMismatch");

const NO_LEASE: (u16, &str) = (412, "LeaseIdMissing");
const ARCHIVED: (u16, &str) = (409, "BlobArchived");
const QUOTA: (u16, &str) = (409, "AccountQuotaExceeded");
const DOWN: (u16, &str) = (503, "ServerBusy");

/// Time between two looks: each reads something of every run.
const LOOK: Duration = Duration::from_millis(500);

/// Turns of a conversation, and of a chunk.
const TURNS: u32 = 6;

/// What storage refuses, and what the run says then.
struct Refusal {
    step: Step,
    /// Conversations of the bucket, each of which is a chunk.
    chunks: u64,
    when: fn(&Bucket) -> When,
    refused: (u16, &'static str),
    says: [&'static str; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Plan,
    Label,
    Publish,
}

const fn of(
    step: Step,
    when: fn(&Bucket) -> When,
    refused: (u16, &'static str),
    says: [&'static str; 2],
) -> Refusal {
    Refusal {
        step,
        chunks: 1,
        when,
        refused,
        says,
    }
}

const QUOTA_SAYS: [&str; 2] = ["409 AccountQuota", "quota raised"];
const DOWN_SAYS: [&str; 2] = ["503 ServerBusy", "try again later"];

const REFUSALS: [Refusal; 14] = [
    of(Step::Plan, scan, PERMISSION, ["403 Auth", ROLE]),
    of(Step::Plan, scan, ARCHIVED, ["409 BlobArchived", ARCHIVE]),
    of(Step::Plan, block, PERMISSION, ["403 Auth", ROLE]),
    of(Step::Plan, block, NO_LEASE, ["412 LeaseId", LEASE]),
    of(Step::Plan, block, QUOTA, QUOTA_SAYS),
    of(Step::Plan, manifest, DOWN, DOWN_SAYS),
    of(Step::Label, read, PERMISSION, ["403 Auth", ROLE]),
    of(Step::Label, read, ARCHIVED, ["409 BlobArchived", ARCHIVE]),
    Refusal {
        chunks: 2,
        ..of(Step::Label, second_part, PERMISSION, ["403 Auth", ROLE])
    },
    of(Step::Label, reserve, NO_LEASE, ["412 LeaseId", LEASE]),
    of(Step::Publish, commit, PERMISSION, ["403 Auth", ROLE]),
    of(Step::Publish, commit, NO_LEASE, ["412 LeaseId", LEASE]),
    of(Step::Publish, commit, QUOTA, QUOTA_SAYS),
    of(Step::Publish, commit, DOWN, DOWN_SAYS),
];

/// A bucket file for which storage refuses something, in a dataset of its own.
#[derive(Debug)]
struct Bucket {
    dataset: String,
    name: String,
    /// Its path below the base path.
    file: String,
    /// Its path in the container: what the app keeps about it has paths that end like the other one.
    raw: String,
    /// The labelled file's in the container.
    labeled: String,
}

impl Bucket {
    fn numbered<H: Instance>(cloud: &LocalCloud<H>, number: usize) -> Self {
        let dataset = format!("refused_{number:02}");
        let name = format!("bucket_{number:02}");
        let file = format!("{dataset}/train/{name}.json");
        Self {
            raw: cloud.path(&file),
            labeled: cloud.path(&format!("LABELED_{file}l")),
            file,
            dataset,
            name,
        }
    }
}

fn scan(bucket: &Bucket) -> When {
    When::get(&bucket.raw)
}

/// The bucket file is read while it is planned, for its estimate, and then by its chunk.
fn read(bucket: &Bucket) -> When {
    When::get(&bucket.raw).after(2)
}

fn block(bucket: &Bucket) -> When {
    When::put(&bucket.labeled).query("blockid=")
}

fn commit(bucket: &Bucket) -> When {
    When::put(&bucket.labeled).query("comp=blocklist")
}

fn manifest(bucket: &Bucket) -> When {
    When::put("/manifest.json").body(format!("\"{}\"", bucket.name))
}

/// What a chunk reserves for its calls is held by its process.
fn reserve(bucket: &Bucket) -> When {
    let budget = format!("/datasets/{}/budget.json", bucket.dataset);
    When::put(budget).body("held_by")
}

/// No other bucket has a second chunk.
fn second_part(_: &Bucket) -> When {
    When::put("/parts/000001.jsonl").query("comp=appendblock")
}

/// `options` of a cloud in which [`all`] can happen.
#[must_use]
pub fn options(line: &FaultyLine, options: Options) -> Options {
    Options {
        blob_endpoint: Some(line.endpoint()),
        ..options
    }
    .setting("SOFTLABEL_CHUNK_TURNS", TURNS.to_string())
}

/// Uploads a bucket file for every refusal of the table, and waits until each run waits and says what is refused and
/// what to do; then nothing is refused any more. Gives the paths of the files, below the base path, and what is in
/// them.
///
/// # Errors
/// When a run does not wait, within `patience`, or not with those words, and when something is bought that nothing can
/// be done with.
pub async fn all<H: Instance>(
    cloud: &LocalCloud<H>,
    line: &FaultyLine,
    patience: Duration,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let refusals = REFUSALS.iter().enumerate();
    let refusals = refusals.map(|(number, refusal)| (Bucket::numbered(cloud, number), refusal));
    let (plan, others) = refusals.partition::<Vec<_>, _>(|(_, refusal)| refusal.step == Step::Plan);
    for (first, refusals) in [(true, plan), (false, others)] {
        for (bucket, refusal) in &refusals {
            let (status, code) = refusal.refused;
            let when = (refusal.when)(bucket).times(usize::MAX);
            line.plan(Fault::Refuse(status, code), when);
            let mut content = Vec::new();
            let data = dataset::Options {
                seed: 200 + files.len() as u64,
                size: Size::Conversations(refusal.chunks),
                turns: TURNS..=TURNS,
                ..dataset::Options::default()
            };
            dataset::write(&data, &mut content)?;
            cloud.data().put(&bucket.raw, content.clone()).await?;
            files.push((bucket.file.clone(), content));
        }
        wait(cloud, refusals, patience).await?;
        let log = cloud.service().log();
        let calls = log.iter().filter(|call| !prompt::is_probe(call)).count();
        ensure!(
            !first || calls == 0,
            "{calls} calls were made for runs that cannot be planned"
        );
    }
    line.clear();
    Ok(files)
}

/// Waits until each run has been seen to wait, with its words.
async fn wait<H: Instance>(
    cloud: &LocalCloud<H>,
    mut refusals: Vec<(Bucket, &Refusal)>,
    patience: Duration,
) -> Result<()> {
    let mut shown = Vec::new();
    let waits = async || {
        shown = cloud.runs().await?;
        for run in &shown {
            let of_run = |(bucket, _): &&(Bucket, &Refusal)| run["dataset"] == bucket.dataset;
            let Some((bucket, refusal)) = refusals.iter().find(of_run) else {
                continue;
            };
            if run.pointer("/links/cancel").is_none() {
                bail!(
                    "{} ended though storage refuses something: {run}",
                    bucket.file
                );
            }
            if run["state"] != "waiting" {
                continue;
            }
            // A run that waits is tried again and again, so one look has to tell state and reason.
            let reason = run["reason"].as_str().unwrap_or_default();
            for words in refusal.says {
                ensure!(reason.contains(words), "{:?}: {reason}", refusal.refused);
            }
            refusals.retain(|(bucket, _)| run["dataset"] != bucket.dataset);
        }
        if !refusals.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(refusals.is_empty())
    };
    let waited = until(
        patience,
        "all runs wait that storage refuses something",
        waits,
    )
    .await;
    waited.with_context(|| format!("the runs are {}", json!(shown)))
}
