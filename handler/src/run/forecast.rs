//! What a run will take, before anything is paid for: calls, tokens, price, time.
//!
//! It reads every conversation and counts tokens as the run will, and asks nothing.

use super::RunError;
use super::answers;
use super::chunk;
use super::manifest::{Chunk, Manifest};
use super::settings::LabelSettings;
use crate::dataset::figures::Tokens;
use crate::labeling::cut::TokenCounter;
use crate::labeling::label::Label;
use crate::labeling::prompt::{Mark, Prompt, Prompts};
use crate::labeling::strategy::{self, Strategy};
use crate::store::RawFolder;
use crate::teacher::pacing::{Concurrency, Quota};
use crate::teacher::profile::Profile;
use crate::teacher::tokens::ENVELOPE;
use bytes::Bytes;
use futures::StreamExt;
use lru::LruCache;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A label is one token.
const LABEL_TOKENS: u64 = 1;

/// The calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// How many.
    pub calls: u64,
    /// Their prompt tokens.
    pub prompt_tokens: u64,
    /// The most prompt tokens of one of them.
    pub longest: u64,
    /// Tokens that the service reserves for each answer.
    pub answer_tokens: u64,
}

impl Calls {
    fn add(&mut self, prompt_tokens: u64) {
        self.calls += 1;
        self.prompt_tokens += prompt_tokens;
        self.longest = self.longest.max(prompt_tokens);
    }

    /// Tokens as quota is charged for them on arrival: prompt and longest answer.
    pub fn charged(self) -> u64 {
        self.prompt_tokens + self.calls * self.answer_tokens
    }
}

/// What a run will take.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// Turns in all.
    pub turns: u64,
    /// Turns with nothing to ask about.
    pub empty: u64,
    /// Turns whose input an earlier turn has too.
    pub identical: u64,
    /// Classifications.
    pub labels: Calls,
    /// Rationales, which are asked for once a label is there.
    pub rationales: Calls,
    /// The prompts of one turn: classification and rationale.
    pub example: Option<(Prompt, Prompt)>,
}

/// A quota and how fast answers come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// What the deployment takes.
    pub quota: Quota,
    /// Calls in flight.
    pub concurrency: Concurrency,
    /// Time to a label.
    pub label_latency: Duration,
    /// Time to a rationale.
    pub rationale_latency: Duration,
}

impl Forecast {
    /// What will be billed at most: every rationale as long as it may be.
    pub fn tokens(&self, with_rationales: bool) -> Tokens {
        let rationales = if with_rationales {
            self.rationales
        } else {
            Calls::default()
        };
        Tokens {
            calls: self.labels.calls + rationales.calls,
            prompt: self.labels.prompt_tokens + rationales.prompt_tokens,
            completion: self.labels.calls * LABEL_TOKENS
                + rationales.calls * rationales.answer_tokens,
            reserved: self.labels.charged() + rationales.charged(),
            ..Tokens::default()
        }
    }

    /// The time that the quota requires, in seconds.
    pub fn seconds_at_quota(&self, pace: &Pace, with_rationales: bool) -> f64 {
        let rationales = if with_rationales {
            self.rationales
        } else {
            Calls::default()
        };
        let charged = (self.labels.charged() + rationales.charged()) as f64;
        let calls = (self.labels.calls + rationales.calls) as f64;
        pace.quota.seconds(charged, calls)
    }

    /// The calls in flight that use all of the quota.
    pub fn needed(&self, pace: &Pace, with_rationales: bool) -> f64 {
        self.waiting(pace, with_rationales) / self.seconds_at_quota(pace, with_rationales)
    }

    /// The calls in flight of the run.
    pub fn in_flight(&self, pace: &Pace, with_rationales: bool) -> u32 {
        match pace.concurrency {
            Concurrency::Fixed(calls) => calls,
            Concurrency::Auto(most) => {
                let needed = self.needed(pace, with_rationales).ceil();
                // An empty run needs none, which is no number.
                (needed.max(1.0) as u32).min(most)
            }
        }
    }

    /// The time that the limit on calls in flight requires, in seconds.
    pub fn seconds_in_flight(&self, pace: &Pace, with_rationales: bool) -> f64 {
        let in_flight = self.in_flight(pace, with_rationales);
        self.waiting(pace, with_rationales) / f64::from(in_flight)
    }

    /// The time of all calls, one after the other, in seconds.
    fn waiting(&self, pace: &Pace, with_rationales: bool) -> f64 {
        let rationales = if with_rationales {
            self.rationales.calls
        } else {
            0
        };
        self.labels.calls as f64 * pace.label_latency.as_secs_f64()
            + rationales as f64 * pace.rationale_latency.as_secs_f64()
    }
}

