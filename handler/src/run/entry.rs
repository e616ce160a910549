//! What is recorded of a turn, as it comes, in the part of its chunk.
//!
//! A label and its rationale are two entries, so that a label that was paid for is kept while its
//! rationale is on the way. The first label of a turn wins; a failure gives way to what comes later.

use crate::dataset::details::Place;
use crate::dataset::figures::Tokens;
use crate::dataset::line::LabelingError;
use crate::labeling::label::Label;
use crate::labeling::soft_label::Estimate;
use crate::money::Usd;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One line of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Line")]
pub struct Entry<'a> {
    /// Number of the turn in its chunk.
    pub turn: u32,
    /// In which round it was asked: 0, then one more each time failed turns are taken up again.
    pub round: u32,
    /// What became known.
    #[serde(flatten)]
    pub event: Event<'a>,
}

/// An [`Entry`] as it is read. Reading it as one that is flattened would copy all of it first.
#[derive(Deserialize)]
struct Line {
    turn: u32,
    round: u32,
    label: Option<LabelRecord>,
    error: Option<FailureRecord>,
    rationale: Option<RationaleRecord>,
    rationale_error: Option<FailureRecord>,
}

impl TryFrom<Line> for Entry<'_> {
    type Error = &'static str;

    fn try_from(line: Line) -> Result<Self, Self::Error> {
        let label = line.label.map(|record| Event::Label(Cow::Owned(record)));
        let event = label
            .or(line.error.map(Event::Error))
            .or(line.rationale.map(Event::Rationale))
            .or(line.rationale_error.map(Event::RationaleError));
        Ok(Self {
            turn: line.turn,
            round: line.round,
            event: event.ok_or("nothing is said of the turn")?,
        })
    }
}

/// A line of a part that is about no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The part began with this many lines, which another run was billed for.
    Seeded(u64),
    /// The chunk may have cost this much in its run, with all that is recorded before and with calls
    /// that are in flight. It is written before they are sent.
    Credit(Usd),
    /// What was billed, or may have been, for calls that no turn records.
    Spent(Tokens),
}

impl Note {
    /// The note that `line` is, if it is one.
    pub fn read(line: &[u8]) -> Option<Self> {
        // Most lines are about turns.
        match line.starts_with(b"{\"turn\"") {
            true => None,
            false => serde_json::from_slice(line).ok(),
        }
    }

    /// Its line.
    pub fn line(self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// What became known of a turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event<'a> {
    /// It has a label.
    Label(Cow<'a, LabelRecord>),
    /// It has none.
    Error(FailureRecord),
    /// It has a rationale.
    Rationale(RationaleRecord),
    /// It has a label but no rationale.
    RationaleError(FailureRecord),
}

impl Event<'_> {
    /// What was billed for it.
    pub fn tokens(&self) -> Tokens {
        match self {
            Self::Label(record) => record.tokens,
            Self::Rationale(record) => record.tokens,
            Self::Error(record) | Self::RationaleError(record) => record.tokens,
        }
    }
}

/// The full record of a label: what the published line shows and what it does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// As in RAW.
    pub conversation_id: String,
    /// As in RAW.
    pub message_id: String,
    /// Where it stands in RAW; earlier versions did not record it.
    #[serde(default)]
    pub place: Option<Place>,
    /// The label.
    pub hard_label: Label,
    /// Soft label, bounds, probabilities.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Texts that were cut to their token limit.
    pub cut: u32,
    /// The answer is that of an identical turn.
    pub reused: bool,
    /// What was billed for it.
    pub tokens: Tokens,
    /// How long the answer took, in milliseconds.
    pub latency_ms: u64,
    /// `x-ms-client-request-id` of the call.
    pub request_id: String,
}

/// Why there is no label, or no rationale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// As in RAW.
    pub conversation_id: String,
    /// As in RAW.
    pub message_id: String,
    /// Where it stands in RAW; earlier versions did not record it.
    #[serde(default)]
    pub place: Option<Place>,
    /// Why.
    #[serde(flatten)]
    pub error: LabelingError,
    /// What was billed all the same.
    pub tokens: Tokens,
}

