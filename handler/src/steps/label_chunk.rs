//! `label-chunk`: labels what is left of a chunk.
//!
//! Safe to run twice and in parallel: one execution at a time holds the lease on the chunk's part, and a
//! turn that the part holds is not asked again.

use super::message::{ChunkMessage, Message};
use super::trouble::Trouble;
use super::world::{App, InTrouble};
use crate::money::Usd;
use crate::run::RunError;
use crate::run::chunk::{ChunkEnd, ChunkJob};
use crate::run::funds::ChunkFunds;
use crate::run::manifest::Manifest;
use crate::run::paths::BucketPaths;
use crate::run::record::{Record, State};
use crate::run::turn::Labeler;
use crate::store::{Appender, StoreError};
use crate::teacher::purse::{Pot, Refused, Reserve};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Time between two checks whether the run still needs work.
pub(crate) const RUN_LOOK: Duration = Duration::from_secs(15);

/// Labels a chunk.
///
/// # Errors
/// If something cannot be read or written. What was answered until then is kept.
pub async fn run(app: &App, message: ChunkMessage) -> Result<Vec<Message>, RunError> {
    let run = message.run.clone();
    let labeled = async {
        match ready(app, message).await? {
            Some(chunk) => chunk.label(app).await,
            None => Ok(Vec::new()),
        }
    };
    app.or_wait(&run, labeled.await).await
}

/// A chunk that may be labelled now.
pub struct ReadyChunk {
    message: ChunkMessage,
    record: Record,
    job: ChunkJob,
    labeler: Arc<Labeler>,
    deadline: Option<Instant>,
    /// A permit a turn, once there is room for them.
    window: Option<OwnedSemaphorePermit>,
}

/// Gets a chunk ready; `None` if there is nothing to do for it now.
///
/// # Errors
/// If something cannot be read or written.
pub async fn ready(app: &App, message: ChunkMessage) -> Result<Option<ReadyChunk>, RunError> {
    let deadline = app.settings.deadline.map(|after| Instant::now() + after);
    let ChunkMessage { run, chunk, .. } = &message;
    let Some((record, manifest)) = app.chunk_of(run).await? else {
        return Ok(None);
    };
    if record.given_up
        || app.end_if_unknown(&record).await?
        || app.has_lost_its_price(&record).await?
    {
        return Ok(None);
    }
    let number = usize::try_from(*chunk).unwrap_or(usize::MAX);
    if number >= manifest.chunks.len() {
        tracing::warn!(
            run,
            chunk,
            "a message names a chunk that the run does not have"
        );
        return Ok(None);
    }
    let labeler = match record.method() {
        Some(method) => app.labelers.get(run, &method).await,
        None => Err(Trouble::Connection(
            "its request parameters are not settled".into(),
        )),
    };
    let labeler = match labeler {
        Ok(labeler) => labeler,
        Err(trouble) => {
            app.wait(&record, trouble).await?;
            return Ok(None);
        }
    };
    let job = ChunkJob {
        manifest,
        number,
        paths: BucketPaths::of_run(run),
        bases: record
            .bases()
            .map(|base| BucketPaths::of_run(base))
            .collect(),
        round: record.round,
        flush_every: app.settings.flush_every,
        stop: app.stop.child_token(),
    };
    Ok(Some(ReadyChunk {
        message,
        record,
        job,
        labeler,
        deadline,
        window: None,
    }))
}

impl ReadyChunk {
    /// Waits until the window has room for its turns, or the process is to end.
    pub async fn open(&mut self, app: &App) {
        self.window = app.open(self.job.turns(), &self.job.stop).await;
    }

