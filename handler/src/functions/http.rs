//! Answers to HTTP requests.

use super::FunctionError;
use crate::host::{Answer, HttpRequest};
use crate::steps::{Refusal, RequestError};
use reqwest::Url;
use serde_json::json;

/// The answer to a request that is not done; a failure stays one.
pub(super) fn refuse(refused: RequestError) -> Result<Answer, FunctionError> {
    let (refusal, message) = match refused {
        RequestError::Refused { refusal, message } => (refusal, message),
        RequestError::Run(error) => return Err(error.into()),
    };
    let status = match refusal {
        Refusal::Wrong => 400,
        Refusal::NotFound => 404,
        Refusal::Conflict => 409,
    };
    Ok(error(status, &message))
}

/// An answer that says what is wrong.
pub(super) fn error(status: u16, message: &str) -> Answer {
    Answer::done().respond("res", status, &json!({"error": message}))
}

/// A path of this app as a URL, on the host that the client asked.
pub(super) fn address(request: &HttpRequest, path: &str) -> String {
    let url = Url::parse(&request.url).and_then(|url| url.join(path));
    url.map_or_else(|_| path.to_owned(), String::from)
}
