//! Everything that can be set on the double, as plain data.
//!
//! The same struct is the library's argument, the body of `PUT /_double/config` and the file behind
//! the binary's `--config`. The default is a well-behaved service: no latency, no limits, no faults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::families::Family;
use super::faults::Fault;
use super::latency::Latency;
use super::limits::{LimitChange, Limits};

/// How one double behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Read at the start only.
    pub listen: SocketAddr,
    /// Seed of everything random.
    pub seed: u64,
    /// Service seconds per real second. Latencies, windows and every "retry after" shrink by it.
    pub speed: f64,
    /// Deployment name → model name. The model decides which parameters are accepted.
    pub deployments: BTreeMap<String, String>,
    /// Who may call.
    pub access: Access,
    /// Which deviations from the documented parameter rules are switched on.
    pub quirks: Quirks,
    /// Log-odds that the model adds to the token "1", whatever "1" means in the prompt.
    pub token_bias: f64,
    /// How often the list of candidates comes back in one of its odd shapes.
    pub oddities: Oddities,
    /// Share of free texts that run over any length limit of up to 4,000 tokens.
    pub overlong_text_rate: f64,
    /// Prompt tokens billed for each one that is estimated, at least 1: whoever counts as the double does
    /// finds its bills that much too high.
    pub billed_prompt_factor: f64,
    /// Whether repeated prompt prefixes of 1,024 tokens and more are reported as cached.
    pub prompt_cache: bool,
    /// Largest accepted prompt, in estimated tokens. `None` takes the model's own.
    pub context_limit_tokens: Option<u64>,
    /// Quota of each deployment.
    pub limits: Limits,
    /// Quota that changes by itself while the double runs.
    pub limit_changes: Vec<LimitChange>,
    /// Which optional headers are sent.
    pub headers: Headers,
    /// Time between a request's arrival and its answer.
    pub latency: Latency,
    /// The same for free texts, where it differs.
    pub text_latency: Option<Latency>,
    /// What goes wrong on the way.
    pub faults: Faults,
    /// What the content filter objects to.
    pub content_filter: ContentFilter,
    /// Whether requests are recorded at all. Off saves memory and time under load.
    pub keep_log: bool,
    /// Records kept; the oldest go first. The counts per message are kept regardless.
    pub log_capacity: usize,
    /// Whether records carry the request body and the user text.
    pub keep_bodies: bool,
    /// Also append each record to this file, as JSON lines. Read at the start only.
    pub log_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let models = [
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-4.1",
            "gpt-4.1-mini",
            "gpt-4.1-nano",
            "gpt-5",
            "gpt-5-mini",
            "gpt-5.1",
            "gpt-5.2",
            "gpt-5.4",
            // Newer than any table of prices.
            "gpt-5.9",
            "o3-mini",
            "o4-mini",
        ];
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 0,
            speed: 1.0,
            deployments: models
                .iter()
                .map(|m| (m.to_string(), m.to_string()))
                .collect(),
            access: Access::default(),
            quirks: Quirks::default(),
            token_bias: 0.0,
            oddities: Oddities::default(),
            overlong_text_rate: 0.02,
            billed_prompt_factor: 1.0,
            prompt_cache: true,
            context_limit_tokens: None,
            limits: Limits::default(),
            limit_changes: Vec::new(),
            headers: Headers::default(),
            latency: Latency::None,
            text_latency: None,
            faults: Faults::default(),
            content_filter: ContentFilter::default(),
            keep_log: true,
            log_capacity: 1_000_000,
            keep_bodies: false,
            log_file: None,
        }
    }
}

impl Config {
    /// Refuses what cannot be meant: unknown models, rates outside 0–1, a speed that is not positive.
    ///
    /// # Errors
    /// Names the first setting that does not make sense.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            !self.deployments.is_empty(),
            "deployments: at least one is needed"
        );
        for (deployment, model) in &self.deployments {
            if Family::of_model(model).is_none() {
                bail!("deployments: {deployment}: unknown model {model:?}");
            }
        }
        ensure!(
            self.speed.is_finite() && self.speed > 0.0,
            "speed: must be above 0"
        );
        ensure!(self.token_bias.is_finite(), "token_bias: must be a number");
        ensure!(
            self.billed_prompt_factor.is_finite() && self.billed_prompt_factor >= 1.0,
            "billed_prompt_factor: must be at least 1"
        );
        ensure!(
            self.log_capacity > 0,
            "log_capacity: must be above 0; see keep_log"
        );
        ensure!(
            self.keep_log || self.log_file.is_none(),
            "log_file: nothing would be written to it while keep_log is off"
        );
        let odd = &self.oddities;
        let rates = [
            ("overlong_text_rate", self.overlong_text_rate),
            ("oddities.single_entry", odd.single_entry),
            ("oddities.short_list", odd.short_list),
            ("oddities.junk", odd.junk),
            ("oddities.whitespace_variants", odd.whitespace_variants),
            ("oddities.sentinel", odd.sentinel),
            ("oddities.sampled_not_listed", odd.sampled_not_listed),
            ("oddities.no_bytes", odd.no_bytes),
            ("oddities.neither_label", odd.neither_label),
            ("oddities.refusal", odd.refusal),
            ("oddities.empty_content", odd.empty_content),
            (
                "content_filter.prompt_rate",
                self.content_filter.prompt_rate,
            ),
            (
                "content_filter.completion_rate",
                self.content_filter.completion_rate,
            ),
        ];
        for (name, rate) in rates {
            ensure!(
                (0.0..=1.0).contains(&rate),
                "{name}: {rate} is not between 0 and 1"
            );
        }
        for (fault, rate) in &self.faults.rates {
            ensure!(
                (0.0..=1.0).contains(rate),
                "faults.rates: {fault}: {rate} is not 0 to 1"
            );
        }
        let sum: f64 = self.faults.rates.values().sum();
        ensure!(
            sum <= 1.0 + 1e-9,
            "faults.rates: add up to {sum}, more than 1"
        );
        let terminal = odd.neither_label + odd.refusal + odd.empty_content;
        ensure!(
            terminal <= 1.0 + 1e-9,
            "oddities: neither_label, refusal and empty_content add up to {terminal}, more than 1"
        );
        self.latency.validate()?;
        self.text_latency.iter().try_for_each(Latency::validate)
    }
}

