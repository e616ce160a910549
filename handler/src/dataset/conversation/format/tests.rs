use super::super::{Conversation, Counted, Reader};
use super::*;
use crate::dataset::scanner::{Accept, Found, Scanner};
use proptest::prelude::*;

/// What a file of this one record is read as.
fn read(record: &str) -> (Format, Counted, Conversation) {
    let mut reader = Reader::default();
    let counted = reader.accept(record.as_bytes(), true).unwrap();
    let format = reader.format().unwrap();
    let conversation = Conversation::read(record.as_bytes(), format).unwrap();
    assert_eq!(conversation.turns.len(), counted.turns as usize, "{record}");
    (format, counted, conversation)
}

/// Id, message and answer of each turn.
fn turns(record: &str) -> Vec<(String, String, Option<String>)> {
    let (format, _, conversation) = read(record);
    let turns = conversation.named(format, "f", 7).turns.into_iter();
    turns
        .map(|turn| {
            let said = match turn.bad_message {
                Some(bad) => bad.to_string(),
                None => turn.user_message,
            };
            (turn.message_id, said, turn.model_message)
        })
        .collect()
}

fn turn(id: &str, said: &str, answer: Option<&str>) -> (String, String, Option<String>) {
    (id.into(), said.into(), answer.map(str::to_owned))
}

fn error(record: &str) -> String {
    let mut reader = Reader::default();
    let error = reader.accept(record.as_bytes(), true).unwrap_err();
    error.to_string()
}

#[test]
fn a_user_and_what_the_model_says_until_the_next_one_are_a_turn() {
    let record = r#"{"messages": [
        {"role": "assistant", "content": "Hello!"},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a", "id": "x"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "t"}]},
        {"role": "tool", "content": "secret"},
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": [{"type": "text", "text": "c"}]},
        {"role": "user", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "e"}, {"type": "image_url"}]}
    ]}"#;
    assert_eq!(
        turns(record),
        [
            turn("x", "a", Some("b\nc")),
            turn("1", "d", None),
            turn("2", "e", None)
        ]
    );
    assert_eq!(read(record).0, Format::Messages);
}

#[test]
fn sharegpt_is_read_with_either_pair_of_names() {
    let record = r#"{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"},
        {"role": "User", "content": 5}, {"from": "function-call", "value": "no"},
        {"from": "observation", "value": "no"}, {"from": "bard", "value": "c"}]}"#;
    assert_eq!(
        turns(record),
        [turn("0", "a", Some("b")), turn("1", "5", Some("c"))]
    );
    assert_eq!(read(record).0, Format::Conversations);
}

#[test]
fn an_export_of_vs_code_is_read_without_its_tools() {
    let record = r#"{"requests": [
        {"requestId": "r1", "message": {"text": "a", "parts": [{"text": "a"}]}, "response": [
            {"kind": "thinking", "value": "no"}, {"value": "b", "supportHtml": false},
            {"kind": "toolInvocationSerialized", "value": "no"},
            {"kind": "markdownContent", "content": {"value": "c"}}, "d"]},
        {"message": "e"}, {"requestId": 3, "message": {"parts": [{"text": "f"}]}, "response": []}, null
    ]}"#;
    let at = record.find("null").unwrap();
    assert_eq!(
        turns(record),
        [
            turn("r1", "a", Some("b\nc\nd")),
            turn("1", "e", None),
            turn("3", "f", None),
            turn("3", &format!("requests[3] is null, at byte {at}"), None),
        ]
    );
}

#[test]
fn turns_in_a_text_are_read_as_turns() {
    let inside = r#"[{"messageId": "m", "userMessage": "a \"b\"", "modelMessage": "c"},
        {"userMessage": {"no": 1}}, 5]"#;
    let record = serde_json::json!({"turnsArray": inside}).to_string();
    let at = record.find(r#""["#).unwrap();
    let bad = format!("turnsArray[1].userMessage is an object without a text, at byte {at}");
    let none = format!("turnsArray[2] is a number, at byte {at}");
    assert_eq!(
        turns(&record),
        [
            turn("m", "a \"b\"", Some("c")),
            turn("1", &bad, None),
            turn("2", &none, None)
        ]
    );
    for (torn, why) in [
        (
            r#"[{"userMessage": "a"}, {"userMe"#,
            "turnsArray[1]: its text is not JSON",
        ),
        (r#"[{"userMessage": "a"}] x"#, "its text is not JSON"),
        ("['a']", "its text is not JSON"),
    ] {
        let record = serde_json::json!({"turnsArray": torn}).to_string();
        let error = error(&record);
        assert!(error.contains(why), "{error}");
        assert!(error.contains("(byte 14 of the conversation)"), "{error}");
    }
}

#[test]
fn what_may_be_a_users_message_is_no_silence() {
    let record = r#"{"messages": [{"role": "user", "content": null}, {"role": "narrator", "content": "x"},
        {"content": "y"}, "z", {"role": "user"}]}"#;
    let said = turns(record);
    let said = said
        .iter()
        .map(|(_, said, _)| said.split(", at").next().unwrap());
    let nobody = "a message of an unknown role, neither a user's nor a model's";
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            "messages[0].content is null".to_owned(),
            format!("messages[1] is {nobody}"),
            format!("messages[2] is {nobody}"),
            "messages[3] is a text".to_owned(),
            String::new(),
        ]
    );
}

