//! What a run was billed so far: its finished chunks by the ledger, the others by their parts.

use super::world::App;
use crate::dataset::figures::Tokens;
use crate::run::RunError;
use crate::run::entry::Part;
use crate::run::ledger::Ledger;
use crate::run::paths::BucketPaths;
use crate::run::record::Record;
use std::collections::BTreeSet;
use std::ops::AddAssign;

/// What was billed, and for how many turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Billed {
    /// Everything billed, what the run began with included.
    pub tokens: Tokens,
    /// Turns that have a label, or none and a reason.
    pub turns: u64,
}

impl AddAssign for Billed {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.turns += other.turns;
    }
}

/// What a run was billed, as its record says: nothing before its end is settled.
pub(crate) fn recorded(record: &Record) -> Billed {
    let published = record.report.as_ref().filter(|_| record.is_published());
    let published = published.map(|report| (report.figures.tokens, report.figures.turns));
    let (tokens, turns) = published.or(record.billed).unwrap_or_default();
    Billed { tokens, turns }
}

/// What a run was billed according to its records, without calls in flight when a process was killed.
///
/// # Errors
/// If something cannot be read.
pub(crate) async fn of(app: &App, record: &Record) -> Result<Billed, RunError> {
    if let Some(report) = record.report.as_ref().filter(|_| record.is_published()) {
        return Ok(Billed {
            tokens: report.figures.tokens,
            turns: report.figures.turns,
        });
    }
    if record.chunks.is_none() {
        return Ok(Billed::default());
    }
    let ledger = app.ledger(record).await?;
    let mut billed = unfinished(app, record, &ledger).await?;
    if let Some(sum) = ledger.sum() {
        billed += Billed {
            tokens: sum.tokens,
            turns: sum.turns,
        };
    }
    Ok(billed)
}

/// What the chunks were billed that were begun and not finished.
async fn unfinished(app: &App, record: &Record, ledger: &Ledger) -> Result<Billed, RunError> {
    let (paths, work) = (BucketPaths::of_run(&record.run), app.runs.work());
    let begun = work.list(&paths.parts()).await?.into_iter();
    let begun = begun.map(|part| part.path).collect::<BTreeSet<_>>();
    let manifest = app.manifest(record).await?;
    let chunks = manifest.iter().flat_map(|manifest| manifest.chunks.iter());
    let mut billed = Billed::default();
    for (number, chunk) in chunks.enumerate() {
        let part = paths.part(number);
        if ledger.has(number as u64) || !begun.contains(&part) {
            continue;
        }
        let lines = work.read(&part).await?.unwrap_or_default();
        let part = Part::read(&lines, chunk.turns);
        billed.tokens += part.tokens;
        let labeled = part.turns.iter().filter(|turn| turn.label.is_some());
        billed.turns += labeled.count() as u64;
    }
    Ok(billed)
}
