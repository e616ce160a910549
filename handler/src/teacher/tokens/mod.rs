//! Token counts, as the deployment's tokenizer makes them.
//!
//! Whatever the text, counting takes linear time and does not panic, and cutting costs what is kept:
//! no more than one piece of bounded length goes through the tokenizer at a time.

mod pieces;

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tiktoken_rs::CoreBPE;

use self::pieces::{split_first, split_last};
use super::endpoint::Api;
use super::model::base;
use crate::labeling::cut::TokenCounter;

/// The token of "0" in either encoding.
pub const TOKEN_0: u32 = 15;

/// The token of "1" in either encoding.
pub const TOKEN_1: u32 = 16;

/// Tokens of a chat request beside its texts: three and the role for each of two messages, and three
/// that begin the answer (OpenAI cookbook, "How to count tokens with tiktoken").
pub const ENVELOPE: u32 = 11;

/// A tokenizer. Its vocabulary is built into the program, and loaded at first use (about 110 ms and
/// 45 MB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// gpt-5, gpt-4.1, gpt-4o and the o series.
    #[serde(rename = "o200k_base")]
    O200kBase,
    /// gpt-4 and gpt-3.5.
    #[serde(rename = "cl100k_base")]
    Cl100kBase,
    /// A tokenizer that is not known: counts are those of o200k_base, and estimates.
    #[serde(rename = "estimate")]
    Estimate,
}

impl Encoding {
    /// The tokenizer of a model by the model's name, such as `gpt-5.2` or `gpt-35-turbo-16k`; `None`
    /// if the name is not known. The name of a deployment says nothing about it.
    #[must_use]
    pub fn for_model(name: &str) -> Option<Self> {
        const O200K: [&str; 7] = [
            "gpt-5",
            "gpt-4o",
            "gpt-4.1",
            "gpt-4.5",
            "chatgpt-4o",
            "gpt-oss",
            "codex-mini",
        ];
        const CL100K: [&str; 2] = ["gpt-35-turbo", "gpt-3.5"];
        let name = base(name).to_ascii_lowercase();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let is_o_series = name
            .strip_prefix('o')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if starts(&O200K) || is_o_series {
            Some(Self::O200kBase)
        } else if name == "gpt-4" || name.starts_with("gpt-4-") || starts(&CL100K) {
            Some(Self::Cl100kBase)
        } else {
            None
        }
    }

    /// The tokenizer of a model that is asked in this form of the API. In Azure unknown models count with
    /// the newest tokenizer; elsewhere their tokenizer is unknown.
    #[must_use]
    pub fn at(model: &str, api: Api) -> Self {
        Self::for_model(model).unwrap_or(match api {
            Api::Azure => Self::O200kBase,
            Api::OpenAi => Self::Estimate,
        })
    }

    /// The ids of the tokens "0" and "1", where they are known.
    #[must_use]
    pub fn label_ids(self) -> Option<[u32; 2]> {
        match self {
            Self::O200kBase | Self::Cl100kBase => Some([TOKEN_0, TOKEN_1]),
            Self::Estimate => None,
        }
    }

