//! The function app over many runs that are not at their end.

use super::Row;
use super::app::{is_hosts, options};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use softlabel::clock::Clock;
use softlabel::run::list::Place;
use softlabel::run::record::{Record, State};
use softlabel_doubles::azurite::{Azurite, Persistence};
use softlabel_doubles::faulty_line::FaultyLine;
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use softlabel_doubles::storage::Container;
use softlabel_doubles::until;
use std::time::{Duration, Instant};

const RUNS: usize = 10_000;

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(900);

/// Blobs written at a time.
const AT_ONCE: usize = 32;

const FILE: &str = "v4/train/b00000.json";

/// How long a round of the reconciler takes that looks at all of them, and a page of the list.
pub(super) async fn open() -> Result<Vec<Row>> {
    let azurite = Azurite::start(Persistence::Memory).await?;
    let line = FaultyLine::start(azurite.blob_endpoint()).await?;
    let mut options = Options {
        blob_endpoint: Some(line.endpoint()),
        // Nobody looks for new files while these are made.
        looks: Duration::from_secs(3600),
        ..options()
    };
    options.event_faults.lost = 1.0;
    let options = options.setting("SOFTLABEL_MAX_COST", "0");
    let cloud = LocalCloud::start(azurite.account()?, options).await?;
    let content: &[u8] =
        br#"[{"conversationId": "c", "turnsArray": [{"messageId": "m", "userMessage": "why?"}]}]"#;
    let path = cloud.path(FILE);
    cloud.data().put(&path, content.to_vec()).await?;
    let body = json!({"dataset": "v4"});
    let reply = cloud.call("POST", "relabel", Some(&body)).await?;
    ensure!(reply.status == 202, "the relabel answered {}", reply.body);
    let waits = async || {
        let runs = cloud.runs().await?;
        let state = runs.first().and_then(|run| run.get("state").cloned());
        Ok(state == Some(json!("awaiting_approval")))
    };
    until(PATIENCE, "the first run is planned", waits).await?;
    // What is done once an hour is done with the first round.
    let first = async || Ok(!rounds(&cloud)?.is_empty());
    until(PATIENCE, "a round is over", first).await?;
    let runs = cloud.runs().await?;
    let run = runs.first().and_then(|run| run.get("run")?.as_str());
    let run = run.context("the run has no name")?;
    // The folder in the work container of what belongs to this place of data.
    let place = cloud.in_work("").await?;
    let record = cloud.work().get(&format!("{place}runs/{run}.json")).await?;
    let record = record.context("the run has no record")?;
    let template = serde_json::from_slice::<Value>(&record.content)?;
    let made = stream::iter(0..RUNS).map(|number| make(&cloud, &place, &template, content, number));
    let mut made = made.buffer_unordered(AT_ONCE);
    while made.try_next().await?.is_some() {}
    drop(made);
    // Until they are marked nobody looks at them.
    let work = cloud.work();
    let marked = stream::iter(0..RUNS).map(|number| mark(&work, &place, number));
    let mut marked = marked.buffer_unordered(AT_ONCE);
    while marked.try_next().await?.is_some() {}
    drop(marked);
    // A round that had begun before saw some of them alone.
    next_round(&cloud).await?;
    let asked = line.log().len();
    let took = next_round(&cloud).await?;
    let requests = by_the_app(&line, asked);
    println!("a round took {took:.1?} and {requests} requests");
    // What is done once an hour is due again.
    for kind in ["retention", "overlooked"] {
        let progress = format!("{place}rounds/{kind}.json");
        cloud.work().delete(&progress).await?;
    }
    let asked = line.log().len();
    let hourly = next_round(&cloud).await?;
    let hourly_requests = by_the_app(&line, asked);
    let began = Instant::now();
    let reply = cloud.call("GET", "runs", None).await?;
    let listed = began.elapsed();
    let shown = reply.body.get("runs").and_then(Value::as_array);
    let shown = shown.map_or(0, Vec::len);
    let peak = cloud.host()?.worker_peak_memory() as f64 / 1e6;
    cloud.stop().await;
    Ok(vec![
        Row {
            what: format!("function app: a round of the reconciler over {RUNS} runs under way"),
            measured: format!(
                "{:.1} s, {requests} requests to blob storage, peak memory {peak:.1} MB",
                took.as_secs_f64(),
            ),
            goal: "≤ 300 s".into(),
            met: took <= Duration::from_secs(300),
        },
        Row {
            what: "the same, with what is done once an hour".into(),
            measured: format!(
                "{:.1} s, {hourly_requests} requests to blob storage",
                hourly.as_secs_f64()
            ),
            goal: "≤ 600 s".into(),
            met: hourly <= Duration::from_secs(600),
        },
        Row {
            what: format!("function app: `GET /api/runs` over {RUNS} runs, a page of {shown}"),
            measured: format!("{:.1} s", listed.as_secs_f64()),
            goal: "≤ 5 s".into(),
            met: shown == 100 && listed <= Duration::from_secs(5),
        },
    ])
}

/// How long the rounds of the reconciler took that are over.
fn rounds(cloud: &LocalCloud) -> Result<Vec<Duration>> {
    let invocations = cloud.host()?.invocations();
    let rounds = invocations.iter().filter(|it| it.function == "reconcile");
    let took = rounds.filter_map(|it| Some(it.ended?.duration_since(it.started)));
    Ok(took.collect())
}

/// How many requests the app sent over the line, after the first so many.
fn by_the_app(line: &FaultyLine, first: usize) -> usize {
    let passed = line.log_since(first);
    passed.iter().filter(|passed| !is_hosts(passed)).count()
}

/// Waits until one more round is over; gives how long that took.
async fn next_round(cloud: &LocalCloud) -> Result<Duration> {
    let before = rounds(cloud)?.len();
    let next = async || Ok(rounds(cloud)?.len() > before);
    until(PATIENCE, "a round is over", next).await?;
    rounds(cloud)?.pop().context("no round is over")
}

fn name(number: usize) -> String {
    format!("{number:016x}")
}

/// Has the reconciler look at a run.
async fn mark(work: &Container, place: &str, number: usize) -> Result<()> {
    work.put(&format!("{place}active/{}", name(number)), "")
        .await?;
    Ok(())
}

/// A run of a file of its own, like `template` but that its chunks are under way.
async fn make(
    cloud: &LocalCloud,
    place: &str,
    template: &Value,
    content: &[u8],
    number: usize,
) -> Result<()> {
    let file = format!("train/c{number:05}.json");
    let path = cloud.path(&format!("v4/{file}"));
    let etag = cloud.data().put(&path, content.to_vec()).await?;
    let mut record = serde_json::from_value::<Record>(template.clone())?;
    record.run = name(number);
    record.file.clone_from(&file);
    etag.trim_matches('"').clone_into(&mut record.source.etag);
    record.state = State::Labeling;
    record.chunks = Some(3);
    let now = Clock::system().now();
    (record.watch.moved, record.watch.sent) = (now, now);
    let work = cloud.work();
    let run = &record.run;
    let current = json!({"run": run, "before": []}).to_string();
    let place_in_list = Place::of(&record).path();
    let content = serde_json::to_vec(&record)?;
    for (path, content) in [
        (&format!("current/v4/{file}"), current.into_bytes()),
        (&format!("runs/{run}.json"), content),
        (&place_in_list, Vec::new()),
    ] {
        work.put(&format!("{place}{path}"), content).await?;
    }
    Ok(())
}
