//! Storage that refuses: a run waits with the store's own words, and goes on by itself when that is mended.

use super::*;
use axum::http::Method;
use softlabel_doubles::faulty_line::{Fault, When};
use softlabel_doubles::until;

const ROLE: &str = "give this identity the role Storage Blob Data Contributor";
const LEASE: &str = "another client holds a lease on it: break that lease";
const ARCHIVE: &str = "set its tier to hot or cool";

/// What storage answers, and what the run says then.
struct Refusal {
    step: &'static str,
    /// From the path of the bucket file and of its labelled file.
    when: fn(raw: &str, labeled: &str) -> When,
    fault: Fault,
    says: [&'static str; 2],
}

const fn of(
    step: &'static str,
    when: fn(&str, &str) -> When,
    (status, code): (u16, &'static str),
    says: [&'static str; 2],
) -> Refusal {
    Refusal {
        step,
        when,
        fault: Fault::Refuse(status, code),
        says,
    }
}

/// The bucket file is read while it is planned, for its estimate, and then by its chunks.
fn read_of_chunk(raw: &str, _: &str) -> When {
    When::get(raw).after(2)
}

fn scan(raw: &str, _: &str) -> When {
    When::get(raw)
}

fn block(_: &str, labeled: &str) -> When {
    When::put(labeled).query("blockid=")
}

fn commit(_: &str, labeled: &str) -> When {
    When::put(labeled).query("comp=blocklist")
}

fn manifest(_: &str, _: &str) -> When {
    When::put("/manifest.json")
}

/// The budget is written twice before a chunk reserves what its calls may cost.
fn budget_of_chunk(_: &str, _: &str) -> When {
    When::put("/budget.json").after(2)
}

fn part(_: &str, _: &str) -> When {
    When::put("/parts/000000.jsonl").query("comp=appendblock")
}

const PERMISSION: (u16, &str) = (403, "AuthorizationPermissionMismatch");
const NO_LEASE: (u16, &str) = (412, "LeaseIdMissing");
const ARCHIVED: (u16, &str) = (409, "BlobArchived");
const QUOTA: (u16, &str) = (409, "AccountQuotaExceeded");
const DOWN: (u16, &str) = (503, "ServerBusy");

const REFUSALS: [Refusal; 14] = [
    of("plan-bucket", scan, PERMISSION, ["403 Auth", ROLE]),
    of("plan-bucket", scan, ARCHIVED, ["409 BlobArchived", ARCHIVE]),
    of("plan-bucket", block, PERMISSION, ["403 Auth", ROLE]),
    of("plan-bucket", block, NO_LEASE, ["412 LeaseId", LEASE]),
    of(
        "plan-bucket",
        block,
        QUOTA,
        ["409 AccountQuota", "quota raised"],
    ),
    of(
        "plan-bucket",
        manifest,
        DOWN,
        ["503 ServerBusy", "try again later"],
    ),
    of("label-chunk", read_of_chunk, PERMISSION, ["403 Auth", ROLE]),
    of(
        "label-chunk",
        read_of_chunk,
        ARCHIVED,
        ["409 BlobArchived", ARCHIVE],
    ),
    of("label-chunk", part, PERMISSION, ["403 Auth", ROLE]),
    of(
        "label-chunk",
        budget_of_chunk,
        NO_LEASE,
        ["412 LeaseId", LEASE],
    ),
    of("publish-bucket", commit, PERMISSION, ["403 Auth", ROLE]),
    of("publish-bucket", commit, NO_LEASE, ["412 LeaseId", LEASE]),
    of(
        "publish-bucket",
        commit,
        QUOTA,
        ["409 AccountQuota", "quota raised"],
    ),
    of(
        "publish-bucket",
        commit,
        DOWN,
        ["503 ServerBusy", "try again later"],
    ),
];

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
fn a_run_waits_with_the_words_of_the_store_and_goes_on_when_that_is_mended() {
    on_the_cloud(async {
        let options = options().setting("SOFTLABEL_NO_RATIONALES", "true");
        let (cloud, line) = behind_a_line(options).await;
        // The request parameters are settled before anything is refused.
        let (content, mut all) = bucket(200, 1);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        for (number, refusal) in REFUSALS.iter().enumerate() {
            let Refusal {
                step, fault, says, ..
            } = refusal;
            let name = format!("train/refused_{number}");
            let (raw, labeled) = (
                format!("v4/{name}.json"),
                format!("LABELED_v4/{name}.jsonl"),
            );
            let when = (refusal.when)(&cloud.path(&raw), &labeled).times(usize::MAX);
            line.plan(*fault, when);
            let (content, turns) = bucket(201 + number as u64, 1);
            let before = asked(&cloud).len();
            cloud.data().put(&cloud.path(&raw), content).await.unwrap();
            let reason = reason(&cloud).await;
            for words in says {
                assert!(reason.contains(words), "{step} {fault:?}: {reason}");
            }
            if *step == "plan-bucket" {
                assert_eq!(asked(&cloud).len(), before, "{step} {fault:?}");
            }
            line.clear();
            cloud.until_all_ended(number + 2, PATIENCE).await.unwrap();
            assert_labeled(&cloud, &labeled, &turns).await;
            all.extend(turns);
        }
        assert!(asked(&cloud).values().sum::<usize>() <= all.len());
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
