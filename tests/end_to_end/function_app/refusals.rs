//! Storage that refuses: a run waits with the store's own words, and goes on by itself when that is mended.

use super::*;
use axum::http::Method;
use softlabel_doubles::faulty_line::{Fault, FaultyLine, When};
use softlabel_doubles::until;

const LEASE: &str = "another client holds a lease on it: break that lease";

const PERMISSION: (u16, &str) = (403, "AuthorizationPermissionMismatch");

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
fn a_run_waits_for_a_lease_that_is_none_of_its_executions() {
    on_the_cloud(async {
        let azurite = Azurite::shared().await.unwrap();
        let line = FaultyLine::start(azurite.blob_endpoint()).await.unwrap();
        let options = Options {
            blob_endpoint: Some(line.endpoint()),
            ..options()
        };
        let cloud = cloud(options).await;
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
        let azurite = Azurite::shared().await.unwrap();
        let line = FaultyLine::start(azurite.blob_endpoint()).await.unwrap();
        let options = Options {
            blob_endpoint: Some(line.endpoint()),
            ..options()
        };
        let cloud = cloud(options).await;
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
