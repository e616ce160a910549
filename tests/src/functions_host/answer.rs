//! What the host makes of a worker's answer.

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};

/// An answer, read.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// The function succeeded, with these outputs.
    Outputs(Map<String, Value>),
    /// The host takes it for nothing at all and waits on, until the function's time is over.
    Nothing,
    /// The function failed, for this reason.
    Failure(String),
}

pub(super) async fn read(response: Response) -> Answer {
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(reason) => return Answer::Failure(format!("the answer broke off: {reason}")),
    };
    if !status.is_success() {
        return Answer::Failure(format!("the worker answered {status}"));
    }
    judge(&content_type, &body)
}

/// Reads an answer with a good status.
fn judge(content_type: &str, body: &[u8]) -> Answer {
    if body.is_empty() {
        return Answer::Nothing;
    }
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let json = ["application/json", "text/json"];
    if !json
        .iter()
        .any(|json| media_type.eq_ignore_ascii_case(json))
    {
        return Answer::Failure(format!("the answer is {media_type:?}, and no JSON"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Null) => Answer::Nothing,
        Ok(Value::Object(answer)) => outputs(answer),
        Ok(_) => Answer::Failure("the answer is JSON, and no object".to_owned()),
        Err(reason) => Answer::Failure(format!("the answer cannot be read as JSON: {reason}")),
    }
}

/// Names are read whatever their case.
fn outputs(answer: Map<String, Value>) -> Answer {
    let mut outputs = Map::new();
    let mut returned = Value::Null;
    for (name, value) in answer {
        match name.to_ascii_lowercase().as_str() {
            "outputs" => match value {
                Value::Object(found) => outputs = found,
                Value::Null => {}
                _ => return Answer::Failure("Outputs is no object".to_owned()),
            },
            "logs" => match value {
                Value::Null => {}
                Value::Array(logs) if logs.iter().all(Value::is_string) => {}
                _ => return Answer::Failure("Logs is no array of strings".to_owned()),
            },
            "returnvalue" => returned = value,
            _ => {}
        }
    }
    if !returned.is_null() {
        outputs.insert("$return".to_owned(), returned);
    }
    Answer::Outputs(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const JSON: &str = "application/json; charset=utf-8";

    fn outputs_of(content_type: &str, body: &str) -> Option<Value> {
        match judge(content_type, body.as_bytes()) {
            Answer::Outputs(outputs) => Some(Value::Object(outputs)),
            _ => None,
        }
    }

    #[test]
    fn a_json_object_is_success() {
        let body = r#"{"Outputs":{"a":[1]},"Logs":["x"],"ReturnValue":null}"#;
        assert_eq!(outputs_of(JSON, body).unwrap(), json!({ "a": [1] }));
        assert_eq!(
            outputs_of("text/json", r#"{"outputs":null}"#).unwrap(),
            json!({})
        );
        assert_eq!(
            outputs_of(JSON, r#"{"ReturnValue":"r"}"#).unwrap(),
            json!({ "$return": "r" })
        );
    }

    #[test]
    fn nothing_is_waited_on_for_ever() {
        assert_eq!(judge(JSON, b""), Answer::Nothing);
        assert_eq!(judge("text/plain", b""), Answer::Nothing);
        assert_eq!(judge(JSON, b"null"), Answer::Nothing);
    }

    #[test]
    fn all_else_is_failure() {
        for (content_type, body) in [
            ("text/plain", "{}"),
            ("", "{}"),
            (JSON, "[]"),
            (JSON, "\"ok\""),
            (JSON, "{"),
            (JSON, r#"{"Outputs":[]}"#),
            (JSON, r#"{"Logs":"x"}"#),
            (JSON, r#"{"Logs":[{}]}"#),
        ] {
            let answer = judge(content_type, body.as_bytes());
            assert!(
                matches!(answer, Answer::Failure(_)),
                "{content_type} {body}"
            );
        }
    }
}
