//! The turns of a report as the page's script reads them.

use super::Options;
use super::sample::{CONTRADICTING, FAILED, RANDOM, UNCERTAIN};
use crate::labeled::Row;
use serde_json::{Value, json};

/// Bytes of a message in the page at most, of a rationale, and of other texts.
const MESSAGE: usize = 3_000;
const RATIONALE: usize = 1_500;
const OTHER: usize = 300;

/// The beginning of `text` that takes at most `most` bytes in the page.
fn clipped(text: &str, most: usize) -> String {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += match c {
            // As they are escaped in JSON, and in the page.
            '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => 6,
            '"' | '\\' => 2,
            c => c.len_utf8(),
        };
        bytes <= most
    };
    let mut clipped = text.chars().take_while(fits).collect::<String>();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

/// A turn of the bucket with this number.
pub(super) fn turn(
    bucket: usize,
    row: &Row,
    kinds: u8,
    message: Option<&str>,
    options: Options,
) -> Value {
    let label = &row.label;
    let details = row.details.clone().unwrap_or_default();
    let text = |text: &str| clipped(text, OTHER);
    let rationale = label.rationale.as_deref().filter(|_| options.rationales);
    let error = label.labeling_error.as_ref();
    let kind = |kind| kinds & kind != 0;
    json!({
        "bucket": bucket,
        "line": row.number + 1,
        "conversation": text(&label.conversation_id),
        "message": text(&label.message_id),
        "hard": label.hard_label,
        "soft": label.soft_label,
        "low": details.low,
        "high": details.high,
        "p0": details.p0,
        "p1": details.p1,
        "mass": details.mass,
        "censored": details.censored,
        "lowMass": details.low_mass,
        "cut": details.cut > 0,
        "reused": details.reused,
        "error": error.map(|error| error.code),
        "said": error.map(|error| text(&error.message)),
        "text": message.map(|message| clipped(message, MESSAGE)),
        "why": rationale.map(|rationale| clipped(rationale, RATIONALE)),
        "uncertain": kind(UNCERTAIN),
        "contradicting": details.contradicting || kind(CONTRADICTING),
        "failed": kind(FAILED),
        "random": kind(RANDOM),
    })
}

/// JSON that nothing in a page takes for the end of a script.
pub(super) fn embedded(value: &Value) -> String {
    let json = value.to_string();
    json.chars()
        .fold(String::with_capacity(json.len()), |mut text, c| {
            match c {
                '<' | '>' | '&' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                    text.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => text.push(c),
            }
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_script_that_holds_a_text() {
        let hostile = json!(["</script><!--", "\u{2028}&amp;", "\u{202e}x"]);
        let embedded = embedded(&hostile);
        assert!(
            !embedded.contains(['<', '>', '&', '\u{2028}']),
            "{embedded}"
        );
        assert_eq!(serde_json::from_str::<Value>(&embedded).unwrap(), hostile);
    }

    #[test]
    fn a_text_takes_no_more_than_its_share_whatever_is_in_it() {
        for text in ["<", "\u{1}", "\"", "é", "😀", "a"] {
            let clipped = clipped(&text.repeat(10_000), 300);
            assert!(embedded(&json!(clipped)).len() <= 300 + 5, "{text:?}");
            assert!(clipped.ends_with('…'));
        }
        assert_eq!(clipped("short", 300), "short");
    }
}
