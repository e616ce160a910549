//! Which messages the service refuses, and what that means: something about them, or about every
//! request.

use std::collections::HashSet;
use tokio::time::Instant;

/// This many different messages were refused and none was answered: every message would be.
const ALL: usize = 10;

/// This many refusals without an answer are worth a question that cannot be refused for its text.
const SUSPICIOUS: usize = 2;

/// What the refusals so far mean for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It concerns that message: another one was answered that was sent later.
    ThisMessage,
    /// It concerns every request.
    Everything,
    /// It is unknown, and asking about a harmless message would show it.
    Suspicious,
    /// It is not known yet.
    Unknown,
}

/// The messages that were refused since the last answer.
#[derive(Debug, Default)]
pub struct Refusals {
    messages: HashSet<u128>,
    /// A harmless message was asked about them.
    probed: bool,
    /// When the latest of the answered requests was sent.
    answered: Option<Instant>,
}

impl Refusals {
    /// `message` was refused.
    pub fn add(&mut self, message: u128) {
        if self.messages.len() < ALL {
            self.messages.insert(message);
        }
    }

    /// A request that was sent at `sent` was answered.
    pub fn answered(&mut self, sent: Instant) {
        self.messages.clear();
        self.probed = false;
        self.answered = self.answered.max(Some(sent));
    }

    /// Whether a request was answered that was sent after `instant`.
    pub fn answered_after(&self, instant: Instant) -> bool {
        self.answered > Some(instant)
    }

    /// What a refusal at `refused` means. [`Meaning::Suspicious`] is given once.
    pub fn meaning(&mut self, refused: Instant) -> Meaning {
        if self.answered_after(refused) {
            return Meaning::ThisMessage;
        }
        if self.messages.len() >= ALL {
            return Meaning::Everything;
        }
        if self.messages.len() >= SUSPICIOUS && !std::mem::replace(&mut self.probed, true) {
            return Meaning::Suspicious;
        }
        Meaning::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn ten_different_messages_without_an_answer_mean_everything() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        for _ in 0..20 {
            refusals.add(7);
            assert_eq!(refusals.meaning(start), Meaning::Unknown);
        }
        refusals.add(0);
        assert_eq!(refusals.meaning(start), Meaning::Suspicious);
        for message in 1..9 {
            assert_eq!(refusals.meaning(start), Meaning::Unknown);
            refusals.add(if message == 7 { 70 } else { message });
        }
        assert_eq!(refusals.meaning(start), Meaning::Everything);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_request_that_is_answered_means_this_message() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut refusals = Refusals::default();
        refusals.add(1);
        refusals.add(2);
        // It was on its way before the refusal.
        refusals.answered(second(5));
        assert_eq!(refusals.meaning(second(5)), Meaning::Unknown);
        refusals.answered(second(6));
        refusals.answered(second(4));
        assert_eq!(refusals.meaning(second(5)), Meaning::ThisMessage);
        assert_eq!(refusals.meaning(second(6)), Meaning::Unknown);
    }
}
