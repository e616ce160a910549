use proptest::prelude::*;
use proptest::sample::Index;

use super::super::conversation::count_turns;
use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Good(Range<u64>, u32),
    Broken(Range<u64>, String),
}

impl Seen {
    fn range(&self) -> Range<u64> {
        match self {
            Self::Good(range, _) | Self::Broken(range, _) => range.clone(),
        }
    }
}

struct Scan {
    seen: Vec<Seen>,
    outcome: Result<Format, ScanError>,
    examined: u64,
}

fn scan_with(file: &[u8], max: usize, mut cuts: impl FnMut() -> usize) -> Scan {
    let mut scanner = Scanner::new(count_turns).with_max_conversation_bytes(max);
    let mut seen = Vec::new();
    let mut drain = |scanner: &mut Scanner<u32, _>| {
        while let Some(found) = scanner.next() {
            seen.push(match found {
                Found::Conversation {
                    number,
                    range,
                    bytes,
                    value,
                } => {
                    assert_eq!(number, seen.len() as u64);
                    assert_eq!(bytes, &file[range.start as usize..range.end as usize]);
                    Seen::Good(range, value)
                }
                Found::Broken {
                    number,
                    range,
                    reason,
                } => {
                    assert_eq!(number, seen.len() as u64);
                    Seen::Broken(range, reason)
                }
            });
        }
    };
    let mut rest = file;
    while !rest.is_empty() {
        let (block, after) = rest.split_at(cuts().clamp(1, rest.len()));
        scanner.push(block);
        drain(&mut scanner);
        rest = after;
    }
    scanner.finish();
    drain(&mut scanner);
    let outcome = scanner.outcome();
    assert!(!scanner.wants_more());
    let mut end = 0;
    for range in seen.iter().map(Seen::range) {
        assert!(
            end <= range.start && range.start < range.end,
            "{range:?} after {end}"
        );
        end = range.end;
    }
    assert!(end <= file.len() as u64);
    Scan {
        seen,
        outcome,
        examined: scanner.examined(),
    }
}

fn scan(file: impl AsRef<[u8]>) -> Scan {
    let file = file.as_ref();
    let whole = scan_with(file, MAX_CONVERSATION_BYTES, || usize::MAX);
    let bytewise = scan_with(file, MAX_CONVERSATION_BYTES, || 1);
    assert_eq!(whole.seen, bytewise.seen);
    assert_eq!(whole.outcome, bytewise.outcome);
    whole
}

/// Each finding as its text in the file, broken ones with a question mark in front.
fn texts(file: &str) -> Vec<String> {
    let text = |seen: Seen| {
        let range = seen.range();
        let text = &file[range.start as usize..range.end as usize];
        if matches!(seen, Seen::Good(..)) {
            text.to_owned()
        } else {
            format!("?{text}")
        }
    };
    scan(file).seen.into_iter().map(text).collect()
}

const A: &str = r#"{"conversationId":"a","turnsArray":[{"messageId":"1"}]}"#;
const B: &str = r#"{"conversationId":"b","turnsArray":[]}"#;
const C: &str = r#"{"conversationId":"c","turnsArray":[{},{}]}"#;

fn cut_off(offset: usize, length: usize) -> Result<Format, ScanError> {
    Err(ScanError::CutOff {
        offset: offset as u64,
        length: length as u64,
    })
}

