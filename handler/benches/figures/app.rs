//! The function app: the whole of it on this machine, the real executable over Azurite.

use super::{LARGE, Row, folder, raw};
use anyhow::{Context, Result};
use serde_json::Value;
use softlabel_doubles::azure_openai::{Config, Kind, Latency};
use softlabel_doubles::azurite::{Azurite, Persistence};
use softlabel_doubles::dataset::{self, Options as Data, Size};
use softlabel_doubles::faulty_line::{FaultyLine, Passed};
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use softlabel_doubles::until;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Calls in flight.
const SLOTS: usize = 50;

/// The latency of every call.
const CALL: Duration = Duration::from_millis(200);

/// The bucket file that is dropped.
const FILE: &str = "v4/train/short.json";

/// Bytes of a staged block.
const BLOCK: usize = 32 << 20;

pub(super) fn options() -> Options {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let service = Config {
        latency: Latency::Fixed {
            ms: CALL.as_secs_f64() * 1e3,
        },
        ..Config::default()
    };
    Options {
        service,
        // As deployed: once a minute.
        reconcile_every: None,
        ..Options::new(repository, env!("CARGO_BIN_EXE_softlabel"))
    }
    .setting("SOFTLABEL_CONCURRENCY", SLOTS.to_string())
    .setting("SOFTLABEL_MAX_COST", "1000000")
}

/// From the first chunk's start to the published file, against what calls and latency ask for.
pub(super) async fn throughput() -> Result<Vec<Row>> {
    let azurite = Azurite::start(Persistence::Memory).await?;
    let line = FaultyLine::start(azurite.blob_endpoint()).await?;
    let mut rows = Vec::new();
    // The proxy that counts takes time of its own: once without it, once with it.
    for counted in [false, true] {
        let options = Options {
            blob_endpoint: counted.then(|| line.endpoint()),
            ..options()
        };
        let cloud = LocalCloud::start(azurite.account()?, options).await?;
        let ready = cloud.host()?.time_to_ready();
        let mut content = Vec::new();
        let data = Data {
            size: Size::Conversations(400),
            turns: 4..=8,
            ..Data::default()
        };
        let written = dataset::write(&data, &mut content)?;
        let before = line.log().len();
        cloud.data().put(&cloud.path(FILE), content).await?;
        // Looked for where the counting proxy does not see it.
        let path = cloud.path("LABELED_v4/train/short.jsonl");
        let published = async || Ok(cloud.data().find(&path).await?.is_some());
        until(PATIENCE, "the file is published", published).await?;
        let requests = line.log().len();
        let chunks = cloud.until_all_ended(1, PATIENCE).await?;
        let chunks = chunks.first().and_then(|run| run.get("chunks")?.as_u64());
        let chunks = chunks.context("the run has no chunks")?;
        if counted {
            let log = line.log();
            let log = log.get(before..requests).unwrap_or_default();
            rows.push(operations(log, written.turns, chunks));
        } else {
            rows.push(duration(&cloud, written.turns)?);
            rows.push(start(ready));
        }
        cloud.stop().await;
    }
    Ok(rows)
}

fn duration(cloud: &LocalCloud, turns: u64) -> Result<Row> {
    let log = cloud.service().log();
    let calls = log
        .iter()
        .filter(|record| record.kind == Kind::Classification);
    // The probe is no turn's.
    let calls = calls.count() - 1
        + log
            .iter()
            .filter(|r| r.kind != Kind::Classification)
            .count();
    let invocations = cloud.host()?.invocations();
    let of = |function: &'static str| invocations.iter().filter(move |it| it.function == function);
    let began = of("label-chunk").map(|it| it.started).min();
    let published = of("publish-bucket").filter_map(|it| it.ended).max();
    let took = match (began, published) {
        (Some(began), Some(published)) => published.duration_since(began).as_secs_f64(),
        _ => anyhow::bail!("nothing was labelled"),
    };
    let asked = calls as f64 * CALL.as_secs_f64() / SLOTS as f64;
    Ok(Row {
        what: format!(
            "function app: 400 conversations ({turns} turns, {calls} calls), 200 ms latency, \
             {SLOTS} in flight, from the first chunk's start to the published file"
        ),
        measured: format!("{took:.1} s ({:.3} × {asked:.1} s)", took / asked),
        goal: "≤ 1.15 × calls × latency / 50".into(),
        met: took <= 1.15 * asked,
    })
}

fn start(ready: Duration) -> Row {
    Row {
        what: "function app: process start to the first answer to `GET /`".into(),
        measured: format!("{} ms", ready.as_millis()),
        goal: "≤ 100 ms".into(),
        met: ready <= Duration::from_millis(100),
    }
}

/// Whether the host asked, and not the app: for its own records, and for what may wake the blob trigger.
pub(super) fn is_hosts(passed: &Passed) -> bool {
    passed.path.contains("azure-webjobs-hosts")
        || passed.path.ends_with("/datasets") && passed.query.contains("comp=list")
}

