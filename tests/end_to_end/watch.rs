//! `softlabel label --watch`: a command that shows its run on a page.

use crate::harness::*;
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault};
use softlabel_doubles::faulty_line::{FaultyLine, HeldBack, When};
use std::time::{Duration, Instant};

/// A command that is watched, with one request held back, so that it goes on until that is let go.
struct Watched {
    heard: Heard,
    home: Home,
    held: Option<HeldBack>,
    address: String,
    token: String,
    _line: FaultyLine,
    _service: Service,
}

const TURNS: usize = 30;

impl Watched {
    fn start() -> Self {
        let mut config = Config::default();
        config.faults.always_fail = vec![AlwaysFail {
            contains: "this one fails".into(),
            fault: Fault::Status(503),
            code: None,
        }];
        let service = Service::start(config);
        let line = runtime()
            .block_on(FaultyLine::start(&service.endpoint()))
            .unwrap();
        let asks = When::new(reqwest::Method::POST, "/chat/completions");
        let held = line.hold(asks.after(TURNS));
        let home = Home::new();
        let mut messages = distinct(TURNS - 1);
        messages.insert(3, "this one fails with a secret".to_owned());
        home.write(
            "ds/train/short.json",
            array(&[conversation("c1", &borrowed(&messages))]),
        );
        let label = Softlabel::label(&service, &home.path("ds"), &home.path("out"))
            .env("AZURE_OPENAI_ENDPOINT", line.endpoint())
            .args([
                "--watch",
                "--attempts",
                "1",
                "--concurrency",
                "4",
                "--max-cost",
                "5",
            ]);
        let heard = Heard::start(&label, home.path("stderr"));
        heard.wait_for("watch it at ");
        heard.wait_for("\n");
        let said = heard.so_far();
        let address = said.split_once("watch it at ").unwrap().1;
        let address = address.lines().next().unwrap();
        let (address, token) = address.split_once("/#").unwrap();
        runtime().block_on(held.arrived());
        Self {
            address: address.to_owned(),
            token: token.to_owned(),
            heard,
            home,
            held: Some(held),
            _line: line,
            _service: service,
        }
    }

    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        runtime().block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.get_with(path, &[("x-functions-key", &self.token)])
    }

    /// Asks for the runs until they are as wanted.
    fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (status, text) = self.get("/runs?limit=100");
            assert_eq!(status, 200, "{text}");
            let list = serde_json::from_str::<Value>(&text).unwrap();
            if wanted(&list) {
                return list;
            }
            assert!(start.elapsed() < HANG, "it never shows that: {list}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn sum(histogram: &Value) -> u64 {
    let bars = histogram.as_object().unwrap().values();
    let bars = bars.flat_map(|bars| bars.as_array().unwrap());
    bars.map(|bar| bar.as_u64().unwrap()).sum()
}

