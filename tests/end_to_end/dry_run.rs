//! What a dry run says, held against what a run does, and its arithmetic done again.

use crate::harness::*;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A dry run without a service to ask, nor a key.
fn dry(input: &Path, output: &Path) -> Softlabel {
    Softlabel::new(["label", "--dry-run", "--input"])
        .arg(input)
        .arg("--output")
        .arg(output)
}

/// A number with separators, at the beginning of a text.
fn number(text: &str) -> u64 {
    let digits = text
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',');
    digits
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap()
}

/// The calls of one kind, as a dry run says them.
#[derive(Debug)]
struct Calls {
    calls: u64,
    mean: u64,
    longest: u64,
    answer: u64,
    charged: u64,
}

impl Calls {
    fn of(outcome: &Outcome, row: &str) -> Self {
        let text = outcome.row(row);
        let after =
            |words: &str| number(text.split_once(words).unwrap_or_else(|| panic!("{text}")).1);
        let before_last = text.strip_suffix(" tokens").unwrap();
        Self {
            calls: number(text),
            mean: after(", "),
            longest: after("on average, "),
            answer: after("charged to the quota with "),
            charged: number(before_last.rsplit_once(' ').unwrap().1),
        }
    }

    fn prompt_tokens(&self) -> u64 {
        self.charged - self.calls * self.answer
    }
}

/// Tokens of a request as OpenAI counts them, from what was sent.
fn tokens(record: &softlabel_doubles::azure_openai::Record) -> u64 {
    let encoding = tiktoken_rs::o200k_base_singleton();
    let texts = ["system", "user"].map(|role| {
        let body = body(record);
        let messages = body["messages"].as_array().unwrap();
        let message = messages.iter().find(|message| message["role"] == role);
        message.unwrap()["content"].as_str().unwrap().to_owned()
    });
    // Three and the role for each message, and three that begin the answer.
    texts
        .iter()
        .map(|text| encoding.encode_ordinary(text).len() as u64)
        .sum::<u64>()
        + 11
}

#[test]
fn a_dry_run_of_the_sample_counts_what_the_run_then_does() {
    let home = Home::new();
    let raw = home.path("devchat");
    copy(&samples().join("devchat_sample_20261101"), &raw);
    let before = snapshot(&home.path("."));
    let said = dry(&raw, &home.path("out")).ends(0);
    assert_eq!(snapshot(&home.path(".")), before, "it leaves nothing");

    let service = Service::well();
    Softlabel::label(&service, &raw, &home.path("out")).ends(0);
    let metadata = json_file(&home.path("out/LABELED_devchat/labeling_metadata.json"));
    let totals = |name: &str| metadata["totals"][name].as_u64().unwrap();
    assert_eq!(number(said.row("bucket files")), 9);
    assert_eq!(number(said.row("conversations")), totals("conversations"));
    assert_eq!(
        number(said.row("not readable")),
        totals("broken_conversations")
    );
    assert_eq!(number(said.row("turns")), totals("turns"));
    assert_eq!(
        number(said.row("not labelable (empty)")),
        totals("not_labelable")
    );
    assert_eq!(
        number(said.row("identical to an earlier one")),
        totals("reused")
    );

    for (row, sent, answer) in [
        ("label calls", service.classifications(), 16),
        ("rationale calls", service.rationales(), 128),
    ] {
        let calls = Calls::of(&said, row);
        assert_eq!(
            (calls.calls, calls.answer),
            (sent.len() as u64, answer),
            "{row}"
        );
        let counted = sent.iter().map(tokens).collect::<Vec<_>>();
        let (sum, longest) = (counted.iter().sum::<u64>(), *counted.iter().max().unwrap());
        // The marks of the requests are random, and of as many characters but not as many tokens.
        let near = |a: u64, b: u64| a.abs_diff(b) as f64 <= 0.01 * b as f64;
        assert!(
            near(calls.prompt_tokens(), sum),
            "{row}: {calls:?}, counted {sum}"
        );
        assert!(
            near(calls.longest, longest),
            "{row}: {calls:?}, counted {longest}"
        );
        assert_eq!(calls.mean, calls.prompt_tokens() / calls.calls, "{row}");
    }
}