    /// The name in settings and metadata, such as `o200k_base`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
            Self::Estimate => "estimate",
        }
    }

    fn tokenizer(self) -> &'static CoreBPE {
        match self {
            Self::O200kBase | Self::Estimate => tiktoken_rs::o200k_base_singleton(),
            Self::Cl100kBase => tiktoken_rs::cl100k_base_singleton(),
        }
    }

    fn encode(self, piece: &str) -> Vec<u32> {
        self.tokenizer().encode_ordinary(piece)
    }

    fn bytes(self, tokens: &[u32]) -> usize {
        // The tokens come from this tokenizer, so that it can decode them.
        self.tokenizer()
            .decode_bytes(tokens)
            .map_or(0, |bytes| bytes.len())
    }

    /// The first `tokens` tokens, without the part of a character at the end.
    fn prefix(self, text: &str, mut tokens: usize) -> &str {
        let mut kept = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = split_first(rest);
            let encoded = self.encode(piece);
            if encoded.len() > tokens {
                let first = encoded.get(..tokens).unwrap_or_default();
                kept += piece.floor_char_boundary(self.bytes(first));
                break;
            }
            tokens -= encoded.len();
            kept += piece.len();
            rest = after;
        }
        text.get(..kept).unwrap_or_default()
    }

    /// The last `tokens` tokens, without the part of a character at the beginning.
    fn suffix(self, text: &str, mut tokens: usize) -> &str {
        let mut start = text.len();
        let mut rest = text;
        while !rest.is_empty() {
            let (before, piece) = split_last(rest);
            let encoded = self.encode(piece);
            if encoded.len() > tokens {
                let skipped = encoded.get(..encoded.len() - tokens).unwrap_or_default();
                start = before.len() + piece.ceil_char_boundary(self.bytes(skipped));
                break;
            }
            tokens -= encoded.len();
            start = before.len();
            rest = before;
        }
        text.get(start..).unwrap_or_default()
    }

    /// Takes fewer tokens until what is taken has at most `limit`: a part of a word can have more
    /// tokens by itself than it had within the word.
    fn fit<'t>(self, limit: usize, take: impl Fn(usize) -> &'t str) -> &'t str {
        let mut tokens = limit;
        loop {
            let part = take(tokens);
            let excess = self.count(part).saturating_sub(limit);
            if excess == 0 {
                return part;
            }
            tokens = tokens.saturating_sub(excess);
        }
    }
}