#[test]
fn a_command_shows_its_run_as_it_goes_and_how_it_ends() {
    let mut watched = Watched::start();
    // Turn by turn, though no chunk is finished.
    let list = watched.until(|list| {
        let run = &list["runs"][0];
        let has_rates =
            run["turns_per_second"].is_number() && run["charged_per_minute"].is_object();
        run["turns_done"].as_u64() > Some(4) && run["errors"]["transient"] == 1 && has_rates
    });
    let run = &list["runs"][0];
    assert_eq!(
        (&run["state"], &run["turns"]),
        (&json!("labeling"), &json!(TURNS))
    );
    assert_eq!(sum(&run["soft_labels"]), run["labeled"].as_u64().unwrap());
    assert_eq!(run["chunks_done"], 0);
    assert!(run["turns_per_second"].as_f64().unwrap() > 0.0, "{run}");
    assert!(
        run["charged_per_minute"]["tokens"].as_f64().unwrap() > 0.0,
        "{run}"
    );
    assert_eq!(list["command"], json!({"ended": false}));
    assert_eq!(list["datasets"]["ds"]["max_cost_usd"], 5.0);
    assert_eq!(
        list["quota"],
        json!({"tokens_per_minute": 4e9, "requests_per_minute": 4e9})
    );
    // What a command does not do is not offered.
    let links = run["links"].as_object().unwrap();
    assert!(
        ["cancel", "approve", "relabel"]
            .iter()
            .all(|link| !links.contains_key(*link)),
        "{links:?}"
    );
    // Turns are named, and nothing that was said in them.
    let (status, one) = watched.get(&format!("/runs/{}", run["run"].as_str().unwrap()));
    let one = serde_json::from_str::<Value>(&one).unwrap();
    let named = json!([{"code": "transient", "conversation_id": "c1", "message_id": "c1-m3"}]);
    assert_eq!((status, &one["failed_turns"]), (200, &named));
    assert!(!one.to_string().contains("secret") && !list.to_string().contains("secret"));
    assert_eq!(
        watched
            .get(&format!("/runs/{}/report", run["run"].as_str().unwrap()))
            .0,
        404
    );

    watched.held = None;
    let list = watched.until(|list| list["command"]["ended"] == true);
    let run = &list["runs"][0];
    assert_eq!(run["state"], "partial", "{run}");
    let (status, report) = watched.get(&format!("/{}", run["links"]["report"].as_str().unwrap()));
    assert_eq!(status, 200, "{report}");
    // Who watches has seen all: the command ends, and its address with it.
    assert_eq!(watched.heard.code(), Some(3), "{}", watched.heard.so_far());
    let gone = runtime().block_on(reqwest::get(&watched.address));
    assert!(gone.is_err());
    let labeled = watched.home.path("out/LABELED_ds");
    let written = std::fs::read_to_string(labeled.join("report.html")).unwrap();
    assert_eq!(report, written);
    // One computation.
    let totals = &json_file(&labeled.join("labeling_metadata.json"))["totals"];
    for key in ["turns", "labeled", "errors", "soft_labels"] {
        assert_eq!(run[key], totals[key], "{key}");
    }
    assert_eq!(run["rationales_done"], totals["rationales"]);
    let said = watched.heard.so_far();
    assert_eq!(said.matches(&watched.token).count(), 1, "{said}");
}

#[test]
fn only_who_has_the_address_sees_a_run() {
    let watched = Watched::start();
    let host = watched.address.trim_start_matches("http://");
    assert!(
        host.starts_with("127.0.0.1:") && watched.token.len() == 32,
        "{}",
        watched.address
    );
    let (status, page) = watched.get_with("/", &[]);
    assert_eq!(status, 200);
    assert!(
        page.contains("<title>softlabel: runs</title>") && !page.contains("short"),
        "{page}"
    );
    let key = ("x-functions-key", watched.token.as_str());
    let port = host.split_once(':').unwrap().1;
    let here = format!("localhost:{port}");
    let own = format!("http://{host}");
    for (status, headers) in [
        (200, vec![key]),
        (200, vec![key, ("host", here.as_str())]),
        (200, vec![key, ("origin", own.as_str())]),
        (401, vec![]),
        (401, vec![("x-functions-key", "")]),
        (401, vec![("x-functions-key", &watched.token[1..])]),
        (403, vec![key, ("host", "rebound.example")]),
        (403, vec![key, ("host", "127.0.0.1")]),
        (403, vec![key, ("origin", "http://evil.example")]),
        (403, vec![key, ("origin", "null")]),
        (403, vec![key, ("origin", "http://127.0.0.1:1")]),
    ] {
        for path in ["/runs", "/runs/x", "/runs/x/report"] {
            let (answered, text) = watched.get_with(path, &headers);
            let expected = match (status, path) {
                (200, "/runs") => 200,
                (200, _) => 404,
                (refused, _) => refused,
            };
            assert_eq!(answered, expected, "{path} {headers:?}: {text}");
        }
    }
    let (status, _) = watched.get_with("/", &[("host", "rebound.example")]);
    assert_eq!(status, 403);
    let posted = reqwest::Client::new().post(format!("{}/runs", watched.address));
    let posted = runtime()
        .block_on(posted.header(key.0, key.1).send())
        .unwrap();
    assert_eq!(posted.status().as_u16(), 405);
}

#[test]
fn a_command_that_nobody_watches_does_not_wait() {
    let (service, home) = (Service::well(), Home::new());
    let input = home.messages(&borrowed(&distinct(4)));
    let label = Softlabel::label(&service, &input, &home.path("out.jsonl")).arg("--watch");
    let outcome = label.ends(0);
    assert_eq!(
        outcome
            .stderr
            .matches("watch it at http://127.0.0.1:")
            .count(),
        1,
        "{outcome}"
    );
    let none = label.args(["--dry-run"]).ends(2);
    assert!(none.error().contains("--watch"), "{none}");
}
