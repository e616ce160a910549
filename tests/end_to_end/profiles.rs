//! Which parameters go to which model, and how that is settled.

use crate::harness::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{Config, Fault, Faults, Form, NoLogprobs, Quirks, Record};

/// The parameters of a run against a deployment "d" of `model`: of all requests for labels, and of all
/// for rationales; and the run's metadata. Each is the same throughout, or the test fails.
fn settled(
    model: &str,
    quirks: Quirks,
    args: &[&str],
    version: Option<&str>,
) -> (Value, Value, Value) {
    let deployments = [("d".to_owned(), model.to_owned())].into();
    let service = Service::start(Config {
        deployments,
        quirks,
        ..Config::default()
    });
    let home = Home::new();
    let messages = distinct(12);
    let mut label = Softlabel::label(
        &service,
        &home.messages(&borrowed(&messages)),
        &home.path("out.jsonl"),
    )
    .env("AZURE_OPENAI_DEPLOYMENT", "d")
    .args(args);
    if let Some(version) = version {
        label = label.env("AZURE_OPENAI_API_VERSION", version);
    }
    label.ends(0);
    assert!(
        lines(&home.path("out.jsonl"))
            .iter()
            .all(|line| line.contains_key("rationale"))
    );
    let same = |records: Vec<Record>| {
        let all = records.iter().map(parameters).collect::<Vec<_>>();
        assert_eq!(all.len(), 12, "nothing is asked twice");
        assert!(
            all.iter().all(|parameters| *parameters == all[0]),
            "never adapted row by row"
        );
        all[0].clone()
    };
    let form = if version.is_some() {
        Form::Dated
    } else {
        Form::V1
    };
    assert!(
        service
            .log()
            .iter()
            .all(|record| record.form == form && record.deployment == "d")
    );
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    (
        same(service.classifications()),
        same(service.rationales()),
        metadata,
    )
}

#[test]
fn a_classic_model_is_asked_with_one_token_and_a_bias() {
    for (model, version) in [("gpt-4o", None), ("gpt-4.1", Some("2024-10-21"))] {
        let (label, rationale, metadata) =
            settled(model, Quirks::default(), &["--model", model], version);
        let mut expected = json!({
            "max_tokens": 1, "temperature": 1.0, "logprobs": true, "top_logprobs": 5,
            "logit_bias": {"15": 5, "16": 5},
        });
        let mut expected_rationale = json!({"max_tokens": 128, "temperature": 0.7});
        if version.is_none() {
            expected["model"] = json!("d");
            expected_rationale["model"] = json!("d");
        }
        assert_eq!(
            (label, rationale),
            (expected, expected_rationale),
            "{model}"
        );
        assert_eq!(metadata["api_profile"]["family"], "classic");
        assert_eq!(metadata["model"], model);
        assert_eq!(metadata["deployment"], "d");
    }
}

fn gpt5_none() -> (Value, Value) {
    let label = json!({
        "model": "d", "max_completion_tokens": 16, "reasoning_effort": "none", "temperature": 1.0,
        "logprobs": true, "top_logprobs": 5,
    });
    let rationale = json!({
        "model": "d", "max_completion_tokens": 128, "reasoning_effort": "none", "temperature": 0.7,
    });
    (label, rationale)
}

