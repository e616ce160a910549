//! Calls that were answered more than once, held against what could have lost their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Kind, Record};

/// Something after which a caller may not have an answer any more that it got: it was killed, say. Times
/// are the service's, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Who; `None` for everybody.
    pub caller: Option<u64>,
    /// Not before this.
    pub began: Duration,
    /// What was asked after this has nothing to do with it.
    pub ended: Duration,
}

/// Why an answer may have to be asked for again.
#[derive(Debug, Clone, Copy)]
pub struct Excuse<'a> {
    /// What may have lost answers.
    pub losses: &'a [Loss],
    /// How long an answer may lie before it is kept for good.
    pub unflushed: Duration,
}

/// What was asked again, all of it excused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Answers, first ones included.
    pub answered: usize,
    /// Answers beyond the allowed ones.
    pub repeated: usize,
    /// Answers that a loss may have hit, asked for again or not. All others must not be.
    pub exposed: usize,
}

impl Excuse<'_> {
    /// Whether the answer to this call may have been lost.
    pub fn exposes(&self, record: &Record) -> bool {
        self.of(record).next().is_some()
    }

    /// The losses that may have hit the answer to this call: its caller had it in flight, or not kept yet.
    fn of(&self, record: &Record) -> impl Iterator<Item = &Loss> {
        let (arrived, ended) = (arrived(record), ended(record));
        let caller = record.caller;
        self.losses.iter().filter(move |loss| {
            loss.caller.is_none_or(|who| who == caller)
                && arrived <= loss.ended
                && loss.began <= ended + self.unflushed
        })
    }

    /// Whether the answer to `first` may have been lost when the call came `again`.
    fn covers(&self, first: &Record, again: &Record) -> bool {
        self.of(first).any(|loss| loss.began <= arrived(again))
    }
}

fn arrived(record: &Record) -> Duration {
    Duration::from_micros(record.arrived_us)
}

/// A call under way is in flight as long as it likes.
fn ended(record: &Record) -> Duration {
    record
        .ended_us
        .map_or(Duration::MAX / 2, Duration::from_micros)
}

/// Counts the calls that were answered again, beyond the `allowed` times for a question (by
/// classification or text, and the key of its message).
///
/// # Errors
/// When one was answered again and nothing in between could have lost the answer before.
pub fn repeats(
    log: &[Record],
    excuse: Excuse<'_>,
    allowed: impl Fn(&Record) -> usize,
) -> Result<Repeats> {
    let mut answered = BTreeMap::<_, Vec<&Record>>::new();
    for record in log {
        if record.status == Some(200) && record.fully_sent {
            let kind = record.kind == Kind::Classification;
            answered.entry((kind, record.key)).or_default().push(record);
        }
    }
    let mut repeats = Repeats::default();
    for ((_, key), records) in &mut answered {
        records.sort_by_key(|record| record.arrived_us);
        let pairs = records.windows(2);
        let lost =
            pairs.filter(|pair| matches!(pair, [first, again] if excuse.covers(first, again)));
        let lost = lost.count();
        let allowed = records.first().map_or(1, |record| allowed(record));
        ensure!(
            records.len() <= allowed.saturating_add(lost),
            "the call {key:016x} was answered {:?}, {allowed} times were allowed, and {:?} can have \
             lost {lost} of the answers",
            records
                .iter()
                .map(|record| (record.caller, arrived(record), ended(record)))
                .collect::<Vec<_>>(),
            excuse.losses
        );
        repeats.answered += records.len();
        repeats.repeated += records.len().saturating_sub(allowed);
        let exposed = records.iter().filter(|record| excuse.exposes(record));
        repeats.exposed += exposed.count();
    }
    Ok(repeats)
}

#[cfg(test)]
mod tests {
    use super::super::{Auth, Form};
    use super::*;

    /// An answered call of one caller, with its times in seconds.
    fn call(caller: u64, arrived: f64, ended: f64) -> Record {
        let micros = |seconds: f64| (seconds * 1e6) as u64;
        Record {
            index: 0,
            arrived_us: micros(arrived),
            ended_us: Some(micros(ended)),
            client_request_id: None,
            form: Form::V1,
            auth: Auth::Key,
            caller,
            deployment: "d".to_owned(),
            kind: Kind::Classification,
            swapped: false,
            key: 7,
            text_hash: 7,
            text_chars: 1,
            attempt: Some(0),
            prompt_tokens: 1,
            charged_tokens: 1,
            status: Some(200),
            fault: None,
            fully_sent: true,
            user_text: None,
            body: None,
        }
    }

    fn kill(caller: Option<u64>, began: f64, ended: f64) -> Loss {
        Loss {
            caller,
            began: Duration::from_secs_f64(began),
            ended: Duration::from_secs_f64(ended),
        }
    }

    /// Whether a second answer at 10 s is excused by a loss.
    fn excused(first: Record, loss: Loss) -> bool {
        let excuse = Excuse {
            losses: &[loss],
            unflushed: Duration::from_secs(2),
        };
        let again = call(9, 10.0, 10.2);
        repeats(&[again, first], excuse, |_| 1).is_ok()
    }

    #[test]
    fn an_answer_is_excused_that_its_caller_lost() {
        let first = || call(1, 3.0, 3.2);
        assert!(excused(first(), kill(Some(1), 3.1, 3.1)));
        assert!(excused(first(), kill(Some(1), 5.1, 5.1)));
        assert!(excused(first(), kill(None, 5.1, 5.1)));
        // Kept for good, asked after, somebody else's, or lost only after it was asked again.
        assert!(!excused(first(), kill(Some(1), 5.3, 5.3)));
        assert!(!excused(first(), kill(Some(1), 2.8, 2.9)));
        assert!(!excused(first(), kill(Some(2), 3.1, 3.1)));
        assert!(!excused(call(1, 3.0, 9.9), kill(Some(1), 11.0, 11.0)));
        // It took a while until it was dead.
        assert!(excused(first(), kill(Some(1), 2.8, 3.1)));
    }

    #[test]
    fn what_is_allowed_needs_no_excuse() {
        let excuse = Excuse {
            losses: &[],
            unflushed: Duration::ZERO,
        };
        let log = [call(1, 1.0, 2.0), call(1, 3.0, 4.0), call(2, 5.0, 6.0)];
        let counted = repeats(&log, excuse, |_| 3).unwrap();
        assert_eq!(
            (counted.answered, counted.repeated, counted.exposed),
            (3, 0, 0)
        );
        assert!(repeats(&log, excuse, |_| 2).is_err());
    }
}
