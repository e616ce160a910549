//! What people ask over HTTP.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::Latency;
use softlabel_doubles::local_cloud::{Instance, LocalCloud};
use softlabel_doubles::prompt::is_probe;
use softlabel_package::script_root::Hosting;

use crate::checks;
use crate::report::Report;
use crate::stage::{Bucket, Ending, PATIENCE, Stage, cloud, ended, until};

/// A turn without a label is tried so often.
const ATTEMPTS: usize = 2;

/// A run waits for an approval and gets it; the file is labelled again; a third run is cancelled and leaves those labels.
pub(crate) async fn all<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    let options = stage.options(Hosting::Local);
    let options = options.setting("SOFTLABEL_MAX_COST", "0.001");
    let cloud = cloud::<H>(options).await?;
    let bucket = Bucket::generated("v4/train/short.json", 40, 6)?;
    bucket.upload(&cloud).await?;
    let waits = async || Ok(state(&cloud).await? == Some("awaiting_approval".to_owned()));
    until(PATIENCE, "the run waits for an approval", waits).await?;
    let asked = cloud
        .service()
        .log()
        .into_iter()
        .filter(|call| !is_probe(call));
    ensure!(asked.count() == 0, "calls were made before the approval");
    let run = newest(&cloud).await?;
    let began = Instant::now();
    let approve = json!({ "max_cost_usd": 10 });
    post(&cloud, 202, &format!("runs/{run}/approve"), Some(&approve)).await?;
    let took = ended(&cloud, 1, began, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the approval to the last label",
        took.as_secs_f64()
    ));
    checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;

    let relabel = json!({ "dataset": "v4", "strategy": "with_context" });
    let first = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    let again = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    ensure!(
        run_of(&first)? == run_of(&again)?,
        "the same request names two runs"
    );
    ended(&cloud, 2, began, PATIENCE).await?;
    let turns = checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    report.figure(format!("{turns} turns labelled with another strategy"));

    // The same labels would be there again, in a file of another ETag.
    let path = format!("LABELED_{}", bucket.path.replace(".json", ".jsonl"));
    let path = cloud.path(&path);
    let before = cloud.data().get(&path).await?;
    cloud
        .service()
        .update(|config| config.latency = Latency::Fixed { ms: 2_000.0 })?;
    let relabel = json!({ "dataset": "v4", "strategy": "with_context", "force": true });
    let third = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    let third = run_of(&third)?;
    let calls = cloud.service().log().len();
    let labels = async || Ok(cloud.service().log().len() > calls);
    until(PATIENCE, "the third run is labelled", labels).await?;
    let said = post(&cloud, 200, &format!("runs/{third}/cancel"), None).await?;
    ensure!(said["state"] == "cancelled", "a cancelled run says {said}");
    ended(&cloud, 3, began, PATIENCE).await?;
    ensure!(
        before.is_some() && cloud.data().get(&path).await? == before,
        "a cancelled run changed labels"
    );
    Ok(Ending::new(cloud, vec![bucket]).asked(3))
}

/// Labels that are there are not bought again; settings that are put back bring theirs back.
pub(crate) async fn same_again<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let cloud = cloud::<H>(stage.options(Hosting::Local)).await?;
    let bucket = Bucket::generated("v4/train/short.json", 20, 7)?;
    bucket.upload(&cloud).await?;
    let began = Instant::now();
    ended(&cloud, 1, began, PATIENCE).await?;
    for granted in [
        json!({ "dataset": "v4" }),
        json!({ "dataset": "v4", "only": "failed" }),
    ] {
        post(&cloud, 200, "relabel", Some(&granted)).await?;
    }
    let nowhere = json!({ "dataset": "v4", "splits": ["train", "nowhere"] });
    post(&cloud, 400, "relabel", Some(&nowhere)).await?;
    let mut bought = 0;
    let strategies = ["with_context", "user_message_only", "with_context"];
    for (number, strategy) in strategies.into_iter().enumerate() {
        let relabel = json!({ "dataset": "v4", "strategy": strategy });
        post(&cloud, 202, "relabel", Some(&relabel)).await?;
        ended(&cloud, number + 2, began, PATIENCE).await?;
        post(&cloud, 200, "relabel", Some(&relabel)).await?;
        let asked = cloud.service().log().len();
        ensure!(
            number == 0 || asked == bought,
            "what is put back was bought again"
        );
        bought = asked;
    }
    let path = format!("LABELED_{}", bucket.path.replace(".json", ".jsonl"));
    for (number, rationales) in [false, true, false].into_iter().enumerate() {
        let relabel = json!({ "dataset": "v4", "rationales": rationales });
        post(&cloud, 202, "relabel", Some(&relabel)).await?;
        ended(&cloud, number + 5, began, PATIENCE).await?;
        let lines = cloud.lines(&path).await?.unwrap_or_default();
        let labeled = lines.iter().filter(|line| line.get("soft_label").is_some());
        let mut has = labeled.map(|line| line.get("rationale").is_some());
        ensure!(
            has.all(|has| has == rationales),
            "rationales are not {rationales}"
        );
        let asked = cloud.service().log().len();
        ensure!(
            number == 0 || asked == bought,
            "rationales that are put back were bought again"
        );
        bought = asked;
    }
    report.figure("asked in three ways, published seven times");
    Ok(Ending::new(cloud, vec![bucket]).asked(3))
}

