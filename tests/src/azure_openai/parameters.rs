//! Which parameters which model takes.

use super::config::{NoLogprobs, Quirks};
use super::errors::ErrorAnswer;
use super::families::{Family, Form};
use super::request::ChatRequest;

/// Below this, the gpt-5 models at effort none do not get their digit out.
const SMALLEST_GPT5_ANSWER: u64 = 2;

const CLASSIC_TOP_LOGPROBS: u64 = 20;
const GPT5_TOP_LOGPROBS: u64 = 5;

/// What the rules make of an acceptable request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The model reasons before it answers, which costs completion tokens.
    pub(super) reasons: bool,
    /// Logprobs were asked for and are given.
    pub(super) logprobs: bool,
}

/// Applies the parameter rules, in the order in which the service is seen to complain.
pub(super) fn check(
    request: &ChatRequest<'_>,
    family: Family,
    form: Form,
    quirks: &Quirks,
) -> Result<Accepted, ErrorAnswer> {
    check_known(request, form)?;
    let reasons = match family {
        Family::Classic => {
            check_classic(request)?;
            false
        }
        Family::Reasoning => {
            check_reasoning(request, family)?;
            true
        }
        Family::Gpt5 => {
            let effort = request
                .reasoning_effort
                .as_deref()
                .unwrap_or(&quirks.default_effort);
            if effort == "none" {
                check_gpt5_at_none(request)?;
                false
            } else {
                check_reasoning(request, family)?;
                true
            }
        }
    };
    check_quirks(request, quirks)?;
    if family == Family::Gpt5
        && !reasons
        && request
            .max_completion_tokens
            .is_some_and(|max| max < SMALLEST_GPT5_ANSWER)
    {
        return Err(ErrorAnswer::could_not_finish());
    }
    Ok(Accepted {
        reasons,
        logprobs: request.logprobs && quirks.no_logprobs.is_none(),
    })
}

fn check_known(request: &ChatRequest<'_>, form: Form) -> Result<(), ErrorAnswer> {
    // The dated form predates the effort "none" and does not know the parameter's new value.
    let effort_none = request.reasoning_effort.as_deref() == Some("none");
    match (&request.unknown, form) {
        (_, Form::Dated) if effort_none => {
            let message = "Unrecognized request argument supplied: reasoning_effort".to_owned();
            return Err(ErrorAnswer::invalid(message, None, None));
        }
        (Some(unknown), Form::Dated) => {
            let message = format!("Unrecognized request argument supplied: {unknown}");
            return Err(ErrorAnswer::invalid(message, None, None));
        }
        (Some(unknown), Form::V1) => {
            let message = format!("Unknown parameter: '{unknown}'.");
            return Err(ErrorAnswer::invalid(
                message,
                Some(unknown),
                Some("unknown_parameter"),
            ));
        }
        (None, _) => {}
    }
    if request.messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, \
                       but got an empty array instead.";
        return Err(ErrorAnswer::invalid(
            message.to_owned(),
            Some("messages"),
            Some("empty_array"),
        ));
    }
    if request.stream || request.n.is_some_and(|n| n != 1) {
        let param = if request.stream { "stream" } else { "n" };
        let message = format!("'{param}' is not modelled by this double.");
        return Err(ErrorAnswer::invalid(
            message,
            Some(param),
            Some("unsupported_value"),
        ));
    }
    if request.top_logprobs.is_some() && !request.logprobs {
        let message =
            "Invalid value for 'top_logprobs': only allowed when 'logprobs' is true.".to_owned();
        return Err(ErrorAnswer::invalid(message, Some("top_logprobs"), None));
    }
    Ok(())
}

fn check_classic(request: &ChatRequest<'_>) -> Result<(), ErrorAnswer> {
    if request.reasoning_effort.is_some() {
        let message = "Unrecognized request argument supplied: reasoning_effort".to_owned();
        return Err(ErrorAnswer::invalid(message, None, None));
    }
    if request.max_tokens.is_some() && request.max_completion_tokens.is_some() {
        let message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not \
                       supported.";
        let code = Some("invalid_parameter_combination");
        return Err(ErrorAnswer::invalid(
            message.to_owned(),
            Some("max_tokens"),
            code,
        ));
    }
    check_length(request)?;
    check_temperature_range(request)?;
    check_top_logprobs(request, CLASSIC_TOP_LOGPROBS)
}

fn check_gpt5_at_none(request: &ChatRequest<'_>) -> Result<(), ErrorAnswer> {
    if request.max_tokens.is_some() {
        return Err(ErrorAnswer::unsupported_parameter(
            "max_tokens",
            Some("max_completion_tokens"),
        ));
    }
    check_length(request)?;
    if request.has_logit_bias {
        return Err(ErrorAnswer::unsupported_parameter("logit_bias", None));
    }
    check_temperature_range(request)?;
    check_top_logprobs(request, GPT5_TOP_LOGPROBS)
}

