//! Foreign text made fit to be shown: file names, and what a service says in its errors.
//!
//! Invariant: no secret, no stretch of a request's own text and no control character leaves through a
//! sentence that was made here.

use std::borrow::Cow;
use std::collections::HashSet;
use uuid::Uuid;

/// A stretch of a request's own text of this many characters or more is masked.
const STRETCH: usize = 12;

/// The same for its instructions.
const LONG_STRETCH: usize = 24;

/// A line of a request's own text that is shorter than a stretch is masked as whole words from this many
/// characters on: it may be the whole message.
const SHORTEST_LINE: usize = 4;

/// A secret shorter than this is a placeholder: masking it would spoil every sentence.
const SHORTEST_SECRET: usize = 6;

/// Characters of a service's sentence that are shown.
const SHOWN: usize = 300;

/// Characters of a service's sentence that are looked at.
const EXAMINED: usize = 4_000;

/// What stands for text that was masked.
const MASKED: &str = "[…]";

/// `text` with control characters, terminal escapes and characters that change the direction of
/// writing shown as `\u{…}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_unseen(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same for a text of several lines, which stay lines.
#[must_use]
pub fn visible_lines(text: &str) -> String {
    let lines = text.split('\n').map(visible);
    lines.collect::<Vec<_>>().join("\n")
}

/// The first `most` characters of a text, as [`visible_lines`] shows it, with `indent` before every line but
/// the first.
#[must_use]
pub fn excerpt(text: &str, most: usize, indent: &str) -> String {
    let mut excerpt = text.chars().take(most).collect::<String>();
    if excerpt.len() < text.len() {
        excerpt.push_str(" […]");
    }
    visible_lines(&excerpt).replace('\n', &format!("\n{indent}"))
}

/// Whether a terminal shows nothing for `c`, or something else than it.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// What must not be shown of one request: its secrets, what it asks about, and its instructions, which
/// share everyday words with any sentence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask<'a> {
    /// Keys and tokens; those shorter than 6 characters are placeholders, and not masked.
    pub secrets: &'a [&'a str],
    /// The texts of the data: stretches of 12 characters or more are masked, and short lines as a whole.
    pub texts: &'a [&'a str],
    /// The constant texts of the prompt: only stretches of 24 characters or more are masked.
    pub instructions: &'a [&'a str],
}

impl Mask<'_> {
    /// What a service says, as one line without markup, of at most 300 characters, without a full stop
    /// at its end, with everything masked that must not be shown. Empty where it says nothing.
    #[must_use]
    pub fn sentence(&self, said: &str) -> String {
        self.shown(said, true)
    }

    fn shown(&self, said: &str, with_lines: bool) -> String {
        let said: String = said.chars().take(EXAMINED).collect();
        // Once before the markup goes, which a request's text may hold too, and once after.
        let before = self.masked(&said, with_lines);
        let said = plain(&before)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let masked = match said == before {
            true => before,
            false => self.masked(&said, with_lines),
        };
        let mut shown: String = masked.trim().chars().take(SHOWN).collect();
        if shown.len() < masked.trim().len() {
            shown.push('…');
        }
        visible(shown.trim_end_matches('.')).into_owned()
    }

    /// The name or id that a service gives, as [`sentence`](Self::sentence) shows it. One comes with every
    /// answer, so the instructions are not looked at, which are long and hold nothing of the data; nor is the
    /// text where it is a UUID, which could be a key. Lines shorter than a stretch stay: a message may well be
    /// the name of the model.
    #[must_use]
    pub fn name(&self, said: &str) -> String {
        let texts = match Uuid::try_parse(said) {
            Ok(_) => &[],
            Err(_) => self.texts,
        };
        let mask = Mask {
            texts,
            instructions: &[],
            ..*self
        };
        mask.shown(said, false)
    }

    /// `said` without what must not be shown, however it is read.
    fn masked(&self, said: &str, with_lines: bool) -> String {
        let readings = [Reading::Unescaped, Reading::Literal].into_iter();
        let hidden = readings.flat_map(|reading| self.hidden(said, reading, with_lines));
        let mut hidden = hidden.collect::<Vec<_>>();
        hidden.sort_by_key(|unit| unit.start);
        let mut shown = String::with_capacity(said.len());
        let mut end = 0;
        for unit in hidden {
            if unit.end > end {
                let before = said.get(end..unit.start.max(end)).unwrap_or_default();
                // Neighbours are one stretch, with what was dropped between them.
                let joined = shown.ends_with(MASKED) && before.chars().all(is_unseen);
                if !joined {
                    shown.push_str(before);
                    shown.push_str(MASKED);
                }
                end = unit.end;
            }
        }
        shown.push_str(said.get(end..).unwrap_or_default());
        shown
    }

    /// The characters of `said`, as it is read, that must not be shown.
    fn hidden(&self, said: &str, reading: Reading, with_lines: bool) -> Vec<Unit> {
        let folded = fold(said, reading);
        let mut hidden = vec![false; folded.len()];
        for text in self.texts {
            let text = fold(text, reading);
            hide(&folded, &text, STRETCH, &mut hidden);
        }
        for text in self.texts.iter().filter(|_| with_lines) {
            hide_lines(&folded, text, reading, &mut hidden);
        }
        for text in self.instructions {
            let text = fold(text, reading);
            hide(&folded, &text, LONG_STRETCH, &mut hidden);
        }
        for secret in self.secrets {
            let secret = fold(secret, reading);
            if secret.len() >= SHORTEST_SECRET {
                hide(&folded, &secret, STRETCH.min(secret.len()), &mut hidden);
            }
        }
        let units = folded.into_iter().zip(hidden);
        units
            .filter(|(_, hidden)| *hidden)
            .map(|(unit, _)| unit)
            .collect()
    }
}