    /// Labels it, once the window has room.
    ///
    /// # Errors
    /// If something cannot be read or written. What was answered until then is kept.
    pub async fn label(self, app: &App) -> Result<Vec<Message>, RunError> {
        let Self {
            message,
            record,
            job,
            labeler,
            deadline,
            window,
        } = self;
        let stop = &job.stop;
        let funds = app.funds(&record, message.chunk);
        let reserve = funds.clone().map(|funds| funds as Arc<dyn Reserve>);
        let work = async {
            let window = match window {
                Some(window) => Some(window),
                None => app.open(job.turns(), stop).await,
            };
            let Some(window) = window else {
                return Ok(Some(((ChunkEnd::Interrupted, Usd::ZERO), false)));
            };
            let taken = tokio::select! {
                taken = take_part(app, &job, &message) => taken?,
                // A lease that another process holds may be waited for longer than this one has.
                () = stop.cancelled() => {
                    return Ok(Some(((ChunkEnd::Interrupted, Usd::ZERO), false)));
                }
            };
            let Some(part) = taken else {
                return Ok(None);
            };
            let was_begun = job.turns() == 0 || !part.1.is_empty();
            let raw = app.data.raw(&record.dataset)?;
            let work = app.runs.work();
            let end = job.run(&labeler, &raw, work, part, window, reserve);
            Ok::<_, RunError>(Some((end.await?, was_begun)))
        };
        let watch = watch(app, &record.run, deadline, stop);
        let end = tokio::select! {
            end = work => end,
            never = watch => match never {},
        };
        let (end, spent) = match end {
            // Another execution labels it.
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(((ChunkEnd::Finished, _), was_begun))) => {
                return finished(app, &record, (&job, was_begun), &labeler, message.chunk).await;
            }
            Ok(Some((ended, _))) => ended,
            Err(error) => return failed(app, &record, &message, error).await,
        };
        let mut messages = rest(app, &record, funds.as_deref(), spent, &end).await?;
        messages.extend(match end {
            ChunkEnd::Unaffordable(refused) => {
                unaffordable(app, &record, refused, funds.as_deref()).await?
            }
            ChunkEnd::Interrupted | ChunkEnd::Finished => {
                interrupted(app, &record, &labeler, message).await?
            }
        });
        Ok(messages)
    }
}

/// Gives back the money that an unfinished chunk does not need. Gives the messages for chunks that can be
/// paid now.
async fn rest(
    app: &App,
    record: &Record,
    funds: Option<&ChunkFunds>,
    spent: Usd,
    end: &ChunkEnd,
) -> Result<Vec<Message>, RunError> {
    let Some(funds) = funds else {
        return Ok(Vec::new());
    };
    let next = match end {
        ChunkEnd::Unaffordable(Refused::Empty {
            next,
            pot: Pot::Dataset,
        }) => Some(*next),
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
    funds: Option<&ChunkFunds>,
) -> Result<Vec<Message>, RunError> {
    match refused {
        Refused::Unpriced { model } => {
            app.has_unknown_model(record, &model).await?;
        }
        Refused::Unreachable(why) => match funds.and_then(ChunkFunds::take_failure) {
            // What is newer than this version is left, and no reason to wait.
            Some(error) if error.newer().is_some() => return Err(error),
            Some(error) => app.wait(record, Trouble::storage(error)).await?,
            None => app.wait(record, Trouble::Connection(why)).await?,
        },
        Refused::Empty {
            next,
            pot: Pot::Month,
        } => app.wait_for_month(record, next).await?,
        Refused::Empty { .. } | Refused::Closed => {}
    }
    Ok(Vec::new())
}

/// Cancels `stop` at the deadline, or when the run needs no further work. Never returns.
pub(crate) async fn watch(
    app: &App,
    run: &str,
    deadline: Option<Instant>,
    stop: &CancellationToken,
) -> Infallible {
    let over = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
        stop.cancel();
        std::future::pending::<Infallible>().await
    };
    let looks = async {
        loop {
            sleep(RUN_LOOK).await;
            match app.workable(run).await {
                Ok(Some(record)) if !record.given_up => {}
                Ok(_) => stop.cancel(),
                // A look that fails says nothing about the run.
                Err(error) => tracing::warn!(run, %error, "the run's record cannot be read"),
            }
        }
    };
    tokio::select! {
        never = over => never,
        never = looks => never,
    }
}

