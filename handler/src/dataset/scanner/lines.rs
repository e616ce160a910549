//! The line format, and what tells it from a lone object.

use super::landmarks::is_blank;
use super::region::counts;
use super::structure::Structure;
use super::{Format, ParseError, Phase, Region, ScanError, Scanner, Step};

impl<T, A: FnMut(&[u8]) -> Result<T, ParseError>> Scanner<T, A> {
    /// The first object: if it has several lines, they are not conversations.
    pub(super) fn root(&mut self, start: u64) -> bool {
        self.format = Format::Lines;
        let (step, too_long) = self.follow(start);
        let lines = |length: usize| {
            let object = self.window.from(start).get(..length).unwrap_or_default();
            memchr::memchr(b'\n', object).is_some()
        };
        match step {
            Step::Done(length) if lines(length) => {
                self.phase = Phase::RootEnd {
                    start,
                    at: start + length as u64,
                };
                true
            }
            Step::More if !too_long && !self.window.ended => false,
            Step::More if !too_long && lines(self.window.from(start).len()) => {
                self.reject_object(start)
            }
            _ => self.start_line(start),
        }
    }

    pub(super) fn root_end(&mut self, start: u64, at: u64) -> bool {
        if self.window.from(at).iter().any(|byte| !is_blank(byte)) {
            return self.start_line(start);
        }
        self.phase = Phase::RootEnd {
            start,
            at: self.window.end(),
        };
        self.window.ended && self.reject_object(start)
    }

    fn reject_object(&mut self, offset: u64) -> bool {
        let what = "one JSON object over several lines, neither an array nor lines".to_owned();
        self.reject(ScanError::NotADataset { offset, what })
    }

    fn start_line(&mut self, start: u64) -> bool {
        self.phase = Phase::Line { start, at: start };
        true
    }

    pub(super) fn line(&mut self, start: u64, at: u64) -> bool {
        let rest = self.window.from(start);
        let allowed = rest.get(..=self.max).unwrap_or(rest);
        let seen = self.window.index(at) - self.window.index(start);
        let fresh = allowed.get(seen..).unwrap_or_default();
        self.examined += fresh.len() as u64;
        if let Some(found) = memchr::memchr(b'\n', fresh) {
            self.examined -= (fresh.len() - found) as u64;
            let end = at + found as u64;
            self.record(start, end, false);
            return self.start_line(end + 1);
        }
        let end = start + allowed.len() as u64;
        if allowed.len() > self.max {
            let Some(blanks) = allowed.iter().position(counts) else {
                return self.start_line(end);
            };
            let reason = format!("longer than {} bytes", self.max);
            self.region = Some(Region::open(start + blanks as u64, reason));
            self.phase = Phase::LongLine { at: end };
            return true;
        }
        self.phase = Phase::Line { start, at: end };
        if !self.window.ended {
            return false;
        }
        self.phase = Phase::Over;
        self.record(start, end, true);
        true
    }

    /// Judges one line. The last one may lack its line break, but then it may be cut off as well.
    fn record(&mut self, start: u64, end: u64, last: bool) {
        let line = self.window.slice(&(start..end));
        let solid = |byte: &u8| !is_blank(byte);
        let Some(first) = line.iter().position(solid) else {
            return;
        };
        let Some(last_solid) = line.iter().rposition(solid) else {
            return;
        };
        let range = start + first as u64..start + last_solid as u64 + 1;
        match self.accept(&range) {
            Ok(value) => self.findings.conversation(range, value),
            Err(reason) => {
                if last && !self.is_complete(self.window.slice(&range)) {
                    self.cut_off(range.start);
                } else {
                    self.findings.broken(range, reason);
                }
            }
        }
    }

    fn is_complete(&self, line: &[u8]) -> bool {
        Structure::new().advance(line, &self.marks) == Step::Done(line.len())
    }

    pub(super) fn long_line(&mut self, at: u64) -> bool {
        let rest = self.window.from(at);
        self.examined += rest.len() as u64;
        if let Some(found) = memchr::memchr(b'\n', rest) {
            self.examined -= (rest.len() - found) as u64;
            let end = at + found as u64;
            self.close_region(end);
            return self.start_line(end + 1);
        }
        self.phase = Phase::LongLine {
            at: self.window.end(),
        };
        if !self.window.ended {
            return false;
        }
        let start = self.region.take().map_or(at, |region| region.start);
        self.cut_off(start)
    }
}