/// A rationale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RationaleRecord {
    /// The text.
    pub text: String,
    /// The answer is that of an identical turn.
    pub reused: bool,
    /// What was billed for it.
    pub tokens: Tokens,
}

/// What the entries of a turn add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TurnRecord {
    /// The label or why there is none.
    pub label: Option<Result<LabelRecord, FailureRecord>>,
    /// The round in which that became known.
    pub round: u32,
    /// The rationale or why there is none.
    pub rationale: Option<Result<RationaleRecord, FailureRecord>>,
    /// The round in which that became known.
    pub rationale_round: u32,
    /// Everything billed for the turn, including what was asked in vain.
    pub tokens: Tokens,
}

/// What is left to be done for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Nothing.
    Nothing,
    /// Label and, where wanted, rationale.
    All,
    /// The rationale.
    Rationale,
}

impl TurnRecord {
    fn failed(&self) -> bool {
        matches!(&self.label, Some(Err(failure)) if !failure.error.code.is_not_labelable())
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: Entry<'_>) {
        self.tokens += entry.event.tokens();
        match entry.event {
            Event::Label(record) => {
                if self.label.is_none() || self.failed() {
                    self.label = Some(Ok(record.into_owned()));
                    self.round = entry.round;
                }
            }
            Event::Error(record) => {
                if self.label.is_none() || self.failed() {
                    self.label = Some(Err(record));
                    self.round = entry.round;
                }
            }
            Event::Rationale(record) => {
                if !matches!(self.rationale, Some(Ok(_))) {
                    self.rationale = Some(Ok(record));
                    self.rationale_round = entry.round;
                }
            }
            Event::RationaleError(record) => {
                if !matches!(self.rationale, Some(Ok(_))) {
                    self.rationale = Some(Err(record));
                    self.rationale_round = entry.round;
                }
            }
        }
    }

    /// What is left to be done in `round`.
    pub fn todo(&self, round: u32, with_rationales: bool) -> Todo {
        match &self.label {
            None => Todo::All,
            Some(Err(_)) if self.failed() && self.round < round => Todo::All,
            Some(Ok(_)) if with_rationales => match &self.rationale {
                None => Todo::Rationale,
                Some(Err(failure))
                    if self.rationale_round < round && !failure.error.code.is_not_labelable() =>
                {
                    Todo::Rationale
                }
                Some(_) => Todo::Nothing,
            },
            Some(_) => Todo::Nothing,
        }
    }
}

/// What a part says of its chunk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// What is known of each turn.
    pub turns: Vec<TurnRecord>,
    /// Everything billed, also for calls that belong to no turn.
    pub tokens: Tokens,
    /// The part of that which was billed to the run whose results this run starts from.
    pub inherited: Tokens,
    /// Lines that cannot be read, or are about no turn of the chunk.
    pub unreadable: usize,
    /// Whether the results of another run are taken over.
    pub is_seeded: bool,
    /// What the chunk may have cost in its run, by the last note that says so.
    credit: Usd,
}

impl Part {
    /// Adds up the lines of a part of `turns` turns. What cannot be read is counted and passed over: it
    /// costs a repeated call at most.
    pub fn read(lines: &[u8], turns: u32) -> Self {
        let mut part = Self {
            turns: vec![TurnRecord::default(); turns as usize],
            ..Self::default()
        };
        let lines = lines.split(|&byte| byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            part.add(line);
        }
        part
    }

    /// Adds a line.
    pub fn add(&mut self, line: &[u8]) {
        match Note::read(line) {
            Some(Note::Seeded(_)) => {
                self.inherited = self.tokens;
                self.credit = Usd::ZERO;
                self.is_seeded = true;
            }
            Some(Note::Credit(usd)) => self.credit = usd,
            Some(Note::Spent(tokens)) => self.tokens += tokens,
            None => {
                let entry = serde_json::from_slice::<Entry<'_>>(line).ok();
                let turn = entry.as_ref().and_then(|entry| {
                    let turn = usize::try_from(entry.turn).ok()?;
                    self.turns.get_mut(turn)
                });
                match (turn, entry) {
                    (Some(turn), Some(entry)) => {
                        self.tokens += entry.event.tokens();
                        turn.add(entry);
                    }
                    _ => self.unreadable += 1,
                }
            }
        }
    }

