//! The main job: a dataset in, a labelled dataset out, and every figure about it.

use crate::harness::*;
use serde_json::{Map, Value, json};
use softlabel_doubles::azure_openai::{Config, Oddities};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

/// The figures of lines, counted anew.
#[derive(Default)]
struct Count {
    turns: u64,
    labeled: u64,
    label_0: u64,
    label_1: u64,
    soft: f64,
    contradictions: u64,
    rationales: u64,
    duplicate_keys: u64,
    missing_ids: u64,
    errors: BTreeMap<String, u64>,
}

impl Count {
    fn of(lines: &[Map<String, Value>]) -> Self {
        let mut count = Self {
            turns: lines.len() as u64,
            ..Self::default()
        };
        let mut keys = HashSet::new();
        for line in lines {
            let ids = [&line["conversationId"], &line["messageId"]].map(|id| id.as_str().unwrap());
            if ids.contains(&"") {
                count.missing_ids += 1;
            } else if !keys.insert(ids) {
                count.duplicate_keys += 1;
            }
            if let Some(hard) = line.get("hard_label") {
                let (hard, soft) = (hard.as_u64().unwrap(), line["soft_label"].as_f64().unwrap());
                count.labeled += 1;
                *[&mut count.label_0, &mut count.label_1][hard as usize] += 1;
                count.soft += soft;
                count.contradictions += u64::from((hard == 1) != (soft > 0.5));
                count.rationales += u64::from(line.contains_key("rationale"));
            } else {
                *count.errors.entry(error_code(line).to_owned()).or_default() += 1;
            }
        }
        count
    }

