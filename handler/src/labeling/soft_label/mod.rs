//! From the probabilities of the first token to P(label 1).
//!
//! The classification call is answered with one token. Its logprob, and those of the most probable
//! alternatives, give P("1") / (P("0") + P("1")). The lists are short, on the gpt-5 family often a
//! single entry, so that one label may be unobserved: then its probability is only bounded, and the
//! estimate carries the bounds and says so. An exact 0 or 1 is never given: no model said that.

use serde::{Deserialize, Serialize};

use crate::labeling::label::{Label, is_blank};

/// What the API writes for a token whose probability it does not tell.
const ABSENT: f64 = -9999.0;

/// Log probabilities of certain tokens come out this far above 0, as services round to 32 bits.
const ROUNDED: f64 = 1e-3;

/// Characters of a generated token that are shown: whatever the service sends as a token, a stretch of a
/// message or a key is none.
const SHOWN: usize = 11;

/// How close to 0 and 1 a measured soft label may come: the published line has six decimals, and
/// neither 0.000000 nor 1.000000 may stand in it.
const MEASURED_MARGIN: f64 = 1e-6;

/// How close to 0 and 1 a soft label may come where one label was not observed.
const CENSORED_MARGIN: f64 = 1e-4;

/// One token that the model could have generated, with its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The token as the API writes it.
    pub token: String,
    /// The token's bytes, where the API gives them.
    pub bytes: Option<Vec<u8>>,
    /// Natural logarithm of its probability. −9999.0, anything not finite and anything above 1e-3 count
    /// as not given; up to 1e-3 it is 0, which was rounded.
    pub logprob: f64,
}

/// The first token of an answer and its alternatives: what a soft label is estimated from.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstToken {
    /// The token that the model generated.
    pub sampled: Candidate,
    /// The most probable tokens, in any order, with or without the sampled one.
    pub top: Vec<Candidate>,
    /// How many of them were asked for (`top_logprobs`).
    pub requested: u8,
}

/// P(label 1), and what is known about how good it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// P("1") / (P("0") + P("1")): in [1e-6, 1 − 1e-6] where measured, in [1e-4, 1 − 1e-4] where
    /// censored.
    pub soft: f64,
    /// Lower bound of P(label 1), in [0, 1]. Equal to `soft` where measured. Where censored it is
    /// not clamped as `soft` is, and so may lie above it by up to 1e-4.
    pub low: f64,
    /// Upper bound of P(label 1), in [0, 1]; as `low`, from the other side.
    pub high: f64,
    /// Only one of the labels was among the candidates: `soft` is a value within bounds.
    pub censored: bool,
    /// Sum of the probabilities of the tokens that mean 0, in [0, 1]; 0 where none was listed.
    pub p0: f64,
    /// Sum of the probabilities of the tokens that mean 1, in [0, 1]; 0 where none was listed.
    pub p1: f64,
    /// `p0 + p1`, in [0, 1]. A low mass means that the model wanted to say something else.
    pub mass: f64,
    /// The text of the token that was generated; a long one is cut.
    pub generated: String,
    /// The label that this token stands for; `None` where it stands for neither.
    pub generated_label: Option<Label>,
}

/// No label has a probability: the answer is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLabel {
    /// Neither label is among the candidates.
    #[error(
        "neither 0 nor 1 is among the probable first tokens; the model generated {generated:?}"
    )]
    NotListed {
        /// The text of the token that was generated; a long one is cut.
        generated: String,
    },
    /// One is, but without a probability that can be read.
    #[error("the log probabilities of 0 and 1 cannot be read")]
    NoProbability,
}

impl Candidate {
    /// The text, from the bytes if they are given; `None` if they are not UTF-8, as in a token that holds
    /// part of a character.
    fn text(&self) -> Option<&str> {
        match &self.bytes {
            Some(bytes) => std::str::from_utf8(bytes).ok(),
            None => Some(&self.token),
        }
    }

    fn label(&self) -> Option<Label> {
        self.text().and_then(Label::from_token)
    }

    /// Whether it is nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.text().is_some_and(is_blank)
    }

    fn is_usable(&self) -> bool {
        self.logprob > ABSENT && self.logprob <= ROUNDED
    }

    /// Natural logarithm of its probability, at most 0.
    fn ln(&self) -> f64 {
        self.logprob.min(0.0)
    }

    fn is_same_token(&self, other: &Self) -> bool {
        match (&self.bytes, &other.bytes) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => self.token == other.token,
        }
    }
}

