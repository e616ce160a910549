//! What a run costs: counted as it is billed, capped where somebody said so, and never guessed.

use crate::harness::*;
use serde_json::Value;
use softlabel_doubles::azure_openai::{Config, Latency};
use std::path::PathBuf;

/// A run of sixty messages at 1,000 US dollars per million prompt tokens and 2,000 for generated ones.
struct Priced {
    service: Service,
    home: Home,
    input: PathBuf,
}

impl Priced {
    fn new() -> Self {
        Self::at(Latency::None)
    }

    fn at(latency: Latency) -> Self {
        let service = Service::start(Config {
            latency,
            // What is billed is then what was counted, at one price.
            prompt_cache: false,
            ..Config::default()
        });
        let home = Home::new();
        let input = home.messages(&borrowed(&distinct(60)));
        Self {
            service,
            home,
            input,
        }
    }

    fn label(&self) -> Softlabel {
        Softlabel::label(&self.service, &self.input, &self.home.path("out.jsonl"))
            .args([
                "--price-input",
                "1000",
                "--price-output",
                "2000",
                "--no-rationales",
            ])
            .env("SOFTLABEL_CONCURRENCY", "4")
    }

    fn capped(&self, usd: f64) -> Softlabel {
        self.label()
            .args(["--max-cost".to_owned(), usd.to_string()])
    }

    fn metadata(&self) -> Value {
        json_file(&self.home.path("out.jsonl.softlabel/labeling_metadata.json"))
    }

    /// US dollars that the service billed so far.
    fn billed(&self) -> f64 {
        let stats = self.service.stats();
        (stats.prompt_tokens as f64 * 1_000.0 + stats.completion_tokens as f64 * 2_000.0) / 1e6
    }

    /// What all of it costs, from a run of its own.
    fn whole() -> f64 {
        let run = Self::new();
        run.label().ends(0);
        run.billed()
    }
}

#[test]
fn a_run_stops_before_its_cap_and_a_higher_one_continues_it() {
    let whole = Priced::whole();
    let run = Priced::new();
    let cap = 0.5 * whole;
    let outcome = run.capped(cap).ends(3);
    let billed = run.billed();
    assert!(billed <= cap, "{billed} of {cap}");
    // It comes as near as four calls at their estimates allow.
    assert!(billed > cap - 0.12 * whole, "{billed} of {cap}");
    assert!(
        outcome
            .stderr
            .contains("is left for the next call, which may cost up to"),
        "{outcome}"
    );
    assert_eq!(outcome.row("status"), "partial");
    let metadata = run.metadata();
    assert_eq!(metadata["status"], "partial");
    let warning = metadata["warnings"][0].as_str().unwrap();
    assert!(warning.contains("--max-cost"), "{warning}");
    let spending = &metadata["spending"];
    assert!((spending["cost_usd"].as_f64().unwrap() - billed).abs() < 1e-9);
    let projected = spending["projected_cost_usd"].as_f64().unwrap();
    assert!(
        (0.9..1.1).contains(&(projected / whole)),
        "{projected} of {whole}"
    );
    let said = outcome.row("spent so far");
    assert!(
        said.starts_with(&format!("{billed:.4} USD, about ")),
        "{said}"
    );

    // What was spent counts: the same cap lets nothing more through.
    let before = run.service.stats().requests;
    run.capped(cap).ends(3);
    assert_eq!(run.service.stats().requests, before);

    run.capped(1.1 * whole).ends(0);
    assert_eq!(lines(&run.home.path("out.jsonl")).len(), 60);
    assert!(run.service.asked().iter().all(|asked| asked.answered == 1));
    let metadata = run.metadata();
    assert_eq!(metadata["status"], "complete");
    assert_eq!(metadata.get("warnings"), None);
    // Each process of the run bills the call that settles the profile but once.
    let total = run.billed();
    let spent = metadata["spending"]["cost_usd"].as_f64().unwrap();
    assert!(spent <= total && spent > 0.95 * total, "{spent} of {total}");
}

#[test]
fn what_a_killed_process_spent_counts_as_far_as_it_was_recorded() {
    let run = Priced::at(Latency::Fixed { ms: 40.0 });
    let running = run.label().start();
    run.service
        .wait_until(|double| double.stats().requests > 40);
    running.kill();
    let recorded = full_records(&run.home.path("out.jsonl.softlabel")).len();
    assert!(recorded > 10, "{recorded}");
    let asked = run.service.stats().requests;
    // Less than what it has on record.
    let outcome = run.capped(0.15 * run.billed()).ends(3);
    assert_eq!(run.service.stats().requests, asked, "{outcome}");
}

