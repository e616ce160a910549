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
                model_message: Some("You can".into()),
            },
            Turn {
                message_id: "m2".into(),
                index: Some(4),
                user_message: " ".into(),
                model_message: None,
            },
        ],
    };
    assert_eq!(parse(json), Ok(expected));
}

#[test]
fn ids_may_be_missing_null_or_numbers() {
    for (id, expected) in [
        (r#""conversationId":null,"#, ""),
        ("", ""),
        (r#""conversationId":17,"#, "17"),
        (r#""conversationId":-3,"#, "-3"),
        (
            r#""conversationId":18446744073709551615,"#,
            "18446744073709551615",
        ),
        (r#""conversationId":1.5,"#, "1.5"),
        (r#""conversationId":[1,{"a":2}],"#, ""),
        (r#""conversationId":{"\ud800":2},"#, ""),
        (r#""conversationId":true,"#, ""),
    ] {
        assert_eq!(
            parse(format!("{{{id}\"turnsArray\":[]}}")).unwrap().id,
            expected,
            "{id}"
        );
    }
    assert_eq!(turn(r#""messageId":17"#).message_id, "17");
    assert_eq!(turn(r#""messageId":null"#).message_id, "");
}

#[test]
fn messages_may_be_missing_or_null() {
    let empty = turn("");
    assert_eq!(
        (empty.user_message.as_str(), empty.model_message),
        ("", None)
    );
    let null = turn(r#""userMessage":null,"modelMessage":null"#);
    assert_eq!((null.user_message.as_str(), null.model_message), ("", None));
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
        let fields = format!(r#""messageId":"{escaped}","userMessage":"{escaped}","\ud800":1"#);
        let turn = turn(fields);
        assert_eq!(turn.user_message, expected, "{escaped}");
        assert_eq!(turn.message_id, expected, "{escaped}");
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
        ("{\"a\":1}", "turnsArray is missing or no array", 6, None),
        (
            "{\"turnsArray\":{\"a\":[]}}",
            "turnsArray is missing or no array",
            22,
            None,
        ),
        ("[]", "expected a JSON object", 0, None),
        (
            "{\"turnsArray\":[{},\n5]}",
            "expected a turn, which is a JSON object",
            19,
            Some(1),
        ),
        (
            "{\"turnsArray\":[{\"userMessage\":5}]}",
            "expected text or null as userMessage",
            30,
            Some(0),
        ),
        ("{\"turnsArray\":[]} x", "trailing characters", 18, None),
        ("{\"turnsArray\":[],\n\n\"a\" 1}", "expected `:`", 23, None),
        (
            "{\"turnsArray\":[{}",
            "EOF while parsing a list",
            17,
            Some(1),
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
    let error = parse("{\"turnsArray\":[{},5]}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "turnsArray[1]: expected a turn, which is a JSON object (byte 18 of the conversation)"
    );
}

#[test]
fn errors_quote_no_data() {
    for json in [
        r#""secret""#,
        r#"{"turnsArray":["secret"]}"#,
        r#"{"turnsArray":[{"userMessage":["secret"]}]}"#,
        r#"{"turnsArray":"secret","userName":"secret, expected secret"}"#,
        r#""secret, expected secret""#,
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
