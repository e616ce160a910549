//! What the host gets back for an invocation.
//!
//! Success is a 2xx with a JSON object that is not empty; an empty body would hang the invocation
//! until its time-out. Anything but 2xx is a failure: outputs are dropped, and the message comes again.

use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A success: messages to send and, for a request, what it is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    outputs: Map<String, Value>,
}

/// A failure, as the host logs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind of failure, for filtering logs, such as `Message`.
    #[serde(rename = "errorType")]
    pub kind: &'static str,
    /// What failed, on what, and what to do.
    #[serde(rename = "errorMessage")]
    pub message: String,
}

impl Answer {
    /// A success that sends no message and answers no request.
    pub fn done() -> Self {
        Self::default()
    }

    /// Adds `messages` to what leaves through the output binding `binding`, one queue message each.
    /// They must be objects: the host takes a text that happens to be base64 for bytes.
    pub fn send<M: Serialize>(
        mut self,
        binding: &str,
        messages: impl IntoIterator<Item = M>,
    ) -> Self {
        let messages = messages.into_iter();
        let mut messages = messages
            .filter_map(|message| serde_json::to_value(message).ok())
            .peekable();
        // An array without elements would be one message.
        if messages.peek().is_some() {
            let output = self.outputs.entry(binding);
            if let Value::Array(there) = output.or_insert_with(|| Value::Array(Vec::new())) {
                there.extend(messages);
            }
        }
        self
    }

    /// Answers the HTTP request with `status` and JSON.
    pub fn respond(mut self, binding: &str, status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string_pretty(body).unwrap_or_default() + "\n";
        let response = json!({
            "statusCode": status,
            "headers": {"Content-Type": "application/json; charset=utf-8"},
            "body": body,
        });
        self.outputs.insert(binding.to_owned(), response);
        self
    }

    /// Answers the HTTP request with status 200, these headers and this text.
    pub fn respond_with(mut self, binding: &str, headers: &[(&str, &str)], body: String) -> Self {
        let headers = headers.iter().copied().collect::<BTreeMap<_, _>>();
        let response = json!({"statusCode": 200, "headers": headers, "body": body});
        self.outputs.insert(binding.to_owned(), response);
        self
    }

    /// What leaves through the output binding `binding` as queue messages, in order.
    pub fn messages(&self, binding: &str) -> &[Value] {
        match self.outputs.get(binding) {
            Some(Value::Array(messages)) => messages,
            _ => &[],
        }
    }

    /// The status and body of the HTTP response in `binding`, if there is one.
    pub fn response(&self, binding: &str) -> Option<(u64, &str)> {
        let response = self.outputs.get(binding)?;
        let status = response.get("statusCode")?.as_u64()?;
        Some((status, response.get("body")?.as_str()?))
    }

    /// A header of the HTTP response in `binding`.
    #[cfg(test)]
    pub(crate) fn header(&self, binding: &str, name: &str) -> Option<&str> {
        let headers = self.outputs.get(binding)?.get("headers")?;
        headers.get(name)?.as_str()
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        let body = json!({"Outputs": self.outputs, "Logs": [], "ReturnValue": null});
        body.to_string().into_bytes()
    }
}

impl Failure {
    /// A failure of this kind; `message` says what failed, on what, and what to do.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_binding_add_up_and_none_is_no_output() {
        let answer = Answer::done()
            .send("chunks", [json!({"chunk": 0}), json!({"chunk": 1})])
            .send("chunks", [json!({"chunk": 2})])
            .send("publishes", std::iter::empty::<Value>());
        assert_eq!(answer.messages("chunks").len(), 3);
        let body: Value = serde_json::from_slice(&answer.into_body()).unwrap();
        assert_eq!(body["Outputs"]["chunks"][2], json!({"chunk": 2}));
        assert_eq!(body["Outputs"].get("publishes"), None);
    }

    #[test]
    fn a_response_is_json_with_a_status() {
        let answer = Answer::done().respond("res", 202, &json!({"runs": []}));
        assert_eq!(answer.response("res").unwrap().0, 202);
    }
}
