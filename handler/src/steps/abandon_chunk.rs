//! `abandon-chunk`: gives up a chunk that failed too often. What it could not label gets its
//! `labeling_error`, so that the bucket ends `partial` instead of never.
//!
//! The host counts an instance that died as a failure of whatever it was doing. So a chunk gets further
//! tries, and more as long as they bring something: it is given up when a message that was sent for further
//! tries has failed too often itself, without a turn more than when it was sent. Several messages of one
//! chunk that fail at the same time count as one.
//!
//! Safe to run twice: a turn that is settled stays as it is.

use super::message::{ChunkMessage, Message};
use super::world::App;
use crate::dataset::details::Place;
use crate::dataset::figures::Tokens;
use crate::dataset::line::{ErrorCode, LabelingError};
use crate::run::chunk::{ChunkJob, conversations, places};
use crate::run::entry::{Entry, Event, FailureRecord, Todo, TurnRecord};
use crate::run::paths::BucketPaths;
use crate::run::record::Record;
use crate::run::runs::is_run_name;
use crate::run::{RunError, work};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

/// Gives a chunk up, or has it tried again. `delivery` identifies this message among those about the chunk.
///
/// # Errors
/// If something cannot be read or written.
pub async fn run(
    app: &App,
    message: ChunkMessage,
    delivery: &str,
) -> Result<Vec<Message>, RunError> {
    let run = message.run.clone();
    let given_up = give_up(app, message, delivery).await;
    app.or_wait(&run, given_up).await
}

