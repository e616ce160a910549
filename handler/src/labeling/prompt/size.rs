//! How many tokens prompts have, without counting all of each.
//!
//! A prompt is constant but for its sections and their mark: the texts are counted when the input is
//! made, the mark when it is drawn, and what stands around them once. Only tokens at the seams differ.

use super::{Mark, Prompt, Prompts, delimit};
use crate::labeling::cut::TokenCounter;
use crate::labeling::label::Label;
use crate::labeling::strategy::{Input, MESSAGE_TITLE, Section, UserMessageOnly};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;

/// The counted parts of a task's prompts, from which the size of each prompt is summed up.
#[derive(Clone)]
pub struct Sizes {
    tokens: Arc<dyn TokenCounter>,
    classification: usize,
    rationale: usize,
    /// What delimits a section, without the mark that stands in it twice.
    delimiters: usize,
}

impl Sizes {
    /// Counts the constant parts of `prompts` with `tokens`.
    #[must_use]
    pub fn new(tokens: Arc<dyn TokenCounter>, prompts: &Prompts) -> Self {
        let nothing = Input::new(&UserMessageOnly);
        let mark = Mark::fresh(&mut StdRng::seed_from_u64(0), &nothing);
        let count = |prompt: &Prompt| tokens.count(&prompt.system) + tokens.count(&prompt.user);
        let section = Section {
            title: MESSAGE_TITLE,
            text: String::new(),
        };
        let mut delimited = String::new();
        delimit(&mut delimited, &section, &mark);
        let marks = 2 * tokens.count(mark.as_str());
        Self {
            classification: count(&prompts.classification(&nothing, &mark)),
            rationale: count(&prompts.rationale(&nothing, Label::Zero, &mark)),
            delimiters: tokens.count(&delimited).saturating_sub(marks),
            tokens,
        }
    }

    /// About how many tokens the prompt for a label has with `input` and `mark`, both texts together.
    #[must_use]
    pub fn classification(&self, input: &Input, mark: &Mark) -> usize {
        self.classification + self.sections(input, mark)
    }

    /// About how many tokens the prompt for a rationale has with `input` and `mark`, both texts together.
    #[must_use]
    pub fn rationale(&self, input: &Input, mark: &Mark) -> usize {
        self.rationale + self.sections(input, mark)
    }

    /// What a section has beside its text.
    #[must_use]
    pub fn a_section(&self, mark: &Mark) -> usize {
        self.delimiters + 2 * self.tokens.count(mark.as_str())
    }

    fn sections(&self, input: &Input, mark: &Mark) -> usize {
        self.a_section(mark) * input.sections().len() + input.tokens()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::conversation::{Conversation, Turn};
    use crate::labeling::strategy::{Limits, strategies};
    use crate::labeling::task::Task;
    use crate::teacher::tokens::Encoding;

    #[test]
    fn sizes_are_those_of_the_prompts_but_for_a_few_tokens() {
        let turn = |message: &str| Turn {
            message_id: String::new(),
            index: None,
            user_message: message.to_owned(),
            bad_message: None,
            model_message: Some("Here is how: `cargo build --release`, then run it.".into()),
        };
        let long = "error[E0502]: cannot borrow `x` as mutable\n".repeat(900);
        let texts = [
            "thanks!",
            "why is it slow?",
            "今日は良い天気ですね",
            &long,
            " \n",
        ];
        let conversation = Conversation {
            id: String::new(),
            turns: texts.map(turn).into(),
        };
        let mut rng = StdRng::seed_from_u64(7);
        for encoding in [Encoding::O200kBase, Encoding::Cl100kBase] {
            let prompts = Prompts::of(&Task::built_in());
            let sizes = Sizes::new(Arc::new(encoding), &prompts);
            for strategy in strategies() {
                for index in 0..texts.len() {
                    let limits = Limits::default();
                    let input = strategy.input(&conversation, index, &limits, &encoding);
                    let input = input.unwrap();
                    let mark = Mark::fresh(&mut rng, &input);
                    let label = prompts.classification(&input, &mark);
                    let why = prompts.rationale(&input, Label::One, &mark);
                    let near = |size: usize, prompt: &Prompt| {
                        let exact = encoding.count(&prompt.system) + encoding.count(&prompt.user);
                        let most = 4 + 4 * input.sections().len();
                        assert!(size.abs_diff(exact) <= most, "{size} for {exact}");
                    };
                    near(sizes.classification(&input, &mark), &label);
                    near(sizes.rationale(&input, &mark), &why);
                }
            }
        }
    }
}
