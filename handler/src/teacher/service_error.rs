//! What a service says went wrong, read from any form of body.
//!
//! Azure OpenAI, API Management, web application firewalls, proxies and other servers each dress their
//! errors differently, and hide them in answers that begin as successes.

use crate::json::{self, Json, first};

/// An error as the service describes it. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceError {
    /// `code`, whatever its type; empty where there is none.
    pub code: String,
    /// `type`; empty where there is none.
    pub kind: String,
    /// The status that the body names.
    pub status: Option<u16>,
    /// The parameter at fault.
    pub param: Option<String>,
    /// The sentence, as it was said: to be masked before it is shown.
    pub message: String,
    /// The content filter refused, for these categories as far as it names them.
    pub filtered: Option<Vec<String>>,
}

/// Where bodies put a sentence, the best place first.
const SENTENCES: [&str; 10] = [
    "message",
    "msg",
    "faultstring",
    "detail",
    "details",
    "errordescription",
    "description",
    "errors",
    "title",
    "reason",
];

/// How codes and types of the content filter begin, as [`folded`].
const FILTERS: [&str; 6] = [
    "contentfilter",
    "contentpolicy",
    "contentsafety",
    "contentmoderation",
    "responsibleai",
    "moderationblocked",
];

/// What sentences of content filters and usage policies say, in lower case.
const FILTER_WORDS: [&str; 13] = [
    "content management policy",
    "content filter",
    "content_filter",
    "content safety",
    "content policy",
    "responsible ai",
    "responsibleai",
    "usage policy",
    "usage policies",
    "safety system",
    "requires moderation",
    "input was flagged",
    "prompt was flagged",
];

impl ServiceError {
    /// Reads the body of an answer with the status `http`, which is not 2xx.
    pub fn read(http: u16, body: &[u8], parsed: Option<&Json<'_>>) -> Self {
        match parsed {
            Some(value @ (Json::Object(_) | Json::Array(_))) => Self::of(value, Some(http)),
            Some(Json::Str(text)) => {
                Self::within_text(text, Some(http)).unwrap_or_else(|| Self::saying(text))
            }
            Some(_) => Self::default(),
            None => Self::saying(&String::from_utf8_lossy(body)),
        }
    }