async fn give_up(
    app: &App,
    message: ChunkMessage,
    delivery: &str,
) -> Result<Vec<Message>, RunError> {
    let ChunkMessage { run, chunk, again } = message;
    let Some((record, manifest)) = app.chunk_of(&run).await? else {
        return Ok(Vec::new());
    };
    let number = usize::try_from(chunk).unwrap_or(usize::MAX);
    if number >= manifest.chunks.len() {
        tracing::warn!(
            run,
            chunk,
            "a message names a chunk that the run does not have"
        );
        return Ok(Vec::new());
    }
    let job = ChunkJob {
        manifest,
        number,
        paths: BucketPaths::of_run(&run),
        bases: record
            .bases()
            .map(|base| BucketPaths::of_run(base))
            .collect(),
        round: record.round,
        flush_every: Duration::ZERO,
        stop: CancellationToken::new(),
    };
    let (mut appender, lines) = match app.runs.work().append(&job.part()).await {
        Ok(taken) => taken,
        // Another execution is labelling it.
        Err(StoreError::Held { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let taken = job.take_over(app.runs.work(), &mut appender, &lines).await;
    let records = match taken {
        Ok(part) => part.turns,
        Err(error) if app.end_if_base_gone(&record, &error).await? => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let moved = moved(app, &record, &job, &records, delivery).await?;
    if !record.given_up && (moved || !again) {
        appender.release().await;
        tracing::warn!(
            event = "chunk_poisoned",
            run,
            chunk,
            "the chunk is tried again"
        );
        let message = ChunkMessage {
            again: true,
            ..ChunkMessage::new(&run, chunk)
        };
        return Ok(vec![Message::Label(message)]);
    }
    let ids = ids(app, &record, &job).await?;
    let mut given_up = Vec::new();
    let mut count = 0_u64;
    for (turn, turn_record) in records.iter().enumerate() {
        if turn_record.todo(job.round, false) == Todo::Nothing {
            continue;
        }
        count += 1;
        let (conversation_id, message_id, place) = ids.get(turn).cloned().unwrap_or_default();
        let message = "The chunk of this turn failed too often and was given up.";
        let entry = Entry {
            turn: u32::try_from(turn).unwrap_or(u32::MAX),
            round: job.round,
            event: Event::Error(FailureRecord {
                conversation_id,
                message_id,
                place,
                error: LabelingError::new(ErrorCode::Abandoned, message),
                tokens: Tokens::default(),
            }),
        };
        given_up.extend(serde_json::to_vec(&entry).unwrap_or_default());
        given_up.push(b'\n');
    }
    appender.append(&given_up).await?;
    appender.release().await;
    tracing::error!(
        event = "chunk_abandoned",
        run,
        chunk,
        turns = count,
        "the chunk is given up"
    );
    let chunks = record.chunks.unwrap_or_default();
    let (finished, _) = app.enter_finished(&record, &job, chunk, true, 0).await?;
    let again = app.settle_chunk(&record, chunk, finished.own().usd).await?;
    let finished = app.ledger(&record).await?.count();
    let mut messages = again;
    messages.extend(app.hand_over(&record, finished).await?);
    messages.extend((finished >= chunks).then(|| Message::publish(&run)));
    Ok(messages)
}

/// Keeps the `text` of a message that names no chunk where an operator finds it, and gives the path.
/// `delivery` tells it from others.
///
/// # Errors
/// If it cannot be written.
pub async fn keep_foreign(app: &App, delivery: &str, text: String) -> Result<String, RunError> {
    let name = match is_run_name(&delivery.replace('-', "")) {
        true => delivery.to_owned(),
        false => format!("{:016x}", xxh3_64(text.as_bytes())),
    };
    let path = format!("foreign/{name}");
    app.runs.work().replace(&path, text.into_bytes()).await?;
    Ok(path)
}

/// Whether more turns of a chunk are settled than when it last failed too often, or it never did. The
/// same `delivery` may come again before it was answered, and gets the same answer.
async fn moved(
    app: &App,
    record: &Record,
    job: &ChunkJob,
    records: &[TurnRecord],
    delivery: &str,
) -> Result<bool, RunError> {
    #[derive(Serialize, Deserialize)]
    struct Note {
        settled: usize,
        delivery: String,
    }
    let rationales = record.settings.with_rationales;
    let todo = |turn: &&TurnRecord| turn.todo(job.round, rationales) == Todo::Nothing;
    let settled = records.iter().filter(todo).count();
    let path = job.paths.poisoned(job.number);
    let work = app.runs.work();
    let before = work::read::<Note>(work, &path).await?;
    if before
        .as_ref()
        .is_some_and(|before| !delivery.is_empty() && before.delivery == delivery)
    {
        return Ok(true);
    }
    let delivery = delivery.to_owned();
    work::write(work, &path, &Note { settled, delivery }).await?;
    Ok(before.is_none_or(|before| before.settled < settled))
}

/// The ids of the chunk's turns and where they stand; none where it cannot be understood, which may be why it failed.
async fn ids(
    app: &App,
    record: &Record,
    job: &ChunkJob,
) -> Result<Vec<(String, String, Option<Place>)>, RunError> {
    let Some(chunk) = job.manifest.chunks.get(job.number) else {
        return Ok(Vec::new());
    };
    let source = job.manifest.version();
    let raw = app.data.raw(&record.dataset)?;
    let bytes = raw.read_range(&record.file, chunk.bytes.clone(), &source);
    let bytes = bytes.await.map_err(RunError::Raw)?;
    let manifest = Arc::clone(&job.manifest);
    // Where reading panics, that is why the chunk was given up.
    let planned = chunk.clone();
    let parsed =
        tokio::task::spawn_blocking(move || conversations(&bytes, &manifest, &planned)).await;
    let conversations = parsed.unwrap_or_default();
    let places = places(chunk.first_conversation, &conversations).map(Some);
    let ids = conversations.iter().flat_map(|conversation| {
        let turns = conversation.turns.iter();
        turns.map(|turn| (conversation.id.clone(), turn.message_id.clone()))
    });
    let turns = (0..)
        .zip(ids.zip(places))
        .filter(|(turn, _)| chunk.labels(*turn));
    Ok(turns
        .map(|(_, ((conversation, message), place))| (conversation, message, place))
        .collect())
}
