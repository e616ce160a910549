//! What a dataset may cost, where several instances spend it.

use super::*;
use serde_json::json;
use softlabel_doubles::azure_openai::Stats;
use softlabel_doubles::until;

/// US dollars for a million tokens of the prompt, and of the answer.
const INPUT: f64 = 1_000.0;
const OUTPUT: f64 = 2_000.0;

/// Calls that an instance has in flight.
const SLOTS: usize = 4;

/// What the service billed, in US dollars.
fn billed(stats: &Stats) -> f64 {
    (stats.prompt_tokens as f64 * INPUT + stats.completion_tokens as f64 * OUTPUT) / 1e6
}

#[test]
fn instances_of_which_one_is_killed_never_pass_the_cap_together() {
    on_the_cloud(async {
        let service = Config {
            prompt_cache: false,
            billed_prompt_factor: 3.0,
            ..slow(50.0)
        };
        let options = Options {
            service,
            instances: 2,
            ..options()
        };
        let options = options
            .setting("SOFTLABEL_NO_RATIONALES", "true")
            .setting("SOFTLABEL_CONCURRENCY", SLOTS.to_string())
            .setting("SOFTLABEL_PRICE_INPUT", INPUT.to_string())
            .setting("SOFTLABEL_PRICE_OUTPUT", OUTPUT.to_string())
            .setting("SOFTLABEL_MAX_COST", CAP.to_string());
        let cloud = cloud(options).await;
        let (content, turns) = bucket(21, 80);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let service = cloud.service();
        let both = async || {
            let log = service.log();
            let of = |host| log.iter().filter(|call| call.caller == Some(cloud.caller(host))).count();
            Ok(cloud.hosts().iter().all(|host| of(host) >= 2 * SLOTS))
        };
        until(PATIENCE, "both instances label", both).await.unwrap();
        cloud.hosts()[1].kill_worker().await;
        let still = async || {
            let runs = cloud.runs().await?;
            let waits = runs.first().is_some_and(|run| run["state"] == "awaiting_approval");
            let flying = service.log().iter().any(|call| call.ended_us.is_none());
            Ok(waits && !flying)
        };
        until(PATIENCE, "the run waits and nothing is in flight", still).await.unwrap();
        let run = cloud.runs().await.unwrap()[0].clone();
        eprintln!("{run:#} {:?}", service.stats());
        // Three processes, each of which learns from its first bill how the service counts; and the call
        // that settles the request parameters.
        let largest = service.log().iter().map(|call| call.prompt_tokens).max().unwrap();
        let bound = (3 * SLOTS + 1) as f64 * 3.0 * largest as f64 * INPUT / 1e6;
        let spent = billed(&service.stats());
        assert!(spent <= CAP + bound, "{spent} of {CAP}, and {bound}");
        assert!(spent > 0.7 * CAP, "{spent} of {CAP}");
        cloud.stop().await;
    });
}
const CAP: f64 = 300.0;
