//! Free texts: a few plausible sentences about the message, cut where the limit says.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::chance::{Purpose, Source};
use super::request::text_tokens;

/// Longest text, in tokens, that an overlong answer tries to be.
const OVERLONG_TOKENS: u64 = 4_000;

const SIMPLE: [&str; 8] = [
    "The message can be answered directly.",
    "It asks for nothing that has to be worked out.",
    "A short reply from common knowledge is enough.",
    "There is no chain of steps between the question and a good answer.",
    "The wording is plain and leaves little room for doubt.",
    "A polite acknowledgement covers everything that was said.",
    "Nothing in it depends on weighing alternatives.",
    "Looking up one fact at most settles it.",
];
const REASONING: [&str; 8] = [
    "A good answer has to be worked out in several steps.",
    "The message asks for causes, and those must be told apart.",
    "Several constraints have to hold at once, so they must be weighed.",
    "It cannot be answered from memory alone.",
    "The result of one step decides how the next one goes.",
    "Alternatives have to be compared before one can be recommended.",
    "An error early on would spoil the whole answer.",
    "The details given have to be combined before anything follows from them.",
];
const UNDECIDED: [&str; 3] = [
    "The case is close to the line.",
    "One could argue for the other side.",
    "Much depends on what was said before.",
];

/// A text and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FreeText {
    pub(super) text: String,
    pub(super) tokens: u64,
    /// The limit ended it.
    pub(super) cut: bool,
}

/// Writes two to four sentences that fit the judgement, at most `max_tokens` long.
pub(super) fn write(
    source: Source,
    judgement: f64,
    overlong_rate: f64,
    max_tokens: Option<u64>,
) -> FreeText {
    let mut rng = source.rng(Purpose::Text);
    let overlong = rng.random::<f64>() < overlong_rate;
    let count = rng.random_range(2..=4);
    let bank = if judgement > 0.0 { &SIMPLE } else { &REASONING };
    let mut text = String::new();
    for sentence in bank.sample(&mut rng, count) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(sentence);
    }
    if judgement.abs() < 1.0 {
        text.push(' ');
        text.push_str(UNDECIDED.choose(&mut rng).copied().unwrap_or_default());
    }
    let limit = max_tokens.unwrap_or(u64::MAX);
    while overlong && text_tokens(&text) <= limit.min(OVERLONG_TOKENS) {
        text.push(' ');
        text.push_str(bank.choose(&mut rng).copied().unwrap_or_default());
    }
    let tokens = text_tokens(&text);
    if tokens <= limit {
        return FreeText {
            text,
            tokens,
            cut: false,
        };
    }
    let end = text
        .char_indices()
        .nth(limit as usize * 4)
        .map_or(text.len(), |(i, _)| i);
    text.truncate(end);
    FreeText {
        text,
        tokens: limit,
        cut: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_seeded_and_whole_below_the_limit() {
        let text = |key| write(Source::new(1, key), 3.0, 0.0, Some(400));
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
        assert!(!text(1).cut && text(1).text.ends_with('.'));
    }

    #[test]
    fn overlong_texts_are_cut_at_the_limit() {
        let text = write(Source::new(1, 1), -3.0, 1.0, Some(120));
        assert!(text.cut);
        assert_eq!(text.tokens, 120);
        assert_eq!(text.text.chars().count(), 480);
        let short = write(Source::new(1, 1), -3.0, 0.0, Some(5));
        assert!(short.cut && short.tokens == 5);
    }
}
