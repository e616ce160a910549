//! `runs`: where everything stands, over HTTP as JSON; cancelling, and approving what it costs.
//!
//! `GET runs` (with `?dataset=` and `?state=`), `GET runs/<run>`, `POST runs/<run>/cancel`,
//! `POST runs/<run>/approve`.

use super::FunctionError;
use super::bindings::send;
use super::http::{self, address};
use crate::host::{Answer, HttpRequest, Invocation};
use crate::money::Usd;
use crate::run::record::{Record, State};
use crate::steps::status::RunStatus;
use crate::steps::{App, RequestError, metadata};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

/// Ledgers read at a time.
const READ_AT_ONCE: usize = 16;

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Answer, FunctionError> {
    let request = invocation.http("req")?;
    let param = |name| request.params.get(name).map(String::as_str);
    let (run, action) = (param("run"), param("action"));
    if let Err(refused) = http::no_web_page(&request) {
        return http::refuse(refused);
    }
    let answered = match (request.method.to_ascii_uppercase().as_str(), run, action) {
        ("GET", None, None) => all(app, &request).await,
        ("GET", Some(run), None) => one(app, &request, run).await,
        ("POST", Some(run), Some("cancel")) => cancel(app, &request, run).await,
        ("POST", Some(run), Some("approve")) => approve(app, &request, run).await,
        (_, Some(_), Some(action)) => Err(RequestError::not_found(format!(
            "unknown action {action:?}; use POST …/cancel or …/approve"
        ))),
        _ => {
            let text = "known are GET runs, GET runs/<run>, POST runs/<run>/cancel and …/approve";
            return Ok(http::error(405, text));
        }
    };
    answered.or_else(http::refuse)
}

type Answered = Result<Answer, RequestError>;

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
    let body = json!({"runs": statuses});
    Ok(Answer::done().respond("res", 200, &body))
}

async fn one(app: &App, request: &HttpRequest, run: &str) -> Answered {
    match app.runs.read(run).await? {
        Some(record) => {
            let status = status(app, request, record).await?;
            Ok(Answer::done().respond("res", 200, &status))
        }
        None => Err(no_run(run)),
    }
}

async fn cancel(app: &App, request: &HttpRequest, run: &str) -> Answered {
    let Some(before) = app.runs.read(run).await? else {
        return Err(no_run(run));
    };
    if before.state.is_over() && before.state != State::Cancelled {
        let state = before.state.as_str();
        let text = format!("run {run} is {state}: there is nothing to cancel");
        return Err(RequestError::conflict(text));
    }
    let reason = "somebody cancelled it".to_owned();
    let ended = app.runs.end(run, State::Cancelled, Some(reason)).await?;
    metadata::refresh(app, &before.dataset).await?;
    let status = status(app, request, ended.unwrap_or(before)).await?;
    Ok(Answer::done().respond("res", 200, &status))
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
            return Err(RequestError::wrong(text));
        }
    };
    let Some(before) = app.runs.read(run).await? else {
        return Err(no_run(run));
    };
    if before.state != State::AwaitingApproval {
        let state = before.state.as_str();
        let text = format!("run {run} is {state}: it waits for no approval");
        return Err(RequestError::conflict(text));
    }
    if usd.is_some() && before.estimated_usd.is_none() {
        let text = format!(
            "no price is known for {}, so that no sum can be kept to; set SOFTLABEL_PRICE_INPUT and \
             SOFTLABEL_PRICE_OUTPUT, or approve {{\"all\": true}}, whatever it costs",
            before.settings.model
        );
        return Err(RequestError::conflict(text));
    }
    let messages = app.approve(&before.dataset, usd).await?;
    tracing::info!(
        event = "run_approved",
        run,
        usd = usd.map(Usd::as_f64),
        "the cost of the dataset is approved"
    );
    let status = status(app, request, before).await?;
    let answer = Answer::done().respond("res", 202, &status);
    Ok(send(answer, messages))
}

async fn status(
    app: &App,
    request: &HttpRequest,
    record: Record,
) -> Result<RunStatus, RequestError> {
    let ledger = app.ledger(&record).await?;
    let labeled = app.data.labeled(&record.dataset)?;
    let now = app.runs.clock().now();
    let status = RunStatus::new(record, &ledger, now);
    Ok(status.with_links(&labeled, |path| address(request, path)))
}

fn no_run(run: &str) -> RequestError {
    RequestError::not_found(format!("there is no run {run:?}; GET runs lists all"))
}
