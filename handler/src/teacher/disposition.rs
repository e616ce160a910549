//! What an answer of the service means: one table for everything that can come back.

use super::wire::{Answer, ErrorBody, ServiceError};
use crate::dataset::line::{ErrorCode, LabelingError};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use std::time::Duration;

/// A `retry-after` this long means that there is no quota at all.
const NO_QUOTA: Duration = Duration::from_secs(86_400);

/// What to do after an answer that is not usable.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// A passing fault: send it again, not before `after` if the service says so.
    Retry {
        /// What happened, in a few words.
        reason: String,
        /// What the service asks for.
        after: Option<Duration>,
    },
    /// Too much at once: everybody waits.
    Throttled {
        /// What the service asks for.
        after: Option<Duration>,
    },
    /// The answer did not fit into the length that was allowed for it: before a run a matter of the
    /// parameters, in a run this turn's error.
    NoRoom {
        /// The service's sentence.
        message: String,
    },
    /// This turn's error; the run goes on.
    Turn(LabelingError),
    /// Every call would fail alike.
    Stop(Stop),
}

/// Why a run ends early.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// 401.
    #[error("the service does not accept the credential (401): {0}")]
    Unauthorized(String),
    /// 403.
    #[error(
        "the service refuses access (403: {0}); give the identity the role \"Cognitive Services \
         OpenAI User\" on the account, check the account's network rules, and set --auth entra where \
         keys are disabled"
    )]
    Forbidden(String),
    /// 404.
    #[error(
        "the service knows no such deployment or address ({0}); check \
         AZURE_OPENAI_DEPLOYMENT, AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION"
    )]
    NotFound(String),
    /// 400 for a parameter that every request carries.
    #[error(
        "the model refuses the request's parameters ({message}); check --model and \
         --model-family against what is deployed"
    )]
    Parameters {
        /// The parameter, where the service names it.
        param: Option<String>,
        /// The service's sentence.
        message: String,
    },
    /// The deployment does not give token probabilities.
    #[error(
        "the deployment gives no log probabilities ({0}), without which there is no soft label; \
         deploy a model that gives them, such as gpt-4.1 or gpt-5.2 at effort none"
    )]
    NoLogprobs(String),
    /// 429 for a day.
    #[error(
        "the deployment has no quota ({0}); raise its capacity or choose another with \
         AZURE_OPENAI_DEPLOYMENT"
    )]
    NoQuota(String),
    /// 429 with a wait that nobody has the patience for.
    #[error(
        "the service asks to wait {0} seconds, longer than --throttle-patience; run the same \
         command again later, it continues"
    )]
    Busy(u64),
    /// Nothing but failures, for too long.
    #[error(
        "the service has given no answer for {0} seconds ({1}), longer than --outage-patience; try \
         again later"
    )]
    Outage(u64, String),
    /// The first call found nobody who answers it, again and again.
    #[error(
        "the service cannot be reached, or does not answer as it should ({0}); check \
         AZURE_OPENAI_ENDPOINT and the network"
    )]
    Unreachable(String),
    /// The first call was refused for no reason that is known.
    #[error(
        "the service refuses the first call ({0}); check AZURE_OPENAI_ENDPOINT, \
         AZURE_OPENAI_DEPLOYMENT and --model"
    )]
    Refused(String),
}

