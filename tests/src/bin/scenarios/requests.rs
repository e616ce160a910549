//! What people ask over HTTP.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::Latency;
use softlabel_doubles::azurite::Azurite;
use softlabel_doubles::faulty_line::{Fault, FaultyLine, When};
use softlabel_doubles::local_cloud::{Instance, LocalCloud, Options};
use softlabel_package::script_root::Hosting;

use crate::checks;
use crate::report::Report;
use crate::stage::{Bucket, PATIENCE, Stage, cloud, ended, labelled, until};

/// A run waits for an approval and gets it; the file is labelled again; a third run is cancelled and leaves those labels.
pub(crate) async fn all<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
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
        .filter(|call| !checks::is_probe(call));
    ensure!(asked.count() == 0, "calls were made before the approval");
    let run = newest(&cloud).await?;
    let began = Instant::now();
    let approve = json!({ "max_cost_usd": 10 });
    call(&cloud, 202, &format!("runs/{run}/approve"), Some(&approve)).await?;
    let took = ended(&cloud, 1, began, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from the approval to the last label",
        took.as_secs_f64()
    ));
    checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;

    let relabel = json!({ "dataset": "v4", "strategy": "with_context" });
    let first = call(&cloud, 202, "relabel", Some(&relabel)).await?;
    let again = call(&cloud, 202, "relabel", Some(&relabel)).await?;
    ensure!(
        run_of(&first)? == run_of(&again)?,
        "the same request names two runs"
    );
    ended(&cloud, 2, began, PATIENCE).await?;
    let turns = checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    report.figure(format!("{turns} turns labelled with another strategy"));

    let path = format!("LABELED_{}", bucket.path.replace(".json", ".jsonl"));
    let before = cloud.lines(&path).await?;
    cloud
        .service()
        .update(|config| config.latency = Latency::Fixed { ms: 2_000.0 })?;
    let relabel = json!({ "dataset": "v4", "strategy": "user_message_only", "force": true });
    let third = call(&cloud, 202, "relabel", Some(&relabel)).await?;
    let third = run_of(&third)?;
    let calls = cloud.service().log().len();
    let labels = async || Ok(cloud.service().log().len() > calls);
    until(PATIENCE, "the third run is labelled", labels).await?;
    let said = call(&cloud, 200, &format!("runs/{third}/cancel"), None).await?;
    ensure!(said["state"] == "cancelled", "a cancelled run says {said}");
    ended(&cloud, 3, began, PATIENCE).await?;
    ensure!(
        cloud.lines(&path).await? == before,
        "a cancelled run changed labels"
    );
    cloud.stop().await;
    Ok(())
}

/// Labels that are there are not bought again; settings that are put back bring theirs back.
pub(crate) async fn same_again<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
    let cloud = cloud::<H>(stage.options(Hosting::Local)).await?;
    let bucket = Bucket::generated("v4/train/short.json", 20, 7)?;
    bucket.upload(&cloud).await?;
    let began = Instant::now();
    ended(&cloud, 1, began, PATIENCE).await?;
    for granted in [
        json!({ "dataset": "v4" }),
        json!({ "dataset": "v4", "only": "failed" }),
    ] {
        call(&cloud, 200, "relabel", Some(&granted)).await?;
    }
    let nowhere = json!({ "dataset": "v4", "splits": ["train", "nowhere"] });
    call(&cloud, 400, "relabel", Some(&nowhere)).await?;
    let mut bought = 0;
    let strategies = ["with_context", "user_message_only", "with_context"];
    for (number, strategy) in strategies.into_iter().enumerate() {
        let relabel = json!({ "dataset": "v4", "strategy": strategy });
        call(&cloud, 202, "relabel", Some(&relabel)).await?;
        ended(&cloud, number + 2, began, PATIENCE).await?;
        call(&cloud, 200, "relabel", Some(&relabel)).await?;
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
        call(&cloud, 202, "relabel", Some(&relabel)).await?;
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
    let turns = checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    report.figure(format!(
        "{turns} turns labelled three times, published seven times"
    ));
    cloud.stop().await;
    Ok(())
}

/// A relabel that failed, and one that was cancelled, are asked for again by the same request.
pub(crate) async fn mended<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
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
    let failed = call(&cloud, 202, "relabel", Some(&relabel)).await?;
    ended(&cloud, 2, began, PATIENCE).await?;
    let now = state(&cloud).await?;
    ensure!(now.as_deref() == Some("failed"), "no label makes {now:?}");
    ensure!(
        cloud.lines(&path).await? == before,
        "a failed run changed labels"
    );
    service.update(|config| config.oddities.neither_label = 0.0)?;
    let again = call(&cloud, 202, "relabel", Some(&relabel)).await?;
    ensure!(run_of(&failed)? != run_of(&again)?, "a dead run is named");
    ended(&cloud, 3, began, PATIENCE).await?;
    checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    call(&cloud, 200, "relabel", Some(&relabel)).await?;

    let relabel = json!({ "dataset": "v4", "rationales": false });
    service.update(|config| config.latency = Latency::Fixed { ms: 2_000.0 })?;
    let calls = service.log().len();
    let cancelled = call(&cloud, 202, "relabel", Some(&relabel)).await?;
    let labels = async || Ok(service.log().len() > calls + 8);
    until(PATIENCE, "the run is labelled", labels).await?;
    let cancel = format!("runs/{}/cancel", run_of(&cancelled)?);
    call(&cloud, 200, &cancel, None).await?;
    service.update(|config| config.latency = Latency::Fixed { ms: 100.0 })?;
    let again = call(&cloud, 202, "relabel", Some(&relabel)).await?;
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
    report.figure(format!(
        "{turns} turns; what was cancelled bought none of them twice"
    ));
    cloud.stop().await;
    Ok(())
}

/// The output may not be written at first: nothing is bought before it may. Then the same bytes are uploaded again.
pub(crate) async fn refused<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
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
    let mut reason = String::new();
    let waits = async || {
        let runs = cloud.runs().await?;
        let run = runs.first().filter(|run| run["state"] == "waiting");
        reason = run.map_or_else(String::new, |run| run["reason"].to_string());
        Ok(run.is_some())
    };
    until(PATIENCE, "the run waits for its right", waits).await?;
    for words in [
        "403 AuthorizationPermissionMismatch",
        "Storage Blob Data Contributor",
    ] {
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
    report.figure(labelled(&cloud, &[bucket, other], &[]).await?);
    cloud.stop().await;
    Ok(())
}

/// A file is removed while it is labelled, and put back: the run waits, and goes on with what it has.
pub(crate) async fn not_there<H: Instance>(stage: &Stage, report: &mut Report) -> Result<()> {
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
    checks::labels(&cloud, std::slice::from_ref(&bucket)).await?;
    report.figure(format!(
        "{:.1} s from the file's return to the last label",
        took.as_secs_f64()
    ));
    cloud.stop().await;
    Ok(())
}

/// The run that an answer names first.
fn run_of(answer: &Value) -> Result<&str> {
    let run = answer.pointer("/runs/0/run").and_then(Value::as_str);
    run.context("there is no run")
}

/// The state of the newest run, if there is one.
async fn state<H: Instance>(cloud: &LocalCloud<H>) -> Result<Option<String>> {
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
async fn call<H: Instance>(
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
