use super::{Input, Limits, Strategy};
use crate::dataset::conversation::Conversation;
use crate::labeling::blank::is_blank;
use crate::labeling::cut::TokenCounter;

const ANSWER: &str = "Answer that the assistant gave";
const NO_ANSWER: &str = "(The record holds no answer to this message: the assistant only called tools, or \
                         its text was not kept.)";

/// The message, and the answer that the assistant gave to it.
#[derive(Debug, Clone, Copy)]
pub struct WithResponse;

impl Strategy for WithResponse {
    fn name(&self) -> &'static str {
        "with_response"
    }

    fn description(&self) -> &'static str {
        "shows the user's message and the answer it got"
    }

    fn input(
        &self,
        conversation: &Conversation,
        turn: usize,
        limits: &Limits,
        tokens: &dyn TokenCounter,
    ) -> Option<Input> {
        let turn = conversation.turns.get(turn)?;
        let mut input = Input::of_message(self, turn, limits, tokens);
        let answer = turn.model_message.as_deref();
        match answer.filter(|answer| !is_blank(answer)) {
            Some(answer) => {
                let limit = limits.message_tokens.min(limits.context_tokens);
                input.push(ANSWER, answer, limit, tokens);
            }
            None => input.push(ANSWER, NO_ANSWER, usize::MAX, tokens),
        }
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labeling::cut::tests::Characters;
    use crate::labeling::strategy::MESSAGE_TITLE;
    use crate::labeling::strategy::tests::{WIDE, conversation, shown};

    #[test]
    fn the_answer_stands_behind_the_message() {
        let conversation = conversation(&[("one", Some("A1")), ("two", Some("A2"))]);
        let input = WithResponse
            .input(&conversation, 1, &WIDE, &Characters)
            .unwrap();
        assert_eq!(shown(&input), [(MESSAGE_TITLE, "two"), (ANSWER, "A2")]);
    }

    #[test]
    fn a_missing_answer_is_said_in_words() {
        let conversation = conversation(&[("one", None), ("one", Some(" \n"))]);
        for turn in 0..2 {
            let input = WithResponse
                .input(&conversation, turn, &WIDE, &Characters)
                .unwrap();
            assert_eq!(shown(&input), [(MESSAGE_TITLE, "one"), (ANSWER, NO_ANSWER)]);
        }
    }

    #[test]
    fn a_long_answer_is_cut() {
        let long = "l".repeat(100);
        let conversation = conversation(&[("one", Some(&long))]);
        let limits = Limits {
            message_tokens: 90,
            context_tokens: 20,
        };
        let input = WithResponse
            .input(&conversation, 0, &limits, &Characters)
            .unwrap();
        assert_eq!(input.cut(), 1);
        assert!(shown(&input)[1].1.contains("about 80 tokens"));
    }
}
