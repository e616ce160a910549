//! The line to the server: hands requests on, and keeps what was asked and answered.

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// A request with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    request: Value,
    answer: Value,
}

pub(crate) struct Line {
    inner: Arc<Inner>,
    address: String,
}

struct Inner {
    server: String,
    http: reqwest::Client,
    kept: Mutex<Vec<Kept>>,
}

impl Line {
    pub(crate) async fn start(server: String) -> Result<Self> {
        let inner = Arc::new(Inner {
            server,
            http: reqwest::Client::builder().no_proxy().build()?,
            kept: Mutex::default(),
        });
        let app = axum::Router::new()
            .fallback(hand_on)
            .with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { inner, address })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}/v1", self.address)
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        let kept = self.inner.kept.lock();
        kept.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn hand_on(State(inner): State<Arc<Inner>>, uri: Uri, body: Bytes) -> Response {
    let url = format!("{}{}", inner.server, uri.path());
    let sent = inner
        .http
        .post(url)
        .header("content-type", "application/json");
    let Ok(answer) = sent.body(body.clone()).send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let status = answer.status();
    let Ok(bytes) = answer.bytes().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let kept = Kept {
        request: read(&body),
        answer: read(&bytes),
    };
    inner
        .kept
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(kept);
    (status, [("content-type", "application/json")], bytes).into_response()
}

impl Kept {
    pub(crate) fn asks_for_a_label_of(&self, message: &str) -> bool {
        let asked = self.request["messages"][1]["content"].as_str();
        let about = |text: &str| text.contains(&format!(">>>\n{message}\n<<<END"));
        self.request["logprobs"] == true && asked.is_some_and(about)
    }

    /// Of what the answer lists in the place of its first token that is not white space: the sums of the
    /// probabilities of "0" and of "1", of all, and the least of the list, in which the token itself may be missing.
    pub(crate) fn probabilities(&self) -> (f64, f64, f64, f64) {
        let tokens = &self.answer["choices"][0]["logprobs"]["content"];
        let is_blank = |token: &&Value| {
            token["token"]
                .as_str()
                .is_some_and(|it| it.trim().is_empty())
        };
        let mut said = tokens.as_array().into_iter().flatten();
        let first = said.find(|token| !is_blank(token)).unwrap_or(&tokens[0]);
        let top = first["top_logprobs"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let probability =
            |token: &Value| token["logprob"].as_f64().unwrap_or(f64::NEG_INFINITY).exp();
        let least = top.iter().map(probability).fold(1.0, f64::min);
        let mut listed = top;
        if !listed.iter().any(|token| token["token"] == first["token"]) {
            listed.push(first.clone());
        }
        let (mut zero, mut one, mut all) = (0.0, 0.0, 0.0);
        for token in &listed {
            let p = probability(token);
            all += p;
            match token["token"].as_str().map(str::trim) {
                Some("0") => zero += p,
                Some("1") => one += p,
                _ => {}
            }
        }
        (zero, one, all, least)
    }
}
