//! What an answer of the service means: one table for everything that can come back.

use super::bill::{self, Ending};
use super::body;
use super::service_error::ServiceError;
use super::stop::Stop;
use super::wire::{self, Answer};
use crate::dataset::figures::Tokens;
use crate::dataset::line::{ErrorCode, LabelingError};
use crate::json::{self, Json, field};
use crate::text::Mask;
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
        /// The HTTP status; `None` where no answer came.
        status: Option<u16>,
        /// What the service asks for.
        after: Option<Duration>,
    },
    /// Too much at once: everybody waits.
    Throttled {
        /// What happened, in a few words.
        reason: String,
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
    /// A refusal of this request, or of every request: others show which.
    Refused {
        /// Why the run ends, if it concerns every request.
        stop: Stop,
        /// This turn's error, if it does not.
        error: LabelingError,
    },
    /// Every call would fail alike.
    Stop(Stop),
}

/// An answer as it was read.
#[derive(Debug)]
pub struct Disposed {
    /// The useful ones as they are, all others as what to do.
    pub result: Result<Answer, Disposition>,
    /// The answer's `usage`, where it can be read.
    pub usage: Option<Tokens>,
    /// The HTTP status; for an error in a 2xx, the one that it names.
    pub status: u16,
}

/// Reads an answer. What the service says is shown behind `mask`; `now` is only for a `retry-after`
/// that is a date.
pub fn dispose(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    mask: Mask<'_>,
) -> Disposed {
    let body = &*body::unpacked(body);
    let parsed = json::parse::<Json<'_>>(body).ok();
    let success = (200..300).contains(&status);
    let named = parsed
        .as_ref()
        .filter(|_| success)
        .and_then(ServiceError::within);
    let says = Says {
        http: status,
        after: retry_after(headers, now),
        mask,
    };
    let (status, result) = match named {
        Some((named, error)) => (named, Err(says.error(named, &error))),
        None if success => (status, says.success(body, parsed.as_ref())),
        None => {
            let error = ServiceError::read(status, body, parsed.as_ref());
            (status, Err(says.error(status, &error)))
        }
    };
    let usage = parsed
        .as_ref()
        .and_then(|answer| bill::usage(field(answer, "usage")?));
    Disposed {
        result,
        usage,
        status,
    }
}

impl Disposed {
    /// How the request ended, with the tokens that its usage says.
    pub(super) fn ending(&self, usage: Option<Tokens>) -> Ending {
        let evaluated = match &self.result {
            Ok(_) => true,
            Err(Disposition::Turn(error)) => {
                matches!(error.code, ErrorCode::ContentFiltered | ErrorCode::TooLong)
            }
            // A 2xx that cannot be parsed may have been a completion.
            Err(Disposition::NoRoom { .. } | Disposition::Retry { .. }) => true,
            Err(_) => false,
        };
        Ending::Answered {
            status: self.status,
            usage,
            evaluated,
        }
    }
}

/// What an answer says outside its body.
struct Says<'a> {
    /// The status of the answer, which an error in a 2xx does not share.
    http: u16,
    after: Option<Duration>,
    mask: Mask<'a>,
}

