//! Taking over a part: with what a killed process left in it, and with the results of another run that it
//! begins with.
//!
//! Those are taken over once and for all: a line after them says so. What the other run still adds is
//! left to it, and what a killed execution left is continued.

use super::RunError;
use super::chunk::ChunkJob;
use super::entry::{Note, Part};
use super::ledger::Ledger;
use crate::store::{Appender, OwnFolder};

impl ChunkJob {
    /// Takes over a part that holds `lines`: copies the base's part to its beginning, if there is a base,
    /// and records what a killed process may have spent. Gives what the part then holds.
    ///
    /// # Errors
    /// [`RunError::BaseGone`] if results of the base are gone; and if the base cannot be read or the part
    /// cannot be written.
    pub async fn take_over(
        &self,
        work: &OwnFolder,
        appender: &mut Appender,
        lines: &[u8],
    ) -> Result<Part, RunError> {
        let mut part = Part::read(lines, self.turns());
        let mut missing = Vec::new();
        if !self.bases.is_empty() && !part.is_seeded {
            let theirs = self.base_part(work).await?;
            // The base's own mark refers to the part that the base began with.
            let is_seed = |line: &[u8]| matches!(Note::read(line), Some(Note::Seeded(_)));
            let theirs = whole_lines(&theirs).filter(|line| !is_seed(line));
            let theirs = theirs.collect::<Vec<_>>();
            let there = whole_lines(lines).zip(&theirs);
            let there = there.take_while(|(ours, theirs)| ours == *theirs).count();
            missing = theirs.get(there..).unwrap_or_default().concat();
            missing.extend(Note::Seeded(theirs.len() as u64).line());
        }
        for line in whole_lines(&missing) {
            part.add(line);
        }
        if let Some(lost) = part.lost() {
            tracing::warn!(
                part = self.part(),
                usd = lost.usd.as_f64(),
                "calls were in flight when a process ended: they count as billed"
            );
            let line = Note::Spent(lost).line();
            part.add(&line);
            missing.extend(line);
        }
        appender.append(&missing).await?;
        Ok(part)
    }

    /// The chunk's part in the first base that has it whole; empty where none ever began it.
    async fn base_part(&self, work: &OwnFolder) -> Result<Vec<u8>, RunError> {
        for (number, base) in self.bases.iter().enumerate() {
            let path = base.part(self.number);
            let part = work.read(&path).await?;
            let is_last = number + 1 == self.bases.len();
            // A run that was killed before it had copied all of its own base is not a base yet.
            let is_whole = |part: &Vec<u8>| is_last || Part::read(part, self.turns()).is_seeded;
            if let Some(part) = part.filter(is_whole) {
                return Ok(part);
            }
            let chunks = self.manifest.chunks.len() as u64;
            let ledger = Ledger::of_run(work, base, chunks).await?;
            // Without its manifest the whole base was removed.
            if ledger.has(self.number as u64) || !work.exists(&base.manifest()).await? {
                return Err(RunError::BaseGone {
                    path: work.locate(&path),
                });
            }
        }
        Ok(Vec::new())
    }
}

/// The lines with their line ends, without a torn last line.
fn whole_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    lines.filter(|line| line.ends_with(b"\n"))
}
