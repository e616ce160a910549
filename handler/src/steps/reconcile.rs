//! `reconcile`: now and then sets right what an event, a message or an instance lost.
//!
//! Each run whose end is not settled is looked at: one that does not move has its messages sent again,
//! one that waited goes on, one whose chunks are all finished is published, one that does not move
//! whatever is tried is ended; what a process held that died is sent again. Of one that has ended the
//! metadata is brought up to date and, where RAW was replaced by another version, that version is taken
//! up. Once an hour work that is past its retention is removed, and files are taken up of which no word
//! came.
//!
//! Safe to run twice and in parallel: it changes records by compare-and-swap and sends messages, which
//! may come twice.

use super::billed;
use super::chunks_out::more_out;
use super::hourly::{AT_ONCE, Progress};
use super::label_chunk::RUN_LOOK;
use super::message::Message;
use super::trouble::Trouble;
use super::world::{App, InTrouble, Settings};
use super::{metadata, report};
use crate::run::RunError;
use crate::run::ledger::Ledger;
use crate::run::record::{Record, State};
use crate::run::runs::Current;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// After this time a mark without a record means that the start of its run was interrupted. A later start
/// makes the mark again.
const CUT_SHORT: SignedDuration = SignedDuration::from_secs(30);

/// A round takes no longer, and no longer than an invocation may: what was decided is sent at its end.
const ROUND: Duration = Duration::from_secs(300);

/// Under which name a round that was cut short notes how far it came.
const KIND: &str = "looks";

/// More than enough to record what was answered.
const FLUSHED: Duration = Duration::from_secs(5);

/// A run that may only be waiting its turn gets this many times the tries.
const IN_LINE: u32 = 4;

/// What the reconciler does about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Nothing now.
    Leave,
    /// It is planned, and what is not finished is sent again.
    SendAgain,
    /// It is published.
    Publish,
    /// What is not finished is given up.
    GiveUp,
}

/// How patient the reconciler is.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A run that made no progress for this time is sent again; then after twice that time, and so on.
    stall_after: Duration,
    /// The longest time between two tries.
    longest: Duration,
    /// A run whose chunks are all finished has its publication sent again after this time.
    publish_after: Duration,
    /// Tries before it is given up.
    tries: u32,
}

/// The time after which chunks of a cancelled or replaced run begin no further call.
pub(super) fn noticed_after() -> SignedDuration {
    SignedDuration::try_from(RUN_LOOK + FLUSHED).unwrap_or(SignedDuration::MAX)
}

impl Settings {
    fn patience(&self) -> Patience {
        Patience {
            stall_after: self.stall_after,
            longest: self.stall_after * 6,
            publish_after: self.first_wait(),
            tries: self.tries,
        }
    }

    /// The longest time that chunks of a cancelled or replaced run go on: until they look again, and
    /// until their calls are answered.
    pub(crate) fn still_ending(&self) -> SignedDuration {
        let longest = RUN_LOOK + self.call_timeout + FLUSHED;
        SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX)
    }

    /// How long a run waits at first when nothing can be done.
    pub(crate) fn first_wait(&self) -> Duration {
        self.stall_after / 10
    }

    /// How long it waits at most.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.stall_after * 3
    }
}

