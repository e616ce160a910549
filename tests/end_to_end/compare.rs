//! Two labelled outputs side by side.

use crate::blobs::Data;
use crate::harness::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A dataset of 30 and 10 turns; the last conversation has the ids of the first and another text.
fn dataset(home: &Home) {
    let of = |prefix: &str, conversations: usize| {
        let all = (0..conversations).map(|number| {
            let id = format!("{prefix}{number}");
            let said = (0..3).map(|turn| format!("what about {id} in part {turn}?"));
            conversation(&id, &borrowed(&said.collect::<Vec<_>>()))
        });
        all.collect::<Vec<_>>()
    };
    let mut train = of("a", 9);
    let again = [
        "and why so?",
        "prove it",
        "translate that into French, please",
    ];
    train.push(conversation("a0", &again));
    home.write("raw/train/short.json", array(&train));
    home.write("raw/val/short.json", array(&of("b", 4)));
}

/// Labels the dataset, with a service that was never asked, into a folder of this name.
fn labelled(home: &Home, name: &str, args: &[&str]) -> PathBuf {
    let service = Service::well();
    let label = Softlabel::label(&service, &home.path("raw"), &home.path(name));
    label
        .args(["--no-rationales", "--hard-label", "argmax"])
        .args(args)
        .ends(0);
    let folder = fs::read_dir(home.path(name)).unwrap();
    let mut folders = folder.map(|entry| entry.unwrap().path());
    folders
        .find(|path| path.to_string_lossy().contains("LABELED_raw"))
        .unwrap()
}

fn compare(a: &Path, b: &Path) -> Softlabel {
    Softlabel::new(["compare"]).arg(a).arg(b)
}

fn compared(a: &Path, b: &Path, args: &[&str]) -> Value {
    let outcome = compare(a, b).arg("--json").args(args).ends(0);
    let told = serde_json::from_str::<Value>(&outcome.stdout).unwrap();
    told["comparison"].clone()
}

fn soft(path: &Path) -> Vec<f64> {
    let text = fs::read_to_string(path).unwrap();
    let soft = |line| serde_json::from_str::<Value>(line).unwrap()["soft_label"].as_f64();
    text.lines().map(|line| soft(line).unwrap()).collect()
}

/// Changes the lines of a labelled file.
fn edit(path: &Path, change: impl Fn(usize, &mut Value)) {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate().map(|(number, line)| {
        let mut line = serde_json::from_str(line).unwrap();
        change(number, &mut line);
        format!("{line}\n")
    });
    let text = lines.collect::<String>();
    fs::write(path, text).unwrap();
}

