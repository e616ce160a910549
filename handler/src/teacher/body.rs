//! The bytes of an answer's body, and what they are where they are no answer.

use flate2::read::GzDecoder;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::io::Read;

/// A body larger than this is not one of ours.
pub const LARGEST: usize = 4 << 20;

/// The bytes of `body`; those that it unpacks to where it was compressed, which nobody asks for.
#[must_use]
pub fn unpacked(body: &[u8]) -> Cow<'_, [u8]> {
    if body.starts_with(b"\x1f\x8b") {
        let mut unpacked = Vec::new();
        let mut reader = GzDecoder::new(body).take(LARGEST as u64);
        if reader.read_to_end(&mut unpacked).is_ok() {
            return Cow::Owned(unpacked);
        }
    }
    Cow::Borrowed(body)
}

/// What a body is that is no JSON.
#[must_use]
pub fn kind(body: &[u8]) -> &'static str {
    let text = body.trim_ascii_start();
    match text.first() {
        None => "it is empty",
        Some(b'<') => "it is a page",
        _ if text.starts_with(b"data:") || text.starts_with(b"event:") => {
            "it is a stream of events"
        }
        _ => match serde_json::from_slice::<IgnoredAny>(text) {
            Err(error) if error.is_eof() => "it is cut off",
            _ => "it is not JSON",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_unpacked() {
        // The bytes of `printf '{"a": 1}' | gzip -n`.
        let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabVJT\xb2R0\xac\x05\x00\x97\x8e\xa1\xfb\x08\x00\x00\x00";
        assert_eq!(*unpacked(packed), *b"{\"a\": 1}");
        for plain in [b"{}".as_slice(), b"\x1f\x8b and no more", b""] {
            assert_eq!(*unpacked(plain), *plain);
        }
    }

    #[test]
    fn what_is_no_json_is_named() {
        for (body, name) in [
            ("  ", "it is empty"),
            ("\n<!doctype html>", "it is a page"),
            ("data: {}\n\n", "it is a stream of events"),
            ("{\"choices\": [", "it is cut off"),
            ("{'a'}", "it is not JSON"),
            ("Sign in", "it is not JSON"),
        ] {
            assert_eq!(kind(body.as_bytes()), name, "{body}");
        }
    }
}
