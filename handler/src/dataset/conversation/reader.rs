//! Counts the conversations of a file whose format is not known before its first one.

use super::format::recognise;
use super::{Count, Format, ParseError, walk};
use crate::dataset::scanner::Accept;

/// What a conversation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its turns.
    pub turns: u32,
    /// The field that its id stands in; `None` where it has none.
    pub id: Option<&'static str>,
    /// Turns whose message has no id.
    pub messages_without_id: u32,
}

/// Counts the turns of one file's conversations. The first of them decides the file's format, and one in
/// another format is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    format: Option<Format>,
}

impl Reader {
    /// The file's format; `None` before its first conversation.
    pub fn format(&self) -> Option<Format> {
        self.format
    }
}

impl Accept<Counted> for Reader {
    fn accept(&mut self, bytes: &[u8], is_certain: bool) -> Result<Counted, ParseError> {
        let format = match self.format {
            Some(format) => format,
            None if is_certain => recognise(bytes)?,
            // What may lie inside of something else decides nothing.
            None => Format::Turns,
        };
        let counted = walk::conversation::<Count>(bytes, format).map_err(|error| {
            let is_known = is_certain && self.format.is_some();
            let other = is_known.then(|| recognise(bytes).ok()).flatten();
            match other.filter(|other| *other != format) {
                Some(other) => ParseError {
                    reason: format!("it is {other}, and the file's first conversation is {format}"),
                    ..error
                },
                None => error,
            }
        });
        let (ids, count) = counted?;
        self.format = Some(format);
        Ok(Counted {
            turns: count.turns,
            id: ids.chosen(format).map(|(name, _)| name),
            messages_without_id: count.without_id,
        })
    }

    fn may_be_a_file(&self) -> bool {
        self.format.is_some_and(Format::may_be_a_file)
    }
}
