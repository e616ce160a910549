//! `label-chunk`: labels what is left of a chunk.
//!
//! Safe to run twice and in parallel: whoever labels a chunk holds the lease on its part, and a turn
//! that the part holds is not asked again.

use super::FunctionError;
use super::app::App;
use super::message::{ChunkMessage, RunMessage, message};
use crate::host::{Answer, Invocation};
use crate::money::Usd;
use crate::run::RunError;
use crate::run::chunk::{ChunkEnd, ChunkJob};
use crate::run::entry::Part;
use crate::run::funds::ChunkFunds;
use crate::run::ledger::FinishedChunk;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::record::{Record, State};
use crate::run::turn::Labeler;
use crate::store::{Appender, StoreError};
use crate::teacher::purse::{Refused, Reserve};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Time between two looks at whether the run still is to be worked on.
pub(super) const RUN_LOOK: Duration = Duration::from_secs(15);

/// Results wait no longer than this before they are appended: a kill costs so much work, and an
/// append costs money.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(app: &App, invocation: &Invocation) -> Result<Answer, FunctionError> {
    let deadline = Instant::now() + app.settings.deadline;
    let message = message::<ChunkMessage>(invocation, "chunk")?;
    let ChunkMessage { run, chunk, .. } = &message;
    let Some((record, manifest)) = app.chunk_of(run).await? else {
        return Ok(Answer::done());
    };
    if record.given_up
        || app.end_if_unknown(&record).await?
        || app.has_lost_its_price(&record).await?
    {
        return Ok(Answer::done());
    }
    let stop = app.stop.child_token();
    let job = ChunkJob {
        manifest,
        number: usize::try_from(*chunk).unwrap_or(usize::MAX),
        paths: BucketPaths::of_run(run),
        base: record.base.as_deref().map(BucketPaths::of_run),
        round: record.round,
        flush_every: FLUSH_EVERY,
        stop: stop.clone(),
    };
    let labeler = match record.method() {
        Some(method) => {
            tokio::select! {
                labeler = app.labelers.get(run, &method) => labeler,
                () = app.stop.cancelled() => return Ok(hand_on(message)),
            }
        }
        None => Err("its request parameters are not settled".to_owned()),
    };
    let labeler = match labeler {
        Ok(labeler) => labeler,
        Err(reason) => {
            app.wait(&record, reason).await?;
            return Ok(Answer::done());
        }
    };
    let funds = app.funds(&record, *chunk);
    let reserve = funds.clone().map(|funds| funds as Arc<dyn Reserve>);
    let work = async {
        let Some(window) = app.open(job.turns(), &stop).await else {
            return Ok(Some((ChunkEnd::Interrupted, Usd::ZERO)));
        };
        let taken = tokio::select! {
            taken = take_part(app, &job) => taken?,
            // A lease that somebody holds may be waited for longer than this process has.
            () = stop.cancelled() => return Ok(Some((ChunkEnd::Interrupted, Usd::ZERO))),
        };
        let Some(part) = taken else {
            return Ok(None);
        };
        let raw = app.data.raw(&record.dataset)?;
        let work = app.runs.work();
        let end = job.run(&labeler, &raw, work, part, window, reserve);
        Ok::<_, RunError>(Some(end.await?))
    };
    let watch = watch(app, run, deadline, &stop);
    let end = tokio::select! {
        end = work => end,
        never = watch => match never {},
    };
    let (end, spent) = match end {
        // Somebody else labels it.
        Ok(None) => return Ok(Answer::done()),
        Ok(Some((ChunkEnd::Finished, _))) => {
            return finished(app, &record, &job, &labeler, *chunk).await;
        }
        Ok(Some(ended)) => ended,
        Err(error) => return failed(app, &record, error).await,
    };
    let again = rest(app, &record, funds.as_deref(), spent, &end).await?;
    let answer = match end {
        ChunkEnd::Unaffordable(refused) => unaffordable(app, &record, refused).await?,
        ChunkEnd::Interrupted | ChunkEnd::Finished => {
            interrupted(app, &record, &labeler, message).await?
        }
    };
    Ok(answer.send("chunks", again))
}

/// Gives back what an unfinished chunk does not need. Gives the messages for chunks that there is money
/// for by now.
async fn rest(
    app: &App,
    record: &Record,
    funds: Option<&ChunkFunds>,
    spent: Usd,
    end: &ChunkEnd,
) -> Result<Vec<ChunkMessage>, RunError> {
    let Some(funds) = funds else {
        return Ok(Vec::new());
    };
    let next = match end {
        ChunkEnd::Unaffordable(Refused::Empty { next }) => Some(*next),
        _ => None,
    };
    let woken = funds.rest(spent, next).await?;
    app.follow(woken, record).await
}

/// A chunk that could not be paid. Where there was no money for it, it is sent again when there is.
async fn unaffordable(
    app: &App,
    record: &Record,
    refused: Refused,
) -> Result<Answer, FunctionError> {
    match refused {
        Refused::Unpriced { model } => {
            app.has_unknown_model(record, &model).await?;
        }
        Refused::Unreachable(why) => {
            let reason = format!("it cannot be told what may still be spent: {why}");
            app.wait(record, reason).await?;
        }
        Refused::Empty { .. } | Refused::Closed => {}
    }
    Ok(Answer::done())
}

