//! Results on their way into a part.
//!
//! They are appended as they come. While an append takes too long no further call is sent, and if it
//! fails none is sent at all: a kill or a lost part costs the calls in flight and the results of two
//! seconds.

use super::entry::Note;
use super::switch::Switch;
use crate::dataset::figures::Tokens;
use crate::money::Usd;
use crate::store::{Appender, StoreError};
use crate::teacher::purse::Purse;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

/// While a result waits for longer than this, nothing more is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that are buffered before they are written.
const FLUSH_BYTES: usize = 64 << 10;

/// A line of a part, and when it became known.
pub type TimedLine = (Instant, Vec<u8>);

/// Results that are not appended yet.
#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    oldest: Option<Instant>,
}

impl Pending {
    fn add(&mut self, (found, line): TimedLine) {
        self.lines.extend_from_slice(&line);
        self.oldest.get_or_insert(found);
    }

    /// Adds what `purse` has to record; gives the credit that is among it.
    fn add_notes(&mut self, (beside, credit): (Option<Tokens>, Option<Usd>)) -> Option<Usd> {
        let beside = beside.map(|tokens| Note::Spent(tokens).line());
        let credit_line = credit.map(|usd| Note::Credit(usd).line());
        self.lines
            .extend(beside.into_iter().chain(credit_line).flatten());
        credit
    }
}

/// Appends the `results` until no more come, each after `flush_every` at the latest, and takes `switch`
/// while that takes too long. What `purse` has to record goes with them, at once where a call waits for it.
///
/// # Errors
/// The first error of the part. By then `switch` is ended, and no more results come; all that could
/// not be appended at first was tried once more.
pub async fn append_all(
    mut results: UnboundedReceiver<TimedLine>,
    appender: &mut Appender,
    switch: &Switch,
    purse: &Purse,
    flush_every: Duration,
) -> Result<(), StoreError> {
    let mut pending = Pending::default();
    let appending = keep_appending(
        &mut results,
        &mut pending,
        appender,
        switch,
        purse,
        flush_every,
    );
    let Err(error) = appending.await else {
        return Ok(());
    };
    tracing::warn!(%error, "results cannot be stored: nothing more is asked for this chunk");
    switch.turn_off();
    purse.close();
    while let Some(result) = results.recv().await {
        pending.add(result);
    }
    pending.add_notes(purse.due_at_last());
    if appender.append(&pending.lines).await.is_ok() {
        tracing::info!("the results are stored after all");
    }
    Err(error)
}

