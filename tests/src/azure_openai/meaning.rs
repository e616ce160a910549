//! What "0" and "1" mean, read from whatever the prompt says about them.
//!
//! The double must answer swapped when it is asked swapped, without knowing anybody's prompt. So it
//! looks for definitions: a lone digit, quoted or not, followed by a sign or word that introduces a
//! meaning (`0 = …`, `1: …`, `"0" means …`, `1 if …`). The first word about reasoning in that clause
//! decides, turned round by each negation before it ("no reasoning", "cannot be answered without").

/// The label "1" stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    /// "1": no reasoning needed; what the double assumes where the prompt says nothing.
    OneIsSimple,
    /// "1": reasoning needed.
    OneIsReasoning,
}

impl Meaning {
    /// Reads the instructions first, then, where they define nothing, the user's text.
    pub(super) fn of<'a>(instructions: impl Iterator<Item = &'a str>, user_text: &str) -> Self {
        let mut found = Definitions::default();
        for text in instructions {
            found = found.or(Definitions::of(text));
        }
        if !found.any() && might_define(user_text) {
            found = Definitions::of(user_text);
        }
        match (found.zero, found.one) {
            (_, Some(Reasoning::Needed)) => Self::OneIsReasoning,
            (_, Some(Reasoning::NotNeeded)) => Self::OneIsSimple,
            (Some(Reasoning::NotNeeded), None) => Self::OneIsReasoning,
            _ => Self::OneIsSimple,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reasoning {
    Needed,
    NotNeeded,
}

/// What a text says about each digit; the first definition of a digit holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Definitions {
    pub(super) zero: Option<Reasoning>,
    pub(super) one: Option<Reasoning>,
}

impl Definitions {
    pub(super) fn of(text: &str) -> Self {
        let mut found = Self::default();
        let mut next = Digit::next(text, 0);
        while let Some(digit) = next {
            next = Digit::next(text, digit.meaning_at);
            let until = next.as_ref().map_or(text.len(), |n| n.at);
            let slot = if digit.is_one {
                &mut found.one
            } else {
                &mut found.zero
            };
            if slot.is_none() {
                let clause = text.get(digit.meaning_at..until).unwrap_or("");
                *slot = reasoning_in(first_clause(clause));
            }
            if found.zero.is_some() && found.one.is_some() {
                break;
            }
        }
        found
    }

    pub(super) fn any(self) -> bool {
        self.zero.is_some() || self.one.is_some()
    }

    fn or(self, other: Self) -> Self {
        Self {
            zero: self.zero.or(other.zero),
            one: self.one.or(other.one),
        }
    }
}

/// A cheap look that spares most texts the reading.
pub(super) fn might_define(text: &str) -> bool {
    Digit::next(text, 0).is_some()
}

/// What may stand between a digit and its meaning.
const INTRODUCTIONS: [&str; 14] = [
    "=",
    ":",
    "->",
    "→",
    "–",
    "—",
    "- ",
    "(",
    "means",
    "if",
    "when",
    "for",
    "stands for",
    "indicates",
];

/// "Step 1:" numbers something; it defines no label.
const NUMBERED: [&str; 8] = [
    "step", "rule", "example", "part", "section", "phase", "level", "question",
];

/// A digit that the text goes on to define.
struct Digit {
    is_one: bool,
    at: usize,
    meaning_at: usize,
}

impl Digit {
    fn next(text: &str, mut from: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        loop {
            let at = from
                + bytes
                    .get(from..)?
                    .iter()
                    .position(|&b| b == b'0' || b == b'1')?;
            from = at + 1;
            // "10", "0.1", "gpt-1" and "10:1" are numbers, not labels.
            let joins = |b: &u8| b.is_ascii_alphanumeric() || b".,_-:".contains(b);
            if at
                .checked_sub(1)
                .and_then(|i| bytes.get(i))
                .is_some_and(joins)
            {
                continue;
            }
            let Some(after) = text.get(from..) else {
                continue;
            };
            let open = after.trim_start_matches(['"', '\'', '`', '*', '”', '’', ')', ']']);
            let open = open.trim_start_matches([' ', '\t']);
            let Some(meaning) = INTRODUCTIONS
                .iter()
                .find_map(|intro| introduced(open, intro))
            else {
                continue;
            };
            if text.get(..at).is_some_and(is_numbering) {
                continue;
            }
            let meaning_at = text.len() - meaning.len();
            return Some(Self {
                is_one: bytes.get(at) == Some(&b'1'),
                at,
                meaning_at,
            });
        }
    }
}

fn introduced<'a>(text: &'a str, introduction: &str) -> Option<&'a str> {
    let meaning = text.strip_prefix(introduction)?;
    let is_word = introduction.ends_with(|c: char| c.is_ascii_alphabetic());
    (!is_word || meaning.starts_with(|c: char| !c.is_alphanumeric())).then_some(meaning)
}