/// A relabel that failed, and one that was cancelled, are asked for again by the same request.
pub(crate) async fn mended<H: Instance>(stage: &Stage) -> Result<Ending<H>> {
    let options = stage.options(Hosting::Local);
    let cloud = cloud::<H>(options.setting("SOFTLABEL_CONCURRENCY", "8")).await?;
    let bucket = Bucket::generated("v4/train/short.json", 60, 6)?;
    bucket.upload(&cloud).await?;
    let began = Instant::now();
    ended(&cloud, 1, began, PATIENCE).await?;
    let path = format!("LABELED_{}", bucket.path.replace(".json", ".jsonl"));
    let before = cloud.lines(&path).await?;
    let relabel = json!({ "dataset": "v4", "strategy": "with_context" });
    let service = cloud.service();
    service.update(|config| config.oddities.neither_label = 1.0)?;
    let failed = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    ended(&cloud, 2, began, PATIENCE).await?;
    let now = state(&cloud).await?;
    ensure!(now.as_deref() == Some("failed"), "no label makes {now:?}");
    ensure!(
        cloud.lines(&path).await? == before,
        "a failed run changed labels"
    );
    service.update(|config| config.oddities.neither_label = 0.0)?;
    let again = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    ensure!(run_of(&failed)? != run_of(&again)?, "a dead run is named");
    ended(&cloud, 3, began, PATIENCE).await?;
    checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    post(&cloud, 200, "relabel", Some(&relabel)).await?;

    let relabel = json!({ "dataset": "v4", "rationales": false });
    service.update(|config| config.latency = Latency::Fixed { ms: 2_000.0 })?;
    let calls = service.log().len();
    let cancelled = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    let labels = async || Ok(service.log().len() > calls + 8);
    until(PATIENCE, "the run is labelled", labels).await?;
    let cancel = format!("runs/{}/cancel", run_of(&cancelled)?);
    post(&cloud, 200, &cancel, None).await?;
    service.update(|config| config.latency = Latency::Fixed { ms: 100.0 })?;
    let again = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    ensure!(
        run_of(&cancelled)? != run_of(&again)?,
        "a dead run is named"
    );
    ended(&cloud, 5, began, PATIENCE).await?;
    let turns = checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    let bought = service.log().len() - calls;
    ensure!(
        bought == turns,
        "{turns} turns were asked {bought} times, over a cancel"
    );
    Ok(Ending::new(cloud, vec![bucket]).asked(3 + ATTEMPTS))
}

