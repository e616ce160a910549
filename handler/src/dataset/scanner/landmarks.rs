//! What the conversations of a file have in common at their start, learned from the ones that
//! were read, and the search for the next start after one that was not.

use memchr::memmem::Finder;

use super::structure::Landmarks;

/// How many bytes around a position are enough to judge it: an indentation in front of it, or a
/// brace, blanks and a key behind it. The scanner keeps as many.
pub(super) const REACH: usize = 512;
const MAX_INDENTATION: usize = 64;
const MAX_KEY: usize = 128;
const MAX_BLANKS: usize = 256;

/// The first window of a search. Windows double, so that a search costs as much as the way to
/// what it finds, and not as much as there are bytes at hand.
const WINDOW: usize = 256;

const CONVERSATION_ID: &[u8] = br#""conversationId""#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) at: usize,
    /// Whether it stands where only conversations stand.
    pub(super) certain: bool,
}

pub(super) struct Marks {
    /// The line break and the blanks in front of a conversation.
    indentation: Option<Needle>,
    /// Whether a conversation was read that has nothing of the kind inside.
    verified: bool,
    /// Whether the indentation is known without looking.
    fixed: bool,
    started: bool,
    conversation_id: Needle,
    /// The first key of the conversation read last, if it is another one.
    first_key: Option<Needle>,
}

struct Needle {
    bytes: Vec<u8>,
    finder: Finder<'static>,
}

impl Needle {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            finder: Finder::new(&bytes).into_owned(),
            bytes,
        }
    }
}

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            indentation: None,
            verified: false,
            fixed: false,
            started: false,
            conversation_id: Needle::new(CONVERSATION_ID.to_vec()),
            first_key: None,
        }
    }

    /// The landmarks of conversations outside of an array: each begins its line.
    pub(super) fn of_lines() -> Self {
        Self {
            indentation: Some(brace_after(b"\n")),
            fixed: true,
            ..Self::new()
        }
    }

    /// Takes note of the first object of a file, which may turn out to be broken.
    pub(super) fn first_start(&mut self, before: &[u8]) {
        if std::mem::replace(&mut self.started, true) || self.fixed {
            return;
        }
        // Without any indentation, every object might stand at the start of a line.
        if let Some(line) = indentation(before).filter(|line| line.len() > 1) {
            self.indentation = Some(brace_after(line));
        }
    }

    /// Takes note of a conversation that was read, and of what stands in front of it.
    pub(super) fn learn(&mut self, before: &[u8], conversation: &[u8]) {
        self.started = true;
        self.learn_key(conversation);
        let Some(line) = indentation(before).filter(|_| !self.fixed) else {
            return;
        };
        let known = self.stands_out(before);
        if known && self.verified {
            return;
        }
        let needle = brace_after(line);
        let deeper = memchr::memchr(b'\n', conversation).is_none_or(|at| {
            let second = conversation
                .get(at..)
                .and_then(|rest| rest.strip_prefix(line));
            second.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\t')))
        });
        if deeper && needle.finder.find(conversation).is_none() {
            self.indentation = Some(needle);
            self.verified = true;
        } else if known {
            self.indentation = None;
        }
    }

    /// Takes the first key of something broken for that of conversations, while there is no better
    /// guess.
    pub(super) fn learn_from_broken(&mut self, object: &[u8]) {
        if self.first_key.is_none() {
            self.learn_key(object);
        }
    }

    fn learn_key(&mut self, object: &[u8]) {
        if let Some(key) = first_key(object)
            && !self.is_first_key(key)
        {
            self.first_key = Some(Needle::new(key.to_vec()));
        }
    }

    /// Looks in `bytes` for the first brace at or after `from` where a conversation may begin.
    ///
    /// What is cut off at the end of `bytes` is not found; a later search that starts [`REACH`]
    /// bytes before the end finds it.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<Start> {
        let mut start = from;
        let mut size = WINDOW;
        while start < bytes.len() {
            let end = start.saturating_add(size).min(bytes.len());
            let line = self
                .indentation
                .as_ref()
                .and_then(|it| it.brace_in(bytes, start, end));
            let keys = [Some(&self.conversation_id), self.first_key.as_ref()];
            let key = keys.into_iter().flatten();
            let key = key
                .filter_map(|it| it.object_in(bytes, from, start, end))
                .min();
            match (line, key) {
                (Some(at), key) if key.is_none_or(|key| at <= key) => {
                    return Some(Start { at, certain: true });
                }
                (_, Some(at)) => return Some(Start { at, certain: false }),
                _ => {}
            }
            start = end;
            size = size.saturating_mul(2);
        }
        None
    }
}

