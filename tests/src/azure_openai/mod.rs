//! A double of Azure OpenAI's chat completions: a real HTTP server that behaves as documented.
//!
//! **It is a simulation of documents.** It was written from Microsoft's and OpenAI's documentation,
//! the sources of their SDKs and reports of people who measured the service. Nobody compared it with the
//! service itself. Where it and the service differ, it is wrong.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use softlabel_doubles::azure_openai::{Config, Double, Limits};
//!
//! let double = Double::start(Config { seed: 7, ..Config::default() }).await?;
//! // … let something call `double.endpoint()` …
//! double.set_limits(Limits { rpm: Some(600), ..Limits::default() });
//! assert!(double.asked().iter().all(|asked| asked.answered <= 1));
//! double.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it models
//!
//! Both URL forms; keys and bearer tokens; the parameter rules of each model family with their error
//! bodies; the content filter, the context limit, quota on tokens and requests with its headers, usage
//! with cached tokens; latencies, error statuses, resets, truncated, slow and missing answers; lists of
//! logprobs in the odd shapes that occur. Time can run faster than outside ([`Config::speed`]).
//!
//! # How it answers
//!
//! A request with `logprobs` and room for at most 64 tokens is taken for a classification and answered
//! with "0" or "1"; any other gets two to four sentences. The probability of "1" is a seeded function of
//! the **last user message**, without random marks: runs of letters, digits, `-` and `_` in which
//! twelve hex digits follow one another, UUIDs included. What "1" means is read from the prompt, in
//! whatever words it defines the two; without a definition "1" stands for "no reasoning needed". A bias
//! towards the token "1" can be added on top, and stays when the meanings are swapped.
//!
//! Everything random follows from the seed, the message, the way of asking (kind and meaning) and the
//! number of the attempt, so that runs repeat whatever the order of arrival.
//!
//! # What it does not model
//!
//! * Language. It judges by a hash and a few cue words, and its sentences come from a list.
//! * Tokenizers: a token is four characters. So usage, quota and the context limit are approximate.
//! * Streaming, `n` above 1, tools and response formats: the first two are refused, the rest ignored.
//! * Logprobs of free texts, `seed`, `stop`, penalties and `top_p`; other APIs (responses, embeddings,
//!   batch, models).
//! * TLS, HTTP/2, regional fail-over, `retry-after` as a date, the gateway's own HTML error pages.
//! * The sharing of quota between deployments of one model. Tokens come back all at once with the
//!   minute, or as they were taken ([`Limits::sliding_tokens`]): which of it the service does is not
//!   documented.
//! * Noise: the service's logprobs differ a little from call to call, these do not.

mod access;
mod answer;
mod body;
mod chance;
mod clock;
mod config;
mod control;
mod errors;
mod families;
mod faults;
mod headers;
mod judgement;
mod latency;
mod limits;
mod log;
mod logprobs;
mod meaning;
mod message;
mod parameters;
mod prompt_cache;
mod question;
mod repeats;
mod request;
mod server;
mod service;
mod text;

pub use access::{Auth, caller};
pub use config::{
    Access, AlwaysFail, Config, ContentFilter, Faults, Headers, NoLogprobs, Oddities, Quirks,
};
pub use families::{Family, Form};
pub use faults::Fault;
pub use latency::Latency;
pub use limits::{LimitChange, Limits, Meter, Remaining, Shortage, Throttle};
pub use log::{Asked, Record, Stats};
pub use repeats::{Excuse, Loss, Repeats, repeats};
pub use request::Kind;
pub use server::Double;