impl Says<'_> {
    /// A 2xx without an error in it.
    fn success(&self, body: &[u8], parsed: Option<&Json<'_>>) -> Result<Answer, Disposition> {
        let Some(answer) = parsed else {
            let kind = body::kind(body);
            return Err(self.fault(format!("the answer is not a chat completion: {kind}")));
        };
        let answer = Answer::read(answer).ok_or_else(|| {
            self.fault("the answer is not a chat completion: it has no choices".into())
        })?;
        match answer.choice.finish_reason.as_deref() {
            Some("content_filter") => Err(Disposition::Turn(filtered(&answer.choice.filtered))),
            _ => Ok(answer),
        }
    }

    fn fault(&self, reason: String) -> Disposition {
        Disposition::Retry {
            reason,
            status: Some(self.http),
            after: self.after,
        }
    }

    fn throttled(&self, status: u16, error: &ServiceError) -> Disposition {
        Disposition::Throttled {
            // A 429 says nothing that its status does not.
            reason: match self.http {
                429 => "HTTP 429".into(),
                _ => self.reason(status, error),
            },
            after: self.after,
        }
    }

    /// An error with this status.
    fn error(&self, status: u16, error: &ServiceError) -> Disposition {
        let sentence = self.sentence(error, status);
        let refused = |stop: Stop| self.refused(stop, status, &sentence);
        let said = error.message.to_lowercase();
        // 401 and 429 are about other things, whatever else they say.
        let by_filter = error.filtered.as_deref();
        if let Some(categories) = by_filter.filter(|_| !matches!(status, 401 | 429)) {
            return Disposition::Turn(filtered(categories));
        }
        match status {
            408 | 409 | 424 | 425 | 499 | 500 | 502..=504 | 506..=599 => {
                self.fault(self.reason(status, error))
            }
            429 if error.code == "insufficient_quota" || self.after >= Some(NO_QUOTA) => {
                refused(Stop::NoQuota(sentence.clone()))
            }
            429 => self.throttled(status, error),
            // API Management's quotas: a rate limit would be a 429.
            403 if self.after.is_some() && speaks_of_quota(&said) => {
                match self.after >= Some(NO_QUOTA) {
                    true => refused(Stop::NoQuota(sentence.clone())),
                    false => self.throttled(status, error),
                }
            }
            401 => Disposition::Stop(Stop::Unauthorized(sentence)),
            403 if said.contains("logprobs") => refused(Stop::NoLogprobs(sentence.clone())),
            403 => refused(Stop::Forbidden(sentence.clone())),
            404 => refused(Stop::NotFound(with_status(status, &sentence))),
            405 | 410 | 415 => refused(Stop::NotFound(sentence.clone())),
            300..=399 => refused(Stop::NotFound(format!(
                "HTTP {status}, which leads elsewhere"
            ))),
            400 | 422 => self.bad_request(status, error, &sentence),
            413 => Disposition::Turn(LabelingError::new(
                ErrorCode::TooLong,
                "The request is larger than the service takes.",
            )),
            _ => refused(Stop::Refused(with_status(status, &sentence))),
        }
    }

    /// 400 means one of three things: the length, the parameters, or only this request.
    fn bad_request(&self, status: u16, error: &ServiceError, sentence: &str) -> Disposition {
        let code = error.code.as_str();
        let said = error.message.to_lowercase();
        let says = |text: &str| said.contains(text);
        if matches!(
            code,
            "context_length_exceeded" | "string_above_max_length" | "context_window_exceeded"
        ) || says("input tokens exceed")
            || says("maximum context length")
            || (says("context length") || says("context window")) && says("exceed")
        {
            let text = format!("The message does not fit into the model's context: {sentence}.");
            return Disposition::Turn(LabelingError::new(ErrorCode::TooLong, text));
        }
        if says("could not finish the message because max_tokens") {
            return Disposition::NoRoom {
                message: sentence.to_owned(),
            };
        }
        if wire::is_about_the_system_role(&error.message) {
            let stop = Stop::Parameters {
                param: Some(wire::SYSTEM_ROLE.to_owned()),
                message: sentence.to_owned(),
            };
            return self.refused(stop, status, sentence);
        }
        let about_a_parameter = matches!(
            code,
            "unsupported_parameter" | "unsupported_value" | "unknown_parameter" | "invalid_value"
        ) || says("unsupported parameter")
            || says("unsupported value")
            || says("unrecognized request argument")
            || says("unknown parameter")
            || says("invalid value for '");
        // A parameter inside `messages` concerns only this request.
        let param = error.param.clone();
        let param = param.or_else(|| named(&error.message));
        let ours = wire::parameter_in(param.as_deref().unwrap_or_default());
        let ours = ours.or_else(|| wire::parameter_in(&error.message));
        // Other servers name it in sentences of their own.
        let (about_a_parameter, param) = match ours {
            Some(ours) if !about_a_parameter => (true, Some(ours.to_owned())),
            _ => (about_a_parameter, param),
        };
        let about_messages = param.as_deref().is_some_and(|p| p.starts_with("messages"));
        if about_a_parameter && about_messages {
            return Disposition::Turn(rejected(self.http, sentence));
        }
        let stop = match about_a_parameter {
            true => Stop::Parameters {
                param,
                message: sentence.to_owned(),
            },
            false => Stop::Refused(with_status(status, sentence)),
        };
        self.refused(stop, status, sentence)
    }

    fn refused(&self, stop: Stop, status: u16, sentence: &str) -> Disposition {
        Disposition::Refused {
            stop,
            error: rejected(status, sentence),
        }
    }

    /// The service's sentence, or that it says nothing.
    fn sentence(&self, error: &ServiceError, status: u16) -> String {
        let shown = self.mask.sentence(&error.message);
        if !shown.is_empty() {
            return shown;
        }
        match self.mask.sentence(&error.code) {
            code if code.is_empty() || code == status.to_string() => {
                format!("HTTP {status} without a message")
            }
            code => format!("HTTP {status}, {code}"),
        }
    }

    /// What happened, in a few words: the status, and what is said beyond it.
    fn reason(&self, status: u16, error: &ServiceError) -> String {
        let name = match self.http == status {
            true => format!("HTTP {status}"),
            false => format!("HTTP {} with error {status}", self.http),
        };
        let sentence = self.mask.sentence(&error.message);
        // The service's own sentences for 5xx say nothing that the status does not.
        let stock = [
            "The server had an error",
            "The server is currently overloaded",
        ];
        match sentence.is_empty() || stock.iter().any(|stock| sentence.starts_with(stock)) {
            true => name,
            false => format!("{name}: {sentence}"),
        }
    }
}

