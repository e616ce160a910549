//! Answers of the service, as it or anything in front of it may give them, with damage.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::RngExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use softlabel::labeling::soft_label::estimate;
use softlabel::teacher::disposition::{Disposition, dispose};
use softlabel::teacher::pacing::RateLimitHeaders;
use softlabel::text::Mask;

use crate::{Dice, damage, pick};

const KEY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00";

/// What was sent, which no sentence may show.
const MESSAGE: &str = "a private \"plan\" about\n<islands> & 100% of the bananas";

/// An answer to that message.
pub(crate) struct Sent {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The body is what a model said, and nothing was done to it.
    label: Option<u8>,
    /// Nothing was done to the body.
    intact: bool,
}

impl Sent {
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let label = u8::from(dice.random_bool(0.5));
        let good = dice.random_bool(0.5);
        let value = match good {
            true => completion(dice, label),
            false => complaint(dice),
        };
        let mut body = match &value {
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let damages = *pick(dice, &[0, 0, 1, 3, 30]);
        for _ in 0..damages {
            match dice.random_range(0..4) {
                0 => body = mutated(dice, &body),
                1 => {
                    let at = dice.random_range(0..=body.len());
                    body.truncate(at);
                }
                _ => damage(dice, &mut body),
            }
        }
        let status = match good {
            true => 200,
            false => *pick(
                dice,
                &[
                    200, 204, 302, 400, 401, 402, 403, 404, 408, 413, 418, 422, 425, 429, 499, 500,
                    501, 503, 599,
                ],
            ),
        };
        let names = [
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-reset-tokens",
            "x-ratelimit-limit-tokens",
        ];
        let values = [
            "0",
            "-1",
            "1e308",
            "NaN",
            "99999999999999999999",
            "7",
            "1.5s",
            "Wed, 21 Oct 2026 07:28:30 GMT",
            "",
        ];
        let headers = (0..dice.random_range(0..4))
            .map(|_| (*pick(dice, &names), (*pick(dice, &values)).to_owned()))
            .collect();
        Self {
            status,
            headers,
            body,
            label: (good && damages == 0).then_some(label),
            intact: damages == 0,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {}\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// No panic, no hang, no label lost or invented, and nothing shown that must not be.
    pub(crate) fn check(&self) {
        let headers = self.headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a header's value");
            (HeaderName::from_static(name), value)
        });
        let headers: HeaderMap = headers.collect();
        let _ = RateLimitHeaders::read(&headers);
        let mask = Mask {
            secrets: &[KEY],
            texts: &[MESSAGE],
            instructions: &[],
        };
        let started = Instant::now();
        let disposed = dispose(
            self.status,
            &headers,
            &self.body,
            Timestamp::UNIX_EPOCH,
            mask,
        );
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "it takes too long"
        );
        let shown = match &disposed.result {
            Err(Disposition::Refused { stop, error }) => format!("{stop} {error}"),
            Err(Disposition::Stop(stop)) => stop.to_string(),
            Err(Disposition::Turn(error)) => error.to_string(),
            Err(Disposition::Retry { reason, .. } | Disposition::Throttled { reason, .. }) => {
                reason.clone()
            }
            Err(Disposition::NoRoom { message }) => message.clone(),
            Ok(_) => String::new(),
        };
        assert!(!shown.contains(KEY) && !shown.contains('\u{1b}'), "{shown}");
        for leak in ["private", "islands", "bananas"] {
            // What is left of a damaged text may be too short to be known.
            assert!(!self.intact || !shown.contains(leak), "{leak}: {shown}");
        }
        let estimated = disposed.result.ok().and_then(|mut answer| {
            let first = answer.choice.take_first_token(5)?;
            estimate(&first).ok()
        });
        if let Some(estimate) = &estimated {
            assert!(estimate.soft > 0.0 && estimate.soft < 1.0, "{estimate:?}");
            assert!(self.status == 200, "a label in HTTP {}", self.status);
            let text = String::from_utf8_lossy(&self.body);
            assert!(text.contains("logprob"), "a label from nothing");
        }
        if let Some(label) = self.label {
            let estimate = estimated.expect("the label is lost");
            assert_eq!(estimate.generated_label.map(u8::from), Some(label));
        }
    }
}

