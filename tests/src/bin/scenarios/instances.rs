//! Processes that die.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use softlabel_doubles::azure_openai::{Config, Latency, Loss};
use softlabel_doubles::local_cloud::{Instance, LocalCloud, Options};
use softlabel_doubles::prompt::is_probe;
use softlabel_doubles::real_host::RealHost;
use softlabel_package::script_root::Hosting;

use crate::report::Report;
use crate::stage::{Bucket, Ending, PATIENCE, Stage, asked_twice, cloud, ended, until};

/// What an instance that dies may cost.
const RECOVERY: Duration = Duration::from_secs(120);

/// After this the messages of an instance that died are visible again.
const LEASE_AND_MORE: Duration = Duration::from_secs(15 * 60);

/// A worker whose host is gone looks for it every few seconds.
const ORPHANED: Duration = Duration::from_secs(20);

/// Labels alone, slowly enough to do something meanwhile, in chunks so small that every instance has some.
fn slow(options: Options) -> Options {
    Options {
        service: Config {
            latency: Latency::Fixed { ms: 400.0 },
            ..options.service
        },
        ..options
    }
    .setting("SOFTLABEL_NO_RATIONALES", "true")
    .setting("SOFTLABEL_CHUNK_TURNS", "8")
    .setting("SOFTLABEL_CONCURRENCY", "12")
}

/// Waits until every instance has had so many answers.
async fn all_label<H: Instance>(cloud: &LocalCloud<H>, answers: usize) -> Result<()> {
    let labels = async || {
        let log = cloud.service().log();
        let answered = |caller| {
            let own = log
                .iter()
                .filter(|call| call.caller == caller && !is_probe(call));
            own.filter(|call| call.fully_sent).count()
        };
        Ok(cloud
            .hosts()
            .iter()
            .all(|host| answered(cloud.caller(host)) >= answers))
    };
    until(PATIENCE, "every instance labels", labels).await
}

/// What the death of an instance may have lost.
async fn lost<H: Instance>(
    cloud: &LocalCloud<H>,
    host: &H,
    kill: impl Future<Output = ()>,
) -> Loss {
    let service = cloud.service();
    let began = service.now();
    kill.await;
    Loss {
        caller: Some(cloud.caller(host)),
        began,
        ended: service.now(),
    }
}

/// Host and worker of one of two instances get SIGKILL in the middle; another instance comes.
pub(crate) async fn one_dies<H: Instance>(stage: &Stage, report: &mut Report) -> Result<Ending<H>> {
    let options = Options {
        instances: 2,
        ..slow(stage.options(Hosting::Local))
    };
    let mut cloud = cloud::<H>(options).await?;
    let bucket = Bucket::generated("v4/train/short.json", 30, 120)?;
    bucket.upload(&cloud).await?;
    let began = Instant::now();
    all_label(&cloud, 100).await?;
    let dying = cloud
        .hosts()
        .last()
        .context("there is no instance")?
        .clone();
    let killed = Instant::now();
    let losses = vec![lost(&cloud, &dying, dying.crash()).await];
    cloud.replace_instance(1).await?;
    let recovered = ended(&cloud, 1, killed, RECOVERY).await;
    let recovered = report.expect("what it held is labelled within two minutes", recovered);
    let took = match recovered {
        Some(took) => took,
        None if stage.long => ended(&cloud, 1, killed, LEASE_AND_MORE).await?,
        None => {
            let twice = asked_twice(&cloud, 1, &losses)?;
            bail!("not recovered {RECOVERY:?} after SIGKILL; {twice} so far");
        }
    };
    report.figure(format!(
        "{:.1} s from SIGKILL to the last label, {:.1} s from the upload",
        took.as_secs_f64(),
        began.elapsed().as_secs_f64()
    ));
    Ok(Ending::new(cloud, vec![bucket]).lost(losses))
}

/// The worker alone gets SIGKILL in the middle; its host starts another one.
pub(crate) async fn a_worker_crashes<H: Instance>(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<H>> {
    let cloud = cloud::<H>(slow(stage.options(Hosting::Local))).await?;
    let bucket = Bucket::generated("v4/train/short.json", 31, 40)?;
    bucket.upload(&cloud).await?;
    all_label(&cloud, 60).await?;
    let host = cloud.host()?;
    let killed = Instant::now();
    let mut outcome = Ok(());
    let kill = async { outcome = host.kill_worker().await };
    let losses = vec![lost(&cloud, host, kill).await];
    outcome?;
    let took = ended(&cloud, 1, killed, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from SIGKILL to the last label",
        took.as_secs_f64()
    ));
    Ok(Ending::new(cloud, vec![bucket]).lost(losses))
}

/// The host alone gets SIGKILL. Nobody hears what its worker does from then on; another instance comes.
pub(crate) async fn a_host_dies_alone(
    stage: &Stage,
    report: &mut Report,
) -> Result<Ending<RealHost>> {
    let mut cloud = cloud::<RealHost>(slow(stage.options(Hosting::Local))).await?;
    let bucket = Bucket::generated("v4/train/short.json", 32, 40)?;
    bucket.upload(&cloud).await?;
    all_label(&cloud, 30).await?;
    let host = cloud.host()?.clone();
    let worker = host.worker_pid().context("there is no worker")?;
    let killed = Instant::now();
    let service = cloud.service();
    let began = service.now();
    host.kill_host_alone().await;
    let process = format!("/proc/{worker}");
    ensure!(
        Path::new(&process).exists(),
        "the worker went with its host"
    );
    let gone = async || Ok(!Path::new(&process).exists());
    let gone = until(ORPHANED, "the worker ends", gone).await;
    report.expect("its worker ends and buys nothing more", gone);
    let loss = Loss {
        caller: Some(cloud.caller(&host)),
        began,
        ended: service.now(),
    };
    host.crash().await;
    cloud.replace_first_instance().await?;
    let took = ended(&cloud, 1, killed, PATIENCE).await?;
    report.figure(format!(
        "{:.1} s from SIGKILL to the last label",
        took.as_secs_f64()
    ));
    Ok(Ending::new(cloud, vec![bucket]).lost(vec![loss]))
}
