//! Plays the service, and reads what it was asked.

use super::{HANG, PROBE, runtime};
use serde_json::Value;
use softlabel_doubles::azure_openai::{Config, Double, Kind, Record};
use std::ops::Deref;
use std::time::{Duration, Instant};

/// The key that every run sends unless a test says otherwise. Odd, so that it can be searched for.
pub(crate) const KEY: &str = "k3y-that-must-show-nowhere-8841";

/// A double of Azure OpenAI that keeps what it was asked.
pub(crate) struct Service(Option<Double>);

impl Service {
    pub(crate) fn start(config: Config) -> Self {
        let config = Config {
            keep_bodies: true,
            ..config
        };
        Self(Some(runtime().block_on(Double::start(config)).unwrap()))
    }

    /// A service in which nothing goes wrong.
    pub(crate) fn well() -> Self {
        Self::start(Config::default())
    }

    /// Requests that asked for a label, the probe's left out.
    pub(crate) fn classifications(&self) -> Vec<Record> {
        let asked =
            |record: &Record| record.kind == Kind::Classification && message(record) != PROBE;
        self.log().into_iter().filter(asked).collect()
    }

    /// Requests that asked for a rationale.
    pub(crate) fn rationales(&self) -> Vec<Record> {
        self.log()
            .into_iter()
            .filter(|record| record.kind == Kind::Text)
            .collect()
    }

    /// Waits until `enough` holds of the service, as a run goes on.
    pub(crate) fn wait_until(&self, enough: impl Fn(&Double) -> bool) {
        let start = Instant::now();
        while !enough(self) {
            assert!(start.elapsed() < HANG, "it never came to that");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the service answers to the bodies of `records`, asked again in their order as if
    /// nothing had been asked before: its answers follow from seed, message and attempt.
    pub(crate) fn answers_to(&self, records: &[Record]) -> Vec<Value> {
        self.clear();
        let http = reqwest::Client::new();
        let url = format!("{}/openai/v1/chat/completions", self.endpoint());
        runtime().block_on(async {
            let mut answers = Vec::new();
            for record in records {
                let body = record.body.clone().unwrap();
                let sent = http.post(&url).header("api-key", KEY).body(body).send();
                let answer = sent.await.unwrap().bytes().await.unwrap();
                answers.push(serde_json::from_slice(&answer).unwrap());
            }
            answers
        })
    }
}

impl Deref for Service {
    type Target = Double;

    fn deref(&self) -> &Double {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _in_runtime = runtime().enter();
        self.0.take();
    }
}

/// The body of a request.
pub(crate) fn body(record: &Record) -> Value {
    serde_json::from_str(record.body.as_deref().unwrap()).unwrap()
}

/// The parameters of a request: its body without the messages.
pub(crate) fn parameters(record: &Record) -> Value {
    let mut body = body(record);
    body.as_object_mut().unwrap().remove("messages");
    body
}

/// The titled sections of a request, read as the prompt says they are to be read: by the random mark
/// of the first line.
pub(crate) fn sections(record: &Record) -> Vec<(String, String)> {
    let user = record.user_text.as_deref().unwrap();
    let mark = mark(record);
    let mut sections = Vec::new();
    let mut rest = user;
    while let Some((_, after)) = rest.split_once(&format!("<<<BEGIN {mark} ")) {
        let (title, after) = after.split_once(">>>\n").unwrap();
        let (text, after) = after.split_once(&format!("\n<<<END {mark}>>>\n")).unwrap();
        sections.push((title.to_owned(), text.to_owned()));
        rest = after;
    }
    sections
}

/// The random mark of a request's delimiters.
pub(crate) fn mark(record: &Record) -> String {
    let user = record.user_text.as_deref().unwrap();
    let rest = user.strip_prefix("<<<BEGIN ").unwrap();
    rest.split_once(' ').unwrap().0.to_owned()
}

/// The message that a request is about.
pub(crate) fn message(record: &Record) -> String {
    let section = sections(record)
        .into_iter()
        .find(|(title, _)| title == "Message to label");
    section.unwrap().1
}
