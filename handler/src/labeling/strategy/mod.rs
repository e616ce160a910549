//! What the model sees of a turn when it is asked for a label.
//!
//! A strategy is given a conversation and nothing else: split and bucket cannot reach it, so that
//! the place where a message lies cannot leak into its label.

mod input;
mod user_message_only;
mod with_context;
mod with_response;

pub use input::{Input, Section};
pub use user_message_only::UserMessageOnly;
pub use with_context::WithContext;
pub use with_response::WithResponse;

use super::blank::is_blank;
use super::cut::TokenCounter;
use crate::dataset::conversation::Conversation;
use crate::dataset::line::{ErrorCode, LabelingError};
use serde::{Deserialize, Serialize};

/// The title of the section with the message to be labelled, in every strategy.
pub const MESSAGE_TITLE: &str = "Message to label";

/// The strategy that is used unless another is asked for.
pub const DEFAULT: &str = "user_message_only";

/// How much of a conversation is shown, in tokens of the deployment's tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most of any one message or answer; longer ones are cut in the middle.
    pub message_tokens: usize,
    /// Most tokens of everything that is shown beside the message.
    pub context_tokens: usize,
}

impl Default for Limits {
    /// 4,000 each, about 16 KB of English: what is longer is a pasted log or file, as a rule.
    fn default() -> Self {
        Self {
            message_tokens: 4_000,
            context_tokens: 4_000,
        }
    }
}

/// A way to choose what the model is shown of a turn.
pub trait Strategy: Send + Sync {
    /// The name in settings and metadata, in snake case.
    fn name(&self) -> &'static str;

    /// What it shows, in a few words for people.
    fn description(&self) -> &'static str;

    /// Raised whenever the same turn would give another input.
    fn version(&self) -> u32 {
        1
    }

    /// What is shown for the turn at a position (from 0) of the conversation; `None` if there is no
    /// such turn.
    fn input(
        &self,
        conversation: &Conversation,
        turn: usize,
        limits: &Limits,
        tokens: &dyn TokenCounter,
    ) -> Option<Input>;
}

/// What a strategy shows of the turn at a position (from 0) of the conversation.
///
/// # Errors
/// Why there is nothing to ask about: the turn has no message (`bad_message`), or an empty one
/// (`empty_message`).
pub fn ask_about(
    strategy: &dyn Strategy,
    conversation: &Conversation,
    turn: usize,
    limits: &Limits,
    tokens: &dyn TokenCounter,
) -> Result<Input, LabelingError> {
    let there = conversation.turns.get(turn);
    if let Some(bad) = there.and_then(|turn| turn.bad_message.as_ref()) {
        let message = format!("The message cannot be read: {bad} of the file.");
        return Err(LabelingError::new(ErrorCode::BadMessage, message));
    }
    there
        .filter(|turn| !is_blank(&turn.user_message))
        .and_then(|_| strategy.input(conversation, turn, limits, tokens))
        .ok_or_else(|| LabelingError::new(ErrorCode::EmptyMessage, "The message is empty."))
}

/// All strategies, the default one first.
#[must_use]
pub fn strategies() -> &'static [&'static dyn Strategy] {
    &[&UserMessageOnly, &WithContext, &WithResponse]
}

/// The strategy called `name`.
///
/// # Errors
/// [`UnknownStrategy`] if none is called so.
pub fn by_name(name: &str) -> Result<&'static dyn Strategy, UnknownStrategy> {
    strategies()
        .iter()
        .copied()
        .find(|strategy| strategy.name() == name)
        .ok_or_else(|| UnknownStrategy(name.to_owned()))
}

/// No strategy has the name that it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy {0:?}: use {names}", names = names())]
pub struct UnknownStrategy(pub String);

fn names() -> String {
    let names = strategies().iter().map(|strategy| strategy.name());
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dataset::conversation::Turn;
    use crate::labeling::cut::tests::Characters;

    pub(crate) const WIDE: Limits = Limits {
        message_tokens: 1000,
        context_tokens: 1000,
    };

    pub(crate) fn conversation(turns: &[(&str, Option<&str>)]) -> Conversation {
        let turns = turns.iter().enumerate().map(|(i, (message, answer))| Turn {
            message_id: format!("m{i}"),
            index: Some(i as i64 + 1),
            user_message: (*message).to_owned(),
            bad_message: None,
            model_message: answer.map(str::to_owned),
        });
        Conversation {
            id: "c".to_owned(),
            turns: turns.collect(),
        }
    }

    pub(crate) fn shown(input: &Input) -> Vec<(&'static str, &str)> {
        input
            .sections()
            .iter()
            .map(|s| (s.title, s.text.as_str()))
            .collect()
    }

    #[test]
    fn names_lead_to_strategies() {
        let mut names = HashSet::new();
        for strategy in strategies() {
            assert!(names.insert(strategy.name()));
            assert_eq!(
                by_name(strategy.name()).map(|s| s.name()),
                Ok(strategy.name())
            );
            assert!(strategy.version() > 0 && !strategy.description().is_empty());
        }
        assert_eq!(strategies()[0].name(), DEFAULT);
        let error = by_name("nonsense").err().unwrap().to_string();
        assert_eq!(
            error,
            "unknown strategy \"nonsense\": use user_message_only, with_context, with_response"
        );
    }

    #[test]
    fn a_turn_that_does_not_exist_has_no_input() {
        let conversation = conversation(&[("a", Some("b"))]);
        for strategy in strategies() {
            assert!(
                strategy
                    .input(&conversation, 0, &WIDE, &Characters)
                    .is_some()
            );
            assert_eq!(strategy.input(&conversation, 1, &WIDE, &Characters), None);
        }
    }

    #[test]
    fn every_strategy_shows_the_message_once_and_cuts_it() {
        let conversation = conversation(&[("first", Some("answer")), (&"x".repeat(50), None)]);
        let limits = Limits {
            message_tokens: 10,
            context_tokens: 100,
        };
        for strategy in strategies() {
            let input = strategy
                .input(&conversation, 1, &limits, &Characters)
                .unwrap();
            let messages: Vec<_> = input
                .sections()
                .iter()
                .filter(|s| s.title == MESSAGE_TITLE)
                .collect();
            assert_eq!(messages.len(), 1, "{}", strategy.name());
            assert!(messages[0].text.starts_with("xxxxx\n[... about 40 tokens"));
            assert_eq!(input.cut(), 1);
        }
    }

    #[test]
    fn strategies_do_not_share_keys() {
        let conversation = conversation(&[("hello", None)]);
        let keys: HashSet<u128> = strategies()
            .iter()
            .map(|s| s.input(&conversation, 0, &WIDE, &Characters).unwrap().key())
            .collect();
        assert_eq!(keys.len(), strategies().len());
    }
}
