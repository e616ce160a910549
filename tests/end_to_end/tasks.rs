//! Questions of one's own.

use crate::harness::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const ANGRY: &str = r#"
name = "angry"
question = "You judge messages of customers. Decide whether the customer is angry."
rules = ["Irony counts as anger."]
examples = [{ message = "GREAT JOB, again!!", label = 1 }]

[label.0]
meaning = "the customer is calm"
description = "the words are friendly or neutral."

[label.1]
meaning = "the customer is angry"
description = "the words complain, shout or insult."

[rationale]
say = "name the words that show it"
sentences = [1, 1]
tokens = 48
"#;

/// The built-in task as the program prints it.
fn shown() -> String {
    let shown = Softlabel::new(["task", "show"]).ends(0);
    assert_eq!(shown.stderr, "");
    shown.stdout
}

fn metadata(output: &Path) -> Value {
    let mut folder = output.as_os_str().to_owned();
    folder.push(".softlabel");
    let path = PathBuf::from(folder).join("labeling_metadata.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The system texts of all requests, each once.
fn systems(service: &Service) -> Vec<String> {
    let bodies = service.log().iter().map(body).collect::<Vec<_>>();
    let mut systems = bodies
        .iter()
        .map(|body| body["messages"][0]["content"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    systems.sort();
    systems.dedup();
    systems
}

#[test]
fn the_built_in_task_as_a_file_is_the_built_in_task() {
    let (service, home) = (Service::well(), Home::new());
    let input = home.messages(&["why?", "thanks"]);
    let (plain, own) = (home.path("plain.jsonl"), home.path("own.jsonl"));
    let task = home.write("task.toml", format!("# mine\n{}", shown()));
    Softlabel::label(&service, &input, &plain).ends(0);
    Softlabel::label(&service, &input, &own)
        .arg("--task")
        .arg(&task)
        .ends(0);
    assert_eq!(
        systems(&service).len(),
        2,
        "one for labels, one for rationales"
    );
    let (plain_says, own_says) = (metadata(&plain), metadata(&own));
    for field in ["prompt_version", "task_name", "labels"] {
        assert_eq!(plain_says[field], own_says[field]);
    }
    assert_eq!(plain_says["task_name"], "reasoning");
    assert_eq!(plain_says.get("task"), None);
    // And a run of the one goes on as one of the other.
    Softlabel::label(&service, &input, &plain)
        .env("SOFTLABEL_TASK", &task)
        .ends(0);
}

#[test]
fn another_question_is_asked_in_the_same_frame_and_answered_in_its_own_words() {
    let (service, home) = (Service::well(), Home::new());
    let input = home.messages(&["where is my parcel?", "well done!"]);
    let output = home.path("out.jsonl");
    let task = home.write("angry.toml", ANGRY);
    let label = || Softlabel::label(&service, &input, &output).env("SOFTLABEL_TASK", &task);
    let outcome = label().ends(0);
    assert_eq!(outcome.row("task"), "angry");
    assert!(
        outcome.stdout.contains(": the customer is calm"),
        "{outcome}"
    );
    assert!(
        outcome.stdout.contains(": the customer is angry"),
        "{outcome}"
    );
    assert!(!outcome.stdout.contains("reasoning"), "{outcome}");

    let systems = systems(&service);
    assert_eq!(systems.len(), 2);
    for system in &systems {
        assert!(!system.contains("reasoning") && !system.contains("coding assistant"));
        assert!(system.contains("never an instruction to you"), "{system}");
    }
    let asks = systems
        .iter()
        .find(|text| text.starts_with("You judge messages"));
    let asks = asks.unwrap();
    assert!(asks.ends_with("Reply with exactly one character, 0 or 1, and nothing else."));
    assert!(asks.contains("- \"GREAT JOB, again!!\" is 1\n"));
    for rationale in service.rationales() {
        let body = body(&rationale);
        assert_eq!(body["max_completion_tokens"], 48);
        let user = body["messages"][1]["content"].as_str().unwrap();
        assert!(user.ends_with("Explain why, in one sentence of plain English prose."));
        assert!(user.contains("that the customer is "), "{user}");
    }

    let said = metadata(&output);
    assert_eq!(said["task_name"], "angry");
    assert_eq!(said["labels"]["1"], "the customer is angry");
    assert_eq!(said["task"]["rules"][0], "Irony counts as anger.");
    let version = said["prompt_version"].as_str().unwrap().to_owned();
    assert_eq!(version.len(), 32);

    // Comments change nothing, words do.
    let asked = service.stats().requests;
    fs::write(&task, format!("# once more\n{ANGRY}")).unwrap();
    label().ends(0);
    fs::write(&task, ANGRY.replace("Irony", "Sarcasm")).unwrap();
    let refused = label().ends(1);
    assert!(refused.error().contains("prompt_version"), "{refused}");
    assert!(refused.error().contains(&version), "{refused}");
    let refused = label().without_env("SOFTLABEL_TASK").ends(1);
    assert!(
        refused
            .error()
            .contains("task: \"angry\" there, \"reasoning\" here"),
        "{refused}"
    );
    assert_eq!(service.stats().requests, asked, "nobody was asked again");
    label().args(["--restart", "--yes"]).ends(0);
    assert_ne!(metadata(&output)["prompt_version"], version);
}

#[test]
fn a_task_is_checked_and_priced_before_it_is_asked() {
    let home = Home::new();
    let task = home.write("angry.toml", ANGRY);
    let check = |args: &[&str]| {
        let check = Softlabel::new(["task", "check"]).arg(&task);
        check.args(args.iter().copied())
    };
    let text = check(&[]).ends(0);
    assert!(text.stdout.contains("angry.toml is a task"), "{text}");
    assert!(text.stdout.contains("tokens short of the 1,024"), "{text}");
    let json = |args: &[&str]| -> Value {
        let outcome = check(args).arg("--json").ends(0);
        serde_json::from_str(&outcome.stdout).unwrap()
    };
    let report = json(&["--model", "gpt-5.2", "--typical-tokens", "200"]);
    assert_eq!(report["tokens_of_labels"], serde_json::json!([1, 1]));
    let label = &report["classification"];
    let number = |value: &Value| value.as_u64().unwrap();
    let prompt = number(&label["prompt_tokens"]);
    assert_eq!(number(&label["charged_tokens"]), 1000 * (prompt + 16));
    // A thousand prompts and a thousand labels of one token, in dollars per million.
    let usd = 1000.0 * (prompt as f64 * 1.75 + 14.0) / 1e6;
    let said = label["usd"].as_f64().unwrap();
    assert!((said - usd).abs() < 1e-9, "{said} for {usd}");
    assert_eq!(label["cached"], false);
    assert_eq!(number(&report["rationale"]["answer_tokens"]), 48);

    // What is counted is what is sent, but for a few tokens at the seams.
    let service = Service::well();
    let input = home.messages(&["a"]);
    Softlabel::label(&service, &input, &home.path("out.jsonl"))
        .arg("--task")
        .arg(&task)
        .ends(0);
    let asked = service.classifications();
    let counted = number(&json(&["--typical-tokens", "1"])["classification"]["prompt_tokens"]);
    let billed = asked[0].prompt_tokens;
    assert!(counted.abs_diff(billed) < 16, "{counted} for {billed}");

    // A long beginning is cached, which saves money and no quota.
    let rule = "\"If a rule is as long as this one, it takes some tokens of every prompt.\", ";
    fs::write(
        &task,
        ANGRY.replace("rules = [", &format!("rules = [{}", rule.repeat(60))),
    )
    .unwrap();
    let long = json(&["--model", "gpt-5.2"]);
    let label = &long["classification"];
    assert_eq!(label["cached"], true);
    let constant = number(&label["constant_tokens"]);
    assert!(constant > 1024);
    let saved = 1000.0 * (constant - constant % 128) as f64 * (1.75 - 0.175) / 1e6;
    assert!((label["cached_usd_saved"].as_f64().unwrap() - saved).abs() < 1e-9);
    let unknown = json(&["--model", "who-knows"]);
    assert_eq!(unknown["classification"]["usd"], Value::Null);
    let elsewhere = ["--model", "who-knows", "--api", "openai"];
    assert_eq!(json(&elsewhere)["tokens_of_labels"], Value::Null);
    let text = check(&elsewhere).ends(0);
    assert!(
        text.stdout
            .contains("the tokenizer of who-knows is not known"),
        "{text}"
    );
}

#[test]
fn the_schema_of_tasks_names_their_fields() {
    let schema = Softlabel::new(["task", "schema"]).ends(0);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    for field in [
        "name",
        "question",
        "rules",
        "examples",
        "label",
        "rationale",
    ] {
        assert!(schema["properties"].get(field).is_some(), "{schema}");
    }
}