/// Whether a 403 that asks to wait is about a quota: API Management answers so where one is used up.
fn speaks_of_quota(said: &str) -> bool {
    let words = ["quota", "rate limit", "token limit", "replenished"];
    said.is_empty() || words.iter().any(|word| said.contains(word))
}

fn rejected(status: u16, sentence: &str) -> LabelingError {
    let message = format!("The service answered {}", with_status(status, sentence));
    LabelingError::new(ErrorCode::Rejected, message)
}

/// The sentence behind its status, unless it begins with that.
fn with_status(status: u16, sentence: &str) -> String {
    let status = format!("HTTP {status}");
    match sentence.starts_with(&status) {
        true => sentence.to_owned(),
        false => format!("{status}: {sentence}"),
    }
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
    use crate::teacher::bill::Bill;
    use serde_json::{Value, json};

    fn meaning(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Disposition {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let now = "2026-10-21T07:28:00Z".parse().unwrap();
        let body = match body {
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let disposed = dispose(status, &headers, body.as_bytes(), now, Mask::default());
        disposed.result.unwrap_err()
    }

    fn error(param: Value, code: Value, message: &str) -> Value {
        json!({"error": {"type": "invalid_request_error", "param": param, "code": code,
                         "message": message}})
    }

    /// What an answer means, in a word.
    fn word(disposition: &Disposition) -> String {
        match disposition {
            Disposition::Retry { .. } => "retry".into(),
            Disposition::Throttled { .. } => "throttled".into(),
            Disposition::NoRoom { .. } => "no room".into(),
            Disposition::Turn(error) => error.code.to_string(),
            Disposition::Stop(stop) => format!("stop: {}", name(stop)),
            Disposition::Refused { stop, error } => {
                assert_eq!(error.code, ErrorCode::Rejected);
                format!("refused: {}", name(stop))
            }
        }
    }

    fn name(stop: &Stop) -> String {
        match stop {
            Stop::Parameters { param, .. } => param.clone().unwrap_or_default(),
            other => {
                let name = format!("{other:?}");
                name.split('(').next().unwrap_or_default().to_owned()
            }
        }
    }

    /// One row an answer, of the documentation or reported, and what it means.
    #[test]
    fn the_table() {
        let null = || Value::Null;
        let plain = |code: Value, message: &str| error(null(), code, message);
        let rows = [
            (
                400,
                plain(json!("content_filter"), "filtered"),
                "content_filtered",
            ),
            (
                400,
                plain(json!("400"), "Azure OpenAI's content management policy."),
                "content_filtered",
            ),
            (
                403,
                json!({"statusCode": 403, "message": "Request failed content safety check."}),
                "content_filtered",
            ),
            (
                400,
                plain(
                    json!("invalid_prompt"),
                    "Your prompt was flagged as potentially violating our usage policy.",
                ),
                "content_filtered",
            ),
            (
                500,
                plain(json!("content_filter"), "Internal error"),
                "content_filtered",
            ),
            (
                503,
                json!({"error": {"code": "x", "content_filter_result": {"hate": {"filtered": true}}}}),
                "content_filtered",
            ),
            (500, plain(null(), "the content filter failed"), "retry"),
            (
                500,
                plain(json!("400"), "Azure OpenAI's content management policy."),
                "retry",
            ),
            (
                404,
                plain(null(), "the content filter 'strict' does not exist"),
                "refused: NotFound",
            ),
            (
                403,
                json!({"error": {"code": 403, "message": "Input was flagged: requires moderation",
                    "metadata": {"reasons": ["violence"]}}}),
                "content_filtered",
            ),
            (
                400,
                error(json!("messages"), json!("context_length_exceeded"), "long"),
                "too_long",
            ),
            (
                400,
                plain(
                    null(),
                    "Input tokens exceed the configured limit of 272000 tokens.",
                ),
                "too_long",
            ),
            (
                400,
                json!({"error": "this model's context length is exceeded"}),
                "too_long",
            ),
            (
                400,
                error(
                    json!("max_tokens"),
                    json!("unsupported_parameter"),
                    "Unsupported parameter: 'max_tokens' is not supported with this model.",
                ),
                "refused: max_tokens",
            ),
            (
                400,
                json!({"object": "error", "message": "System role not supported", "type": "BadRequestError",
                       "param": null, "code": 400}),
                "refused: system role",
            ),
            (
                400,
                plain(
                    null(),
                    "Conversation roles must alternate user/assistant/user/assistant/...",
                ),
                "refused: system role",
            ),
            (
                400,
                error(
                    json!("messages[0].role"),
                    json!("unsupported_value"),
                    "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                ),
                "refused: system role",
            ),
            (
                400,
                plain(
                    null(),
                    "Unsupported parameter: 'logit_bias' is not supported with this model.",
                ),
                "refused: logit_bias",
            ),
            (
                400,
                plain(
                    null(),
                    "Unrecognized request argument supplied: reasoning_effort",
                ),
                "refused: reasoning_effort",
            ),
            (
                400,
                error(
                    json!("temperature"),
                    json!("unsupported_value"),
                    "Unsupported value: 'temperature' does not support 0 with this model.",
                ),
                "refused: temperature",
            ),
            (
                400,
                error(
                    json!("top_logprobs"),
                    null(),
                    "Invalid value for 'top_logprobs': must be less than or equal to 5.",
                ),
                "refused: top_logprobs",
            ),
            (
                400,
                plain(
                    null(),
                    "Could not finish the message because max_tokens or model output limit was reached. \
                     Please try again with higher max_tokens.",
                ),
                "no room",
            ),
            (
                400,
                error(
                    json!("messages[1].content"),
                    json!("invalid_value"),
                    "Invalid value.",
                ),
                "rejected",
            ),
            (
                400,
                plain(null(), "Invalid value for 'messages[1].content': no."),
                "rejected",
            ),
            (400, json!({}), "refused: Refused"),
            (402, json!({}), "refused: Refused"),
            (418, json!({}), "refused: Refused"),
            (422, json!({}), "refused: Refused"),
            (501, json!({}), "refused: Refused"),
            (505, json!({}), "refused: Refused"),
            (413, json!({}), "too_long"),
            (
                401,
                plain(json!(401), "Access denied"),
                "stop: Unauthorized",
            ),
            (
                403,
                plain(
                    null(),
                    "You are not allowed to request logprobs from this model",
                ),
                "refused: NoLogprobs",
            ),
            (
                403,
                plain(null(), "Principal lacks the role"),
                "refused: Forbidden",
            ),
            (
                403,
                json!("<html><body>403 Forbidden</body></html>"),
                "refused: Forbidden",
            ),
            (
                404,
                plain(json!("DeploymentNotFound"), "no deployment"),
                "refused: NotFound",
            ),
            (302, json!("<html>moved</html>"), "refused: NotFound"),
            (
                429,
                plain(json!("insufficient_quota"), "no quota"),
                "refused: NoQuota",
            ),
            (429, plain(json!("429"), "token rate limit"), "throttled"),
            (
                200,
                json!({"error": {"code": 429, "message": "slow down"}}),
                "throttled",
            ),
            (
                200,
                json!({"error": {"code": "502", "message": "x"}}),
                "retry",
            ),
            (
                200,
                json!({"error": {"code": "content_filter", "message": "x"}}),
                "content_filtered",
            ),
            (
                200,
                json!({"error": {"code": 401, "message": "x"}}),
                "stop: Unauthorized",
            ),
            (
                200,
                json!({"error": {"code": 403, "message": "x"}}),
                "refused: Forbidden",
            ),
            (200, json!({"error": "something odd"}), "retry"),
            (200, json!({}), "retry"),
            (200, json!({"choices": []}), "retry"),
            (200, json!("<html>just a moment</html>"), "retry"),
            (
                200,
                json!({"choices": [], "prompt_filter_results":
                    [{"content_filter_results": {"hate": {"filtered": true}}}]}),
                "content_filtered",
            ),
            (
                200,
                json!({"choices": [], "prompt_filter_results":
                    [{"content_filter_results": {"hate": {"filtered": false, "severity": "safe"}}}]}),
                "content_filtered",
            ),
            (
                200,
                json!({"choices": [], "prompt_filter_results": []}),
                "retry",
            ),
            (
                200,
                json!({"choices": [{"finish_reason": "content_filter", "message": {}}]}),
                "content_filtered",
            ),
        ];
        for (status, body, means) in rows {
            assert_eq!(word(&meaning(status, &[], &body)), means, "{status} {body}");
        }
        for status in [
            408, 409, 424, 425, 499, 500, 502, 503, 504, 507, 520, 529, 599,
        ] {
            let meaning = meaning(status, &[], &json!("not even an object"));
            assert!(
                matches!(meaning, Disposition::Retry { after: None, status: Some(named), .. } if named == status),
                "{status}: {meaning:?}"
            );
        }
    }

    #[test]
    fn a_quota_that_is_used_up_waits_whatever_its_status() {
        let spent = json!({"statusCode": 403,
            "message": "Out of call volume quota. Quota will be replenished in 00:00:07."});
        let wait = [("retry-after", "7")];
        for body in [&spent, &json!("")] {
            let Disposition::Throttled { reason, after } = meaning(403, &wait, body) else {
                panic!("{body}");
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
            assert!(reason.starts_with("HTTP 403"), "{reason}");
        }
        assert_eq!(word(&meaning(403, &[], &spent)), "refused: Forbidden");
        assert_eq!(
            word(&meaning(403, &wait, &json!("blocked"))),
            "refused: Forbidden"
        );
        let month = [("retry-after", "2000000")];
        assert_eq!(word(&meaning(403, &month, &spent)), "refused: NoQuota");
    }

    #[test]
    fn the_sentence_is_shown_in_one_line() {
        for (status, body, shown) in [
            (
                400,
                json!({"error": "It\nbroke."}),
                "The service answered HTTP 400: It broke",
            ),
            (
                403,
                json!("<html><h1>403  Forbidden</h1></html>"),
                "The service answered HTTP 403: 403 Forbidden",
            ),
            (
                422,
                json!({"detail": [{"msg": "It broke"}]}),
                "The service answered HTTP 422: It broke",
            ),
            (
                400,
                json!({}),
                "The service answered HTTP 400 without a message",
            ),
            (
                400,
                json!({"error": {"code": "Odd"}}),
                "The service answered HTTP 400, Odd",
            ),
            (
                404,
                json!("HTTP 404 Not Found"),
                "The service answered HTTP 404 Not Found",
            ),
            (
                400,
                json!("<?xml version=\"1.0\"?><Error><Message>It broke</Message></Error>"),
                "The service answered HTTP 400: It broke",
            ),
        ] {
            let Disposition::Refused { stop, error } = meaning(status, &[], &body) else {
                panic!("{body}");
            };
            assert_eq!(error.message, shown);
            let (stop, twice) = (stop.to_string(), format!("{status}: HTTP"));
            assert!(!stop.contains(&twice), "{stop}");
        }
        let reason = |status, body: Value| match meaning(status, &[], &body) {
            Disposition::Retry { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason(
                500,
                json!({"error": {"message": "The server had an error"}})
            ),
            "HTTP 500"
        );
        assert_eq!(reason(502, json!("")), "HTTP 502");
        assert_eq!(
            reason(502, json!("<html>Bad gateway</html>")),
            "HTTP 502: Bad gateway"
        );
        let error = json!({"error": {"code": 503, "message": "upstream is away"}});
        assert_eq!(
            reason(200, error),
            "HTTP 200 with error 503: upstream is away"
        );
    }

    #[test]
    fn what_a_request_may_have_cost_goes_by_what_its_answer_means() {
        let ending = |status, body: Value| {
            let body = body.to_string();
            let headers = HeaderMap::new();
            let now = Timestamp::UNIX_EPOCH;
            let disposed = dispose(status, &headers, body.as_bytes(), now, Mask::default());
            Bill::of(disposed.ending(None))
        };
        for (status, body, bill) in [
            (200, json!({"choices": [{}]}), Bill::Unread),
            (
                200,
                json!({"choices": [{"finish_reason": "content_filter"}]}),
                Bill::Unread,
            ),
            (200, json!({"error": {"code": 429}}), Bill::Nothing),
            (200, json!({"error": {"code": 503}}), Bill::Unread),
            (
                200,
                json!({"error": {"code": "content_filter"}}),
                Bill::Unread,
            ),
            (
                400,
                error(Value::Null, json!("content_filter"), ""),
                Bill::Unread,
            ),
            (
                400,
                error(Value::Null, json!("context_length_exceeded"), ""),
                Bill::Unread,
            ),
            (
                400,
                error(Value::Null, json!("unsupported_parameter"), ""),
                Bill::Nothing,
            ),
            (403, json!({"message": "content safety"}), Bill::Nothing),
            (504, json!({}), Bill::Unread),
        ] {
            assert_eq!(ending(status, body.clone()), bill, "{status} {body}");
        }
    }

    #[test]
    fn waiting_times_come_in_three_forms() {
        let throttled = |headers: &[(&'static str, &str)]| match meaning(429, headers, &json!({})) {
            Disposition::Throttled { after, .. } => after,
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
            matches!(
                meaning,
                Disposition::Refused {
                    stop: Stop::NoQuota(_),
                    ..
                }
            ),
            "{meaning:?}"
        );
    }

    #[test]
    fn a_body_that_is_no_completion_is_tried_again_and_not_quoted() {
        let body = b"<html>secret</html>";
        let (headers, now) = (HeaderMap::new(), Timestamp::UNIX_EPOCH);
        let disposed = dispose(200, &headers, body, now, Mask::default());
        let meaning = disposed.result.unwrap_err();
        assert!(
            matches!(&meaning, Disposition::Retry { reason, .. } if !reason.contains("secret"))
        );
    }
}
