//! A request as the simulated model understands it, and what the model answers.

use super::answer::Outcome;
use super::chance::{Source, mix};
use super::config::Config;
use super::judgement;
use super::logprobs::{self, Ask};
use super::meaning::Meaning;
use super::message::MessageKey;
use super::parameters::Accepted;
use super::request::{ChatRequest, Kind};
use super::text;

/// A request that was read.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) request: ChatRequest<'a>,
    pub(super) message: MessageKey,
    meaning: Meaning,
    pub(super) kind: Kind,
}

impl<'a> Question<'a> {
    pub(super) fn of(request: ChatRequest<'a>) -> Self {
        let message = MessageKey::of(request.last_user_text());
        let meaning = Meaning::of(request.instructions(), request.last_user_text());
        let kind = request.kind();
        Self {
            request,
            message,
            meaning,
            kind,
        }
    }

    pub(super) fn swapped(&self) -> bool {
        self.meaning == Meaning::OneIsReasoning
    }

    /// What the model answers, and the tokens that it spends on reasoning before.
    pub(super) fn outcome(
        &self,
        config: &Config,
        rules: Accepted,
        subject: Source,
        chance: Source,
    ) -> (Outcome, u64) {
        let judgement = judgement::judge(subject, &self.message.text);
        let limit = self.request.max_answer_tokens();
        let reasoning = if rules.reasons {
            64 * (1 + mix(self.message.key) % 6)
        } else {
            0
        };
        if let Some(limit) = limit.filter(|&limit| rules.reasons && limit <= reasoning) {
            return (Outcome::Exhausted, limit);
        }
        if self.kind == Kind::Classification {
            let ask = Ask {
                log_odds: judgement::log_odds_of_one(judgement, self.meaning, config.token_bias),
                temperature: self.request.temperature.unwrap_or(1.0),
                logit_bias: &self.request.logit_bias,
                top_logprobs: self.request.top_logprobs.unwrap_or(0) as usize,
            };
            return (
                Outcome::Short(logprobs::answer(&ask, &config.oddities, chance)),
                reasoning,
            );
        }
        let room = limit.map(|limit| limit - reasoning);
        let text = text::write(chance, judgement, config.overlong_text_rate, room);
        (Outcome::Text(text), reasoning)
    }

    /// What the content filter calls it, if it objects.
    pub(super) fn category(&self) -> &'static str {
        let categories = ["violence", "hate", "sexual", "self_harm", "jailbreak"];
        categories[(self.message.key % 5) as usize]
    }

    /// Distinguishes the ways of asking about one message, whose attempts are counted apart.
    pub(super) fn way(&self) -> u64 {
        mix(1 + self.kind as u64 * 2 + u64::from(self.swapped()))
    }
}
