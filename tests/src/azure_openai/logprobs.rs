//! One-token answers: the distribution over tokens, the emitted token, the list that is shown.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::chance::{Purpose, Source};
use super::config::Oddities;
use super::judgement::sigmoid;

/// Ids of "0" and "1" in both vocabularies.
const ZERO_ID: u32 = 15;
const ONE_ID: u32 = 16;

/// What the service writes for "as good as impossible".
const SENTINEL: f64 = -9999.0;

/// The habit of showing one entry is that of a confident model.
const CONFIDENT: f64 = 0.9;

/// Tokens that are no label, even trimmed.
const JUNK: [&str; 14] = [
    "2", "The", "10", "Yes", "No", "I", "\n", "-", "Answer", "one", "zero", "**", "11", "0x",
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    pub(super) token: &'static str,
    pub(super) logprob: f64,
}

/// What comes back for a classification.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ShortAnswer {
    Token {
        emitted: Entry,
        listed: Vec<Entry>,
        /// Whether the entries carry their bytes.
        with_bytes: bool,
    },
    Refusal,
    Empty,
}

/// What shapes a one-token answer, besides chance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// Log-odds of "1" against "0".
    pub(super) log_odds: f64,
    pub(super) temperature: f64,
    pub(super) logit_bias: &'a [(u32, f64)],
    pub(super) top_logprobs: usize,
}

/// Draws the answer of one attempt.
pub(super) fn answer(ask: &Ask<'_>, oddities: &Oddities, source: Source) -> ShortAnswer {
    let mut rng = source.rng(Purpose::Oddity);
    // All are drawn every time, so that one rate does not disturb another's outcomes.
    let terminal = rng.random::<f64>();
    let mut odd = |rate: f64| rng.random::<f64>() < rate;
    let single = odd(oddities.single_entry);
    let short = odd(oddities.short_list);
    let junk = odd(oddities.junk);
    let variants = odd(oddities.whitespace_variants);
    let sentinel = odd(oddities.sentinel);
    let hide_sampled = odd(oddities.sampled_not_listed);
    let with_bytes = !odd(oddities.no_bytes);

    let neither = terminal < oddities.neither_label;
    if !neither {
        if terminal < oddities.neither_label + oddities.refusal {
            return ShortAnswer::Refusal;
        }
        if terminal < oddities.neither_label + oddities.refusal + oddities.empty_content {
            return ShortAnswer::Empty;
        }
    }

    let tokens = distribution(ask.log_odds, neither, junk, variants, &mut rng);
    let emitted = sample(&tokens, ask, &mut source.rng(Purpose::Sample));
    let mut shown = ask.top_logprobs.min(tokens.len());
    if short && shown > 1 {
        shown = shown.min(rng.random_range(2..=4));
    }
    let confident = tokens.first().is_some_and(|(_, p)| *p > CONFIDENT);
    if single && confident && !neither {
        shown = shown.min(1);
    }
    let mut listed: Vec<Entry> = tokens
        .iter()
        .take(shown)
        .map(|&(token, p)| {
            let logprob = if sentinel && p < 0.05 {
                SENTINEL
            } else {
                p.ln()
            };
            Entry { token, logprob }
        })
        .collect();
    if hide_sampled {
        listed.retain(|entry| entry.token != emitted.token);
    }
    ShortAnswer::Token {
        emitted,
        listed,
        with_bytes,
    }
}