/// How texts are compared. An escape may begin in a text and end beside it, or the other way round, so that each
/// reading finds what the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// An escape of JSON, HTML or URLs is the character that it stands for.
    Unescaped,
    /// Every character is itself.
    Literal,
}

/// One character as texts are compared by, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Unit {
    value: char,
    start: usize,
    end: usize,
}

/// Marks the stretches of `said` that also occur in `text` and are at least `length` characters long.
fn hide(said: &[Unit], text: &[Unit], length: usize, hidden: &mut [bool]) {
    if said.len() < length {
        return;
    }
    let mut wanted = hashes(said, length).collect::<Vec<_>>();
    wanted.sort_unstable();
    let found = hashes(text, length).filter(|hash| wanted.binary_search(hash).is_ok());
    let found = found.collect::<HashSet<_>>();
    if found.is_empty() {
        return;
    }
    for (at, hash) in hashes(said, length).enumerate() {
        if found.contains(&hash) {
            let found = hidden.iter_mut().skip(at).take(length);
            found.for_each(|hidden| *hidden = true);
        }
    }
}

/// Marks the lines of `text` that are too short for a stretch, where they are whole words of `said`. In a
/// prompt, the lines of a message are lines.
fn hide_lines(said: &[Unit], text: &str, reading: Reading, hidden: &mut [bool]) {
    let values = |units: &[Unit]| units.iter().map(|unit| unit.value).collect::<String>();
    let lines = text.lines().map(|line| {
        let line = values(&fold(line, reading));
        line.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
    });
    let lengths = SHORTEST_LINE..STRETCH;
    let lines = lines.filter(|line| lengths.contains(&line.chars().count()));
    let lines = lines.collect::<HashSet<_>>();
    if lines.is_empty() {
        return;
    }
    let at = |index: usize| said.get(index).map(|unit| unit.value);
    // From U+0E00 on are the scripts that put no space between words.
    let is_of_word = |c: char| c == '_' || c.is_alphanumeric() && c < '\u{e00}';
    let parts_a_word = |index: usize| {
        [index.checked_sub(1).and_then(at), at(index)].map(|c| c.is_some_and(is_of_word))
            == [true; 2]
    };
    for length in lengths {
        for (start, window) in said.windows(length).enumerate() {
            let is_whole = !parts_a_word(start) && !parts_a_word(start + length);
            if is_whole && lines.contains(&values(window)) {
                let found = hidden.iter_mut().skip(start).take(length);
                found.for_each(|hidden| *hidden = true);
            }
        }
    }
}