/// Decides what to do about a run of which `finished` chunks are done, and notes it in its record. While
/// other runs make progress it may only be waiting its turn, so it is given up later.
fn decide(
    record: &mut Record,
    finished: u64,
    others_move: bool,
    patience: &Patience,
    now: Timestamp,
) -> Action {
    if record.state.is_over() {
        return Action::Leave;
    }
    let given_up = record.given_up;
    record.watch.see(finished, now);
    let complete = record.chunks.is_some_and(|chunks| finished >= chunks);
    // What it waits for is its turn, and nothing of it could be sent again.
    if record.is_in_line() && !given_up {
        return Action::Leave;
    }
    let watch = &mut record.watch;
    let due = match record.state {
        State::AwaitingApproval => false,
        State::Waiting => record.not_before.is_none_or(|until| until <= now),
        _ => {
            let doubled = patience.stall_after * 2_u32.saturating_pow(watch.tries);
            let wait = match complete {
                true => patience.publish_after,
                // No other process works on it.
                false if given_up => patience.stall_after,
                false => doubled.min(patience.longest),
            };
            let since = watch.moved.max(watch.sent);
            since.saturating_add(wait).is_ok_and(|due| due <= now)
        }
    };
    if !due {
        return Action::Leave;
    }
    watch.sent = now;
    if given_up && !complete {
        return Action::GiveUp;
    }
    // A run that waits, or only needs to be published, does not wait for its turn.
    let in_line = matches!(record.state, State::Planning | State::Labeling) && !complete;
    let most = match others_move && in_line {
        true => patience.tries.saturating_mul(IN_LINE),
        false => patience.tries,
    };
    if record.waits_for_storage {
        // It is mended by a person, who takes what time that takes.
        watch.tries = (watch.tries + 1).min(most.saturating_sub(1));
    } else if watch.tries >= most {
        record.give_up(now);
        return Action::GiveUp;
    } else {
        watch.tries += 1;
    }
    record.resume(now);
    match complete {
        true => Action::Publish,
        false => Action::SendAgain,
    }
}

/// Looks at every run whose end is not settled.
///
/// # Errors
/// If the runs cannot be listed.
pub async fn run(app: &App) -> Result<Vec<Message>, RunError> {
    let until = Instant::now() + app.settings.deadline.map_or(ROUND, |most| most.min(ROUND));
    let now = app.runs.clock().now();
    let records = records(app, now).await?;
    let stalled = SignedDuration::try_from(app.settings.stall_after).unwrap_or(SignedDuration::MAX);
    let overlooked = app.runs.overlooked().await?;
    let long = |(_, since): &&(String, Timestamp)| now.duration_since(*since) > LONG;
    let waiting_datasets = overlooked.iter().filter(long).count();
    log(&records, waiting_datasets, stalled, now);
    let moves = |record: &Record| {
        !record.state.is_over() && now.duration_since(record.watch.moved) < stalled
    };
    let moving = records.iter().filter(|record| moves(record)).count();
    let is_open = records.iter().any(|record| !record.state.is_over());
    let more_out = more_out(app.settings.chunks_out.unwrap_or(u64::MAX), &records)
        .into_iter()
        .map(|(run, more)| (run.to_owned(), more))
        .collect::<BTreeMap<_, _>>();
    let begun_with = records.iter().flat_map(|record| record.bases().cloned());
    let begun_with = begun_with.collect::<BTreeSet<_>>();
    let mut progress = Progress::read(app, KIND).await?;
    let began = progress.up_to.clone();
    // Where the last round was cut short, those come first that it did not look at.
    let done = records
        .iter()
        .take_while(|record| began.as_ref().is_some_and(|done| record.run <= *done))
        .count();
    let mut records = records;
    records.rotate_left(done);
    let all = records.len();
    let in_time = records.into_iter().take_while(|_| Instant::now() < until);
    let looks = in_time.map(|record| {
        let others_move = moving > usize::from(moves(&record));
        let more_out = more_out.get(&record.run).copied().unwrap_or_default();
        async move {
            let found = look(app, &record, others_move, more_out).await;
            (record.run, found)
        }
    });
    let mut looks = pin!(stream::iter(looks).buffered(AT_ONCE));
    let mut round = Round::default();
    let mut looked = 0;
    while let Some((run, found)) = looks.next().await {
        match found {
            Ok(found) => round.add(found),
            // It is left for a reconciler that knows it.
            Err(error) if error.newer().is_some() => {}
            // One run that cannot be looked at is no reason not to look at the others.
            Err(error) => {
                tracing::error!(run, %error, "the run cannot be reconciled now");
                // Where nothing can be written now, it is looked at again all the same.
                let _ = app.or_wait(&run, Err(error)).await;
            }
        }
        looked += 1;
        progress.up_to = Some(run);
    }
    progress.up_to = progress.up_to.filter(|_| looked < all);
    if progress.up_to != began {
        progress.write(app, KIND).await?;
    }
    if is_open {
        match super::orphans::send_again(app, &round.messages).await {
            Ok(orphans) => round.messages.extend(orphans),
            Err(error) => tracing::error!(%error, "dead holders cannot be looked for now"),
        }
    }
    round.settle(app).await;
    // The messages must be sent even if old work cannot be removed.
    if let Err(error) = super::retention::remove_old(app, &begun_with, until).await {
        tracing::error!(%error, "old work cannot be removed now");
    }
    match super::overlooked::look_again(app, overlooked).await {
        Ok(messages) => round.messages.extend(messages),
        Err(error) => tracing::error!(%error, "overlooked datasets cannot be looked for now"),
    }
    match super::overlooked::take_up(app, until).await {
        Ok(messages) => round.messages.extend(messages),
        Err(error) => tracing::error!(%error, "overlooked files cannot be looked for now"),
    }
    Ok(round.messages)
}