/// Tokens and their probabilities, the most probable first. They sum to a little less than one: there
/// is always a tail that nobody sees.
fn distribution(
    log_odds: f64,
    neither: bool,
    junk: bool,
    variants: bool,
    rng: &mut Xoshiro256PlusPlus,
) -> Vec<(&'static str, f64)> {
    let tiny = 10f64.powf(-rng.random_range(3.0..7.0));
    let other = match (neither, junk) {
        (true, _) => 1.0 - tiny,
        (false, true) => rng.random_range(0.05..0.4),
        (false, false) => tiny,
    };
    let mut tokens = Vec::with_capacity(12);
    if !neither {
        let labels = 1.0 - other;
        // Computed from both sides, so that neither label is ever rounded to nothing.
        for (names, p) in [
            (["1", " 1", "1\n"], labels * sigmoid(log_odds)),
            (["0", " 0", "0\n"], labels * sigmoid(-log_odds)),
        ] {
            let plain = if variants {
                rng.random_range(0.6..0.95)
            } else {
                1.0
            };
            for (name, share) in
                names
                    .into_iter()
                    .zip([plain, (1.0 - plain) * 0.7, (1.0 - plain) * 0.3])
            {
                if share > 0.0 {
                    tokens.push((name, p * share));
                }
            }
        }
    }
    let first: usize = rng.random_range(0..JUNK.len());
    let mut rest = other * 0.9;
    for name in JUNK.iter().cycle().skip(first).take(6) {
        let p = rest * rng.random_range(0.4..0.8);
        rest -= p;
        tokens.push((*name, p));
    }
    tokens.sort_by(|a, b| b.1.total_cmp(&a.1));
    tokens
}

