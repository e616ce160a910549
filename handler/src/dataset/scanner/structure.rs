//! The grammar of one JSON value as a machine that is fed piecemeal.
//!
//! The machine looks at brackets, quotes, colons and commas only; numbers, words and escapes are left
//! to the code that reads a value. A comma behind the last value, as Python writes it, is taken as well. Following the grammar, instead of counting brackets, notices damage
//! soon: a stray quote turns text into structure, and text is not grammatical for long.

use std::ops::Range;

use memchr::memchr3;

/// Deeper nesting than any exporter writes; Python's own reader gives up at about the same depth.
const MAX_DEPTH: usize = 1024;

/// How many unclosed places inside a value are remembered as possible conversations. Where a
/// value fails, each byte of it may be given to the acceptance test this often and no oftener.
const MAX_OPEN: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Blank,
    Newline,
    Quote,
    Backslash,
    OpenObject,
    CloseObject,
    OpenArray,
    CloseArray,
    Colon,
    Comma,
    Literal,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(
            clippy::indexing_slicing,
            reason = "below 256, and evaluated by the compiler"
        )]
        {
            table[byte] = match byte as u8 {
                b' ' | b'\t' | b'\r' => Class::Blank,
                b'\n' => Class::Newline,
                b'"' => Class::Quote,
                b'\\' => Class::Backslash,
                b'{' => Class::OpenObject,
                b'}' => Class::CloseObject,
                b'[' => Class::OpenArray,
                b']' => Class::CloseArray,
                b':' => Class::Colon,
                b',' => Class::Comma,
                // NaN and Infinity, which Python writes, are words too.
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.' | b'_' => {
                    Class::Literal
                }
                _ => Class::Other,
            };
        }
        byte += 1;
    }
    table
};

fn class(byte: u8) -> Class {
    CLASS
        .get(usize::from(byte))
        .copied()
        .unwrap_or(Class::Other)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    FirstKeyOrEnd,
    Colon,
    CommaOrEnd,
}

/// What the last byte left unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Text,
    /// A text whose last byte was a backslash.
    Escape,
    Literal,
}

/// A place inside a value where a conversation may begin. Offsets count from the value's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) start: usize,
    /// One past its closing brace; `None` while it is open.
    pub(super) end: Option<usize>,
    /// Whether it stands where only conversations stand.
    pub(super) certain: bool,
}

/// What tells the start of a conversation from the start of another object.
pub(in crate::dataset) trait Landmarks {
    /// Whether the blanks that end `before` are those in front of a conversation.
    fn stands_out(&self, before: &[u8]) -> bool;
    /// Whether conversations begin with this key, given with its quotes.
    fn is_first_key(&self, key: &[u8]) -> bool;
}

/// Landmarks where no conversation is looked for.
pub(in crate::dataset) struct NoLandmarks;

impl Landmarks for NoLandmarks {
    fn stands_out(&self, _: &[u8]) -> bool {
        false
    }

