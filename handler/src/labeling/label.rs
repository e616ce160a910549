//! The two labels, and which of them a turn gets.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::soft_label::Estimate;

/// A label. What it means is a matter of the [task](super::task). Serialised as the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Label {
    /// `0`.
    Zero,
    /// `1`.
    One,
}

impl Label {
    /// Both, 0 first.
    pub const BOTH: [Self; 2] = [Self::Zero, Self::One];

    /// The label that a token's text stands for: exactly "0" or "1" once white space is trimmed, so that
    /// "10" is none.
    #[must_use]
    pub fn from_token(text: &str) -> Option<Self> {
        match trimmed(text) {
            "0" => Some(Self::Zero),
            "1" => Some(Self::One),
            _ => None,
        }
    }
}

/// Whether a token's text is nothing but white space.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    trimmed(text).is_empty()
}

/// Without ASCII white space, and without what vocabularies write for it: `▁` and `Ġ` for a blank, `Ċ` for
/// the end of a line.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || ['▁', 'Ġ', 'Ċ'].contains(&c))
}

impl From<Label> for u8 {
    fn from(label: Label) -> Self {
        match label {
            Label::Zero => 0,
            Label::One => 1,
        }
    }
}

impl TryFrom<u8> for Label {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::Zero),
            1 => Ok(Self::One),
            other => Err(format!("{other} is not a label: only 0 and 1 are")),
        }
    }
}

/// The rule by which a turn gets its hard label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HardLabel {
    /// The token that the model generated; the more probable label where that is neither.
    #[default]
    Generated,
    /// The more probable label, whatever the model generated; at exactly one half, [`Label::Zero`].
    Argmax,
}

impl HardLabel {
    /// The hard label of a turn with this estimate.
    #[must_use]
    pub fn choose(self, estimate: &Estimate) -> Label {
        match (self, estimate.generated_label) {
            (Self::Generated, Some(generated)) => generated,
            (Self::Generated, None) | (Self::Argmax, _) => estimate.more_probable(),
        }
    }

    /// The name in settings and metadata: `generated` or `argmax`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Argmax => "argmax",
        }
    }
}

impl FromStr for HardLabel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "generated" => Ok(Self::Generated),
            "argmax" => Ok(Self::Argmax),
            other => Err(format!(
                "unknown hard label {other:?}: use \"generated\" or \"argmax\""
            )),
        }
    }
}

/// Whether a hard label says the opposite of the soft label, P(label 1).
///
/// A label sampled at temperature 1 does so now and then. At exactly one half nothing contradicts.
#[must_use]
pub fn contradicts(hard: Label, soft: f64) -> bool {
    match hard {
        Label::Zero => soft > 0.5,
        Label::One => soft < 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(soft: f64, generated: &str) -> Estimate {
        Estimate {
            soft,
            low: soft,
            high: soft,
            censored: false,
            p0: 1.0 - soft,
            p1: soft,
            mass: 1.0,
            generated: generated.to_owned(),
            generated_label: Label::from_token(generated),
        }
    }

    #[test]
    fn only_the_bare_digit_is_a_label() {
        for text in ["0", " 0", "0\n", "\t0 ", "▁0", "Ġ0", "▁ 0"] {
            assert_eq!(Label::from_token(text), Some(Label::Zero), "{text:?}");
        }
        assert_eq!(Label::from_token("1"), Some(Label::One));
        for text in [
            "", "10", "01", "0.", "\"0\"", "zero", "٠", "\u{a0}0", "０", "▁", "▁10",
        ] {
            assert_eq!(Label::from_token(text), None, "{text:?}");
        }
    }

    #[test]
    fn labels_are_numbers_in_json() {
        assert_eq!(serde_json::to_string(&Label::One).unwrap(), "1");
        assert_eq!(serde_json::from_str::<Label>("0").unwrap(), Label::Zero);
        assert!(serde_json::from_str::<Label>("2").is_err());
    }

    #[test]
    fn the_generated_label_wins_unless_it_is_none_or_argmax_is_asked_for() {
        let cases = [
            (HardLabel::Generated, 0.9, "0", Label::Zero),
            (HardLabel::Generated, 0.9, "Sure", Label::One),
            (HardLabel::Generated, 0.1, "Sure", Label::Zero),
            (HardLabel::Argmax, 0.9, "0", Label::One),
            (HardLabel::Argmax, 0.1, "1", Label::Zero),
        ];
        for (rule, soft, generated, expected) in cases {
            assert_eq!(
                rule.choose(&estimate(soft, generated)),
                expected,
                "{rule:?} {soft}"
            );
        }
    }

    #[test]
    fn a_label_contradicts_only_beyond_one_half() {
        assert!(contradicts(Label::Zero, 0.9));
        assert!(contradicts(Label::One, 0.1));
        assert!(!contradicts(Label::Zero, 0.1));
        assert!(!contradicts(Label::One, 0.9));
        assert!(!contradicts(Label::Zero, 0.5));
        assert!(!contradicts(Label::One, 0.5));
    }

    #[test]
    fn names_of_hard_labels_are_read_back() {
        for rule in [HardLabel::Generated, HardLabel::Argmax] {
            assert_eq!(rule.as_str().parse(), Ok(rule));
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.as_str());
        }
        assert!("mode".parse::<HardLabel>().is_err());
    }
}