/// A completion with every field that may be odd.
fn completion(dice: &mut Dice, label: u8) -> Value {
    let odd = [
        json!(null),
        json!(-1),
        json!(2.5),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
    ];
    let logprob = *pick(dice, &[0.0, -0.0, 1.2e-7, 1e-3, -0.3, -8.0]);
    let mut token = json!({"token": label.to_string(), "logprob": logprob,
        "bytes": [48 + label], "top_logprobs": [{"token": label.to_string(), "logprob": logprob}]});
    let mut answer =
        json!({"id": "x", "model": "m", "usage": {"prompt_tokens": 9, "completion_tokens": 1}});
    if dice.random_bool(0.3) {
        token["top_logprobs"] = pick(dice, &odd).clone();
    }
    if dice.random_bool(0.2) {
        token["bytes"] = json!(null);
    }
    for field in ["usage", "model", "id", "new"] {
        if dice.random_bool(0.2) {
            answer[field] = pick(dice, &odd).clone();
        }
    }
    let mut choice = json!({"finish_reason": "stop", "message": {"content": label.to_string()},
        "logprobs": {"content": [token]}});
    for field in ["finish_reason", "message", "index"] {
        if dice.random_bool(0.1) {
            choice[field] = pick(dice, &odd).clone();
        }
    }
    answer["choices"] = json!([choice]);
    answer
}

/// An error that says what must not be shown.
fn complaint(dice: &mut Dice) -> Value {
    let message = match dice.random_range(0..5) {
        0 => MESSAGE.to_owned(),
        1 => serde_json::to_string(MESSAGE).unwrap_or_default(),
        2 => MESSAGE
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('"', "&quot;"),
        3 => MESSAGE.split_whitespace().collect::<Vec<_>>().join("  \t "),
        _ => MESSAGE.replace('\n', " "),
    };
    let said = format!("\u{1b}[1mbad key {KEY} for {message} with content filter or quota");
    let code = pick(
        dice,
        &[
            json!(null),
            json!(429),
            json!("400"),
            json!("content_filter"),
            json!("invalid_value"),
            json!({}),
        ],
    )
    .clone();
    match dice.random_range(0..8) {
        0 => json!({"error": {"code": code, "message": said, "param": null}}),
        1 => json!({"error": said}),
        2 => json!({"statusCode": code, "message": said}),
        3 => json!({"detail": [{"msg": said}]}),
        4 => json!({"errors": [said], "error": code}),
        5 => json!(format!("<html><body><p>{said}</p></body></html>")),
        6 => json!({"choices": [{"error": {"code": code, "message": said}}]}),
        _ => json!(said),
    }
}

/// The body with one of its values replaced, where it can be parsed.
fn mutated(dice: &mut Dice, body: &[u8]) -> Vec<u8> {
    fn change(dice: &mut Dice, value: &mut Value) {
        let inner = match value {
            Value::Array(values) if !values.is_empty() => {
                let at = dice.random_range(0..values.len());
                values.get_mut(at)
            }
            Value::Object(fields) if !fields.is_empty() => {
                let at = dice.random_range(0..fields.len());
                fields.values_mut().nth(at)
            }
            _ => None,
        };
        match inner.filter(|_| dice.random_bool(0.8)) {
            Some(inner) => change(dice, inner),
            None => {
                let odd = [
                    json!(null),
                    json!(-1),
                    json!(1e300),
                    json!(""),
                    json!([[]]),
                    json!({"error": 1}),
                    json!(false),
                ];
                *value = pick(dice, &odd).clone();
            }
        }
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return body.to_vec();
    };
    change(dice, &mut value);
    value.to_string().into_bytes()
}
