//! The format of what the app keeps for itself and sends to itself: messages, records, what is pinned.
//!
//! Each carries a format number; without one it is 0, of a version that wrote none. An older one is read:
//! fields that came since have defaults. A newer one is not: while an app is replaced, instances of two
//! versions work side by side, and one may be put back in the middle of a run. What is newer is left, as it
//! is, for instances that know it.
//!
//! The number goes up when a version writes what the one before would misread, not when a field comes that
//! it may do without.

use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The format of this version.
const FORMAT: u32 = 1;

/// Makes a debug build be of another format, for tests.
#[cfg(debug_assertions)]
pub const OTHER_FORMAT: &str = "SOFTLABEL_TEST_FORMAT";

/// The format that this process writes, and the newest that it reads.
pub fn own() -> u32 {
    static OWN: OnceLock<u32> = OnceLock::new();
    *OWN.get_or_init(|| {
        #[cfg(debug_assertions)]
        if let Ok(other) = std::env::var(OTHER_FORMAT) {
            return other.parse().unwrap_or(FORMAT);
        }
        FORMAT
    })
}

/// The format of `content`; 0 of what carries none.
pub fn of(content: &[u8]) -> u32 {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        format_number: u32,
    }
    serde_json::from_slice::<Head>(content).map_or(0, |head| head.format_number)
}

/// Something as it is written: with its format.
#[derive(Debug, Serialize)]
pub struct Formatted<T> {
    format_number: u32,
    #[serde(flatten)]
    value: T,
}

impl<T> From<T> for Formatted<T> {
    fn from(value: T) -> Self {
        let format_number = own();
        Self {
            format_number,
            value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_carries_its_format() {
        let written = serde_json::to_value(Formatted::from(json!({"run": "r"}))).unwrap();
        assert_eq!(written, json!({"format_number": FORMAT, "run": "r"}));
        assert_eq!(of(written.to_string().as_bytes()), FORMAT);
        for older in ["{\"run\": \"r\"}", "no JSON", ""] {
            assert_eq!(of(older.as_bytes()), 0, "{older}");
        }
    }
}