/// The records of the runs whose end is not settled, by their names.
async fn records(app: &App, now: Timestamp) -> Result<Vec<Record>, RunError> {
    let active = app.runs.active().await?;
    let read = stream::iter(active).map(|(run, marked)| async move {
        match app.runs.read(&run).await {
            Ok(Some(record)) => Ok(Some(record)),
            Ok(None) if now.duration_since(marked) > CUT_SHORT => {
                app.runs.settled(&run).await.map(|()| None)
            }
            Ok(None) => Ok(None),
            Err(error) if error.newer().is_some() => Ok(None),
            Err(error) => {
                tracing::error!(run, %error, "the run's record cannot be read");
                Ok(None)
            }
        }
    });
    let read = read.buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    Ok(read.into_iter().flatten().collect())
}

/// What looking at runs comes to.
#[derive(Debug, Default)]
struct Round {
    /// What it sends.
    messages: Vec<Message>,
    /// How many more chunks of the run that is looked at may be out.
    more_out: u64,
    /// Runs that have ended, by dataset.
    ended: BTreeMap<String, Vec<String>>,
}

impl Round {
    /// Adds what another look came to.
    fn add(&mut self, other: Self) {
        self.messages.extend(other.messages);
        for (dataset, runs) in other.ended {
            self.ended.entry(dataset).or_default().extend(runs);
        }
    }

    /// Brings the metadata up to date, and only then forgets that runs have ended.
    async fn settle(&self, app: &App) {
        for (dataset, runs) in &self.ended {
            let settled = async {
                metadata::refresh(app, dataset).await?;
                report::write_when_ended(app, dataset).await?;
                let runs = runs.iter().cloned();
                let settled = runs.map(|run| async move { app.runs.settled(&run).await });
                let settled = stream::iter(settled);
                settled.buffered(AT_ONCE).try_collect::<()>().await
            };
            if let Err(error) = settled.await
                && error.newer().is_none()
            {
                tracing::error!(dataset, %error, "the metadata cannot be brought up to date now");
            }
        }
    }
}

/// A run that waits longer than this is logged.
const LONG: SignedDuration = SignedDuration::from_hours(1);

/// Says how everything stands, for alerts.
fn log(records: &[Record], waiting_datasets: usize, stalled: SignedDuration, now: Timestamp) {
    let open = records.iter().filter(|record| !record.state.is_over());
    let open = open.collect::<Vec<_>>();
    let stands = |record: &&&Record| {
        !record.is_in_line() && now.duration_since(record.watch.moved) > stalled
    };
    let awaiting = |record: &&&Record| record.state == State::AwaitingApproval;
    let runs_awaiting_approval = open.iter().filter(awaiting).count();
    let for_month = |record: &&&Record| record.next_in_month_usd.is_some();
    let runs_awaiting_month = open.iter().filter(for_month).count();
    let stands = |record: &&&Record| !awaiting(record) && !for_month(record) && stands(record);
    let stalled_runs = open.iter().filter(stands).count();
    let waits = |record: &&&Record| {
        let is_long = now.duration_since(record.watch.moved) > LONG;
        record.state == State::Waiting && !for_month(record) && is_long
    };
    let waiting_runs = open.iter().filter(waits).count();
    let waiting_chunks = open.iter().map(|record| {
        let chunks = record.chunks.unwrap_or_default();
        chunks.saturating_sub(record.watch.finished)
    });
    tracing::info!(
        event = "reconciled",
        runs = open.len(),
        stalled_runs,
        waiting_runs,
        waiting_datasets,
        runs_awaiting_approval,
        runs_awaiting_month,
        waiting_chunks = waiting_chunks.sum::<u64>(),
        "the runs were looked at"
    );
}

