//! Answers that no double gives: those of a gateway, of another server, of nobody's documents.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A server that answers every request with what `answer` makes of its number, byte for byte.
struct Gateway {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    fn start(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Self {
        Self::reading(move |number, _| answer(number))
    }

    /// Answers with what `answer` makes of the request's number and user message.
    fn reading(answer: impl Fn(usize, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        // Ends with the test process.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let (head, message) = read_request(&connection);
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(head);
                    seen.len() - 1
                };
                // The caller may have had enough.
                let _ = connection.write_all(&answer(number, &message));
            }
        });
        Self { port, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn label(&self, input: &Path, output: &Path) -> Softlabel {
        Softlabel::new(["label", "--no-rationales", "--input"])
            .arg(input)
            .arg("--output")
            .arg(output)
            .env(
                "AZURE_OPENAI_ENDPOINT",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("AZURE_OPENAI_API_KEY", KEY)
            .env("SOFTLABEL_FIRST_BACKOFF", "2ms")
            .env("SOFTLABEL_CONCURRENCY", "1")
    }
}

/// Reads one request to its end and gives its head and its user message.
fn read_request(connection: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(connection);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let message = body["messages"][1]["content"].as_str();
    (head, message.unwrap_or_default().to_owned())
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    raw_answer(status, headers, body.as_bytes())
}

fn raw_answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The least that is an answer: every other field is left out.
fn bare() -> String {
    let entry = |token: &str, p: f64| json!({"token": token, "logprob": p.ln()});
    let mut first = entry("1", 0.9);
    first["top_logprobs"] = json!([entry("1", 0.9), entry("0", 0.1)]);
    json!({"choices": [{"logprobs": {"content": [first]}}]}).to_string()
}

#[test]
fn an_answer_without_any_optional_field_is_enough() {
    let gateway = Gateway::start(|_| answer("200 OK", "", &bare()));
    let home = Home::new();
    let out = home.path("out.jsonl");
    gateway.label(&home.messages(&["one", "two"]), &out).ends(0);
    for line in lines(&out) {
        assert_eq!(
            (&line["hard_label"], &line["soft_label"]),
            (&json!(1), &json!(0.9))
        );
    }
    let metadata = json_file(&home.path("out.jsonl.softlabel/labeling_metadata.json"));
    // Prompt and longest answer count where no bill says what was billed.
    let tokens = &metadata["totals"]["tokens"];
    assert_eq!(tokens["estimated"], tokens["calls"]);
    assert!(tokens["prompt"].as_u64() > Some(0), "{tokens}");
}

#[test]
fn a_redirect_is_not_followed_with_the_key() {
    let elsewhere = Gateway::start(|_| answer("200 OK", "", &bare()));
    let location = format!(
        "location: http://127.0.0.1:{}/openai/v1/chat/completions\r\n",
        elsewhere.port
    );
    for status in [
        "301 Moved Permanently",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = location.clone();
        let gateway = Gateway::start(move |_| answer(status, &location, ""));
        let home = Home::new();
        let label = gateway.label(&home.messages(&["one"]), &home.path("out.jsonl"));
        let outcome = label.ends(1);
        assert!(outcome.error().contains(&status[..3]), "{outcome}");
        assert!(!home.path("out.jsonl").exists());
    }
    assert_eq!(elsewhere.heads(), Vec::<String>::new());
}

#[test]
fn another_server_at_the_endpoint_is_told_apart() {
    let home = Home::new();
    let input = home.messages(&["one"]);
    let page = "<!doctype html><title>Sign in</title>";
    for (status, body) in [("200 OK", page), ("200 OK", ""), ("502 Bad Gateway", page)] {
        let gateway = Gateway::start(move |_| answer(status, "", body));
        let outcome = gateway.label(&input, &home.path("out.jsonl")).ends(1);
        assert!(
            outcome.error().contains("AZURE_OPENAI_ENDPOINT"),
            "{outcome}"
        );
        assert!(!outcome.error().contains("Sign in"), "{outcome}");
        assert!(gateway.heads().len() <= 8, "{}", gateway.heads().len());
    }
}

#[test]
fn a_gateway_that_answers_in_its_own_words_now_and_then_is_waited_out() {
    let gateway = Gateway::start(|number| match number % 4 {
        1 => answer("502 Bad Gateway", "", "<html>bad gateway</html>"),
        2 => answer("200 OK", "", "<html>just a moment</html>"),
        3 => answer("503 Service Unavailable", "retry-after: 0\r\n", ""),
        _ => answer("200 OK", "", &bare()),
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    gateway
        .label(&home.messages(&["one", "two", "three"]), &out)
        .args(["--attempts", "20"])
        .ends(0);
    assert_eq!(lines(&out).len(), 3);
    assert_eq!(gateway.heads().len(), 13);
}

#[test]
fn an_answer_without_end_is_not_read_for_ever() {
    let gateway = Gateway::start(|number| match number {
        // The probe at the beginning, and those after each attempt of the message.
        0 | 2 | 4 => answer("200 OK", "", &bare()),
        _ => answer("200 OK", "", &" ".repeat(6 << 20)),
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    gateway
        .label(&home.messages(&["one"]), &out)
        .args(["--attempts", "2"])
        .ends(3);
    assert_eq!(error_code(&lines(&out)[0]), "transient");
}

#[test]
fn a_429_without_any_header_is_waited_out() {
    let body = json!({"error": {"code": 429, "message": "too fast", "type": null, "param": null}});
    let body = body.to_string();
    let gateway = Gateway::start(move |number| match number {
        0 | 4 => answer("200 OK", "", &bare()),
        _ => answer("429 Too Many Requests", "", &body),
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    gateway
        .label(&home.messages(&["one"]), &out)
        .args(["--attempts", "1"])
        .ends(0);
    assert_eq!(gateway.heads().len(), 5);
}

#[test]
fn what_is_sent_names_the_program_and_carries_the_key_in_its_header_alone() {
    let gateway = Gateway::start(|_| answer("200 OK", "", &bare()));
    let home = Home::new();
    let input = home.messages(&["one"]);
    gateway.label(&input, &home.path("v1.jsonl")).ends(0);
    let dated = gateway.label(&input, &home.path("dated.jsonl"));
    dated
        .env("AZURE_OPENAI_API_VERSION", "2024-10-21")
        .env("AZURE_OPENAI_DEPLOYMENT", "my deployment")
        .ends(0);
    let heads = gateway.heads();
    assert!(
        heads[1].starts_with("POST /openai/v1/chat/completions HTTP/1.1\r\n"),
        "{}",
        heads[1]
    );
    let path = "/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21";
    assert!(
        heads[3].starts_with(&format!("POST {path} HTTP/1.1\r\n")),
        "{}",
        heads[3]
    );
    for head in heads {
        assert!(head.contains("user-agent: softlabel/"), "{head}");
        assert_eq!(head.matches(KEY).count(), 1);
        assert!(head.contains(&format!("api-key: {KEY}")), "{head}");
    }
}

/// Messages of which one is refused.
const MIXED: [&str; 5] = ["one", "two", "the poison", "three", "four"];

#[test]
fn what_one_message_is_refused_for_costs_that_message_alone() {
    let page = "<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1>\
                <hr>Gateway/v2</body></html>";
    let rows = [
        (
            "403 Forbidden",
            "",
            page,
            "rejected",
            "403 Forbidden Gateway/v2",
        ),
        (
            "403 Forbidden",
            "",
            r#"{"statusCode": 403, "message": "Request failed content safety check."}"#,
            "content_filtered",
            "content filter",
        ),
        (
            "400 Bad Request",
            "",
            r#"{"error": {"message": "no", "code": "400", "inner_error": {"code":
                "ResponsibleAIPolicyViolation", "content_filter_results": {"hate": {"filtered": true}}}}}"#,
            "content_filtered",
            "hate",
        ),
        (
            "200 OK",
            "",
            r#"{"choices": [], "prompt_filter_results": [{"content_filter_results":
                {"violence": {"filtered": true}}}]}"#,
            "content_filtered",
            "violence",
        ),
        (
            "200 OK",
            "",
            r#"{"error": {"code": "content_filter", "message": "no"}}"#,
            "content_filtered",
            "content filter",
        ),
        (
            "200 OK",
            "",
            r#"{"choices": [], "prompt_filter_results": [{"content_filter_results":
                {"violence": {"filtered": false}}}]}"#,
            "content_filtered",
            "content filter",
        ),
        (
            "400 Bad Request",
            "",
            r#"{"error": {"code": "", "message": "no", "content_filters": [{"blocked": true,
                "content_filter_results": {"hate": {"filtered": true}}}]}}"#,
            "content_filtered",
            "hate",
        ),
        (
            "500 Internal Server Error",
            "",
            r#"{"error": {"code": "content_filter", "message": "no"}}"#,
            "content_filtered",
            "content filter",
        ),
        (
            "403 Forbidden",
            "",
            r#"{"error": {"code": 403, "message": "Input was flagged: requires moderation",
                "metadata": {"reasons": ["violence"]}}}"#,
            "content_filtered",
            "violence",
        ),
        (
            "400 Bad Request",
            "",
            r#"{"error": "this model's context length is exceeded"}"#,
            "too_long",
            "this model's context length is exceeded",
        ),
        (
            "400 Bad Request",
            "",
            "just words",
            "rejected",
            "just words",
        ),
        (
            "422 Unprocessable Entity",
            "",
            r#"{"detail": [{"msg": "odd message"}]}"#,
            "rejected",
            "odd message",
        ),
        (
            "402 Payment Required",
            "",
            "",
            "rejected",
            "answered HTTP 402 without a message",
        ),
        (
            "400 Bad Request",
            "",
            "<?xml version=\"1.0\"?><Error><Code>Odd</Code><Message>it broke</Message></Error>",
            "rejected",
            "HTTP 400: Odd it broke",
        ),
        (
            "400 Bad Request",
            "",
            r#"{"fault": {"faultstring": "see <a href='x'>the policy</a>"}}"#,
            "rejected",
            "HTTP 400: see the policy",
        ),
        (
            "404 Not Found",
            "",
            r#"{"errors": ["nothing there"]}"#,
            "rejected",
            "nothing there",
        ),
        (
            "501 Not Implemented",
            "",
            r#"{"message": "not so"}"#,
            "rejected",
            "not so",
        ),
        (
            "302 Found",
            "location: http://127.0.0.1:9/\r\n",
            "",
            "rejected",
            "HTTP 302",
        ),
        (
            "429 Too Many Requests",
            "retry-after: 90000\r\n",
            r#"{"error": {"code": "insufficient_quota", "message": "no quota"}}"#,
            "rejected",
            "no quota",
        ),
        (
            "200 OK",
            "",
            r#"{"error": {"code": 502, "message": "upstream is away"}}"#,
            "transient",
            "upstream is away",
        ),
        (
            "425 Too Early",
            "",
            r#"{"detail": "later"}"#,
            "transient",
            "later",
        ),
    ];
    for (status, headers, body, code, says) in rows {
        let gateway = Gateway::reading(move |_, message| match message.contains("the poison") {
            true => answer(status, headers, body),
            false => answer("200 OK", "", &bare()),
        });
        let home = Home::new();
        let out = home.path("out.jsonl");
        let exit = if code == "content_filtered" || code == "too_long" {
            0
        } else {
            3
        };
        gateway.label(&home.messages(&MIXED), &out).ends(exit);
        let lines = lines(&out);
        let codes = lines.iter().map(error_code).collect::<Vec<_>>();
        assert_eq!(codes, ["", "", code, "", ""], "{status} {body}");
        let said = lines[2]["labeling_error"]["message"].as_str().unwrap();
        assert!(said.contains(says), "{status} {body}: {said}");
    }
}

