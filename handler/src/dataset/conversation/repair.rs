//! Makes text of what Python writes and reads without a murmur, and serde_json refuses.

use std::borrow::Cow;

/// Replaces invalid UTF-8 and each escaped surrogate without a partner by U+FFFD.
pub(crate) fn repair(bytes: &[u8]) -> Cow<'_, [u8]> {
    let valid = match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(_) => Cow::Borrowed(bytes),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let lone = lone_surrogates(&valid);
    if lone.is_empty() {
        return valid;
    }
    let mut repaired = valid.into_owned();
    for at in lone {
        if let Some(escape) = repaired.get_mut(at..at + 6) {
            escape.copy_from_slice(br"\ufffd");
        }
    }
    Cow::Owned(repaired)
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