impl TokenCounter for Encoding {
    fn count(&self, text: &str) -> usize {
        let mut count = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = split_first(rest);
            count += self.encode(piece).len();
            rest = after;
        }
        count
    }

    fn head<'t>(&self, text: &'t str, tokens: usize) -> &'t str {
        let prefix = self.prefix(text, tokens);
        if prefix.len() == text.len() {
            return text;
        }
        self.fit(tokens, |tokens| self.prefix(text, tokens))
    }

    fn tail<'t>(&self, text: &'t str, tokens: usize) -> &'t str {
        self.fit(tokens, |tokens| self.suffix(text, tokens))
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "o200k_base" => Ok(Self::O200kBase),
            "cl100k_base" => Ok(Self::Cl100kBase),
            "estimate" => Ok(Self::Estimate),
            other => Err(format!(
                "unknown tokenizer {other:?}: use \"o200k_base\", \"cl100k_base\" or \"estimate\""
            )),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::labeling::cut::cut;

    pub(super) const BOTH: [Encoding; 2] = [Encoding::O200kBase, Encoding::Cl100kBase];

    fn base64(bytes: usize) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(alphabet[(state >> 58) as usize])
        };
        (0..bytes).map(|_| next()).collect()
    }

    pub(super) fn unkind_texts(bytes: usize) -> Vec<(&'static str, String)> {
        let of = |unit: &str| unit.repeat(bytes / unit.len());
        vec![
            ("spaces", of(" ")),
            ("spaces before a word", of(" ") + "x"),
            ("tabs and spaces", of(" \t") + "x"),
            ("no-break spaces", of("\u{a0}")),
            ("line breaks", of("\n")),
            ("indented line breaks", of(" \r\n")),
            ("a", of("a")),
            ("capitals", of("A") + "x"),
            ("equals signs", of("=")),
            ("slashes and line breaks", of("=/\r\n/")),
            ("base64", base64(bytes)),
            ("Japanese", of("今日は良い天気ですね")),
            ("Hindi", of("नमस्ते")),
            ("combining marks", of("\u{301}")),
            ("emoji", of("👨‍👩‍👧🏽")),
            ("zero width", of("\u{200b}")),
            ("NUL", of("\0")),
        ]
    }

    #[test]
    fn models_have_their_encoding() {
        for name in [
            "gpt-5.2",
            "gpt-5",
            "GPT-4o-mini",
            "gpt-4.1",
            "o1",
            "o3-mini",
            "o4-mini",
            "gpt-5.2-chat",
        ] {
            assert_eq!(
                Encoding::for_model(name),
                Some(Encoding::O200kBase),
                "{name}"
            );
        }
        for name in ["gpt-4", "gpt-4-32k", "gpt-35-turbo", "gpt-3.5-turbo-0125"] {
            assert_eq!(
                Encoding::for_model(name),
                Some(Encoding::Cl100kBase),
                "{name}"
            );
        }
        for name in [
            "",
            "o",
            "my-deployment",
            "ops-model",
            "gpt-40",
            "llama-3",
            "gpt",
        ] {
            assert_eq!(Encoding::for_model(name), None, "{name}");
        }
    }

    #[test]
    fn labels_are_single_tokens() {
        for encoding in BOTH {
            assert_eq!(encoding.encode("0"), [TOKEN_0]);
            assert_eq!(encoding.encode("1"), [TOKEN_1]);
        }
    }

    #[test]
    fn names_are_read_back() {
        for encoding in BOTH {
            assert_eq!(encoding.as_str().parse(), Ok(encoding));
            assert_eq!(serde_json::to_value(encoding).unwrap(), encoding.as_str());
        }
        assert!("gpt2".parse::<Encoding>().is_err());
    }

    #[test]
    fn known_counts() {
        let text = "This is a test         with a lot of spaces";
        assert_eq!(Encoding::Cl100kBase.count(text), 10);
        assert_eq!(Encoding::O200kBase.count(""), 0);
        assert_eq!(Encoding::O200kBase.head(text, 3), "This is a");
        assert_eq!(Encoding::O200kBase.tail(text, 2), " of spaces");
    }

    /// tiktoken-rs 0.12 panics on these if it is given them whole.
    #[test]
    fn a_million_spaces_are_counted() {
        let text = " ".repeat(1_000_000) + "x";
        for encoding in BOTH {
            // 128 spaces are a token.
            assert!(encoding.count(&text).abs_diff(1_000_000 / 128) < 200);
            assert_eq!(encoding.tail(&text, 1), " x");
        }
    }

    #[test]
    fn unkind_texts_are_counted_and_cut() {
        for (name, text) in unkind_texts(300_000) {
            for encoding in BOTH {
                let count = encoding.count(&text);
                assert!(count > 0 && count <= text.len(), "{name}: {count}");
                let head = encoding.head(&text, 1000);
                let tail = encoding.tail(&text, 1000);
                assert!(
                    text.starts_with(head) && encoding.count(head) <= 1000,
                    "{name}"
                );
                assert!(
                    text.ends_with(tail) && encoding.count(tail) <= 1000,
                    "{name}"
                );
                // Bytes of a character that does not fit whole are all that is missing.
                assert!(
                    encoding.count(head) >= 990 && encoding.count(tail) >= 990,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn cutting_costs_what_is_kept() {
        let encoding = Encoding::O200kBase;
        encoding.count("loaded");
        let texts = unkind_texts(5_000_000);
        let begun = Instant::now();
        for (name, text) in &texts {
            assert!(cut(text, 200, &encoding).is_cut, "{name}");
        }
        // Counting all of them takes more than ten times as long.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    pub(super) fn any_text() -> impl Strategy<Value = String> {
        let units = [
            "a", " ", "\n", "/", ".", "字", "👍🏽", "\u{301}", "12", "The", "\r\n", "'s", "é",
            "\u{200b}",
        ];
        proptest::collection::vec(proptest::sample::select(units.to_vec()), 0..60)
            .prop_map(|units| units.concat())
    }

    proptest! {
        #[test]
        fn head_and_tail_keep_to_the_limit(text in any_text(), tokens in 0..40usize) {
            for encoding in BOTH {
                let (head, tail) = (encoding.head(&text, tokens), encoding.tail(&text, tokens));
                prop_assert!(text.starts_with(head) && text.ends_with(tail));
                prop_assert!(encoding.count(head) <= tokens && encoding.count(tail) <= tokens);
                if encoding.count(&text) <= tokens {
                    prop_assert_eq!(head, text.as_str());
                    prop_assert_eq!(tail, text.as_str());
                }
            }
        }
    }
}
