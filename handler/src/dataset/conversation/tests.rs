use proptest::prelude::*;

use super::*;

fn parse(json: impl AsRef<[u8]>) -> Result<Conversation, ParseError> {
    let json = json.as_ref();
    let parsed = Conversation::parse(json);
    match (&parsed, count_turns(json)) {
        (Ok(parsed), Ok(count)) => assert_eq!(parsed.turns.len(), count as usize),
        (Err(one), Err(other)) => assert_eq!(*one, other),
        (one, other) => panic!(
            "{one:?} but {other:?} for {}",
            String::from_utf8_lossy(json)
        ),
    }
    parsed
}

/// The only turn of a conversation, given by its fields.
fn turn(fields: impl AsRef<[u8]>) -> Turn {
    let json = [
        br#"{"conversationId":"c","turnsArray":[{"#,
        fields.as_ref(),
        b"}]}",
    ]
    .concat();
    parse(json).unwrap().turns.remove(0)
}

#[test]
fn reads_the_fields_that_matter_and_no_others() {
    let json = br#" {
        "conversationId": "50b636ff", "userName": "somebody", "bucket": "short", "turnCount": 4,
        "turnsArray": [
            {"turnIndex": 1, "messageId": "m1", "userMessage": "how do I\n\u00e4 \ud83d\ude00?",
             "modelMessage": "You can", "llmCalls": [{"a": [1, {"b": null}]}], "tools": {}},
            {"turnIndex": 4, "messageId": "m2", "userMessage": " "}
        ]
    } "#;
    let expected = Conversation {
        id: "50b636ff".into(),
        turns: vec![
            Turn {
                message_id: "m1".into(),
                index: Some(1),
                user_message: "how do I\n\u{e4} \u{1f600}?".into(),
                bad_message: None,
                model_message: Some("You can".into()),
            },
            Turn {
                message_id: "m2".into(),
                index: Some(4),
                user_message: " ".into(),
                bad_message: None,
                model_message: None,
            },
        ],
    };
    assert_eq!(parse(json), Ok(expected));
}

