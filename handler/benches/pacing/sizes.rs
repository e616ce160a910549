//! What calls take of the quota: the prompts of the sample dataset as they would be sent.

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use softlabel::dataset::conversation::Conversation;
use softlabel::dataset::scanner::{Found, Scanner};
use softlabel::labeling::blank::is_blank;
use softlabel::labeling::cut::TokenCounter;
use softlabel::labeling::label::Label;
use softlabel::labeling::prompt::{Mark, Prompt, Prompts};
use softlabel::labeling::strategy::{Limits, Strategy, UserMessageOnly};
use softlabel::labeling::task::Task;
use softlabel::teacher::model::Family;
use softlabel::teacher::profile::Profile;
use softlabel::teacher::tokens::Encoding;
use std::path::Path;

/// Tokens of a chat request beside its texts.
const ENVELOPE: u64 = 11;

/// The tokens charged for the two calls of one turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) label: u64,
    pub(crate) rationale: u64,
}

/// A distribution of turns: every turn of the sample is as probable as any other.
#[derive(Clone, Debug)]
pub(crate) struct Sizes(Vec<Turn>);

impl Sizes {
    /// Reads `samples/`, and makes the prompts of all its turns for gpt-5.2.
    pub(crate) fn of_samples() -> Result<Self> {
        let tokens = Encoding::O200kBase;
        let label_answer = u64::from(Profile::of_family(Family::Gpt5None).classification_tokens);
        let charged = |prompt: &Prompt, answer: u64| {
            (tokens.count(&prompt.system) + tokens.count(&prompt.user)) as u64 + ENVELOPE + answer
        };
        let prompts = Prompts::of(&Task::built_in());
        let mut rng = StdRng::seed_from_u64(0);
        let mut turns = Vec::new();
        let samples =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/devchat_sample_20261101");
        for conversation in conversations(&samples)? {
            for index in 0..conversation.turns.len() {
                let blank = is_blank(&conversation.turns[index].user_message);
                let input =
                    UserMessageOnly.input(&conversation, index, &Limits::default(), &tokens);
                let Some(input) = input.filter(|_| !blank) else {
                    continue;
                };
                let mark = Mark::fresh(&mut rng, &input);
                let label = prompts.classification(&input, &mark);
                let rationale = prompts.rationale(&input, Label::Zero, &mark);
                turns.push(Turn {
                    label: charged(&label, label_answer),
                    rationale: charged(&rationale, u64::from(prompts.rationale_tokens())),
                });
            }
        }
        ensure!(!turns.is_empty(), "samples/ holds no turns");
        Ok(Self(turns))
    }

    /// One turn.
    pub(crate) fn draw(&self, rng: &mut StdRng) -> Turn {
        self.0[rng.random_range(0..self.0.len())]
    }

    /// Mean tokens of a turn, and the most of one call.
    pub(crate) fn mean_and_most(&self) -> (f64, u64) {
        let sum = self
            .0
            .iter()
            .map(|turn| turn.label + turn.rationale)
            .sum::<u64>();
        let most = self
            .0
            .iter()
            .map(|turn| turn.label.max(turn.rationale))
            .max();
        (sum as f64 / self.0.len() as f64, most.unwrap_or_default())
    }
}

fn conversations(dataset: &Path) -> Result<Vec<Conversation>> {
    let mut conversations = Vec::new();
    for split in ["train", "val", "test"] {
        for bucket in [
            "short_3_to_5_turns",
            "medium_6_to_10_turns",
            "long_11_to_20_turns",
        ] {
            let path = dataset.join(split).join(bucket).with_extension("json");
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut scanner = Scanner::new(Conversation::parse);
            scanner.push(&bytes);
            scanner.finish();
            while let Some(found) = scanner.next() {
                if let Found::Conversation { value, .. } = found {
                    conversations.push(value);
                }
            }
        }
    }
    Ok(conversations)
}