/// Reads an answer: the useful ones as they are, all others as what to do.
///
/// `now` is only for a `retry-after` that is a date.
///
/// # Errors
/// The disposition of every answer that is not a readable 2xx.
pub fn dispose(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Answer, Disposition> {
    if (200..300).contains(&status) {
        return serde_json::from_slice(body).map_err(|error| Disposition::Retry {
            // Where, not what: the error's own text may quote the answer.
            reason: format!(
                "the answer is no chat completion (line {}, column {})",
                error.line(),
                error.column()
            ),
            after: None,
        });
    }
    let ErrorBody { mut error, message } = serde_json::from_slice(body).unwrap_or_default();
    error.message = error.message.or(message);
    let after = retry_after(headers, now);
    Err(match status {
        408 | 409 | 500..=599 => Disposition::Retry {
            reason: format!("HTTP {status}"),
            after,
        },
        429 if error.code() == "insufficient_quota" || after >= Some(NO_QUOTA) => {
            Disposition::Stop(Stop::NoQuota(sentence(&error, status)))
        }
        429 => Disposition::Throttled { after },
        401 => Disposition::Stop(Stop::Unauthorized(sentence(&error, status))),
        403 if error.message().contains("logprobs") => {
            Disposition::Stop(Stop::NoLogprobs(sentence(&error, status)))
        }
        403 => Disposition::Stop(Stop::Forbidden(sentence(&error, status))),
        404 => Disposition::Stop(Stop::NotFound(format!("404: {}", sentence(&error, status)))),
        405 | 410 | 415 => Disposition::Stop(Stop::NotFound(sentence(&error, status))),
        300..=399 => Disposition::Stop(Stop::NotFound(format!(
            "HTTP {status}, which leads elsewhere"
        ))),
        400 => bad_request(&error),
        413 => Disposition::Turn(LabelingError::new(
            ErrorCode::TooLong,
            "The request is larger than the service takes.",
        )),
        _ => Disposition::Turn(LabelingError::new(
            ErrorCode::Rejected,
            format!(
                "The service answered HTTP {status}: {}",
                sentence(&error, status)
            ),
        )),
    })
}

/// 400 is one status for four things: filter, length, parameters, and this request alone.
fn bad_request(error: &ServiceError) -> Disposition {
    let code = error.code();
    let message = error.message();
    let says = |text: &str| message.to_ascii_lowercase().contains(text);
    if code == "content_filter" {
        return Disposition::Turn(filtered(&error.filtered_categories()));
    }
    if code == "context_length_exceeded"
        || code == "string_above_max_length"
        || says("input tokens exceed")
        || says("maximum context length")
    {
        let text = "The message does not fit into the model's context.";
        return Disposition::Turn(LabelingError::new(ErrorCode::TooLong, text));
    }
    if says("could not finish the message because max_tokens") {
        return Disposition::NoRoom {
            message: sentence(error, 400),
        };
    }
    let about_a_parameter = matches!(
        code.as_str(),
        "unsupported_parameter" | "unsupported_value" | "unknown_parameter" | "invalid_value"
    ) || says("unsupported parameter")
        || says("unsupported value")
        || says("unrecognized request argument")
        || says("unknown parameter")
        || says("invalid value for '");
    // A parameter inside `messages` belongs to this request alone.
    let param = error.param.clone().or_else(|| named(message));
    let about_messages = param.as_deref().is_some_and(|p| p.starts_with("messages"));
    if about_a_parameter && !about_messages {
        return Disposition::Stop(Stop::Parameters {
            param,
            message: sentence(error, 400),
        });
    }
    Disposition::Turn(LabelingError::new(
        ErrorCode::Rejected,
        format!("The service answered HTTP 400: {}", sentence(error, 400)),
    ))
}

/// The turn's error for a refusal by the content filter.
pub fn filtered(categories: &[String]) -> LabelingError {
    let message = if categories.is_empty() {
        "The service's content filter refused it.".to_owned()
    } else {
        format!(
            "The service's content filter refused it: {}.",
            categories.join(", ")
        )
    };
    LabelingError::new(ErrorCode::ContentFiltered, message)
}

/// The parameter that a message is about: the first name in single quotes, as in `Unsupported
/// parameter: 'max_tokens' is not …`, or the one that `Unrecognized request argument supplied:
/// reasoning_effort` ends with.
fn named(message: &str) -> Option<String> {
    let name = match message.split_once("supplied: ") {
        Some((_, names)) => names.split([',', ' ']).next()?,
        None => message.split('\'').nth(1)?,
    };
    (!name.is_empty()).then(|| name.to_owned())
}

/// The service's message, on one line and of bounded length.
fn sentence(error: &ServiceError, status: u16) -> String {
    let message = error
        .message()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let message = message.trim_end_matches('.');
    if message.is_empty() {
        return format!("HTTP {status} without a message");
    }
    message.chars().take(300).collect()
}

/// How long the service asks to wait: `retry-after-ms`, then `retry-after` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number = text.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(number / unit).ok()
    };
    if let Some(wait) = text("retry-after-ms").and_then(|text| seconds(text, 1000.0)) {
        return Some(wait);
    }
    let value = text("retry-after")?;
    seconds(value, 1.0).or_else(|| {
        let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meaning(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Disposition {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let now = "2026-10-21T07:28:00Z".parse().unwrap();
        dispose(status, &headers, body.to_string().as_bytes(), now).unwrap_err()
    }

    fn error(param: Value, code: Value, message: &str) -> Value {
        json!({"error": {"type": "invalid_request_error", "param": param, "code": code,
                         "message": message}})
    }

    /// One row an answer of the documentation, and what it means.
    #[test]
    fn the_table() {
        let turn = |code: ErrorCode| move |d: &Disposition| matches!(d, Disposition::Turn(error) if error.code == code);
        let parameter = |name: &'static str| {
            move |d: &Disposition| {
                matches!(d, Disposition::Stop(Stop::Parameters { param: Some(param), .. })
                if param == name)
            }
        };
        let null = Value::Null;
        type Check = Box<dyn Fn(&Disposition) -> bool>;
        let rows: Vec<(u16, Value, Check)> = vec![
            (
                400,
                error(null.clone(), json!("content_filter"), "filtered"),
                Box::new(turn(ErrorCode::ContentFiltered)),
            ),
            (
                400,
                error(
                    json!("messages"),
                    json!("context_length_exceeded"),
                    "too long",
                ),
                Box::new(turn(ErrorCode::TooLong)),
            ),
            (
                400,
                error(
                    null.clone(),
                    null.clone(),
                    "Input tokens exceed the configured limit of 272000 tokens.",
                ),
                Box::new(turn(ErrorCode::TooLong)),
            ),
            (
                400,
                error(
                    json!("max_tokens"),
                    json!("unsupported_parameter"),
                    "Unsupported parameter: 'max_tokens' is not supported with this model.",
                ),
                Box::new(parameter("max_tokens")),
            ),
            (
                400,
                error(
                    null.clone(),
                    null.clone(),
                    "Unsupported parameter: 'logit_bias' is not supported with this model.",
                ),
                Box::new(parameter("logit_bias")),
            ),
            (
                400,
                error(
                    null.clone(),
                    null.clone(),
                    "Unrecognized request argument supplied: reasoning_effort",
                ),
                Box::new(parameter("reasoning_effort")),
            ),
            (
                400,
                error(
                    json!("temperature"),
                    json!("unsupported_value"),
                    "Unsupported value: 'temperature' does not support 0 with this model.",
                ),
                Box::new(parameter("temperature")),
            ),
            (
                400,
                error(
                    json!("top_logprobs"),
                    null.clone(),
                    "Invalid value for 'top_logprobs': must be less than or equal to 5.",
                ),
                Box::new(parameter("top_logprobs")),
            ),
            (
                400,
                error(
                    null.clone(),
                    null.clone(),
                    "Could not finish the message because max_tokens or model output limit was \
                 reached. Please try again with higher max_tokens.",
                ),
                Box::new(|d| matches!(d, Disposition::NoRoom { .. })),
            ),
            (
                400,
                error(
                    json!("messages[1].content"),
                    json!("invalid_value"),
                    "Invalid value.",
                ),
                Box::new(turn(ErrorCode::Rejected)),
            ),
            (400, json!({}), Box::new(turn(ErrorCode::Rejected))),
            (
                400,
                error(
                    null.clone(),
                    null.clone(),
                    "Invalid value for 'messages[1].content': no.",
                ),
                Box::new(turn(ErrorCode::Rejected)),
            ),
            (422, json!({}), Box::new(turn(ErrorCode::Rejected))),
            (413, json!({}), Box::new(turn(ErrorCode::TooLong))),
            (
                401,
                error(null.clone(), json!(401), "Access denied"),
                Box::new(|d| matches!(d, Disposition::Stop(Stop::Unauthorized(_)))),
            ),
            (
                403,
                error(
                    null.clone(),
                    null.clone(),
                    "You are not allowed to request logprobs from this model",
                ),
                Box::new(|d| matches!(d, Disposition::Stop(Stop::NoLogprobs(_)))),
            ),
            (
                403,
                error(null.clone(), null.clone(), "Principal lacks the role"),
                Box::new(|d| matches!(d, Disposition::Stop(Stop::Forbidden(_)))),
            ),
            (
                404,
                error(null.clone(), json!("DeploymentNotFound"), "no deployment"),
                Box::new(|d| matches!(d, Disposition::Stop(Stop::NotFound(_)))),
            ),
            (
                429,
                error(null.clone(), json!("insufficient_quota"), "no quota"),
                Box::new(|d| matches!(d, Disposition::Stop(Stop::NoQuota(_)))),
            ),
            (
                429,
                error(null.clone(), json!("429"), "token rate limit"),
                Box::new(|d| *d == Disposition::Throttled { after: None }),
            ),
        ];
        for (status, body, check) in &rows {
            let meaning = meaning(*status, &[], body);
            assert!(check(&meaning), "{status} {body}: {meaning:?}");
        }
        for status in [408, 409, 500, 502, 503, 504] {
            let meaning = meaning(status, &[], &json!("not even an object"));
            assert!(
                matches!(meaning, Disposition::Retry { after: None, .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn waiting_times_come_in_three_forms() {
        let throttled = |headers: &[(&'static str, &str)]| match meaning(429, headers, &json!({})) {
            Disposition::Throttled { after } => after,
            other => panic!("{other:?}"),
        };
        let seconds = |s| Some(Duration::from_secs_f64(s));
        assert_eq!(throttled(&[("retry-after", "7")]), seconds(7.0));
        assert_eq!(
            throttled(&[("retry-after", "60"), ("retry-after-ms", "250")]),
            seconds(0.25)
        );
        assert_eq!(
            throttled(&[("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")]),
            seconds(30.0)
        );
        assert_eq!(
            throttled(&[("retry-after", "Wed, 21 Oct 2026 07:00:00 GMT")]),
            seconds(0.0)
        );
        assert_eq!(throttled(&[("retry-after", "soon")]), None);
        assert_eq!(throttled(&[("retry-after", "-1")]), None);
    }

    #[test]
    fn a_day_of_waiting_means_no_quota() {
        let meaning = meaning(429, &[("retry-after", "86400")], &json!({}));
        assert!(
            matches!(meaning, Disposition::Stop(Stop::NoQuota(_))),
            "{meaning:?}"
        );
    }

    #[test]
    fn a_body_that_is_no_completion_is_tried_again_and_not_quoted() {
        let body = b"<html>secret</html>";
        let meaning = dispose(200, &HeaderMap::new(), body, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(
            matches!(&meaning, Disposition::Retry { reason, .. } if !reason.contains("secret"))
        );
    }
}