#[test]
fn ids_are_kept_to_the_letter() {
    for (id, expected) in [
        ("", ""),
        ("null", ""),
        ("NaN", ""),
        ("17", "17"),
        ("-3", "-3"),
        ("1.50", "1.50"),
        ("1e3", "1e3"),
        ("18446744073709551616", "18446744073709551616"),
        (
            "123456789012345678901234567890.10",
            "123456789012345678901234567890.10",
        ),
        ("0.1234567890123456789", "0.1234567890123456789"),
        (r#""0017""#, "0017"),
        (r#"" a\u00e4 ""#, " a\u{e4} "),
        ("true", "true"),
        (
            "{ \"$oid\" :\n \"65 a\\\" b\" }",
            "{\"$oid\":\"65 a\\\" b\"}",
        ),
        ("[1, {\"a\": 2.0}]", "[1,{\"a\":2.0}]"),
    ] {
        let field = match id {
            "" => String::new(),
            id => format!("\"conversationId\":{id},"),
        };
        let json = format!(
            "{{{field}\"turnsArray\":[{{\"messageId\":{}}}]}}",
            match id {
                "" => "null",
                id => id,
            }
        );
        let conversation = parse(&json).unwrap();
        assert_eq!(conversation.id, expected, "{json}");
        assert_eq!(conversation.turns[0].message_id, expected, "{json}");
    }
}

#[test]
fn messages_may_be_missing() {
    let empty = turn("");
    assert_eq!(empty, Turn::default());
    assert_eq!(turn(r#""modelMessage":null"#).model_message, None);
}

#[test]
fn messages_are_texts_numbers_or_parts() {
    for (message, expected) in [
        (r#""text""#, "text"),
        ("17", "17"),
        ("-1.50", "-1.50"),
        ("12345678901234567890123", "12345678901234567890123"),
        (r#"[{"type":"text","text":"one"}]"#, "one"),
        (
            r#"[{"type":"input_text","text":"one"}, "two", {"text": 3, "n": NaN}]"#,
            "one\ntwo\n3",
        ),
        (
            r#"[{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"what is it?"}]"#,
            "what is it?",
        ),
        (r#"{"role":"user","content":"hello"}"#, "hello"),
        (
            r#"{"type":"message","content":[{"type":"text","text":"a"}]}"#,
            "a",
        ),
        (
            r#"{"parts":[{"text":"a"},{"text":"b"}],"role":"user"}"#,
            "a\nb",
        ),
        (
            r#"[{"type":"text","text":{"value":"a","annotations":[]}}]"#,
            "a",
        ),
        (r#"[{"te\u0078t":"a"}]"#, "a"),
        (r#"[{"text":""}]"#, ""),
    ] {
        let turn = turn(format!(
            "\"userMessage\":{message},\"modelMessage\":{message}"
        ));
        assert_eq!(turn.bad_message, None, "{message}");
        assert_eq!(turn.user_message, expected, "{message}");
        assert_eq!(turn.model_message.as_deref(), Some(expected), "{message}");
    }
}

#[test]
fn a_message_in_another_shape_costs_its_turn_alone() {
    for (message, found) in [
        ("null", "null"),
        ("NaN", "a word that is not a JSON value"),
        ("-Infinity", "a word that is not a JSON value"),
        ("true", "true or false"),
        ("{}", "an object without a text"),
        (r#"{"a":"secret"}"#, "an object without a text"),
        ("[]", "a list without a text"),
        ("[null]", "a list without a text"),
        (r#"[{"type":"image_url"}]"#, "a list without a text"),
        (
            r#"[{"type":"tool_result","content":"secret"}]"#,
            "a list without a text",
        ),
        (r#""\x41""#, "a text with an escape that JSON does not have"),
    ] {
        let json = format!(
            r#"{{"conversationId":"c","turnsArray":[{{"userMessage":"a"}},
            {{"messageId":"m","userMessage":{message},"modelMessage":{message}}},{{"userMessage":"b"}}]}}"#
        );
        let conversation = parse(&json).unwrap().placed_at(1000);
        let [first, bad, last] = &conversation.turns[..] else {
            panic!("{conversation:?}");
        };
        assert_eq!((&*first.user_message, &*last.user_message), ("a", "b"));
        assert_eq!((&*bad.message_id, &*bad.user_message), ("m", ""));
        assert_eq!(bad.model_message, None, "{message}");
        let at = json.find(message).unwrap() + 1000;
        assert_eq!(
            bad.bad_message.as_ref().unwrap().to_string(),
            format!("turnsArray[1].userMessage is {found}, at byte {at}"),
        );
    }
}

#[test]
fn what_is_no_turn_is_a_turn_without_a_message() {
    for (turn, found) in [
        ("null", "null"),
        ("17", "a number"),
        (r#""secret""#, "a text"),
        ("[{}]", "a list"),
    ] {
        let json = format!(r#"{{"turnsArray":[{{"userMessage":"a"}},{turn}]}}"#);
        let bad = parse(&json).unwrap().turns.remove(1);
        assert_eq!(
            bad.bad_message.unwrap().to_string(),
            format!("turnsArray[1] is {found}, at byte 35"),
        );
    }
}

#[test]
fn what_stands_in_other_fields_does_not_matter() {
    for value in [
        "NaN",
        "-Infinity",
        "Infinity",
        "nan",
        "-inf",
        "None",
        "True",
        "1e999",
        "007",
        ".5",
        "+1",
        "0x1F",
        "1_000",
        "\"\\x41\\'\"",
        "\"a\tb\x1b\"",
        "\"\\ud800\"",
        "[NaN, {\"a\": None}]",
        "[1, 2, ]",
        "{\"a\": 1,}",
        "[[], {\"a\": [1, ], }, ]",
    ] {
        let json = format!(
            r#"{{"score":{value},"turnsArray":[{{"n":{value},"userMessage":"a","turnIndex":{value}}}]}}"#
        );
        let turns = parse(&json).unwrap().turns;
        assert_eq!(turns[0].user_message, "a", "{value}");
    }
}

#[test]
fn control_characters_in_a_text_are_kept_but_for_nul() {
    assert_eq!(
        turn("\"userMessage\":\"a\tb\x1b\"").user_message,
        "a\tb\x1b"
    );
    let error = parse("{\"turnsArray\":[{\"userMessage\":\"a\0\"}]}").unwrap_err();
    assert_eq!((error.reason.as_str(), error.offset), (NUL_BYTES, 32));
}

#[test]
fn an_index_that_is_no_whole_number_is_none() {
    for (index, expected) in [
        ("7", Some(7)),
        ("-7", Some(-7)),
        ("3.0", Some(3)),
        ("3.5", None),
        ("1e300", None),
        ("18446744073709551615", None),
        ("\"7\"", None),
        ("null", None),
        ("false", None),
        ("[7]", None),
        ("{\"7\":7}", None),
    ] {
        assert_eq!(
            turn(format!("\"turnIndex\":{index}")).index,
            expected,
            "{index}"
        );
    }
}

#[test]
fn a_lone_surrogate_becomes_one_replacement_character() {
    for (escaped, expected) in [
        (r"\ud83d", "\u{fffd}"),
        (r"\ude00", "\u{fffd}"),
        (r"\ud83d\ude00", "\u{1f600}"),
        (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (r"a\uD83Db\\ud83d", "a\u{fffd}b\\ud83d"),
        (r"\ud83dx\u00e4", "\u{fffd}x\u{e4}"),
    ] {
        let fields = format!(r#""userMessage":"{escaped}","\ud800":1"#);
        let turn = turn(fields);
        assert_eq!(turn.user_message, expected, "{escaped}");
    }
}

#[test]
fn invalid_utf_8_becomes_replacement_characters() {
    assert_eq!(
        turn(b"\"userMessage\":\"a\xffb\xe4\xb8\"").user_message,
        "a\u{fffd}b\u{fffd}"
    );
    assert_eq!(
        turn(b"\"userMessage\":\"a\",\"other\":\"\xff\"").user_message,
        "a"
    );
}

#[test]
fn the_last_of_repeated_keys_wins() {
    let json = r#"{"conversationId":"a","turnsArray":[{},{}],"turnsArray":[{"userMessage":"x",
        "userMessage":"y"}],"conversationId":"b"}"#;
    let conversation = parse(json).unwrap();
    assert_eq!(conversation.id, "b");
    assert_eq!(conversation.turns.len(), 1);
    assert_eq!(conversation.turns[0].user_message, "y");
    assert!(parse(r#"{"turnsArray":null,"turnsArray":[]}"#).is_ok());
    assert!(parse(r#"{"turnsArray":[],"turnsArray":null}"#).is_err());
}

#[test]
fn errors_say_what_and_where() {
    for (json, reason, offset, turn) in [
        ("{\"a\":1}", "turnsArray is missing or no array", 7, None),
        (
            "{\"turnsArray\":{\"a\":[]}}",
            "turnsArray is missing or no array",
            23,
            None,
        ),
        ("[]", "expected a JSON object", 0, None),
        (
            "{\"turnsArray\":[{},\n{\"a\":}]}",
            "a closing brace that closes nothing",
            24,
            Some(("turnsArray", 1)),
        ),
        (
            "{\"turnsArray\":[]} x",
            "expected nothing after the conversation",
            18,
            None,
        ),
        (
            "{\"turnsArray\":[],\n\n\"a\" 1}",
            "expected a colon",
            23,
            None,
        ),
        (
            "{\"turnsArray\":[{}",
            "expected a comma or the end",
            17,
            Some(("turnsArray", 0)),
        ),
    ] {
        let error = parse(json).unwrap_err();
        assert_eq!(
            (error.reason.as_str(), error.turn),
            (reason, turn),
            "{json}"
        );
        assert_eq!(error.offset, offset, "{json}: {error}");
    }
    let error = parse("{\"turnsArray\":[{},{\"a\"}]}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "turnsArray[1]: expected a colon (byte 22 of the conversation)"
    );
}

#[test]
fn errors_quote_no_data() {
    for json in [
        r#""secret""#,
        r#"{"turnsArray":["secret"}"#,
        r#"{"turnsArray":"secret","userName":"secret"}"#,
        r#"{"turnsArray":[{"userMessage":["secret"}]}"#,
    ] {
        assert!(
            !parse(json).unwrap_err().to_string().contains("secret"),
            "{json}"
        );
    }
}

/// Values that a field may have, sensible and otherwise.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null"),
        Just("true"),
        Just("1"),
        Just("-2.0"),
        Just("1e999"),
        Just("\"text\""),
        Just(r#""\ud800 \u00e4 \n""#),
        Just(r#""\ux""#),
        Just("[]"),
        Just("[{}, {\"userMessage\": \"a\"}]"),
        Just("[{\"userMessage\": null}, 1]"),
        Just("{}"),
        Just("{\"a\": {\"b\": [1, 2]}}"),
        Just("nul"),
        Just(""),
    ]
    .prop_map(str::to_owned)
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop_oneof![
        3 => Just("userMessage"), 3 => Just("modelMessage"), 2 => Just("messageId"),
        2 => Just("turnIndex"), 2 => Just("conversationId"), 4 => Just("turnsArray"),
        1 => Just("other"), 1 => Just("\\ud800"),
    ];
    proptest::collection::vec((key, inner), 0..5).prop_map(|fields| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        format!("{{{}}}", fields.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counting_accepts_what_parsing_accepts(
        turns in proptest::collection::vec(prop_oneof![9 => object(value()), 1 => value()], 0..4),
        rest in object(value()),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..2),
    ) {
        let rest = rest.strip_prefix('{').unwrap();
        let comma = if rest == "}" { "" } else { "," };
        let turns = turns.join(",");
        let mut json = format!("{{\"turnsArray\":[{turns}]{comma}{rest}").into_bytes();
        for (at, byte) in flips {
            let at = at.index(json.len());
            json[at] = byte;
        }
        // The comparison is in `parse`.
        let _ = parse(&json);
    }
}

#[test]
fn ids_that_are_no_unicode_stay_apart() {
    let id = |written: &[u8]| {
        let mut bytes = br#"{"conversationId":"#.to_vec();
        bytes.extend_from_slice(written);
        bytes.extend_from_slice(br#","turnsArray":[]}"#);
        Conversation::parse(&bytes).unwrap().id
    };
    for (written, shown) in [
        (br#""a\ud800""#.as_slice(), r"a\ud800"),
        (br#""a\ud801""#, r"a\ud801"),
        (br#""\udc00\ud83d\ude00\ud800""#, "\\udc00\u{1f600}\\ud800"),
        (b"\"a\xff\"", r"a\xff"),
        (b"\"a\xfe\"", r"a\xfe"),
        (b"{\"x\": \"\xff\"}", r#"{"x":"\xff"}"#),
        (b"\"a\tb\xff\"", "a\tb\\xff"),
    ] {
        assert_eq!(id(written), shown, "{shown}");
    }
}