/// Looks at one run, and gives what follows.
async fn look(
    app: &App,
    record: &Record,
    others_move: bool,
    more_out: u64,
) -> Result<Round, RunError> {
    let mut round = Round {
        more_out,
        ..Round::default()
    };
    look_into(app, record, others_move, &mut round).await?;
    Ok(round)
}

/// Looks at one run, and adds what follows to the `round`.
async fn look_into(
    app: &App,
    record: &Record,
    others_move: bool,
    round: &mut Round,
) -> Result<(), RunError> {
    let (run, dataset, file) = (&record.run, &record.dataset, &record.file);
    let raw = app.raw_version(dataset, file).await;
    let raw = raw.map_err(RunError::Raw)?;
    let is_there = match &raw {
        Some(raw) => app.is_of(record, raw).await?,
        None => false,
    };
    if record.is_published() && is_there {
        return settle_end(app, record, round).await;
    }
    let current = app.runs.current(dataset, file).await?;
    let is_current = current.as_ref().is_some_and(|current| current.run == *run);
    let was_current = current
        .as_ref()
        .is_some_and(|current| current.before.contains(run));
    // What is absent may come back; only a newer version takes its place.
    let is_wanted = !record.state.is_over() && (is_there || raw.is_none());
    if is_wanted && !is_current && !was_current {
        return begin_again(app, record, current, round).await;
    }
    if is_wanted && is_current {
        return match is_there {
            true => go_on(app, record, others_move, round).await,
            false => absent(app, record).await,
        };
    }
    let reason = match raw.is_some() && !is_there {
        true => "RAW was replaced by another version",
        false => "another run took its place",
    };
    app.runs
        .end(run, State::Superseded, Some(reason.to_owned()))
        .await?;
    if let Some(raw) = raw.filter(|raw| is_current && !is_there && raw.length > 0) {
        // Its event may have got lost.
        round
            .messages
            .extend(app.take_up(dataset, file, raw, None).await?);
    }
    match app.runs.read(run).await? {
        Some(record) => settle_end(app, &record, round).await,
        None => Ok(()),
    }
}

/// Settles the end of a run that is over.
async fn settle_end(app: &App, record: &Record, round: &mut Round) -> Result<(), RunError> {
    let since = app.runs.clock().now().duration_since(record.since);
    // Of a run that was not published, chunks under way still record what they are answered.
    if !record.is_published() && since < app.settings.still_ending() {
        return Ok(());
    }
    round.messages.extend(app.settle_budget(record).await?);
    if !record.is_published() && record.chunks.is_some() && record.billed.is_none() {
        let billed = billed::of(app, record).await?;
        let tell = |record: &mut Record| {
            record.billed = Some((billed.tokens, billed.turns));
            true
        };
        app.runs.update(&record.run, tell).await?;
    }
    let ended = round.ended.entry(record.dataset.clone()).or_default();
    ended.push(record.run.clone());
    Ok(())
}

/// A run whose RAW is not there waits for it.
async fn absent(app: &App, record: &Record) -> Result<(), RunError> {
    let now = app.runs.clock().now();
    if record.not_before.is_some_and(|until| until > now) {
        return Ok(());
    }
    let place = app.data.raw(&record.dataset)?.locate(&record.file);
    let trouble = Trouble::Absent { place };
    // A run that waited for something else must say what it waits for now.
    let resume =
        |record: &mut Record| record.waited_for != Some(trouble.to_string()) && record.resume(now);
    app.runs.update(&record.run, resume).await?;
    app.wait(record, trouble).await
}

