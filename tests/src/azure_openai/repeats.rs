//! Calls that were answered more than once, held against what could have lost their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Kind, Record};

/// Why an answer may have to be asked for again.
#[derive(Debug, Clone, Copy)]
pub struct Excuse<'a> {
    /// When something was killed that may have had the answer, since the service's start.
    pub kills: &'a [Duration],
    /// How long an answer may lie before it is kept for good.
    pub unflushed: Duration,
    /// No call takes longer.
    pub longest_call: Duration,
}

/// Counts the calls that were answered again, beyond the `allowed` times for a question (by
/// classification or text, and the key of its message).
///
/// # Errors
/// When one was answered again and no kill in between could have lost the answer before.
pub fn repeats(
    log: &[Record],
    excuse: Excuse<'_>,
    allowed: impl Fn(&Record) -> usize,
) -> Result<usize> {
    let mut answered = BTreeMap::<_, Vec<&Record>>::new();
    for record in log {
        if record.status == Some(200) && record.fully_sent {
            let kind = record.kind == Kind::Classification;
            answered.entry((kind, record.key)).or_default().push(record);
        }
    }
    let mut repeated = 0;
    for ((_, key), records) in &mut answered {
        records.sort_by_key(|record| record.arrived_us);
        let arrivals = records
            .iter()
            .map(|record| Duration::from_micros(record.arrived_us));
        let arrivals = arrivals.collect::<Vec<_>>();
        let may_be_lost = |first: Duration, again: Duration| {
            excuse.kills.iter().any(|&kill| {
                let lies = excuse.unflushed + excuse.longest_call;
                first <= kill && kill <= again && kill - first <= lies
            })
        };
        let pairs = arrivals.windows(2);
        let lost =
            pairs.filter(|pair| matches!(pair, [first, again] if may_be_lost(*first, *again)));
        let lost = lost.count();
        let allowed = records.first().map_or(1, |record| allowed(record));
        ensure!(
            arrivals.len() <= allowed.saturating_add(lost),
            "the call {key:?} was answered at {arrivals:?}, {allowed} times were allowed, and kills at \
             {:?} can have lost {lost} of the answers",
            excuse.kills
        );
        repeated += arrivals.len().saturating_sub(allowed);
    }
    Ok(repeated)
}
