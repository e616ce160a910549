//! Finds the conversations of a RAW file as byte ranges, in one pass and in bounded memory.
//!
//! A [`Scanner`] does no I/O: blocks are pushed in, findings are taken out. Between two blocks it
//! holds the conversation that is being read, never more than the limit on its length plus a
//! block, and what it finds does not depend on where the blocks are cut.
//!
//! A file is an array of conversations, or conversations one after the other, as a rule one a line.
//! Both are read alike: what stands between two conversations, be it a comma, a line break of any
//! system, nothing or a byte order mark, does not matter.
//!
//! Every conversation that is whole and passes the acceptance test is found as it stands, by
//! following the grammar alone. Guessing starts where that fails. A value that breaks the grammar,
//! is too long or is not accepted has its inside looked through for conversations, and the search
//! for the next one begins at the byte that broke it. A conversation may begin
//!
//! * where a line starts with the indentation that conversations of this file have, which is none
//!   outside of an array: text holds no raw line breaks, so this is believed, and two broken
//!   neighbours are told apart by it;
//! * at an object whose first key is `conversationId`, or the first key of the conversation read
//!   last: this is believed only if the object passes the acceptance test.
//!
//! # Limits
//!
//! * Broken neighbours with no line break between them count as one, because nothing certain
//!   separates them.
//! * A conversation after a broken one is found only by one of the two signs above. One whose
//!   first key differs from its predecessor's, on the same line, is lost with the broken one.
//! * An object inside a broken conversation that itself has an id in front and a `turnsArray`
//!   cannot be told from a conversation.
//! * Damage that leaves valid JSON is not damage to the scanner: a flipped letter in a text, or a
//!   brace too many after which the conversation is still accepted, the rest of it then being
//!   reported as broken elements.
//!
//! # Cost
//!
//! Time grows with the length of the file, however damaged. A value is followed once, up to the
//! byte that breaks it, and the next one begins after that byte or a few bytes before it. Possible
//! conversations inside it are noted on the way, at most eight open at a time, so the acceptance
//! test sees no byte more than nine times. A value given up for its length is resumed at the
//! outermost of those eight. [`Scanner::examined`] counts, and the tests hold it to a bound.

use std::collections::VecDeque;
use std::ops::Range;

use super::conversation::{NUL_BYTES, ParseError};
use super::packed::{Packed, TELLING_BYTES};

mod elements;
mod landmarks;
mod region;
pub(super) mod structure;
#[cfg(test)]
#[expect(clippy::string_slice, reason = "the files of the tests are ASCII")]
mod tests;
mod window;

use landmarks::{Marks, REACH, is_blank};
use region::Region;
use structure::{Step, Structure};
use window::{Event, Findings, Window};

/// The default of [`Scanner::with_max_conversation_bytes`]: 64 MiB.
pub const MAX_CONVERSATION_BYTES: usize = 64 << 20;

/// How a file puts its conversations together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON array of conversations.
    Array,
    /// Conversations one after the other, as a rule one a line.
    Lines,
}

/// Decides whether bytes are a conversation.
pub trait Accept<T> {
    /// Reads the bytes of one object. `is_certain` unless only that can tell whether it is a conversation
    /// at all, or a part of something else.
    ///
    /// # Errors
    /// Why it is no conversation.
    fn accept(&mut self, bytes: &[u8], is_certain: bool) -> Result<T, ParseError>;

    /// Whether what was accepted last, written over several lines, may be all that there is in a file.
    fn may_be_a_file(&self) -> bool {
        false
    }
}

impl<T, F: FnMut(&[u8]) -> Result<T, ParseError>> Accept<T> for F {
    fn accept(&mut self, bytes: &[u8], _: bool) -> Result<T, ParseError> {
        self(bytes)
    }
}

/// Something found in a file. Ranges are bytes of the file, in increasing order and disjoint.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// An object that passed the acceptance test.
    Conversation {
        /// Its position among everything found in this file, counted from 0.
        number: u64,
        /// Where it stands, from its opening to its closing brace.
        range: Range<u64>,
        /// Its bytes, as they stand in the file.
        bytes: &'a [u8],
        /// What the acceptance test made of it.
        value: T,
    },
    /// A stretch that holds something, but no conversation.
    Broken {
        /// Its position among everything found in this file, counted from 0.
        number: u64,
        /// Where it stands, without the blanks and commas around it.
        range: Range<u64>,
        /// What is wrong with it, without quoting data.
        reason: String,
    },
}