/// The start of this run was interrupted before it became current, or is under way: then it goes on by itself,
/// and a second plan would send all chunks twice.
async fn begin_again(
    app: &App,
    record: &Record,
    current: Option<Current>,
    round: &mut Round,
) -> Result<(), RunError> {
    let run = &record.run;
    let dead_after = app.settings.dead_after;
    let dead_after = SignedDuration::try_from(dead_after).unwrap_or(SignedDuration::MAX);
    let age = app.runs.clock().now().duration_since(record.created);
    if app.settings.in_trouble == InTrouble::Wait && age < dead_after {
        return Ok(());
    }
    // The request got no answer, and another request may have begun a run since.
    if let Some(current) = current
        && let Some(other) = app.runs.read(&current.run).await?
        && other.created >= record.created
    {
        let reason = format!("run {} was begun since", other.run);
        app.runs.end(run, State::Superseded, Some(reason)).await?;
        return Ok(());
    }
    let begun = app.begin(record.clone()).await?;
    let plan = (!begun.state.is_over()).then(|| Message::plan(run));
    round.messages.extend(plan);
    Ok(())
}

/// A run that is not at its end.
async fn go_on(
    app: &App,
    record: &Record,
    others_move: bool,
    round: &mut Round,
) -> Result<(), RunError> {
    let run = &record.run;
    if record.state == State::AwaitingApproval {
        let affordable = app.is_affordable(record).await?;
        let plan = affordable.then(|| Message::plan(run));
        round.messages.extend(plan);
        return Ok(());
    }
    if let Some(on) = app.go_on_in_month(record).await? {
        round.messages.extend(on);
        return Ok(());
    }
    let ledger = app.ledger(record).await?;
    let finished = ledger.count();
    let patience = app.settings.patience();
    let now = app.runs.clock().now();
    let mut action = Action::Leave;
    let mut more = 0..0;
    let mut note = |record: &mut Record| {
        let before = record.clone();
        // A place that a chunk had which ended without sending the next.
        let place = record.out().min(1);
        action = decide(record, finished, others_move, &patience, now);
        let is_under_way = action == Action::Leave && record.state == State::Labeling;
        more = match is_under_way && !record.given_up {
            true => record.let_out((record.out() + round.more_out).max(place), finished),
            false => 0..0,
        };
        *record != before
    };
    // As a rule all is as it was, and nothing has to be read again.
    if !note(&mut record.clone()) {
        return Ok(());
    }
    let Some(record) = app.runs.update_read(record, note).await? else {
        return Ok(());
    };
    if matches!(action, Action::SendAgain | Action::GiveUp)
        && let Some(manifest) = app.manifest(&record).await?
        && app.is_settled(&record, &manifest, &ledger).await?
    {
        // It could not be entered that its last chunks are finished.
        action = Action::Publish;
    }
    if action != Action::Leave {
        let tries = record.watch.tries;
        tracing::warn!(
            event = "run_stalled",
            run,
            ?action,
            tries,
            finished,
            "the run stood still"
        );
    }
    match action {
        Action::Leave => round
            .messages
            .extend(more.map(|chunk| Message::label(run, chunk))),
        Action::SendAgain => round.messages.push(Message::plan(run)),
        Action::Publish => round.messages.push(Message::publish(run)),
        Action::GiveUp => give_up(app, &record, &ledger, round).await?,
    }
    Ok(())
}