fn check_reasoning(request: &ChatRequest<'_>, family: Family) -> Result<(), ErrorAnswer> {
    if request.max_tokens.is_some() {
        return Err(ErrorAnswer::unsupported_parameter(
            "max_tokens",
            Some("max_completion_tokens"),
        ));
    }
    check_length(request)?;
    let effort = request.reasoning_effort.as_deref();
    if family == Family::Reasoning && effort == Some("none") {
        let message = "Unsupported value: 'reasoning_effort' does not support 'none' with this \
                       model. Supported values are: 'low', 'medium', and 'high'.";
        return Err(unsupported_value(message.to_owned(), "reasoning_effort"));
    }
    if let Some(effort) = effort
        && !["minimal", "low", "medium", "high", "xhigh"].contains(&effort)
    {
        let message = format!("Invalid value: '{effort}'.");
        let param = Some("reasoning_effort");
        return Err(ErrorAnswer::invalid(message, param, Some("invalid_value")));
    }
    for (param, value) in [
        ("temperature", request.temperature),
        ("top_p", request.top_p),
    ] {
        if let Some(value) = value
            && value != 1.0
        {
            let message = format!(
                "Unsupported value: '{param}' does not support {value} with this model. Only \
                     the default (1) value is supported."
            );
            return Err(unsupported_value(message, param));
        }
    }
    if request.logprobs {
        return Err(match family {
            Family::Reasoning => ErrorAnswer::logprobs_forbidden(),
            _ => ErrorAnswer::unsupported_parameter("logprobs", None),
        });
    }
    if request.has_logit_bias {
        return Err(ErrorAnswer::unsupported_parameter("logit_bias", None));
    }
    Ok(())
}

fn check_length(request: &ChatRequest<'_>) -> Result<(), ErrorAnswer> {
    let zero = [
        ("max_tokens", request.max_tokens),
        ("max_completion_tokens", request.max_completion_tokens),
    ];
    for (param, value) in zero {
        if value == Some(0) {
            let message = format!(
                "Invalid '{param}': integer below minimum value. Expected a value >= 1, but got 0 \
                 instead."
            );
            let code = Some("integer_below_min_value");
            return Err(ErrorAnswer::invalid(message, Some(param), code));
        }
    }
    Ok(())
}

fn check_temperature_range(request: &ChatRequest<'_>) -> Result<(), ErrorAnswer> {
    match request.temperature {
        Some(t) if !(0.0..=2.0).contains(&t) => {
            let message = format!("Invalid 'temperature': {t} is not between 0 and 2.");
            let code = Some("decimal_out_of_range");
            Err(ErrorAnswer::invalid(message, Some("temperature"), code))
        }
        _ => Ok(()),
    }
}

fn check_top_logprobs(request: &ChatRequest<'_>, ceiling: u64) -> Result<(), ErrorAnswer> {
    if request.top_logprobs.is_some_and(|top| top > ceiling) {
        let message =
            format!("Invalid value for 'top_logprobs': must be less than or equal to {ceiling}.");
        return Err(ErrorAnswer::invalid(message, Some("top_logprobs"), None));
    }
    Ok(())
}

fn check_quirks(request: &ChatRequest<'_>, quirks: &Quirks) -> Result<(), ErrorAnswer> {
    if request.logprobs && quirks.no_logprobs == Some(NoLogprobs::Forbid) {
        return Err(ErrorAnswer::logprobs_forbidden());
    }
    if quirks.top_logprobs_500 && request.top_logprobs.is_some_and(|top| top >= 2) {
        return Err(ErrorAnswer::fault(500, None));
    }
    Ok(())
}

