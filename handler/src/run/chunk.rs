//! Labelling one chunk: read its bytes, label what its part does not hold yet, append.
//!
//! Safe to run twice: a turn that the part holds is not asked again.

use super::RunError;
use super::entry::{Entry, Todo, TurnRecord};
use super::manifest::{Chunk, Manifest};
use super::paths::BucketPaths;
use super::results::{TimedLine, append_all};
use super::switch::Switch;
use super::turn::{Labeler, TurnEnd, TurnJob};
use crate::dataset::conversation::Conversation;
use crate::dataset::details::Place;
use crate::dataset::scanner::{Found, Scanner};
use crate::labeling::strategy;
use crate::money::Usd;
use crate::store::{Appender, OwnFolder, RawFolder};
use crate::teacher::purse::{Purse, Refused, Reserve};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[cfg(test)]
mod tests;

/// A chunk to be labelled, with everything that says where it lies.
pub struct ChunkJob {
    /// The bucket's manifest.
    pub manifest: Arc<Manifest>,
    /// Which of its chunks.
    pub number: usize,
    /// Where the run keeps its parts.
    pub paths: BucketPaths,
    /// Where the runs keep their parts that this one begins with, the latest first.
    pub bases: Vec<BucketPaths>,
    /// The round that the run is in.
    pub round: u32,
    /// The longest time a result waits before it is appended, and so the work that a kill costs.
    pub flush_every: Duration,
    /// Ends it early: nothing more is sent, what is in flight is answered and recorded.
    pub stop: CancellationToken,
}

/// How the work on a chunk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkEnd {
    /// Every turn is settled in this round.
    Finished,
    /// The run stops; the rest is still to be done.
    Interrupted,
    /// There was no money for some calls; the rest is still to be done.
    Unaffordable(Refused),
}

/// The end of the work on a chunk, and what the chunk has cost its run until then. That is nothing where
/// no cap is kept.
pub type Ended = (ChunkEnd, Usd);

impl ChunkJob {
    /// How many turns it has.
    pub fn turns(&self) -> u32 {
        let chunk = self.manifest.chunks.get(self.number);
        chunk.map_or(0, |chunk| chunk.turns)
    }

    /// Where its results are.
    pub fn part(&self) -> String {
        self.paths.part(self.number)
    }

    /// Labels what is left of the chunk. `appender` is at the end of its part, which holds `lines`.
    /// `window` holds a permit for each turn, given back turn by turn, which tells the opener of chunks
    /// how much is under way. Calls are paid from `reserve`; without one their cost is not limited.
    ///
    /// # Errors
    /// If RAW cannot be read, has changed or does not match the plan; if the part cannot be written; and
    /// if something panicked. Results until then are in the part, unless the part cannot be written.
    pub async fn run(
        &self,
        labeler: &Arc<Labeler>,
        raw: &RawFolder,
        work: &OwnFolder,
        (mut appender, lines): (Appender, Vec<u8>),
        mut window: OwnedSemaphorePermit,
        reserve: Option<Arc<dyn Reserve>>,
    ) -> Result<Ended, RunError> {
        let Some(chunk) = self.manifest.chunks.get(self.number) else {
            return Ok((ChunkEnd::Finished, Usd::ZERO));
        };
        let part = self.take_over(work, &mut appender, &lines).await?;
        drop(lines);
        if part.unreadable > 0 {
            tracing::warn!(
                part = self.part(),
                unreadable = part.unreadable,
                "lines of a part cannot be read and are asked again"
            );
        }
        let (spent, records) = (part.own().usd, part.turns);
        let todo = |record: &TurnRecord| record.todo(self.round, labeler.with_rationales);
        let done = records
            .iter()
            .filter(|record| todo(record) == Todo::Nothing)
            .count();
        found(&records, self.round, labeler);
        if done < records.len() {
            drop(window.split(done));
            let jobs = self.jobs(chunk, raw, labeler, records).await?;
            let tariff = Arc::clone(&labeler.tariff);
            let purse = Arc::new(match reserve {
                Some(reserve) => {
                    let expected = jobs.iter().map(|(_, job)| labeler.most(job)).sum();
                    Purse::limited(tariff, reserve, spent, expected)
                }
                None => Purse::unlimited(tariff),
            });
            let end = self.label(jobs, labeler, &mut appender, window, &purse);
            let end = end.await?;
            appender.release().await;
            let part = work.locate(&self.part());
            let end = end.map_err(|turns| RunError::TurnsBrokeOff { part, turns })?;
            return Ok((end, purse.spent()));
        }
        appender.release().await;
        Ok((ChunkEnd::Finished, spent))
    }

