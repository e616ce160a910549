//! The running double: its socket, its routes, and how answers leave it.

use std::future::IntoFuture as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::body::AnswerBody;
use super::config::Config;
use super::control;
use super::errors::ErrorAnswer;
use super::families::Form;
use super::faults::Fault;
use super::limits::Limits;
use super::log::{Asked, Record, Stats};
use super::service::{Call, Reply, Service};
use crate::line::{LineCutter, Lines};

/// Prompts beyond the largest context must still be read, to be refused with the right words.
const BODY_LIMIT: usize = 64 << 20;

/// How long `stop` waits for answers that are on their way.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running double. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Double {
    service: Arc<Service>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Double {
    /// Starts a double on the runtime of the caller.
    ///
    /// # Errors
    /// When the configuration makes no sense, the address is taken or the log file cannot be written.
    pub async fn start(config: Config) -> Result<Self> {
        let listen = config.listen;
        let service = Arc::new(Service::new(config)?);
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener
            .local_addr()
            .context("cannot tell the address listened on")?;
        let app = router(Arc::clone(&service)).into_make_service_with_connect_info::<LineCutter>();
        let stopping = service.stopping.subscribe();
        let server = axum::serve(Lines(listener), app).with_graceful_shutdown(stopped(stopping));
        let serving = tokio::spawn(async move {
            // `axum::serve` never fails: it retries what can be retried.
            let _ = server.into_future().await;
        });
        Ok(Self {
            service,
            address,
            serving,
        })
    }

    /// Where to send requests, as `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn endpoint(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        format!("http://{address}")
    }

    /// The port listened on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The time since its start by which it dates what it records.
    pub fn now(&self) -> Duration {
        self.service.settings().clock.now()
    }

    /// The requests recorded so far, in order of arrival.
    pub fn log(&self) -> Vec<Record> {
        self.service.log.records(0)
    }

    /// How often each message was asked about in each way, ordered by kind and key.
    pub fn asked(&self) -> Vec<Asked> {
        self.service.log.asked()
    }

    /// Sums over all requests.
    pub fn stats(&self) -> Stats {
        control::stats(&self.service)
    }

    /// The configuration that holds now.
    pub fn config(&self) -> Config {
        self.service.settings().config.clone()
    }

    /// Changes the configuration of the running double. `listen` and `log_file` are read at the start
    /// only and stay as they are.
    ///
    /// # Errors
    /// When the changed configuration makes no sense; then the old one stays.
    pub fn update(&self, change: impl FnOnce(&mut Config)) -> Result<()> {
        self.service.update(change)
    }

    /// Sets the quota from now on, and drops the changes of it that were planned.
    pub fn set_limits(&self, limits: Limits) {
        let set = self.update(|config| {
            config.limits = limits;
            config.limit_changes.clear();
        });
        debug_assert!(
            set.is_ok(),
            "limits cannot make a valid configuration invalid"
        );
    }

    /// Forgets the log, the counts and the attempts, as if nothing had been asked yet.
    pub fn clear(&self) {
        self.service.log.clear();
    }

    /// Lets answers on their way finish, for two seconds at most, and stops.
    pub async fn stop(mut self) {
        self.begin_stop();
        if tokio::time::timeout(PATIENCE, &mut self.serving)
            .await
            .is_err()
        {
            self.serving.abort();
        }
    }

    fn begin_stop(&self) {
        self.service.log.stop();
        self.service.stopping.send_replace(true);
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the double is gone, which is as good.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/openai/v1/chat/completions", post(v1))
        .route(
            "/openai/deployments/{deployment}/chat/completions",
            post(dated),
        )
        .merge(control::router())
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(service)
}

async fn v1(
    State(service): State<Arc<Service>>,
    ConnectInfo(line): ConnectInfo<LineCutter>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call {
        form: Form::V1,
        deployment: None,
        api_version: None,
        headers: &headers,
        body: &body,
    };
    let settings = service.settings();
    let reply = service.answer(&settings, &call);
    send(&service, line, reply).await
}

async fn dated(
    State(service): State<Arc<Service>>,
    ConnectInfo(line): ConnectInfo<LineCutter>,
    Path(deployment): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = query.unwrap_or_default();
    let version = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("api-version="));
    // The gateway routes by version: without a known one there is no such resource.
    let Some(version) = version.filter(|version| is_version(version)) else {
        return not_found(State(service)).await;
    };
    let call = Call {
        form: Form::Dated,
        deployment: Some(&deployment),
        api_version: Some(version),
        headers: &headers,
        body: &body,
    };
    let settings = service.settings();
    let reply = service.answer(&settings, &call);
    send(&service, line, reply).await
}

/// `2024-10-21`, `2025-03-01-preview`.
fn is_version(version: &str) -> bool {
    let date = version.strip_suffix("-preview").unwrap_or(version);
    let fits = |(i, b): (usize, u8)| {
        if i == 4 || i == 7 {
            b == b'-'
        } else {
            b.is_ascii_digit()
        }
    };
    date.len() == 10 && date.bytes().enumerate().all(fits)
}

async fn not_found(State(service): State<Arc<Service>>) -> Response {
    service.log.unrouted();
    let answer = ErrorAnswer::resource_not_found();
    let json = [("content-type", "application/json")];
    (answer.status, json, answer.bytes()).into_response()
}

/// Waits as long as the reply says, and sends it as well or badly as it says.
async fn send(service: &Service, line: LineCutter, reply: Reply) -> Response {
    let settings = service.settings();
    if let Some(latency) = reply.latency {
        tokio::select! {
            () = settings.clock.sleep(latency) => {}
            () = stopped(service.stopping.subscribe()) => {}
        }
    }
    let body = match reply.fault {
        Some(Fault::Hang) => {
            // The future is dropped, and the request with it, when the caller leaves.
            stopped(service.stopping.subscribe()).await;
            line.cut();
            return Response::default();
        }
        Some(Fault::Reset) => {
            line.cut();
            return Response::default();
        }
        Some(Fault::HalfBody) => AnswerBody::half(reply.body, reply.ticket),
        Some(Fault::SlowBody) => {
            let over = Duration::from_millis(settings.config.faults.slow_body_ms);
            AnswerBody::slow(reply.body, reply.ticket, settings.clock.real(over))
        }
        Some(Fault::Status(_) | Fault::Billed(_) | Fault::NoUsage) | None => {
            AnswerBody::whole(reply.body, reply.ticket)
        }
    };
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}
