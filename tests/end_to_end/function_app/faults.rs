//! Processes that die, messages that come twice, services that fail.

use super::*;
use reqwest::Method;
use serde_json::json;
use softlabel_doubles::azure_openai::{Loss, Record};
use softlabel_doubles::faulty_line::{Fault, When};
use softlabel_doubles::functions_host::Invocation;
use softlabel_doubles::until;

/// Waits until labelling is under way.
async fn begun(cloud: &LocalCloud, calls: usize) {
    let begun = async || Ok(cloud.service().log().len() > calls);
    until(PATIENCE, "labelling began", begun).await.unwrap();
}

#[test]
fn a_killed_worker_costs_no_more_than_what_was_in_flight() {
    on_the_cloud(async {
        let cloud = cloud(
            Options {
                service: slow(200.0),
                ..options()
            }
            .setting("SOFTLABEL_CONCURRENCY", "10"),
        )
        .await;
        let (content, turns) = bucket(6, 40);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let service = cloud.service();
        let kept = || {
            let now = service.now();
            let kept = |record: &Record| {
                let ended = record.ended_us.map(Duration::from_micros);
                record.fully_sent && ended.is_some_and(|ended| ended + UNFLUSHED < now)
            };
            service.log().iter().filter(|record| kept(record)).count()
        };
        let late_enough = async || Ok(kept() >= 100);
        until(PATIENCE, "a hundred answers are kept", late_enough)
            .await
            .unwrap();
        let host = cloud.host().unwrap();
        let began = service.now();
        host.kill_worker().await;
        let killed = Loss {
            caller: Some(cloud.caller(host)),
            began,
            ended: service.now(),
        };
        let asked_before = service.log().len();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        let log = service.log();
        assert!(log.len() >= asked_before + 100, "it was killed too late");
        let counted = counted(&log, killed);
        assert!(counted.answered - counted.exposed >= 100, "{counted:?}");
        // Requests that the kill broke off included.
        let mut times = BTreeMap::<_, usize>::new();
        for record in log.iter().filter(|record| !is_probe(record)) {
            *times.entry((record.kind, record.key)).or_default() += 1;
        }
        assert!(times.values().all(|&times| times <= 2));
        cloud.stop().await;
    });
}