/// A gateway that refuses every message but the harmless one while `refuses` says so.
fn refusing(refuses: &Arc<AtomicBool>, harmless_too: bool) -> Gateway {
    let refuses = Arc::clone(refuses);
    Gateway::reading(move |_, message| {
        let harmless = message.contains("Thanks, that worked!") && !harmless_too;
        match refuses.load(Relaxed) && !harmless {
            true => answer("403 Forbidden", "", r#"{"message": "no way"}"#),
            false => answer("200 OK", "", &bare()),
        }
    })
}

#[test]
fn ten_messages_that_are_refused_stop_the_run_and_stay_to_be_asked() {
    let refuses = Arc::new(AtomicBool::new(true));
    let gateway = refusing(&refuses, false);
    let home = Home::new();
    let (input, out) = (
        home.messages(&borrowed(&distinct(14))),
        home.path("out.jsonl"),
    );
    let outcome = gateway.label(&input, &out).ends(1);
    let url = format!(
        "http://127.0.0.1:{}/openai/v1/chat/completions",
        gateway.port
    );
    for says in ["no way", &url, "\"gpt-5.2\"", "--model"] {
        assert!(outcome.error().contains(says), "{says}: {outcome}");
    }
    assert!(!out.exists());
    assert!(gateway.heads().len() <= 14, "{}", gateway.heads().len());
    refuses.store(false, Relaxed);
    gateway.label(&input, &out).ends(0);
    assert!(lines(&out).iter().all(|line| error_code(line).is_empty()));
}

#[test]
fn what_the_harmless_message_is_refused_for_stops_the_run() {
    let refuses = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&refuses);
    let gateway = Gateway::reading(move |number, _| match (number, switch.load(Relaxed)) {
        (0..2, _) | (_, true) => answer("200 OK", "", &bare()),
        _ => answer("403 Forbidden", "", r#"{"message": "no role"}"#),
    });
    let home = Home::new();
    let (input, out) = (home.messages(&["one", "two"]), home.path("out.jsonl"));
    let outcome = gateway.label(&input, &out).ends(1);
    assert!(outcome.error().contains("no role"), "{outcome}");
    refuses.store(true, Relaxed);
    gateway.label(&input, &out).ends(0);
    assert_eq!(lines(&out).len(), 2);
}

#[test]
fn one_message_repeated_is_one_message() {
    let gateway = Gateway::reading(|_, message| match message.contains("poison") {
        true => answer("403 Forbidden", "", "blocked"),
        false => answer("200 OK", "", &bare()),
    });
    let home = Home::new();
    let (input, out) = (home.messages(&["poison"; 15]), home.path("out.jsonl"));
    gateway.label(&input, &out).args(["--no-dedupe"]).ends(3);
    assert!(
        lines(&out)
            .iter()
            .all(|line| error_code(line) == "rejected")
    );
}

#[test]
fn a_quota_of_a_gateway_that_is_used_up_is_waited_for() {
    let spent = r#"{"statusCode": 403, "message": "Out of call volume quota."}"#;
    let gateway = Gateway::start(move |number| match number {
        1 | 2 => answer("403 Forbidden", "retry-after-ms: 20\r\n", spent),
        _ => answer("200 OK", "", &bare()),
    });
    let home = Home::new();
    let out = home.path("out.jsonl");
    let label = gateway.label(&home.messages(&["one"]), &out);
    label.args(["--attempts", "1"]).ends(0);
    assert_eq!((lines(&out).len(), gateway.heads().len()), (1, 4));
}

#[test]
fn an_answer_with_an_odd_field_is_an_answer() {
    let odd = |path: &str, value: Value| {
        let mut answer: Value = serde_json::from_str(&bare()).unwrap();
        let (holder, field) = path.rsplit_once('/').unwrap();
        let holder = answer.pointer_mut(holder).unwrap().as_object_mut().unwrap();
        match value == json!("absent") {
            true => holder.remove(field),
            false => holder.insert(field.to_owned(), value),
        };
        answer.to_string()
    };
    let token = "/choices/0/logprobs/content/0";
    let surrogate = odd("/choices/0/message", json!({"content": "SURROGATE"}));
    let infinite = odd(
        &format!("{token}/top_logprobs"),
        json!([{"token": "0", "logprob": "INF"}]),
    );
    let rows = [
        (odd(&format!("{token}/top_logprobs"), json!(null)), 0.9),
        (odd(&format!("{token}/top_logprobs"), json!("absent")), 0.9),
        (odd(&format!("{token}/top_logprobs"), json!([])), 0.9),
        (
            odd(
                &format!("{token}/top_logprobs"),
                json!([{"token": "0", "logprob": null}]),
            ),
            0.9,
        ),
        (odd(&format!("{token}/bytes"), json!("1")), 0.9),
        (odd(&format!("{token}/logprob"), json!(1.2e-7)), 0.9),
        (odd("/usage", json!(null)), 0.9),
        (
            odd(
                "/usage",
                json!({"prompt_tokens": -1, "completion_tokens": 1.0}),
            ),
            0.9,
        ),
        (
            odd(
                "/usage",
                json!({"prompt_tokens": "9", "completion_tokens": true}),
            ),
            0.9,
        ),
        (
            odd(
                "/usage",
                json!({"prompt_tokens": 1_u64 << 63, "completion_tokens": 1_u64 << 63}),
            ),
            0.9,
        ),
        (odd("/model", json!({"name": "x"})), 0.9),
        (odd("/choices/0/finish_reason", json!(7)), 0.9),
        (odd("/choices/0/new", json!({"a": [1]})), 0.9),
        (surrogate.replace("SURROGATE", "\\ud83d"), 0.9),
        (infinite.replace("\"INF\"", "-Infinity"), 0.9),
    ];
    for (body, least) in rows {
        let sent = body.clone();
        let gateway = Gateway::start(move |_| answer("200 OK", "", &sent));
        let home = Home::new();
        let out = home.path("out.jsonl");
        gateway.label(&home.messages(&["one"]), &out).ends(0);
        let line = &lines(&out)[0];
        assert_eq!(line["hard_label"], 1, "{body}");
        assert!(
            line["soft_label"].as_f64().unwrap() >= least,
            "{body}: {line:?}"
        );
        assert_eq!(gateway.heads().len(), 2, "paid once: {body}");
    }
}

#[test]
fn an_answer_with_something_odd_around_it_or_beside_it_is_an_answer() {
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let with = |field: &str, value: &str| format!("{{\"{field}\": {value}, {}", &bare()[1..]);
    let error = r#"{"message": "", "type": null, "param": null, "code": 0}"#;
    let choice = serde_json::from_str::<Value>(&bare()).unwrap()["choices"][0].clone();
    let bodies = [
        format!("\u{feff}{}", bare()),
        format!("{}\n\0\0", bare()),
        with("odd", "1E400"),
        with("odd", "None"),
        with("odd", "\"a\tb\nc\""),
        with("odd", &deep),
        with("error", error),
        json!({"choices": {"0": choice}}).to_string(),
    ];
    for body in bodies
        .map(String::into_bytes)
        .into_iter()
        .chain([packed(&bare())])
    {
        let shown = String::from_utf8_lossy(&body)
            .chars()
            .take(200)
            .collect::<String>();
        let gateway = Gateway::start(move |_| raw_answer("200 OK", "", &body));
        let home = Home::new();
        let out = home.path("out.jsonl");
        gateway.label(&home.messages(&["one"]), &out).ends(0);
        assert_eq!(lines(&out)[0]["soft_label"], json!(0.9), "{shown}");
        assert_eq!(gateway.heads().len(), 2, "paid once: {shown}");
        let head = gateway.heads()[0].to_ascii_lowercase();
        assert!(head.contains("accept-encoding: identity"), "{head}");
    }
}

/// As a gateway compresses that was not asked to.
fn packed(text: &str) -> Vec<u8> {
    let home = Home::new();
    let path = home.write("text", text);
    let packed = Command::new("gzip").arg("-c").arg(path).output().unwrap();
    assert!(packed.status.success());
    packed.stdout
}

#[test]
fn what_is_no_answer_is_said_with_what_it_is() {
    for (body, says) in [
        ("", "it is empty"),
        ("<html>Sign in</html>", "it is a page"),
        (
            "data: {\"choices\": []}\n\ndata: [DONE]\n\n",
            "it is a stream of events",
        ),
        ("{\"choices\": [{\"message\": {\"con", "it is cut off"),
        ("{} {}", "it is not JSON"),
    ] {
        let gateway = Gateway::reading(move |_, message| match message.contains("poison") {
            true => answer("200 OK", "", body),
            false => answer("200 OK", "", &bare()),
        });
        let home = Home::new();
        let out = home.path("out.jsonl");
        gateway
            .label(&home.messages(&["one", "poison"]), &out)
            .ends(3);
        let line = &lines(&out)[1];
        assert_eq!(error_code(line), "transient");
        let said = line["labeling_error"]["message"].as_str().unwrap();
        assert!(said.contains(says), "{body}: {said}");
    }
}

#[test]
fn an_error_in_a_success_is_that_error_and_passes() {
    for body in [
        r#"{"error": {"message": "Upstream provider rate limited", "code": 429}}"#,
        r#"{"error": {"message": "x", "code": "rate_limit_exceeded"}}"#,
        r#"{"error": {"message": "x", "code": "503"}}"#,
        r#"{"error": "overloaded"}"#,
        r#"{"choices": [{"error": {"code": 502, "message": "x"}, "finish_reason": "error"}]}"#,
        r#"{"choices": []}"#,
    ] {
        let gateway = Gateway::start(move |number| match number {
            1 | 2 => answer("200 OK", "", body),
            _ => answer("200 OK", "", &bare()),
        });
        let home = Home::new();
        let out = home.path("out.jsonl");
        gateway.label(&home.messages(&["one"]), &out).ends(0);
        assert_eq!(gateway.heads().len(), 4, "{body}");
    }
}

#[test]
fn neither_key_nor_message_leaves_through_a_sentence_of_the_service() {
    let echo = |marker: &str, message: &str| {
        let text = format!("\u{1b}[31mbad key {KEY} for {marker} in {message}");
        json!({"error": {"message": text}, "detail": text}).to_string()
    };
    let statuses = [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "409 Conflict",
        "422 Unprocessable Entity",
        "502 Bad Gateway",
        "200 OK",
    ];
    let markers = ["my very own plan to buy a small island", "PIN 4711"];
    let rows = markers.map(|marker| statuses.map(|status| (marker, status)));
    for (marker, status) in rows.into_iter().flatten() {
        let gateway = Gateway::reading(move |_, message| match message.contains(marker) {
            true => answer(status, "", &echo(marker, message)),
            false => answer("200 OK", "", &bare()),
        });
        let home = Home::new();
        let out = home.path("out.jsonl");
        let label = gateway.label(&home.messages(&["one", marker]), &out);
        let outcome = label.args(["--log", "debug"]).run();
        let mut said = outcome.stdout.clone() + &outcome.stderr;
        for file in files_below(&home.path("out.jsonl.softlabel"))
            .into_iter()
            .chain([out])
        {
            said += &std::fs::read_to_string(file).unwrap_or_default();
        }
        for leak in [KEY, marker, "plan to buy", "small island", "\u{1b}[31m"] {
            assert!(!said.contains(leak), "{status} shows {leak:?}: {said}");
        }
        assert!(said.contains("bad key"), "{status}: {said}");
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let all = paths.flat_map(|path| match path.is_dir() {
        true => files_below(&path),
        false => vec![path],
    });
    all.collect()
}

#[test]
fn this_machine_is_never_asked_through_a_proxy() {
    let proxied = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&proxied);
    let proxy = Gateway::start(move |_| {
        count.fetch_add(1, Relaxed);
        answer("502 Bad Gateway", "", "")
    });
    let gateway = Gateway::start(|_| answer("200 OK", "", &bare()));
    let home = Home::new();
    let mut label = gateway.label(&home.messages(&["one"]), &home.path("out.jsonl"));
    for variable in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        label = label.env(variable, format!("http://127.0.0.1:{}", proxy.port));
    }
    label.ends(0);
    assert_eq!(proxied.load(Relaxed), 0);
}

#[test]
fn an_error_through_a_proxy_names_the_proxy() {
    let proxy = Gateway::start(|_| answer("502 Bad Gateway", "", ""));
    let home = Home::new();
    let through = format!("http://user:hunter2@127.0.0.1:{}", proxy.port);
    let gateway = Gateway::start(|_| answer("200 OK", "", &bare()));
    let label = gateway.label(&home.messages(&["one"]), &home.path("out.jsonl"));
    let label = label.env("AZURE_OPENAI_ENDPOINT", "https://x.openai.azure.com");
    let outcome = label.env("HTTPS_PROXY", through).ends(1);
    let named = format!("through the proxy http://127.0.0.1:{}", proxy.port);
    assert!(outcome.error().contains(&named), "{outcome}");
    assert!(!outcome.stderr.contains("hunter2"), "{outcome}");
}