#[test]
fn a_gpt_5_2_is_asked_at_effort_none_without_a_bias() {
    let (label, rationale, metadata) = settled("gpt-5.2", Quirks::default(), &[], None);
    assert_eq!((label, rationale), gpt5_none());
    assert_eq!(metadata["api_profile"]["family"], "gpt5_none");
    assert!(
        !metadata["api_profile_reasons"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_probe_adapts_to_a_gpt_5_2_that_was_taken_for_a_classic_model() {
    let (label, rationale, metadata) = settled(
        "gpt-5.2",
        Quirks::default(),
        &["--model-family", "classic"],
        None,
    );
    assert_eq!(label["max_completion_tokens"], 16);
    assert_eq!(label["top_logprobs"], 5);
    assert_eq!(rationale["max_completion_tokens"], 128);
    for absent in ["max_tokens", "logit_bias"] {
        assert_eq!(
            (label.get(absent), rationale.get(absent)),
            (None, None),
            "{absent}"
        );
    }
    let reasons = metadata["api_profile_reasons"].to_string();
    for said in [
        "'max_tokens' is not supported",
        "'logit_bias' is not supported",
    ] {
        assert!(reasons.contains(said), "{reasons}");
    }
}

#[test]
fn the_probe_adapts_to_a_classic_model_that_was_taken_for_a_gpt_5_2() {
    for version in [None, Some("2024-10-21")] {
        let (label, rationale, metadata) = settled("gpt-4o", Quirks::default(), &[], version);
        for parameters in [&label, &rationale] {
            assert_eq!(parameters.get("reasoning_effort"), None);
        }
        assert_eq!(label["top_logprobs"], 5);
        let reasons = metadata["api_profile_reasons"].to_string();
        assert!(reasons.contains("reasoning_effort"), "{reasons}");
    }
}

#[test]
fn a_gpt_5_2_behind_the_dated_form_is_asked_without_an_effort() {
    let (label, _, metadata) = settled("gpt-5.2", Quirks::default(), &[], Some("2024-10-21"));
    assert_eq!(label.get("reasoning_effort"), None);
    assert_eq!(label["max_completion_tokens"], 16);
    assert!(
        metadata["api_profile_reasons"]
            .to_string()
            .contains("reasoning_effort")
    );
}

#[test]
fn a_deployment_that_fails_at_five_candidates_is_asked_for_one() {
    let quirks = Quirks {
        top_logprobs_500: true,
        ..Quirks::default()
    };
    let (label, _, metadata) = settled("gpt-5.2", quirks, &[], None);
    assert_eq!(label["top_logprobs"], 1);
    assert_eq!(metadata["api_profile"]["top_logprobs"], 1);
    assert!(metadata["api_profile_reasons"].to_string().contains("500"));
    assert!(
        metadata["totals"]["censored"].as_u64().unwrap() > 6,
        "one candidate only bounds"
    );
}

#[test]
fn a_fault_or_two_at_the_beginning_do_not_cost_the_run_its_candidates() {
    let rates = [(Fault::Status(500), 1.0)].into();
    let faults = Faults {
        rates,
        max_faults_per_key: 2,
        ..Faults::default()
    };
    let service = Service::start(Config {
        faults,
        ..Config::default()
    });
    let home = Home::new();
    Softlabel::label(&service, &home.messages(&["one"]), &home.path("out.jsonl")).ends(0);
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["api_profile"]["top_logprobs"], 5);
}

/// Runs against a deployment of `model` that cannot be used, and gives the error.
fn refused(model: &str, quirks: Quirks, args: &[&str]) -> String {
    let deployments = [("d".to_owned(), model.to_owned())].into();
    let service = Service::start(Config {
        deployments,
        quirks,
        ..Config::default()
    });
    let home = Home::new();
    let input = home.messages(&["one", "two", "three"]);
    let outcome = Softlabel::label(&service, &input, &home.path("out.jsonl"))
        .env("AZURE_OPENAI_DEPLOYMENT", "d")
        .args(args)
        .ends(1);
    assert!(
        service.log().iter().all(|record| message(record) == PROBE),
        "nothing is labelled"
    );
    assert!(
        service.log().len() <= 3,
        "{} calls to find out",
        service.log().len()
    );
    assert_eq!(
        files(&home.path(".")),
        [home.path("./in.json")],
        "nothing is left behind"
    );
    outcome.error().to_owned()
}

#[test]
fn without_log_probabilities_nothing_is_labelled() {
    for way in [NoLogprobs::Omit, NoLogprobs::Forbid] {
        let quirks = Quirks {
            no_logprobs: Some(way),
            ..Quirks::default()
        };
        let error = refused("gpt-5.2", quirks, &[]);
        assert!(
            error.contains("gives no log probabilities") && error.contains("deploy"),
            "{error}"
        );
    }
}

#[test]
fn a_model_that_reasons_first_is_refused() {
    for (model, taken_for) in [
        ("gpt-5", "gpt-5"),
        ("o3-mini", "o3-mini"),
        ("gpt-5-mini", "gpt-5.2"),
        ("o4-mini", "gpt-4.1"),
    ] {
        let error = refused(model, Quirks::default(), &["--model", taken_for]);
        assert!(
            error.contains("log probabilities"),
            "{model} as {taken_for}: {error}"
        );
    }
}

#[test]
fn a_gpt_5_2_that_thinks_by_itself_is_told_not_to() {
    let quirks = Quirks {
        default_effort: "medium".to_owned(),
        ..Quirks::default()
    };
    let (label, rationale, _) = settled("gpt-5.2", quirks.clone(), &[], None);
    assert_eq!((label, rationale), gpt5_none());
    let (label, rationale, _) = settled("gpt-5.2", quirks, &["--model", "gpt-4.1"], None);
    assert_eq!((label, rationale), gpt5_none());
}
