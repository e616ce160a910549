//! Processes that die, messages that come twice, services that fail.

use super::*;
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
        let (content, turns) = bucket(6, 20);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        begun(&cloud, 60).await;
        cloud.host().unwrap().kill_worker().await;
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        // Ten in flight, and two seconds of results that were not appended yet, at 50 a second.
        let twice = asked(&cloud).values().filter(|&&times| times > 1).count();
        assert!(twice <= 10 + 100, "{twice}");
        assert!(asked(&cloud).values().all(|&times| times <= 2));
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
fn an_invocation_hands_on_what_is_left_at_its_deadline() {
    on_the_cloud(async {
        let cloud = cloud(
            Options {
                service: slow(200.0),
                ..options()
            }
            .setting("SOFTLABEL_CONCURRENCY", "4")
            .setting("SOFTLABEL_INVOCATION_DEADLINE", "1s"),
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
        let waits = async || {
            let runs = cloud.runs().await?;
            Ok(runs.first().is_some_and(|run| run["state"] == "waiting"))
        };
        until(PATIENCE, "the run waits", waits).await.unwrap();
        let reason = cloud.runs().await.unwrap()[0]["reason"].clone();
        assert!(reason.as_str().unwrap().contains("401"), "{reason}");
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
                service: slow(400.0),
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
        let message = serde_json::json!({"run": run["run"], "chunk": last}).to_string();
        let poison = cloud.storage().queue("label-chunk-poison");
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, message);
        // The first time it gets further tries; the second time it has not moved.
        for _ in 0..2 {
            let put = poison.put_or_create(&encoded, Duration::ZERO);
            put.await.unwrap();
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
