//! `runs`: where everything stands, over HTTP as JSON; cancelling, and approving what it costs.
//!
//! `GET runs` (with `?dataset=`, `?state=`, `?limit=` and `?continuation=`), `GET runs/<run>`, `GET runs/<run>/report`,
//! `POST runs/<run>/cancel`, `POST runs/<run>/approve`.

use super::FunctionError;
use super::bindings::send;
use super::http::{self, address};
use crate::host::{Answer, HttpRequest, Invocation};
use crate::money::Usd;
use crate::run::list::{Place, Wanted};
use crate::run::record::{Record, State};
use crate::steps::status::{Look, RunStatus};
use crate::steps::{App, RequestError, metadata, report};
use serde::Deserialize;

/// Runs in an answer, where the request does not say.
const USUAL_LIMIT: usize = 100;

/// Runs in an answer at most.
const LARGEST_LIMIT: usize = 1_000;

/// What a query may narrow the runs down by.
const QUERY: [&str; 4] = ["dataset", "state", "limit", "continuation"];

/// What the host takes from a query.
const KEYS: [&str; 2] = ["code", "clientId"];

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
        ("GET", Some(run), Some("report")) => report_of(app, run).await,
        ("POST", Some(run), Some("cancel")) => cancel(app, &request, run).await,
        ("POST", Some(run), Some("approve")) => approve(app, &request, run).await,
        (_, Some(_), Some(action)) => Err(RequestError::not_found(format!(
            "unknown action {action:?}; use GET …/report, POST …/cancel or …/approve"
        ))),
        _ => {
            let text = "use GET runs, GET runs/<run>, GET runs/<run>/report, POST runs/<run>/cancel or …/approve";
            return Ok(http::error(405, text));
        }
    };
    answered.or_else(http::refuse)
}

type Answered = Result<Answer, RequestError>;

async fn all(app: &App, request: &HttpRequest) -> Answered {
    let (wanted, limit, after) = asked(request)?;
    let page = app.runs.page(&wanted, limit, after.as_ref()).await?;
    let list = app.run_list(page.records, Look::Listed, |path| address(request, path));
    let mut list = list.await?;
    list.continuation = page.next.map(|next| next.to_string());
    Ok(Answer::done().respond("res", 200, &list))
}

/// Which runs a request asks for, how many at most, and after which place in the list.
fn asked(request: &HttpRequest) -> Result<(Wanted, usize, Option<Place>), RequestError> {
    let is_known = |name: &&String| QUERY.contains(&name.as_str()) || KEYS.contains(&name.as_str());
    if let Some(unknown) = request.query.keys().find(|name| !is_known(name)) {
        let known = QUERY.join(", ");
        let text = format!("the query has an unknown {unknown:?}; known are {known}");
        return Err(RequestError::wrong(text));
    }
    let query = |name: &str| request.query.get(name).filter(|value| !value.is_empty());
    let state = query("state").map(|name| {
        let known = State::ALL.into_iter().find(|state| state.as_str() == name);
        known.ok_or_else(|| {
            let known = State::ALL.map(State::as_str).join(", ");
            RequestError::wrong(format!("there is no state {name:?}; it is one of {known}"))
        })
    });
    let limit = query("limit").map(|text| {
        let limit = text.parse().ok();
        let limit = limit.filter(|limit| (1..=LARGEST_LIMIT).contains(limit));
        limit.ok_or_else(|| {
            RequestError::wrong(format!(
                "the limit is {text:?}, but must be a number from 1 to {LARGEST_LIMIT}"
            ))
        })
    });
    let after = query("continuation").map(|text| {
        text.parse().map_err(|_| {
            RequestError::wrong(
                "the continuation is not one of this app's; give the last answer's, or leave it out",
            )
        })
    });
    let wanted = Wanted {
        dataset: query("dataset").cloned(),
        state: state.transpose()?,
    };
    let limit = limit.transpose()?.unwrap_or(USUAL_LIMIT);
    Ok((wanted, limit, after.transpose()?))
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
    let reason = "it was cancelled by a request".to_owned();
    let ended = app.runs.end(run, State::Cancelled, Some(reason)).await?;
    metadata::refresh_if_possible(app, &before.dataset).await;
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
        let text = format!("run {run} is {state} and waits for no approval");
        return Err(RequestError::conflict(text));
    }
    if usd.is_some() && before.estimated_usd.is_none() {
        let text = format!(
            "no price is known for {}, so a cap cannot be enforced; set SOFTLABEL_PRICE_INPUT and \
             SOFTLABEL_PRICE_OUTPUT, or approve {{\"all\": true}}, whatever it costs",
            before.settings.model
        );
        return Err(RequestError::conflict(text));
    }
    if app.caps_months() && before.estimated_usd.is_none() {
        let text = format!(
            "no price is known for {}, so SOFTLABEL_MAX_COST_PER_MONTH cannot be enforced, and no \
             approval lifts it; set SOFTLABEL_PRICE_INPUT and SOFTLABEL_PRICE_OUTPUT",
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
    let status = app.run_status(record, Look::Alone, |path| address(request, path));
    Ok(status.await?)
}

async fn report_of(app: &App, run: &str) -> Answered {
    let Some(record) = app.runs.read(run).await? else {
        return Err(no_run(run));
    };
    match report::read(app, &record.dataset).await? {
        Some(report) => Ok(http::report(report)),
        None => Err(RequestError::not_found(format!(
            "there is no report of {}; it is written within a minute after its last run has ended",
            record.dataset
        ))),
    }
}

fn no_run(run: &str) -> RequestError {
    RequestError::not_found(format!("there is no run {run:?}; GET runs lists all"))
}
