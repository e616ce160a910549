//! Answers to HTTP requests.

use super::FunctionError;
use crate::host::{Answer, HttpRequest, is_json};
use crate::page;
use crate::run::RunError;
use crate::steps::{Refusal, RequestError};
use crate::store::sentence;
use reqwest::Url;
use serde_json::json;

/// The answer to a request that is not done; a failure stays one.
pub(super) fn refuse(refused: RequestError) -> Result<Answer, FunctionError> {
    let (refusal, message) = match refused {
        RequestError::Refused { refusal, message } => (refusal, message),
        RequestError::Run(error @ (RunError::Store(_) | RunError::Raw(_))) => {
            tracing::warn!(
                error = sentence(&error),
                "storage refuses what a request needs"
            );
            return Ok(self::error(503, &sentence(&error)));
        }
        RequestError::Run(error) if error.newer().is_some() => {
            return Ok(self::error(409, &error.to_string()));
        }
        RequestError::Run(error) => return Err(error.into()),
    };
    let status = match refusal {
        Refusal::Wrong => 400,
        Refusal::NotFound => 404,
        Refusal::Conflict => 409,
    };
    Ok(error(status, &message))
}

/// The page that shows runs. It needs no key because it holds no data; its script asks for data with the
/// key that the user types.
pub(super) fn page() -> Answer {
    let (headers, html) = page::page();
    let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
    Answer::done().respond_with("res", &headers.collect::<Vec<_>>(), html)
}

/// The report of a labelled dataset. As a document it would run in the origin of the app; it is fetched, and shown in a
/// frame without one.
pub(super) fn report(html: String) -> Answer {
    let headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "sandbox allow-scripts"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ];
    Answer::done().respond_with("res", &headers, html)
}

/// An answer that says what is wrong.
pub(super) fn error(status: u16, message: &str) -> Answer {
    Answer::done().respond("res", status, &json!({"error": message}))
}

/// Refuses a changing request that a web page may have made a browser send. A browser names the page's
/// `Origin`, and asks this app for permission before it declares a body as JSON.
///
/// # Errors
/// [`Refusal::Wrong`] for the origin of another host, and for a body that is not declared as JSON.
pub(super) fn no_web_page(request: &HttpRequest) -> Result<(), RequestError> {
    no_foreign_page(request)?;
    let kind = request.header("Content-Type").unwrap_or_default();
    if !request.body.is_empty() && !is_json(kind) {
        return Err(RequestError::wrong(
            "the body is not declared as JSON; send the header Content-Type: application/json",
        ));
    }
    Ok(())
}

/// The same for methods that a browser asks about first, whatever the body: PUT.
///
/// # Errors
/// [`Refusal::Wrong`] for the origin of another host.
pub(super) fn no_foreign_page(request: &HttpRequest) -> Result<(), RequestError> {
    let place = |url: &str| {
        let url = Url::parse(url).ok()?;
        Some((url.host_str()?.to_owned(), url.port_or_known_default()))
    };
    if let Some(origin) = request.header("Origin")
        && (place(origin).is_none() || place(origin) != place(&request.url))
    {
        return Err(RequestError::wrong(
            "the request comes from a web page of another host, its Origin; send it from a program",
        ));
    }
    Ok(())
}

/// A path of this app as a URL, on the host that the client asked.
pub(super) fn address(request: &HttpRequest, path: &str) -> String {
    let url = Url::parse(&request.url).and_then(|url| url.join(path));
    url.map_or_else(|_| path.to_owned(), String::from)
}
