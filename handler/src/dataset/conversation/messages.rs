//! Conversations that are lists of messages, each with who says it.
//!
//! A user's message begins a turn, and what the model says until the next one is the turn's answer.
//! What systems, developers and tools say is in no turn, and neither is what the model says before the
//! first message of a user.

use super::ParseError;
use super::value::text;
use super::walk::{Cursor, Fields, Gather, Place, RawTurn, Value};

enum Speaker {
    User,
    Model,
    /// Instructions, tools and what they answer.
    Other,
    Unknown,
}

impl Speaker {
    /// Who it is, as OpenAI, ShareGPT and what descends from them call him.
    fn of(role: Option<Value<'_>>) -> Self {
        let role = role.and_then(|role| text(role.bytes)).unwrap_or_default();
        let role = role.trim().to_ascii_lowercase().replace('-', "_");
        match role.as_str() {
            "user" | "human" => Self::User,
            "assistant" | "gpt" | "model" | "bot" | "ai" | "chatgpt" | "bing" | "bard" => {
                Self::Model
            }
            "system" | "developer" | "tool" | "tool_call" | "tool_calls" | "tool_response"
            | "tool_result" | "function" | "function_call" | "function_response"
            | "observation" => Self::Other,
            _ => Self::Unknown,
        }
    }
}

/// The fields of a message.
#[derive(Default)]
struct Message<'a> {
    role: Option<Value<'a>>,
    content: Option<(&'static str, Value<'a>)>,
    id: Option<Value<'a>>,
}

/// Reads the list `field` that comes next: its turns.
pub(super) fn turns<'a, G: Gather>(
    json: &mut Cursor<'a>,
    field: &'static str,
    gather: &mut G,
) -> Result<(), ParseError> {
    let mut open = None::<Fields<'a>>;
    let mut element = 0_u32;
    json.elements(|json| {
        let at_element = element;
        let place = |part| Place {
            list: field,
            element: at_element,
            field: part,
        };
        element = element.saturating_add(1);
        if json.next() != Some(b'{') {
            open.take().into_iter().for_each(|turn| gather.turn(turn));
            gather.other(RawTurn {
                place: place(None),
                value: json.value()?,
                found: None,
            });
            return Ok(());
        }
        let at = json.at();
        let message = message(json)?;
        match Speaker::of(message.role) {
            Speaker::User => {
                let part = message.content.map_or("content", |(part, _)| part);
                let turn = Fields {
                    place: place(Some(part)),
                    message_id: message.id,
                    user_message: message.content.map(|(_, value)| value),
                    ..Fields::default()
                };
                open.replace(turn)
                    .into_iter()
                    .for_each(|turn| gather.turn(turn));
            }
            Speaker::Model => {
                if let (Some(open), Some((_, answer))) = (&mut open, message.content) {
                    open.answer(answer);
                }
            }
            Speaker::Other => {}
            Speaker::Unknown => {
                open.take().into_iter().for_each(|turn| gather.turn(turn));
                gather.other(RawTurn {
                    place: place(None),
                    value: Value { bytes: b"", at },
                    found: Some("a message of an unknown role, neither a user's nor a model's"),
                });
            }
        }
        Ok(())
    })?;
    open.into_iter().for_each(|turn| gather.turn(turn));
    Ok(())
}

fn message<'a>(json: &mut Cursor<'a>) -> Result<Message<'a>, ParseError> {
    let mut message = Message::default();
    let (mut from, mut value) = (None, None);
    json.fields(|json, key| {
        let found = json.value()?;
        match key {
            b"role" => message.role = Some(found),
            b"from" => from = Some(found),
            b"content" => message.content = Some(("content", found)),
            b"value" => value = Some(("value", found)),
            b"messageId" | b"message_id" | b"id" => message.id = Some(found),
            _ => {}
        }
        Ok(())
    })?;
    message.role = message.role.or(from);
    message.content = message.content.or(value);
    Ok(message)
}