    fn assert_is(&self, figures: &Value) {
        let figure = |name: &str| {
            figures[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{figures}"))
        };
        for (name, counted) in [
            ("turns", self.turns),
            ("labeled", self.labeled),
            ("label_0", self.label_0),
            ("label_1", self.label_1),
            ("contradictions", self.contradictions),
            ("rationales", self.rationales),
            ("duplicate_keys", self.duplicate_keys),
            ("missing_ids", self.missing_ids),
        ] {
            assert_eq!(figure(name), counted, "{name}: {figures}");
        }
        assert_eq!(figures["errors"], json!(self.errors));
        let mean = figures["mean_soft_label"].as_f64().unwrap();
        assert!(
            (mean - self.soft / self.labeled as f64).abs() < 1e-6,
            "{figures}"
        );
    }
}

#[test]
fn the_sample_dataset_is_labelled_turn_by_turn_as_the_service_taught_it() {
    let service = Service::well();
    let home = Home::new();
    let raw_dataset = samples().join("devchat_sample_20261101");
    let out = home.path("out");
    let outcome = Softlabel::label(&service, &raw_dataset, &out).ends(0);
    let labeled = out.join("LABELED_devchat_sample_20261101");

    let stats = service.stats();
    let asked = service.classifications();
    let explained = service.rationales();
    let rationales = explained
        .iter()
        .map(message)
        .zip(service.answers_to(&explained));
    let rationales = rationales.collect::<HashMap<_, _>>();
    let taught = taught(&service, &asked);

    let mut expected_files = ["labeling_metadata.json", "README.md", "report.html"]
        .map(|name| labeled.join(name))
        .to_vec();
    let metadata = json_file(&labeled.join("labeling_metadata.json"));
    let mut all = Vec::new();
    for split in ["test", "train", "val"] {
        for bucket in [
            "short_3_to_5_turns",
            "medium_6_to_10_turns",
            "long_11_to_20_turns",
        ] {
            let source = raw_dataset.join(split).join(format!("{bucket}.json"));
            let path = labeled.join(split).join(format!("{bucket}.jsonl"));
            let lines = lines(&path);
            let conversations = raw(&source);
            let turns = conversations.iter().flat_map(|conversation| {
                let turns = conversation["turnsArray"].as_array().unwrap();
                turns
                    .iter()
                    .map(|turn| (conversation["conversationId"].clone(), turn.clone()))
            });
            let turns = turns.collect::<Vec<_>>();
            assert_eq!(lines.len(), turns.len(), "{split}/{bucket}");
            for (line, (conversation, turn)) in lines.iter().zip(&turns) {
                assert_eq!(line["conversationId"], *conversation);
                let id = turn.get("messageId").cloned().unwrap_or(json!(""));
                assert_eq!(line["messageId"], id);
                assert_eq!(
                    (&line["split"], &line["bucket"]),
                    (&json!(split), &json!(bucket))
                );
                let said = turn["userMessage"].as_str().unwrap();
                if said.trim().is_empty() {
                    assert_eq!(error_code(line), "empty_message");
                } else if said.len() < 100_000 {
                    assert_taught(line, taught[said].as_ref().unwrap());
                    let rationale = &rationales[said]["choices"][0]["message"]["content"];
                    assert!(
                        rationale
                            .as_str()
                            .unwrap()
                            .starts_with(line["rationale"].as_str().unwrap())
                    );
                } else {
                    // Cut in the middle: what was asked is another text.
                    assert!(line.contains_key("soft_label"));
                }
            }
            let report = &metadata["splits"][split][bucket];
            Count::of(&lines).assert_is(report);
            assert_eq!(report["status"], "complete");
            assert_eq!(report["conversations"], conversations.len());
            assert_eq!(
                report["source"]["length"],
                fs::metadata(&source).unwrap().len()
            );
            assert!(!report["source"]["etag"].as_str().unwrap().is_empty());
            expected_files.push(path);
            let details = format!("details/{split}/{bucket}.jsonl");
            expected_files.push(labeled.join(details));
            all.extend(lines);
        }
    }
    expected_files.sort();
    assert_eq!(
        files(&labeled),
        expected_files,
        "nothing else lies in the labelled dataset"
    );

    let totals = &metadata["totals"];
    let mut count = Count::of(&all);
    // Keys are compared within a bucket.
    count.duplicate_keys = 3;
    count.assert_is(totals);
    assert_eq!(count.turns, 391, "as samples/README.md says");
    assert_eq!(totals["conversations"], 61);
    assert_eq!(totals["not_labelable"], 2);
    assert_eq!(
        (&totals["failed"], &totals["cut_messages"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(
        totals["reused"],
        389 - asked.len(),
        "389 turns have text, each text is asked once"
    );
    // The probe is the one call that belongs to no turn.
    assert_eq!(totals["tokens"]["calls"], stats.requests - 1);
    assert_eq!(metadata["status"], "complete");
    assert_eq!(metadata["source_dataset"], "devchat_sample_20261101");
    assert_eq!(
        metadata["labeled_dataset"],
        "LABELED_devchat_sample_20261101"
    );
    for (name, value) in [
        ("model", json!("gpt-5.2")),
        ("deployment", json!("gpt-5.2")),
        ("strategy", json!("user_message_only")),
        ("with_rationales", json!(true)),
        ("hard_label", json!("generated")),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
    let dates = ["started", "completed"].map(|name| metadata[name].as_str().unwrap());
    assert!(
        dates
            .iter()
            .all(|date| date.ends_with('Z') && date.contains('T')),
        "{dates:?}"
    );
    assert!(dates[0] <= dates[1]);
    let tokens = &totals["tokens"];
    let [prompt, cached, completion] =
        ["prompt", "cached", "completion"].map(|name| tokens[name].as_f64().unwrap());
    let cost = ((prompt - cached) * 1.75 + cached * 0.175 + completion * 14.0) / 1e6;
    assert!((metadata["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-9);

    // Another number of conversations than RAW's own metadata says is a warning and no more.
    let warnings = metadata["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0]
            .as_str()
            .unwrap()
            .contains("val/medium_6_to_10_turns")
    );
    assert!(
        outcome.stderr.contains(warnings[0].as_str().unwrap()),
        "{outcome}"
    );
    assert!(
        outcome
            .row("identical turns")
            .starts_with(&format!("{} (", 389 - asked.len()))
    );
    assert_eq!(outcome.row("status"), "complete");

    // The same command finds everything done, and asks nothing: not even the probe.
    service.clear();
    Softlabel::label(&service, &raw_dataset, &out).ends(0);
    assert_eq!(service.stats().requests, 0);
}

/// Labels messages with one kind of oddity in every answer, and compares each line and full record
/// with the rules. Gives what was taught.
fn labelled_with(oddities: Oddities, seed: u64, args: &[&str]) -> Vec<Taught> {
    let service = Service::start(Config {
        oddities,
        seed,
        ..Config::default()
    });
    let home = Home::new();
    let messages = distinct(40);
    let input = home.messages(&borrowed(&messages));
    let out = home.path("out.jsonl");
    let argmax = args.contains(&"argmax");
    Softlabel::label(&service, &input, &out)
        .arg("--no-rationales")
        .args(args)
        .ends(0);
    let taught = taught(&service, &service.classifications());
    let records = full_records(&home.path("out.jsonl.softlabel"));
    let lines = lines(&out);
    assert_eq!(lines.len(), messages.len());
    let mut all = Vec::new();
    for (line, said) in lines.iter().zip(&messages) {
        let mut taught = taught[said].clone().unwrap();
        if argmax {
            taught.generated = taught.argmax().to_string();
        }
        assert_taught(line, &taught);
        let record = &records[line["messageId"].as_str().unwrap()];
        for (name, value) in [
            ("soft", taught.soft),
            ("low", taught.low),
            ("high", taught.high),
        ] {
            assert!(
                (record[name].as_f64().unwrap() - value).abs() < 1e-9,
                "{record} {taught:?}"
            );
        }
        assert_eq!(record["censored"], taught.censored, "{record}");
        all.push(taught);
    }
    all
}

#[test]
fn a_label_that_is_not_listed_is_bounded_and_marked() {
    let oddities = Oddities {
        single_entry: 1.0,
        ..Oddities::default()
    };
    let taught = labelled_with(oddities, 1, &[]);
    let censored = taught
        .iter()
        .filter(|taught| taught.censored)
        .collect::<Vec<_>>();
    assert!(
        censored.len() > 10,
        "the double was to list one entry often"
    );
    assert!(censored.iter().all(|taught| taught.low < taught.high));
}

#[test]
fn junk_variants_and_sentinels_do_not_disturb_the_sum() {
    let oddities = Oddities {
        junk: 0.5,
        whitespace_variants: 0.7,
        sentinel: 0.5,
        no_bytes: 0.3,
        short_list: 0.3,
        ..Oddities::default()
    };
    labelled_with(oddities, 2, &[]);
}

#[test]
fn a_sampled_token_that_is_not_listed_counts() {
    let oddities = Oddities {
        sampled_not_listed: 1.0,
        whitespace_variants: 0.5,
        ..Oddities::default()
    };
    labelled_with(oddities, 3, &[]);
}

#[test]
fn argmax_takes_the_more_probable_label_and_generated_the_sampled_one() {
    let oddities = Oddities {
        junk: 0.5,
        ..Oddities::default()
    };
    let generated = labelled_with(oddities.clone(), 11, &[]);
    let contradictions = generated
        .iter()
        .filter(|taught| taught.hard() != taught.argmax())
        .count();
    assert!(
        contradictions > 0,
        "another seed is needed: no sampled label contradicts"
    );
    labelled_with(oddities, 11, &["--hard-label", "argmax"]);
}

/// Labels messages of which a part is answered without a label, each twice at most. Gives the lines'
/// error codes, one a message that had no label in either answer.
fn codes_without_label(oddities: Oddities) -> Vec<String> {
    // A seed by which the first answer to the probe is odd, too, and the second one is not.
    let service = Service::start(Config {
        oddities,
        seed: 6,
        ..Config::default()
    });
    let home = Home::new();
    let messages = distinct(24);
    let out = home.path("out.jsonl");
    let outcome = Softlabel::label(&service, &home.messages(&borrowed(&messages)), &out)
        .arg("--no-rationales")
        .ends(3);
    let asked = service.classifications();
    let mut times = HashMap::<String, u32>::new();
    for record in &asked {
        *times.entry(message(record)).or_default() += 1;
    }
    let taught = taught(&service, &asked);
    let mut codes = Vec::new();
    for (line, said) in lines(&out).iter().zip(&messages) {
        match &taught[said] {
            Some(taught) => assert_taught(line, taught),
            None => {
                assert_eq!(times[said], 2, "one more try, and no third one: {said}");
                codes.push(error_code(line).to_owned());
            }
        }
    }
    assert!(
        times.values().any(|&times| times == 2) && !codes.is_empty(),
        "{times:?}"
    );
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["status"], "partial");
    assert_eq!(metadata["totals"]["failed"], codes.len());
    assert_eq!(
        metadata["totals"]["tokens"]["calls"],
        asked.len(),
        "what failed was billed too"
    );
    assert!(outcome.stderr.contains("turns failed"), "{outcome}");
    codes
}

#[test]
fn an_answer_without_either_label_is_asked_for_once_more_and_then_no_label() {
    let codes = codes_without_label(Oddities {
        neither_label: 0.6,
        ..Oddities::default()
    });
    assert!(codes.iter().all(|code| code == "no_label"), "{codes:?}");
}

#[test]
fn a_refusal_is_asked_for_once_more_and_then_a_failed_turn() {
    let codes = codes_without_label(Oddities {
        refusal: 0.6,
        ..Oddities::default()
    });
    assert!(codes.iter().all(|code| code == "refused"), "{codes:?}");
}

#[test]
fn an_empty_answer_is_asked_for_once_more_and_then_a_failed_turn() {
    let codes = codes_without_label(Oddities {
        empty_content: 0.6,
        ..Oddities::default()
    });
    assert!(codes.iter().all(|code| code == "no_label"), "{codes:?}");
}

#[test]
fn a_rationale_that_is_cut_keeps_its_full_sentences() {
    let service = Service::start(Config {
        overlong_text_rate: 1.0,
        ..Config::default()
    });
    let home = Home::new();
    let messages = distinct(8);
    let out = home.path("out.jsonl");
    Softlabel::label(&service, &home.messages(&borrowed(&messages)), &out).ends(0);
    let asked = service.rationales();
    let answers = service.answers_to(&asked);
    let whole = asked
        .iter()
        .map(message)
        .zip(answers)
        .collect::<HashMap<_, _>>();
    for (line, said) in lines(&out).iter().zip(&messages) {
        let choice = &whole[said]["choices"][0];
        assert_eq!(choice["finish_reason"], "length");
        let text = choice["message"]["content"].as_str().unwrap();
        let kept = line["rationale"].as_str().unwrap();
        assert!(
            text.starts_with(kept) && kept.ends_with('.'),
            "{kept:?} of {text:?}"
        );
        assert!(
            !text[kept.len()..].contains(". "),
            "a full sentence was dropped: {text:?}"
        );
    }
}

#[test]
fn identical_messages_are_asked_once_unless_told_otherwise() {
    let home = Home::new();
    let conversations = (0..12).map(|i| {
        conversation(
            &format!("c{i}"),
            &["ok", "thanks!", "ok", &format!("question {i}")],
        )
    });
    let input = home.write("in.json", array(&conversations.collect::<Vec<_>>()));
    let run = |out: &str, args: &[&str]| {
        let service = Service::well();
        // Several chunks, so that answers must be shared beyond one.
        let outcome = Softlabel::label(&service, &input, &home.path(out))
            .args(["--chunk-turns", "8"])
            .args(args)
            .ends(0);
        let totals = json_file(&home.path(&format!("{out}.softlabel/labeling_metadata.json")));
        (service, outcome, totals["totals"].clone())
    };
    let (service, outcome, totals) = run("once.jsonl", &[]);
    assert_eq!(
        (service.classifications().len(), service.rationales().len()),
        (14, 14)
    );
    assert_eq!(totals["reused"], 34);
    assert_eq!(
        outcome.row("identical turns"),
        "34 (70.8 %) took the answer of another"
    );
    let lines = lines(&home.path("once.jsonl"));
    let ok = lines
        .chunks(4)
        .flat_map(|turns| [&turns[0], &turns[2]])
        .collect::<Vec<_>>();
    for line in &ok {
        for key in ["hard_label", "soft_label", "rationale"] {
            assert_eq!(
                line[key], ok[0][key],
                "identical turns have identical labels"
            );
        }
    }
    assert_eq!(
        totals["tokens"]["calls"], 28,
        "an answer is billed to one turn only"
    );

    let (service, outcome, totals) = run("each.jsonl", &["--no-dedupe"]);
    assert_eq!(
        (service.classifications().len(), service.rationales().len()),
        (48, 48)
    );
    assert_eq!(totals["reused"], 0);
    assert_eq!(
        outcome.row("identical turns"),
        "0 (0.0 %) took the answer of another"
    );
}

#[test]
fn without_rationales_none_is_asked_for_and_none_is_written() {
    let service = Service::well();
    let home = Home::new();
    let out = home.path("out.jsonl");
    let input = home.messages(&["one", "two"]);
    Softlabel::label(&service, &input, &out)
        .env("SOFTLABEL_NO_RATIONALES", "true")
        .ends(0);
    assert_eq!(service.rationales().len(), 0);
    assert!(lines(&out).iter().all(|line| line.len() == 6));
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["with_rationales"], false);
    assert_eq!(metadata["totals"]["rationales"], 0);
}