/// Cancels `stop` at the deadline, or when the run is not to be worked on any more. Never ends.
async fn watch(app: &App, run: &str, deadline: Instant, stop: &CancellationToken) -> Infallible {
    loop {
        tokio::select! {
            () = sleep(RUN_LOOK) => {}
            () = tokio::time::sleep_until(deadline), if !stop.is_cancelled() => {
                stop.cancel();
                continue;
            }
        }
        match app.workable(run).await {
            Ok(Some(_)) => {}
            Ok(None) => stop.cancel(),
            // A look that fails says nothing about the run.
            Err(error) => tracing::warn!(run, %error, "the run's record cannot be read"),
        }
    }
}

/// The part, leased, and what it holds; `None` where another execution has it.
async fn take_part(app: &App, job: &ChunkJob) -> Result<Option<(Appender, Vec<u8>)>, RunError> {
    let part = job.part();
    match app.runs.work().append(&part).await {
        Ok(taken) => Ok(Some(taken)),
        // The store waits for a lease that a killed execution left: this one is alive.
        Err(StoreError::Held { holder, .. }) => {
            tracing::info!(part, holder, "another execution labels this chunk");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes a finished chunk into the ledger; the one that makes it full has the bucket published.
async fn finished(
    app: &App,
    record: &Record,
    job: &ChunkJob,
    labeler: &Labeler,
    chunk: u64,
) -> Result<Answer, FunctionError> {
    let chunks = record.chunks.unwrap_or_default();
    let (finished, lines) = app.enter_finished(record, job, chunk).await?;
    let run = &record.run;
    // Of all chunks of the run, as calls of one cannot be told from those of another.
    let spent = labeler.spent_since();
    tracing::info!(
        event = "chunk_ended",
        run,
        chunk,
        turns = finished.turns,
        labeled = finished.labeled,
        calls = spent.sent,
        throttled = spent.throttled,
        prompt_tokens = spent.tokens.prompt,
        completion_tokens = spent.tokens.completion,
        "the chunk is labelled"
    );
    let again = app.settle_chunk(record, chunk, finished.own().usd).await?;
    let complete = lines >= chunks && app.ledger(record).await?.count() >= chunks;
    let publish = complete.then(|| RunMessage::new(&record.run));
    Ok(Answer::done()
        .send("publishes", publish)
        .send("chunks", again))
}

/// What is left of a chunk is handed on, or waits for the service.
async fn interrupted(
    app: &App,
    record: &Record,
    labeler: &Labeler,
    message: ChunkMessage,
) -> Result<Answer, FunctionError> {
    if let Some(stop) = labeler.teacher.stopped() {
        app.wait(record, stop.to_string()).await?;
        return Ok(Answer::done());
    }
    Ok(hand_on(message))
}

fn hand_on(message: ChunkMessage) -> Answer {
    let message = ChunkMessage::new(&message.run, message.chunk);
    let ChunkMessage { run, chunk, .. } = &message;
    tracing::info!(
        event = "chunk_handed_on",
        run,
        chunk,
        "what is left of the chunk is handed on"
    );
    Answer::done().send("chunks", [message])
}

/// A chunk whose RAW is not there any more ends its run; the reconciler takes up what is there. Where
/// storage is down the run waits: that is not the chunk's fault.
async fn failed(app: &App, record: &Record, error: RunError) -> Result<Answer, FunctionError> {
    if error.is_storage_down() {
        app.wait(record, crate::cli::sentence(&error.into()))
            .await?;
        return Ok(Answer::done());
    }
    if app.end_if_base_gone(record, &error).await? {
        return Ok(Answer::done());
    }
    if !error.is_raw_changed() {
        return Err(error.into());
    }
    let reason = "RAW changed since it was planned".to_owned();
    app.runs
        .end(&record.run, State::Superseded, Some(reason))
        .await?;
    Ok(Answer::done())
}

impl App {
    /// The record and manifest of a run whose chunks may be worked on now.
    pub(super) async fn chunk_of(
        &self,
        run: &str,
    ) -> Result<Option<(Record, Arc<Manifest>)>, RunError> {
        let Some(record) = self.workable(run).await? else {
            return Ok(None);
        };
        // A chunk of a run that waited may come before the reconciler has let it go on.
        if record.state != State::Labeling {
            return Ok(None);
        }
        let manifest = self.manifest(run).await?;
        Ok(manifest.map(|manifest| (record, manifest)))
    }

    /// Waits until as many turns may be under way; `None` where it is to stop first.
    async fn open(&self, turns: u32, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let most = u32::try_from(self.settings.window).unwrap_or(u32::MAX);
        let window = Arc::clone(&self.window).acquire_many_owned(turns.clamp(1, most));
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            // The semaphore is never closed.
            permit = window => permit.ok(),
        }
    }

    /// Writes a finished chunk into the run's ledger; gives what is written, and how many lines the
    /// ledger has then, at least.
    pub(super) async fn enter_finished(
        &self,
        record: &Record,
        job: &ChunkJob,
        chunk: u64,
    ) -> Result<(FinishedChunk, u64), RunError> {
        let work = self.runs.work();
        let lines = work.read(&job.part()).await?.unwrap_or_default();
        let part = Part::read(&lines, job.turns());
        let now = self.runs.clock().now();
        let finished = FinishedChunk::of(chunk, &part, now);
        let run = &record.run;
        let ledger = BucketPaths::of_run(run).ledger();
        let lines = work.add_line(&ledger, &finished.line()).await?;
        Ok((finished, lines))
    }
}
