//! What a dataset may cost, where several instances spend it.

use super::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Loss, Stats};
use softlabel_doubles::until;
use std::sync::Mutex;

/// US dollars for a million tokens of the prompt, and of the answer.
const INPUT: f64 = 1_000.0;
const OUTPUT: f64 = 2_000.0;

/// Calls that an instance has in flight.
const SLOTS: usize = 4;

/// The service bills so many times the prompt tokens that we count.
const FACTOR: f64 = 3.0;

/// US dollars: more than the estimate, and about half of the bill.
const CAP: f64 = 500.0;

/// US dollars: about half of what both datasets cost.
const MONTH: f64 = 100.0;

/// What the service billed, in US dollars.
fn billed(stats: &Stats) -> f64 {
    (stats.prompt_tokens as f64 * INPUT + stats.completion_tokens as f64 * OUTPUT) / 1e6
}

#[test]
fn instances_of_which_one_is_killed_never_pass_the_cap_together() {
    on_the_cloud(async {
        let service = Config {
            prompt_cache: false,
            billed_prompt_factor: FACTOR,
            // An instance that joins has its share of the quota some seconds later.
            ..slow(300.0)
        };
        let options = Options {
            service,
            instances: 2,
            ..options()
        };
        let options = options
            // More chunks than a host takes at once, so that the other has some.
            .setting("SOFTLABEL_CHUNK_TURNS", "8")
            .setting("SOFTLABEL_NO_RATIONALES", "true")
            .setting("SOFTLABEL_CONCURRENCY", SLOTS.to_string())
            // On a busy machine the money of the killed worker is long in coming back.
            .setting("SOFTLABEL_TRIES", "1000")
            .setting("SOFTLABEL_PRICE_INPUT", INPUT.to_string())
            .setting("SOFTLABEL_PRICE_OUTPUT", OUTPUT.to_string())
            .setting("SOFTLABEL_MAX_COST", CAP.to_string());
        let cloud = cloud(options).await;
        let (content, turns) = bucket(21, 80);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let service = cloud.service();
        let both = async || {
            let log = service.log();
            let calls = |caller| log.iter().filter(|call| call.caller == caller).count();
            let mut hosts = cloud.hosts().iter();
            Ok(hosts.all(|host| calls(cloud.caller(host)) > 2 * SLOTS))
        };
        until(PATIENCE, "both instances label", both).await.unwrap();
        let second = &cloud.hosts()[1];
        let began = service.now();
        second.kill_worker().await;
        let killed = Loss {
            caller: Some(cloud.caller(second)),
            began,
            ended: service.now(),
        };
        let stopped = async || {
            let runs = cloud.runs().await?;
            let labels = runs.iter().any(|run| run["state"] == "labeling");
            Ok(!labels && service.stats().in_flight == 0)
        };
        until(PATIENCE, "nothing is labelled any more", stopped)
            .await
            .unwrap();
        let stats = service.stats();
        // Three processes of which each learns from its first bill how the service counts, and the call
        // that settles the request parameters.
        let log = service.log();
        let largest = log.iter().map(|call| call.prompt_tokens).max().unwrap();
        let bound = (3 * SLOTS + 1) as f64 * FACTOR * largest as f64 * INPUT / 1e6;
        let spent = billed(&stats);
        assert!(spent <= CAP + bound, "{spent} of {CAP} and {bound}");
        assert!(spent > 0.5 * CAP, "{spent} of {CAP}");
        let run = cloud.runs().await.unwrap()[0].clone();
        assert_eq!(run["state"], "awaiting_approval", "{run}");
        let reason = run["reason"].as_str().unwrap();
        assert!(reason.contains("is used up"), "{reason}");
        let estimate = run["estimated_usd"].as_f64().unwrap();
        assert!(estimate > CAP, "{estimate}");

        let approve = format!("runs/{}/approve", run["run"].as_str().unwrap());
        let fast = |config: &mut Config| config.latency = Latency::None;
        service.update(fast).unwrap();
        let enough = json!({"max_cost_usd": 10.0 * CAP});
        let reply = cloud.call("POST", &approve, Some(&enough)).await.unwrap();
        assert_eq!(reply.status, 202, "{}", reply.body);
        let runs = cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_eq!(states(&runs), ["complete"]);
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        // Whatever was labelled by then was not asked again.
        let counted = counted(&service.log(), killed);
        assert!(
            counted.answered - counted.exposed >= turns.len() / 2,
            "{counted:?}"
        );
        let whole = billed(&service.stats());
        assert!(whole > 1.5 * CAP, "{whole}");
        cloud.stop().await;
    });
}

