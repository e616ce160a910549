//! Storage that refuses: a run waits with the store's own words, and goes on by itself when that is mended.

use super::*;
use axum::http::Method;
use softlabel_doubles::faulty_line::{Fault, When};
use softlabel_doubles::refusals::{self, LEASE, PERMISSION};
use softlabel_doubles::until;

/// Waits until the newest run waits; gives why.
async fn reason(cloud: &LocalCloud) -> String {
    let (mut reason, mut seen) = (String::new(), Value::Null);
    let waits = async || {
        seen = cloud.runs().await?.first().cloned().unwrap_or_default();
        let waits = seen["state"] == "waiting";
        if waits {
            reason = seen["reason"].to_string();
        }
        Ok(waits)
    };
    let waits = until(PATIENCE, "the run waits", waits).await;
    waits.unwrap_or_else(|error| panic!("{error}: {seen}"));
    reason
}

#[test]
fn runs_wait_with_the_words_of_the_store_and_go_on_when_that_is_mended() {
    on_the_cloud(async {
        let azurite = Azurite::shared().await.unwrap();
        let line = FaultyLine::start(azurite.blob_endpoint()).await.unwrap();
        let options = options().setting("SOFTLABEL_NO_RATIONALES", "true");
        let cloud = cloud(refusals::options(&line, options)).await;
        let files = refusals::all(&cloud, &line, PATIENCE).await.unwrap();
        let runs = cloud.until_all_ended(files.len(), PATIENCE).await.unwrap();
        assert_eq!(states(&runs), vec!["complete"; files.len()]);
        let mut turns = 0;
        for (path, content) in files {
            let labeled = format!("LABELED_{}l", path);
            let of_file = turns_of(&content);
            assert_labeled(&cloud, &labeled, &of_file).await;
            turns += of_file.len();
        }
        assert!(asked(&cloud).values().sum::<usize>() <= turns);
        cloud.stop().await;
    });
}

#[test]
fn a_run_waits_for_a_lease_that_is_none_of_its_executions() {
    on_the_cloud(async {
        // Longer than a lease is waited for: a second execution would be one that has it.
        let options = options().setting("SOFTLABEL_STALL_AFTER", "60s");
        let (cloud, line) = behind_a_line(options).await;
        let take = When::put("/parts/000000.jsonl").query("comp=lease");
        let leased = Fault::Refuse(409, "LeaseAlreadyPresent");
        line.plan(leased, take.times(usize::MAX));
        let (content, turns) = bucket(220, 2);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let reason = reason(&cloud).await;
        assert!(
            reason.contains("000000.jsonl") && reason.contains(LEASE),
            "{reason}"
        );
        assert!(asked(&cloud).is_empty());
        line.clear();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}

#[test]
fn an_upload_that_cannot_be_looked_at_is_taken_up_when_it_can() {
    on_the_cloud(async {
        let (cloud, line) = behind_a_line(options()).await;
        let look = When::new(Method::HEAD, cloud.path(SHORT)).times(usize::MAX);
        line.plan(Fault::Refuse(PERMISSION.0, PERMISSION.1), look);
        let (content, turns) = bucket(230, 2);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let noted = async || {
            let lines = cloud.host()?.lines();
            let told = |line: &str| line.contains("dataset_waiting") && line.contains("403 Auth");
            Ok(lines.iter().any(|line| told(&line.text)))
        };
        until(PATIENCE, "the dataset waits", noted).await.unwrap();
        line.clear();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}