/// Ends a run that makes no progress: finished chunks are published, unfinished ones are given up; if
/// nothing can be published the run has failed.
async fn give_up(
    app: &App,
    record: &Record,
    ledger: &Ledger,
    round: &mut Round,
) -> Result<(), RunError> {
    let run = &record.run;
    let chunks = record.chunks.unwrap_or_default();
    if record.chunks.is_none() || ledger.count() >= chunks {
        let reason = record.reason.clone();
        app.runs.end(run, State::Failed, reason).await?;
        return Ok(());
    }
    let left = (0..chunks).filter(|chunk| !ledger.has(*chunk));
    let abandoned = left.map(|chunk| Message::abandon(run, chunk));
    round.messages.extend(abandoned);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::tests::{at, planned, record};

    const PATIENCE: Patience = Patience {
        stall_after: Duration::from_secs(600),
        longest: Duration::from_secs(3600),
        publish_after: Duration::from_secs(60),
        tries: 3,
    };

    fn action(record: &mut Record, finished: u64, second: i64) -> Action {
        decide(record, finished, false, &PATIENCE, at(second))
    }

    #[test]
    fn a_run_that_moves_is_left_alone() {
        let mut run = planned("r", 100);
        for step in 0..50 {
            let second = i64::try_from(step).unwrap() * 599;
            assert_eq!(action(&mut run, step, second), Action::Leave);
        }
    }

    #[test]
    fn a_run_that_stands_still_is_sent_again_at_growing_intervals_and_then_given_up() {
        let mut run = planned("r", 100);
        let mut sent = Vec::new();
        for minute in 0..200 {
            match action(&mut run, 5, minute * 60) {
                Action::Leave => {}
                what => sent.push((minute, what)),
            }
        }
        let (minutes, actions) = sent.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        assert_eq!(minutes, [10, 30, 70, 130, 140, 150, 160, 170, 180, 190]);
        assert_eq!(actions[..3], [Action::SendAgain; 3]);
        assert_eq!(actions[3..], [Action::GiveUp; 7]);
    }

    #[test]
    fn a_run_that_may_stand_in_line_is_given_up_later() {
        let mut run = planned("r", 100);
        run.watch.finished = 5;
        let mut act = |hour: i64| decide(&mut run, 5, true, &PATIENCE, at(hour * 3600));
        assert!((1..=12).all(|hour| act(hour) == Action::SendAgain));
        assert_eq!(act(13), Action::GiveUp);
        // One that waits does not stand in line.
        let mut run = planned("r", 100);
        for second in 0..3 {
            run.wait("no such deployment".into(), at(second), at(second));
            let action = decide(&mut run, 0, true, &PATIENCE, at(second));
            assert_eq!(action, Action::SendAgain);
        }
        run.wait("no such deployment".into(), at(9), at(9));
        assert_eq!(decide(&mut run, 0, true, &PATIENCE, at(9)), Action::GiveUp);
        let reason = run.reason.clone().unwrap();
        assert!(reason.contains("3 tries") && reason.contains("no such deployment"));
        // From the same moment on no chunk can make it wait, which would keep it from being ended.
        assert!(!run.wait("an outage".into(), at(99), at(10)));
        assert_eq!((run.state, run.reason), (State::Labeling, Some(reason)));
    }

    #[test]
    fn what_is_left_of_a_run_that_was_given_up_gets_no_further_try() {
        let mut run = planned("r", 9);
        run.give_up(at(0));
        assert_eq!(action(&mut run, 8, 10), Action::Leave);
        // Word of the ninth got lost.
        for again in 1..20 {
            assert_eq!(action(&mut run, 8, 10 + again * 600), Action::GiveUp);
        }
        assert_eq!(action(&mut run, 9, 20_000), Action::Leave);
        assert_eq!(action(&mut run, 9, 20_060), Action::Publish);
    }

    #[test]
    fn a_run_whose_chunks_are_finished_is_published_soon() {
        let mut run = planned("r", 3);
        assert_eq!(action(&mut run, 3, 10), Action::Leave);
        assert_eq!(action(&mut run, 3, 69), Action::Leave);
        assert_eq!(action(&mut run, 3, 70), Action::Publish);
    }

    #[test]
    fn a_run_that_waited_goes_on() {
        let mut run = record("r");
        run.wait("outage".into(), at(100), at(0));
        assert_eq!(action(&mut run, 0, 99), Action::Leave);
        assert_eq!(action(&mut run, 0, 100), Action::SendAgain);
        assert_eq!(run.state, State::Planning);
    }
}
