//! What the host sends for one invocation.
//!
//! The host writes objects as JSON objects, but strings, numbers and arrays as JSON text inside a
//! string. A string is therefore tried as JSON: where that gives a string, that is the value, and
//! where it does not, the string itself is. So values that were encoded once are understood too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

/// One call of a function by the host, with what its bindings hold.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The name of the function that is called.
    pub function: String,
    /// `X-Azure-Functions-InvocationId`; empty where the host sent none.
    pub id: String,
    data: Map<String, Value>,
    metadata: Map<String, Value>,
}

/// Why an invocation cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The request has a body of another form.
    #[error("the body of the invocation is not what the Functions host sends: {0}")]
    Body(#[from] serde_json::Error),
    /// The host sent nothing under the name of a binding.
    #[error("the invocation has no {binding:?}; give the binding that name in function.json")]
    NoBinding {
        /// The name that the function looks for.
        binding: String,
    },
    /// A binding holds something other than its function takes.
    #[error("{binding:?} is not a {expected}: {reason}")]
    Unexpected {
        /// The binding's name.
        binding: String,
        /// What the function takes, as a phrase that follows "a".
        expected: &'static str,
        /// What is wrong with it; never its content.
        reason: String,
    },
}

/// An HTTP request to the app, as the host passes it on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HttpRequest {
    /// The address that was asked for, as a whole.
    pub url: String,
    /// The HTTP method, such as `GET`.
    pub method: String,
    /// The parameters after the `?` of the address; without those that have no text.
    #[serde(deserialize_with = "texts")]
    pub query: BTreeMap<String, String>,
    /// What the route's placeholders stand for; without optional ones that stand for nothing, for
    /// which the host sends `null`.
    #[serde(deserialize_with = "texts")]
    pub params: BTreeMap<String, String>,
    /// The body as text; empty without one.
    #[serde(deserialize_with = "body")]
    pub body: String,
    headers: BTreeMap<String, Vec<String>>,
}

impl HttpRequest {
    /// The first value of a header, whose name may be written in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, values) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        values.first().map(String::as_str)
    }
}

/// Names with their texts; those without one are left out.
fn texts<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Option<String>>::deserialize(deserializer)?;
    let texts = values.into_iter();
    Ok(texts
        .filter_map(|(name, text)| Some((name, text?)))
        .collect())
}

/// A body comes as text, or already as JSON.
fn body<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => String::new(),
        // Some shells write a byte order mark in front of what they send.
        Value::String(text) => decoded(&text).trim_start_matches('\u{feff}').to_owned(),
        value => value.to_string(),
    })
}

/// The text of a string, which the host may have encoded a second time.
fn decoded(text: &str) -> Cow<'_, str> {
    match serde_json::from_str(text) {
        Ok(Value::String(inner)) => Cow::Owned(inner),
        _ => Cow::Borrowed(text),
    }
}

fn unexpected(binding: &str, expected: &'static str, reason: impl ToString) -> InvocationError {
    InvocationError::Unexpected {
        binding: binding.to_owned(),
        expected,
        reason: reason.to_string(),
    }
}