    /// The turns that are left, with the input that the model sees.
    async fn jobs(
        &self,
        chunk: &Chunk,
        raw: &RawFolder,
        labeler: &Arc<Labeler>,
        records: Vec<TurnRecord>,
    ) -> Result<Vec<(u32, TurnJob)>, RunError> {
        let source = &self.manifest.source;
        let version = self.manifest.version();
        let bytes = raw
            .read_range(&source.path, chunk.bytes.clone(), &version)
            .await
            .map_err(RunError::Raw)?;
        let labeler = Arc::clone(labeler);
        let (round, planned) = (self.round, (chunk.conversations, chunk.all_turns()));
        let planned = (planned.0 as usize, planned.1 as usize);
        let (manifest, own) = (Arc::clone(&self.manifest), chunk.clone());
        // Tokens are counted here, which takes a processor for a while.
        let jobs = tokio::task::spawn_blocking(move || {
            let conversations = conversations(&bytes, &manifest, &own);
            let turns = conversations.iter().map(|c| c.turns.len()).sum::<usize>();
            let found = (conversations.len(), turns);
            match found == planned {
                true => Ok(prepare((&own, conversations), records, &labeler, round)),
                false => Err(found),
            }
        });
        let place = || format!("bytes {:?} of {}", chunk.bytes, raw.locate(&source.path));
        let counts =
            |(conversations, turns)| format!("{turns} turns in {conversations} conversations");
        match jobs.await {
            Ok(Ok(jobs)) => Ok(jobs),
            Ok(Err(found)) => Err(RunError::OtherThanPlanned {
                place: place(),
                planned: counts(planned),
                found: counts(found),
            }),
            Err(_) => Err(RunError::BrokeOff { place: place() }),
        }
    }

    /// Labels the turns side by side and appends results as they come. Gives how the chunk ended, or
    /// how many turns broke off.
    async fn label(
        &self,
        jobs: Vec<(u32, TurnJob)>,
        labeler: &Arc<Labeler>,
        appender: &mut Appender,
        mut window: OwnedSemaphorePermit,
        purse: &Arc<Purse>,
    ) -> Result<Result<ChunkEnd, usize>, RunError> {
        let switch = Switch::new(&self.stop);
        // Others may wait for what was asked here.
        let _ended = switch.off_on_drop();
        let (results, received) = mpsc::unbounded_channel::<TimedLine>();
        let mut turns = JoinSet::new();
        for (turn, job) in jobs {
            let (labeler, results, round) = (Arc::clone(labeler), results.clone(), self.round);
            let (switch, purse) = (switch.clone(), Arc::clone(purse));
            // A chunk of more turns than the window has permits has none for the last of them.
            let permit = window.split(1);
            turns.spawn(async move {
                let finished = labeler
                    .label(&job, &switch, &purse, |event| {
                        let mut line =
                            serde_json::to_vec(&Entry { turn, round, event }).unwrap_or_default();
                        line.push(b'\n');
                        // The receiver outlives the turns.
                        let _ = results.send((Instant::now(), line));
                    })
                    .await;
                drop(permit);
                finished
            });
        }
        drop(results);
        append_all(received, appender, &switch, purse, self.flush_every).await?;
        let end = end_of(turns).await;
        Ok(end.map(|end| match (end, purse.refused()) {
            (ChunkEnd::Interrupted, Some(refused)) if refused != Refused::Closed => {
                ChunkEnd::Unaffordable(refused)
            }
            (end, _) => end,
        }))
    }
}

/// Counts in the progress the calls that an earlier process had settled.
fn found(records: &[TurnRecord], round: u32, labeler: &Labeler) {
    let (mut settled, mut labeled, mut rationales, mut done) = (0, 0, 0, 0);
    for record in records {
        let todo = record.todo(round, labeler.with_rationales);
        let has_label = matches!(record.label, Some(Ok(_)));
        if todo != Todo::All {
            settled += 1;
            labeled += u64::from(has_label);
        }
        if todo == Todo::Nothing {
            done += 1;
            rationales += u64::from(has_label);
        }
    }
    labeler.progress.found_calls(settled, labeled, rationales);
    labeler.progress.found_done(done);
}