/// What is wrong with a file as a whole. Whatever is intact in it was found all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The file has no content, blanks and a byte order mark aside.
    #[error("the file is empty")]
    Empty,
    /// The file is of another kind, or nothing in it is a conversation.
    #[error("byte {offset}: not a dataset: {what}")]
    NotADataset {
        /// The byte by which this was recognised, or the first thing that is no conversation.
        offset: u64,
        /// What was seen instead.
        what: String,
    },
    /// The file ends inside of a conversation, or before its array does.
    #[error(
        "byte {offset}: the file is cut off: the value that begins there does not end before the \
         file does, at byte {length}"
    )]
    CutOff {
        /// Where the unfinished conversation begins; the length if there is none.
        offset: u64,
        /// The length of the file in bytes.
        length: u64,
    },
    /// Something other than blanks follows the bracket that closes the array.
    #[error("byte {offset}: data after the end of the array")]
    TrailingData {
        /// The first byte of it.
        offset: u64,
    },
}

impl ScanError {
    /// What to do about the file at `path`.
    pub fn remedy(&self, path: &str) -> String {
        let is_csv = Packed::of_name(path).filter(|it| *it == Packed::Csv);
        match self {
            Self::Empty | Self::CutOff { .. } | Self::TrailingData { .. } => {
                "export it again".into()
            }
            Self::NotADataset { what, .. } => match Packed::called(what).or(is_csv) {
                Some(packed) => packed.remedy(path),
                None if what == UTF_16 => "convert it to UTF-8".into(),
                None => {
                    "give a JSON array of conversations, or one conversation a line, in a format \
                         that softlabel label --help names"
                        .into()
                }
            },
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const UTF_16: &str = "text in UTF-16 or UTF-32";

/// Finds conversations in blocks of a file.
///
/// `accept` decides whether bytes are a conversation; [`super::conversation::Reader`] is made for it,
/// and [`super::conversation::count_turns`] where only lists `turnsArray` are wanted.
///
/// ```
/// use softlabel::dataset::{conversation::count_turns, scanner::{Format, Found, Scanner}};
///
/// let mut scanner = Scanner::new(count_turns);
/// let mut turns = 0;
/// for block in [&br#"[{"conversationId": "a", "turnsA"#[..], br#"rray": [{}, {}]}]"#] {
///     scanner.push(block);
///     while let Some(found) = scanner.next() {
///         if let Found::Conversation { value, .. } = found {
///             turns += value;
///         }
///     }
/// }
/// scanner.finish();
/// while scanner.next().is_some() {}
/// assert_eq!(scanner.outcome(), Ok(Format::Array));
/// assert_eq!(turns, 2);
/// ```
pub struct Scanner<T, A> {
    accept: A,
    max: usize,
    window: Window,
    phase: Phase,
    format: Format,
    structure: Structure,
    marks: Marks,
    /// A broken stretch whose end is not known yet.
    region: Option<Region>,
    /// Whether the bracket that closes the array was seen.
    closed: bool,
    /// What the file is, as it does not begin like a dataset, unless a conversation is found in it.
    odd_head: Option<ScanError>,
    error: Option<ScanError>,
    findings: Findings<T>,
    examined: u64,
}

/// What the next byte belongs to. Positions are bytes of the file.
enum Phase {
    Head {
        at: u64,
    },
    Between {
        at: u64,
    },
    /// Inside an element; `guess` if only the acceptance test can tell that it is one.
    Element {
        start: u64,
        guess: bool,
    },
    Search {
        from: u64,
    },
    Over,
}

impl<T, A: Accept<T>> Scanner<T, A> {
    /// A scanner at the beginning of a file; `accept` decides what is a conversation.
    pub fn new(accept: A) -> Self {
        Self {
            accept,
            max: MAX_CONVERSATION_BYTES,
            window: Window::default(),
            phase: Phase::Head { at: 0 },
            format: Format::Array,
            structure: Structure::new(),
            marks: Marks::new(),
            region: None,
            closed: false,
            odd_head: None,
            error: None,
            findings: Findings {
                queue: VecDeque::new(),
                number: 0,
                conversations: 0,
                first_broken: None,
            },
            examined: 0,
        }
    }

    /// Takes a conversation longer than this many bytes for broken. At least 1.
    #[must_use]
    pub fn with_max_conversation_bytes(mut self, max: usize) -> Self {
        self.max = max.max(1);
        self
    }

    /// Adds the next block of the file, of any length. Take out what was found before the next
    /// push, or all blocks since are kept.
    pub fn push(&mut self, block: &[u8]) {
        if self.findings.queue.is_empty() {
            self.let_go();
        }
        if matches!(self.phase, Phase::Over) {
            self.window.base += block.len() as u64;
        } else {
            self.window.bytes.extend_from_slice(block);
        }
    }

    /// Says that the file ends with the blocks pushed so far.
    pub fn finish(&mut self) {
        self.window.ended = true;
    }

    /// The next finding; `None` until more is pushed, or when the file is finished.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend its bytes"
    )]
    pub fn next(&mut self) -> Option<Found<'_, T>> {
        while self.findings.queue.is_empty() {
            if !self.step() {
                return None;
            }
        }
        let Event {
            number,
            range,
            value,
        } = self.findings.queue.pop_front()?;
        Some(match value {
            Ok(value) => {
                let bytes = self.window.slice(&range);
                Found::Conversation {
                    number,
                    range,
                    bytes,
                    value,
                }
            }
            Err(reason) => Found::Broken {
                number,
                range,
                reason,
            },
        })
    }