/// The part, leased, and what it holds; `None` where another execution has it.
///
/// # Errors
/// Also where the lease belongs to no execution of ours.
async fn take_part(
    app: &App,
    job: &ChunkJob,
    message: &ChunkMessage,
) -> Result<Option<(Appender, Vec<u8>)>, RunError> {
    let part = job.part();
    let work = app.runs.work();
    let (holder, place) = match work.append(&part).await {
        Ok(taken) => return Ok(Some(taken)),
        // The store waits for a lease that a killed execution left: this one is alive.
        Err(StoreError::Held { holder, place }) => (holder, place),
        Err(error) => return Err(error.into()),
    };
    let own = Message::Label(message.clone());
    if app.settings.in_trouble == InTrouble::Wait && !app.is_held_twice(&own).await? {
        return Err(StoreError::leased("append to", place).into());
    }
    tracing::info!(part, holder, "another execution labels this chunk");
    Ok(None)
}

/// Writes a finished chunk into the ledger, and settles what it has cost; the one that makes it full has the bucket
/// published, which settles all.
async fn finished(
    app: &App,
    record: &Record,
    (job, was_begun): (&ChunkJob, bool),
    labeler: &Labeler,
    chunk: u64,
) -> Result<Vec<Message>, RunError> {
    let chunks = record.chunks.unwrap_or_default();
    // The calls of all chunks of the run, since they are not counted by chunk.
    let spent = labeler.spent_since();
    let entered = app.enter_finished(record, job, chunk, was_begun, spent.throttled);
    let (finished, lines) = entered.await?;
    let run = &record.run;
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
    // A chunk may stand in it twice, but not where there is no other.
    let complete = lines >= chunks && (chunks == 1 || app.ledger(record).await?.count() >= chunks);
    if complete {
        // Its publication settles what the run has cost.
        return Ok(vec![Message::publish(run)]);
    }
    let mut messages = app.settle_chunk(record, chunk, finished.own().usd).await?;
    messages.extend(app.hand_over(record, lines).await?);
    Ok(messages)
}

/// What is left of a chunk is handed on, or waits for the service.
async fn interrupted(
    app: &App,
    record: &Record,
    labeler: &Labeler,
    message: ChunkMessage,
) -> Result<Vec<Message>, RunError> {
    if let Some(stop) = labeler.teacher.stopped() {
        app.wait(record, Trouble::Service(stop.clone())).await?;
        return Ok(Vec::new());
    }
    let ChunkMessage { run, chunk, .. } = &message;
    tracing::info!(
        event = "chunk_handed_on",
        run,
        chunk,
        "what is left of the chunk is handed on"
    );
    Ok(vec![Message::label(run, *chunk)])
}

/// Where storage is down, or RAW is not what the run was planned for, the run waits: that is not the
/// chunk's fault. The reconciler takes up what is there.
async fn failed(
    app: &App,
    record: &Record,
    message: &ChunkMessage,
    error: RunError,
) -> Result<Vec<Message>, RunError> {
    if error.is_raw_changed()
        && app.settings.in_trouble == InTrouble::Wait
        && app.follows_raw(record).await?
    {
        return Ok(vec![Message::Label(message.clone())]);
    }
    if error.is_storage_down() || error.is_raw_changed() {
        app.wait(record, Trouble::storage(error)).await?;
        return Ok(Vec::new());
    }
    match app.end_if_base_gone(record, &error).await? {
        true => Ok(Vec::new()),
        false => Err(error),
    }
}

impl App {
    /// The record and manifest of a run whose chunks may be worked on now.
    pub(crate) async fn chunk_of(
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
        let manifest = self.manifest(&record).await?;
        Ok(manifest.map(|manifest| (record, manifest)))
    }

    /// A chunk of a run is finished, with which `finished` are: gives the message for the next unsent chunk.
    /// If it gets lost, the reconciler sends it.
    pub(crate) async fn hand_over(
        &self,
        record: &Record,
        finished: u64,
    ) -> Result<Option<Message>, RunError> {
        if !record.has_more() {
            return Ok(None);
        }
        let now = self.runs.clock().now();
        let mut next = None;
        let hand_over = self.runs.update(&record.run, |record| {
            next = record.let_next_out(finished, now);
            next.is_some()
        });
        hand_over.await?;
        Ok(next.map(|next| Message::label(&record.run, next)))
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
}
