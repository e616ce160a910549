//! Instances that die in the middle, and instances of two versions side by side.

use super::*;
use serde_json::json;
use softlabel_doubles::functions_host::{Host, Outcome};
use softlabel_doubles::until;
use std::sync::Arc;
use std::time::Instant;

/// As on the platform, whose queue leaves the messages of an instance that died invisible for ten minutes.
fn on_the_platform() -> Options {
    Options {
        message_lease: Duration::from_secs(600),
        ..options()
    }
    .setting("SOFTLABEL_STALL_AFTER", "10m")
    .setting("SOFTLABEL_DEAD_AFTER", "10s")
}

/// Waits until an instance has labelled so many turns.
async fn has_labelled(cloud: &LocalCloud, host: &Arc<Host>, turns: usize) {
    let caller = cloud.caller(host);
    let labelled = async || {
        let log = cloud.service().log();
        let own = log.iter().filter(|call| call.caller == caller);
        Ok(own.filter(|call| call.fully_sent).count() > turns)
    };
    until(PATIENCE, "an instance labels", labelled)
        .await
        .unwrap();
}

/// How often the chunks of a run were delivered, each host's deliveries counted.
fn delivered(hosts: &[Arc<Host>]) -> BTreeMap<u64, usize> {
    let mut delivered = BTreeMap::new();
    for host in hosts {
        for invocation in host.invocations() {
            if invocation.function == "label-chunk" {
                let message = serde_json::from_str::<Value>(&invocation.subject).unwrap();
                *delivered
                    .entry(message["chunk"].as_u64().unwrap())
                    .or_default() += 1;
            }
        }
    }
    delivered
}

#[test]
fn what_an_instance_held_that_died_goes_on_elsewhere_within_seconds() {
    on_the_cloud(async {
        let options = Options {
            service: slow(150.0),
            instances: 2,
            ..on_the_platform()
        };
        let options = options
            .setting("SOFTLABEL_CHUNK_TURNS", "16")
            .setting("SOFTLABEL_CONCURRENCY", "6");
        let mut cloud = cloud(options).await;
        let (content, turns) = bucket(40, 60);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let hosts = cloud.hosts().to_vec();
        for host in &hosts {
            has_labelled(&cloud, host, 20).await;
        }
        let began = cloud.service().now();
        hosts[1].crash().await;
        let killed = Loss {
            caller: Some(cloud.caller(&hosts[1])),
            began,
            ended: cloud.service().now(),
        };
        let died = Instant::now();
        cloud.replace_instance(1).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        // The old messages lie still for ten minutes.
        assert!(died.elapsed() < PATIENCE);
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        let counted = counted(&cloud.service().log(), killed);
        println!("{:?} after the death, {counted:?}", died.elapsed());
        let mut all = cloud.hosts().to_vec();
        all.push(Arc::clone(&hosts[1]));
        let dead = delivered(&hosts[1..]);
        let unfinished = |invocation: &softlabel_doubles::functions_host::Invocation| {
            invocation.function == "label-chunk" && invocation.outcome == Some(Outcome::Abandoned)
        };
        let held = hosts[1].invocations();
        let held = held.iter().filter(|it| unfinished(it)).count();
        assert!(held > 0);
        let again = delivered(&all)
            .into_iter()
            .filter(|(_, times)| *times > 1)
            .collect::<BTreeMap<_, _>>();
        // Each once, and nothing that waited in the queue.
        assert!(again.values().all(|&times| times == 2), "{again:?}");
        assert!(again.keys().all(|chunk| dead.contains_key(chunk)));
        assert_eq!(again.len(), held);
        cloud.stop().await;
    });
}

/// No instance of the app failed at anything, and no message is poison.
async fn assert_nothing_failed(cloud: &LocalCloud, hosts: &[Arc<Host>]) {
    for host in hosts {
        for invocation in host.invocations() {
            if let Some(Outcome::Failed(reason)) = &invocation.outcome {
                panic!("{} failed: {reason}", invocation.function);
            }
        }
    }
    for queue in [
        "bucket-uploaded",
        "plan-bucket",
        "label-chunk",
        "publish-bucket",
    ] {
        let poison = cloud.storage().queue(&format!("{queue}-poison"));
        assert_eq!(poison.count().await.unwrap(), 0, "{queue}");
    }
}

#[test]
fn an_upgrade_in_the_middle_of_a_run_that_is_rolled_back_and_made_again_harms_nothing() {
    on_the_cloud(async {
        let options = Options {
            service: slow(300.0),
            ..on_the_platform()
        };
        // More than one instance takes, so that a second one gets some.
        let options = options
            .setting("SOFTLABEL_CHUNK_TURNS", "8")
            .setting("SOFTLABEL_CHUNKS_OUT", "30")
            .setting("SOFTLABEL_CONCURRENCY", "4");
        let mut cloud = cloud(options).await;
        let (content, turns) = bucket(41, 50);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let old = cloud.host().unwrap().clone();
        has_labelled(&cloud, &old, 20).await;
        // Both versions side by side. What the newer one has changed the older one cannot read.
        cloud.set("SOFTLABEL_TEST_FORMAT", "2");
        let newer = cloud.start_instance().await.unwrap();
        let is_newer = async || Ok(record(&cloud).await?["format_number"] == 2);
        until(PATIENCE, "the newer one has changed the record", is_newer)
            .await
            .unwrap();
        // It is taken away again. The older one leaves what it cannot read.
        let mut losses = vec![stopped(&cloud, &newer).await];
        let left = async || {
            Ok(!cloud
                .work()
                .list(&cloud.in_work("holders/left/").await?)
                .await?
                .is_empty())
        };
        until(PATIENCE, "the older one leaves messages", left)
            .await
            .unwrap();
        let reply = cloud.call("GET", "runs", None).await.unwrap();
        assert_eq!((reply.status, &reply.body["runs"]), (200, &json!([])));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(record(&cloud).await.unwrap()["state"], "labeling");
        assert_nothing_failed(&cloud, &[Arc::clone(&old), newer]).await;
        // The upgrade is made after all, and the older one goes.
        let newest = cloud.start_instance().await.unwrap();
        losses.push(stopped(&cloud, &old).await);
        let ended = async || Ok(record(&cloud).await?["state"] == "complete");
        until(PATIENCE, "the run is complete", ended).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        assert_nothing_failed(&cloud, &[newest]).await;
        let excuse = Excuse {
            losses: &losses,
            unflushed: UNFLUSHED,
        };
        let most = |call: &Record| if is_probe(call) { usize::MAX } else { 1 };
        repeats(&cloud.service().log(), excuse, most).unwrap();
        cloud.stop().await;
    });
}

/// Stops an instance, which may lose what was in flight.
async fn stopped(cloud: &LocalCloud, host: &Arc<Host>) -> Loss {
    let began = cloud.service().now();
    host.stop().await;
    Loss {
        caller: Some(cloud.caller(host)),
        began,
        ended: cloud.service().now(),
    }
}

/// The record of the only run.
async fn record(cloud: &LocalCloud) -> anyhow::Result<Value> {
    let records = cloud.work().list(&cloud.in_work("runs/").await?).await?;
    let record = cloud.work().get(&records[0].name).await?.unwrap();
    Ok(serde_json::from_slice(&record.content)?)
}
