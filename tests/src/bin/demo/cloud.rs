//! The demo in a cloud on this machine.

use super::{Args, DATASET, Stage, service};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use softlabel_doubles::azurite::{Azurite, Persistence};
use softlabel_doubles::local_cloud::{LocalCloud, Options};
use std::collections::BTreeSet;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::ctrl_c;

/// Time between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// The bucket files of the sample dataset.
const FILES: usize = 9;

/// Uploads the samples, waits until they are labelled, and fetches the result.
pub(super) async fn run(args: &Args, stage: &Stage) -> Result<ExitCode> {
    println!(
        "A cloud on this machine: Azurite for storage (installed under target/ if it is not yet), and\n\
         doubles of Event Grid, the Functions host and Azure OpenAI. The teacher is SIMULATED: it\n\
         answers by a seeded function of each message. Its labels are for show, not for training.\n"
    );
    let azurite = Azurite::start(Persistence::Memory).await.context(
        "there is no storage for the cloud; `cargo demo --local` labels a local folder without it",
    )?;
    let account = azurite.well_known_account();
    let connection = account.connection_string();
    let options = Options {
        service: service(),
        echo: args.echo,
        reconcile_every: Some(Duration::from_secs(5)),
        ..Options::new(&stage.repository, &stage.softlabel)
    }
    .setting("SOFTLABEL_STRATEGY", &args.strategy)
    .setting("SOFTLABEL_NO_RATIONALES", args.no_rationales.to_string());
    let cloud = LocalCloud::start(account, options).await?;
    let samples = stage.repository.join("samples").join(DATASET);
    let files = cloud.upload(DATASET, &samples).await?;
    println!(
        "uploaded {} files to datasets/{}; labelling begins by itself",
        files.len(),
        cloud.path(DATASET)
    );
    let host = cloud.host()?;
    let (page, key) = (format!("{}/api/page", host.endpoint()), host.function_key());
    println!("watch it at {page}, with the key {key}\n");
    tokio::select! {
        labeled = until_labeled(&cloud) => labeled?,
        _ = ctrl_c() => {
            println!("\nstopped");
            return Ok(ExitCode::from(130));
        }
    }
    fetch(&cloud, &stage.output).await?;
    println!(
        "\nThe result lies in datasets/{} and was copied to {}",
        cloud.path(&format!("LABELED_{DATASET}")),
        stage.output.display()
    );
    if args.keep {
        stage.show(&page)?;
        keep(&cloud, &connection, &stage.output).await?;
    } else {
        stage.show(&format!(
            "{page}, while `cargo demo --keep` leaves the cloud running"
        ))?;
    }
    println!("The teacher was simulated.");
    cloud.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Shows how far the runs are until all of them are at their end and the metadata says so.
async fn until_labeled(cloud: &LocalCloud) -> Result<()> {
    let began = Instant::now();
    let mut shown = String::new();
    loop {
        let runs = cloud.runs().await?;
        let line = progress(&runs, began.elapsed());
        show(&line, &mut shown);
        let open = runs
            .iter()
            .any(|run| run.pointer("/links/cancel").is_some());
        if runs.len() >= FILES && !open && completed(cloud).await? {
            println!();
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("it does not come to its end; `cargo demo --echo` shows what the app logs");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the metadata says that every bucket is published, and the report is written.
async fn completed(cloud: &LocalCloud) -> Result<bool> {
    let get = async |name: &str| {
        let path = cloud.path(&format!("LABELED_{DATASET}/{name}"));
        cloud.data().get(&path).await
    };
    let Some(blob) = get("labeling_metadata.json").await? else {
        return Ok(false);
    };
    let metadata: Value = serde_json::from_slice(&blob.content)?;
    let is_complete = metadata.get("completed").is_some_and(Value::is_string);
    Ok(is_complete && get("report.html").await?.is_some())
}

/// One line about all runs.
fn progress(runs: &[Value], elapsed: Duration) -> String {
    let sum = |key: &str| -> u64 {
        let values = runs.iter().filter_map(|run| run.get(key)?.as_u64());
        values.sum()
    };
    let ended = runs
        .iter()
        .filter(|run| run.pointer("/links/cancel").is_none());
    let (done, all) = (sum("turns_done"), sum("turns"));
    let rate = done as f64 / elapsed.as_secs_f64().max(0.1);
    format!(
        "{} of {FILES} buckets, {done} of {all} turns, {rate:.0} turns/s",
        ended.count()
    )
}

/// Rewrites the line on a terminal; elsewhere prints what changed.
fn show(line: &str, shown: &mut String) {
    if line == shown {
        return;
    }
    if std::io::stdout().is_terminal() {
        print!("\r{line:<78}");
        let _ = std::io::stdout().flush();
    } else {
        println!("{line}");
    }
    line.clone_into(shown);
}

/// Copies what was labelled into a local folder.
async fn fetch(cloud: &LocalCloud, output: &Path) -> Result<()> {
    let base = cloud.path("");
    for item in cloud.data().list(&cloud.path("LABELED_")).await? {
        let Some(blob) = cloud.data().get(&item.name).await? else {
            continue;
        };
        let path = output.join(item.name.strip_prefix(&base).unwrap_or(&item.name));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, blob.content)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Leaves everything running until Ctrl-C. A folder with a `metadata.json` that is put into `drop` is
/// uploaded as a dataset.
async fn keep(cloud: &LocalCloud, connection: &str, output: &Path) -> Result<()> {
    let drop_here = output.join("drop");
    fs::create_dir_all(&drop_here)?;
    let host = cloud.host()?;
    let (app, key) = (host.endpoint(), host.function_key());
    println!(
        "\nThe cloud runs on until Ctrl-C.\n\n\
         Another dataset: copy its folder, with a metadata.json, into\n  {}\n\
         Watch its runs at {app}/api/page, with the key {key}\n\
         The same as JSON:\n  curl -H 'x-functions-key: {key}' {app}/api/runs\n\
         Label again otherwise:\n  curl -H 'x-functions-key: {key}' {app}/api/relabel \\\n    \
         -H 'content-type: application/json' \
         -d '{{\"dataset\": \"{DATASET}\", \"strategy\": \"with_context\"}}'\n\
         Blobs and queues, for any tool:\n  {connection}\n\
         What is labelled is copied to {}",
        drop_here.display(),
        output.display()
    );
    let mut uploaded = BTreeSet::new();
    loop {
        tokio::select! {
            _ = ctrl_c() => return Ok(()),
            () = tokio::time::sleep(LOOK * 4) => {}
        }
        for entry in fs::read_dir(&drop_here)? {
            let folder = entry?.path();
            let name = folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            let Some(name) = name.filter(|_| folder.join("metadata.json").is_file()) else {
                continue;
            };
            if uploaded.insert(name.clone()) {
                let files = cloud.upload(&name, &folder).await?;
                println!("uploaded {name}: {} files", files.len());
            }
        }
        fetch(cloud, output).await?;
    }
}