/// What the app asks storage for, by kind.
fn operations(log: &[Passed], turns: u64, chunks: u64) -> Row {
    let mut kinds = BTreeMap::<String, usize>::new();
    let log = log.iter().filter(|passed| !is_hosts(passed));
    let log = log.collect::<Vec<_>>();
    for passed in &log {
        let comp = passed
            .query
            .split('&')
            .find_map(|part| part.strip_prefix("comp="));
        let kind = match comp {
            Some(comp) => format!("{} {comp}", passed.method),
            None => passed.method.to_string(),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let kinds = kinds.iter().map(|(kind, times)| format!("{times} {kind}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let per_chunk = log.len() as f64 / chunks as f64;
    Row {
        what: format!(
            "function app: requests to blob storage for those {turns} turns, {chunks} chunks"
        ),
        measured: format!("{} ({per_chunk:.0} a chunk): {kinds}", log.len()),
        goal: "none".into(),
        met: true,
    }
}

/// What many small buckets, and the turns of large ones, ask of storage, from the first upload until every end is
/// settled.
pub(super) async fn requests() -> Result<Vec<Row>> {
    let small = (0..200).map(|_| (1, 2)).collect::<Vec<_>>();
    // 3,910 turns.
    let large = (0..9).map(|bucket| (if bucket < 8 { 87 } else { 86 }, 5));
    let large = large.collect::<Vec<_>>();
    let of_small = storage_requests(&small, options()).await?;
    let paced = options().setting("SOFTLABEL_TPM", "1000000");
    let of_large = storage_requests(&large, paced).await?;
    let turns = of_large.turns;
    let a_bucket = of_small.all as f64 / small.len() as f64;
    let writes = of_small.budget_writes as f64 / small.len() as f64;
    Ok(vec![
        Row {
            what: format!(
                "function app: requests to blob storage a bucket, {} buckets of two turns",
                small.len()
            ),
            measured: format!("{a_bucket:.1}"),
            goal: "≤ 60".into(),
            met: a_bucket <= 60.0,
        },
        Row {
            what: "function app: of these, writes of the dataset's budget".into(),
            measured: format!("{writes:.1}"),
            goal: "none".into(),
            met: true,
        },
        Row {
            what: format!(
                "function app: requests to blob storage a turn, {turns} turns in nine buckets at 1,000,000 \
                 tokens a minute"
            ),
            measured: format!("{:.2}", of_large.all as f64 / turns as f64),
            goal: "none".into(),
            met: true,
        },
    ])
}

/// What the app asked of blob storage.
struct Requests {
    all: usize,
    /// Of these, writes of `budget.json`, which a dataset has one of.
    budget_writes: usize,
    /// The turns that were labelled.
    turns: u64,
}

/// The app's requests to blob storage for buckets of so many conversations of so many turns.
async fn storage_requests(buckets: &[(u64, u32)], options: Options) -> Result<Requests> {
    let azurite = Azurite::start(Persistence::Memory).await?;
    let line = FaultyLine::start(azurite.blob_endpoint()).await?;
    let options = Options {
        blob_endpoint: Some(line.endpoint()),
        ..options
    };
    let cloud = LocalCloud::start(azurite.account()?, options).await?;
    let before = line.log().len();
    let mut turns = 0;
    for (number, (conversations, each)) in buckets.iter().enumerate() {
        let mut content = Vec::new();
        let data = Data {
            seed: number as u64,
            size: Size::Conversations(*conversations),
            turns: *each..=*each,
            ..Data::default()
        };
        turns += dataset::write(&data, &mut content)?.turns;
        let path = cloud.path(&format!("v4/train/bucket_{number}.json"));
        cloud.data().put(&path, content).await?;
    }
    // Asked of storage: the app would look at all runs for whoever asks it.
    let labeled = cloud.path("LABELED_v4/train/");
    let published = async || Ok(cloud.data().list(&labeled).await?.len() == buckets.len());
    until(PATIENCE, "every bucket is published", published).await?;
    let active = cloud.in_work("active/").await?;
    let settled = async || Ok(cloud.work().list(&active).await?.is_empty());
    until(PATIENCE, "the end of every run is settled", settled).await?;
    let log = line.log();
    let log = log.get(before..).unwrap_or_default();
    let of_app = log.iter().filter(|passed| !is_hosts(passed));
    let writes_budget =
        |passed: &&Passed| passed.method == "PUT" && passed.path.ends_with("/budget.json");
    let requests = Requests {
        all: of_app.clone().count(),
        budget_writes: of_app.filter(writes_budget).count(),
        turns,
    };
    cloud.stop().await;
    Ok(requests)
}

/// The handler's memory while a blob of 1.2 GB is planned and some of it is labelled.
pub(super) async fn memory() -> Result<Row> {
    let kept = folder()?.join("azurite");
    let _ = fs::remove_dir_all(&kept);
    let azurite = Azurite::start(Persistence::Folder(kept.clone())).await?;
    let mut options = options();
    options.service.latency = Latency::Fixed { ms: 20.0 };
    let cloud = LocalCloud::start(azurite.account()?, options).await?;
    let mut file = fs::File::open(raw(LARGE)?)?;
    let blocks = std::iter::from_fn(|| {
        let mut block = Vec::with_capacity(BLOCK);
        let read = file.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        read.is_ok_and(|read| read > 0).then_some(block)
    });
    cloud.data().put_blocks(&cloud.path(FILE), blocks).await?;
    let mut turns = 0;
    let enough = async || {
        let runs = cloud.runs().await?;
        let done = runs.first().and_then(|run| run.get("turns_done")?.as_u64());
        turns = done.unwrap_or_default();
        Ok(turns >= 20_000)
    };
    until(PATIENCE, "20,000 turns of 1.2 GB are labelled", enough).await?;
    let peak = cloud.host()?.worker_peak_memory() as f64 / 1e6;
    let runs = cloud.runs().await?;
    let planned = runs
        .first()
        .and_then(|run| run.get("turns").and_then(Value::as_u64));
    cloud.stop().await;
    drop(azurite);
    let _ = fs::remove_dir_all(kept);
    Ok(Row {
        what: format!(
            "function app: the handler's peak memory, a blob of 1.2 GB ({} turns) planned and \
             {turns} of them labelled with rationales",
            planned.unwrap_or_default()
        ),
        measured: format!("{peak:.1} MB"),
        goal: "≤ 150 MB".into(),
        met: peak <= 150.0,
    })
}
