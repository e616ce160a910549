//! Endpoints that do not answer as the service does, or refuse.

use super::*;
use std::io::{Read, Write};

/// An HTTP server that says `answer` to everything, or again and again.
fn server(answer: &'static [u8], endless: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut block = [0; 1 << 14];
            // A request ends with the brackets of its JSON.
            while !request.ends_with(b"}") {
                match stream.read(&mut block) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&block[..read]),
                }
            }
            let mut sent = stream.write_all(answer);
            while endless && sent.is_ok() {
                sent = stream.write_all(&block);
            }
        }
    });
    url
}

/// A run against a server that answers everything with `answer`.
fn against(w: &World, answer: &'static [u8], endless: bool) -> Softlabel {
    w.good()
        .env("AZURE_OPENAI_ENDPOINT", server(answer, endless))
}

const HTML: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n\
                      <html><body>Sign in to continue</body></html>";
const HTML_404: &[u8] =
    b"HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n\
                          <html><body>IIS</body></html>";
const REDIRECT: &[u8] = b"HTTP/1.1 302 Found\r\nlocation: https://login.example.com/\r\n\
                          content-length: 0\r\nconnection: close\r\n\r\n";
const WRONG_METHOD: &[u8] =
    b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const NOT_HTTP: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";
const ENDLESS: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
const OTHER_JSON: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"ok\": \"hello\"}";

pub(super) fn rows() -> Vec<Row> {
    vec![
        asking(
            "a refused connection",
            &["cannot be reached", "refused"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| {
                let free = TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap();
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", format!("http://{free}"))
            },
        ),
        asking(
            "a name that nobody has",
            &["cannot be reached"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| {
                w.good()
                    .env("AZURE_OPENAI_ENDPOINT", "https://softlabel.invalid")
            },
        ),
        asking(
            "a wrong key",
            &["401", "AZURE_OPENAI_ENDPOINT"],
            "check that AZURE_OPENAI_API_KEY",
            |w| w.update(|config| config.access.api_keys = vec!["another".into()]),
        ),
        asking(
            "no access",
            &["403"],
            "Cognitive Services OpenAI User",
            |w| w.update(fails(Fault::Status(403))),
        ),
        asking(
            "no such deployment",
            &["404", "does not know this deployment"],
            "check AZURE_OPENAI_DEPLOYMENT",
            |w| w.dataset().env("AZURE_OPENAI_DEPLOYMENT", "teacher"),
        ),
        asking(
            "a wrong path",
            &["404"],
            "check AZURE_OPENAI_DEPLOYMENT, AZURE_OPENAI_ENDPOINT",
            |w| {
                w.dataset().env(
                    "AZURE_OPENAI_ENDPOINT",
                    format!("{}/inference", w.service.endpoint()),
                )
            },
        ),
        asking(
            "an unknown API version",
            &["404"],
            "AZURE_OPENAI_API_VERSION",
            |w| w.dataset().env("AZURE_OPENAI_API_VERSION", "latest"),
        ),
        asking("no quota", &["no quota"], "raise its capacity", |w| {
            w.update(|config| {
                config.limits = Limits {
                    no_quota: true,
                    ..Limits::default()
                }
            })
        }),
        asking(
            "a long wait for quota",
            &["asks to wait"],
            "--throttle-patience",
            |w| {
                w.update(|config| {
                    config.limits = Limits {
                        tpm: Some(1),
                        ..Limits::default()
                    }
                })
                .args(["--throttle-patience", "50ms"])
            },
        ),
        asking(
            "no log probabilities",
            &["no log probabilities"],
            "deploy a model",
            |w| w.update(|config| config.quirks.no_logprobs = Some(NoLogprobs::Omit)),
        ),
        asking(
            "log probabilities forbidden",
            &["no log probabilities"],
            "deploy a model",
            |w| w.update(|config| config.quirks.no_logprobs = Some(NoLogprobs::Forbid)),
        ),
        asking(
            "a model that reasons",
            &["no log probabilities"],
            "deploy a model",
            |w| w.dataset().args(["--model", "o4-mini"]),
        ),
        asking(
            "HTML",
            &["not a chat completion"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| against(w, HTML, false),
        ),
        asking("404 in HTML", &["404"], "AZURE_OPENAI_ENDPOINT", |w| {
            against(w, HTML_404, false)
        }),
        asking(
            "a redirect",
            &["302", "leads elsewhere"],
            "AZURE_OPENAI_ENDPOINT",
            |w| against(w, REDIRECT, false),
        ),
        asking("a wrong method", &["405"], "AZURE_OPENAI_ENDPOINT", |w| {
            against(w, WRONG_METHOD, false)
        }),
        asking(
            "other JSON",
            &["not a chat completion", "no choices"],
            "AZURE_OPENAI_ENDPOINT",
            |w| against(w, OTHER_JSON, false),
        ),
        asking(
            "no HTTP",
            &["cannot be reached"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| against(w, NOT_HTTP, false),
        ),
        asking(
            "an answer without end",
            &["no end"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| against(w, ENDLESS, true).args(["--call-timeout", "20s"]),
        ),
        asking(
            "no answer",
            &["time-out"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.update(fails(Fault::Hang)),
        ),
        asking(
            "nothing but resets",
            &["connection broken"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.update(fails(Fault::Reset)),
        ),
        asking(
            "nothing but faults",
            &["HTTP 503"],
            "check AZURE_OPENAI_ENDPOINT",
            |w| w.update(fails(Fault::Status(503))),
        ),
        asking(
            "one message, a wrong key",
            &["401"],
            "check that AZURE_OPENAI_API_KEY",
            |w| {
                w.update(|config| config.access.api_keys = vec!["another".into()]);
                Softlabel::new(["test", "--message", "hello"]).against(&w.service)
            },
        ),
    ]
}