    /// What was billed to this run.
    pub fn own(&self) -> Tokens {
        self.tokens.without(self.inherited)
    }

    /// What may have been billed for calls in flight when their process was killed: nothing else records
    /// how they ended.
    pub fn lost(&self) -> Option<Tokens> {
        let usd = self.credit.saturating_sub(self.own().usd);
        (usd > Usd::ZERO).then_some(Tokens {
            calls: 1,
            estimated: 1,
            usd,
            ..Tokens::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::line::ErrorCode;

    fn failure(calls: u64) -> FailureRecord {
        FailureRecord {
            conversation_id: "c".into(),
            message_id: "m".into(),
            place: None,
            error: LabelingError::new(ErrorCode::Transient, "x"),
            tokens: Tokens {
                calls,
                prompt: 100 * calls,
                reserved: 116 * calls,
                ..Tokens::default()
            },
        }
    }

    #[test]
    fn a_failed_rationale_is_asked_again_in_the_next_round() {
        let label = r#"{"turn": 0, "round": 0, "label": {"conversation_id": "c", "message_id": "m",
            "hard_label": 1, "soft": 0.5, "low": 0.5, "high": 0.5, "censored": false, "p0": 0.5, "p1": 0.5,
            "mass": 1.0, "generated": "1", "generated_label": 1, "cut": 0, "reused": false, "tokens":
            {"calls": 1, "prompt": 1, "cached": 0, "completion": 1}, "latency_ms": 1, "request_id": "r"}}"#;
        let mut record = TurnRecord::default();
        record.add(serde_json::from_str(label).unwrap());
        let fail = |record: &mut TurnRecord, round, code| {
            let mut failure = failure(1);
            failure.error.code = code;
            record.add(Entry {
                turn: 0,
                round,
                event: Event::RationaleError(failure),
            });
        };
        assert_eq!(record.todo(0, true), Todo::Rationale);
        fail(&mut record, 0, ErrorCode::Transient);
        assert_eq!(record.todo(0, true), Todo::Nothing);
        assert_eq!(record.todo(1, true), Todo::Rationale);
        assert_eq!(record.todo(1, false), Todo::Nothing);
        fail(&mut record, 1, ErrorCode::ContentFiltered);
        assert_eq!(record.todo(1, true), Todo::Nothing);
        assert_eq!(record.todo(2, true), Todo::Nothing);
    }

    #[test]
    fn what_a_killed_process_may_have_spent_is_known_from_its_credit() {
        let usd = Usd::from_nanos;
        let spent = |nanos| Tokens {
            calls: 1,
            usd: usd(nanos),
            ..Tokens::default()
        };
        let mut part = Part::default();
        let own = |part: &Part| part.own().usd.nanos();
        // The base's.
        part.add(&Note::Credit(usd(90)).line());
        part.add(&Note::Spent(spent(40)).line());
        part.add(&Note::Seeded(2).line());
        assert_eq!((own(&part), part.lost()), (0, None));
        part.add(&Note::Credit(usd(30)).line());
        part.add(&Note::Spent(spent(10)).line());
        let lost = part.lost().unwrap();
        assert_eq!((lost.usd, lost.estimated), (usd(20), 1));
        part.add(&Note::Spent(lost).line());
        assert_eq!((own(&part), part.lost()), (30, None));
        part.add(&Note::Credit(usd(50)).line());
        part.add(&Note::Spent(spent(5)).line());
        part.add(&Note::Credit(usd(35)).line());
        assert_eq!((own(&part), part.lost()), (35, None));
        assert_eq!((part.tokens.usd, part.inherited.usd), (usd(75), usd(40)));
    }
}