fn is_numbering(before: &str) -> bool {
    let word = before
        .trim_end()
        .rsplit(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or("");
    NUMBERED.iter().any(|n| word.eq_ignore_ascii_case(n))
}

/// Longest definition looked at, in bytes.
const LONGEST_CLAUSE: usize = 300;

/// A definition ends with its sentence, its list entry or its paragraph.
fn first_clause(text: &str) -> &str {
    let text = text
        .get(..text.floor_char_boundary(LONGEST_CLAUSE))
        .unwrap_or(text);
    let bytes = text.as_bytes();
    let ends = |i: usize| {
        matches!(
            (bytes.get(i), bytes.get(i + 1)),
            (Some(b';'), _)
                | (Some(b'.'), Some(b' ' | b'\n'))
                | (Some(b'\n'), Some(b'\n' | b'-' | b'*' | b'#'))
        )
    };
    let end = (0..bytes.len()).find(|&i| ends(i)).unwrap_or(bytes.len());
    text.get(..end).unwrap_or(text)
}

const NEEDED: [&str; 11] = [
    "reason",
    "think",
    "thought",
    "deliberat",
    "multi-step",
    "step-by-step",
    "analy",
    "infer",
    "deduc",
    "complex",
    "plan",
];
const NOT_NEEDED: [&str; 8] = [
    "simpl",
    "trivial",
    "direct",
    "immediate",
    "easy",
    "straightforward",
    "recall",
    "chitchat",
];
const NEGATIONS: [&str; 9] = [
    "no", "not", "without", "never", "cannot", "little", "nor", "neither", "lacks",
];

/// Whether a clause says that reasoning is needed; `None` where it does not speak of it.
fn reasoning_in(clause: &str) -> Option<Reasoning> {
    let lower = clause.to_lowercase();
    let mut words = lower
        .split(|c: char| !(c.is_alphanumeric() || "'’-".contains(c)))
        .filter(|w| !w.is_empty());
    let negates = |w: &str| NEGATIONS.contains(&w) || w.ends_with("n't") || w.ends_with("n’t");
    let mut negated = false;
    let needed = loop {
        let word = words.next()?;
        let stem = word.strip_prefix("non-").unwrap_or(word);
        if negates(stem) || stem.len() < word.len() {
            negated = !negated;
        }
        if NEEDED.iter().any(|s| stem.starts_with(s)) {
            break true;
        }
        if NOT_NEEDED.iter().any(|s| stem.starts_with(s)) {
            break false;
        }
    };
    // "reasoning is not required": the negation may follow, but then it is the need that it negates.
    let mut negation_age = usize::MAX;
    for word in words {
        negation_age = negation_age.saturating_add(1);
        let need = ["need", "requir", "necess"]
            .iter()
            .any(|s| word.starts_with(s));
        if word.starts_with("unnecess") || (need && negation_age <= 2) {
            negated = !negated;
            break;
        }
        if negates(word) {
            negation_age = 0;
        }
    }
    Some(if needed != negated {
        Reasoning::Needed
    } else {
        Reasoning::NotNeeded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(text: &str) -> Meaning {
        Meaning::of(std::iter::once(text), "")
    }

    #[test]
    fn definitions_are_read_in_many_wordings() {
        let one_is_simple = [
            "0 = requires reasoning\n1 = does not require reasoning",
            "Answer with one digit, 0 or 1.\n\"0\" means the answer needs reasoning.\n\"1\" means no reasoning is needed.",
            "- 1: a good answer can be given without any planning or step-by-step reasoning\n- 0: it cannot be given without reasoning",
            "Output `0` if the message calls for deliberate, multi-step thinking, and `1` if it doesn't need reasoning.",
            "1 -> simple\n0 -> complex",
            "**1** — reasoning is not required; **0** — reasoning is required",
            "0: the message needs reasoning, not recall\n1: non-reasoning",
            "1 = the reply can be written\n    without reasoning about it",
            "\"1\" (no reasoning needed), \"0\" (reasoning needed)",
        ];
        for text in one_is_simple {
            assert_eq!(meaning(text), Meaning::OneIsSimple, "{text}");
            let swapped: String = text
                .chars()
                .map(|c| match c {
                    '0' => '1',
                    '1' => '0',
                    c => c,
                })
                .collect();
            assert_eq!(meaning(&swapped), Meaning::OneIsReasoning, "{swapped}");
        }
    }

    #[test]
    fn a_text_that_defines_nothing_leaves_the_default() {
        for text in [
            "",
            "You are a helpful assistant.",
            "Say 0 or 1 depending on whether the message requires reasoning.",
            "Step 1: think about the message. Step 2: answer.",
            "The ratio is 10:1 for reasoning, and 0.1: no.",
        ] {
            assert_eq!(meaning(text), Meaning::OneIsSimple, "{text}");
            assert!(!Definitions::of(text).any(), "{text}");
        }
    }

    #[test]
    fn instructions_come_before_the_users_text() {
        let user = "0 = no reasoning\n1 = reasoning";
        let meaning = Meaning::of(std::iter::once("1 = no reasoning needed"), user);
        assert_eq!(meaning, Meaning::OneIsSimple);
        assert_eq!(
            Meaning::of(std::iter::empty(), user),
            Meaning::OneIsReasoning
        );
    }
}