/// Ten turns: eight to ask about, one of them twice, and an empty one.
fn ten(home: &Home) -> PathBuf {
    let mut messages = distinct(8);
    messages.push(messages[0].clone());
    messages.push(" ".to_owned());
    home.messages(&borrowed(&messages))
}

fn calls_of(home: &Home, args: &[&str]) -> Outcome {
    dry(&ten(home), &home.path("out.jsonl")).args(args).ends(0)
}

#[test]
fn prices_are_those_of_the_tokens() {
    let home = Home::new();
    let set = [
        "--price-input",
        "1000",
        "--price-cached",
        "5",
        "--price-output",
        "2000",
    ];
    for (args, input, output) in [(&set[..], 1000.0, 2000.0), (&[], 1.75, 14.0)] {
        let said = calls_of(&home, args);
        let (labels, rationales) = (
            Calls::of(&said, "label calls"),
            Calls::of(&said, "rationale calls"),
        );
        let label = labels.prompt_tokens() as f64 * input + labels.calls as f64 * output;
        let rationale =
            rationales.prompt_tokens() as f64 * input + rationales.calls as f64 * 128.0 * output;
        let price = |usd: f64| format!("at most {:.2} USD", usd / 1e6);
        assert_eq!(said.row("price without rationales"), price(label));
        assert_eq!(said.row("price with rationales"), price(label + rationale));
    }
}

#[test]
fn a_price_that_is_not_known_is_not_guessed() {
    let home = Home::new();
    let said = calls_of(&home, &["--model", "teacher-7b"]);
    for row in ["price without rationales", "price with rationales"] {
        assert_eq!(
            said.row(row),
            "unknown; set --price-input and --price-output"
        );
    }
    // What is set for it is taken.
    let set = [
        "--model",
        "teacher-7b",
        "--price-input",
        "0",
        "--price-output",
        "0",
    ];
    assert_eq!(
        calls_of(&home, &set).row("price with rationales"),
        "at most 0.00 USD"
    );
}

#[test]
fn times_are_those_of_the_quota_and_of_the_calls_in_flight() {
    let home = Home::new();
    let latencies = ["--label-latency", "1s", "--rationale-latency", "4s"];
    // Eight labels and eight rationales, one after the other.
    let said = calls_of(
        &home,
        &[&latencies[..], &["--concurrency", "1", "--rpm", "1"]].concat(),
    );
    assert_eq!(
        said.row("time without rationales"),
        "8 min 00 s at the quota, 8.0 s at 1 calls in flight"
    );
    assert_eq!(
        said.row("time with rationales"),
        "16 min 00 s at the quota, 40 s at 1 calls in flight"
    );
    assert!(said.row("quota").contains("can use all of it"), "{said}");

    // Tokens are what this quota is short of: it takes a minute to the token.
    let (labels, rationales) = (
        Calls::of(&said, "label calls"),
        Calls::of(&said, "rationale calls"),
    );
    let tpm = (labels.charged + rationales.charged).to_string();
    let said = calls_of(
        &home,
        &[&latencies[..], &["--concurrency", "2", "--tpm", &tpm]].concat(),
    );
    assert_eq!(
        said.row("time with rationales"),
        "1 min 00 s at the quota, 20 s at 2 calls in flight"
    );

    // The calls in flight need ten seconds, the quota five.
    let said = calls_of(
        &home,
        &[&latencies[..], &["--concurrency", "4", "--rpm", "192"]].concat(),
    );
    assert_eq!(
        said.row("time with rationales"),
        "5.0 s at the quota, 10 s at 4 calls in flight"
    );
    let quota = said.row("quota");
    assert!(quota.contains("192 requests/min"), "{quota}");
    assert!(
        quota.contains("4 calls in flight reach 50 % of it; --concurrency auto uses all of it"),
        "{quota}"
    );
}