    /// Whether further blocks can change anything. They cannot once the content turned out to be
    /// something else.
    pub fn wants_more(&self) -> bool {
        !matches!(self.phase, Phase::Over)
    }

    /// What the file is as a whole, after [`Self::finish`] and the last finding.
    ///
    /// # Errors
    ///
    /// [`ScanError`], with the byte by which it was recognised. A file in which something is
    /// broken and nothing is a conversation is [`ScanError::NotADataset`].
    pub fn outcome(&mut self) -> Result<Format, ScanError> {
        self.finish();
        while self.step() {}
        let cut_off = matches!(self.error, None | Some(ScanError::CutOff { .. }));
        if let Some(error) = &self.odd_head
            && self.findings.conversations == 0
        {
            return Err(error.clone());
        }
        match &self.findings.first_broken {
            Some((offset, reason)) if cut_off && self.findings.conversations == 0 => {
                let what = format!("it holds no conversation; the first problem is: {reason}");
                Err(ScanError::NotADataset {
                    offset: *offset,
                    what,
                })
            }
            _ => self.error.clone().map_or(Ok(self.format), Err),
        }
    }

    /// How many bytes were looked at so far, those looked at again included. It is what the time
    /// of a scan is proportional to.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// Lets go of the bytes that nothing will ask for again.
    fn let_go(&mut self) {
        let needed = match self.phase {
            Phase::Head { at } => at,
            Phase::Between { at: start } | Phase::Element { start, .. } => {
                start.saturating_sub(REACH as u64)
            }
            Phase::Search { from } => from.saturating_sub(REACH as u64),
            Phase::Over => self.window.end(),
        };
        let count = self.window.index(needed).min(self.window.bytes.len());
        // Moving what stays costs more than it frees while most of it stays.
        if count < self.window.bytes.len() / 2 {
            return;
        }
        if let Some(region) = &mut self.region {
            region.extend(&self.window.bytes, self.window.base, needed);
        }
        self.window.bytes.drain(..count);
        self.window.base += count as u64;
    }

    /// Goes on to the next finding or state; `false` if that takes more bytes, or all is done.
    fn step(&mut self) -> bool {
        match self.phase {
            Phase::Head { at } => self.head(at),
            Phase::Between { at } => self.between(at),
            Phase::Element { start, guess } => self.element(start, guess),
            Phase::Search { from } => self.search(from),
            Phase::Over => false,
        }
    }

