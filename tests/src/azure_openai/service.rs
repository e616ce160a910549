//! What the service makes of one request: the way from arrival to an answer, without any waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::watch;

use super::access::Credential;
use super::answer::{Completion, Outcome, Usage};
use super::chance::{Purpose, Source, mix};
use super::clock::Clock;
use super::config::Config;
use super::errors::ErrorAnswer;
use super::families::{Family, Form};
use super::faults::Fault;
use super::headers;
use super::limits::{Limits, Meter, Remaining, Shortage, Throttle};
use super::log::{Log, Record, Ticket};
use super::parameters;
use super::prompt_cache::PromptCache;
use super::question::Question;
use super::request::{ChatRequest, Kind};

/// State behind all connections.
#[derive(Debug)]
pub(super) struct Service {
    settings: RwLock<Arc<Settings>>,
    cache: PromptCache,
    pub(super) log: Arc<Log>,
    pub(super) stopping: watch::Sender<bool>,
}

/// A configuration, and what follows from it.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) clock: Clock,
    deployments: HashMap<String, Deployment>,
}

#[derive(Debug, Clone)]
struct Deployment {
    name: String,
    model: String,
    family: Family,
    meter: Arc<Mutex<Meter>>,
}

/// A request as it arrives.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) form: Form,
    /// The deployment in the URL, on the dated form.
    pub(super) deployment: Option<&'a str>,
    pub(super) api_version: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

/// What is to be sent, and how long to wait before.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) fault: Option<Fault>,
    /// In service time.
    pub(super) latency: Option<Duration>,
    pub(super) ticket: Ticket,
}

/// One request on its way through the service, and what it met so far.
struct Visit<'s> {
    service: &'s Service,
    settings: &'s Settings,
    call: &'s Call<'s>,
    /// Arrival, in service time.
    now: Duration,
    ticket: Ticket,
    remaining: Option<(Remaining, Limits)>,
    throttle: Option<Throttle>,
    fault: Option<Fault>,
    latency: Option<Duration>,
}

impl Service {
    pub(super) fn new(config: Config) -> Result<Self> {
        config.validate()?;
        let log = Log::open(config.log_file.as_deref())?;
        let clock = Clock::start(config.speed);
        let settings = Settings::new(config, clock, &HashMap::new());
        Ok(Self {
            settings: RwLock::new(Arc::new(settings)),
            cache: PromptCache::default(),
            log: Arc::new(log),
            stopping: watch::Sender::new(false),
        })
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the configuration of the running service. Counters of deployments that stay go on.
    pub(super) fn update(&self, change: impl FnOnce(&mut Config)) -> Result<()> {
        let mut settings = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut config = settings.config.clone();
        change(&mut config);
        // These two took effect at the start; what is shown must stay true.
        config.listen = settings.config.listen;
        config.log_file.clone_from(&settings.config.log_file);
        config.validate()?;
        let clock = if config.speed == settings.config.speed {
            settings.clock
        } else {
            settings.clock.with_speed(config.speed)
        };
        *settings = Arc::new(Settings::new(config, clock, &settings.deployments));
        Ok(())
    }

    /// Decides what a request is answered with.
    pub(super) fn answer(&self, settings: &Settings, call: &Call<'_>) -> Reply {
        let now = settings.clock.now();
        let config = &settings.config;
        let parsed = ChatRequest::parse(call.body).map(Question::of);
        let question = parsed.as_ref().ok();
        let asked_for = match (call.form, question) {
            (Form::Dated, _) => call.deployment.unwrap_or(""),
            (Form::V1, Some(question)) => question.request.model.as_deref().unwrap_or(""),
            (Form::V1, None) => "",
        };
        let deployment = settings.deployments.get(asked_for);
        let credential = Credential::of(call.headers);
        let record = record(config, call, question, credential, asked_for, now);
        let capacity = if config.keep_log {
            config.log_capacity
        } else {
            0
        };
        let mut visit = Visit {
            service: self,
            settings,
            call,
            now,
            ticket: self.log.arrive(record, capacity, settings.clock),
            remaining: None,
            throttle: None,
            fault: None,
            latency: None,
        };
        let verdict = config.access.check(credential).and_then(|()| {
            let question = parsed.as_ref().map_err(ErrorAnswer::unreadable_body)?;
            if asked_for.is_empty() {
                return Err(ErrorAnswer::no_model());
            }
            let deployment = deployment.ok_or_else(ErrorAnswer::deployment_not_found)?;
            visit.admit(deployment, question)?;
            visit.complete(deployment, question)
        });
        visit.reply(verdict, deployment)
    }
}

impl Visit<'_> {
    /// Charges the quota, or refuses.
    fn admit(
        &mut self,
        deployment: &Deployment,
        question: &Question<'_>,
    ) -> Result<(), ErrorAnswer> {
        let limits = self.settings.limits_at(self.now);
        if limits != Limits::default() {
            let tokens = question.request.charged_tokens();
            let mut meter = deployment
                .meter
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match meter.admit(&limits, self.now, tokens) {
                Ok(remaining) => self.remaining = Some((remaining, limits)),
                Err(throttle) => {
                    self.throttle = Some(throttle);
                    let calls = throttle.shortage == Shortage::Calls;
                    self.service.log.throttled(calls);
                    let seconds = headers::retry_after_seconds(&self.settings.clock, &throttle);
                    let version = self.call.api_version.unwrap_or("v1");
                    return Err(ErrorAnswer::throttled(version, calls, seconds));
                }
            }
        }
        self.ticket.charged();
        Ok(())
    }