    fn is_first_key(&self, _: &[u8]) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dataset) enum Step {
    /// All bytes are used up and the value goes on.
    More,
    /// The value ends before this offset.
    Done(usize),
    /// The byte at this offset cannot stand there.
    Broken(usize, &'static str),
}

pub(in crate::dataset) struct Structure {
    /// One bit a level: whether it is an object.
    objects: [u64; MAX_DEPTH / 64],
    depth: usize,
    /// The depth at which the value itself stands.
    outer: usize,
    expect: Expect,
    inside: Inside,
    at: usize,
    /// Where the text that is being read began.
    text: usize,
    /// Where the object began whose first key is being read.
    object: usize,
    candidates: Vec<Candidate>,
    /// Depth and position in `candidates` of the innermost open ones.
    open: Vec<(usize, usize)>,
}

impl Structure {
    pub(in crate::dataset) fn new() -> Self {
        Self {
            objects: [0; MAX_DEPTH / 64],
            depth: 0,
            outer: 0,
            expect: Expect::Value,
            inside: Inside::Nothing,
            at: 0,
            text: 0,
            object: 0,
            candidates: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Makes it ready for another value, one that stands inside `outer` others.
    pub(in crate::dataset) fn reset(&mut self, outer: usize) {
        self.depth = outer;
        self.outer = outer;
        self.expect = Expect::Value;
        self.inside = Inside::Nothing;
        self.at = 0;
        self.candidates.clear();
        self.open.clear();
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The places inside the value where a conversation may begin, in the order of the file.
    pub(super) fn take_candidates(&mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.candidates)
    }

    /// The whole objects inside the value that stand where only conversations stand.
    pub(super) fn certain_inside(&self) -> Vec<Range<usize>> {
        let certain = self.candidates.iter().filter(|it| it.certain);
        certain
            .filter_map(|it| it.end.map(|end| it.start..end))
            .collect()
    }

    /// Takes the list back, for its memory.
    pub(super) fn give_back(&mut self, mut candidates: Vec<Candidate>) {
        candidates.clear();
        self.candidates = candidates;
        self.open.clear();
    }

    /// Where the outermost of the remembered candidates begins that have no end yet.
    pub(super) fn outermost_open(&self) -> Option<usize> {
        let (_, position) = self.open.first()?;
        self.candidates
            .get(*position)
            .map(|candidate| candidate.start)
    }

    /// The object whose first key has not been read to its end, if that is what comes now.
    pub(super) fn undecided(&self) -> Option<usize> {
        (self.expect == Expect::FirstKeyOrEnd).then_some(self.object)
    }

    /// Goes on with `value`, which is everything from the value's first byte to the last known.
    pub(in crate::dataset) fn advance(&mut self, value: &[u8], landmarks: &impl Landmarks) -> Step {
        let step = self.run(value, landmarks);
        self.at = match step {
            Step::More => value.len(),
            Step::Done(at) | Step::Broken(at, _) => at,
        };
        step
    }

    fn run(&mut self, value: &[u8], landmarks: &impl Landmarks) -> Step {
        let finished = match self.inside {
            Inside::Nothing => Ok(self.at),
            Inside::Text | Inside::Escape => self.finish_text(value, self.at, landmarks),
            Inside::Literal => self.finish_literal(value, self.at),
        };
        let mut at = match finished {
            Ok(at) => at,
            Err(step) => return step,
        };
        loop {
            if self.depth == self.outer && self.expect == Expect::CommaOrEnd {
                return Step::Done(at);
            }
            let Some(&byte) = value.get(at) else {
                return Step::More;
            };
            match class(byte) {
                Class::Blank | Class::Newline => {
                    at += 1;
                    while value.get(at) == Some(&b' ') {
                        at += 1;
                    }
                }
                Class::Quote => {
                    if matches!(self.expect, Expect::Colon | Expect::CommaOrEnd) {
                        return Step::Broken(at, "a quote where no text can begin");
                    }
                    self.text = at;
                    self.inside = Inside::Text;
                    match self.finish_text(value, at + 1, landmarks) {
                        Ok(next) => at = next,
                        Err(step) => return step,
                    }
                }
                Class::Colon => {
                    if self.expect != Expect::Colon {
                        return Step::Broken(at, "a colon that follows no key");
                    }
                    self.expect = Expect::Value;
                    at += 1;
                }
                Class::Comma => {
                    if self.expect != Expect::CommaOrEnd {
                        return Step::Broken(at, "a comma that follows no value");
                    }
                    self.expect = if self.in_object() {
                        Expect::KeyOrEnd
                    } else {
                        Expect::ValueOrEnd
                    };
                    at += 1;
                }
                Class::Literal => {
                    if !matches!(self.expect, Expect::Value | Expect::ValueOrEnd) {
                        return Step::Broken(at, "a word or number where no value can begin");
                    }
                    self.inside = Inside::Literal;
                    match self.finish_literal(value, at + 1) {
                        Ok(next) => at = next,
                        Err(step) => return step,
                    }
                }
                opening @ (Class::OpenObject | Class::OpenArray) => {
                    if !matches!(self.expect, Expect::Value | Expect::ValueOrEnd) {
                        return Step::Broken(at, "a bracket opens where no value can begin");
                    }
                    let object = opening == Class::OpenObject;
                    if object && self.depth > 0 {
                        let before = value.get(..at).unwrap_or_default();
                        if landmarks.stands_out(before) {
                            self.remember(at, self.depth + 1, true);
                        }
                    }
                    if !self.push(object) {
                        return Step::Broken(at, "nested deeper than 1024 levels");
                    }
                    self.object = at;
                    self.expect = if object {
                        Expect::FirstKeyOrEnd
                    } else {
                        Expect::ValueOrEnd
                    };
                    at += 1;
                }
                Class::CloseObject => {
                    let ends = matches!(
                        self.expect,
                        Expect::FirstKeyOrEnd | Expect::KeyOrEnd | Expect::CommaOrEnd
                    );
                    if !ends || !self.in_object() {
                        return Step::Broken(at, "a closing brace that closes nothing");
                    }
                    at += 1;
                    if let Some(&(depth, position)) = self.open.last()
                        && depth == self.depth
                    {
                        self.open.pop();
                        if let Some(candidate) = self.candidates.get_mut(position) {
                            candidate.end = Some(at);
                        }
                    }
                    self.pop();
                }
                Class::CloseArray => {
                    let ends = matches!(self.expect, Expect::ValueOrEnd | Expect::CommaOrEnd);
                    if !ends || self.in_object() {
                        return Step::Broken(at, "a closing bracket that closes nothing");
                    }
                    at += 1;
                    self.pop();
                }
                Class::Backslash | Class::Other => {
                    return Step::Broken(at, "a byte that cannot stand outside a text");
                }
            }
        }
    }

    /// Reads a text to the byte after its closing quote.
    fn finish_text(
        &mut self,
        value: &[u8],
        from: usize,
        landmarks: &impl Landmarks,
    ) -> Result<usize, Step> {
        let mut at = from;
        if self.inside == Inside::Escape {
            if at >= value.len() {
                return Err(Step::More);
            }
            at += 1;
            self.inside = Inside::Text;
        }
        loop {
            let rest = value.get(at..).unwrap_or_default();
            let Some(found) = memchr3(b'"', b'\\', b'\n', rest) else {
                return Err(Step::More);
            };
            at += found;
            match rest.get(found) {
                Some(b'"') => break,
                Some(b'\n') => return Err(Step::Broken(at, "a raw line break inside a text")),
                _ if at + 1 < value.len() => at += 2,
                _ => {
                    self.inside = Inside::Escape;
                    return Err(Step::More);
                }
            }
        }
        at += 1;
        self.inside = Inside::Nothing;
        self.expect = match self.expect {
            Expect::FirstKeyOrEnd => {
                let key = value.get(self.text..at).unwrap_or_default();
                let known = self
                    .candidates
                    .last()
                    .is_some_and(|last| last.start == self.object);
                if self.depth > 1 && !known && landmarks.is_first_key(key) {
                    self.remember(self.object, self.depth, false);
                }
                Expect::Colon
            }
            Expect::KeyOrEnd => Expect::Colon,
            _ => Expect::CommaOrEnd,
        };
        Ok(at)
    }

    /// Reads a word or number to the byte after it.
    fn finish_literal(&mut self, value: &[u8], from: usize) -> Result<usize, Step> {
        let rest = value.get(from..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&byte| class(byte) != Class::Literal) else {
            return Err(Step::More);
        };
        self.inside = Inside::Nothing;
        self.expect = Expect::CommaOrEnd;
        Ok(from + length)
    }

    fn remember(&mut self, start: usize, depth: usize, certain: bool) {
        if self.open.len() == MAX_OPEN {
            // The outermost has swallowed seven others, so it is the least likely to be whole.
            self.open.remove(0);
        }
        self.open.push((depth, self.candidates.len()));
        self.candidates.push(Candidate {
            start,
            end: None,
            certain,
        });
    }

    fn in_object(&self) -> bool {
        let level = self.depth.wrapping_sub(1);
        self.objects
            .get(level / 64)
            .is_some_and(|word| word >> (level % 64) & 1 == 1)
    }

    fn push(&mut self, object: bool) -> bool {
        let Some(word) = self.objects.get_mut(self.depth / 64) else {
            return false;
        };
        let bit = 1 << (self.depth % 64);
        if object {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.depth += 1;
        true
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.expect = Expect::CommaOrEnd;
    }
}