#[test]
fn a_cap_that_is_enough_changes_nothing() {
    let run = Priced::new();
    run.capped(1_000.0).ends(0);
    let metadata = run.metadata();
    assert_eq!(metadata["status"], "complete");
    let spending = &metadata["spending"];
    assert_eq!(spending["cost_usd"], spending["projected_cost_usd"]);
}

#[test]
fn a_cap_without_a_price_is_refused_before_anything_is_asked() {
    let service = Service::well();
    let home = Home::new();
    let input = home.messages(&["one"]);
    let label = || Softlabel::label(&service, &input, &home.path("out.jsonl"));
    let unpriced = label().args(["--model", "gpt-5.9", "--max-cost", "5"]);
    let outcome = unpriced.ends(2);
    let error = outcome.error();
    assert!(
        error.contains("gpt-5.9") && error.contains("--price-input and --price-output"),
        "{error}"
    );
    assert_eq!(service.stats().requests, 0);
    label().args(["--max-cost", "a lot"]).ends(2);
    label().args(["--max-cost", "5"]).ends(0);
}

#[test]
fn an_unknown_price_is_said_to_be_unknown_and_tokens_are_counted_all_the_same() {
    let service = Service::well();
    let home = Home::new();
    let out = home.path("out.jsonl");
    let outcome = Softlabel::label(&service, &home.messages(&borrowed(&distinct(5))), &out)
        .args(["--model", "gpt-5.9", "--no-rationales"])
        .ends(0);
    let unknown = "unknown; set --price-input and --price-output";
    assert_eq!(outcome.row("cost"), unknown);
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    assert_eq!(metadata["cost_usd"], "unknown");
    assert_eq!(metadata["spending"]["cost_usd"], "unknown");
    assert_eq!(metadata["spending"]["projected_cost_usd"], "unknown");
    let tokens = &metadata["totals"]["tokens"];
    assert_eq!(tokens["calls"], 5);
    // The quota is charged for sixteen tokens of an answer that has one.
    let (billed, reserved) = (
        tokens["prompt"].as_u64().unwrap(),
        tokens["reserved"].as_u64().unwrap(),
    );
    assert!(reserved > 5 * 300 && reserved != billed, "{tokens}");
    assert!(metadata["spending"]["tokens"]["reserved"].as_u64().unwrap() >= reserved);
}

#[test]
fn a_dry_run_says_whether_the_cap_is_enough() {
    let home = Home::new();
    let input = home.messages(&borrowed(&distinct(10)));
    let dry = |cap: &str| {
        let dry = Softlabel::new(["label", "--dry-run", "--input"]).arg(&input);
        dry.arg("--output")
            .arg(home.path("out.jsonl"))
            .args([
                "--max-cost",
                cap,
                "--price-input",
                "1000",
                "--price-output",
                "0",
            ])
            .ends(0)
    };
    assert_eq!(dry("500").row("--max-cost"), "500.00 USD: enough");
    let short = dry("0.5");
    let said = short.row("--max-cost");
    assert!(
        said.starts_with("0.50 USD: the run stops after about "),
        "{said}"
    );
}

#[test]
fn progress_says_what_was_spent_what_it_will_cost_and_what_the_calls_in_flight_reach() {
    let run = Priced::at(Latency::Fixed { ms: 500.0 });
    let label = run
        .label()
        .args(["--progress", "lines", "--concurrency", "2"]);
    // 8 seconds of quota for a run that takes 15: two calls in flight reach about half of it.
    let label = label.env("SOFTLABEL_RPM", "450");
    let mut heard = Heard::start(&label, run.home.path("stderr"));
    // Nothing is projected from the first few answers.
    heard.wait_for(" of about ");
    let said = heard.so_far();
    let lines = || said.lines().filter(|line| line.contains(" USD"));
    let line = lines().next_back().unwrap();
    assert!(
        line.contains(" % of the quota (--concurrency reaches "),
        "{line}"
    );
    assert!(line.contains(" of about "), "{line}");
    heard.child.kill().unwrap();
    heard.code();
}