    /// The way of an admitted request: parameter rules, faults, context, filter, and then the model.
    fn complete(
        &mut self,
        deployment: &Deployment,
        question: &Question<'_>,
    ) -> Result<Bytes, ErrorAnswer> {
        let config = &self.settings.config;
        let request = &question.request;
        let rules = parameters::check(request, deployment.family, self.call.form, &config.quirks)?;
        let attempt = self.ticket.attempt();
        let subject = Source::new(config.seed, question.message.key);
        let in_this_way = Source::new(config.seed, question.message.key ^ question.way());
        let chance = in_this_way.attempt(attempt);

        let latency = match (question.kind, &config.text_latency) {
            (Kind::Text, Some(latency)) => latency,
            _ => &config.latency,
        };
        self.latency = latency.draw(&mut chance.rng(Purpose::Latency));
        let user_text = request.last_user_text();
        if let Some((fault, code)) = config.faults.strike(user_text, in_this_way, attempt) {
            self.fault = Some(fault);
            if let Fault::Status(status) = fault {
                return Err(ErrorAnswer::fault(status, code));
            }
        }
        let prompt_tokens = request.prompt_tokens();
        let context = config
            .context_limit_tokens
            .unwrap_or(deployment.family.context_limit());
        if prompt_tokens > context {
            let classic = deployment.family == Family::Classic;
            return Err(ErrorAnswer::context_overflow(
                context,
                prompt_tokens,
                classic,
            ));
        }
        let filter = &config.content_filter;
        let meets = |texts: &[String], purpose, rate| {
            texts.iter().any(|t| user_text.contains(t.as_str())) || subject.happens(purpose, rate)
        };
        if meets(
            &filter.prompt_contains,
            Purpose::PromptFilter,
            filter.prompt_rate,
        ) {
            let spelling = filter.alternative_spelling;
            return Err(ErrorAnswer::prompt_filtered(question.category(), spelling));
        }
        let cut = meets(
            &filter.completion_contains,
            Purpose::CompletionFilter,
            filter.completion_rate,
        );
        let (outcome, reasoning) = if cut {
            (Outcome::Filtered, 0)
        } else {
            question.outcome(config, rules, subject, chance)
        };
        let cached = match config.prompt_cache {
            true => self.service.cache.cached_tokens(&deployment.name, request),
            false => 0,
        };
        let completion = outcome.tokens() + reasoning;
        let usage = Usage {
            prompt: (prompt_tokens as f64 * config.billed_prompt_factor).ceil() as u64,
            cached,
            completion,
            reasoning,
        };
        self.service.log.used(usage);
        if let Some(Fault::Billed(status)) = self.fault {
            return Err(ErrorAnswer::fault(status, None));
        }
        let completion = Completion {
            id: mix(self.ticket.index()),
            model: &deployment.model,
            at_s: self.now.as_secs(),
            outcome,
            show_logprobs: rules.logprobs,
            usage: (self.fault != Some(Fault::NoUsage)).then_some(usage),
        };
        Ok(completion.bytes())
    }

