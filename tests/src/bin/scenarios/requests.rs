//! What people ask over HTTP.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::Latency;
use softlabel_doubles::local_cloud::{Instance, LocalCloud};
use softlabel_package::script_root::Hosting;

use crate::checks;
use crate::report::Report;
use crate::stage::{Bucket, PATIENCE, Stage, cloud, ended, until};

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
    let names = "/runs/0/run";
    ensure!(
        first.pointer(names) == again.pointer(names),
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
    let third = third
        .pointer(names)
        .and_then(Value::as_str)
        .context("there is no run")?;
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