/// Draws the emitted token. Bias and temperature act here and nowhere else: the logprobs that come
/// back are those of the unbiased model.
fn sample(tokens: &[(&'static str, f64)], ask: &Ask<'_>, rng: &mut Xoshiro256PlusPlus) -> Entry {
    let bias = |token: &str| {
        let id = match token {
            "0" => ZERO_ID,
            "1" => ONE_ID,
            _ => return 0.0,
        };
        ask.logit_bias
            .iter()
            .filter(|(t, _)| *t == id)
            .map(|(_, b)| b)
            .sum::<f64>()
    };
    let logits = tokens.iter().map(|&(token, p)| p.ln() + bias(token));
    let highest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    // At temperature 0 only the highest keeps any weight.
    let sharpness = 1.0 / ask.temperature.max(1e-6);
    let weights: Vec<f64> = logits
        .map(|logit| ((logit - highest) * sharpness).exp())
        .collect();
    let mut draw = rng.random::<f64>() * weights.iter().sum::<f64>();
    let mut emitted = tokens.first().copied().unwrap_or(("", 1.0));
    for (&token, weight) in tokens.iter().zip(&weights) {
        if *weight > 0.0 {
            emitted = token;
        }
        if draw < *weight {
            break;
        }
        draw -= weight;
    }
    Entry {
        token: emitted.0,
        logprob: emitted.1.ln(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask<'_> = Ask {
        log_odds: 1.0,
        temperature: 1.0,
        logit_bias: &[],
        top_logprobs: 5,
    };

    fn parts(answer: ShortAnswer) -> (Entry, Vec<Entry>) {
        match answer {
            ShortAnswer::Token {
                emitted, listed, ..
            } => (emitted, listed),
            other => panic!("{other:?}"),
        }
    }

    fn label_mass(listed: &[Entry], label: &str) -> f64 {
        let of = |e: &&Entry| e.token.trim_ascii() == label;
        listed.iter().filter(of).map(|e| e.logprob.exp()).sum()
    }

    fn draws(ask: Ask<'_>, oddities: Oddities) -> impl Iterator<Item = ShortAnswer> {
        (0..3_000).map(move |key| answer(&ask, &oddities, Source::new(9, key)))
    }

    #[test]
    fn lists_show_the_probability_and_never_exceed_one() {
        for drawn in draws(ASK, Oddities::default()) {
            let (_, listed) = parts(drawn);
            assert_eq!(listed.len(), 5);
            let (one, zero) = (label_mass(&listed, "1"), label_mass(&listed, "0"));
            assert!((one / (one + zero) - sigmoid(1.0)).abs() < 1e-9);
            assert!(listed.iter().map(|e| e.logprob.exp()).sum::<f64>() <= 1.0);
            assert!(listed.is_sorted_by(|a, b| a.logprob >= b.logprob));
        }
    }

    #[test]
    fn the_emitted_token_is_sampled_and_bias_steers_only_the_sampling() {
        let ones = |ask: Ask<'_>| {
            let emitted = draws(ask, Oddities::default()).map(|d| parts(d).0.token);
            emitted.filter(|t| *t == "1").count() as f64 / 3_000.0
        };
        assert!((ones(ASK) - sigmoid(1.0)).abs() < 0.03);
        let biased = Ask {
            logit_bias: &[(15, 2.0)],
            ..ASK
        };
        assert!((ones(biased) - sigmoid(-1.0)).abs() < 0.03);
        assert_eq!(
            ones(Ask {
                temperature: 0.0,
                ..ASK
            }),
            1.0
        );
        let list = |ask| parts(answer(&ask, &Oddities::default(), Source::new(9, 4))).1;
        assert_eq!(list(ASK), list(biased));
    }

    #[test]
    fn confident_answers_may_list_one_entry() {
        let oddities = Oddities {
            single_entry: 1.0,
            ..Oddities::default()
        };
        for drawn in draws(
            Ask {
                log_odds: -6.0,
                ..ASK
            },
            oddities.clone(),
        ) {
            let (_, listed) = parts(drawn);
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0].token, "0");
        }
        assert!(draws(ASK, oddities).all(|drawn| parts(drawn).1.len() == 5));
    }

    #[test]
    fn variants_split_a_label_without_changing_its_mass() {
        let oddities = Oddities {
            whitespace_variants: 1.0,
            ..Oddities::default()
        };
        let ask = Ask {
            log_odds: 0.2,
            top_logprobs: 20,
            ..ASK
        };
        for drawn in draws(ask, oddities) {
            let (_, listed) = parts(drawn);
            let (one, zero) = (label_mass(&listed, "1"), label_mass(&listed, "0"));
            assert!((one / (one + zero) - sigmoid(0.2)).abs() < 1e-9);
            assert!(listed.iter().any(|e| e.token == " 1"));
        }
    }

    #[test]
    fn each_oddity_shows() {
        let all = |oddities: Oddities, test: &dyn Fn(Entry, Vec<Entry>) -> bool| {
            draws(ASK, oddities).all(|drawn| {
                let (emitted, listed) = parts(drawn);
                test(emitted, listed)
            })
        };
        let none = Oddities::default;
        assert!(all(
            Oddities {
                short_list: 1.0,
                ..none()
            },
            &|_, l| (2..=4).contains(&l.len())
        ));
        assert!(all(
            Oddities {
                sentinel: 1.0,
                ..none()
            },
            &|_, l| l.last().unwrap().logprob == SENTINEL
        ));
        assert!(all(
            Oddities {
                sampled_not_listed: 1.0,
                ..none()
            },
            &|e, l| { l.iter().all(|entry| entry.token != e.token) }
        ));
        assert!(all(
            Oddities {
                neither_label: 1.0,
                ..none()
            },
            &|e, l| {
                let label = |e: &Entry| ["0", "1"].contains(&e.token.trim_ascii());
                !label(&e) && !l.iter().any(label)
            }
        ));
        assert!(all(
            Oddities {
                junk: 1.0,
                ..none()
            },
            &|_, l| { label_mass(&l, "0") + label_mass(&l, "1") < 0.96 }
        ));
        let mut refusals = draws(
            ASK,
            Oddities {
                refusal: 1.0,
                ..none()
            },
        );
        assert!(refusals.all(|drawn| drawn == ShortAnswer::Refusal));
        let mut empties = draws(
            ASK,
            Oddities {
                empty_content: 1.0,
                ..none()
            },
        );
        assert!(empties.all(|drawn| drawn == ShortAnswer::Empty));
    }
}
