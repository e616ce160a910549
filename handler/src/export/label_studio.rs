//! Tasks for Label Studio, with the labels as predictions, to be corrected by people.
//!
//! The labelling interface that takes them:
//!
//! ```xml
//! <View>
//!   <Text name="text" value="$text"/>
//!   <Choices name="label" toName="text"><Choice value="0"/><Choice value="1"/></Choices>
//!   <TextArea name="rationale" toName="text"/>
//! </View>
//! ```

use super::columns::context;
use super::{ExportError, Sheet, Turn};
use serde_json::{Value, json};

/// A JSON array of tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    has_begun: bool,
}

/// One turn: its text, its ids, and its label, with the soft label as the score.
fn task(turn: &Turn<'_>) -> Value {
    let label = &turn.row.label;
    let said = turn.said;
    let mut data = json!({
        "text": said.map(|said| said.message.as_str()),
        "conversationId": label.conversation_id,
        "messageId": label.message_id,
        "split": label.split,
        "bucket": label.bucket,
        "position": turn.row.details.as_ref().and_then(|details| details.position),
        "turn": turn.row.details.as_ref().and_then(|details| details.turn),
        "hard_label": label.hard_label,
        "soft_label": label.soft_label,
        "error_code": label.labeling_error.as_ref().map(|error| error.code),
    });
    let before = said.filter(|said| !said.context.is_empty());
    if let (Some(said), Some(data)) = (before, data.as_object_mut()) {
        data.insert("context".to_owned(), context(said));
    }
    let (Some(hard), Some(soft)) = (label.hard_label, label.soft_label) else {
        return json!({"data": data});
    };
    let result = |name: &str, kind: &str, key: &str, value: &str| json!({"from_name": name, "to_name": "text", "type": kind, "value": {key: [value]}});
    let rationale = label.rationale.as_deref();
    let rationale = rationale.map(|text| result("rationale", "textarea", "text", text));
    let results = [result("label", "choices", "choices", &hard.to_string())];
    let results = results.into_iter().chain(rationale).collect::<Vec<_>>();
    json!({
        "data": data,
        "predictions": [{"model_version": turn.origin.model, "score": soft, "result": results}],
    })
}

impl Sheet for Tasks {
    fn add(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let before: &[u8] = match std::mem::replace(&mut self.has_begun, true) {
            true => b",\n",
            false => b"[\n",
        };
        out.extend_from_slice(before);
        serde_json::to_writer(&mut *out, &task(turn))
            .map_err(|error| ExportError::write("JSON", error))
    }

    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let end: &[u8] = match self.has_begun {
            true => b"\n]\n",
            false => b"[]\n",
        };
        out.extend_from_slice(end);
        Ok(())
    }
}
