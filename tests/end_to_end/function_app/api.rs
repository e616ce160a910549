//! What people ask over HTTP.

use super::*;
use serde_json::json;
use softlabel_doubles::until;

#[test]
fn a_relabel_over_http_is_a_run_of_its_own() {
    on_the_cloud(async {
        let cloud = cloud(options()).await;
        let (content, turns) = bucket(12, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        let body = json!({"dataset": "v4", "strategy": "with_context", "rationales": false});
        let reply = cloud.call("POST", "relabel", Some(&body)).await.unwrap();
        assert_eq!(reply.status, 202, "{}", reply.body);
        let run = &reply.body["runs"][0];
        let again = cloud.call("POST", "relabel", Some(&body)).await.unwrap();
        assert_eq!(&again.body["runs"][0]["run"], &run["run"]);
        let runs = cloud.until_all_ended(2, PATIENCE).await.unwrap();
        assert_eq!(states(&runs), ["complete", "complete"]);
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        let lines = cloud.lines(SHORT_LABELED).await.unwrap().unwrap();
        assert!(lines.iter().all(|line| line.get("rationale").is_none()));
        // The address that it names is that of the run.
        let status = run["status"].as_str().unwrap();
        let shown = reqwest::Client::new()
            .get(status)
            .header("x-functions-key", cloud.host().unwrap().function_key())
            .send();
        let shown: Value = shown.await.unwrap().json().await.unwrap();
        assert_eq!(shown["state"], "complete");
        assert_eq!(shown["turns_done"], turns.len());
        assert_eq!(shown["settings"]["strategy"], "with_context");
        for wrong in [
            json!({"dataset": "../v4"}),
            json!({"dataset": "v4", "split": "train"}),
            json!({"dataset": "LABELED_v4"}),
        ] {
            let reply = cloud.call("POST", "relabel", Some(&wrong)).await.unwrap();
            assert_eq!(reply.status, 400, "{wrong}");
        }
        cloud.stop().await;
    });
}

#[test]
fn a_run_in_progress_is_a_conflict_unless_forced_and_can_be_cancelled() {
    on_the_cloud(async {
        let cloud = cloud(
            Options {
                service: slow(500.0),
                ..options()
            }
            .setting("SOFTLABEL_CONCURRENCY", "2"),
        )
        .await;
        let (content, _) = bucket(13, 12);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let begun = async || Ok(cloud.service().log().len() > 4);
        until(PATIENCE, "labelling began", begun).await.unwrap();
        let body = json!({"dataset": "v4", "rationales": false});
        let reply = cloud.call("POST", "relabel", Some(&body)).await.unwrap();
        assert_eq!(reply.status, 409, "{}", reply.body);
        let forced = json!({"dataset": "v4", "rationales": false, "force": true});
        let reply = cloud.call("POST", "relabel", Some(&forced)).await.unwrap();
        assert_eq!(reply.status, 202, "{}", reply.body);
        let run = reply.body["runs"][0]["run"].as_str().unwrap();
        let reply = cloud
            .call("POST", &format!("runs/{run}/cancel"), None)
            .await
            .unwrap();
        assert_eq!(
            (reply.status, &reply.body["state"]),
            (200, &json!("cancelled"))
        );
        let runs = cloud.until_all_ended(2, PATIENCE).await.unwrap();
        assert_eq!(states(&runs), ["cancelled", "superseded"]);
        assert_eq!(cloud.lines(SHORT_LABELED).await.unwrap(), None);
        cloud.stop().await;
    });
}

#[test]
fn what_costs_more_than_the_cap_waits_for_an_approval() {
    on_the_cloud(async {
        let cloud = cloud(options().setting("SOFTLABEL_MAX_COST", "0.001")).await;
        let (content, turns) = bucket(14, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let waits = async || {
            let runs = cloud.runs().await?;
            Ok(runs
                .first()
                .is_some_and(|run| run["state"] == "awaiting_approval"))
        };
        until(PATIENCE, "the run waits for an approval", waits)
            .await
            .unwrap();
        let run = cloud.runs().await.unwrap()[0].clone();
        assert!(run["estimated_usd"].as_f64().unwrap() > 0.001);
        assert_eq!(asked(&cloud).len(), 0);
        let approve = run["links"]["approve"].as_str().unwrap();
        assert!(approve.ends_with("/approve"));
        let path = format!("runs/{}/approve", run["run"].as_str().unwrap());
        let reply = cloud
            .call("POST", &path, Some(&json!({"all": true})))
            .await
            .unwrap();
        assert_eq!(reply.status, 202, "{}", reply.body);
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}