#[test]
fn another_instance_goes_on_where_one_vanished() {
    on_the_cloud(async {
        let mut cloud = cloud(Options {
            service: slow(100.0),
            ..options()
        })
        .await;
        let (content, turns) = bucket(7, 30);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        begun(&cloud, 50).await;
        let first = cloud.host().unwrap().clone();
        first.crash().await;
        cloud.replace_first_instance().await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}

#[test]
fn a_worker_that_is_asked_to_end_records_what_is_in_flight() {
    on_the_cloud(async {
        let cloud = cloud(
            Options {
                service: slow(300.0),
                ..options()
            }
            .setting("SOFTLABEL_CONCURRENCY", "10"),
        )
        .await;
        let (content, turns) = bucket(8, 12);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        begun(&cloud, 30).await;
        cloud.host().unwrap().terminate_worker().await;
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        assert!(asked(&cloud).values().all(|&times| times == 1));
        cloud.stop().await;
    });
}

#[test]
fn a_worker_that_is_asked_to_end_does_not_wait_for_a_scan() {
    on_the_cloud(async {
        let (cloud, line) = behind_a_line(options()).await;
        let held = line.hold(When::get(SHORT));
        let (content, turns) = bucket(16, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        tokio::time::timeout(PATIENCE, held.arrived())
            .await
            .unwrap();
        // Storage is given half a minute to answer.
        let ends = cloud.host().unwrap().terminate_worker();
        tokio::time::timeout(Duration::from_secs(20), ends)
            .await
            .unwrap();
        drop(held);
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}

#[test]
fn an_invocation_hands_on_what_is_left_at_its_deadline() {
    on_the_cloud(async {
        let cloud = cloud(
            Options {
                service: slow(500.0),
                ..options()
            }
            .setting("SOFTLABEL_CONCURRENCY", "4")
            // A chunk takes longer, and a busy machine gets some way into it.
            .setting("SOFTLABEL_INVOCATION_DEADLINE", "4s"),
        )
        .await;
        let (content, turns) = bucket(9, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        assert!(asked(&cloud).values().all(|&times| times == 1));
        let lines = cloud.host().unwrap().lines();
        assert!(
            lines
                .iter()
                .any(|line| line.text.contains("chunk_handed_on"))
        );
        cloud.stop().await;
    });
}

#[test]
fn a_run_waits_while_the_service_refuses_and_goes_on_after() {
    on_the_cloud(async {
        let cloud = cloud(options().setting("SOFTLABEL_AUTH", "key")).await;
        cloud
            .service()
            .update(|config| config.access.api_keys = vec!["another".into()])
            .unwrap();
        let (content, turns) = bucket(10, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let reason = cloud.until_it_waits(PATIENCE).await.unwrap();
        assert!(reason.contains("401"), "{reason}");
        cloud
            .service()
            .update(|config| config.access = Default::default())
            .unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}

#[test]
fn a_chunk_that_was_given_up_ends_its_run_as_partial() {
    on_the_cloud(async {
        let cloud = cloud(
            Options {
                service: slow(2000.0),
                ..options()
            }
            .setting("SOFTLABEL_CONCURRENCY", "2"),
        )
        .await;
        let (content, turns) = bucket(11, 20);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let planned = async || {
            let runs = cloud.runs().await?;
            Ok(runs.first().is_some_and(|run| run["chunks"].is_number()))
        };
        until(PATIENCE, "the run is planned", planned)
            .await
            .unwrap();
        let run = cloud.runs().await.unwrap()[0].clone();
        let last = run["chunks"].as_u64().unwrap() - 1;
        let poison = cloud.storage().queue("label-chunk-poison");
        // It gets further tries; the message that was sent for those has not moved it.
        for times in 1..=2 {
            let message = json!({"run": run["run"], "chunk": last, "again": times == 2});
            let engine = &base64::engine::general_purpose::STANDARD;
            let encoded = base64::Engine::encode(engine, message.to_string());
            let put = poison.put_or_create(&encoded, Duration::ZERO);
            put.await.unwrap();
            let told = async || {
                let invocations = cloud.host()?.invocations();
                let of_it = |it: &&Invocation| it.function == "abandon-chunk" && it.ended.is_some();
                Ok(invocations.iter().filter(of_it).count() >= times)
            };
            until(PATIENCE, "the app is told", told).await.unwrap();
        }
        cloud
            .service()
            .update(|config| config.latency = Latency::None)
            .unwrap();
        let runs = cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_eq!(runs[0]["state"], "partial");
        let lines = cloud.lines(SHORT_LABELED).await.unwrap().unwrap();
        assert_eq!(lines.len(), turns.len());
        let abandoned = |line: &&Value| line["labeling_error"]["code"] == "abandoned";
        let abandoned = lines.iter().filter(abandoned).count();
        assert!(abandoned > 0);
        assert_eq!(runs[0]["errors"]["abandoned"], abandoned);
        cloud.stop().await;
    });
}

#[test]
fn a_ledger_that_takes_no_more_goes_on_in_a_second_one() {
    on_the_cloud(async {
        let options = options().setting("SOFTLABEL_AUTH", "key");
        let (cloud, line) = behind_a_line(options).await;
        // Nothing is labelled before the ledger is full.
        let lock = |config: &mut Config| config.access.api_keys = vec!["another".into()];
        cloud.service().update(lock).unwrap();
        let (content, turns) = bucket(18, 24);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let waits = async || Ok(states(&cloud.runs().await?) == ["waiting"]);
        until(PATIENCE, "the run waits", waits).await.unwrap();
        let run = cloud.runs().await.unwrap()[0]["run"].clone();
        let work = format!("work/{}", run.as_str().unwrap());
        let [full, next] = ["ledger.jsonl", "ledger-2.jsonl"].map(|file| format!("{work}/{file}"));
        let (full, next) = (
            cloud.in_work(&full).await.unwrap(),
            cloud.in_work(&next).await.unwrap(),
        );
        // As many lines as it takes blocks. Here they are one block.
        let lines = "{}\n".repeat(50_000);
        cloud
            .work()
            .put_appended(&full, lines.clone())
            .await
            .unwrap();
        let appends = When::new(Method::PUT, &full).query("comp=appendblock");
        line.plan(
            Fault::Refuse(409, "BlockCountExceedsLimit"),
            appends.times(usize::MAX),
        );
        let unlock = |config: &mut Config| config.access = Default::default();
        cloud.service().update(unlock).unwrap();
        let runs = cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        assert!(asked(&cloud).values().all(|&times| times == 1));
        let there = cloud.work().get(&full).await.unwrap().unwrap();
        assert!(there.content == lines.as_bytes());
        let there = cloud.work().get(&next).await.unwrap().unwrap();
        let entered = there
            .content
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let entered = entered.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let mut entered = entered
            .map(|line| line["chunk"].as_u64().unwrap())
            .collect::<Vec<_>>();
        entered.sort_unstable();
        let chunks = runs[0]["chunks"].as_u64().unwrap();
        assert!(chunks > 2, "{chunks}");
        assert_eq!(entered, (0..chunks).collect::<Vec<_>>());
        cloud.stop().await;
    });
}

/// The metadata of the labelled dataset; null where there is none.
async fn metadata(cloud: &LocalCloud) -> Value {
    let path = cloud.path("LABELED_v4/labeling_metadata.json");
    let blob = cloud.data().get(&path).await.unwrap();
    blob.map_or(Value::Null, |blob| {
        serde_json::from_slice(&blob.content).unwrap()
    })
}

#[test]
fn a_worker_killed_between_the_end_of_a_run_and_its_metadata_leaves_them_right() {
    on_the_cloud(async {
        let (cloud, line) = behind_a_line(options()).await;
        // The reconciler would write it, too.
        let all = When::put("LABELED_v4/labeling_metadata.json").times(usize::MAX);
        let held = line.hold(all);
        let (content, turns) = bucket(15, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        tokio::time::timeout(PATIENCE, held.arrived())
            .await
            .unwrap();
        // Of all that comes at a run's end only the metadata is missing.
        let runs = cloud.runs().await.unwrap();
        assert_eq!(states(&runs), ["complete"]);
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.host().unwrap().kill_worker().await;
        assert_eq!(metadata(&cloud).await, Value::Null);
        drop(held);
        let written = async || Ok(metadata(&cloud).await != Value::Null);
        until(PATIENCE, "the metadata is written", written)
            .await
            .unwrap();
        let metadata = metadata(&cloud).await;
        assert_eq!(metadata["status"], "complete");
        assert!(metadata["completed"].is_string());
        assert_eq!(metadata["totals"]["turns"], turns.len());
        assert_eq!(metadata["totals"]["labeled"], turns.len());
        let bucket = &metadata["splits"]["train"]["short_3_to_5_turns"];
        assert_eq!(bucket["run"], runs[0]["run"]);
        cloud.stop().await;
    });
}

#[test]
fn a_run_without_a_deployment_ends_and_harms_neither_another_run_nor_what_was_there() {
    const LONG: &str = "v4/test/long_11_plus_turns.json";
    const LONG_LABELED: &str = "LABELED_v4/test/long_11_plus_turns.jsonl";
    on_the_cloud(async {
        let options = options()
            .setting("SOFTLABEL_TRIES", "3")
            .setting("SOFTLABEL_STALL_AFTER", "1s");
        let cloud = cloud(options).await;
        let (content, short) = bucket(16, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &short).await;
        let labeled = cloud.path(SHORT_LABELED);
        let before = cloud.data().get(&labeled).await.unwrap().unwrap();
        cloud
            .service()
            .update(|config| config.latency = Latency::Fixed { ms: 200.0 })
            .unwrap();
        let (content, long) = bucket(17, 40);
        cloud.data().put(&cloud.path(LONG), content).await.unwrap();
        let body = json!({
            "dataset": "v4", "splits": ["train"], "buckets": ["short_3_to_5_turns"],
            "deployment": "nowhere",
        });
        let reply = cloud.call("POST", "relabel", Some(&body)).await.unwrap();
        assert_eq!(reply.status, 202, "{}", reply.body);
        let nowhere = reply.body["runs"][0]["run"].clone();
        let runs = cloud.until_all_ended(3, PATIENCE).await.unwrap();
        assert_labeled(&cloud, LONG_LABELED, &long).await;
        for run in &runs {
            if run["run"] == nowhere {
                assert_eq!(run["state"], "failed", "{run}");
                let reason = run["reason"].as_str().unwrap();
                assert!(reason.to_lowercase().contains("deployment"), "{reason}");
            } else {
                assert_eq!(run["state"], "complete", "{run}");
            }
        }
        let after = cloud.data().get(&labeled).await.unwrap().unwrap();
        assert_eq!((after.etag, after.content), (before.etag, before.content));
        let both = short.len() + long.len();
        let tells = async || Ok(metadata(&cloud).await["totals"]["labeled"] == both);
        until(PATIENCE, "the metadata tells of both buckets", tells)
            .await
            .unwrap();
        assert_eq!(metadata(&cloud).await["status"], "complete");
        cloud.stop().await;
    });
}
