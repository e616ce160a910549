//! Pilots: some turns, labelled apart from the run that labels all.

use crate::harness::{message as message_of, *};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A dataset of 60, 30 and 10 turns; the first bucket has a broken conversation and the same one twice.
fn dataset(home: &Home) {
    let of = |prefix: &str, conversations: usize, turns: usize| {
        let all = (0..conversations).map(|number| {
            let id = format!("{prefix}{number}");
            let said = (0..turns).map(|turn| format!("what about {id} in part {turn}?"));
            conversation(&id, &borrowed(&said.collect::<Vec<_>>()))
        });
        all.collect::<Vec<_>>()
    };
    let mut long = of("a", 9, 6);
    long.insert(3, json!({"conversationId": "broken"}));
    long.push(long[0].clone());
    home.write("raw/train/long.json", array(&long));
    home.write("raw/train/short.jsonl", jsonl(&of("b", 15, 2)));
    home.write("raw/val/short.json", array(&of("c", 5, 2)));
}

fn label(service: &Service, home: &Home, args: &[&str]) -> Softlabel {
    Softlabel::label(service, &home.path("raw"), &home.path("out"))
        .args(["--no-rationales", "--strategy", "with_context"])
        .args(args)
}

type Lines = Vec<Map<String, Value>>;

/// The lines of a labelled folder with their details, by bucket.
fn labelled(folder: &Path) -> Vec<(String, Lines, Vec<Value>)> {
    let buckets = ["train/long", "train/short", "val/short"].map(|bucket| {
        let labels = folder.join(format!("{bucket}.jsonl"));
        let details = folder.join(format!("details/{bucket}.jsonl"));
        labels.exists().then(|| {
            let details = fs::read_to_string(details).unwrap();
            let details = details
                .lines()
                .map(|line| serde_json::from_str(line).unwrap());
            (bucket.to_owned(), lines(&labels), details.collect())
        })
    });
    buckets.into_iter().flatten().collect()
}

fn counts(labelled: &[(String, Lines, Vec<Value>)]) -> Vec<(&str, usize)> {
    let count = |(_, lines, details): &'_ (String, Lines, Vec<Value>)| {
        assert_eq!(lines.len(), details.len());
        lines.len()
    };
    labelled
        .iter()
        .map(|it| (it.0.as_str(), count(it)))
        .collect()
}