fn not_a_dataset(file: &[u8]) -> (u64, String) {
    match scan(file).outcome {
        Err(ScanError::NotADataset { offset, what }) => (offset, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn finds_conversations_in_every_layout() {
    for file in [
        format!("[{A},{B},{C}]"),
        format!("\u{feff} [ {A} ,\r\n {B} , {C} ] \n"),
        format!("[\n  {A},\n  {B},\n  {C}\n]\n"),
        format!("[{A} {B}{C},]"),
    ] {
        assert_eq!(texts(&file), [A, B, C], "{file}");
        assert_eq!(scan(&file).outcome, Ok(Format::Array), "{file}");
    }
    for file in [
        format!("{A}\n{B}\n{C}\n"),
        format!("\u{feff}{A}\r\n\r\n  {B} \n\n{C}"),
        format!("{A}\r{B}\r{C}\r"),
        format!("{A}{B}{C}"),
        format!("{A},\n{B},\n{C},\n"),
        format!("\u{feff}\u{feff}{A}\n\u{feff}{B}\u{feff}\n{C}\n\u{feff}"),
        format!("{A}\n{B}\n").replace(",\"", ",\n  \"") + C,
    ] {
        let texts = texts(&file);
        let texts: Vec<_> = texts.iter().map(|it| it.replace("\n  ", "")).collect();
        assert_eq!(texts, [A, B, C], "{file}");
        assert_eq!(scan(&file).outcome, Ok(Format::Lines), "{file}");
    }
}

#[test]
fn an_empty_array_is_a_dataset() {
    assert_eq!(scan("[]").outcome, Ok(Format::Array));
    assert_eq!(scan(" [ \n ] \n").outcome, Ok(Format::Array));
}

#[test]
fn an_empty_file_is_none() {
    for file in ["", " \n\t ", "\u{feff}", "\u{feff}\n"] {
        assert_eq!(scan(file).outcome, Err(ScanError::Empty), "{file:?}");
    }
}

#[test]
fn nul_bytes_after_the_first_bracket_make_no_utf_16_of_a_file() {
    let nuls = "[\0{\0\u{2}".to_owned() + &"\0".repeat(38);
    let scan = scan(nuls + ",{\"conversationId\":\"a\",\"turnsArray\":[]}]");
    let good = scan
        .seen
        .iter()
        .filter(|seen| matches!(seen, Seen::Good(..)));
    assert_eq!(good.count(), 1, "{:?} {:?}", scan.seen, scan.outcome);
}

#[test]
fn says_what_else_a_file_is() {
    for (file, offset, what) in [
        (&b"<html>"[..], 0, "begins with '<'"),
        (b"  hello", 2, "begins with 'h'"),
        (b"\xff\xfe[\0{\0", 0, "text in UTF-16 or UTF-32"),
        (b"\xff\xfe\0\0[\0\0\0", 0, "text in UTF-16 or UTF-32"),
        (b"[\0{\0\"\0", 0, "text in UTF-16 or UTF-32"),
        (b"\0[\0{\0\"", 0, "text in UTF-16 or UTF-32"),
        (b"\x1f\x8b\x08\0\0\0", 0, "gzip-compressed data"),
        (b"PK\x03\x04rest", 0, "a zip archive"),
        (b"P", 0, "begins with 'P'"),
        (b"\0\0\0\0\0", 0, "begins with the byte 0x00"),
        (b"\xef", 0, "begins with the byte 0xef"),
        (b"\"text\"", 0, "begins with '\"'"),
    ] {
        assert_eq!(not_a_dataset(file), (offset, what.to_owned()));
    }
}

#[test]
fn a_first_line_that_is_damaged_costs_itself_alone() {
    for (head, broken) in [
        ("ssage\": \"why?\"}]}\n", "?ssage\": \"why?\"}]}"),
        ("null\n", "?null"),
        ("# exported by hand\n\n", "?# exported by hand"),
        ("\"turnsArray\": []}, ", "?\"turnsArray\": []}"),
        ("<<<<<<< HEAD\n", "?<<<<<<< HEAD"),
        ("\0\0\0x\n", "?\0\0\0x"),
        (", ,\nx\n", "?x"),
        // A comma stands between conversations and is no damage.
        (",\n", ""),
        (" ,,", ""),
    ] {
        let file = format!("{head}{A}\n{B}\n");
        let expected = [broken, A, B].into_iter().filter(|text| !text.is_empty());
        assert_eq!(texts(&file), expected.collect::<Vec<_>>(), "{file}");
        assert_eq!(scan(&file).outcome, Ok(Format::Lines), "{file}");
    }
    // Where no conversation comes soon, the file is something else.
    let file = format!("{}{A}\n", "name,message\n".repeat(5_000));
    let mut scanner = Scanner::new(count_turns).with_max_conversation_bytes(10_000);
    for block in file.as_bytes().chunks(4096) {
        scanner.push(block);
        while scanner.next().is_some() {}
    }
    assert!(!scanner.wants_more());
    let outcome = scanner.outcome().unwrap_err().to_string();
    assert!(outcome.contains("begins with 'n'"), "{outcome}");
}

#[test]
fn a_lone_object_is_no_dataset() {
    let object = "{\n  \"actual_counts\": {\n    \"train\": 3\n  }\n}";
    for file in [
        object.to_owned(),
        format!("\n{object}\n\n"),
        r#"{"actual_counts": {}}"#.to_owned(),
        A.replacen(',', ",\n", 1),
        format!("{{\"conversations\": [{A},{B}]}}\n"),
    ] {
        assert!(texts(&file).is_empty(), "{file}");
        let what = not_a_dataset(file.as_bytes()).1;
        assert!(what.starts_with("one JSON object"), "{what}");
    }
}

#[test]
fn conversations_over_several_lines_need_no_array() {
    let one = A.replace(',', ",\n  ");
    assert_eq!(texts(&format!("{one}\n{B}\n{one}\n")), [&one, B, &one]);
}

/// What is reported as broken: its text and why.
fn broken(file: &str) -> Vec<(&str, String)> {
    let broken = scan(file).seen.into_iter().filter_map(|seen| match seen {
        Seen::Good(..) => None,
        Seen::Broken(range, reason) => {
            Some((&file[range.start as usize..range.end as usize], reason))
        }
    });
    broken.collect()
}

const TORN: &str = "torn: its end is missing";

#[test]
fn the_conversation_after_a_torn_one_is_found_wherever_it_was_torn() {
    for length in 1..A.len() {
        let torn = &A[..length];
        for between in ["", " ", "\n", "\r", "\r\n", ",\n", "\u{feff}"] {
            for end in ["\n", "", "\r"] {
                let file = format!("{B}\n{torn}{between}{C}{end}");
                let seen = texts(&file);
                assert_eq!(seen.first().map(String::as_str), Some(B), "{file}");
                assert_eq!(seen.last().map(String::as_str), Some(C), "{file}");
                assert_eq!(seen.len(), 3, "{file}: {seen:?}");
                assert_eq!(scan(&file).outcome, Ok(Format::Lines), "{file}");
                let broken = broken(&file);
                assert!(
                    broken[0].0.starts_with(torn.trim_end_matches(',')),
                    "{broken:?}"
                );
                if between != "\u{feff}" {
                    assert_eq!(broken[0].1, TORN, "{file}");
                }
            }
        }
    }
}

#[test]
fn a_torn_line_at_the_end_is_cut_off_only_without_its_line_break() {
    let torn = &A[..A.len() - 5];
    assert_eq!(
        scan(format!("{B}\n{torn}")).outcome,
        cut_off(B.len() + 1, B.len() + 1 + torn.len())
    );
    let file = format!("{B}\n{torn}\n");
    assert_eq!(scan(&file).outcome, Ok(Format::Lines));
    assert_eq!(broken(&file), [(torn, TORN.to_owned())]);
}

#[test]
fn a_line_inside_a_torn_one_is_not_taken_for_its_turn() {
    let (start, end) = A.split_once("{\"messageId").unwrap();
    let file = format!("{C}\n{start}\n{B}\n{}\n{C}\n", &end[end.len() - 2..]);
    let seen = texts(&file);
    assert_eq!(seen.iter().filter(|it| !it.starts_with('?')).count(), 3);
    assert!(seen.contains(&B.to_owned()), "{seen:?}");
}

#[test]
fn nul_bytes_are_one_stretch_and_cost_what_they_replaced() {
    let nul = "\0".repeat(700);
    for file in [
        format!("{A}\n{nul}{B}\n{C}\n"),
        format!("{A}\n{nul}\n{B}\n{C}\n"),
        format!("{A}{nul}{B}\n{C}"),
        format!("{nul}{A}\n{B}\n{C}\n"),
        format!("{A}\n{B}\n{C}\n{nul}"),
        format!("{A}\n{B}\n{C}{nul}"),
        format!("[{A},\n{nul}{B},{C}]"),
        format!("{nul}[{A},\n{B},{C}]"),
    ] {
        let good = texts(&file).into_iter().filter(|it| !it.starts_with('?'));
        assert_eq!(
            good.collect::<Vec<_>>(),
            [A, B, C],
            "{}",
            file.replace('\0', "")
        );
        assert_eq!(broken(&file), [(nul.as_str(), NUL_BYTES.to_owned())]);
        assert!(scan(&file).outcome.is_ok());
    }
    for (from, to) in [(5, A.len() + 9), (20, 30), (A.len() - 4, A.len() + 1)] {
        let mut file = format!("{A}\n{B}\n{C}\n");
        file.replace_range(from..to, &nul);
        let seen = texts(&file);
        assert_eq!(seen.last().map(String::as_str), Some(C), "{from}..{to}");
        assert_eq!(
            seen.contains(&B.to_owned()),
            to <= A.len() + 1,
            "{from}..{to}"
        );
        assert_eq!(
            seen.len(),
            2 + usize::from(to <= A.len() + 1),
            "{from}..{to}"
        );
        let broken = broken(&file);
        assert!(broken[0].1.starts_with(NUL_BYTES), "{broken:?}");
    }
}

#[test]
fn an_array_on_a_line_gives_its_conversations() {
    assert_eq!(texts(&format!("{A}\n[{B},{C}]\n")), [A, "?[", B, C, "?]"]);
}

#[test]
fn nothing_but_broken_elements_is_not_a_dataset() {
    for (file, offset) in [
        ("[1, 2]", 1),
        ("[ {\"a\": 1} ]", 2),
        ("[[]]", 1),
        ("nothing", 0),
    ] {
        assert_eq!(not_a_dataset(file.as_bytes()).0, offset, "{file}");
    }
    assert_eq!(not_a_dataset(b"{\"a\":1}\n{\"b\":2}\n").0, 0);
}

#[test]
fn elements_that_are_no_objects_are_broken() {
    let file = format!("[null, {A}, 5, \"x\" , [], {B}, -1.5e3, true]");
    let expected = ["?null", A, "?5", "?\"x\"", "?[]", B, "?-1.5e3", "?true"];
    assert_eq!(texts(&file), expected);
    assert_eq!(scan(&file).outcome, Ok(Format::Array));
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_keeps_what_is_whole() {
    let file = format!("[{A}, {B}, {C}]");
    let starts = [1, 3 + A.len(), 5 + A.len() + B.len()];
    let ends = [
        starts[0] + A.len(),
        starts[1] + B.len(),
        starts[2] + C.len(),
    ];
    for length in 1..file.len() {
        let scan = scan(&file[..length]);
        let whole = ends.iter().filter(|&&end| end <= length).count();
        assert_eq!(scan.seen.len(), whole, "{}", &file[..length]);
        let unfinished = starts.get(whole).filter(|&&start| start < length);
        assert_eq!(
            scan.outcome,
            cut_off(*unfinished.unwrap_or(&length), length)
        );
    }
}

#[test]
fn lines_cut_anywhere_are_an_error_and_keep_what_is_whole() {
    let file = format!("{A}\n{B}\n");
    for length in A.len() + 2..A.len() + 1 + B.len() {
        let scan = scan(&file[..length]);
        assert_eq!(scan.seen.len(), 1);
        assert_eq!(scan.outcome, cut_off(A.len() + 1, length));
    }
    assert_eq!(scan(&file[..file.len() - 1]).outcome, Ok(Format::Lines));
}

#[test]
fn a_last_line_that_is_whole_but_no_conversation_is_not_cut_off() {
    let file = format!("{A}\n{{\"b\":1}}");
    assert_eq!(texts(&file), [A, "?{\"b\":1}"]);
    assert_eq!(scan(&file).outcome, Ok(Format::Lines));
}

#[test]
fn data_after_the_end_is_an_error() {
    for rest in [",", "x", "]", "[]", "{}", "null"] {
        let file = format!("[{A}] {rest}");
        let offset = A.len() as u64 + 3;
        assert_eq!(
            scan(&file).outcome,
            Err(ScanError::TrailingData { offset }),
            "{rest}"
        );
    }
    assert_eq!(texts(&format!("[{A}], {B}]\n[{C}]"))[..2], [A, B]);
    assert_eq!(
        texts(&format!("[{A}], {B}]\n[{C}]"))
            .iter()
            .filter(|text| *text == C)
            .count(),
        1
    );
}

#[test]
fn a_stray_quote_costs_one_conversation_at_most() {
    for at in 0..A.len() {
        let mut broken = A.to_owned();
        broken.insert(at, '"');
        for (start, between, end) in [("[", ",", "]"), ("[\n  ", ",\n  ", "\n]"), ("", "\n", "\n")]
        {
            let file = format!("{start}{B}{between}{broken}{between}{C}{between}{B}{end}");
            let scan = scan(&file);
            let good = scan
                .seen
                .iter()
                .filter(|seen| matches!(seen, Seen::Good(..)))
                .count();
            // In front of it, not even that one.
            assert_eq!(good, if at == 0 { 4 } else { 3 }, "{file}");
            assert!(scan.outcome.is_ok(), "{file}: {:?}", scan.outcome);
        }
    }
}

#[test]
fn a_stray_quote_between_two_costs_neither() {
    assert_eq!(texts(&format!("[{A},\",{B}]")), [A, "?\"", B]);
    assert_eq!(texts(&format!("{A}\n\"{B}\n")), [A, "?\"", B]);
}

#[test]
fn broken_neighbours_are_told_apart_by_the_indentation() {
    let broken = A.replace(':', "");
    let file = format!("[\n  {broken},\n  {broken},\n  {C},\n  {broken}\n]");
    let broken = format!("?{broken}");
    assert_eq!(texts(&file), [&broken, &broken, C, &broken]);
    assert_eq!(scan(&file).outcome, Ok(Format::Array));
}

#[test]
fn minified_broken_neighbours_are_one() {
    let broken = A.replace(':', "");
    let file = format!("[{broken},{broken},{C},{broken}]");
    assert_eq!(
        texts(&file),
        [
            format!("?{broken},{broken}"),
            C.to_owned(),
            format!("?{broken}")
        ]
    );
    assert_eq!(scan(&file).outcome, Ok(Format::Array));
}

#[test]
fn a_conversation_that_never_closes_gives_back_what_it_swallowed() {
    let unclosed = A.strip_suffix("]}").unwrap();
    for (start, between, end) in [("[", ",", "]"), ("[\n  ", ",\n  ", "\n]")] {
        let file = [unclosed, B, unclosed, C, B].join(between);
        let file = format!("{start}{file}{end}");
        let broken = format!("?{unclosed}");
        assert_eq!(texts(&file), [&broken, B, &broken, C, B], "{file}");
        assert_eq!(scan(&file).outcome, Ok(Format::Array), "{file}");
    }
}

#[test]
fn a_stray_bracket_gives_back_what_it_swallowed() {
    let file = format!("[{A},[{B},{C}]");
    assert_eq!(texts(&file), [A, "?[", B, C, "?]"]);
    assert_eq!(scan(&file).outcome, cut_off(file.len(), file.len()));
}

#[test]
fn another_first_key_is_learned() {
    let one = |n: u32| format!(r#"{{"userName":"u","conversationId":"{n}","turnsArray":[]}}"#);
    let broken = one(2).replace("\"2\"", "\"2");
    let file = format!("[{},{broken},{}]", one(1), one(3));
    assert_eq!(texts(&file), [one(1), format!("?{broken}"), one(3)]);
}

#[test]
fn a_nested_object_with_an_id_is_no_conversation() {
    let nested = r#"{"conversationId":"x","calls":[{"conversationId":"y","n":1}],"#;
    assert_eq!(
        texts(&format!("[{A},{nested}@}},{B}]")),
        [A, &format!("?{nested}@}}"), B]
    );
}

/// The indentation only helps after damage. It never overrules what is valid.
#[test]
fn valid_conversations_survive_any_indentation() {
    let odd = "{\n  \"conversationId\": \"o\",\n  \"turnsArray\": [\n  {\n  \"x\": 1},\n  {}\n]}";
    let file = format!("[\n  {B},\n  {odd},\n  {odd}]");
    assert_eq!(texts(&file), [B, odd, odd]);
}

#[test]
fn a_conversation_beyond_the_limit_is_broken() {
    let max = C.len();
    let long = C.replace("\"c\"", "\"cccc\"");
    for (start, between, end) in [("[", ",", "]"), ("[\n  ", ",\n  ", "\n]"), ("", "\n", "\n")] {
        let file = format!("{start}{B}{between}{long}{between}{C}{between}{long}{end}");
        let whole = scan_with(file.as_bytes(), max, || usize::MAX);
        assert_eq!(whole.seen, scan_with(file.as_bytes(), max, || 1).seen);
        let good: Vec<_> = whole
            .seen
            .iter()
            .map(|seen| matches!(seen, Seen::Good(..)))
            .collect();
        assert_eq!(good, [true, false, true, false], "{file}: {:?}", whole.seen);
        assert!(whole.outcome.is_ok(), "{file}: {:?}", whole.outcome);
    }
}

#[test]
fn memory_stays_within_a_conversation_and_a_block() {
    let mut scanner = Scanner::new(count_turns).with_max_conversation_bytes(10_000);
    for block in [
        "[",
        "{\"conversationId\":[\"",
        &"x".repeat(5000),
        "\"",
        &" ".repeat(5000),
        "@",
    ] {
        for _ in 0..200 {
            scanner.push(block.as_bytes());
            while scanner.next().is_some() {}
            assert!(
                scanner.window.bytes.len() < 40_000,
                "{}",
                scanner.window.bytes.len()
            );
        }
    }
}

#[test]
fn work_grows_with_the_length_however_hostile_the_file() {
    let closing = format!(
        "{}{}{},",
        r#"{"conversationId":"#.repeat(20),
        "{}",
        "}".repeat(20)
    );
    for unit in [
        r#"{"conversationId":"#,
        r#"{"conversationId":["#,
        r#"{"conversationId"@"#,
        r#"{"conversationId":[1,2,3,4,5,6,7,8,9,{"conversationId":[{"x":[]}],"b":"#,
        r#"{"conversationId":"a","turnsArray":[{"userMessage":"hello"},"#,
        r#"{"a":1,"turnsArray":[]},{"b":1,"turnsArray":[]@},"#,
        "\n  {\"conversationId\":[",
        "\n  {",
        "[",
        "{",
        "{\"",
        "\"",
        "\\",
        "@",
        "]",
        "}",
        "],",
        "{                               \"conversationId\"",
        &closing,
    ] {
        for max in [64, 4096, MAX_CONVERSATION_BYTES] {
            for lead in [
                "[",
                "[\n  {\"conversationId\":1,\"turnsArray\":[]},\n  ",
                "",
            ] {
                let file = [lead, &unit.repeat(200_000 / unit.len())].concat();
                let scan = scan_with(file.as_bytes(), max, || 1 << 16);
                let bound = 12 * file.len() as u64 + 10_000;
                assert!(
                    scan.examined <= bound,
                    "{unit} {max} {}/{}",
                    scan.examined,
                    file.len()
                );
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Indented,
    Minified,
    Lines,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,20}",
        "[\\PC\"\\\\{}\\[\\]:,\n]{0,12}",
        Just("{\"conversationId\": \"x\", \"turnsArray\": []}".to_owned()),
        Just("[\n  {\n    \"conversationId\"".to_owned()),
    ]
}

/// `bucket` comes before `conversationId` in the alphabet, `shape` comes after it.
fn conversation(other_key: &'static str) -> impl Strategy<Value = serde_json::Value> {
    let turn = (text(), proptest::option::of(text()), 0..99_u32).prop_map(|(user, model, n)| {
        serde_json::json!({
            "turnIndex": n, "messageId": n.to_string(), "userMessage": user, "modelMessage": model,
            "llmCalls": [{"callIndex": 1, "api": {"tokens": n}}, {}], "tools": {"names": "[\"a\"]"},
        })
    });
    ("[a-f0-9]{8}", proptest::collection::vec(turn, 0..4)).prop_map(move |(id, turns)| {
        serde_json::json!({"conversationId": id, other_key: "short", "turnsArray": turns})
    })
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(u8),
    Delete,
    Insert(u8),
}

fn damage() -> impl Strategy<Value = (Index, Damage)> {
    let damage = prop_oneof![
        any::<u8>().prop_map(Damage::Flip),
        Just(Damage::Delete),
        proptest::sample::select(b"\"\"\n\n{}[]\\,:x1".to_vec()).prop_map(Damage::Insert),
    ];
    (any::<Index>(), damage)
}

/// A file, and where its undamaged conversations stand.
fn damaged_file() -> impl Strategy<Value = (Vec<u8>, Vec<Range<u64>>)> {
    let form = prop_oneof![
        Just(Form::Indented),
        Just(Form::Minified),
        Just(Form::Lines)
    ];
    let key = prop_oneof![Just("bucket"), Just("shape")];
    let all = key.prop_flat_map(|key| {
        let damages = prop_oneof![
            2 => Just(Vec::new()),
            1 => proptest::collection::vec(damage(), 1..4),
        ];
        let all = proptest::collection::vec((conversation(key), damages), 0..9);
        all.prop_map(move |mut all| {
            // Another key than the usual one has to be learned.
            if let Some((_, damages)) = all.first_mut()
                && key == "bucket"
            {
                damages.clear();
            }
            all
        })
    });
    (form, all).prop_map(|(form, all)| {
        let mut file = if matches!(form, Form::Lines) {
            vec![]
        } else {
            b"[".to_vec()
        };
        let mut intact = Vec::new();
        for (number, (conversation, damages)) in all.iter().enumerate() {
            let between: &[u8] = match (form, number) {
                (Form::Indented, 0) => b"\n  ",
                (Form::Indented, _) => b",\n  ",
                (_, 0) => b"",
                (Form::Minified, _) => b",",
                (Form::Lines, _) => b"\n",
            };
            file.extend_from_slice(between);
            let mut bytes = if matches!(form, Form::Indented) {
                let pretty = serde_json::to_string_pretty(conversation).unwrap();
                pretty.replace('\n', "\n  ").into_bytes()
            } else {
                serde_json::to_vec(conversation).unwrap()
            };
            for (index, damage) in damages {
                // A conversation that is gone altogether is no damage.
                let at = index.index(bytes.len());
                match damage {
                    Damage::Flip(with) => bytes[at] = *with,
                    Damage::Delete => _ = bytes.remove(at),
                    Damage::Insert(byte) => bytes.insert(at, *byte),
                }
            }
            let start = file.len() as u64;
            file.extend_from_slice(&bytes);
            if damages.is_empty() {
                intact.push(start..file.len() as u64);
            }
        }
        file.extend_from_slice(match form {
            Form::Indented => b"\n]\n",
            Form::Minified => b"]",
            Form::Lines => b"\n",
        });
        if matches!(form, Form::Lines) && file.first() != Some(&b'{') {
            // The first byte tells the format.
            intact.clear();
        }
        (file, intact)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_intact_is_found((file, intact) in damaged_file()) {
        let scan = scan(&file);
        for range in intact {
            let found = scan.seen.iter().any(|seen| matches!(seen, Seen::Good(at, _) if *at == range));
            prop_assert!(found, "{range:?} of {:?} in {}", scan.seen, String::from_utf8_lossy(&file));
        }
    }

    #[test]
    fn blocks_make_no_difference(
        (file, _) in damaged_file(),
        cuts in proptest::collection::vec(1..40_usize, 1..20),
        cut in any::<Index>(),
        max in 20..2000_usize,
    ) {
        let file = &file[..cut.index(file.len() + 1)];
        let mut cuts = cuts.into_iter().cycle();
        let whole = scan_with(file, max, || usize::MAX);
        let split = scan_with(file, max, || cuts.next().unwrap());
        prop_assert_eq!(whole.seen, split.seen);
        prop_assert_eq!(whole.outcome, split.outcome);
    }
}

#[test]
fn a_first_key_is_taken_from_a_broken_conversation_if_need_be() {
    let one = |n: u32| format!(r#"{{"userName":"u","conversationId":"{n}","turnsArray":[]}}"#);
    let broken = one(1).replace("\"1\"", "\"1");
    assert_eq!(
        texts(&format!("[{broken},{}]", one(2))),
        [format!("?{broken}"), one(2)]
    );
}
