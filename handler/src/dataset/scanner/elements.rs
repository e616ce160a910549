//! Conversation after conversation, and what to do where there is none.

use std::ops::Range;

use super::landmarks::step_back;
use super::region::counts;
use super::structure::Candidate;
use super::{
    Accept, BYTE_ORDER_MARK, Format, NUL_BYTES, Phase, REACH, Region, ScanError, Scanner, Step,
};

impl<T, A: Accept<T>> Scanner<T, A> {
    pub(super) fn between(&mut self, at: u64) -> bool {
        let rest = self.window.from(at);
        let Some(blanks) = rest.iter().position(|byte| !super::is_blank(byte)) else {
            self.examined += rest.len() as u64;
            let end = self.window.end();
            self.phase = Phase::Between { at: end };
            if !self.window.ended {
                return false;
            }
            self.close_region(end);
            return if self.closed || self.format == Format::Lines {
                self.end()
            } else {
                self.cut_off(end)
            };
        };
        let rest = rest.get(blanks..).unwrap_or_default();
        let byte = rest.first().copied();
        let is_mark = rest.starts_with(BYTE_ORDER_MARK);
        let may_be_mark = BYTE_ORDER_MARK.starts_with(rest) && !self.window.ended;
        let at = at + blanks as u64;
        self.examined += blanks as u64 + 1;
        if may_be_mark && !is_mark {
            self.phase = Phase::Between { at };
            return false;
        }
        if self.closed && !is_mark {
            self.error
                .get_or_insert(ScanError::TrailingData { offset: at });
        }
        match byte {
            Some(b',') => {
                self.close_region(at);
                self.phase = Phase::Between { at: at + 1 };
            }
            _ if is_mark => self.phase = Phase::Between { at: at + 3 },
            Some(0) => self.nul_bytes(at, |at| Phase::Between { at }),
            Some(b']') if self.format == Format::Array => {
                self.close_region(at);
                self.closed = true;
                self.phase = Phase::Between { at: at + 1 };
            }
            Some(b'{') => {
                self.close_region(at);
                self.marks.first_start(self.window.before(at));
                self.start_element(at, false);
            }
            Some(b'[' | b'"' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
                if self.region.is_none() =>
            {
                self.start_element(at, false);
            }
            // Also what follows something broken without a comma: most likely it is the rest of
            // it, text taken for structure.
            _ => {
                let reason = "a byte that cannot stand between two conversations";
                self.region
                    .get_or_insert_with(|| Region::open(at, reason.to_owned(), None));
                self.phase = Phase::Search { from: at + 1 };
            }
        }
        true
    }

    fn start_element(&mut self, start: u64, guess: bool) {
        self.structure.reset(0);
        self.phase = Phase::Element { start, guess };
    }

    pub(super) fn element(&mut self, start: u64, guess: bool) -> bool {
        let (step, too_long) = self.follow(start);
        match step {
            Step::Done(length) => {
                let range = start..start + length as u64;
                let end = range.end;
                let verdict = match self.window.from(start).first().copied() {
                    Some(b'{') if self.holds_a_line(start) => {
                        Err("torn: conversations on lines of their own stand inside it".to_owned())
                    }
                    Some(b'{') => self.accept(&range, !guess),
                    Some(b'[') => Err("an array where a conversation should be".to_owned()),
                    Some(b'"') => Err("a text where a conversation should be".to_owned()),
                    _ => Err("a word or number where a conversation should be".to_owned()),
                };
                let odd = match &verdict {
                    Ok(_) => self.has_lines(&range) && !self.accept.may_be_a_file(),
                    Err(_) => true,
                };
                if odd && self.is_first_of_lines(start) {
                    match self.follows(end) {
                        None => return false,
                        Some(false) => {
                            let what =
                                "one JSON object, neither an array nor one conversation a line";
                            let what = match verdict {
                                Ok(_) => what.to_owned(),
                                Err(reason) => format!("{what}: {reason}"),
                            };
                            return self.reject(ScanError::NotADataset {
                                offset: start,
                                what,
                            });
                        }
                        Some(true) => {}
                    }
                }
                match verdict {
                    Ok(value) => {
                        self.close_region(start);
                        self.conversation(start, end, value);
                    }
                    Err(reason) => {
                        // A stray quote makes a text of all that stands in front of a first key.
                        let key = end - step_back(self.window.before(end)) as u64;
                        if (start + 1..end).contains(&key)
                            && self.window.from(key).starts_with(b"{")
                        {
                            self.give_up(start, key, &reason, None);
                            return true;
                        }
                        self.look_through(start, end, &reason, None);
                    }
                }
                self.phase = Phase::Between { at: end };
            }
            Step::Broken(offset, what) => {
                let at = start + offset as u64;
                let nul = memchr::memchr(0, self.window.slice(&(start..at + 1)));
                let (what, offset) = nul.map_or((what, offset), |nul| (NUL_BYTES, nul));
                let reason = format!("{what} (byte {offset} of the conversation)");
                let back = step_back(self.window.before(at)) as u64;
                self.give_up(
                    start,
                    at.saturating_sub(back),
                    &reason,
                    nul.is_none().then_some(at),
                );
            }
            Step::More if too_long => {
                let at = start + self.structure.at() as u64;
                let reason = format!(
                    "longer than the {} bytes that SOFTLABEL_MAX_CONVERSATION_MIB allows",
                    self.max
                );
                let back = at.saturating_sub(step_back(self.window.before(at)) as u64);
                // Nothing is known against what is open there: it is read again from its start.
                let open = self.structure.outermost_open().into_iter();
                let open = open
                    .chain(self.structure.undecided())
                    .filter(|&offset| offset > 0);
                let resume = open.map(|offset| start + offset as u64).chain([back]).min();
                self.give_up(start, resume.unwrap_or(back), &reason, None);
            }
            Step::More if self.window.ended => self.end_inside(start, guess),
            Step::More => return false,
        }
        true
    }

    /// Whether nothing was seen in front of the object at `start`, and it stands in no array.
    fn is_first_of_lines(&self, start: u64) -> bool {
        let first = self.format == Format::Lines && self.findings.number == 0;
        first && self.region.is_none() && self.window.from(start).starts_with(b"{")
    }

    fn has_lines(&self, range: &Range<u64>) -> bool {
        memchr::memchr(b'\n', self.window.slice(range)).is_some()
    }

    /// Whether anything but blanks comes after `end`; `None` while that is not known. Many blanks count
    /// as something, because the bytes in front of them are kept meanwhile.
    fn follows(&self, end: u64) -> Option<bool> {
        let after = self.window.from(end);
        let near = after.get(..REACH).unwrap_or(after);
        match near.iter().any(|byte| !super::is_blank(byte)) || after.len() > REACH {
            true => Some(true),
            false => self.window.ended.then_some(false),
        }
    }

    /// Whether the element at `start`, which is whole, is made of lines of which one is a conversation:
    /// then its own line was torn, and what seems to be its end belongs to something else.
    fn holds_a_line(&mut self, start: u64) -> bool {
        if self.format != Format::Lines {
            return false;
        }
        let mut inside = self.structure.certain_inside().into_iter();
        inside.any(|inside| {
            let range = start + inside.start as u64..start + inside.end as u64;
            self.accept(&range, true).is_ok()
        })
    }

    /// Reports a conversation and learns from it how conversations begin.
    fn conversation(&mut self, start: u64, end: u64, value: T) {
        let range = start..end;
        self.marks
            .learn(self.window.before(start), self.window.slice(&range));
        self.findings.conversation(range, value);
    }

    /// Leaves a value that does not end properly, and goes on at `resume`. `broke_at` is where it broke
    /// the grammar, if that is what is wrong with it.
    fn give_up(&mut self, start: u64, resume: u64, reason: &str, broke_at: Option<u64>) {
        // Not at the start again, or it would be found again.
        let resume = resume.max(start + 1);
        self.look_through(start, resume, reason, broke_at);
        self.phase = if self.region.is_some() {
            Phase::Search { from: resume }
        } else {
            Phase::Between { at: resume }
        };
    }

    /// Reports the conversations inside a value that is none itself, up to `end`. What comes after
    /// the last of them, if anything, is left as the open broken stretch.
    fn look_through(&mut self, start: u64, end: u64, reason: &str, broke_at: Option<u64>) {
        self.marks
            .learn_from_broken(self.window.slice(&(start..end)));
        let mut candidates = self.structure.take_candidates();
        self.region
            .get_or_insert_with(|| Region::open(start, reason.to_owned(), broke_at));
        let mut done = start;
        for Candidate {
            start: offset,
            end: close,
            certain,
        } in candidates.drain(..)
        {
            let at = start + offset as u64;
            if at >= end {
                break;
            }
            if at < done {
                continue;
            }
            let verdict = match close {
                Some(close) => {
                    let close = start + close as u64;
                    self.accept(&(at..close), certain)
                        .map(|value| (close, value))
                }
                None => Err(reason.to_owned()),
            };
            match verdict {
                Ok((close, value)) => {
                    self.open_region(done, at, reason);
                    self.close_region(at);
                    self.conversation(at, close, value);
                    done = close;
                }
                Err(reason_inside) if certain => {
                    self.open_region(done, at, reason);
                    self.close_region(at);
                    let broke_at = broke_at.filter(|_| close.is_none());
                    self.region = Some(Region::open(at, reason_inside, broke_at));
                }
                Err(_) => {}
            }
        }
        self.structure.give_back(candidates);
        self.open_region(done, end, reason);
    }

    /// Opens a broken stretch at the first byte of `from..to` that counts, unless one is open.
    fn open_region(&mut self, from: u64, to: u64, reason: &str) {
        if self.region.is_none()
            && let Some(at) = self.window.slice(&(from..to)).iter().position(counts)
        {
            self.region = Some(Region::open(from + at as u64, reason.to_owned(), None));
        }
    }

    pub(super) fn search(&mut self, from: u64) -> bool {
        let index = self.window.index(from);
        let found = self.marks.find(&self.window.bytes, index);
        let end = self.window.end();
        let at = match &found {
            Some(found) => self.window.base + found.at as u64,
            None if self.window.ended => end,
            None => from.max(end.saturating_sub(REACH as u64)),
        };
        if self.findings.conversations == 0
            && at > self.max as u64
            && let Some(error) = self.odd_head.clone()
        {
            return self.reject(error);
        }
        let Some(found) = found else {
            self.examined += end - from;
            if self.window.ended {
                return self.end_of_search(end);
            }
            self.phase = Phase::Search { from: at };
            return false;
        };
        self.examined += at - from;
        if found.certain {
            self.close_region(at);
        }
        self.start_element(at, !found.certain);
        true
    }

    /// The file ends after something broken. An array may still end as it should.
    fn end_of_search(&mut self, end: u64) -> bool {
        if self.format == Format::Lines {
            self.close_region(end);
            return self.end();
        }
        let Some(mut region) = self.region.take() else {
            return self.end();
        };
        region.extend(&self.window.bytes, self.window.base, end);
        let Some(inside) = region.range_inside_array() else {
            let start = region.start;
            self.findings.broken(region.range(), region.reason());
            return self.cut_off(start);
        };
        self.findings.broken(inside, region.reason());
        self.end()
    }

    /// The file ends inside an element.
    fn end_inside(&mut self, start: u64, guess: bool) {
        let end = self.window.end();
        let reported = self.findings.number;
        self.look_through(start, end, "the file ends inside it", Some(end));
        let swallowed = self.findings.number > reported;
        let ended = match self.format {
            // What did not end is the broken one, or what it swallowed; the array did end.
            Format::Array => {
                let last = self.window.from(start).iter().rfind(|byte| counts(byte));
                (guess || swallowed) && last == Some(&b']')
            }
            // A line break after the unfinished element shows that the writer went on.
            Format::Lines => {
                self.region.is_none() || matches!(self.window.bytes.last(), Some(b'\n' | b'\r'))
            }
        };
        if ended {
            self.end_of_search(end);
            return;
        }
        if guess && !swallowed {
            self.close_region(start);
        }
        let unfinished = match self.region.take() {
            Some(region) => region.start,
            None if swallowed => end,
            None => start,
        };
        self.cut_off(unfinished);
    }
}
