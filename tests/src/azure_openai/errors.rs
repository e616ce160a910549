//! Error answers, in the shapes and wordings of the service.

use axum::body::Bytes;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// A status and its JSON body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ErrorAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl ErrorAnswer {
    fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body }
    }

    pub(super) fn bytes(&self) -> Bytes {
        Bytes::from(self.body.to_string())
    }

    /// 400 about one parameter.
    pub(super) fn invalid(message: String, param: Option<&str>, code: Option<&str>) -> Self {
        let error = json!({
            "message": message, "type": "invalid_request_error", "param": param, "code": code,
        });
        Self::new(StatusCode::BAD_REQUEST, json!({ "error": error }))
    }

    pub(super) fn unsupported_parameter(param: &str, instead: Option<&str>) -> Self {
        let hint = instead
            .map(|i| format!(" Use '{i}' instead."))
            .unwrap_or_default();
        let message =
            format!("Unsupported parameter: '{param}' is not supported with this model.{hint}");
        Self::invalid(message, Some(param), Some("unsupported_parameter"))
    }

    /// The model has no logprobs to give.
    pub(super) fn logprobs_forbidden() -> Self {
        let error = json!({
            "message": "You are not allowed to request logprobs from this model",
            "type": "invalid_request_error", "param": null, "code": null,
        });
        Self::new(StatusCode::FORBIDDEN, json!({ "error": error }))
    }

    pub(super) fn could_not_finish() -> Self {
        let message = "Could not finish the message because max_tokens or model output limit was \
                       reached. Please try again with higher max_tokens.";
        Self::invalid(message.to_owned(), None, None)
    }

    pub(super) fn unreadable_body(reason: &serde_json::Error) -> Self {
        let message = format!("We could not parse the JSON body of your request: {reason}");
        Self::invalid(message, None, None)
    }

    /// A request of the v1 form that names no deployment.
    pub(super) fn no_model() -> Self {
        Self::invalid("you must provide a model parameter".to_owned(), None, None)
    }

    /// `api-key` missing or wrong.
    pub(super) fn wrong_key() -> Self {
        let message = "Access denied due to invalid subscription key or wrong API endpoint. Make \
                       sure to provide a valid key for an active subscription and use a correct \
                       regional API endpoint for your resource.";
        let body = json!({ "error": { "code": "401", "message": message } });
        Self::new(StatusCode::UNAUTHORIZED, body)
    }

    /// A bearer token that is wrong or expired. This body has no `error` object.
    pub(super) fn wrong_token() -> Self {
        let message = "Unauthorized. Access token is missing, invalid, audience is incorrect \
                       (https://cognitiveservices.azure.com), or have expired.";
        Self::new(
            StatusCode::UNAUTHORIZED,
            json!({ "statusCode": 401, "message": message }),
        )
    }

    /// A good token whose principal lacks the role.
    pub(super) fn role_missing(status: u16) -> Self {
        let message = "The principal `00000000-0000-0000-0000-000000000000` lacks the required \
                       data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/\
                       completions/action` to perform `POST /openai/deployments/{deployment-id}/\
                       chat/completions` operation.";
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        let body = json!({ "error": { "code": "PermissionDenied", "message": message } });
        Self::new(status, body)
    }

    pub(super) fn deployment_not_found() -> Self {
        let message = "The API deployment for this resource does not exist. If you created the \
                       deployment within the last 5 minutes, please wait a moment and try again.";
        let body = json!({ "error": { "code": "DeploymentNotFound", "message": message } });
        Self::new(StatusCode::NOT_FOUND, body)
    }

    pub(super) fn resource_not_found() -> Self {
        let body = json!({ "error": { "code": "404", "message": "Resource not found" } });
        Self::new(StatusCode::NOT_FOUND, body)
    }

    pub(super) fn context_overflow(limit: u64, tokens: u64, classic: bool) -> Self {
        let message = if classic {
            format!(
                "This model's maximum context length is {limit} tokens. However, your messages \
                 resulted in {tokens} tokens. Please reduce the length of the messages."
            )
        } else {
            format!(
                "Input tokens exceed the configured limit of {limit} tokens. Your messages \
                 resulted in {tokens} tokens. Please reduce the length of the messages."
            )
        };
        Self::invalid(message, Some("messages"), Some("context_length_exceeded"))
    }

    /// The prompt met the content filter.
    pub(super) fn prompt_filtered(category: &str, alternative_spelling: bool) -> Self {
        let message = "The response was filtered due to the prompt triggering Azure OpenAI's \
                       content management policy. Please modify your prompt and retry. To learn \
                       more about our content filtering policies please read our documentation: \
                       https://go.microsoft.com/fwlink/?linkid=2198766";
        let (inner, result) = if alternative_spelling {
            ("inner_error", "content_filter_results")
        } else {
            ("innererror", "content_filter_result")
        };
        let mut verdict = json!({
            "hate": { "filtered": false, "severity": "safe" },
            "jailbreak": { "filtered": false, "detected": false },
            "self_harm": { "filtered": false, "severity": "safe" },
            "sexual": { "filtered": false, "severity": "safe" },
            "violence": { "filtered": false, "severity": "safe" },
        });
        verdict[category] = match category {
            "jailbreak" => json!({ "filtered": true, "detected": true }),
            _ => json!({ "filtered": true, "severity": "medium" }),
        };
        let body = json!({ "error": {
            "message": message, "type": null, "param": "prompt", "code": "content_filter",
            "status": 400,
            inner: { "code": "ResponsibleAIPolicyViolation", result: verdict },
        }});
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    /// 429. `calls` is set when requests, not tokens, ran out.
    pub(super) fn throttled(api_version: &str, calls: bool, retry_after_s: u64) -> Self {
        let what = if calls { "call" } else { "token" };
        let message = format!(
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version \
             {api_version} have exceeded {what} rate limit of your current OpenAI S0 pricing tier. \
             Please retry after {retry_after_s} seconds. Please go here: \
             https://aka.ms/oai/quotaincrease if you would like to further increase the default \
             rate limit."
        );
        let body = json!({ "error": { "code": "429", "message": message } });
        Self::new(StatusCode::TOO_MANY_REQUESTS, body)
    }

    /// An answer for an injected status.
    pub(super) fn fault(status: u16, code: Option<&str>) -> Self {
        let status_code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = match status {
            408 => json!({ "code": "Timeout", "message": "The operation was timeout." }),
            409 => json!({ "code": "Conflict", "message": "The request conflicted with another." }),
            500 => json!({
                "message": "The server had an error processing your request. Sorry about that! You \
                            can retry your request, or contact us through an Azure support request \
                            if you keep seeing this error.",
                "type": "server_error", "param": null, "code": null,
            }),
            503 => json!({
                "message": "The server is currently overloaded with other requests. Sorry about \
                            that! You can retry your request.",
                "type": "server_error", "param": null, "code": "503",
            }),
            // Gateways answer with a number where the service has a string.
            502 | 504 => json!({ "code": status, "message": "The gateway got no answer in time." }),
            _ => json!({ "code": status.to_string(), "message": "Injected by the double." }),
        };
        let mut body = json!({ "error": error });
        if let Some(code) = code {
            body["error"]["code"] = json!(code);
        }
        Self::new(status_code, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_names_its_category_in_both_spellings() {
        let body = ErrorAnswer::prompt_filtered("violence", false).body;
        let inner = &body["error"]["innererror"];
        assert_eq!(inner["code"], "ResponsibleAIPolicyViolation");
        assert_eq!(inner["content_filter_result"]["violence"]["filtered"], true);
        assert_eq!(inner["content_filter_result"]["hate"]["filtered"], false);
        let body = ErrorAnswer::prompt_filtered("hate", true).body;
        assert_eq!(
            body["error"]["inner_error"]["content_filter_results"]["hate"]["filtered"],
            true
        );
    }

    #[test]
    fn a_fault_can_carry_a_code_of_ones_own() {
        assert_eq!(
            ErrorAnswer::fault(400, Some("x")).body["error"]["code"],
            "x"
        );
        assert_eq!(ErrorAnswer::fault(502, None).body["error"]["code"], 502);
    }
}