/// Which credentials are accepted. An empty list accepts anything that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Values of the header `api-key`.
    pub api_keys: Vec<String>,
    /// Values after `Authorization: Bearer`.
    pub bearer_tokens: Vec<String>,
    /// Bearer tokens that are refused as expired, even when anything else is accepted.
    pub expired_tokens: Vec<String>,
    /// Answers every bearer token with "lacks the required data action" and this status. The
    /// documents say 403; 401 with the same body has been reported too.
    pub role_missing: Option<u16>,
}

/// Deviations from the documented parameter rules that people have reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// HTTP 500 whenever `top_logprobs` is 2 or more.
    pub top_logprobs_500: bool,
    /// No logprobs from any model, in one of two ways.
    pub no_logprobs: Option<NoLogprobs>,
    /// The effort that the gpt-5.1, 5.2 and 5.4 models take where the request names none.
    pub default_effort: String,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            top_logprobs_500: false,
            no_logprobs: None,
            default_effort: "none".to_owned(),
        }
    }
}

/// How a model withholds logprobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoLogprobs {
    /// 200, with `logprobs: null`.
    Omit,
    /// 403 "You are not allowed to request logprobs from this model".
    Forbid,
}

/// Rates of the odd shapes in which one-token answers come back. Each is drawn on its own, except that
/// at most one of `neither_label`, `refusal` and `empty_content` happens to a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oddities {
    /// Confident answers (above 0.9) that list the probable label alone.
    pub single_entry: f64,
    /// Lists of two to four entries where more were asked for.
    pub short_list: f64,
    /// Answers that give up to 40 % of their mass to tokens that are no label.
    pub junk: f64,
    /// Answers whose labels are split over "1", " 1" and "1\n".
    pub whitespace_variants: f64,
    /// Lists in which the improbable entries say -9999.0.
    pub sentinel: f64,
    /// Lists without the token that was emitted.
    pub sampled_not_listed: f64,
    /// Lists with `bytes: null` throughout.
    pub no_bytes: f64,
    /// Lists without either label; the emitted token is none either.
    pub neither_label: f64,
    /// Refusals: `content` null, `refusal` set.
    pub refusal: f64,
    /// Empty answers.
    pub empty_content: f64,
}

/// Which optional headers are sent; every one may be absent in reality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// `x-ratelimit-*-requests`, where a request limit is set.
    pub rate_limit_requests: bool,
    /// `x-ratelimit-*-tokens`, where a token limit is set.
    pub rate_limit_tokens: bool,
    /// `retry-after` (seconds, rounded up) on 429.
    pub retry_after: bool,
    /// `retry-after-ms` on 429.
    pub retry_after_ms: bool,
    /// `apim-request-id`.
    pub apim_request_id: bool,
    /// `x-ms-region` and `x-ms-deployment-name`.
    pub origin: bool,
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            rate_limit_requests: true,
            rate_limit_tokens: true,
            retry_after: true,
            retry_after_ms: true,
            apim_request_id: true,
            origin: true,
        }
    }
}

/// What goes wrong on the way to the model and back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Share of attempts each fault hits; together at most 1.
    pub rates: BTreeMap<Fault, f64>,
    /// Only so many first attempts of a message are hit by `rates`, so that a patient caller succeeds.
    pub max_faults_per_key: u32,
    /// Messages that fail every time.
    pub always_fail: Vec<AlwaysFail>,
    /// How long a slow body takes, in service milliseconds.
    pub slow_body_ms: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rates: BTreeMap::new(),
            max_faults_per_key: 2,
            always_fail: Vec::new(),
            slow_body_ms: 5_000,
        }
    }
}

/// A message that fails on every attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlwaysFail {
    /// Text that the last user message contains, whatever else the caller put into that message.
    pub contains: String,
    /// What happens to it.
    pub fault: Fault,
    /// `error.code` of the body, for a fault that is a status.
    #[serde(default)]
    pub code: Option<String>,
}

/// What the content filter objects to. The same message always meets the same verdict.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContentFilter {
    /// Prompts whose last user message contains one of these are refused with 400.
    pub prompt_contains: Vec<String>,
    /// Share of messages whose prompt is refused.
    pub prompt_rate: f64,
    /// Answers to messages that contain one of these end with `finish_reason: content_filter`.
    pub completion_contains: Vec<String>,
    /// Share of messages whose answer is cut.
    pub completion_rate: f64,
    /// Spell the refusal `inner_error` and `content_filter_results`, as some versions do.
    pub alternative_spelling: bool,
}