impl Landmarks for Marks {
    fn stands_out(&self, before: &[u8]) -> bool {
        let line = self
            .indentation
            .as_ref()
            .and_then(|it| it.bytes.strip_suffix(b"{"));
        line.is_some_and(|line| before.ends_with(line))
    }

    fn is_first_key(&self, key: &[u8]) -> bool {
        key == CONVERSATION_ID || self.first_key.as_ref().is_some_and(|it| it.bytes == key)
    }
}

impl Needle {
    /// The first brace of a needle that ends in one, in `start..end`.
    fn brace_in(&self, bytes: &[u8], start: usize, end: usize) -> Option<usize> {
        let lead = self.bytes.len().saturating_sub(1);
        let base = start.saturating_sub(lead);
        let found = self.finder.find(bytes.get(base..end)?)?;
        Some(base + found + lead)
    }

    /// The brace, not before `floor`, of the first object whose first key is this needle and
    /// begins in `start..end`.
    fn object_in(&self, bytes: &[u8], floor: usize, start: usize, end: usize) -> Option<usize> {
        let reach = end
            .saturating_add(self.bytes.len())
            .saturating_sub(1)
            .min(bytes.len());
        let window = bytes.get(start..reach)?;
        self.finder.find_iter(window).find_map(|found| {
            let before = bytes.get(floor..start + found)?;
            let blanks = before
                .iter()
                .rev()
                .take(MAX_BLANKS)
                .take_while(|byte| is_blank(byte));
            let brace = before.len().checked_sub(blanks.count() + 1)?;
            (before.get(brace) == Some(&b'{')).then_some(floor + brace)
        })
    }
}

pub(super) fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// How far to go back from a byte that cannot stand where it stands, so that the start of a
/// conversation right in front of it is not overlooked: over a quote, blanks and a brace.
///
/// Nothing further back can be overlooked. Whatever looks like the start of a conversation inside
/// a text ends that text with the quote of its key, and the key itself cannot follow.
pub(super) fn step_back(before: &[u8]) -> usize {
    let rest = before.strip_suffix(b"\"").unwrap_or(before);
    let blanks = rest
        .iter()
        .rev()
        .take(MAX_BLANKS)
        .take_while(|byte| is_blank(byte))
        .count();
    let rest = rest
        .get(..rest.len().saturating_sub(blanks))
        .unwrap_or_default();
    before.len() - rest.strip_suffix(b"{").unwrap_or(rest).len()
}

fn brace_after(line: &[u8]) -> Needle {
    Needle::new([line, b"{"].concat())
}

/// The line break and the blanks that end `before`, if there is nothing else on that line.
fn indentation(before: &[u8]) -> Option<&[u8]> {
    let blanks = before
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    if blanks > MAX_INDENTATION {
        return None;
    }
    let line = before.get(before.len().checked_sub(blanks + 1)?..)?;
    line.starts_with(b"\n").then_some(line)
}

/// The first key of an object, with its quotes, if it is a plain one.
fn first_key(object: &[u8]) -> Option<&[u8]> {
    let inside = object.strip_prefix(b"{")?.trim_ascii_start();
    let text = inside.strip_prefix(b"\"")?;
    let length = text.iter().take(MAX_KEY).position(|&byte| byte == b'"')?;
    let key = inside.get(..length + 2)?;
    // A line break inside a key could be taken for an indentation.
    key.iter()
        .all(|&byte| byte >= b' ' && byte != b'\\')
        .then_some(key)
}
