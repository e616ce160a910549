//! What the model is shown of a turn.

use xxhash_rust::xxh3::Xxh3Default;

use super::{Limits, MESSAGE_TITLE, Strategy};
use crate::dataset::conversation::Turn;
use crate::labeling::cut::{TokenCounter, cut};

/// One text of an input, with its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What the text is, in words of the prompt.
    pub title: &'static str,
    /// The text: data, never instructions.
    pub text: String,
}

/// What the model is shown of a turn: sections in their order, by one strategy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    strategy: &'static str,
    version: u32,
    sections: Vec<Section>,
    tokens: usize,
    cut: u32,
    left_out: u32,
}

impl Input {
    /// An input by `strategy` that shows nothing yet.
    #[must_use]
    pub fn new(strategy: &dyn Strategy) -> Self {
        Self {
            strategy: strategy.name(),
            version: strategy.version(),
            sections: Vec::new(),
            tokens: 0,
            cut: 0,
            left_out: 0,
        }
    }

    /// The input of a strategy that shows the message of `turn` first.
    pub(super) fn of_message(
        strategy: &dyn Strategy,
        turn: &Turn,
        limits: &Limits,
        tokens: &dyn TokenCounter,
    ) -> Self {
        let mut input = Self::new(strategy);
        let limit = limits.message_tokens;
        input.push(MESSAGE_TITLE, &turn.user_message, limit, tokens);
        input
    }

    pub(super) fn push(
        &mut self,
        title: &'static str,
        text: &str,
        limit: usize,
        tokens: &dyn TokenCounter,
    ) {
        let cut = cut(text, limit, tokens);
        self.cut += u32::from(cut.is_cut);
        self.tokens += tokens.count(&cut.text);
        self.sections.push(Section {
            title,
            text: cut.text.into_owned(),
        });
    }

    pub(super) fn reverse(&mut self) {
        self.sections.reverse();
    }

    /// Notes that a message or an answer was left out.
    pub(super) fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// The sections, in the order in which they are shown.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Tokens of the texts of all sections, without titles and delimiters.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many sections were cut in the middle.
    #[must_use]
    pub fn cut(&self) -> u32 {
        self.cut
    }

    /// How many earlier messages and answers did not fit at all.
    #[must_use]
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// Whether `text` occurs in the text of a section.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        let mut sections = self.sections.iter();
        sections.any(|section| section.text.contains(text))
    }

    /// 128 bits that are equal for equal inputs of the same strategy and version, so that the model
    /// is asked once for "thanks!". Stable over runs, machines and releases (xxh3).
    #[must_use]
    pub fn key(&self) -> u128 {
        let mut hash = Xxh3Default::new();
        // Lengths keep the fields apart: no two inputs are the same sequence of bytes.
        let mut field = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(self.strategy.as_bytes());
        field(&self.version.to_le_bytes());
        for section in &self.sections {
            field(section.title.as_bytes());
            field(section.text.as_bytes());
        }
        hash.digest128()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::labeling::cut::tests::Characters;
    use crate::labeling::strategy::UserMessageOnly;

    fn input(sections: &[(&'static str, &str)]) -> Input {
        let mut input = Input::new(&UserMessageOnly);
        for (title, text) in sections {
            input.push(title, text, 1000, &Characters);
        }
        input
    }

    /// Labels of a run are looked up by it: another value would buy them again.
    #[test]
    fn the_key_stays_what_it_is() {
        let key = input(&[("Message to label", "thanks!")]).key();
        assert_eq!(key, 0xaacf_4d67_61a6_e078_4229_6b02_9017_a963, "{key:#x}");
    }

    #[test]
    fn what_stands_where_matters() {
        let keys = [
            input(&[("a", "bc")]).key(),
            input(&[("ab", "c")]).key(),
            input(&[("a", "b"), ("a", "c")]).key(),
            input(&[("a", "c"), ("a", "b")]).key(),
            input(&[]).key(),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[i + 1..].contains(key));
        }
    }

    proptest! {
        #[test]
        fn equal_texts_have_equal_keys_and_others_not(a in ".{0,20}", b in ".{0,20}") {
            let key = |text: &str| input(&[("t", text)]).key();
            prop_assert_eq!(key(&a), key(&a.clone()));
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }
}