#[test]
fn settings_that_change_the_calls_change_the_estimate() {
    let home = Home::new();
    let plain = Calls::of(&calls_of(&home, &[]), "label calls");
    assert_eq!(plain.calls, 8);
    assert_eq!(
        Calls::of(&calls_of(&home, &["--no-dedupe"]), "label calls").calls,
        9
    );
    let context = Calls::of(
        &calls_of(&home, &["--strategy", "with_context"]),
        "label calls",
    );
    assert!(context.mean > plain.mean, "{context:?} {plain:?}");
    let classic = Calls::of(&calls_of(&home, &["--model", "gpt-4.1"]), "label calls");
    assert_eq!(classic.answer, 1, "a classic model answers in one token");
}

#[test]
fn one_prompt_of_each_kind_is_shown_as_it_will_be_sent() {
    let home = Home::new();
    let input = ten(&home);
    let said = dry(&input, &home.path("out.jsonl")).ends(0);
    let service = Service::well();
    Softlabel::label(&service, &input, &home.path("out.jsonl"))
        .args(["--concurrency", "1"])
        .ends(0);
    let shown = |kind: &str| {
        let begin = format!("A {kind} prompt, system:\n\n");
        assert_eq!(said.stdout.matches(&begin).count(), 1, "{said}");
        let text = said.stdout.split_once(&begin).unwrap().1;
        let text = text
            .split_once("\nA rationale prompt")
            .map_or(text, |(text, _)| text);
        text.trim_end().to_owned()
    };
    let first = distinct(1).remove(0);
    for (kind, sent) in [
        ("classification", service.classifications()),
        ("rationale", service.rationales()),
    ] {
        let sent = sent.iter().find(|record| message(record) == first).unwrap();
        let sent_body = body(sent);
        let content = |i: usize| sent_body["messages"][i]["content"].as_str().unwrap();
        let sent_text = format!("{}\n\nand user:\n\n{}", content(0), content(1));
        let shown = shown(kind);
        let marks = shown.split_whitespace().filter(|word| word.len() == 32);
        let shown_mark = marks.collect::<HashSet<_>>();
        assert_eq!(shown_mark.len(), 1, "{shown}");
        let shown = shown.replace(shown_mark.into_iter().next().unwrap(), &mark(sent));
        // The rationale explains the label, which nobody knows yet.
        let until = if kind == "rationale" {
            "that "
        } else {
            "\u{0}"
        };
        let cut = |text: &str| {
            text.rsplit_once(until)
                .map_or(text.to_owned(), |(text, _)| text.to_owned())
        };
        assert_eq!(cut(&shown), cut(&sent_text), "{kind}");
    }
}

#[test]
fn nothing_is_sent_or_written_and_a_run_that_is_there_stays_as_it_is() {
    let service = Service::well();
    let home = Home::new();
    let input = ten(&home);
    let out = home.path("out.jsonl");
    let dry = || Softlabel::label(&service, &input, &out).arg("--dry-run");
    let before = snapshot(&home.path("."));
    assert!(dry().ends(0).stdout.starts_with("Nothing was sent."));
    assert_eq!(snapshot(&home.path(".")), before);
    assert_eq!(service.stats().requests, 0);

    Softlabel::label(&service, &input, &out).ends(0);
    service.clear();
    let before = snapshot(&home.path("."));
    dry().ends(0);
    // Even one that would begin anew forgets nothing.
    dry().arg("--restart").ends(0);
    assert_eq!(snapshot(&home.path(".")), before);
    assert_eq!(service.stats().requests, 0);
    fs::remove_file(&input).unwrap();
    dry().ends(1);
}