impl Estimate {
    /// The more probable label; at exactly one half, [`Label::Zero`].
    #[must_use]
    pub fn more_probable(&self) -> Label {
        if self.soft > 0.5 {
            Label::One
        } else {
            Label::Zero
        }
    }
}

/// Estimates P(label 1) from the first token's candidates: the list plus the sampled token if that
/// is absent from it.
///
/// With both labels listed it is p1 / (p0 + p1), each summed over the variants of its label. With
/// one listed, the other has at most u = max(0, 1 − Σ listed), and at most as much as the least
/// probable entry if the list is full. With only "1" listed P(1) is then in [p1 / (p1 + u), 1], and
/// the estimate p1 / (p1 + u/2); with only "0" listed, correspondingly.
///
/// # Errors
///
/// [`NoLabel`] if neither label is listed with a usable logprob.
pub fn estimate(first: &FirstToken) -> Result<Estimate, NoLabel> {
    let top: Vec<&Candidate> = first.top.iter().filter(|c| c.is_usable()).collect();
    let mut listed = top.clone();
    if first.sampled.is_usable() && !top.iter().any(|c| c.is_same_token(&first.sampled)) {
        listed.push(&first.sampled);
    }

    let ln_mass = |label| {
        ln_sum_exp(
            listed
                .iter()
                .filter(|c| c.label() == Some(label))
                .map(|c| c.ln()),
        )
    };
    let generated = first.sampled.text().unwrap_or(&first.sampled.token);
    let generated: String = generated.chars().take(SHOWN).collect();
    let (soft, low, high, ln_p0, ln_p1) = match (ln_mass(Label::Zero), ln_mass(Label::One)) {
        (None, None) => {
            let mut candidates = first.top.iter().chain([&first.sampled]);
            return Err(match candidates.any(|c| c.label().is_some()) {
                true => NoLabel::NoProbability,
                false => NoLabel::NotListed { generated },
            });
        }
        (Some(ln_p0), Some(ln_p1)) => {
            let soft = clamp(share(ln_p1, ln_p0), MEASURED_MARGIN);
            (soft, soft, soft, Some(ln_p0), Some(ln_p1))
        }
        (None, Some(ln_p1)) => {
            let u = unlisted(&listed, &top, first.requested);
            let soft = clamp(share(ln_p1, (u / 2.0).ln()), CENSORED_MARGIN);
            (soft, share(ln_p1, u.ln()), 1.0, None, Some(ln_p1))
        }
        (Some(ln_p0), None) => {
            let u = unlisted(&listed, &top, first.requested);
            let soft = clamp(share((u / 2.0).ln(), ln_p0), CENSORED_MARGIN);
            (soft, 0.0, share(u.ln(), ln_p0), Some(ln_p0), None)
        }
    };

    let probability = |ln: Option<f64>| ln.map_or(0.0, |ln| ln.exp().min(1.0));
    let (p0, p1) = (probability(ln_p0), probability(ln_p1));
    Ok(Estimate {
        soft,
        low,
        high,
        censored: ln_p0.is_none() || ln_p1.is_none(),
        p0,
        p1,
        mass: (p0 + p1).min(1.0),
        generated,
        generated_label: first.sampled.label(),
    })
}

/// The most that a label not listed can have, in [0, 1].
fn unlisted(listed: &[&Candidate], top: &[&Candidate], requested: u8) -> f64 {
    let rest = (1.0 - listed.iter().map(|c| c.ln().exp()).sum::<f64>()).max(0.0);
    let smallest = top.iter().map(|c| c.ln()).fold(f64::INFINITY, f64::min);
    if top.len() >= usize::from(requested.max(1)) {
        rest.min(smallest.exp())
    } else {
        rest
    }
}

/// a / (a + b) from the logarithms, of which at most one may be −∞: safe where a and b underflow.
fn share(ln_a: f64, ln_b: f64) -> f64 {
    1.0 / (1.0 + (ln_b - ln_a).exp())
}

/// ln Σ exp(x); `None` of nothing.
fn ln_sum_exp(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let greatest = values.clone().reduce(f64::max)?;
    Some(greatest + values.map(|x| (x - greatest).exp()).sum::<f64>().ln())
}

fn clamp(soft: f64, margin: f64) -> f64 {
    soft.clamp(margin, 1.0 - margin)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
