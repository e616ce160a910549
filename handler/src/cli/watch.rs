//! `softlabel label --watch`: the page that watches runs, for those of one command, on loopback.
//!
//! Who has the token may look, and nothing can be changed. The token stands in the fragment of the address, which no
//! browser sends. A request that names another host, or comes from a page of another one, is refused: a page somewhere
//! cannot make a browser ask here under a name of its own.

use crate::dataset::layout;
use crate::page;
use crate::run::RunError;
use crate::steps::status::{CommandStatus, Look, RunList};
use crate::steps::{App, report};
use anyhow::Context;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch::{self, Sender};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// A client that asked within this time is watching: the page asks every four seconds.
const WATCHING: Duration = Duration::from_secs(10);

/// The end waits no longer than this until those who watch have seen it.
const FAREWELL: Duration = Duration::from_secs(10);

/// The page of a command, as long as this lives.
pub(super) struct Watch {
    address: String,
    shown: Arc<Shown>,
    _serving: AbortOnDropHandle<()>,
}

/// What is shown.
struct Shown {
    app: Arc<App>,
    dataset: String,
    since: Timestamp,
    token: String,
    at: SocketAddr,
    told: Sender<Told>,
}

/// What those who watch were told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// When runs were last asked for.
    asked: Option<Instant>,
    /// Nothing is labelled any more.
    ended: bool,
    /// A client was told so, and has the report since.
    runs: bool,
    report: bool,
}

impl Watch {
    /// Serves the page for the runs of `dataset`, which this process has been labelling since now.
    ///
    /// # Errors
    /// If no port can be had.
    pub(super) async fn open(app: Arc<App>, dataset: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener
            .await
            .context("--watch finds no free port on this machine")?;
        let at = listener.local_addr().context("--watch has no address")?;
        let token = Uuid::new_v4().simple().to_string();
        let address = format!("http://{at}/#{token}");
        let shown = Arc::new(Shown {
            since: app.runs.clock().now(),
            app,
            dataset: dataset.to_owned(),
            token,
            at,
            told: watch::channel(Told::default()).0,
        });
        let data = Router::new()
            .route("/runs", get(runs))
            .route("/runs/{run}", get(run))
            .route("/runs/{run}/report", get(report_of))
            .layer(middleware::from_fn_with_state(
                Arc::clone(&shown),
                with_token,
            ));
        let router = Router::new()
            .route("/", get(markup))
            .merge(data)
            .layer(middleware::from_fn_with_state(
                Arc::clone(&shown),
                from_here,
            ))
            .with_state(Arc::clone(&shown));
        let serving = tokio::spawn(async move {
            // It ends when this process is done with it; until then a connection that fails is its own affair.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shown,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// Where the page is, with the token.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Nothing is labelled any more. Those who watch are told so, and may take the report, if there is one.
    pub(super) async fn ended(self, has_report: bool) {
        let told = &self.shown.told;
        told.send_modify(|told| told.ended = true);
        let is_watched = told
            .borrow()
            .asked
            .is_some_and(|asked| asked.elapsed() < WATCHING);
        if is_watched {
            let mut seen = told.subscribe();
            let all = seen.wait_for(|told| told.runs && (told.report || !has_report));
            // Who does not ask in time has left.
            let _ = timeout(FAREWELL, all).await;
        }
    }
}

impl Shown {
    async fn list(&self) -> Result<RunList, RunError> {
        let ended = self.told.borrow().ended;
        let runs = self.app.runs.of_dataset(&self.dataset).await?;
        let records = runs.into_iter().map(|(_, record)| record).collect();
        let list = self.app.run_list(records, Look::Live(self.since), relative);
        let mut list = list.await?;
        list.command = Some(CommandStatus { ended });
        // What only the app does.
        list.runs
            .iter_mut()
            .for_each(|run| run.links.only_to_read());
        Ok(list)
    }
}

/// A path of the app's API beside the page.
fn relative(path: &str) -> String {
    path.trim_start_matches("/api/").to_owned()
}

type Shows = State<Arc<Shown>>;

async fn markup() -> Response {
    let (headers, html) = page::page();
    let mut response = Response::new(Body::from(html));
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn runs(State(shown): Shows) -> Response {
    let list = shown.list().await;
    let is_last = list
        .as_ref()
        .is_ok_and(|list| list.command.as_ref().is_some_and(|command| command.ended));
    shown.told.send_modify(|told| {
        told.asked = Some(Instant::now());
        told.runs |= is_last;
    });
    answer(list)
}

async fn run(State(shown): Shows, Path(run): Path<String>) -> Response {
    let list = shown.list().await;
    match list.map(|list| list.runs.into_iter().find(|status| status.run == run)) {
        Ok(Some(status)) => answer(Ok(status)),
        Ok(None) => refused(StatusCode::NOT_FOUND, "there is no such run"),
        Err(error) => answer(Err::<(), _>(error)),
    }
}

async fn report_of(State(shown): Shows) -> Response {
    let report = report::read(&shown.app, &shown.dataset).await;
    let ended = shown.told.borrow().ended;
    shown.told.send_modify(|told| told.report |= ended);
    match report {
        Ok(Some(report)) => {
            let kind = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, "sandbox allow-scripts"),
            ];
            (kind, report).into_response()
        }
        Ok(None) => refused(
            StatusCode::NOT_FOUND,
            &format!(
                "there is no {} yet; it is written when the run has ended",
                layout::REPORT
            ),
        ),
        Err(error) => answer(Err::<(), _>(error)),
    }
}

fn answer<T: Serialize>(found: Result<T, RunError>) -> Response {
    let text = found.map_err(|error| error.to_string());
    let text =
        text.and_then(|found| serde_json::to_string(&found).map_err(|error| error.to_string()));
    match text {
        Ok(text) => (
            [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
            text,
        )
            .into_response(),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (status, json, json!({"error": why}).to_string()).into_response()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}

/// Lets what asks this address pass, and pages of this address.
async fn from_here(State(shown): Shows, request: Request, next: Next) -> Response {
    let hosts = [
        shown.at.to_string(),
        format!("localhost:{}", shown.at.port()),
    ];
    let host = text(request.headers(), header::HOST).unwrap_or_default();
    let origin = text(request.headers(), header::ORIGIN);
    let is_own = |origin: &str| hosts.iter().any(|host| origin == format!("http://{host}"));
    if !hosts.iter().any(|own| own == host) || !origin.is_none_or(is_own) {
        return refused(
            StatusCode::FORBIDDEN,
            "this address answers nobody but its own page",
        );
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

/// Lets who has the token pass.
async fn with_token(State(shown): Shows, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get("x-functions-key")
        .map(|value| value.as_bytes());
    match verify_slices_are_equal(given.unwrap_or_default(), shown.token.as_bytes()) {
        Ok(()) => next.run(request).await,
        Err(_) => refused(
            StatusCode::UNAUTHORIZED,
            "the token is not the one in the address that was printed",
        ),
    }
}