#[test]
fn a_sample_is_stratified_and_labelled_as_the_whole_run_labels_it() {
    let (service, home) = (Service::well(), Home::new());
    dataset(&home);
    let name = "reasoning-gpt-5.2-with_context-sample20-seed7";
    let folder = home.path(&format!("out/LABELED_raw.pilot-{name}"));
    label(&service, &home, &["--sample", "20", "--seed", "7"]).ends(3);
    assert_eq!(service.classifications().len(), 20);
    assert!(!home.path("out/LABELED_raw").exists());
    let pilot = labelled(&folder);
    assert_eq!(
        counts(&pilot),
        [("train/long", 12), ("train/short", 6), ("val/short", 2)]
    );
    let metadata = json_file(&folder.join("labeling_metadata.json"));
    let marks = json!({"name": name, "sample": 20, "seed": 7, "of_turns": 100});
    assert_eq!(metadata["pilot"], marks);
    assert_eq!(metadata["totals"]["turns"], 20);
    assert_eq!(metadata["splits"]["train"]["long"]["of_turns"], 60);

    // What a service answers depends on how often it was asked.
    label(&Service::well(), &home, &[]).ends(3);
    let whole = labelled(&home.path("out/LABELED_raw"));
    let whole_metadata = json_file(&home.path("out/LABELED_raw/labeling_metadata.json"));
    assert_eq!(whole_metadata.get("pilot"), None);
    for ((_, lines, details), (_, all, all_details)) in pilot.iter().zip(&whole) {
        let place = |details: &Value| (details["position"].clone(), details["turn"].clone());
        for (line, details) in lines.iter().zip(details) {
            let at = all_details
                .iter()
                .position(|it| place(it) == place(details));
            assert_eq!(line, &all[at.unwrap()]);
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_turns_and_another_one_others() {
    let (service, home) = (Service::well(), Home::new());
    dataset(&home);
    let mut drawn = Vec::new();
    for (name, seed) in [("a", "7"), ("b", "7"), ("c", "8")] {
        let args = ["--sample", "20", "--seed", seed, "--pilot", name];
        label(&service, &home, &args).ends(3);
        let folder = home.path(&format!("out/LABELED_raw.pilot-{name}"));
        let places = labelled(&folder)
            .into_iter()
            .flat_map(|(bucket, _, details)| {
                let place =
                    move |it: Value| (bucket.clone(), it["position"].as_u64(), it["turn"].as_u64());
                details.into_iter().map(place).collect::<Vec<_>>()
            });
        drawn.push(places.collect::<BTreeSet<_>>());
    }
    assert_eq!(drawn[0], drawn[1]);
    assert_ne!(drawn[0], drawn[2]);
}

#[test]
fn a_limit_takes_the_first_turns_of_the_whole_input() {
    let (service, home) = (Service::well(), Home::new());
    dataset(&home);
    label(&service, &home, &["--limit", "65", "--pilot", "first"]).ends(3);
    let pilot = labelled(&home.path("out/LABELED_raw.pilot-first"));
    assert_eq!(counts(&pilot), [("train/long", 60), ("train/short", 5)]);
    let metadata = json_file(&home.path("out/LABELED_raw.pilot-first/labeling_metadata.json"));
    let marks = json!({"name": "first", "limit": 65, "of_turns": 100});
    assert_eq!(metadata["pilot"], marks);
    // More than there is.
    label(&service, &home, &["--limit", "1000", "--pilot", "all"]).ends(3);
    let all = labelled(&home.path("out/LABELED_raw.pilot-all"));
    assert_eq!(all.iter().map(|it| it.1.len()).sum::<usize>(), 100);
}

#[test]
fn a_pilot_continues_and_one_of_other_settings_under_its_name_is_refused() {
    let (service, home) = (Service::well(), Home::new());
    dataset(&home);
    let pilot = |args: &[&str]| label(&service, &home, &["--pilot", "p"]).args(args.to_vec());
    pilot(&["--sample", "20"]).ends(3);
    let asked = service.stats().requests;
    let folder = home.path("out/LABELED_raw.pilot-p");
    fs::remove_file(folder.join("val/short.jsonl")).unwrap();
    pilot(&["--sample", "20"]).ends(3);
    assert!(folder.join("val/short.jsonl").exists());
    assert_eq!(service.stats().requests, asked);
    for (args, difference) in [
        (vec!["--sample", "21"], "sample: 20 there, 21 here"),
        (
            vec!["--sample", "20", "--seed", "1"],
            "seed: 0 there, 1 here",
        ),
        (vec!["--limit", "20"], "limit: none there, 20 here"),
        (
            vec!["--sample", "20", "--hard-label", "argmax"],
            "hard_label",
        ),
    ] {
        let refused = pilot(&args).ends(1);
        assert!(refused.stderr.contains(difference), "{refused}");
        assert!(refused.stderr.contains("--pilot"), "{refused}");
    }
    assert_eq!(service.stats().requests, asked);
    pilot(&["--sample", "21", "--restart", "--yes"]).ends(3);
    let counted = labelled(&folder).iter().map(|it| it.1.len()).sum::<usize>();
    assert_eq!(counted, 21);
}

#[test]
fn what_failed_in_a_pilot_is_asked_again_alone() {
    let (service, home) = (Service::well(), Home::new());
    dataset(&home);
    let always = softlabel_doubles::azure_openai::AlwaysFail {
        contains: "what about".into(),
        fault: softlabel_doubles::azure_openai::Fault::Status(503),
        code: None,
    };
    service
        .update(|config| config.faults.always_fail = vec![always])
        .unwrap();
    let pilot =
        label(&service, &home, &["--limit", "3", "--pilot", "p"]).env("SOFTLABEL_ATTEMPTS", "1");
    pilot.ends(3);
    service
        .update(|config| config.faults.always_fail.clear())
        .unwrap();
    pilot.arg("--only").arg("failed").ends(3);
    let lines = lines(&home.path("out/LABELED_raw.pilot-p/train/long.jsonl"));
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| error_code(line).is_empty()));
}

#[test]
fn the_pilot_of_a_lone_file_lies_beside_its_output() {
    let (service, home) = (Service::well(), Home::new());
    let said = distinct(20);
    let input = home.messages(&borrowed(&said));
    let pilot = Softlabel::label(&service, &input, &home.path("out.jsonl"));
    let work = home.path("work");
    pilot
        .args(["--limit", "4", "--pilot", "p", "--work"])
        .arg(&work)
        .ends(0);
    let path = home.path("out.jsonl.pilot-p.jsonl");
    assert_eq!(lines(&path).len(), 4);
    let asked = service.classifications();
    let asked = asked.iter().map(message_of).collect::<BTreeSet<_>>();
    assert_eq!(asked, said[..4].iter().cloned().collect());
    assert!(!home.path("out.jsonl").exists());
    // The same work folder serves the whole run.
    let whole = Softlabel::label(&service, &input, &home.path("out.jsonl"));
    whole.arg("--work").arg(&work).ends(0);
    assert_eq!(
        (lines(&home.path("out.jsonl")).len(), lines(&path).len()),
        (20, 4)
    );
}

#[test]
fn a_dry_run_prices_the_pilot_and_the_whole_and_leaves_no_trace() {
    let (service, home) = (Service::well(), Home::new());
    dataset(&home);
    let before = files(&home.path("."));
    let said = label(&service, &home, &["--sample", "20", "--dry-run"])
        .ends(0)
        .stdout;
    assert_eq!(files(&home.path(".")), before);
    let row = |name: &str| {
        let mut rows = said
            .lines()
            .filter_map(|line| line.trim().strip_prefix(name));
        rows.next()
            .unwrap_or_else(|| panic!("no {name}: {said}"))
            .trim()
            .to_owned()
    };
    assert_eq!(
        (row("turns"), row("the whole input")),
        ("20".into(), "100 turns".into())
    );
    let usd = |text: &str| {
        let amount = text
            .strip_prefix("at most ")
            .unwrap()
            .strip_suffix(" USD")
            .unwrap();
        amount.parse::<f64>().unwrap()
    };
    let both = said.matches("price with rationales").count();
    assert_eq!(both, 2);
    let (_, whole) = said.split_once("the whole input").unwrap();
    let (_, whole) = whole.split_once("price with rationales").unwrap();
    let whole = usd(whole.lines().next().unwrap().trim());
    let pilot = usd(&row("price with rationales"));
    assert!(
        whole > 4.0 * pilot && whole < 6.0 * pilot,
        "{pilot} {whole}"
    );
}
