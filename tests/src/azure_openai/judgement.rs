//! What the simulated model thinks of a message: log-odds that it needs no reasoning.
//!
//! A seeded function of the message, shaped as such judgements are: many confident, some leaning, a
//! few undecided. Some words shift it, so that a demonstration looks sensible.

use rand::RngExt;

use super::chance::{self, Purpose, Source};
use super::meaning::Meaning;

/// Log-odds of "needs no reasoning" for a message.
pub(super) fn judge(source: Source, text: &str) -> f64 {
    let shift = cues(text);
    let mut rng = source.rng(Purpose::Judgement);
    let toward_simple = rng.random::<f64>() < sigmoid(shift);
    let spread = chance::normal(&mut rng);
    let confidence = match rng.random::<f64>() {
        u if u < 0.60 => 5.0 + 1.5 * spread,
        u if u < 0.85 => 2.0 + spread,
        _ => 0.7 * spread,
    };
    let leaning = if toward_simple {
        confidence
    } else {
        -confidence
    };
    leaning + 0.4 * shift
}

/// Log-odds of the token "1" against "0".
pub(super) fn log_odds_of_one(judgement: f64, meaning: Meaning, token_bias: f64) -> f64 {
    let toward_one = match meaning {
        Meaning::OneIsSimple => judgement,
        Meaning::OneIsReasoning => -judgement,
    };
    toward_one + token_bias
}

/// Words that speak for (above 0) or against an easy answer. Only the end of a long text counts: what
/// is asked tends to stand there.
fn cues(text: &str) -> f64 {
    const WINDOW: usize = 600;
    let end = text.get(text.ceil_char_boundary(text.len().saturating_sub(WINDOW))..);
    let mut shift: f64 = if text.len() > WINDOW { -0.8 } else { 0.0 };
    for word in end
        .unwrap_or(text)
        .split(|c: char| !c.is_ascii_alphabetic())
    {
        shift += cue(word);
    }
    shift.clamp(-5.0, 5.0)
}

/// What one word speaks for.
fn cue(word: &str) -> f64 {
    let mut lower = [0; LONGEST_CUE];
    let Some(lower) = lower.get_mut(..word.len()) else {
        return 0.0;
    };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"thanks" | b"thank" | b"ok" | b"okay" | b"yes" | b"yeah" | b"no" | b"hi" | b"hello"
        | b"hey" | b"bye" | b"cool" | b"great" | b"sure" | b"nice" | b"perfect" => 1.8,
        b"why" | b"debug" | b"explain" | b"design" | b"prove" | b"compare" | b"derive"
        | b"optimize" | b"calculate" | b"plan" | b"implement" | b"analyze" | b"refactor"
        | b"how" | b"solve" | b"evaluate" | b"algorithm" | b"strategy" | b"difference"
        | b"diagnose" => -1.8,
        _ => 0.0,
    }
}

const LONGEST_CUE: usize = 10;

pub(super) fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapping_the_meanings_flips_the_judgement_but_not_the_bias() {
        let z = judge(Source::new(1, 2), "some message");
        let bias = 0.7;
        let a = log_odds_of_one(z, Meaning::OneIsSimple, bias);
        let b = log_odds_of_one(z, Meaning::OneIsReasoning, bias);
        assert!(((a - b) / 2.0 - z).abs() < 1e-12);
        assert!(((a + b) / 2.0 - bias).abs() < 1e-12);
    }

    #[test]
    fn cues_shift_and_most_judgements_are_confident() {
        let share = |text: &str, test: fn(f64) -> bool| {
            let hits = (0..2_000)
                .filter(|&key| test(judge(Source::new(5, key), text)))
                .count();
            hits as f64 / 2_000.0
        };
        assert!(share("ok thanks!", |z| z > 0.0) > 0.9);
        assert!(share("Explain why this design fails", |z| z < 0.0) > 0.9);
        let confident = share("the cat sat", |z| z.abs() > 3.0);
        assert!((0.5..0.75).contains(&confident), "{confident}");
        let undecided = share("the cat sat", |z| z.abs() < 1.0);
        assert!((0.08..0.3).contains(&undecided), "{undecided}");
    }
}