/// What cannot be asked names what can. What is granted already begins nothing; a labelled file that was removed is
/// published again; a relabel that is cancelled leaves the settings of the dataset.
pub(crate) async fn nothing_to_do<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    // So few calls at a time that a run is long under way.
    let options = stage.options(Hosting::Local);
    let cloud = cloud::<H>(options.setting("SOFTLABEL_CONCURRENCY", "4")).await?;
    let bucket = Bucket::generated("v4/train/short.json", 67, 6)?;
    bucket.upload(&cloud).await?;
    let began = Instant::now();
    ended(&cloud, 1, began, PATIENCE).await?;
    let approve = format!("runs/{}/approve", newest(&cloud).await?);
    let refused = [
        (
            "relabel",
            json!({ "dataset": "v4", "splits": ["train", "tset"] }),
            "there are train",
        ),
        (
            "relabel",
            json!({ "dataset": "v4", "buckets": ["long"] }),
            "there are short",
        ),
        (
            "relabel",
            json!({ "dataset": "v4", "only": "some" }),
            "`failed`",
        ),
        (
            "relabel",
            json!({ "dataset": "v4", "split": ["train"] }),
            "`splits`",
        ),
        (approve.as_str(), json!({ "max_cost": 5 }), "max_cost_usd"),
        ("runs?state=done", Value::Null, "complete"),
        ("runs?colour=red", Value::Null, "dataset, state"),
    ];
    for (path, body, names) in &refused {
        let reply = match body {
            Value::Null => cloud.call("GET", path, None).await?,
            body => cloud.call("POST", path, Some(body)).await?,
        };
        let error = reply.body["error"].as_str().unwrap_or_default();
        ensure!(
            reply.status == 400 && error.contains(names),
            "{path} with {body} answered {}: {}",
            reply.status,
            reply.body
        );
    }
    let failed = json!({ "dataset": "v4", "only": "failed" });
    post(&cloud, 200, "relabel", Some(&failed)).await?;
    let runs = cloud.runs().await?.len();
    ensure!(runs == 1, "there are {runs} runs");
    report.figure(format!("{} requests are refused", refused.len()));

    let path = "LABELED_v4/train/short.jsonl";
    let before = cloud.lines(path).await?;
    let calls = cloud.service().log().len();
    cloud.data().delete(&cloud.path(path)).await?;
    let same = json!({ "dataset": "v4" });
    post(&cloud, 202, "relabel", Some(&same)).await?;
    ended(&cloud, 2, began, PATIENCE).await?;
    post(&cloud, 200, "relabel", Some(&same)).await?;
    let bought = cloud.service().log().len() - calls;
    ensure!(
        bought == 0 && cloud.lines(path).await? == before,
        "{bought} calls were made to publish again what was removed"
    );

    let service = cloud.service();
    service.update(|config| config.latency = Latency::Fixed { ms: 2_000.0 })?;
    let relabel = json!({ "dataset": "v4", "rationales": false });
    let cancelled = post(&cloud, 202, "relabel", Some(&relabel)).await?;
    let labels = async || Ok(service.log().len() > calls);
    until(PATIENCE, "the relabel is labelled", labels).await?;
    let cancel = format!("runs/{}/cancel", run_of(&cancelled)?);
    let said = post(&cloud, 200, &cancel, None).await?;
    ensure!(said["state"] == "cancelled", "a cancelled run says {said}");
    service.update(|config| config.latency = Latency::Fixed { ms: 100.0 })?;
    let other = Bucket::generated("v4/test/long.json", 68, 4)?;
    other.upload(&cloud).await?;
    ended(&cloud, 4, began, PATIENCE).await?;
    let lines = cloud.lines("LABELED_v4/test/long.jsonl").await?;
    let lines = lines.unwrap_or_default();
    let labelled = lines.iter().filter(|line| line.get("soft_label").is_some());
    let mut rationales = labelled.map(|line| line["rationale"].is_string());
    ensure!(
        rationales.all(|there| there),
        "a relabel that was cancelled changed the settings of the dataset"
    );
    ensure!(
        cloud.lines(path).await? == before,
        "a relabel that was cancelled changed labels"
    );
    Ok(Ending::new(cloud, vec![bucket, other]).asked(2))
}

/// The run that an answer names first.
fn run_of(answer: &Value) -> Result<&str> {
    let run = answer.pointer("/runs/0/run").and_then(Value::as_str);
    run.context("there is no run")
}

/// The state of the newest run, if there is one.
pub(crate) async fn state<H: Instance>(cloud: &LocalCloud<H>) -> Result<Option<String>> {
    let runs = cloud.runs().await?;
    let state = runs.first().and_then(|run| run["state"].as_str());
    Ok(state.map(str::to_owned))
}

async fn newest<H: Instance>(cloud: &LocalCloud<H>) -> Result<String> {
    let runs = cloud.runs().await?;
    let run = runs.first().and_then(|run| run["run"].as_str());
    Ok(run.context("there is no run")?.to_owned())
}

/// Posts to the app, which must answer with that status.
pub(crate) async fn post<H: Instance>(
    cloud: &LocalCloud<H>,
    status: u16,
    path: &str,
    body: Option<&Value>,
) -> Result<Value> {
    let reply = cloud.call("POST", path, body).await?;
    ensure!(
        reply.status == status,
        "POST {path} answered {}: {}",
        reply.status,
        reply.body
    );
    Ok(reply.body)
}