#[test]
fn ids_are_taken_from_the_first_field_that_has_one() {
    let messages = r#""messages": [{"role": "user", "content": "a"}]"#;
    for (ids, field, id) in [
        (
            r#""id": 5, "conversation_id": "b", "conversationId": "c","#,
            Some("conversationId"),
            "c",
        ),
        (
            r#""id": 5, "conversation_id": "b", "conversationId": null,"#,
            Some("conversation_id"),
            "b",
        ),
        (r#""id": 5, "conversation_id": "","#, Some("id"), "5"),
        (r#""id": NaN,"#, None, "train/a.json:7"),
        ("", None, "train/a.json:7"),
    ] {
        let (format, counted, conversation) = read(&format!("{{{ids}{messages}}}"));
        let named = conversation.named(format, "train/a.json", 7);
        assert_eq!((counted.id, named.id.as_str()), (field, id), "{ids}");
        assert_eq!(counted.messages_without_id, 1);
    }
    let (format, _, native) = read(r#"{"id": "x", "turnsArray": [{"userMessage": "a"}]}"#);
    let named = native.named(format, "f", 7);
    assert_eq!(
        (named.id.as_str(), named.turns[0].message_id.as_str()),
        ("", "")
    );
}

#[test]
fn what_is_not_recognised_is_told_by_its_fields() {
    for (record, seen) in [
        (
            r#"{"prompt": "p", "completion": null}"#,
            "its fields are prompt (a text), completion (null)",
        ),
        (
            r#"{"messages": [{"user": "U1", "text": "x"}]}"#,
            "messages (a list of objects with user, text)",
        ),
        (r#"{"messages": "hello"}"#, "messages (a text)"),
        (r#"{"messages": ["hello"]}"#, "messages (a list)"),
        (r#"{"turnsArray": "hello"}"#, "turnsArray (a text)"),
        (
            r#"{"requests": [{"url": "x"}]}"#,
            "requests (a list of objects with url)",
        ),
        (
            r#"{"what my secret is": 1}"#,
            "one with a name of 17 bytes (a number)",
        ),
        ("{}", "an object without fields"),
    ] {
        let error = error(record);
        assert!(error.contains(seen), "{error}");
    }
    let many = (0..20).map(|i| format!("\"f{i}\": 1")).collect::<Vec<_>>();
    let error = error(&format!("{{{}}}", many.join(",")));
    assert!(error.contains("f11 (a number), 8 more"), "{error}");
}

#[test]
fn a_list_of_turns_goes_before_all_else() {
    let both = r#"{"messages": [{"role": "user"}], "turnsArray": []}"#;
    assert_eq!(read(both).0, Format::Turns);
    let null = r#"{"turnsArray": null, "messages": [{"role": "user"}]}"#;
    assert_eq!(read(null).0, Format::Messages);
}

/// Conversations and broken stretches of a file.
fn scan(file: &str) -> (Option<Format>, usize, Vec<String>) {
    let mut scanner = Scanner::new(Reader::default());
    scanner.push(file.as_bytes());
    scanner.finish();
    let (mut conversations, mut broken) = (0, Vec::new());
    while let Some(found) = scanner.next() {
        match found {
            Found::Conversation { .. } => conversations += 1,
            Found::Broken { reason, .. } => broken.push(reason),
        }
    }
    (scanner.acceptance().format(), conversations, broken)
}

#[test]
fn the_first_conversation_decides_the_format_of_its_file() {
    let openai = r#"{"messages": [{"role": "user", "content": "a"}]}"#;
    let native = r#"{"conversationId": "c", "turnsArray": []}"#;
    let (format, conversations, broken) = scan(&[openai, native, openai].join("\n"));
    assert_eq!((format, conversations), (Some(Format::Messages), 2));
    assert!(
        broken[0]
            .contains("a list turnsArray, and the file's first conversation is OpenAI's messages"),
        "{broken:?}"
    );
    let (format, conversations, broken) = scan(&format!("[{native},{openai},{native}]"));
    assert_eq!(
        (format, conversations, broken.len()),
        (Some(Format::Turns), 2, 1)
    );
    // The first one cannot be read.
    let (format, conversations, broken) = scan(&[r#"{"a": 1}"#, openai, native].join("\n"));
    assert_eq!(
        (format, conversations, broken.len()),
        (Some(Format::Messages), 1, 2)
    );
}

#[test]
fn what_lies_inside_of_a_torn_conversation_decides_nothing() {
    let torn = r#"{"conversationId": "c", "turnsArray": [{"call":
        {"conversationId": "c", "messages": [{"role": "user", "content": "a"}]}, "x" 5}]}"#;
    let whole = r#"{"conversationId": "d", "turnsArray": [{"userMessage": "b"}]}"#;
    let (format, conversations, broken) = scan(&format!("[{}, {whole}]", torn.replace('\n', "")));
    assert_eq!(
        (format, conversations),
        (Some(Format::Turns), 1),
        "{broken:?}"
    );
}

#[test]
fn one_record_over_several_lines_is_a_file_where_its_format_has_such() {
    let export = "{\n  \"requests\": [\n    {\"message\": {\"text\": \"a\"}}\n  ]\n}\n";
    assert_eq!(scan(export), (Some(Format::Requests), 1, vec![]));
    assert_eq!(scan(&export.repeat(2)).1, 2);
}

proptest! {
    /// Whatever stands where, reading and counting agree, and nothing panics.
    #[test]
    fn counting_and_reading_agree(
        record in prop::sample::select(vec![
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#,
            r#"{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"#,
            r#"{"requests": [{"message": {"text": "a"}, "response": [{"value": "b"}]}]}"#,
            r#"{"turnsArray": "[{\"userMessage\": \"a\"}]"}"#,
        ]),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut record = record.as_bytes().to_vec();
        let at = at.index(record.len());
        record[at] = byte;
        let mut reader = Reader::default();
        let counted = reader.accept(&record, true);
        if let (Ok(counted), Some(format)) = (counted, reader.format()) {
            let read = Conversation::read(&record, format).unwrap();
            prop_assert_eq!(read.turns.len(), counted.turns as usize);
        }
    }
}
