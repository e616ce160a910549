//! What a request is about, as the double sees it: the last user message without its random marks.
//!
//! A caller may put a fresh mark (an id, a boundary) into each request. Hashing it would turn every
//! repetition into a new message, so runs of letters and digits that hold twelve or more hex digits in
//! a row, and UUIDs, are cut out before anything is derived from the text. White space is folded, and
//! lines that define what "0" and "1" mean are left out of the key, so that the same message asked
//! with the meanings swapped stays the same message.

use xxhash_rust::xxh3::xxh3_64;

use super::meaning;

/// The last user message, reduced to what identifies it.
#[derive(Debug)]
pub(super) struct MessageKey {
    /// Identifies the message, however it is asked for.
    pub(super) key: u64,
    /// Hash of the user text without marks, white space folded.
    pub(super) text_hash: u64,
    /// Characters of that text.
    pub(super) text_chars: usize,
    /// What identifies the message: that text without lines that define the labels.
    pub(super) text: String,
}

impl MessageKey {
    pub(super) fn of(user_text: &str) -> Self {
        let whole = without_marks(user_text);
        let text_hash = xxh3_64(whole.as_bytes());
        let text_chars = whole.chars().count();
        match without_definitions(user_text) {
            None => Self {
                key: text_hash,
                text_hash,
                text_chars,
                text: whole,
            },
            Some(rest) => {
                let text = without_marks(&rest);
                Self {
                    key: xxh3_64(text.as_bytes()),
                    text_hash,
                    text_chars,
                    text,
                }
            }
        }
    }
}

/// The text with marks removed and each run of white space folded into one space.
fn without_marks(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut word_start = None;
    let bytes = text.as_bytes();
    let close = |kept: &mut String, start: usize, end: usize| {
        // Boundaries are ASCII bytes, hence character boundaries.
        if let Some(word) = text.get(start..end)
            && !is_mark(word)
        {
            kept.push_str(word);
        }
    };
    for (i, &b) in bytes.iter().enumerate() {
        if is_mark_byte(b) {
            word_start.get_or_insert(i);
            continue;
        }
        if let Some(start) = word_start.take() {
            close(&mut kept, start, i);
        }
        if b.is_ascii_whitespace() {
            if !kept.is_empty() && !kept.ends_with(' ') {
                kept.push(' ');
            }
        } else if b.is_ascii() {
            kept.push(char::from(b));
        } else if let Some(c) = text.get(i..).and_then(|rest| rest.chars().next()) {
            // The first byte of a longer character; its continuation bytes are no boundaries.
            kept.push(c);
        }
    }
    if let Some(start) = word_start {
        close(&mut kept, start, bytes.len());
    }
    kept.truncate(kept.trim_end().len());
    kept
}

fn is_mark_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

/// Whether a run of letters, digits, `-` and `_` holds a UUID or twelve hex digits in a row. A run of
/// letters alone is a word, however hexadecimal it looks.
fn is_mark(word: &str) -> bool {
    if word.len() < 12 || !word.bytes().any(|b| b.is_ascii_digit()) {
        return false;
    }
    let mut run = 0;
    for b in word.bytes() {
        run = if b.is_ascii_hexdigit() { run + 1 } else { 0 };
        if run >= 12 {
            return true;
        }
    }
    false
}

/// The text without the lines that define a label; `None` where it has no such line.
fn without_definitions(text: &str) -> Option<String> {
    if !meaning::might_define(text) {
        return None;
    }
    let mut rest = String::with_capacity(text.len());
    let mut cut = false;
    for line in text.lines() {
        if meaning::Definitions::of(line).any() {
            cut = true;
        } else {
            rest.push_str(line);
            rest.push('\n');
        }
    }
    cut.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_white_space_do_not_change_the_key() {
        let a =
            MessageKey::of("<msg-3f9a1c04b2de77>\nWhy  is the sky blue?\n</msg-3f9a1c04b2de77>");
        let b = MessageKey::of("<msg-a00b1c2d3e4f55> Why is the sky\nblue? </msg-a00b1c2d3e4f55>");
        assert_eq!(a.key, b.key);
        assert_eq!(a.text, "<> Why is the sky blue? </>");
        let uuid = MessageKey::of("id 67e55044-10b1-426f-9247-bb680e5fe0c8: hello");
        assert_eq!(uuid.text, "id : hello");
    }

    #[test]
    fn other_messages_have_other_keys() {
        assert_ne!(MessageKey::of("thanks").key, MessageKey::of("thanks!").key);
        assert_ne!(MessageKey::of("a b").key, MessageKey::of("ab").key);
    }

    #[test]
    fn words_and_other_scripts_survive() {
        for text in ["effaceddecade is long", "naïve – 数学 12345", "v1.2.3-beta"] {
            assert_eq!(MessageKey::of(text).text, text);
        }
    }

    #[test]
    fn definitions_inside_the_user_text_do_not_change_the_key() {
        let a = "0 = reasoning is required\n1 = no reasoning is required\nMessage: hello";
        let b = "0 = no reasoning is required\n1 = reasoning is required\nMessage: hello";
        assert_eq!(MessageKey::of(a).key, MessageKey::of(b).key);
        assert_ne!(MessageKey::of(a).text_hash, MessageKey::of(b).text_hash);
    }
}