impl Invocation {
    /// Reads the body of a request for `function`.
    pub fn decode(function: &str, id: &str, body: &[u8]) -> Result<Self, InvocationError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body {
            #[serde(default)]
            data: Map<String, Value>,
            #[serde(default)]
            metadata: Map<String, Value>,
        }
        let Body { data, metadata } = serde_json::from_slice(body)?;
        Ok(Self {
            function: function.to_owned(),
            id: id.to_owned(),
            data,
            metadata,
        })
    }

    /// Reads of the body of a request for `function` all but what its bindings hold, which may be of any size.
    pub fn without_data(
        function: &str,
        id: &str,
        body: impl io::Read,
    ) -> Result<Self, InvocationError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body {
            #[serde(default)]
            metadata: Map<String, Value>,
        }
        let Body { metadata } = serde_json::from_reader(body)?;
        Ok(Self {
            function: function.to_owned(),
            id: id.to_owned(),
            data: Map::new(),
            metadata,
        })
    }

    fn value(&self, binding: &str) -> Result<&Value, InvocationError> {
        let value = self.data.get(binding);
        value.ok_or_else(|| InvocationError::NoBinding {
            binding: binding.to_owned(),
        })
    }

    fn text(&self, binding: &str) -> Result<Cow<'_, str>, InvocationError> {
        match self.value(binding)? {
            Value::String(text) => Ok(decoded(text)),
            _ => Err(unexpected(binding, "text", "it is not a string")),
        }
    }

    /// The JSON of a queue message.
    pub fn message(&self, binding: &str) -> Result<Value, InvocationError> {
        if let Some(value @ (Value::Object(_) | Value::Array(_))) = self.data.get(binding) {
            return Ok(value.clone());
        }
        let text = self.text(binding)?;
        serde_json::from_str(&text).map_err(|error| unexpected(binding, "JSON message", error))
    }

    /// What a binding brought, as it is: text, or JSON where the host made that of it. Empty without one.
    pub fn content(&self, binding: &str) -> String {
        match self.value(binding) {
            Ok(Value::String(text)) => decoded(text).into_owned(),
            Ok(value) => value.to_string(),
            Err(_) => String::new(),
        }
    }

    /// The content of the blob that woke the function, which the host loads whole.
    pub fn blob(&self, binding: &str) -> Result<Vec<u8>, InvocationError> {
        let text = self.text(binding)?;
        let blob = BASE64.decode(text.as_bytes());
        blob.map_err(|error| unexpected(binding, "blob in base64", error))
    }

    /// The HTTP request that woke the function.
    pub fn http(&self, binding: &str) -> Result<HttpRequest, InvocationError> {
        let request = serde_json::from_value(self.value(binding)?.clone());
        request.map_err(|error| unexpected(binding, "HTTP request", error))
    }

    /// An entry of the trigger's metadata, as text. Top-level properties of a JSON message overwrite
    /// entries of the same name, so read only names from here that our own messages cannot carry.
    pub fn metadata(&self, key: &str) -> Option<String> {
        match self.metadata.get(key)? {
            Value::String(text) => Some(decoded(text).into_owned()),
            value => Some(value.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn invocation(body: &Value) -> Invocation {
        Invocation::decode("f", "id", body.to_string().as_bytes()).unwrap()
    }

    /// A capture of what the host sends for a queue message.
    #[test]
    fn a_message_is_text_within_text() {
        let body = br#"{"Data":{"queue":"\"{\\\"a\\\":1}\""},
            "Metadata":{"DequeueCount":"1","Id":"\"52d5\"",
            "sys":{"MethodName":"queue","UtcNow":"2025-02-18T03:06:19Z"}}}"#;
        let invocation = Invocation::decode("f", "id", body).unwrap();
        assert_eq!(invocation.message("queue").unwrap(), json!({"a": 1}));
        assert_eq!(invocation.metadata("Id").as_deref(), Some("52d5"));
        assert_eq!(invocation.metadata("DequeueCount").as_deref(), Some("1"));
    }

    #[test]
    fn a_message_that_was_encoded_once_or_not_at_all_is_understood() {
        for data in [
            json!("{\"a\":1}"),
            json!({"a": 1}),
            json!("\"{\\\"a\\\":1}\""),
        ] {
            let invocation = invocation(&json!({"Data": {"queue": data}}));
            assert_eq!(invocation.message("queue").unwrap(), json!({"a": 1}));
        }
    }

    #[test]
    fn a_blob_is_base64_even_where_that_reads_like_a_number() {
        for (data, blob) in [
            ("1234", vec![0xd7, 0x6d, 0xf8]),
            ("\"e30=\"", b"{}".to_vec()),
            ("", vec![]),
        ] {
            let invocation = invocation(&json!({"Data": {"blob": data}}));
            assert_eq!(invocation.blob("blob").unwrap(), blob, "{data}");
        }
    }

    #[test]
    fn a_request_comes_with_method_query_and_body() {
        let invocation = invocation(&json!({"Data": {"req": {
            "Url": "https://x/api/runs?state=failed", "Method": "POST",
            "Query": {"state": "failed"}, "Headers": {"a": ["b"]},
            "Params": {"run": "r1", "action": null},
            "Identities": [], "Body": "{\"dataset\":\"v4\"}",
        }}}));
        let request = invocation.http("req").unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.params.get("run").unwrap(), "r1");
        assert_eq!(request.params.get("action"), None);
        assert_eq!(request.body, "{\"dataset\":\"v4\"}");
        assert_eq!(request.header("A"), Some("b"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_body() {
        for body in ["\u{feff}{}", "{}"] {
            let request = json!({"Data": {"req": {"Body": body}}});
            let request = invocation(&request).http("req").unwrap();
            assert_eq!(request.body, "{}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_content() {
        let invocation = invocation(&json!({"Data": {"queue": "hush, a message"}}));
        let error = invocation.message("queue").unwrap_err().to_string();
        assert!(
            error.contains("\"queue\"") && !error.contains("hush"),
            "{error}"
        );
        let error = invocation.message("other").unwrap_err().to_string();
        assert!(error.contains("function.json"), "{error}");
        assert!(Invocation::decode("f", "id", b"1").is_err());
    }
}
