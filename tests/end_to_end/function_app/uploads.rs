//! Datasets that are dropped.

use super::*;
use reqwest::Method;
use serde_json::json;
use softlabel_doubles::event_grid::Faults;
use softlabel_doubles::faulty_line::{Fault, When};
use softlabel_doubles::functions_host::Outcome;

#[test]
fn a_dataset_that_is_dropped_is_labelled() {
    on_the_cloud(async {
        let cloud = cloud(options()).await;
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
        let dataset = "devchat_sample_20261101";
        cloud.upload(dataset, &samples.join(dataset)).await.unwrap();
        let before = cloud.data().list("").await.unwrap();
        cloud.until_all_ended(9, PATIENCE).await.unwrap();
        let metadata = format!("LABELED_{dataset}/labeling_metadata.json");
        let read = async || {
            let blob = cloud.data().get(&cloud.path(&metadata)).await?;
            let content = blob.map(|blob| blob.content).unwrap_or_default();
            Ok::<Value, anyhow::Error>(serde_json::from_slice(&content).unwrap_or_default())
        };
        // The last run's end comes a moment before the metadata.
        let complete = async || Ok(read().await?["completed"].is_string());
        softlabel_doubles::until(PATIENCE, "the metadata is complete", complete)
            .await
            .unwrap();
        let metadata = read().await.unwrap();
        assert_eq!(metadata["status"], "complete", "{metadata}");
        let mut lines = 0;
        for (split, buckets) in metadata["splits"].as_object().unwrap() {
            for bucket in buckets.as_object().unwrap().keys() {
                let path = format!("LABELED_{dataset}/{split}/{bucket}.jsonl");
                lines += cloud.lines(&path).await.unwrap().unwrap().len();
            }
        }
        assert_eq!(metadata["totals"]["turns"], lines);
        // RAW is as it was, and what was written lies where it may.
        let after = cloud.data().list("").await.unwrap();
        let labeled = cloud.path(&format!("LABELED_{dataset}/"));
        let (ours, raw) = after
            .into_iter()
            .partition::<Vec<_>, _>(|blob| blob.name.starts_with(&labeled));
        let etags = |blobs: &[softlabel_doubles::storage::BlobItem]| {
            let etags = blobs
                .iter()
                .map(|blob| (blob.name.clone(), blob.etag.clone()));
            etags.collect::<Vec<_>>()
        };
        assert_eq!(etags(&raw), etags(&before));
        // Nine files with their details, the metadata and the card; the report comes with the next timer.
        let is_report =
            |blob: &&softlabel_doubles::storage::BlobItem| blob.name.ends_with("/report.html");
        assert_eq!(ours.iter().filter(|blob| !is_report(blob)).count(), 20);
        let card = format!("{labeled}README.md");
        assert!(ours.iter().any(|blob| blob.name == card), "{ours:?}");
        assert_discreet(&cloud, &samples.join(dataset));
        assert_reported(&cloud, &format!("LABELED_{dataset}"), &metadata["totals"]).await;
        // Nothing that was written started anything: a file has an event, and a run.
        assert_eq!(cloud.runs().await.unwrap().len(), 9);
        cloud.stop().await;
    });
}

