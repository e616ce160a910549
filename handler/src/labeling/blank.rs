//! Messages in which there is nothing to label.

/// Whether a message has nothing to be seen in it: only whitespace, control characters and
/// characters without width (such as U+200B, byte order marks, direction marks, fillers). Such a
/// turn is `empty_message` and no model is asked.
#[must_use]
pub fn is_blank(message: &str) -> bool {
    message
        .chars()
        .all(|c| c.is_whitespace() || c.is_control() || is_invisible(c))
}

/// Default-ignorable characters and blanks of the Unicode character database
/// (DerivedCoreProperties.txt, `Default_Ignorable_Code_Point`), and U+2800, the empty Braille cell.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::is_blank;

    #[test]
    fn nothing_to_be_seen_is_blank() {
        let blank = [
            "",
            " ",
            "\r\n\t",
            "\u{a0}\u{3000}",
            "\u{200b}\u{feff}",
            "\0\u{1b}",
            "\u{2800}\u{fe0f}",
        ];
        for message in blank {
            assert!(is_blank(message), "{message:?}");
        }
    }

    #[test]
    fn anything_to_be_seen_is_not() {
        for message in [
            "k",
            ".",
            " 👍🏽 ",
            "\u{200b}да",
            "?",
            "\u{fffd}",
            "नमस्ते",
            "\u{301}",
        ] {
            assert!(!is_blank(message), "{message:?}");
        }
    }
}
