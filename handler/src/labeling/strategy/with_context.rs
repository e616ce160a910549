use super::{Input, Limits, Strategy};
use crate::dataset::conversation::Conversation;
use crate::labeling::blank::is_blank;
use crate::labeling::cut::TokenCounter;

const EARLIER_MESSAGE: &str = "Earlier message of the user";
const EARLIER_ANSWER: &str = "Earlier answer of the assistant";

/// Less than this of a message, in tokens, says nothing.
const LEAST: usize = 16;

/// The turns before the message, then the message.
///
/// The newest messages and answers are kept, up to the limit for context; the one that reaches
/// over it is cut in the middle, and all that is older is left out. Blank messages and missing
/// answers are passed over.
#[derive(Debug, Clone, Copy)]
pub struct WithContext;

impl Strategy for WithContext {
    fn name(&self) -> &'static str {
        "with_context"
    }

    fn description(&self) -> &'static str {
        "shows the turns before the message, newest kept, then the message"
    }

    fn input(
        &self,
        conversation: &Conversation,
        turn: usize,
        limits: &Limits,
        tokens: &dyn TokenCounter,
    ) -> Option<Input> {
        let (earlier, turn) = (
            conversation.turns.get(..turn)?,
            conversation.turns.get(turn)?,
        );
        let newest_first = earlier.iter().rev().flat_map(|turn| {
            let answer = turn.model_message.as_deref().unwrap_or_default();
            [
                (EARLIER_ANSWER, answer),
                (EARLIER_MESSAGE, turn.user_message.as_str()),
            ]
        });

        let mut input = Input::of_message(self, turn, limits, tokens);
        let mut left = limits.context_tokens;
        for (title, text) in newest_first.filter(|(_, text)| !is_blank(text)) {
            if left < LEAST {
                input.leave_out();
                continue;
            }
            let limit = left.min(limits.message_tokens);
            // Tokens of `text` that are shown: `limit` where it is cut.
            left -= tokens.count(tokens.head(text, limit)).min(limit);
            input.push(title, text, limit, tokens);
        }
        input.reverse();
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
    fn earlier_turns_stand_before_the_message_in_their_order() {
        let conversation = conversation(&[
            ("one", Some("A1")),
            ("two", None),
            (" ", Some("A3")),
            ("four", Some("A4")),
        ]);
        let input = WithContext
            .input(&conversation, 3, &WIDE, &Characters)
            .unwrap();
        let expected = [
            (EARLIER_MESSAGE, "one"),
            (EARLIER_ANSWER, "A1"),
            (EARLIER_MESSAGE, "two"),
            (EARLIER_ANSWER, "A3"),
            (MESSAGE_TITLE, "four"),
        ];
        assert_eq!(shown(&input), expected);
    }

    #[test]
    fn the_first_turn_has_no_context() {
        let conversation = conversation(&[("one", Some("A1")), ("two", None)]);
        let input = WithContext
            .input(&conversation, 0, &WIDE, &Characters)
            .unwrap();
        assert_eq!(shown(&input), [(MESSAGE_TITLE, "one")]);
    }

    #[test]
    fn the_newest_are_kept_within_the_limit() {
        let (old, long, new) = ("o".repeat(30), "l".repeat(100), "n".repeat(30));
        let conversation = conversation(&[(&old, Some(&long)), (&new, None), ("now", None)]);
        let limits = Limits {
            message_tokens: 200,
            context_tokens: 50,
        };
        let input = WithContext
            .input(&conversation, 2, &limits, &Characters)
            .unwrap();
        let cut = format!(
            "{}\n[... about 80 tokens left out here ...]\n{}",
            "l".repeat(10),
            "l".repeat(10)
        );
        let expected = [
            (EARLIER_ANSWER, cut.as_str()),
            (EARLIER_MESSAGE, new.as_str()),
            (MESSAGE_TITLE, "now"),
        ];
        assert_eq!(shown(&input), expected);
        assert_eq!((input.cut(), input.left_out()), (1, 1));
    }

    #[test]
    fn one_message_does_not_take_all_of_the_limit() {
        let long = "l".repeat(100);
        let conversation = conversation(&[("first", Some(&long)), ("now", None)]);
        let limits = Limits {
            message_tokens: 40,
            context_tokens: 60,
        };
        let input = WithContext
            .input(&conversation, 1, &limits, &Characters)
            .unwrap();
        assert_eq!(shown(&input)[0], (EARLIER_MESSAGE, "first"));
        assert_eq!((input.cut(), input.left_out()), (1, 0));
    }

    #[test]
    fn a_limit_of_zero_is_no_context() {
        let conversation = conversation(&[("first", Some("answer")), ("now", None)]);
        let limits = Limits {
            message_tokens: 40,
            context_tokens: 0,
        };
        let input = WithContext
            .input(&conversation, 1, &limits, &Characters)
            .unwrap();
        assert_eq!(shown(&input), [(MESSAGE_TITLE, "now")]);
        assert_eq!(input.left_out(), 2);
    }

    #[test]
    fn later_turns_are_never_shown() {
        let one = conversation(&[("one", Some("A1")), ("two", Some("A2"))]);
        let other = conversation(&[("one", Some("A1")), ("two", Some("else")), ("three", None)]);
        let key = |c| WithContext.input(c, 1, &WIDE, &Characters).unwrap().key();
        assert_eq!(key(&one), key(&other));
    }
}
