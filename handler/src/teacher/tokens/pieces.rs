//! Texts in pieces that the tokenizer can take.
//!
//! Messages hold anything: megabytes of spaces, base64 without a line break, CJK without a space.
//! The tokenizer splits a text by a backtracking regex, which gives up on runs of white space of
//! about a million characters, and tiktoken-rs 0.12 panics where it does; and it merges a run
//! without a split in O(n log n). Therefore it sees no more than [`PIECE`] bytes at a time. A text
//! is split behind line breaks where that cannot change the tokens; where there is none it is split
//! between any two characters, which may add a few tokens per piece.

/// Most bytes that the tokenizer sees at a time.
const PIECE: usize = 16 * 1024;

/// Splits off at most [`PIECE`] bytes at the beginning.
pub(super) fn split_first(text: &str) -> (&str, &str) {
    if text.len() <= PIECE {
        return (text, "");
    }
    let window = text.floor_char_boundary(PIECE);
    let at = memchr::memrchr_iter(b'\n', text.as_bytes().get(..window).unwrap_or_default())
        .map(|line_break| line_break + 1)
        .find(|&at| is_split(text, at))
        .unwrap_or(window);
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// Splits off at most [`PIECE`] bytes at the end.
pub(super) fn split_last(text: &str) -> (&str, &str) {
    if text.len() <= PIECE {
        return ("", text);
    }
    let window = text.ceil_char_boundary(text.len() - PIECE);
    let at = memchr::memchr_iter(b'\n', text.as_bytes().get(window..).unwrap_or_default())
        .map(|line_break| window + line_break + 1)
        .find(|&at| is_split(text, at))
        .unwrap_or(window);
    text.split_at_checked(at).unwrap_or(("", text))
}

/// Whether no token reaches across a position behind a line break.
///
/// In the regexes of both encodings a match that takes in a line break ends with the last break of
/// the run of white space, or of the line breaks and slashes behind punctuation (`[\r\n/]*`).
fn is_split(text: &str, at: usize) -> bool {
    let next = text.get(at..).and_then(|rest| rest.chars().next());
    next.is_some_and(|c| !c.is_whitespace() && c != '/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{BOTH, any_text, unkind_texts};
    use super::*;
    use crate::labeling::cut::TokenCounter;

    #[test]
    fn pieces_of_lines_have_the_tokens_of_the_whole() {
        let log =
            "2026-11-01 12:00:00 ERROR (main) failed:\n\n    at foo/bar.rs:12\n//\n/x\r\n  )\n";
        let text = log.repeat(2 * PIECE / log.len() + 1);
        for encoding in BOTH {
            assert_eq!(encoding.count(&text), encoding.encode(&text).len());
        }
    }

    #[test]
    fn a_piece_adds_few_tokens_where_there_are_no_lines() {
        for (name, text) in unkind_texts(10 * PIECE) {
            for encoding in BOTH {
                let (pieces, whole) = (encoding.count(&text), encoding.encode(&text).len());
                assert!(
                    pieces.abs_diff(whole) <= 5 * 11,
                    "{name}: {pieces} for {whole}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_split_behind_a_line_break_changes_no_token(text in any_text(), more in any_text()) {
            let text = format!("{text}\n{more}");
            for at in memchr::memchr_iter(b'\n', text.as_bytes()).map(|i| i + 1) {
                if is_split(&text, at) {
                    let (before, behind) = text.split_at(at);
                    for encoding in BOTH {
                        let parts = [encoding.encode(before), encoding.encode(behind)].concat();
                        prop_assert_eq!(parts, encoding.encode(&text), "{:?} {}", text, at);
                    }
                }
            }
        }
    }
}