fn unsupported_value(message: String, param: &str) -> ErrorAnswer {
    ErrorAnswer::invalid(message, Some(param), Some("unsupported_value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status, parameter and code that a model answers to extra parameters with.
    fn verdict(model: &str, form: Form, parameters: &str) -> (u16, String, String) {
        verdict_with(model, form, parameters, &Quirks::default())
    }

    fn verdict_with(model: &str, form: Form, rest: &str, quirks: &Quirks) -> (u16, String, String) {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{rest}}}"#);
        let request = ChatRequest::parse(body.as_bytes()).unwrap();
        let family = Family::of_model(model).unwrap();
        match check(&request, family, form, quirks) {
            Ok(_) => (200, String::new(), String::new()),
            Err(answer) => {
                let error = &answer.body["error"];
                assert_eq!(error["type"], "invalid_request_error");
                let text = |v: &serde_json::Value| v.as_str().unwrap_or("null").to_owned();
                (
                    answer.status.as_u16(),
                    text(&error["param"]),
                    text(&error["code"]),
                )
            }
        }
    }

    const NAIVE: &str = r#""max_tokens":1,"temperature":1.0,"logprobs":true,"top_logprobs":5,
        "logit_bias":{"15":5,"16":5}"#;
    const AT_NONE: &str = r#""max_completion_tokens":16,"reasoning_effort":"none","temperature":0.3,
        "logprobs":true,"top_logprobs":5"#;

    #[test]
    fn every_rule_of_the_table_holds() {
        let (v1, dated) = (Form::V1, Form::Dated);
        let unsupported = "unsupported_parameter";
        let cases = [
            ("gpt-4o", v1, NAIVE, 200, "", ""),
            ("gpt-4.1-mini", dated, NAIVE, 200, "", ""),
            ("gpt-4o", dated, AT_NONE, 400, "null", "null"),
            ("gpt-4o", v1, AT_NONE, 400, "null", "null"),
            ("gpt-5.2", v1, NAIVE, 400, "max_tokens", unsupported),
            (
                "gpt-5.2",
                v1,
                r#""max_completion_tokens":16,"logit_bias":{"15":5}"#,
                400,
                "logit_bias",
                unsupported,
            ),
            (
                "gpt-5.2",
                v1,
                r#""max_completion_tokens":16,"logprobs":true,"top_logprobs":6"#,
                400,
                "top_logprobs",
                "null",
            ),
            (
                "gpt-5.2",
                v1,
                r#""max_completion_tokens":1,"logprobs":true,"top_logprobs":5"#,
                400,
                "null",
                "null",
            ),
            ("gpt-5.2", v1, AT_NONE, 200, "", ""),
            ("gpt-5.1", v1, AT_NONE, 200, "", ""),
            ("gpt-5.2", dated, AT_NONE, 400, "null", "null"),
            (
                "gpt-5.2",
                v1,
                r#""reasoning_effort":"low","temperature":0"#,
                400,
                "temperature",
                "unsupported_value",
            ),
            (
                "gpt-5.2",
                v1,
                r#""reasoning_effort":"low","logprobs":true"#,
                400,
                "logprobs",
                unsupported,
            ),
            (
                "gpt-5",
                v1,
                AT_NONE,
                400,
                "reasoning_effort",
                "unsupported_value",
            ),
            (
                "gpt-5",
                v1,
                r#""max_completion_tokens":500,"logprobs":true"#,
                403,
                "null",
                "null",
            ),
            (
                "o3-mini",
                v1,
                r#""max_tokens":500"#,
                400,
                "max_tokens",
                unsupported,
            ),
            (
                "o3-mini",
                v1,
                r#""logit_bias":{"15":1}"#,
                400,
                "logit_bias",
                unsupported,
            ),
            (
                "o3-mini",
                dated,
                r#""max_completion_tokens":500,"reasoning_effort":"low""#,
                200,
                "",
                "",
            ),
            (
                "gpt-4o",
                v1,
                r#""max_tokens":1,"surprise":1"#,
                400,
                "surprise",
                "unknown_parameter",
            ),
            (
                "gpt-4o",
                dated,
                r#""max_tokens":1,"surprise":1"#,
                400,
                "null",
                "null",
            ),
        ];
        for (model, form, parameters, status, param, code) in cases {
            assert_eq!(
                verdict(model, form, parameters),
                (status, param.to_owned(), code.to_owned()),
                "{model} {form:?} {parameters}"
            );
        }
    }

    #[test]
    fn messages_are_the_documented_ones() {
        let message = |parameters: &str| {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{parameters}}}"#);
            let request = ChatRequest::parse(body.as_bytes()).unwrap();
            let answer = check(&request, Family::Gpt5, Form::V1, &Quirks::default()).unwrap_err();
            answer.body["error"]["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            message(r#""max_tokens":1"#),
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
             'max_completion_tokens' instead."
        );
        assert_eq!(
            message(r#""temperature":0,"reasoning_effort":"high""#),
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default \
             (1) value is supported."
        );
        assert_eq!(
            message(r#""logprobs":true,"top_logprobs":6"#),
            "Invalid value for 'top_logprobs': must be less than or equal to 5."
        );
        assert_eq!(
            message(r#""max_completion_tokens":1"#),
            "Could not finish the message because max_tokens or model output limit was reached. \
             Please try again with higher max_tokens."
        );
    }

    #[test]
    fn quirks_withhold_logprobs_or_fail_on_lists() {
        let quirks = Quirks {
            no_logprobs: Some(NoLogprobs::Forbid),
            ..Quirks::default()
        };
        assert_eq!(verdict_with("gpt-5.2", Form::V1, AT_NONE, &quirks).0, 403);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{AT_NONE}}}"#);
        let request = ChatRequest::parse(body.as_bytes()).unwrap();
        let quirks = Quirks {
            top_logprobs_500: true,
            ..Quirks::default()
        };
        let answer = check(&request, Family::Gpt5, Form::V1, &quirks).unwrap_err();
        assert_eq!(answer.status.as_u16(), 500);
        let quirks = Quirks {
            no_logprobs: Some(NoLogprobs::Omit),
            ..Quirks::default()
        };
        let accepted = check(&request, Family::Gpt5, Form::V1, &quirks).unwrap();
        assert!(!accepted.logprobs);
    }
}