#[test]
fn two_datasets_on_two_instances_of_which_one_is_killed_keep_the_cap_of_a_month_together() {
    on_the_cloud(async {
        let service = Config {
            prompt_cache: false,
            ..slow(200.0)
        };
        let options = Options {
            service,
            instances: 2,
            ..options()
        };
        let options = options
            .setting("SOFTLABEL_CHUNK_TURNS", "8")
            .setting("SOFTLABEL_NO_RATIONALES", "true")
            .setting("SOFTLABEL_CONCURRENCY", SLOTS.to_string())
            .setting("SOFTLABEL_PRICE_INPUT", INPUT.to_string())
            .setting("SOFTLABEL_PRICE_OUTPUT", OUTPUT.to_string())
            .setting("SOFTLABEL_MAX_COST", "1000000")
            .setting("SOFTLABEL_MAX_COST_PER_MONTH", MONTH.to_string());
        let cloud = cloud(options).await;
        for (seed, path) in [(31, SHORT), (32, "w5/train/short_3_to_5_turns.json")] {
            let (content, _) = bucket(seed, 40);
            cloud.data().put(&cloud.path(path), content).await.unwrap();
        }
        let service = cloud.service();
        let both = async || {
            let log = service.log();
            let calls = |caller| log.iter().filter(|call| call.caller == caller).count();
            let mut hosts = cloud.hosts().iter();
            Ok(hosts.all(|host| calls(cloud.caller(host)) > 2 * SLOTS))
        };
        until(PATIENCE, "both instances label", both).await.unwrap();
        cloud.hosts()[1].kill_worker().await;
        // A run that waits may look once more, and wait again: what is shown is one moment.
        let shown = Mutex::new(Value::Null);
        let used_up = async || {
            let body = cloud.call("GET", "runs", None).await?.body;
            let runs = body["runs"].as_array().cloned().unwrap_or_default();
            let waits = runs.iter().all(|run| run["state"] == "waiting");
            *shown.lock().unwrap() = body;
            Ok(runs.len() == 2 && waits && service.stats().in_flight == 0)
        };
        until(PATIENCE, "the month is used up", used_up)
            .await
            .unwrap();
        let spent = billed(&service.stats());
        assert!(spent <= MONTH && spent > 0.5 * MONTH, "{spent} of {MONTH}");
        let shown = shown.into_inner().unwrap();
        assert_eq!(shown["month"]["max_cost_usd"], json!(MONTH));
        for run in shown["runs"].as_array().unwrap() {
            let reason = run["reason"].as_str().unwrap();
            assert!(reason.contains("SOFTLABEL_MAX_COST_PER_MONTH"), "{reason}");
            let until = run["not_before"].as_str().unwrap();
            assert!(until.ends_with("-01T00:00:00Z"), "{until}");
            // An approval lifts a dataset's cap alone.
            let approve = format!("runs/{}/approve", run["run"].as_str().unwrap());
            let all = json!({"all": true});
            let reply = cloud.call("POST", &approve, Some(&all)).await.unwrap();
            assert_eq!(reply.status, 409, "{}", reply.body);
        }
        // What the instance that was killed had reserved may be spent by others meanwhile, and no more.
        let spent = billed(&service.stats());
        assert!(spent <= MONTH, "{spent} of {MONTH}");
        cloud.stop().await;
    });
}
