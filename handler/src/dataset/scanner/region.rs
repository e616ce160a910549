//! A stretch of a file in which no conversation was found, while it is still growing.

use std::ops::Range;

use super::landmarks::is_blank;

/// Remembers where the last bytes that count stand, because the bytes themselves are let go.
pub(super) struct Region {
    pub(super) start: u64,
    reason: String,
    /// Where it broke the grammar, if nothing else is known to be wrong with it.
    broke_at: Option<u64>,
    seen: u64,
    /// After the last byte that is neither blank nor comma.
    end: u64,
    /// That byte.
    last: u8,
    /// What `end` would be without that byte.
    inner_end: u64,
}

impl Region {
    /// The first byte that counts stands at `start` or, behind commas and blanks, after it. `broke_at` is where it
    /// broke the grammar, if nothing else is wrong.
    pub(super) fn open(start: u64, reason: String, broke_at: Option<u64>) -> Self {
        Self {
            start,
            reason,
            broke_at,
            seen: start,
            end: start,
            last: 0,
            inner_end: start,
        }
    }

    /// Takes in the bytes up to `upto` of `bytes`, which begin at the file's byte `base`.
    pub(super) fn extend(&mut self, bytes: &[u8], base: u64, upto: u64) {
        let from = usize::try_from(self.seen.saturating_sub(base)).unwrap_or(usize::MAX);
        let to = usize::try_from(upto.saturating_sub(base)).unwrap_or(usize::MAX);
        let Some(fresh) = bytes.get(from..to) else {
            return;
        };
        if self.end == self.start
            && let Some(first) = fresh.iter().position(counts)
        {
            // A comma in front of it belongs to none either.
            self.start = self.seen + first as u64;
            (self.end, self.inner_end) = (self.start, self.start);
        }
        if let Some(last) = fresh.iter().rposition(counts) {
            let before = fresh.get(..last).unwrap_or_default();
            self.inner_end = match before.iter().rposition(counts) {
                Some(at) => self.seen + at as u64 + 1,
                None => self.end,
            };
            self.end = self.seen + last as u64 + 1;
            self.last = fresh.get(last).copied().unwrap_or_default();
        }
        self.seen = self.seen.max(upto);
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// What is wrong with it. Where nothing follows the byte that broke the grammar, that byte is not
    /// what is wrong: it begins something else.
    pub(super) fn reason(self) -> String {
        match self.broke_at {
            Some(broke_at) if self.end <= broke_at => "torn: its end is missing".to_owned(),
            _ => self.reason,
        }
    }

    /// The range without the bracket that closes the file's array, if that is its last byte.
    pub(super) fn range_inside_array(&self) -> Option<Range<u64>> {
        (self.last == b']').then_some(self.start..self.inner_end)
    }
}

/// Blanks and commas stand between conversations and belong to none.
pub(super) fn counts(byte: &u8) -> bool {
    !is_blank(byte) && *byte != b','
}