async fn keep_appending(
    results: &mut UnboundedReceiver<TimedLine>,
    pending: &mut Pending,
    appender: &mut Appender,
    switch: &Switch,
    purse: &Purse,
    flush_every: Duration,
) -> Result<(), StoreError> {
    let mut lost = appender.lost();
    loop {
        let full = pending.lines.len() >= FLUSH_BYTES;
        let oldest = pending.oldest.unwrap_or_else(Instant::now);
        let due = if full { oldest } else { oldest + flush_every };
        let ended = tokio::select! {
            biased;
            error = &mut lost => return Err(error),
            result = results.recv(), if !full => match result {
                Some(result) => {
                    pending.add(result);
                    continue;
                }
                None => true,
            },
            () = sleep_until(due), if pending.oldest.is_some() => false,
            () = purse.wanting() => false,
        };
        let credit = pending.add_notes(match ended {
            true => purse.due_at_last(),
            false => purse.due(),
        });
        {
            let mut appending = pin!(appender.append(&pending.lines));
            loop {
                tokio::select! {
                    biased;
                    appended = &mut appending => break appended?,
                    error = &mut lost => return Err(error),
                    () = sleep_until(oldest + PATIENCE), if !switch.is_paused() => switch.pause(),
                }
            }
        }
        if ended {
            return Ok(());
        }
        if let Some(credit) = credit {
            purse.written(credit);
        }
        *pending = Pending::default();
        while let Ok(result) = results.try_recv() {
            pending.add(result);
        }
        let waits = pending.oldest.map(|oldest| oldest.elapsed());
        if waits.unwrap_or_default() < PATIENCE {
            switch.resume();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fickle::{Fickle, Mood};
    use crate::teacher::tariff::Tariff;
    use std::sync::Arc;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    use tokio::task::JoinHandle;
    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;

    const EVERY: Duration = Duration::from_millis(200);

    /// Results that go into a fickle part.
    struct World {
        part: Fickle,
        switch: Switch,
        results: UnboundedSender<TimedLine>,
        appending: JoinHandle<Result<(), StoreError>>,
    }

    impl World {
        fn new() -> Self {
            let (part, switch) = (Fickle::default(), Switch::new(&CancellationToken::new()));
            let (results, received) = unbounded_channel();
            let (mut appender, switch_there) = (part.appender(), switch.clone());
            let appending = tokio::spawn(async move {
                let tariff = Arc::new(Tariff::new(None, "m", "d", None));
                let purse = Purse::unlimited(tariff);
                append_all(received, &mut appender, &switch_there, &purse, EVERY).await
            });
            Self {
                part,
                switch,
                results,
                appending,
            }
        }

        fn found(&self, line: &str) {
            let line = format!("{line}\n").into_bytes();
            self.results.send((Instant::now(), line)).unwrap();
        }

        /// Ends the results and gives what is in the part then, and how it went.
        async fn end(self) -> (String, Result<(), StoreError>) {
            drop(self.results);
            let ended = self.appending.await.unwrap();
            (self.part.text(), ended)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_is_appended_in_time_and_the_last_at_once() {
        let world = World::new();
        world.found("one");
        sleep(EVERY / 2).await;
        assert_eq!(world.part.text(), "");
        world.found("two");
        sleep(EVERY).await;
        assert_eq!(world.part.text(), "one\ntwo\n");
        world.found("three");
        let started = Instant::now();
        let (text, ended) = world.end().await;
        assert!(ended.is_ok() && started.elapsed() < EVERY);
        assert_eq!(text, "one\ntwo\nthree\n");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_much_is_not_held_back() {
        let world = World::new();
        let started = Instant::now();
        world.found(&"x".repeat(FLUSH_BYTES));
        while world.part.text().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_while_a_result_waits_for_long() {
        let world = World::new();
        world.part.set(Mood::Slow);
        world.found("one");
        sleep(Duration::from_millis(1900)).await;
        world.found("two");
        assert!(!world.switch.is_paused());
        sleep(Duration::from_millis(200)).await;
        assert!(world.switch.is_paused());
        world.found("three");
        sleep(Duration::from_secs(100)).await;
        assert!(world.switch.is_paused() && !world.switch.is_off());
        world.part.set(Mood::Good);
        world.switch.on().await.unwrap();
        assert_eq!(world.part.text(), "one\ntwo\nthree\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_is_slow_but_in_time_stops_nobody() {
        let world = World::new();
        for number in 0..20 {
            world.part.set(Mood::Slow);
            world.found(&number.to_string());
            sleep(Duration::from_millis(1500)).await;
            assert!(!world.switch.is_paused());
            world.part.set(Mood::Good);
            sleep(Duration::from_millis(1)).await;
        }
        let (text, ended) = world.end().await;
        assert!(ended.is_ok());
        assert_eq!(text.lines().count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn where_appending_fails_nobody_asks_and_what_was_in_flight_is_tried_once_more() {
        let world = World::new();
        world.part.set(Mood::Bad);
        world.found("one");
        assert!(world.switch.on().await.is_some());
        sleep(Duration::from_secs(1)).await;
        assert!(world.switch.is_off());
        world.found("in flight");
        sleep(Duration::from_secs(30)).await;
        assert!(!world.appending.is_finished(), "something is in flight");
        world.part.set(Mood::Good);
        let (text, ended) = world.end().await;
        assert!(matches!(ended, Err(StoreError::Unavailable { .. })));
        assert_eq!(text, "one\nin flight\n");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_lost_the_part_asks_nothing() {
        for mood in [Mood::Good, Mood::Slow] {
            let world = World::new();
            world.part.set(mood);
            world.found("one");
            sleep(Duration::from_secs(1)).await;
            assert!(world.switch.on().await.is_some());
            world.part.lose();
            let started = Instant::now();
            while !world.switch.is_off() {
                tokio::task::yield_now().await;
            }
            assert_eq!(started.elapsed(), Duration::ZERO, "{mood:?}");
            world.part.set(Mood::Good);
            let (_, ended) = world.end().await;
            assert!(matches!(ended, Err(StoreError::Held { .. })));
        }
    }
}
