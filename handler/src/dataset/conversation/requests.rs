//! A chat as VS Code exports it: `requests`, each with the user's `message` and the model's `response`.

use super::ParseError;
use super::walk::{Cursor, Fields, Gather, Place, RawTurn, Value};

/// Reads the list of requests that comes next: each is a turn.
pub(super) fn turns<G: Gather>(json: &mut Cursor<'_>, gather: &mut G) -> Result<(), ParseError> {
    let mut element = 0_u32;
    json.elements(|json| {
        let at_element = element;
        let place = |field| Place {
            list: "requests",
            element: at_element,
            field,
        };
        element = element.saturating_add(1);
        if json.next() != Some(b'{') {
            gather.other(RawTurn {
                place: place(None),
                value: json.value()?,
                found: None,
            });
            return Ok(());
        }
        let mut turn = Fields {
            place: place(Some("message")),
            ..Fields::default()
        };
        let mut response = None;
        json.fields(|json, key| {
            let value = json.value()?;
            match key {
                b"requestId" => turn.message_id = Some(value),
                b"message" => turn.user_message = Some(value),
                b"response" => response = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        if let Some(response) = response {
            shown(response, |part| turn.answer(part));
        }
        gather.turn(turn);
        Ok(())
    })
}

/// Gives the model's text in a response. Parts that are something else (tools, progress, edits,
/// references) have another `kind`; Markdown has its own, in older and newer versions.
fn shown<'a>(response: Value<'a>, mut show: impl FnMut(Value<'a>)) {
    if !response.bytes.starts_with(b"[") {
        show(response);
        return;
    }
    let mut json = Cursor::new(response.bytes, 0);
    // It was walked over before.
    let _ = json.elements(|json| {
        if json.next() != Some(b'{') {
            show(json.value()?);
            return Ok(());
        }
        let (mut kind, mut text) = (None, None);
        json.fields(|json, key| {
            let value = json.value()?;
            match key {
                b"kind" => kind = Some(value.bytes),
                b"value" | b"content" => text = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        let is_text = matches!(
            kind,
            None | Some(b"null" | br#""markdownContent""# | br#""markdownVuln""#)
        );
        text.filter(|_| is_text).into_iter().for_each(&mut show);
        Ok(())
    });
}
