//! Repairs JSON that Python accepts and serde_json rejects: invalid UTF-8 and lone surrogates.

/// Replaces invalid UTF-8 and each escaped surrogate without a partner by U+FFFD.
pub(crate) fn repair(json: &[u8]) -> String {
    let mut valid = String::from_utf8_lossy(json).into_owned();
    for at in lone_surrogates(valid.as_bytes()) {
        valid.replace_range(at..at + 6, r"\ufffd");
    }
    valid
}

/// Repairs a JSON text so that different ones stay different: each escaped surrogate without a partner is
/// written out as the six characters of its escape, each byte that is not UTF-8 as `\xff`.
pub(super) fn repair_to_the_letter(text: &[u8]) -> String {
    let mut valid = spelled_out(text, r"\\x");
    for at in lone_surrogates(valid.as_bytes()).into_iter().rev() {
        valid.insert(at, '\\');
    }
    escape_controls(valid)
}

/// The text with each byte that is not UTF-8 as two hexadecimal digits behind `mark`.
pub(super) fn spelled_out(text: &[u8], mark: &str) -> String {
    let mut valid = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        valid.push_str(chunk.valid());
        for byte in chunk.invalid() {
            valid.push_str(&format!("{mark}{byte:02x}"));
        }
    }
    valid
}

/// Repairs a JSON text as [`repair`] does, and replaces control characters in it by their escapes.
pub(super) fn repair_text(text: &[u8]) -> String {
    escape_controls(repair(text))
}

/// Replaces control characters in a JSON text by their escapes.
fn escape_controls(valid: String) -> String {
    if !valid.contains(is_control) {
        return valid;
    }
    let mut escaped = String::with_capacity(valid.len() + 64);
    for c in valid.chars() {
        match is_control(c) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped
}

/// The characters that JSON wants escaped.
fn is_control(c: char) -> bool {
    c < ' '
}

/// The offsets of `\uXXXX` escapes that are half of a surrogate pair without the other half.
fn lone_surrogates(bytes: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += next;
        at += match escaped_unit(bytes, at) {
            Some(0xd800..=0xdbff) => {
                if matches!(escaped_unit(bytes, at + 6), Some(0xdc00..=0xdfff)) {
                    12
                } else {
                    lone.push(at);
                    6
                }
            }
            Some(0xdc00..=0xdfff) => {
                lone.push(at);
                6
            }
            Some(_) => 6,
            None => 2,
        };
    }
    lone
}

/// The UTF-16 unit that an escape `\uXXXX` at `at` stands for.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}
