//! What becomes of the text that the model gives as rationale.

/// How the model's text came to its end, as the API says in `finish_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model came to an end (`stop`).
    Complete,
    /// It was stopped by the token limit (`length`), as a rule within a sentence.
    Length,
}

/// Words that end in a full stop within a sentence. Lower case.
const ABBREVIATIONS: [&str; 10] = [
    "e.g.", "i.e.", "vs.", "cf.", "approx.", "resp.", "fig.", "no.", "mr.", "dr.",
];

/// One line of whole sentences: white space is joined, and a text cut off by the limit keeps what
/// stands before the last end of a sentence.
///
/// `None` if nothing is left: then the rationale failed.
#[must_use]
pub fn tidy(text: &str, finish: Finish) -> Option<String> {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if finish == Finish::Length {
        line.truncate(end_of_last_sentence(&line)?);
    }
    (!line.is_empty()).then_some(line)
}

/// Byte position behind the last sentence that is certainly complete, closing quotes included.
///
/// `.`, `!` and `?` end a sentence before a space or the end of the text, unless the next word
/// starts in lower case (as after "println!") or the word is an abbreviation or a number (the text
/// may have been cut off within "3.14"). Their full-width forms always do.
fn end_of_last_sentence(line: &str) -> Option<usize> {
    line.char_indices().rev().find_map(|(at, mark)| {
        if !matches!(mark, '.' | '!' | '?' | '。' | '！' | '？') {
            return None;
        }
        let (before, after) = line.split_at_checked(at + mark.len_utf8())?;
        let following = after.trim_start_matches(is_closing);
        let end = line.len() - following.len();
        if matches!(mark, '。' | '！' | '？') {
            return Some(end);
        }
        let next = following.chars().next();
        let goes_on = next.is_some_and(|c| c != ' ')
            || following.trim_start().starts_with(char::is_lowercase)
            || mark == '.' && is_within_sentence(before);
        (!goes_on).then_some(end)
    })
}

fn is_closing(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '`' | ')' | ']' | '”' | '’' | '»' | '」' | '』' | '）' | '*' | '_'
    )
}

/// Whether the full stop at the end of `before` belongs to its word.
fn is_within_sentence(before: &str) -> bool {
    let word = before.rsplit(' ').next().unwrap_or(before);
    let word = word
        .trim_start_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase();
    ABBREVIATIONS.contains(&word.as_str())
        || word
            .trim_end_matches('.')
            .chars()
            .all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_complete_text_is_only_put_on_one_line() {
        let text = "  The message names a symptom.\n\nFinding its cause\ttakes steps  ";
        assert_eq!(
            tidy(text, Finish::Complete).unwrap(),
            "The message names a symptom. Finding its cause takes steps"
        );
    }

    #[test]
    fn a_text_cut_off_keeps_whole_sentences() {
        let cases = [
            ("It is a lookup. The user wants", "It is a lookup."),
            ("Is it hard? No! The user", "Is it hard? No!"),
            ("It ends here.", "It ends here."),
            ("He says \"fix it.\" Then he", "He says \"fix it.\""),
            ("It is easy (a lookup.) And", "It is easy (a lookup.)"),
            ("One step. Some tools, e.g. Git, need", "One step."),
            ("One step. It is simple, i.e.", "One step."),
            ("One step. Pi is 3.14 and", "One step."),
            ("One step. Pi is about 3.", "One step."),
            (
                "One step. It calls println! with Debug.fmt and",
                "One step.",
            ),
            ("One step. The `?` operator", "One step."),
            ("One step... and then", ""),
            ("Edit main.rs now. Then main.rs", "Edit main.rs now."),
            (
                "これは簡単です。次に「はい。」と",
                "これは簡単です。次に「はい。」",
            ),
            ("难吗？不难！因为", "难吗？不难！"),
            ("no end at all", ""),
            (".", ""),
            ("", ""),
        ];
        for (text, expected) in cases {
            let expected = (!expected.is_empty()).then(|| expected.to_owned());
            assert_eq!(tidy(text, Finish::Length), expected, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_no_rationale() {
        for text in ["", " \n\t", "\u{3000}"] {
            assert_eq!(tidy(text, Finish::Complete), None);
            assert_eq!(tidy(text, Finish::Length), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_a_beginning_on_one_line(text in "([a-z]|e\\.g\\.|[ .!?\"0-9。」\\n]|é){0,40}") {
            let whole = tidy(&text, Finish::Complete).unwrap_or_default();
            prop_assert!(!whole.contains('\n') && !whole.contains("  "));
            let kept = tidy(&text, Finish::Length).unwrap_or_default();
            prop_assert!(whole.starts_with(&kept));
            prop_assert_eq!(tidy(&kept, Finish::Length).unwrap_or_default(), kept);
        }
    }
}