    /// The error in a text that is a body itself.
    fn within_text(text: &str, http: Option<u16>) -> Option<Self> {
        let text = text.trim();
        let is_object = text.starts_with('{') && text.ends_with('}');
        let body = is_object.then(|| json::parse::<Json<'_>>(text.as_bytes()).ok())??;
        let error = Self::of(&body, http);
        (error != Self::default()).then_some(error)
    }

    fn saying(text: &str) -> Self {
        Self {
            message: text.to_owned(),
            ..Self::default()
        }
    }

    /// The error that a parsed 2xx turns out to be, with the status that it names.
    pub fn within(answer: &Json<'_>) -> Option<(u16, Self)> {
        let choices = json::field(answer, "choices");
        let choice = choices.and_then(|choices| match choices {
            Json::Object(_) => Some(choices).filter(|choices| says_something(choices)),
            list => first(list),
        });
        let said = [Some(answer), choice]
            .into_iter()
            .flatten()
            .find(|holder| held(holder).is_some());
        let error = match said {
            Some(holder) => Self::of(holder, None),
            None if choice.is_none() => {
                let mut error = Self::of(answer, None);
                if error.filtered.is_none() && error.named_status().is_none() {
                    // Where nothing is left of an answer but what the filter says, it was the filter.
                    prompts(answer).next()?;
                    error.filtered = Some(Vec::new());
                }
                error
            }
            None => return None,
        };
        Some((error.status_named_or_guessed(), error))
    }

    /// `body` is what holds the error, or the error itself; `http` the answer's status, unless that is 2xx.
    fn of(body: &Json<'_>, http: Option<u16>) -> Self {
        let error = match held(body) {
            Some(Json::Array(errors)) => errors.first(),
            other => other,
        };
        let error = error.or_else(|| first(body)).unwrap_or(body);
        let places = [error, body];
        let field = |name: &str| places.iter().find_map(|place| written(get(place, name)?));
        let message = match error {
            Json::Str(text) => Some(text.to_string()),
            _ => places.iter().find_map(|place| sentence(place, 0)),
        };
        let message = message.or_else(|| sentence(get(error, "innererror")?, 0));
        let status = ["status", "statuscode", "httpstatus"];
        let mut said = Self {
            code: field("code").unwrap_or_default(),
            kind: field("type").unwrap_or_default(),
            status: status.iter().find_map(|name| field(name)?.parse().ok()),
            param: field("param").or_else(|| places.iter().find_map(|place| located(place))),
            message: message.unwrap_or_default(),
            filtered: None,
        };
        if let Some(inner) = Self::within_text(&said.message, http.or(said.named_status())) {
            let or = |inner: String, outer| if inner.is_empty() { outer } else { inner };
            said = Self {
                status: inner.status.or_else(|| said.named_status()),
                code: or(inner.code, said.code),
                kind: or(inner.kind, said.kind),
                param: inner.param.or(said.param),
                ..inner
            };
        }
        said.filtered = said
            .filtered
            .take()
            .or_else(|| said.filter(error, body, http));
        said
    }

    /// Whether the content filter refused, and for which categories.
    fn filter(&self, error: &Json<'_>, body: &Json<'_>, http: Option<u16>) -> Option<Vec<String>> {
        let inner = get(error, "innererror");
        let inner_code = inner.and_then(|inner| written(get(inner, "code")?));
        let codes = [Some(&self.code), Some(&self.kind), inner_code.as_ref()];
        let mut codes = codes.into_iter().flatten().map(|code| folded(code));
        let by_code = codes.any(|code| FILTERS.iter().any(|filter| code.starts_with(filter)));
        let filters = [error, body]
            .into_iter()
            .filter_map(|place| get(place, "contentfilters"));
        let filters = filters
            .filter_map(Json::as_array)
            .flatten()
            .collect::<Vec<_>>();
        let blocked = filters.iter().any(|filter| is_set(filter, "blocked"));
        let said = self.message.to_lowercase();
        let by_words = FILTER_WORDS.iter().any(|words| said.contains(words))
            // 5xx, 429 and 401 are about other things, whatever words they use.
            && [self.named_status(), http].into_iter().flatten()
                .all(|status| matches!(status, 400 | 403 | 406 | 422 | 451));
        let metadata = get(error, "metadata");
        let moderated =
            metadata.filter(|metadata| by_words || get(metadata, "flaggedinput").is_some());
        let mut categories = Vec::new();
        let places = [Some(error), inner, Some(body)].into_iter().flatten();
        let places = places.chain(prompts(body)).chain(filters);
        for category in places
            .flat_map(refused)
            .chain(moderated.into_iter().flat_map(reasons))
        {
            if !categories.contains(&category) {
                categories.push(category);
            }
        }
        (by_code || blocked || by_words || !categories.is_empty()).then_some(categories)
    }

    /// The status that the body names as a number.
    fn named_status(&self) -> Option<u16> {
        let code = self.code.parse().ok();
        let statuses = [code, self.status];
        statuses
            .into_iter()
            .flatten()
            .find(|status| (400..600).contains(status))
    }

    /// The status that an error in a 2xx stands for: the one it names, or the one its words fit.
    fn status_named_or_guessed(&self) -> u16 {
        if self.filtered.is_some() {
            return 400;
        }
        if let Some(status) = self.named_status() {
            return status;
        }
        const WORDS: [(u16, &[&str]); 8] = [
            (
                429,
                &[
                    "ratelimit",
                    "toomanyrequests",
                    "throttl",
                    "insufficientquota",
                    "quotaexceeded",
                ],
            ),
            (
                401,
                &[
                    "unauthorized",
                    "unauthenticated",
                    "invalidapikey",
                    "authentication",
                ],
            ),
            (403, &["forbidden", "permission"]),
            (404, &["notfound"]),
            (503, &["overloaded", "unavailable"]),
            (504, &["timeout", "timedout"]),
            (500, &["internal", "servererror"]),
            (
                400,
                &[
                    "contextlength",
                    "stringabovemaxlength",
                    "invalid",
                    "badrequest",
                    "unsupported",
                    "unknownparameter",
                ],
            ),
        ];
        let by = |text: String| {
            let mut rows = WORDS.iter();
            rows.find(|(_, words)| words.iter().any(|word| text.contains(word)))
        };
        let named = [&self.code, &self.kind, &self.message].map(|text| folded(text));
        // What is not understood may pass.
        named
            .into_iter()
            .find_map(by)
            .map_or(500, |(status, _)| *status)
    }
}

/// The error that `body` holds.
fn held<'a, 'b>(body: &'a Json<'b>) -> Option<&'a Json<'b>> {
    let mut fields = ["error", "fault"].into_iter();
    fields.find_map(|name| get(body, name).filter(|error| says_something(error)))
}

/// What the filter says of each prompt.
fn prompts<'a, 'b>(body: &'a Json<'b>) -> impl Iterator<Item = &'a Json<'b>> {
    let prompts = get(body, "promptfilterresults").or_else(|| get(body, "promptannotations"));
    prompts.and_then(Json::as_array).into_iter().flatten()
}

/// The categories that a `content_filter_result` or `content_filter_results` in `place` refused.
fn refused(place: &Json<'_>) -> Vec<String> {
    let results = get(place, "contentfilterresult").or_else(|| get(place, "contentfilterresults"));
    let results = results.and_then(Json::iter_object).into_iter().flatten();
    let results =
        results.filter(|(_, result)| is_set(result, "filtered") || is_set(result, "detected"));
    let categories = results.map(|(category, _)| category);
    categories.filter(is_word).map(str::to_owned).collect()
}

/// The categories in a moderator's `reasons`.
fn reasons(metadata: &Json<'_>) -> Vec<String> {
    let reasons = get(metadata, "reasons").and_then(Json::as_array);
    let reasons = reasons.into_iter().flatten().filter_map(Json::as_str);
    reasons.filter(is_word).map(str::to_owned).collect()
}

/// A category is a word, and not whatever a service likes to have published.
fn is_word(name: &&str) -> bool {
    name.len() <= 32
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

fn is_set(value: &Json<'_>, name: &str) -> bool {
    get(value, name) == Some(&Json::Bool(true))
}

/// The categories for which the filter cut a choice of a 2xx.
pub fn filtered_categories(choice: &Json<'_>) -> Vec<String> {
    refused(choice)
}

/// A field by its name without case and punctuation: `inner_error`, `innererror` and `innerError` are
/// one.
fn get<'a, 'b>(value: &'a Json<'b>, name: &str) -> Option<&'a Json<'b>> {
    let fields = value.as_object()?;
    let exact = fields.get(name);
    exact.or_else(|| {
        fields
            .iter()
            .find(|(key, _)| letters(key).eq(name.chars()))
            .map(|(_, value)| value)
    })
}

fn folded(text: &str) -> String {
    letters(text).collect()
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase())
}

/// The parameter that a check of the body's shape found at fault, as pydantic says it: the last word of
/// `loc`.
fn located(place: &Json<'_>) -> Option<String> {
    let details = get(place, "detail").unwrap_or(place);
    let first = first(details).unwrap_or(details);
    written(get(first, "loc")?.as_array()?.last()?)
}

/// Whether there is anything in `value`: some gateways put an error with empty fields beside every answer.
fn says_something(value: &Json<'_>) -> bool {
    match value {
        Json::Null | Json::Bool(_) => false,
        Json::Str(text) => !text.trim().is_empty(),
        Json::Array(values) => values.iter().any(says_something),
        Json::Object(fields) => fields.values().any(says_something),
        Json::Number(number) => number.as_f64() != Some(0.0),
    }
}

/// A string or a number as text.
fn written(value: &Json<'_>) -> Option<String> {
    match value {
        Json::Str(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The first sentence in `value`, at most a few levels down.
fn sentence(value: &Json<'_>, depth: u8) -> Option<String> {
    match value {
        Json::Str(text) if depth > 0 && !text.trim().is_empty() => Some(text.to_string()),
        Json::Array(values) if depth > 0 && depth < 4 => {
            values.iter().find_map(|value| sentence(value, depth + 1))
        }
        Json::Object(_) if depth < 4 => SENTENCES
            .iter()
            .find_map(|name| sentence(get(value, name)?, depth + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(body: Value) -> ServiceError {
        let json = Json::from(&body);
        ServiceError::read(400, body.to_string().as_bytes(), Some(&json))
    }

    #[test]
    fn the_sentence_is_found_wherever_it_stands() {
        for body in [
            json!({"error": {"message": "It broke"}}),
            json!({"error": "It broke"}),
            json!({"error": ["It broke"]}),
            json!({"error": [{"message": "It broke"}]}),
            json!({"error": {"detail": "It broke"}}),
            json!({"error": {}, "message": "It broke"}),
            json!({"error": null, "message": "It broke"}),
            json!({"error": true, "message": "It broke"}),
            json!({"statusCode": 403, "message": "It broke"}),
            json!({"Message": "It broke"}),
            json!({"detail": "It broke"}),
            json!({"detail": [{"loc": ["body"], "msg": "It broke", "type": "missing"}]}),
            json!({"detail": {"error": 1, "message": "It broke"}}),
            json!({"errors": ["It broke"]}),
            json!({"errors": [{"message": "It broke"}]}),
            json!({"error": "", "errors": [{"message": "It broke"}]}),
            json!({"type": "about:blank", "title": "It broke", "status": 400}),
            json!({"error_description": "It broke"}),
            json!([{"error": {"message": "It broke"}}]),
            json!("It broke"),
            json!({"fault": {"faultstring": "It broke", "detail": {"errorcode": "steps.odd"}}}),
            json!({"error": {"code": "odd", "innererror": {"message": "It broke"}}}),
            json!({"error": {"inner_error": {"message": "no"}}, "message": "It broke"}),
            json!({"error": {"message": "{\"error\": {\"message\": \"It broke\"}}"}}),
            json!({"error": " {\"message\": \"It broke\", \"code\": 17}\n"}),
            json!("{\"detail\": \"It broke\"}"),
        ] {
            let body = match body {
                Value::Array(mut list) => list.remove(0),
                body => body,
            };
            assert_eq!(read(body.clone()).message, "It broke", "{body}");
        }
        let text = ServiceError::read(400, b"It broke", None);
        assert_eq!(text.message, "It broke");
        for odd in ["{\"odd\": 1}", "{it} broke", "{it broke}"] {
            assert_eq!(read(json!({"message": odd})).message, odd);
        }
        assert_eq!(read(json!({})), ServiceError::default());
        assert_eq!(read(json!(17)), ServiceError::default());
    }

    #[test]
    fn a_code_may_be_a_string_a_number_or_null() {
        let code = |code: Value| read(json!({"error": {"code": code, "message": "x"}})).code;
        assert_eq!(code(json!("429")), "429");
        assert_eq!(code(json!(404)), "404");
        assert_eq!(code(json!(null)), "");
    }

    #[test]
    fn a_body_within_a_message_goes_before_what_is_around_it() {
        let inner = json!({"error": {"code": "odd", "param": "top_p", "message": "It broke"}});
        let outer =
            read(json!({"error": {"code": 429, "type": "x", "message": inner.to_string()}}));
        assert_eq!((&*outer.code, &*outer.kind), ("odd", "x"));
        assert_eq!(outer.param.as_deref(), Some("top_p"));
        assert_eq!(outer.status, Some(429));
    }

    #[test]
    fn content_filters_are_known_in_every_dress() {
        let policy = "The response was filtered due to the prompt triggering Azure OpenAI's content \
                      management policy.";
        let results = json!({"hate": {"filtered": false, "severity": "safe"},
            "violence": {"filtered": true, "severity": "high"},
            "jailbreak": {"filtered": false, "detected": true}});
        let inner = json!({"code": "ResponsibleAIPolicyViolation"});
        for (body, categories) in [
            (
                json!({"error": {"code": "content_filter", "message": "x"}}),
                0,
            ),
            (
                json!({"error": {"code": "ContentFilter", "message": "x"}}),
                0,
            ),
            (
                json!({"error": {"type": "content_filter", "message": "x"}}),
                0,
            ),
            (
                json!({"error": {"code": "content_policy_violation", "message": "x"}}),
                0,
            ),
            (json!({"error": {"code": "400", "message": policy}}), 0),
            (
                json!({"error": {"code": 400, "message": "x", "innererror": inner}}),
                0,
            ),
            (
                json!({"error": {"code": null, "message": "x", "inner_error": inner}}),
                0,
            ),
            (json!({"error": {"message": "x", "innerError": inner}}), 0),
            (
                json!({"error": {"innererror": {"content_filter_result": results}}}),
                2,
            ),
            (
                json!({"error": {"inner_error": {"content_filter_results": results}}}),
                2,
            ),
            (json!({"error": {"content_filter_results": results}}), 2),
            (
                json!({"error": {"message": "x"}, "content_filter_result": results}),
                2,
            ),
            (
                json!({"choices": [], "prompt_filter_results":
                    [{"prompt_index": 0, "content_filter_results": results}]}),
                2,
            ),
            (
                json!({"statusCode": 403, "message": "Request failed content safety check."}),
                0,
            ),
            (
                json!({"error": {"code": "invalid_prompt", "message": "Invalid prompt: your prompt was \
                    flagged as potentially violating our usage policy."}}),
                0,
            ),
            (
                json!({"error": {"code": "", "message": "x", "content_filters":
                    [{"blocked": true, "content_filter_results": results}]}}),
                2,
            ),
            (
                json!({"error": {"message": "x", "content_filters": [{"blocked": false}, {"blocked": true}]}}),
                0,
            ),
            (
                json!({"error": {"message": "x"}, "content_filters": [{"content_filter_results": results}]}),
                2,
            ),
            (
                json!({"error": {"code": 403, "message": "Input was flagged: requires moderation",
                    "metadata": {"reasons": ["violence", "and more"], "provider_name": "x"}}}),
                1,
            ),
            (
                json!({"error": {"code": 403, "message": "x", "metadata":
                    {"reasons": ["violence", "hate"], "flagged_input": "x"}}}),
                2,
            ),
            (
                json!({"error": {"message": json!({"error": {"code": "content_filter"}}).to_string()}}),
                0,
            ),
        ] {
            let filtered = read(body.clone()).filtered;
            assert_eq!(filtered.map(|all| all.len()), Some(categories), "{body}");
        }
        for body in [
            json!({"error": {"code": 500, "message": "the content filter is overloaded"}}),
            json!({"error": {"code": "429", "message": "content filter: too many requests"}}),
            json!({"error": {"content_filter_result": {"hate": {"filtered": false}}}}),
            json!({"error": {"code": "invalid_prompt", "message": "too short"}}),
            json!({"error": {"content_filters":
                [{"blocked": false, "content_filter_results": {"hate": {"filtered": false}}}]}}),
            json!({"error": {"code": 403, "message": "x", "metadata": {"reasons": ["billing"]}}}),
        ] {
            assert_eq!(read(body.clone()).filtered, None, "{body}");
        }
    }

    #[test]
    fn an_error_in_a_success_has_the_status_that_it_names() {
        for (answer, status) in [
            (json!({"error": {"code": 429, "message": "x"}}), Some(429)),
            (json!({"error": {"code": "429", "message": "x"}}), Some(429)),
            (json!({"error": {"code": "rate_limit_exceeded"}}), Some(429)),
            (
                json!({"error": {"code": null, "type": "RateLimitReached"}}),
                Some(429),
            ),
            (json!({"error": "Too many requests"}), Some(429)),
            (json!({"error": {"status": 503, "message": "x"}}), Some(503)),
            (json!({"statusCode": 429, "message": "x"}), Some(429)),
            (json!({"error": {"code": "server_error"}}), Some(500)),
            (json!({"error": {"code": "InternalServerError"}}), Some(500)),
            (json!({"error": {"code": "overloaded_error"}}), Some(503)),
            (
                json!({"error": {"code": "content_filter", "message": "x"}}),
                Some(400),
            ),
            (
                json!({"error": {"code": "context_length_exceeded"}}),
                Some(400),
            ),
            (json!({"error": {"code": "invalid_api_key"}}), Some(401)),
            (json!({"error": {"code": "DeploymentNotFound"}}), Some(404)),
            (
                json!({"error": {"message": "upstream had a bad day"}}),
                Some(500),
            ),
            (json!({"error": {"code": 200, "message": "x"}}), Some(500)),
            (
                json!({"error": "x", "choices": [{"message": {}}]}),
                Some(500),
            ),
            (
                json!({"choices": [{"error": {"code": 502, "message": "x"}}]}),
                Some(502),
            ),
            (json!({"choices": [{"message": {}}], "error": null}), None),
            (json!({"choices": [{"message": {}}], "error": {}}), None),
            (json!({"choices": [{"message": {}}], "error": 0}), None),
            (
                json!({"choices": [{"message": {}}], "error":
                    {"message": "", "type": "", "param": null, "code": 0, "details": []}}),
                None,
            ),
            (json!({"choices": [{"message": {}}], "status": 500}), None),
            (json!({"choices": []}), None),
            (json!({"choices": [], "prompt_filter_results": []}), None),
            (
                json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
                Some(400),
            ),
            (
                json!({"choices": {"0": {"index": 1}}, "prompt_filter_results": [{"prompt_index": 0}]}),
                None,
            ),
            (
                json!({"fault": {"faultstring": "Rate limit quota violation"}}),
                Some(429),
            ),
            (json!({}), None),
        ] {
            let named = ServiceError::within(&Json::from(&answer)).map(|(status, _)| status);
            assert_eq!(named, status, "{answer}");
        }
    }
}
