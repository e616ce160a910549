//! A part that begins with the results of another run.
//!
//! They are taken over once and for all: a line after them says so. What the other run still adds is
//! left to it, and what a killed execution left is continued.

use super::RunError;
use super::chunk::ChunkJob;
use super::entry::Seeded;
use super::ledger::Ledger;
use super::paths::BucketPaths;
use crate::store::{Appender, OwnFolder};

impl ChunkJob {
    /// Lets the part begin with that of the base, and gives what it holds then. `lines` is what it
    /// holds now.
    ///
    /// # Errors
    /// [`RunError::BaseGone`] if the base had results that are not there any more; and if the base
    /// cannot be read or the part cannot be written.
    pub async fn seed(
        &self,
        work: &OwnFolder,
        appender: &mut Appender,
        mut lines: Vec<u8>,
    ) -> Result<Vec<u8>, RunError> {
        let Some(base) = &self.base else {
            return Ok(lines);
        };
        if whole_lines(&lines).any(Seeded::is_in) {
            return Ok(lines);
        }
        let theirs = self.base_part(work, base).await?;
        // Of those that the base itself began with, the line that says so means another part.
        let theirs = whole_lines(&theirs).filter(|line| !Seeded::is_in(line));
        let theirs = theirs.collect::<Vec<_>>();
        let there = whole_lines(&lines).zip(&theirs);
        let there = there.take_while(|(ours, theirs)| ours == *theirs).count();
        let mut missing = theirs.get(there..).unwrap_or_default().concat();
        missing.extend(Seeded::of(theirs.len()).line());
        appender.append(&missing).await?;
        lines.extend(missing);
        Ok(lines)
    }

    /// The chunk's part in the base; empty where the base never began it.
    async fn base_part(&self, work: &OwnFolder, base: &BucketPaths) -> Result<Vec<u8>, RunError> {
        let path = base.part(self.number);
        if let Some(part) = work.read(&path).await? {
            return Ok(part);
        }
        let ledger = work.read(&base.ledger()).await?.unwrap_or_default();
        let ledger = Ledger::read(&ledger, self.manifest.chunks.len() as u64);
        // Without its manifest all of the base was removed.
        let gone = ledger.has(self.number as u64) || !work.exists(&base.manifest()).await?;
        match gone {
            true => Err(RunError::BaseGone {
                path: work.locate(&path),
            }),
            false => Ok(Vec::new()),
        }
    }
}

/// The lines with their ends; a torn one is nobody's.
fn whole_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    lines.filter(|line| line.ends_with(b"\n"))
}