    fn head(&mut self, at: u64) -> bool {
        let rest = self.window.from(at);
        let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
        let offset = at + blanks as u64;
        let content = rest.get(blanks..).unwrap_or_default();
        self.phase = Phase::Head { at: offset };
        match content.first() {
            None if !self.window.ended => return false,
            // A few bytes tell the usual suspects apart.
            Some(_) if (content.len() as u64) < TELLING_BYTES && !self.window.ended => {
                return false;
            }
            Some(_) if is_foreign(content) => {
                let what = what_begins_with(content);
                return self.reject(ScanError::NotADataset { offset, what });
            }
            Some(0) => self.nul_bytes(offset, |at| Phase::Head { at }),
            Some(b'[') => {
                self.close_region(offset);
                self.phase = Phase::Between { at: offset + 1 };
            }
            Some(b'{') => {
                self.close_region(offset);
                self.format = Format::Lines;
                self.marks = Marks::of_lines();
                self.phase = Phase::Between { at: offset };
            }
            _ if content.starts_with(BYTE_ORDER_MARK) => {
                self.phase = Phase::Head { at: offset + 3 };
            }
            None if self.region.is_none() => return self.reject(ScanError::Empty),
            // The beginning of the first line may be what is missing.
            _ => {
                let (start, what) = match &self.region {
                    Some(nul) => (nul.start, what_begins_with(&[0])),
                    None => (offset, what_begins_with(content)),
                };
                self.odd_head = Some(ScanError::NotADataset {
                    offset: start,
                    what,
                });
                let reason = "it does not begin as a conversation does".to_owned();
                self.region
                    .get_or_insert_with(|| Region::open(offset, reason, None));
                self.format = Format::Lines;
                self.marks = Marks::of_lines();
                self.phase = Phase::Search { from: offset };
            }
        }
        true
    }

    /// Passes over NUL bytes at `at`, which are a broken stretch or belong to the one before them, into
    /// the phase of the byte after them.
    fn nul_bytes(&mut self, at: u64, phase: impl Fn(u64) -> Phase) {
        let rest = self.window.from(at).iter();
        let count = rest.take_while(|byte| **byte == 0).count() as u64;
        self.examined += count;
        self.region
            .get_or_insert_with(|| Region::open(at, NUL_BYTES.to_owned(), None));
        self.phase = phase(at + count);
    }

    /// Ends the scan. Returns `false`, as a step that found nothing.
    fn reject(&mut self, error: ScanError) -> bool {
        self.error.get_or_insert(error);
        self.phase = Phase::Over;
        false
    }

    fn end(&mut self) -> bool {
        self.phase = Phase::Over;
        true
    }

    fn cut_off(&mut self, offset: u64) -> bool {
        let length = self.window.end();
        self.error
            .get_or_insert(ScanError::CutOff { offset, length });
        self.end()
    }

    /// Ends the broken stretch in front of `at`, if there is one.
    fn close_region(&mut self, at: u64) {
        if let Some(mut region) = self.region.take() {
            region.extend(&self.window.bytes, self.window.base, at);
            self.findings.broken(region.range(), region.reason());
        }
    }

    /// Puts bytes of the window to the acceptance test.
    fn accept(&mut self, range: &Range<u64>, is_certain: bool) -> Result<T, String> {
        self.examined += range.end - range.start;
        let accepted = self.accept.accept(self.window.slice(range), is_certain);
        accepted.map_err(|error| error.to_string())
    }

    /// What the scanner was given to accept conversations.
    pub fn acceptance(&self) -> &A {
        &self.accept
    }

    /// Follows the value that begins at `start`, as far as it may be long.
    fn follow(&mut self, start: u64) -> (Step, bool) {
        let value = self.window.from(start);
        let allowed = value.get(..self.max).unwrap_or(value);
        let seen = self.structure.at();
        let step = self.structure.advance(allowed, &self.marks);
        self.examined += (self.structure.at() - seen) as u64;
        (step, value.len() > self.max)
    }
}

/// Whether content begins in a way in which no dataset does, damaged or not.
fn is_foreign(content: &[u8]) -> bool {
    Packed::of_content(content).is_some() || is_utf_16(content)
}

/// Whether content is text in UTF-16 or UTF-32, by its mark or by its first characters, as far as they are
/// English.
fn is_utf_16(content: &[u8]) -> bool {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match content {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [a, 0, b, 0, c, 0, ..] | [0, a, 0, b, 0, c, ..] => [a, b, c].into_iter().all(is_text),
        _ => false,
    }
}

fn what_begins_with(content: &[u8]) -> String {
    if let Some(packed) = Packed::of_content(content) {
        return packed.what().to_owned();
    }
    match content {
        _ if is_utf_16(content) => UTF_16.to_owned(),
        [byte @ b'!'..=b'~', ..] => format!("begins with '{}'", char::from(*byte)),
        [byte, ..] => format!("begins with the byte 0x{byte:02x}"),
        [] => "nothing".to_owned(),
    }
}