/// How the turns of a chunk ended, or how many of them panicked.
async fn end_of(mut turns: JoinSet<TurnEnd>) -> Result<ChunkEnd, usize> {
    let (mut end, mut broke_off) = (ChunkEnd::Finished, 0);
    while let Some(turn) = turns.join_next().await {
        match turn {
            Ok(TurnEnd::Finished) => {}
            Ok(TurnEnd::Stopped) => end = ChunkEnd::Interrupted,
            Ok(TurnEnd::BrokeOff) | Err(_) => broke_off += 1,
        }
    }
    match broke_off {
        0 => Ok(end),
        turns => Err(turns),
    }
}

/// The conversations in the `bytes` of a chunk, which holds whole ones only.
pub(crate) fn conversations(
    bytes: &Bytes,
    manifest: &Manifest,
    chunk: &Chunk,
) -> Vec<Conversation> {
    let (format, file) = (manifest.format, manifest.source.path.as_str());
    let accept = |bytes: &[u8]| Conversation::read(bytes, format);
    // Whether one is too long was decided when the file was planned.
    let mut scanner = Scanner::new(accept).with_max_conversation_bytes(usize::MAX);
    let mut conversations = Vec::new();
    // Brackets make an array of any slice of an array, and of lines too.
    for block in [b"[".as_slice(), bytes, b"]"] {
        scanner.push(block);
        while let Some(found) = scanner.next() {
            if let Found::Conversation { value, range, .. } = found {
                let number = chunk.first_conversation + conversations.len() as u64;
                let conversation = value.placed_at(chunk.bytes.start + range.start - 1);
                conversations.push(conversation.named(format, file, number));
            }
        }
    }
    conversations
}

/// Where each turn stands in its file, turn by turn. The first of the conversations has the number
/// `first`; a chunk has no broken ones between them.
pub(crate) fn places(first: u64, conversations: &[Conversation]) -> impl Iterator<Item = Place> {
    (first..)
        .zip(conversations)
        .flat_map(|(position, conversation)| {
            let turns = (0..).zip(&conversation.turns);
            turns.map(move |(number, turn)| Place {
                position,
                turn: number,
                turn_index: turn.index,
            })
        })
}

/// The jobs of the turns of a chunk that are not settled; the answers of those that are, are remembered.
fn prepare(
    (chunk, conversations): (&Chunk, Vec<Conversation>),
    records: Vec<TurnRecord>,
    labeler: &Labeler,
    round: u32,
) -> Vec<(u32, TurnJob)> {
    let mut jobs = Vec::new();
    let mut records = records.into_iter();
    let places = places(chunk.first_conversation, &conversations).collect::<Vec<_>>();
    let mut places = (0..).zip(places);
    let mut number = 0;
    for conversation in conversations {
        for (index, turn) in conversation.turns.iter().enumerate() {
            let (in_chunk, place) = places.next().unwrap_or_default();
            if !chunk.labels(in_chunk) {
                continue;
            }
            let record = records.next().unwrap_or_default();
            let todo = record.todo(round, labeler.with_rationales);
            let answered = matches!(record.label, Some(Ok(_)));
            if todo != Todo::Nothing || answered {
                let (limits, tokens) = (&labeler.limits, labeler.tokens.as_ref());
                let input =
                    strategy::ask_about(labeler.strategy, &conversation, index, limits, tokens)
                        .map(Arc::new);
                let mut label = None;
                if let (Ok(input), Some(Ok(record_label))) = (&input, &record.label) {
                    let rationale = record.rationale.as_ref().and_then(|r| r.as_ref().ok());
                    labeler.remember(input, record_label, rationale);
                    label = Some(record_label.hard_label);
                }
                if todo != Todo::Nothing {
                    let job = TurnJob {
                        conversation_id: conversation.id.clone(),
                        message_id: turn.message_id.clone(),
                        place,
                        input,
                        todo,
                        label,
                    };
                    jobs.push((number, job));
                }
            }
            number += 1;
        }
    }
    jobs
}