/// A hash of each stretch of `length` characters, after Karp and Rabin: equal stretches have equal ones, so
/// that at worst too much is masked.
fn hashes(units: &[Unit], length: usize) -> impl Iterator<Item = u64> {
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let add = |hash: u64, unit: &Unit| {
        let value = u64::from(u32::from(unit.value));
        hash.wrapping_mul(BASE).wrapping_add(value)
    };
    // What the character has become that leaves the stretch.
    let leaving = (0..length).fold(1, |power: u64, _| power.wrapping_mul(BASE));
    let (first, rest) = units.split_at_checked(length).unwrap_or_default();
    let mut hash = first.iter().fold(0, add);
    let begin = (!first.is_empty()).then_some(hash);
    let next = units.iter().zip(rest).map(move |(out, unit)| {
        let out = leaving.wrapping_mul(u64::from(u32::from(out.value)));
        hash = add(hash, unit).wrapping_sub(out);
        hash
    });
    begin.into_iter().chain(next)
}

/// `text` as it is compared: white space as one space, in lower case, and without what is not seen.
fn fold(text: &str, reading: Reading) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        let (value, length) = match c {
            _ if reading == Reading::Literal => None,
            '\\' => json_escape(rest),
            '&' => html_entity(rest),
            '%' => url_escape(rest),
            // As forms write a blank.
            '+' => Some((Some(' '), 1)),
            _ => None,
        }
        .unwrap_or((Some(c), c.len_utf8()));
        let (start, end) = (at, at + length);
        let unit = |value| Unit { value, start, end };
        match value {
            Some(c) if c.is_whitespace() => match units.last_mut() {
                Some(last) if last.value == ' ' => last.end = end,
                _ => units.push(unit(' ')),
            },
            Some(c) if c.is_ascii_graphic() => units.push(unit(c.to_ascii_lowercase())),
            Some(c) if !is_unseen(c) => units.push(unit(c.to_lowercase().next().unwrap_or(c))),
            _ => {}
        }
        at = end;
    }
    units
}

/// The character that an escape of JSON at the beginning of `text` stands for, however often it was
/// escaped, and its length in bytes. No character for half of a surrogate pair.
fn json_escape(text: &str) -> Option<(Option<char>, usize)> {
    let after = text.trim_start_matches('\\');
    let slashes = text.len() - after.len();
    let escaped = after.chars().next()?;
    match escaped {
        'n' | 'r' | 't' | 'b' | 'f' => Some((Some(' '), slashes + 1)),
        '"' | '\'' | '/' => Some((Some(escaped), slashes + 1)),
        'u' => {
            let unit = u32::from_str_radix(after.get(1..5)?, 16).ok()?;
            Some((char::from_u32(unit), slashes + 5))
        }
        _ => Some((Some('\\'), slashes)),
    }
}

/// As [`json_escape`], for HTML.
fn html_entity(text: &str) -> Option<(Option<char>, usize)> {
    let (name, _) = text
        .get(1..)?
        .split_once(';')
        .filter(|(name, _)| name.len() <= 8)?;
    let c = match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = name.strip_prefix('#')?;
            let hex = number
                .strip_prefix(['x', 'X'])
                .map(|hex| u32::from_str_radix(hex, 16));
            char::from_u32(hex.unwrap_or_else(|| number.parse()).ok()?)
        }
    };
    Some((c, name.len() + 2))
}

