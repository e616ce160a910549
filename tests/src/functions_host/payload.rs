//! What the worker is sent: `{"Data": {…}, "Metadata": {…}}`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::storage::{BlobItem, Message};

/// The body of a request to the worker.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    binding: String,
    value: Value,
    metadata: Map<String, Value>,
}

impl Payload {
    pub(super) fn new(binding: &str, value: Value) -> Self {
        Self {
            binding: binding.to_owned(),
            value,
            metadata: Map::new(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.metadata.insert(name.to_owned(), value);
        self
    }

    /// A queue's message with this text.
    pub(super) fn message(binding: &str, message: &Message, text: &str) -> Self {
        let mut payload = Self::new(binding, doubled(&Value::from(text)))
            .with("DequeueCount", doubled(&Value::from(message.dequeue_count)))
            .with("ExpirationTime", date(&message.expiration_time))
            .with("Id", doubled(&Value::from(message.id.as_str())))
            .with("InsertionTime", date(&message.insertion_time))
            .with("NextVisibleTime", date(&message.next_visible_time))
            .with(
                "PopReceipt",
                doubled(&Value::from(message.pop_receipt.as_str())),
            );
        payload.overwrite(text);
        payload
    }

    /// A blob with this content, found by a pattern with these values.
    pub(super) fn blob(
        binding: &str,
        blob: &BlobItem,
        url: &str,
        content: &[u8],
        values: &[(String, String)],
    ) -> Self {
        let properties = json!({
            "BlobType": blob.kind.name(),
            "ContentLength": blob.length,
            "ContentType": blob.content_type,
            "CreatedOn": date(&blob.created),
            "ETag": format!("\"{}\"", blob.etag),
            "LastModified": date(&blob.last_modified),
        });
        let payload = Self::new(binding, Value::from(BASE64_STANDARD.encode(content)))
            .with("Uri", doubled(&Value::from(url)))
            .with("Properties", properties)
            .with("Metadata", json!({}));
        values.iter().fold(payload, |payload, (name, value)| {
            payload.with(name, doubled(&Value::from(value.as_str())))
        })
    }

    /// The top-level properties of a message that is a JSON object replace what the host says under
    /// the same name. Arrays and nulls do not.
    fn overwrite(&mut self, text: &str) {
        let Ok(Value::Object(object)) = serde_json::from_str(text) else {
            return;
        };
        for (name, value) in object {
            let value = match value {
                Value::Null | Value::Array(_) => continue,
                Value::Object(_) => value,
                Value::String(text) => doubled(&Value::from(text)),
                // As .NET writes them.
                Value::Bool(true) => doubled(&Value::from("True")),
                Value::Bool(false) => doubled(&Value::from("False")),
                Value::Number(number) => doubled(&Value::from(number.to_string())),
            };
            self.metadata.insert(name, value);
        }
    }

    /// The body for one invocation of this function.
    pub(super) fn body(&self, function: &str) -> Vec<u8> {
        let mut metadata = self.metadata.clone();
        let system = json!({
            "MethodName": function,
            "UtcNow": Timestamp::now().to_string(),
            "RandGuid": Uuid::new_v4().to_string(),
        });
        metadata.insert("sys".to_owned(), system);
        let data = json!({ &self.binding: self.value });
        json!({ "Data": data, "Metadata": metadata })
            .to_string()
            .into_bytes()
    }
}

/// A value as JSON text inside a string. Objects stay objects.
pub(super) fn doubled(value: &Value) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        value => Value::from(value.to_string()),
    }
}

/// A date as .NET writes one, from an HTTP date.
pub(super) fn date(http: &str) -> Value {
    match rfc2822::parse(http) {
        Ok(date) => Value::from(iso(date.timestamp())),
        Err(_) => Value::Null,
    }
}

/// `2025-02-25T03:06:19+00:00`.
pub(super) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.f+00:00").to_string()
}
