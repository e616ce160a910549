//! A double of servers that speak plain OpenAI: vLLM, SGLang, llama.cpp's server, Ollama, gateways.
//!
//! **It is a simulation of documents** of several servers, whose habits are its settings. It knows nothing of
//! who asks: whatever comes as `POST /v1/chat/completions` is checked against the settings and answered.
//!
//! # What it models
//!
//! Bearer keys (or none), parameters that are refused in the words of different servers or ignored, a most of
//! `top_logprobs`, answers with the log probabilities of every generated token, tokens as vocabularies write
//! them (`▁1`, `Ġ1`), a token of its own before each answer, a label that is not among the first candidates, usage as its own tokenizer counts (a token
//! for every three bytes). There are no headers about rates.
//!
//! # What it does not model
//!
//! Streams, tools, several choices, real language.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::loopback::Server;

/// How a server says that it does not take a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// As OpenAI: 400 with `param` and `unsupported_parameter`.
    OpenAi,
    /// As vLLM: 400 with a sentence alone, at the top of the body.
    Vllm,
    /// As a server whose bodies pydantic checks: 422 with `detail`.
    Pydantic,
    /// It takes no notice of it.
    Ignored,
}

/// What kind of server it is.
#[derive(Debug, Clone)]
pub struct Habits {
    /// The key that it wants, if any.
    pub key: Option<String>,
    /// The model that it serves; a request for another one is answered with 404.
    pub model: String,
    /// Parameters that it does not take.
    pub without: BTreeMap<&'static str, Words>,
    /// The most `top_logprobs` that it gives.
    pub most: u64,
    /// How its vocabulary writes the beginning of a word.
    pub blank: &'static str,
    /// A token that every answer begins with; empty for none.
    pub begins_with: &'static str,
    /// So many other tokens are more probable than both labels.
    pub before_labels: usize,
    /// Whether the model's chat template knows the role `system`.
    pub system_role: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            key: None,
            model: "small".into(),
            without: BTreeMap::new(),
            most: 20,
            blank: "",
            begins_with: "",
            before_labels: 0,
            system_role: true,
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// All headers, by their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
    /// The status of the answer.
    pub status: u16,
    /// The answer.
    pub answer: Value,
}

#[derive(Debug)]
struct Inner {
    habits: Habits,
    log: Mutex<Vec<Asked>>,
}

impl Inner {
    fn log(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct OpenAiCompatible {
    inner: Arc<Inner>,
    server: Server,
}

impl OpenAiCompatible {
    /// Starts a server with these habits.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(habits: Habits) -> Result<Self> {
        let log = Mutex::default();
        let inner = Arc::new(Inner { habits, log });
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&inner));
        Ok(Self {
            inner,
            server: Server::start(app).await?,
        })
    }

    /// Its base URL, `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.server.endpoint())
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None: it listens on an address.
    pub fn address(&self) -> Result<SocketAddr> {
        let endpoint = self.server.endpoint();
        Ok(endpoint.trim_start_matches("http://").parse()?)
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.log().clone()
    }
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
    let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let authorization = text(AUTHORIZATION.as_str());
    let (status, answer) = match uri.path() {
        "/v1/chat/completions" => inner.habits.complete(authorization.as_deref(), &body),
        _ => (404, json!({"detail": "Not Found"})),
    };
    let headers = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    inner.log().push(Asked {
        path: uri.to_string(),
        authorization,
        headers: headers.collect(),
        body,
        status,
        answer: answer.clone(),
    });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("x-request-id", "req-1")], Json(answer)).into_response()
}

impl Habits {
    fn complete(&self, authorization: Option<&str>, body: &Value) -> (u16, Value) {
        if let Some(key) = &self.key
            && authorization != Some(&format!("Bearer {key}"))
        {
            return (401, json!({"error": "Unauthorized"}));
        }
        let model = body["model"].as_str().unwrap_or_default();
        if model != self.model {
            let message = format!("The model `{model}` does not exist.");
            let error = json!({"message": message, "type": "NotFoundError", "code": 404});
            return (404, json!({"error": error}));
        }
        let roles = body["messages"].as_array().into_iter().flatten();
        let mut roles = roles.map(|message| &message["role"]);
        if !self.system_role && roles.any(|role| role == "system") {
            return (400, vllm("System role not supported"));
        }
        let mut taken = body.as_object().cloned().unwrap_or_default();
        for (name, words) in &self.without {
            if taken.remove(*name).is_some() && *words != Words::Ignored {
                return refusal(name, *words);
            }
        }
        self.generate(&taken)
    }

