//! `runs`: where everything stands, over HTTP as JSON; cancelling, and approving what it costs.
//!
//! `GET runs` (with `?dataset=` and `?state=`), `GET runs/<run>`, `POST runs/<run>/cancel`,
//! `POST runs/<run>/approve`.

use super::FunctionError;
use super::app::App;
use super::metadata;
use super::status::RunStatus;
use crate::host::{Answer, HttpRequest, Invocation};
use crate::money::Usd;
use crate::run::RunError;
use crate::run::record::{Record, State};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

/// Ledgers read at a time.
const READ_AT_ONCE: usize = 16;

/// What a request gets that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: u16,
    message: String,
}

impl ApiError {
    /// The request is wrong.
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// What it is about is not there.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// It cannot be done as things stand.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    fn new(status: u16, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    /// The HTTP status.
    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// The answer.
    pub(super) fn respond(&self) -> Answer {
        let body = json!({"error": self.message});
        Answer::done().respond("res", self.status, &body)
    }
}

/// A path of this app as a URL, on the host that the client asked.
pub(super) fn address(request: &HttpRequest, path: &str) -> String {
    let url = Url::parse(&request.url).and_then(|url| url.join(path));
    url.map_or_else(|_| path.to_owned(), String::from)
}

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Answer, FunctionError> {
    let request = invocation.http("req")?;
    let param = |name| request.params.get(name).map(String::as_str);
    let (run, action) = (param("run"), param("action"));
    let answered = match (request.method.to_ascii_uppercase().as_str(), run, action) {
        ("GET", None, None) => all(app, &request).await?,
        ("GET", Some(run), None) => one(app, &request, run).await?,
        ("POST", Some(run), Some("cancel")) => cancel(app, &request, run).await?,
        ("POST", Some(run), Some("approve")) => approve(app, &request, run).await?,
        (_, Some(_), Some(action)) => Err(ApiError::not_found(format!(
            "a run knows no {action:?}; known are POST …/cancel and …/approve"
        ))),
        _ => Err(ApiError::new(
            405,
            "known are GET runs, GET runs/<run>, POST runs/<run>/cancel and …/approve",
        )),
    };
    Ok(answered.unwrap_or_else(|error| error.respond()))
}

type Answered = Result<Result<Answer, ApiError>, RunError>;

async fn all(app: &App, request: &HttpRequest) -> Answered {
    let wanted = |record: &Record| {
        let same =
            |name: &str, value: &str| request.query.get(name).is_none_or(|wanted| wanted == value);
        same("dataset", &record.dataset) && same("state", record.state.as_str())
    };
    let mut records = app.runs.all().await?;
    records.retain(wanted);
    records.sort_by(|a, b| (b.created, &b.file, &b.run).cmp(&(a.created, &a.file, &a.run)));
    let statuses = stream::iter(records).map(|record| status(app, request, record));
    let statuses = statuses
        .buffered(READ_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(Ok(Answer::done().respond(
        "res",
        200,
        &json!({"runs": statuses}),
    )))
}

async fn one(app: &App, request: &HttpRequest, run: &str) -> Answered {
    match app.runs.read(run).await? {
        Some(record) => {
            let status = status(app, request, record).await?;
            Ok(Ok(Answer::done().respond("res", 200, &status)))
        }
        None => Ok(Err(no_run(run))),
    }
}

async fn cancel(app: &App, request: &HttpRequest, run: &str) -> Answered {
    let Some(before) = app.runs.read(run).await? else {
        return Ok(Err(no_run(run)));
    };
    if before.state.is_over() && before.state != State::Cancelled {
        let state = before.state.as_str();
        let text = format!("run {run} is {state}: there is nothing to cancel");
        return Ok(Err(ApiError::conflict(text)));
    }
    let reason = "somebody cancelled it".to_owned();
    let ended = app.runs.end(run, State::Cancelled, Some(reason)).await?;
    metadata::refresh(app, &before.dataset).await?;
    let status = status(app, request, ended.unwrap_or(before)).await?;
    Ok(Ok(Answer::done().respond("res", 200, &status)))
}

/// What an approval says, one of the two. An empty body says nothing: hosts lose bodies.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Approval {
    /// What the dataset may cost in all.
    Some { max_cost_usd: Usd },
    /// What its runs are estimated to cost.
    All { all: bool },
}

async fn approve(app: &App, request: &HttpRequest, run: &str) -> Answered {
    let usd = match serde_json::from_str::<Approval>(&request.body) {
        Ok(Approval::Some { max_cost_usd }) => Some(max_cost_usd),
        Ok(Approval::All { all: true }) => None,
        Ok(Approval::All { all: false }) | Err(_) => {
            let text = "the body is {\"max_cost_usd\": 250}, what the dataset may cost in all, or \
                        {\"all\": true}, what its runs are estimated to cost; send it with a \
                        Content-Length";
            return Ok(Err(ApiError::wrong(text)));
        }
    };
    let Some(before) = app.runs.read(run).await? else {
        return Ok(Err(no_run(run)));
    };
    if before.state != State::AwaitingApproval {
        let state = before.state.as_str();
        let text = format!("run {run} is {state}: it waits for no approval");
        return Ok(Err(ApiError::conflict(text)));
    }
    if usd.is_some() && before.estimated_usd.is_none() {
        let text = format!(
            "no price is known for {}, so that no sum can be kept to; set SOFTLABEL_PRICE_INPUT and \
             SOFTLABEL_PRICE_OUTPUT, or approve {{\"all\": true}}, whatever it costs",
            before.settings.model
        );
        return Ok(Err(ApiError::conflict(text)));
    }
    let messages = app.approve(&before.dataset, usd).await?;
    tracing::info!(
        event = "run_approved",
        run,
        usd = usd.map(Usd::as_f64),
        "the cost of the dataset is approved"
    );
    let status = status(app, request, before).await?;
    let answer = Answer::done().send("plans", messages);
    Ok(Ok(answer.respond("res", 202, &status)))
}

async fn status(app: &App, request: &HttpRequest, record: Record) -> Result<RunStatus, RunError> {
    let ledger = app.ledger(&record).await?;
    let labeled = app.data.labeled(&record.dataset)?;
    let now = app.runs.clock().now();
    let status = RunStatus::new(record, &ledger, now);
    Ok(status.with_links(&labeled, |path| address(request, path)))
}

fn no_run(run: &str) -> ApiError {
    ApiError::not_found(format!("there is no run {run:?}; GET runs lists all"))
}
