//! Answers that no double gives: those of a gateway, of another server, of nobody's documents.

use crate::harness::*;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A server that answers every request with what `answer` makes of its number, byte for byte.
struct Gateway {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    fn start(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        // Ends with the test process.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let head = read_request(&connection);
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(head);
                    seen.len() - 1
                };
                // The caller may have had enough.
                let _ = connection.write_all(&answer(number));
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

/// Reads one request to its end and gives its head.
fn read_request(connection: &TcpStream) -> String {
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
    head
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
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
    assert_eq!(
        metadata["totals"]["tokens"]["prompt"], 0,
        "no bill is no bill"
    );
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
        0 => answer("200 OK", "", &bare()),
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