#[test]
fn a_labelling_agrees_with_itself_and_differs_from_that_of_another_strategy() {
    let home = Home::new();
    dataset(&home);
    let a = labelled(&home, "a", &[]);
    let itself = compared(&a, &a, &[]);
    assert_eq!(
        (&itself["in_both"], &itself["compared"]),
        (&json!(42), &json!(42))
    );
    assert_eq!(
        (&itself["agreement"], &itself["kappa"]),
        (&json!(1.0), &json!(1.0))
    );
    assert_eq!(itself["rank_correlation"], 1.0);
    assert_eq!(itself["moved"], json!([]));
    let b = labelled(&home, "b", &["--strategy", "with_context"]);
    for path in ["train/short.jsonl", "val/short.jsonl"] {
        edit(&b.join(path), |number, line| {
            let soft = line["soft_label"].as_f64().unwrap();
            line["soft_label"] = json!(((soft * 0.5 + number as f64 / 100.0) * 1e6).round() / 1e6);
        });
    }
    let told = compared(&a, &b, &[]);
    let all = |folder: &Path| {
        let train = soft(&folder.join("train/short.jsonl"));
        [train, soft(&folder.join("val/short.jsonl"))].concat()
    };
    let (in_a, in_b) = (all(&a), all(&b));
    let differences = in_a
        .iter()
        .zip(&in_b)
        .map(|(a, b)| b - a)
        .collect::<Vec<_>>();
    let mean = |all: Vec<f64>| all.iter().sum::<f64>() / all.len() as f64;
    let is = |key: &str, expected: f64| {
        let told = told[key].as_f64().unwrap();
        assert!(
            (told - expected).abs() < 1e-9,
            "{key}: {told}, not {expected}"
        );
    };
    is("mean_difference", mean(differences.clone()));
    is(
        "mean_absolute_difference",
        mean(differences.iter().map(|it| it.abs()).collect()),
    );
    let counts = told["table"].as_array().unwrap().iter();
    let counts = counts.flat_map(|row| row.as_array().unwrap());
    assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 42);
    let moved = told["moved"].as_array().unwrap();
    assert_eq!(moved.len(), 20);
    let by = |moved: &Value| {
        let soft = &moved["soft_labels"];
        (soft[1].as_f64().unwrap() - soft[0].as_f64().unwrap()).abs()
    };
    assert!(moved.is_sorted_by(|one, other| by(one) >= by(other) - 1e-9));
    let most = differences.iter().map(|it| it.abs()).fold(0.0, f64::max);
    assert!((by(&moved[0]) - most).abs() < 1e-9);
    let text = compare(&a, &b).ends(0).stdout;
    for part in [
        "Cohen's κ",
        "rank correlation",
        "The 20 turns",
        "--input",
        "0.9",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_pilot_is_compared_with_the_whole_turn_by_turn_also_where_ids_repeat() {
    let home = Home::new();
    dataset(&home);
    let whole = labelled(&home, "whole", &[]);
    for seed in ["1", "2", "3"] {
        let args = ["--sample", "15", "--seed", seed];
        let pilot = labelled(&home, &format!("pilot{seed}"), &args);
        for (a, b, only_in_a) in [(&whole, &pilot, 27), (&pilot, &whole, 0)] {
            let told = compared(a, b, &[]);
            assert_eq!(told["in_both"], 15);
            assert_eq!(told["paired_by_order"], 0);
            assert_eq!(told["moved"], json!([]), "{told}");
            assert_eq!(told["turns"][0].as_u64().unwrap() - 15, only_in_a);
        }
    }
    // Without the details the places are not known.
    fs::remove_dir_all(whole.join("details")).unwrap();
    let outcome = compare(&whole, &whole).ends(0);
    assert!(
        outcome
            .stderr
            .contains("6 turns have ids that occur more than once"),
        "{outcome}"
    );
    assert!(
        outcome.stdout.contains("No soft label differs."),
        "{outcome}"
    );
}

#[test]
fn outputs_in_a_container_and_on_this_machine_are_compared_in_any_mix() {
    let (home, data) = (Home::new(), Data::new());
    dataset(&home);
    for bucket in ["train/short.json", "val/short.json"] {
        let content = fs::read(home.path(&format!("raw/{bucket}"))).unwrap();
        data.put(&format!("base/raw/{bucket}"), content);
    }
    let whole = labelled(&home, "whole", &[]);
    // What a service answers depends on how often it was asked.
    let label = |input: &Path, output: &Path, args: &[&str]| {
        let service = Service::well();
        let label = Softlabel::label(&service, input, output);
        let label = label.args(["--no-rationales", "--hard-label", "argmax"]);
        label.args(args.to_vec()).ends(0);
    };
    let sample = ["--sample", "15", "--pilot", "p"];
    label(&data.url("base/raw"), &data.url("base"), &sample);
    let pilot = data.url("base/LABELED_raw.pilot-p");
    for (a, b) in [(&whole, &pilot), (&pilot, &whole), (&pilot, &pilot)] {
        let told = compared(a, b, &[]);
        assert_eq!(told["in_both"], 15, "{told}");
        // Both know where their turns stand in the same file, wherever it lies.
        assert_eq!(told["paired_by_ids"], 0);
        assert_eq!(told["moved"], json!([]), "{told}");
    }
    edit(&whole.join("train/short.jsonl"), |number, line| {
        line["soft_label"] = json!(number as f64 / 100.0);
    });
    let [here, there] = [home.path("raw"), data.url("base/raw")].map(|raw| {
        let told = compared(&pilot, &whole, &["--input", raw.to_str().unwrap()]);
        told["moved"].as_array().unwrap().clone()
    });
    assert!(here.len() > 5 && here == there, "{here:?} {there:?}");
    let mut messages = here.iter().map(|moved| moved["message"].as_str().unwrap());
    assert!(messages.any(|message| message.starts_with("what about a")));

    // Single files, by name alone.
    let input = data.url("base/raw/train/short.json");
    let (a, b) = (data.url("base/LABELED_try/a.jsonl"), home.path("b.jsonl"));
    for output in [&a, &b] {
        label(&input, output, &[]);
    }
    let told = compared(&a, &b, &["--input", input.to_str().unwrap()]);
    assert_eq!(
        (&told["compared"], &told["agreement"]),
        (&json!(30), &json!(1.0))
    );
    let nowhere = compare(&a, &data.url("base/LABELED_none")).ends(1);
    assert!(nowhere.error().contains("LABELED_none"), "{nowhere}");
    assert!(
        nowhere
            .error()
            .contains("give the folder of a labelled dataset"),
        "{nowhere}"
    );
}

#[test]
fn the_messages_of_the_turns_that_moved_most_are_shown_in_every_format() {
    let (service, home) = (Service::well(), Home::new());
    for (file, said) in [
        ("sharegpt.json", "Explain the difference between"),
        ("vscode_chat_export.json", "now rebase my branch"),
        ("turns_array_text.jsonl", "which port does postgres use?"),
    ] {
        let input = samples().join("formats").join(file);
        let [a, b] = ["a", "b"].map(|name| home.path(&format!("{file}.{name}.jsonl")));
        for output in [&a, &b] {
            Softlabel::label(&service, &input, output)
                .arg("--no-rationales")
                .ends(0);
        }
        edit(&b, |number, line| {
            line["soft_label"] = json!(0.9 - number as f64 / 10.0)
        });
        edit(&a, |_, line| line["soft_label"] = json!(0.1));
        let input = input.to_str().unwrap();
        let told = compared(&a, &b, &["--input", input]);
        let moved = told["moved"].as_array().unwrap();
        let messages = moved.iter().map(|moved| moved["message"].as_str().unwrap());
        assert!(
            messages.clone().any(|message| message.contains(said)),
            "{told}"
        );
        let shown = compare(&a, &b).args(["--input", input]).ends(0).stdout;
        assert!(shown.contains(said), "{shown}");
    }
}

#[test]
fn what_is_not_defined_is_said_and_turns_without_a_label_are_counted() {
    let home = Home::new();
    dataset(&home);
    let (a, b) = (labelled(&home, "a", &[]), labelled(&home, "b", &[]));
    for folder in [&a, &b] {
        for path in ["train/short.jsonl", "val/short.jsonl"] {
            edit(&folder.join(path), |_, line| {
                line["hard_label"] = json!(1);
                line["soft_label"] = json!(0.75);
            });
        }
    }
    edit(&b.join("val/short.jsonl"), |number, line| match number {
        0 => line["soft_label"] = Value::Null,
        1 => {
            line.as_object_mut().unwrap().remove("hard_label");
            line["labeling_error"] = json!({"code": "transient", "message": "x"});
        }
        _ => {}
    });
    let told = compared(&a, &b, &[]);
    assert_eq!(
        (&told["in_both"], &told["compared"]),
        (&json!(42), &json!(40))
    );
    assert_eq!(told["without_label"], json!([0, 2]));
    assert_eq!(
        (&told["kappa"], &told["rank_correlation"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(told["table"][7][7], 40);
    let text = compare(&a, &b).ends(0).stdout;
    assert_eq!(text.matches("not defined").count(), 2, "{text}");
}
