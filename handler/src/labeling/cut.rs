//! Messages over a token limit are cut in the middle.
//!
//! The rule: the first half of the limit is kept from the head of the text and the other half from
//! its tail, each on a character boundary, and a line between them says about how many tokens are
//! left out. The request stands at the start or at the end of a message; what is pasted stands in
//! between. The line itself comes on top of the limit.

use std::borrow::Cow;

/// Counts and cuts text as a model's tokenizer sees it.
///
/// A token is at least one byte, so that a text never has more tokens than bytes. None of these
/// may panic, whatever the text, and `head` and `tail` look at little more than what they give
/// back, however long the text.
pub trait TokenCounter: Send + Sync {
    /// The number of tokens of all of `text`.
    fn count(&self, text: &str) -> usize;

    /// A prefix of at most `tokens` tokens, as long as can be found in one pass; all of the text if
    /// it has no more.
    fn head<'t>(&self, text: &'t str, tokens: usize) -> &'t str;

    /// A suffix of at most `tokens` tokens, as `head`.
    fn tail<'t>(&self, text: &'t str, tokens: usize) -> &'t str;
}

/// What [`cut`] makes of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut<'t> {
    /// The text: all of it, or head, line, tail.
    pub text: Cow<'t, str>,
    /// Whether something was left out in the middle.
    pub is_cut: bool,
}

/// Cuts a text to `limit` tokens by the module's rule; a text within the limit is borrowed as it is.
///
/// The cost is that of the limit, not of the text. Therefore the number of tokens left out is an
/// estimate, from the bytes a token has in the parts that are kept.
#[must_use]
pub fn cut<'t>(text: &'t str, limit: usize, tokens: &dyn TokenCounter) -> Cut<'t> {
    let whole = Cut {
        text: Cow::Borrowed(text),
        is_cut: false,
    };
    if text.len() <= limit {
        return whole;
    }
    let within = tokens.head(text, limit);
    if within.len() == text.len() {
        return whole;
    }
    let head = tokens.head(within, limit / 2);
    let rest = text.get(head.len()..).unwrap_or_default();
    let tail = tokens.tail(rest, limit - limit / 2);
    let left_out = left_out(text.len(), head.len() + tail.len(), limit);
    let text = format!("{head}\n[... about {left_out} tokens left out here ...]\n{tail}");
    Cut {
        text: Cow::Owned(text),
        is_cut: true,
    }
}

/// About how many tokens are in the bytes that are not kept, if `limit` tokens are in those kept.
fn left_out(bytes: usize, kept: usize, limit: usize) -> usize {
    /// Of English and of code, where nothing is kept to measure it on.
    const BYTES_PER_TOKEN: usize = 4;
    let dropped = bytes.saturating_sub(kept);
    let estimate = if kept == 0 || limit == 0 {
        dropped / BYTES_PER_TOKEN
    } else {
        dropped.saturating_mul(limit) / kept
    };
    estimate.max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A token is a character.
    pub(crate) struct Characters;

    impl TokenCounter for Characters {
        fn count(&self, text: &str) -> usize {
            text.chars().count()
        }

        fn head<'t>(&self, text: &'t str, tokens: usize) -> &'t str {
            let end = text
                .char_indices()
                .nth(tokens)
                .map_or(text.len(), |(at, _)| at);
            text.split_at(end).0
        }

        fn tail<'t>(&self, text: &'t str, tokens: usize) -> &'t str {
            let skipped = text.chars().count().saturating_sub(tokens);
            let start = text
                .char_indices()
                .nth(skipped)
                .map_or(text.len(), |(at, _)| at);
            text.split_at(start).1
        }
    }

    #[test]
    fn a_text_within_the_limit_is_left_alone() {
        for text in ["", "abc", "äöüß", "日本語テキスト"] {
            let cut = cut(text, 7, &Characters);
            assert_eq!(
                cut,
                Cut {
                    text: Cow::Borrowed(text),
                    is_cut: false
                }
            );
        }
    }

    #[test]
    fn head_and_tail_are_kept_and_the_line_says_what_is_not() {
        let cut = cut("aaaabbbbbbbbbbcccc", 8, &Characters);
        assert!(cut.is_cut);
        assert_eq!(
            cut.text,
            "aaaa\n[... about 10 tokens left out here ...]\ncccc"
        );
    }

    #[test]
    fn an_odd_limit_gives_the_tail_one_more() {
        let cut = cut("äbcdéfgh", 3, &Characters);
        assert!(
            cut.text.starts_with("ä\n[") && cut.text.ends_with("]\ngh"),
            "{}",
            cut.text
        );
    }

    #[test]
    fn nothing_may_be_kept() {
        let cut = cut("abcdefgh", 0, &Characters);
        assert_eq!(cut.text, "\n[... about 2 tokens left out here ...]\n");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_head_and_tail(text in "\\PC{0,60}", limit in 0..80usize) {
            let cut = cut(&text, limit, &Characters);
            prop_assert_eq!(cut.is_cut, text.chars().count() > limit);
            if cut.is_cut {
                let (head, rest) = cut.text.split_once("\n[... about ").unwrap();
                let (_, tail) = rest.split_once(" tokens left out here ...]\n").unwrap();
                prop_assert!(text.starts_with(head) && text.ends_with(tail));
                prop_assert_eq!(head.chars().count() + tail.chars().count(), limit);
            } else {
                prop_assert_eq!(cut.text, text.as_str());
            }
        }
    }
}