    fn generate(&self, body: &Map<String, Value>) -> (u16, Value) {
        let wants = body.get("logprobs") == Some(&Value::Bool(true));
        let top = body
            .get("top_logprobs")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        if top > self.most {
            let message = format!(
                "Requested sample logprobs of {top}, which is greater than max allowed: {}",
                self.most
            );
            return (400, vllm(&message));
        }
        let messages = body.get("messages").and_then(Value::as_array);
        let texts = messages.into_iter().flatten();
        let texts = texts.filter_map(|message| message["content"].as_str());
        let texts = texts.collect::<Vec<_>>();
        let last = texts.last().copied().unwrap_or_default();
        let words = [" because", " it", " says", " so", " itself", "."];
        let lengths = ["max_tokens", "max_completion_tokens"];
        let most = lengths.iter().find_map(|name| body.get(*name)?.as_u64());
        let most = usize::try_from(most.unwrap_or(16)).unwrap_or(16);
        // Token after token, each the most probable one of its candidates.
        let certain = |token: &&str| vec![((*token).to_owned(), -0.1)];
        let first = [self.begins_with]
            .into_iter()
            .filter(|token| !token.is_empty());
        let first = first.map(|token| self.before_answer(token, last));
        let all = first
            .chain([self.label_token(last)])
            .chain(words.iter().map(certain));
        let all = all.collect::<Vec<_>>();
        let generated = all.get(..most.min(all.len())).unwrap_or_default();
        let tokens = generated.iter().filter_map(|candidates| candidates.first());
        let text = tokens.map(|(token, _)| token.replace(['▁', 'Ġ'], " "));
        let text = text.collect::<String>().trim_start().to_owned();
        let entry = |(token, logprob): &(String, f64)| json!({"token": token, "logprob": logprob, "bytes": null});
        let logprobs = wants.then(|| {
            let count = usize::try_from(top).unwrap_or(0);
            let content = generated.iter().filter_map(|candidates| {
                let mut token = entry(candidates.first()?);
                token["top_logprobs"] = candidates.iter().take(count).map(entry).collect();
                Some(token)
            });
            json!({"content": content.collect::<Vec<_>>()})
        });
        let prompt = texts.iter().map(|text| text.len()).sum::<usize>() / 3;
        let completion = generated.len();
        let finish = if completion < all.len() {
            "length"
        } else {
            "stop"
        };
        let answer = json!({
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": logprobs,
                "finish_reason": finish,
            }],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
        });
        (200, answer)
    }

    /// What may stand before an answer to `text`: mostly `token`, seldom the answer itself, with other odds
    /// than behind it.
    fn before_answer(&self, token: &str, text: &str) -> Vec<(String, f64)> {
        let labels = self.label_token(text);
        let rivals = labels
            .into_iter()
            .map(|(token, ln)| (token, ln / 2.0 - 6.0));
        let mut candidates = vec![(token.to_owned(), -0.01)];
        candidates.extend(rivals);
        candidates.sort_by(|one, other| other.1.total_cmp(&one.1));
        candidates
    }

    /// The tokens that may be the label in an answer to `text`, the most probable first, with their
    /// logarithms.
    fn label_token(&self, text: &str) -> Vec<(String, f64)> {
        let share = (xxh3_64(text.as_bytes()) % 10_000) as f64 / 10_000.0;
        let share = 0.02 + 0.96 * share;
        // Others take a half of what is left, one after the other.
        let mut left = 1.0_f64;
        let mut candidates = Vec::new();
        for number in 0..self.before_labels {
            left *= 0.6;
            candidates.push((format!("w{number}"), left / 0.6 - left));
        }
        let labels = left * 0.9;
        candidates.push((format!("{}0", self.blank), labels * (1.0 - share)));
        candidates.push((format!("{}1", self.blank), labels * share));
        let rest = (left - labels) / 30.0;
        candidates.extend((0..30).map(|number| (format!("r{number}"), rest)));
        candidates.sort_by(|one, other| other.1.total_cmp(&one.1));
        let logarithms = candidates.into_iter();
        logarithms.map(|(token, p)| (token, p.ln())).collect()
    }
}

fn vllm(message: &str) -> Value {
    json!({
        "object": "error",
        "message": message,
        "type": "BadRequestError",
        "param": null,
        "code": 400,
    })
}

fn refusal(name: &str, words: Words) -> (u16, Value) {
    match words {
        Words::OpenAi | Words::Ignored => {
            let message =
                format!("Unsupported parameter: '{name}' is not supported with this model.");
            let error = json!({
                "message": message,
                "type": "invalid_request_error",
                "param": name,
                "code": "unsupported_parameter",
            });
            (400, json!({"error": error}))
        }
        Words::Vllm => (
            400,
            vllm(&format!("{name} is not supported by this server")),
        ),
        Words::Pydantic => {
            let detail = json!({
                "type": "extra_forbidden",
                "loc": ["body", name],
                "msg": "Extra inputs are not permitted",
            });
            (422, json!({"detail": [detail]}))
        }
    }
}
