//! A bad line to an HTTP service on this machine: a proxy that loses requests and answers, cuts bodies,
//! and answers in the service's stead, when a test has planned that.
//!
//! It knows nothing of what it carries: a [`When`] picks requests by method, URL and body, whoever plans it says
//! how many to let through before and how many to hit.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use softlabel_doubles::azurite::Azurite;
//! use softlabel_doubles::faulty_line::{Fault, FaultyLine, When};
//!
//! let azurite = Azurite::shared().await?;
//! let line = FaultyLine::start(azurite.blob_endpoint()).await?;
//! // The first upload takes effect, but its sender never hears of it.
//! line.plan(Fault::LoseAnswer, When::put("/data/a.json"));
//! // … let something use `line.endpoint()` in place of `azurite.blob_endpoint()` …
//! # Ok(())
//! # }
//! ```

mod cut;
mod plan;

use std::future::IntoFuture as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::line::{LineCutter, Lines};
use cut::CutBody;
use plan::{Happening, Plan};

pub use plan::{Fault, HeldBack, When};

/// A running proxy. Dropping it stops it.
#[derive(Debug)]
pub struct FaultyLine {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// A request as it arrived, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Its method.
    pub method: Method,
    /// Its path, with slashes also where they were sent percent-encoded.
    pub path: String,
    /// Its query, or nothing.
    pub query: String,
    /// The service's status, if the service was asked.
    pub status: Option<u16>,
    /// What went wrong, if anything did.
    pub fault: Option<Fault>,
}

/// Clients encode the slashes in a blob's name, or do not.
fn path_of(uri: &Uri) -> String {
    uri.path().replace("%2F", "/")
}

#[derive(Debug)]
struct Shared {
    service: String,
    http: reqwest::Client,
    plan: Mutex<Plan>,
    log: Mutex<Vec<Passed>>,
}

impl FaultyLine {
    /// Starts a proxy to `service`, as `http://127.0.0.1:PORT`, on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(service: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no port is free")?;
        let address = listener.local_addr().context("the port has no address")?;
        let shared = Arc::new(Shared {
            service: service.trim_end_matches('/').to_owned(),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .context("there is no HTTP client")?,
            plan: Mutex::default(),
            log: Mutex::default(),
        });
        let app = Router::new()
            .fallback(pass)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<LineCutter>();
        let server = axum::serve(Lines(listener), app);
        let serving = tokio::spawn(async move {
            // `axum::serve` never fails: it retries what can be retried.
            let _ = server.into_future().await;
        });
        Ok(Self {
            address,
            shared,
            serving,
        })
    }

    /// Where to send requests, as `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `fault` happen to the requests that `when` picks. Of several plans for one request the one made
    /// first hits it.
    pub fn plan(&self, fault: Fault, when: When) {
        lock(&self.shared.plan).add(fault, when);
    }

    /// Holds back the request that `when` picks until what this gives is dropped.
    pub fn hold(&self, when: When) -> HeldBack {
        lock(&self.shared.plan).hold(when)
    }

    /// From here on `fault` happens to every request, until [`up`](Self::up); what is planned waits.
    pub fn down(&self, fault: Fault) {
        lock(&self.shared.plan).always(Some(fault));
    }

    /// Ends what [`down`](Self::down) began.
    pub fn up(&self) {
        lock(&self.shared.plan).always(None);
    }

    /// From here on nothing more of what was planned goes wrong.
    pub fn clear(&self) {
        lock(&self.shared.plan).clear();
    }

    /// Whether everything planned has happened.
    pub fn is_through(&self) -> bool {
        lock(&self.shared.plan).is_through()
    }

    /// The requests so far, in the order in which their answers left, or got lost.
    pub fn log(&self) -> Vec<Passed> {
        self.log_since(0)
    }

    /// The same without the first so many.
    pub fn log_since(&self, first: usize) -> Vec<Passed> {
        let log = lock(&self.shared.log);
        log.iter().skip(first).cloned().collect()
    }
}

impl Drop for FaultyLine {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<LineCutter>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let happening = lock(&shared.plan).next(&method, &uri, &body);
    let fault = match happening {
        Some(Happening::Fault(fault)) => Some(fault),
        Some(Happening::Hold(gate)) => {
            gate.pass().await;
            None
        }
        None => None,
    };
    let mut passed = Passed {
        method: method.clone(),
        path: path_of(&uri),
        query: uri.query().unwrap_or_default().to_owned(),
        status: None,
        fault,
    };
    let answer = match fault {
        Some(Fault::LoseRequest | Fault::Status(_) | Fault::Refuse(..) | Fault::Hang) => None,
        _ => shared.forward(method, &uri, headers, body).await,
    };
    passed.status = answer.as_ref().map(|answer| answer.status().as_u16());
    lock(&shared.log).push(passed);
    match fault {
        Some(Fault::Hang) => {
            // The future is dropped when the caller leaves.
            std::future::pending::<()>().await;
            Response::default()
        }
        Some(Fault::LoseRequest | Fault::LoseAnswer) => {
            line.cut();
            Response::default()
        }
        Some(Fault::Status(answered) | Fault::StatusAfter(answered)) => {
            status(answered).into_response()
        }
        Some(Fault::Refuse(refused, code)) => {
            let headers = [
                ("x-ms-error-code", code),
                ("content-type", "application/xml"),
            ];
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
                 <Message>Refused.</Message></Error>"
            );
            (status(refused), headers, body).into_response()
        }
        Some(Fault::CutBody(after)) => match answer {
            Some(answer) => answer.map(|body| Body::new(CutBody::new(body, after))),
            None => StatusCode::BAD_GATEWAY.into_response(),
        },
        Some(Fault::Header(name, value)) => {
            let mut answer = answer.unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response());
            let (name, value) = (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            answer.headers_mut().insert(name, value);
            answer
        }
        None => answer.unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
    }
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Shared {
    async fn forward(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Option<Response> {
        let url = format!("{}{uri}", self.service);
        for connection in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
            headers.remove(connection);
        }
        let request = self.http.request(method, url).headers(headers).body(body);
        let answer = request.send().await.ok()?;
        let answer = axum::http::Response::<reqwest::Body>::from(answer);
        let mut answer = answer.map(Body::new);
        for connection in [header::CONNECTION, header::TRANSFER_ENCODING] {
            answer.headers_mut().remove(connection);
        }
        Some(answer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