    fn reply(
        mut self,
        verdict: Result<Bytes, ErrorAnswer>,
        deployment: Option<&Deployment>,
    ) -> Reply {
        let (status, body) = match verdict {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => (error.status, error.bytes()),
        };
        let (config, clock) = (&self.settings.config, &self.settings.clock);
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers::common(
            &mut headers,
            &config.headers,
            self.call.headers,
            self.ticket.index(),
        );
        if config.headers.origin {
            headers::origin(&mut headers, deployment.map(|d| d.name.as_str()));
        }
        if let Some((remaining, limits)) = &self.remaining {
            headers::rate_limits(&mut headers, &config.headers, clock, limits, remaining);
        }
        if let Some(throttle) = &self.throttle {
            headers::retry_after(&mut headers, &config.headers, clock, throttle);
        }
        let answered = match self.fault {
            Some(Fault::Reset | Fault::Hang) => None,
            _ => Some(status.as_u16()),
        };
        self.ticket.answer(answered, self.fault);
        let (fault, latency, ticket) = (self.fault, self.latency, self.ticket);
        Reply {
            status,
            headers,
            body,
            fault,
            latency,
            ticket,
        }
    }
}

impl Settings {
    fn new(config: Config, clock: Clock, before: &HashMap<String, Deployment>) -> Self {
        let deployments = config.deployments.iter().filter_map(|(name, model)| {
            let deployment = Deployment {
                name: name.clone(),
                model: model.clone(),
                family: Family::of_model(model)?,
                meter: before
                    .get(name)
                    .map(|d| Arc::clone(&d.meter))
                    .unwrap_or_default(),
            };
            Some((name.clone(), deployment))
        });
        Self {
            deployments: deployments.collect(),
            clock,
            config,
        }
    }

    /// The quota that holds at a moment: the last change that has come, else the one set.
    fn limits_at(&self, now: Duration) -> Limits {
        let come = self
            .config
            .limit_changes
            .iter()
            .filter(|c| c.at_s <= now.as_secs_f64());
        let last = come.max_by(|a, b| a.at_s.total_cmp(&b.at_s));
        last.map_or(self.config.limits, |change| change.limits)
    }
}

fn record(
    config: &Config,
    call: &Call<'_>,
    question: Option<&Question<'_>>,
    credential: Credential<'_>,
    deployment: &str,
    now: Duration,
) -> Record {
    let header = |name| {
        call.headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
    };
    let request = question.map(|q| &q.request);
    Record {
        index: 0,
        arrived_us: now.as_micros() as u64,
        ended_us: None,
        client_request_id: header("x-ms-client-request-id").map(str::to_owned),
        form: call.form,
        auth: credential.auth(),
        caller: credential.caller(),
        deployment: deployment.to_owned(),
        kind: question.map_or(Kind::Unreadable, |q| q.kind),
        swapped: question.is_some_and(Question::swapped),
        key: question.map_or(0, |q| q.message.key),
        text_hash: question.map_or(0, |q| q.message.text_hash),
        text_chars: question.map_or(0, |q| q.message.text_chars),
        attempt: None,
        prompt_tokens: request.map_or(0, ChatRequest::prompt_tokens),
        charged_tokens: request.map_or(0, ChatRequest::charged_tokens),
        status: None,
        fault: None,
        fully_sent: false,
        user_text: request
            .filter(|_| config.keep_bodies)
            .map(|r| r.last_user_text().to_owned()),
        body: config
            .keep_bodies
            .then(|| String::from_utf8_lossy(call.body).into_owned()),
    }
}
