//! What the service refuses for one message: the content filter and the limit of the context.

use crate::harness::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, ContentFilter};

/// Labels messages, expects that the run ends with `code`, and gives lines and metadata.
fn labelled(
    service: &Service,
    messages: &[&str],
    args: &[&str],
    code: i32,
) -> (Vec<serde_json::Map<String, Value>>, Value) {
    let home = Home::new();
    let out = home.path("out.jsonl");
    Softlabel::label(service, &home.messages(messages), &out)
        .args(args)
        .ends(code);
    (
        lines(&out),
        json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json")),
    )
}

#[test]
fn a_filtered_message_is_not_labelable_and_is_asked_once() {
    for alternative_spelling in [false, true] {
        let content_filter = ContentFilter {
            prompt_contains: vec!["forbidden".to_owned()],
            alternative_spelling,
            ..ContentFilter::default()
        };
        let service = Service::start(Config {
            content_filter,
            ..Config::default()
        });
        let (lines, metadata) = labelled(&service, &["fine", "forbidden fruit"], &[], 0);
        assert_eq!(
            lines.iter().map(error_code).collect::<Vec<_>>(),
            ["", "content_filtered"]
        );
        let said = lines[1]["labeling_error"]["message"].as_str().unwrap();
        let categories = ["violence", "hate", "sexual", "self_harm", "jailbreak"];
        assert!(
            categories.iter().any(|category| said.contains(category)),
            "{said}"
        );
        assert_eq!(metadata["status"], "complete");
        assert_eq!(metadata["totals"]["not_labelable"], 1);
        assert_eq!(metadata["totals"]["errors"], json!({"content_filtered": 1}));
        assert_eq!(
            (service.classifications().len(), service.rationales().len()),
            (2, 1)
        );
    }
}

#[test]
fn a_filtered_answer_is_not_labelable_and_is_asked_once() {
    let content_filter = ContentFilter {
        completion_contains: vec!["forbidden".to_owned()],
        ..ContentFilter::default()
    };
    let service = Service::start(Config {
        content_filter,
        ..Config::default()
    });
    let (lines, metadata) = labelled(&service, &["forbidden fruit", "fine"], &[], 0);
    assert_eq!(
        lines.iter().map(error_code).collect::<Vec<_>>(),
        ["content_filtered", ""]
    );
    assert_eq!(metadata["status"], "complete");
    assert_eq!(service.classifications().len(), 2);
    assert_eq!(
        metadata["totals"]["tokens"]["calls"], 3,
        "a filtered answer is billed"
    );
}

#[test]
fn a_rationale_that_is_filtered_leaves_the_label() {
    // Only the second call of a turn says this.
    let contains = vec!["It was decided about".to_owned()];
    for content_filter in [
        ContentFilter {
            prompt_contains: contains.clone(),
            ..ContentFilter::default()
        },
        ContentFilter {
            completion_contains: contains,
            ..ContentFilter::default()
        },
    ] {
        let service = Service::start(Config {
            content_filter,
            ..Config::default()
        });
        let (lines, metadata) = labelled(&service, &["one", "two"], &[], 0);
        assert!(
            lines
                .iter()
                .all(|l| l.contains_key("soft_label") && !l.contains_key("rationale"))
        );
        assert_eq!(metadata["status"], "complete");
        assert_eq!(metadata["totals"]["labeled"], 2);
        assert_eq!(metadata["totals"]["rationale_failures"], 2);
        assert_eq!(metadata["totals"]["errors"], json!({}));
        assert_eq!(
            service.rationales().len(),
            2,
            "the filter is not asked again"
        );
    }
}

#[test]
fn a_message_beyond_the_context_is_too_long() {
    let long = "many words about a build that fails ".repeat(400);
    for model in ["gpt-5.2", "gpt-4.1"] {
        let service = Service::start(Config {
            context_limit_tokens: Some(2_000),
            ..Config::default()
        });
        let (lines, metadata) = labelled(&service, &["short", &long], &["--model", model], 0);
        assert_eq!(
            lines.iter().map(error_code).collect::<Vec<_>>(),
            ["", "too_long"],
            "{model}"
        );
        assert_eq!(metadata["totals"]["not_labelable"], 1);
        assert_eq!(metadata["status"], "complete");
        assert_eq!(
            service.classifications().len(),
            2,
            "asking again would change nothing"
        );
    }
}