/// As [`json_escape`], for URLs.
fn url_escape(text: &str) -> Option<(Option<char>, usize)> {
    let byte = |at: usize| {
        let digits = text.get(at..at + 3)?.strip_prefix('%')?;
        u8::from_str_radix(digits, 16).ok()
    };
    let first = byte(0)?;
    let count = match first {
        0..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    let bytes = (0..count)
        .map_while(|index| byte(3 * index))
        .collect::<Vec<_>>();
    let c = std::str::from_utf8(&bytes).ok()?.chars().next()?;
    Some((Some(c), 3 * count))
}

/// `text` without the markup of a page, of XML or of single words; a text that has none stays as it is.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('<') {
        return Cow::Borrowed(text);
    }
    let lower = text.to_ascii_lowercase();
    const TAGS: [&str; 7] = ["<html", "<!doctype", "<head", "<body", "<h1", "<p>", "<br"];
    if TAGS.iter().any(|tag| lower.contains(tag)) {
        Cow::Owned(words(text, &["script", "style", "head", "title"]))
    } else if lower.contains("<?xml") || has_element(&lower) {
        Cow::Owned(words(text, &["script", "style"]))
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether an element begins and ends in `text`.
fn has_element(text: &str) -> bool {
    text.match_indices("</").any(|(at, end)| {
        let (before, after) = text.split_at(at);
        let name = after.trim_start_matches(end).split('>').next();
        name.is_some_and(|name| !name.is_empty() && before.contains(&format!("<{name}")))
    })
}

/// The text between tags, without that inside the elements `left_out`.
fn words(page: &str, left_out: &[&str]) -> String {
    /// Elements within a line, which are no gap between words.
    const WITHIN: [&str; 7] = ["a", "b", "code", "em", "i", "span", "strong"];
    let mut words = String::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        words.push_str(before);
        if let Some(data) = tag.strip_prefix("![CDATA[") {
            let (data, after) = data.split_once("]]>").unwrap_or((data, ""));
            words.push_str(data);
            rest = after;
            continue;
        }
        if let Some(comment) = tag.strip_prefix("!--") {
            words.push(' ');
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        if !tag.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
            words.push('<');
            rest = tag;
            continue;
        }
        let name = tag.trim_start_matches('/');
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next();
        let name = name.unwrap_or_default().to_ascii_lowercase();
        if !WITHIN.contains(&name.as_str()) {
            words.push(' ');
        }
        rest = tag.split_once('>').map_or("", |(_, after)| after);
        if left_out.contains(&name.as_str()) && !tag.starts_with('/') {
            let end = rest.to_ascii_lowercase().find(&format!("</{name}"));
            rest = end.and_then(|end| rest.get(end..)).unwrap_or_default();
        }
    }
    words.push_str(rest);
    let mut decoded = String::with_capacity(words.len());
    let mut rest = words.as_str();
    while let Some(at) = rest.find('&') {
        let (before, entity) = rest.split_at(at);
        decoded.push_str(before);
        let (c, length) = html_entity(entity).unwrap_or((Some('&'), 1));
        decoded.extend(c);
        rest = entity.get(length..).unwrap_or_default();
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labeling::prompt::Prompts;
    use crate::labeling::task::Task;
    use proptest::prelude::*;

    const KEY: &str = "0123456789abcdef0123456789ABCDEF";

    fn shown(said: &str, text: &str) -> String {
        let mask = Mask {
            secrets: &[KEY],
            texts: &[text],
            instructions: &[],
        };
        mask.sentence(said)
    }

    #[test]
    fn control_characters_are_shown_escaped() {
        assert_eq!(visible("plain 字 \u{e9}"), "plain 字 \u{e9}");
        assert_eq!(
            visible("\u{1b}]0;pwn\u{7}\u{1b}[31mtrain"),
            "\\u{1b}]0;pwn\\u{7}\\u{1b}[31mtrain"
        );
        assert_eq!(
            visible("a\nb\tc\u{9b}d\u{202e}e"),
            "a\\nb\\tc\\u{9b}d\\u{202e}e"
        );
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(visible_lines("a\n\u{1b}b\n"), "a\n\\u{1b}b\n");
    }

    #[test]
    fn a_sentence_is_one_line_without_markup_of_bounded_length() {
        assert_eq!(
            shown(" Too\r\n much.\u{1b}[31m ", ""),
            "Too much.\\u{1b}[31m"
        );
        assert_eq!(shown("It failed.", ""), "It failed");
        assert_eq!(shown(&"x".repeat(5_000), "").chars().count(), 301);
        let page = "<html><head><title>403 Forbidden</title><style>a{}</style></head><body>\
                    <center><h1>403 Forbidden</h1></center><hr><center>Gateway/v2 &amp; more</center>\
                    <script>let a = '<b>';</script></body></html>";
        assert_eq!(shown(page, ""), "403 Forbidden Gateway/v2 & more");
        assert_eq!(shown("<!doctype html><title>Sign in</title>", ""), "");
        assert_eq!(shown("<html", ""), "");
    }

    #[test]
    fn markup_is_told_from_words_with_angle_brackets() {
        for (said, words) in [
            (
                "<?xml version=\"1.0\"?>\n<Error><Code>Busy</Code><Message>It &lt;broke&gt;.</Message></Error>",
                "Busy It <broke>",
            ),
            ("<error><title>It broke</title></error>", "It broke"),
            (
                "<s:Fault><s:Reason lang='en'><![CDATA[1 < 2 & 3]]></s:Reason></s:Fault>",
                "1 < 2 & 3",
            ),
            ("<?xml version=\"1.0\"?><Error/>", ""),
            (
                "1 < 2, see <a href=\"https://x.y/z\">the page</a> (<b>now</b>).",
                "1 < 2, see the page (now)",
            ),
            ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
            ("List<int> is odd", "List<int> is odd"),
            (
                "Got <|end|> or </s> too early",
                "Got <|end|> or </s> too early",
            ),
        ] {
            assert_eq!(shown(said, ""), words, "{said}");
        }
    }

    /// A prompt about `message`.
    fn asking(message: &str) -> String {
        let example = include_str!("labeling/prompt/example.txt").replace("MARK", &"0".repeat(32));
        example.replace("why is it slow?", message)
    }

    #[test]
    fn a_message_shorter_than_a_stretch_is_masked_where_it_is_whole_words() {
        for (message, said, masked) in [
            ("PIN 4711", "no \"PIN 4711\"!", "no \"[…]\"!"),
            (
                "PIN 4711",
                "{\"content\":\"\\npin\\t4711\\n\"}",
                "{\"content\":\"\\n[…]\\n\"}",
            ),
            ("PIN 4711", "no PIN%204711 or pin+4711", "no […] or […]"),
            (" - PIN: 4711!\r", "no PIN: 4711, no", "no […], no"),
            ("PIN 4711\nand many thanks", "no PIN 4711", "no […]"),
            (
                "密码是4711",
                "无法处理密码是4711的请求",
                "无法处理[…]的请求",
            ),
            ("test", "a test of it", "a […] of it"),
            (
                "PIN 4711",
                "XPIN 4711 and PIN 47112",
                "XPIN 4711 and PIN 47112",
            ),
            ("token", "max_tokens, max_token", "max_tokens, max_token"),
            ("yes", "yes or no", "yes or no"),
            ("a", "a request", "a request"),
        ] {
            assert_eq!(shown(said, &asking(message)), masked, "{message}");
        }
    }

    #[test]
    fn secrets_and_the_requests_own_text_are_masked_in_every_dress() {
        let own = "My \"secret\" plan:\n\tburn <everything> in C:\\new & run";
        let table = [
            format!("bad key {KEY} given"),
            format!("bad key {} given", KEY.to_lowercase()),
            format!("bad key {} given", KEY.get(3..20).unwrap()),
            format!("cannot parse {own} at all"),
            "cannot parse My \"secret\" plan: burn <everything> in C:\\new & run at all".into(),
            format!("cannot parse {} at all", serde_json::to_string(own).unwrap()),
            format!(
                "cannot parse {} at all",
                serde_json::to_string(&serde_json::to_string(own).unwrap()).unwrap()
            ),
            "cannot parse My &quot;secret&quot; plan:&#10;&#x9;burn &lt;everything&gt; in C:\\new &amp; \
             run at all"
                .into(),
            "cannot parse My%20%22secret%22%20plan%3A%0A%09burn%20%3Ceverything%3E%20in C:\\new & run".into(),
            "cannot parse My+%22secret%22+plan%3A%0A%09burn+%3Ceverything%3E+in C:\\new & run".into(),
            "cannot parse M\u{200b}y \"sec\u{7}ret\" plan:\u{a0}burn <everything> in C:\\new & run".into(),
            "cannot parse \\u004dy \\\"secret\\\" plan: burn <everything> in C:\\new & run".into(),
        ];
        for said in table {
            let shown = shown(&said, own);
            assert!(shown.contains(MASKED), "{said}: {shown}");
            for leak in [
                "secret",
                "plan",
                "burn",
                "everything",
                "abcdef",
                "56789",
                "run",
            ] {
                assert!(!shown.contains(leak), "{said}: {shown}");
            }
        }
    }

    #[test]
    fn letters_of_every_script_are_masked_in_either_case() {
        for (said, own) in [
            ("NO: МОЙ ТАЙНЫЙ ПЛАН НА ЛЕТО", "мой тайный план на лето"),
            ("no: ÄRGER MIT ÖLHEIZUNGEN", "Ärger mit Ölheizungen"),
        ] {
            assert_eq!(shown(said, own).to_lowercase(), "no: […]", "{said}");
        }
    }

    #[test]
    fn names_and_ids_hold_no_secret_and_nothing_of_the_text() {
        let (id, text) = ("0f8fad5b-d9cb-469f-a165-70867728950e", "my secret plan");
        let mask = Mask {
            secrets: &[KEY],
            texts: &[text],
            instructions: &["You decide whether a question requires reasoning."],
        };
        assert_eq!(mask.name(id), id);
        assert_eq!(mask.name("gpt-5.2-2025-12-11"), "gpt-5.2-2025-12-11");
        assert_eq!(mask.name(KEY), MASKED);
        assert_eq!(mask.name("req_My%20Secret%20Plan"), "req_[…]");
        // A price goes by a model's name, whatever is asked about it.
        let mask = Mask {
            texts: &[&asking("gpt-4.1")],
            ..Mask::default()
        };
        assert_eq!(mask.name("gpt-4.1"), "gpt-4.1");
    }

    #[test]
    fn short_stretches_and_placeholders_for_keys_stay() {
        let mask = Mask {
            secrets: &["x", ""],
            texts: &["please explain it", ""],
            instructions: &[],
        };
        assert_eq!(
            mask.sentence("explain the next step"),
            "explain the next step"
        );
        assert_eq!(mask.sentence("say please explain, x"), "say […], x");
        assert_eq!(Mask::default().sentence("as it is"), "as it is");
    }

    /// What the model is told of the built-in task.
    fn told() -> Prompts {
        Prompts::of(&Task::built_in())
    }

    #[test]
    fn instructions_are_masked_like_any_text() {
        for prompt in told().systems() {
            let mask = Mask {
                instructions: &[prompt],
                ..Mask::default()
            };
            let words = prompt.split_whitespace().collect::<Vec<_>>();
            for echoed in words.chunks(12).map(|words| words.join(" ")) {
                let shown = mask.sentence(&format!("cannot parse \"{echoed}\" at all"));
                assert_eq!(shown, "cannot parse \"[…]\" at all", "{echoed}");
            }
            let whole = serde_json::to_string(prompt).unwrap();
            assert_eq!(mask.sentence(&format!("no: {whole}")), "no: \"[…]\"");
        }
    }

    #[test]
    fn the_services_own_sentences_stay_whole() {
        let told = told();
        let mask = Mask {
            secrets: &[KEY],
            texts: &[include_str!("labeling/prompt/example.txt")],
            instructions: &told.systems(),
        };
        for said in [
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
             'max_completion_tokens' instead",
            "Could not finish the message because max_tokens or model output limit was reached. Please \
             try again with higher max_tokens",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a \
             valid key for an active subscription and use a correct regional API endpoint for your resource",
            "The API deployment for this resource does not exist",
        ] {
            assert_eq!(mask.sentence(said), said);
        }
    }

    #[test]
    fn a_text_is_masked_whatever_escape_takes_a_part_of_it() {
        let texts = [
            (" % \"\"\\%<\u{e9}\n\\\\", "%<\u{e9}"),
            ("\u{e9} %\"\n%<\n\\\u{e9}\\b\\", "<\u{e9}"),
            ("no one knows %", "one"),
            ("41 are none of &", "none"),
        ];
        let around = [
            ("", "\u{7f}"),
            ("", "n\u{feff}"),
            ("\\u00", "41"),
            ("%", "lt;"),
        ];
        for (text, part) in texts {
            for (before, after) in around {
                let shown = shown(&format!("{before}{text}{after}"), text);
                assert!(shown.contains(MASKED) && !shown.contains(part), "{shown}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_stretch_of_a_text_passes(
            text in "[a-c \"\\\\&%<\n\u{e9}]{12,40}", before in ".{0,20}", after in ".{0,20}"
        ) {
            let sentence = shown(&format!("{before}{text}{after}"), &text);
            let unescaped = |text: &str| fold(text, Reading::Unescaped);
            let (sentence, text) = (unescaped(&sentence), unescaped(&text));
            let values = |units: &[Unit]| units.iter().map(|unit| unit.value).collect::<String>();
            for window in text.windows(STRETCH) {
                prop_assert!(!values(&sentence).contains(&values(window)));
            }
        }

        #[test]
        fn whatever_is_said_is_shown_on_one_line(said in ".*", text in ".*") {
            let shown = shown(&said, &text);
            prop_assert!(!shown.contains(is_unseen));
            prop_assert!(shown.chars().count() <= 10 * SHOWN);
        }
    }
}