#[test]
fn a_copy_that_is_not_complete_is_looked_at_again_later() {
    on_the_cloud(async {
        let (cloud, line) = behind_a_line(options()).await;
        for method in [Method::HEAD, Method::GET] {
            let looked_at = When::new(method, SHORT).times(usize::MAX);
            line.plan(Fault::Header("x-ms-copy-status", "pending"), looked_at);
        }
        let (content, turns) = bucket(17, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let reason = cloud.until_it_waits(PATIENCE).await.unwrap();
        assert!(reason.contains("still being copied"), "{reason}");
        assert!(cloud.service().log().is_empty());
        line.clear();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}

/// The timer writes the report; who has the key can read it; its counts are those of the runs and the metadata.
async fn assert_reported(cloud: &LocalCloud, labeled: &str, totals: &Value) {
    let runs = cloud.runs().await.unwrap();
    let address = runs[0]["links"]["report"].as_str().unwrap();
    let ask = async |key: &str| {
        let request = reqwest::Client::new().get(address);
        let answer = request.header("x-functions-key", key).send().await?;
        let status = answer.status().as_u16();
        Ok::<_, anyhow::Error>((status, answer.text().await?))
    };
    let key = cloud.host().unwrap().function_key().to_owned();
    let written = async || Ok(ask(&key).await?.0 == 200);
    softlabel_doubles::until(PATIENCE, "the report is written", written)
        .await
        .unwrap();
    let (_, report) = ask(&key).await.unwrap();
    let path = cloud.path(&format!("{labeled}/report.html"));
    let blob = cloud.data().get(&path).await.unwrap().unwrap();
    assert_eq!(blob.content, report.as_bytes());
    assert_eq!(ask("another").await.unwrap().0, 401);
    let sentence = format!(
        "{} labelled, {} not labelable, {} failed.",
        totals["labeled"], totals["not_labelable"], totals["failed"]
    );
    assert!(report.contains(&sentence), "{sentence}");
    let sum = |pointer: &str| {
        let numbers = runs.iter().map(|run| run.pointer(pointer).unwrap());
        numbers.map(|number| number.as_u64().unwrap()).sum::<u64>()
    };
    for (ours, theirs) in [("/turns", "turns"), ("/labeled", "labeled")] {
        assert_eq!(sum(ours), totals[theirs].as_u64().unwrap());
    }
    for bar in 0..20 {
        let pointer = format!("/label_1/{bar}");
        let whole = totals["soft_labels"].pointer(&pointer).unwrap();
        assert_eq!(
            sum(&format!("/soft_labels{pointer}")),
            whole.as_u64().unwrap()
        );
    }
}

/// No log shows a message, a user's name or the key; every line is one JSON object.
fn assert_discreet(cloud: &LocalCloud, samples: &Path) {
    let lines = cloud.host().unwrap().lines();
    let log = lines.iter().filter(|line| line.text.starts_with('{'));
    let log = log.map(|line| line.text.as_str()).collect::<Vec<_>>();
    assert!(log.len() > 20);
    for line in &log {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string(), "{line}");
    }
    let log = log.join("\n");
    assert!(!log.contains("a-key-for-the-double"));
    for split in ["train", "val", "test"] {
        for conversation in harness::raw(&samples.join(split).join("short_3_to_5_turns.json")) {
            let turns = conversation["turnsArray"].as_array().unwrap();
            let texts = turns
                .iter()
                .flat_map(|turn| [&turn["userMessage"], &turn["modelMessage"]]);
            for text in texts.chain([&conversation["userName"]]) {
                let text = text.as_str().unwrap_or_default();
                assert!(text.len() < 12 || !log.contains(text), "{text}");
            }
        }
    }
}

#[test]
fn events_that_come_twice_late_and_out_of_order_buy_nothing_twice() {
    on_the_cloud(async {
        let faults = Faults {
            seed: 5,
            twice: 1.0,
            late: 0.5,
            longest_delay: Duration::from_millis(500),
            reordered: 1.0,
            lost: 0.0,
        };
        let cloud = cloud(Options {
            event_faults: faults,
            ..options()
        })
        .await;
        let (content, turns) = bucket(1, 12);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        assert!(asked(&cloud).values().all(|&times| times == 1));
        cloud.stop().await;
    });
}

#[test]
fn the_marker_alone_suffices_where_every_event_gets_lost() {
    on_the_cloud(async {
        let faults = Faults {
            lost: 1.0,
            ..Faults::default()
        };
        let cloud = cloud(Options {
            event_faults: faults,
            ..options()
        })
        .await;
        let (content, turns) = bucket(2, 6);
        cloud.data().put(&cloud.path(SHORT), content).await.unwrap();
        let marker = json!({"actual_counts": {"train": {"short": 7}}});
        let path = cloud.path("v4/metadata.json");
        cloud.data().put(&path, marker.to_string()).await.unwrap();
        cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        let path = cloud.path("LABELED_v4/labeling_metadata.json");
        let warned = async || {
            let metadata = cloud.data().get(&path).await?;
            let metadata = metadata.map(|blob| String::from_utf8_lossy(&blob.content).into_owned());
            Ok(metadata.is_some_and(|text| text.contains("metadata.json says 7")))
        };
        softlabel_doubles::until(PATIENCE, "the counts are compared", warned)
            .await
            .unwrap();
        cloud.stop().await;
    });
}

#[test]
fn a_file_that_is_cut_off_ends_as_a_failed_run_and_not_as_a_poison_message() {
    on_the_cloud(async {
        let cloud = cloud(options()).await;
        let (content, _) = bucket(3, 6);
        let cut = &content[..content.len() / 2];
        cloud
            .data()
            .put(&cloud.path(SHORT), cut.to_vec())
            .await
            .unwrap();
        let runs = cloud.until_all_ended(1, PATIENCE).await.unwrap();
        assert_eq!(runs[0]["state"], "failed");
        let reason = runs[0]["reason"].as_str().unwrap();
        assert!(reason.contains("byte"), "{reason}");
        let failed = |outcome: &Outcome| !matches!(outcome, Outcome::Succeeded);
        let invocations = cloud.host().unwrap().invocations();
        let failed = invocations
            .iter()
            .filter(|it| it.outcome.as_ref().is_some_and(failed));
        assert_eq!(failed.count(), 0);
        assert_eq!(asked(&cloud).len(), 0);
        cloud.stop().await;
    });
}

#[test]
fn a_file_that_is_replaced_is_labelled_as_it_is_then() {
    on_the_cloud(async {
        let cloud = cloud(Options {
            service: slow(100.0),
            ..options()
        })
        .await;
        let path = cloud.path(SHORT);
        let (content, _) = bucket(4, 40);
        cloud.data().put(&path, content).await.unwrap();
        let begun = async || Ok(cloud.service().log().len() > 20);
        softlabel_doubles::until(PATIENCE, "labelling began", begun)
            .await
            .unwrap();
        let (content, turns) = bucket(5, 6);
        cloud.data().put(&path, content).await.unwrap();
        let runs = cloud.until_all_ended(2, PATIENCE).await.unwrap();
        assert_eq!(states(&runs), ["complete", "superseded"]);
        assert_labeled(&cloud, SHORT_LABELED, &turns).await;
        cloud.stop().await;
    });
}
