use super::{Input, Limits, Strategy};
use crate::dataset::conversation::Conversation;
use crate::labeling::cut::TokenCounter;

/// The message, and nothing else: the label depends on the message alone.
#[derive(Debug, Clone, Copy)]
pub struct UserMessageOnly;

impl Strategy for UserMessageOnly {
    fn name(&self) -> &'static str {
        "user_message_only"
    }

    fn description(&self) -> &'static str {
        "shows only the user's message"
    }

    fn input(
        &self,
        conversation: &Conversation,
        turn: usize,
        limits: &Limits,
        tokens: &dyn TokenCounter,
    ) -> Option<Input> {
        let turn = conversation.turns.get(turn)?;
        Some(Input::of_message(self, turn, limits, tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labeling::cut::tests::Characters;
    use crate::labeling::strategy::MESSAGE_TITLE;
    use crate::labeling::strategy::tests::{WIDE, conversation, shown};

    #[test]
    fn the_message_is_all_there_is() {
        let conversation = conversation(&[("one", Some("answer")), ("two", Some("answer"))]);
        let input = UserMessageOnly
            .input(&conversation, 1, &WIDE, &Characters)
            .unwrap();
        assert_eq!(shown(&input), [(MESSAGE_TITLE, "two")]);
        assert_eq!((input.cut(), input.left_out()), (0, 0));
    }

    #[test]
    fn equal_messages_are_asked_once_wherever_they_stand() {
        let conversation = conversation(&[("ok", Some("a")), ("x", None), ("ok", None)]);
        let key = |turn| {
            UserMessageOnly
                .input(&conversation, turn, &WIDE, &Characters)
                .unwrap()
                .key()
        };
        assert_eq!(key(0), key(2));
        assert_ne!(key(0), key(1));
    }
}