/// Reads every chunk of `manifests` and adds up what labelling it will take. With `dedupe`, identical
/// inputs within reach of each other count as one call. `seen` is called with the turns of each chunk.
///
/// # Errors
/// If RAW cannot be read, or changed since it was planned.
pub async fn forecast(
    raw: &RawFolder,
    manifests: &[Arc<Manifest>],
    settings: &LabelSettings,
    strategy: &'static dyn Strategy,
    profile: &Profile,
    dedupe: bool,
    mut seen: impl FnMut(u64),
) -> Result<Forecast, RunError> {
    let mut forecast = Forecast::default();
    forecast.labels.answer_tokens = u64::from(profile.classification_tokens);
    forecast.rationales.answer_tokens = u64::from(settings.task.rationale.tokens);
    let chunks = manifests.iter().flat_map(|manifest| {
        manifest
            .chunks
            .iter()
            .map(move |chunk| (Arc::clone(manifest), chunk.clone()))
    });
    let chunks = chunks.collect::<Vec<_>>();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sizes = futures::stream::iter(chunks)
        .map(|(manifest, chunk)| sizes(raw.clone(), manifest, chunk, settings.clone(), strategy))
        .buffered(workers + 1);
    let mut all = HashSet::new();
    let mut known = LruCache::new(answers::KEPT);
    while let Some(sized) = sizes.next().await {
        let Sized { turns, example } = sized?;
        seen(turns.len() as u64);
        if forecast.example.is_none() {
            forecast.example = example;
        }
        for turn in turns {
            forecast.turns += 1;
            let Some((key, label, rationale)) = turn else {
                forecast.empty += 1;
                continue;
            };
            forecast.identical += u64::from(!all.insert(key));
            if dedupe && known.put(key, ()).is_some() {
                continue;
            }
            forecast.labels.add(label);
            forecast.rationales.add(rationale);
        }
    }
    Ok(forecast)
}

/// The turns of a chunk: key, prompt tokens of the classification and of the rationale; `None` for a
/// turn with nothing to ask about.
struct Sized {
    turns: Vec<Option<(u128, u64, u64)>>,
    example: Option<(Prompt, Prompt)>,
}

async fn sizes(
    raw: RawFolder,
    manifest: Arc<Manifest>,
    chunk: Chunk,
    settings: LabelSettings,
    strategy: &'static dyn Strategy,
) -> Result<Sized, RunError> {
    let source = &manifest.source;
    let version = manifest.version();
    let bytes = raw
        .read_range(&source.path, chunk.bytes.clone(), &version)
        .await
        .map_err(RunError::Raw)?;
    let place = format!("bytes {:?} of {}", chunk.bytes, raw.locate(&source.path));
    let sized =
        tokio::task::spawn_blocking(move || size(&bytes, (&manifest, &chunk), &settings, strategy))
            .await;
    sized.map_err(|_| RunError::BrokeOff { place })
}

fn size(
    bytes: &Bytes,
    (manifest, chunk): (&Manifest, &Chunk),
    settings: &LabelSettings,
    strategy: &dyn Strategy,
) -> Sized {
    let tokens = settings.encoding;
    let prompts = Prompts::of(&settings.task);
    let mut rng = StdRng::seed_from_u64(0);
    let count = |prompt: &Prompt| {
        (tokens.count(&prompt.system) + tokens.count(&prompt.user)) as u64 + u64::from(ENVELOPE)
    };
    let mut turns = Vec::new();
    let mut example = None;
    let mut in_chunk = 0..;
    for conversation in chunk::conversations(bytes, manifest, chunk) {
        for index in 0..conversation.turns.len() {
            if in_chunk.next().is_some_and(|turn| !chunk.labels(turn)) {
                continue;
            }
            let input =
                strategy::ask_about(strategy, &conversation, index, &settings.limits, &tokens);
            turns.push(input.ok().map(|input| {
                let mark = Mark::fresh(&mut rng, &input);
                let label = prompts.classification(&input, &mark);
                let rationale = prompts.rationale(&input, Label::Zero, &mark);
                let sizes = (input.key(), count(&label), count(&rationale));
                example.get_or_insert((label, rationale));
                sizes
            }));
        }
    }
    Sized { turns, example }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast() -> Forecast {
        Forecast {
            labels: Calls {
                calls: 1000,
                prompt_tokens: 500_000,
                longest: 900,
                answer_tokens: 16,
            },
            rationales: Calls {
                calls: 1000,
                prompt_tokens: 400_000,
                longest: 800,
                answer_tokens: 128,
            },
            ..Forecast::default()
        }
    }

    const PACE: Pace = Pace {
        quota: Quota {
            tpm: 1_000_000.0,
            rpm: 10_000.0,
        },
        concurrency: Concurrency::Fixed(50),
        label_latency: Duration::from_millis(600),
        rationale_latency: Duration::from_secs(2),
    };

    #[test]
    fn quota_is_charged_for_the_longest_answer_and_money_for_the_label_alone() {
        assert_eq!(forecast().labels.charged(), 516_000);
        assert_eq!(forecast().tokens(false).completion, 1000);
        assert_eq!(forecast().tokens(true).completion, 129_000);
    }

    #[test]
    fn the_binding_limit_decides_the_time() {
        let seconds = forecast().seconds_at_quota(&PACE, true);
        assert!((seconds - 60.0 * 1.044).abs() < 1e-9, "{seconds}");
        let few_requests = Pace {
            quota: Quota {
                rpm: 100.0,
                ..PACE.quota
            },
            ..PACE
        };
        assert!((forecast().seconds_at_quota(&few_requests, true) - 1200.0).abs() < 1e-9);
        let seconds = forecast().seconds_in_flight(&PACE, true);
        assert!((seconds - 2600.0 / 50.0).abs() < 1e-9, "{seconds}");
    }

    #[test]
    fn auto_takes_as_many_calls_as_the_quota_needs_and_no_more_than_its_most() {
        let auto = |most| Pace {
            concurrency: Concurrency::Auto(most),
            ..PACE
        };
        // 2600 seconds of waiting in 62.64 of quota.
        assert_eq!(forecast().in_flight(&auto(1000), true), 42);
        assert_eq!(forecast().in_flight(&auto(40), true), 40);
        assert_eq!(Forecast::default().in_flight(&auto(40), true), 1);
    }
}
