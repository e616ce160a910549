//! Polls a queue and works on its messages: batches, leases, retries, poison.
//!
//! The source is `QueueProcessor` of the storage extension. A queue without a poison queue is worked on as
//! there: `CompleteProcessingMessageAsync` does not release a message that failed, so it stays invisible
//! for the rest of its lease, and `BeginProcessingMessageAsync` hands over none that was received more than
//! `maxDequeueCount` times. Nothing deletes such a message before it expires.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::app::QueueSettings;
use super::instance::{Execution, Instance};
use super::lines::Level;
use super::outputs;
use crate::storage::{Message, Queue};

/// The first wait after a queue was found empty.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What is done with a queue's messages.
pub(super) trait Work: Send + Sync + 'static {
    /// Works on a message with this text.
    fn run(&self, message: &Message, text: &str) -> impl Future<Output = Execution> + Send;

    /// Where a message goes that cannot be worked on; `None` where it stays.
    fn poison(&self, text: Option<&str>) -> Option<Queue>;
}

pub(super) struct QueueListener<W> {
    pub(super) instance: Arc<Instance>,
    pub(super) queue: Queue,
    pub(super) settings: QueueSettings,
    pub(super) watcher: Arc<Notify>,
    pub(super) work: W,
}

impl<W: Work> QueueListener<W> {
    /// Goes on until the host stops, and then until what was begun has ended.
    pub(super) async fn listen(self) {
        let listener = Arc::new(self);
        let settings = &listener.settings;
        let mut running = JoinSet::new();
        let mut wait = Wait::new(settings.max_polling_interval);
        while !listener.instance.is_stopping() {
            while running.try_join_next().is_some() {}
            if running.len() > settings.new_batch_threshold {
                running.join_next().await;
                continue;
            }
            let lease = listener.instance.options.lease;
            let received = listener.queue.get(settings.batch_size as u32, lease).await;
            let mut batch = received.unwrap_or_else(|reason| {
                listener.complain(&format!("cannot be polled: {reason:#}"));
                Vec::new()
            });
            if batch.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(wait.next()) => {}
                    () = listener.watcher.notified() => {}
                    () = listener.instance.stop_begun() => {}
                }
                continue;
            }
            wait.found_something();
            listener.reorder(&mut batch);
            for message in batch {
                let listener = Arc::clone(&listener);
                running.spawn(async move {
                    if let Err(reason) = listener.process(message).await {
                        listener.complain(&format!("cannot settle a message: {reason:#}"));
                    }
                });
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn process(&self, mut message: Message) -> Result<()> {
        let Some(text) = outputs::decode(&message.text, self.settings.base64) else {
            self.complain("a message is not encoded as it should be");
            return self.move_to_poison(&message, None).await;
        };
        if message.dequeue_count > self.settings.max_dequeue_count {
            return self.move_to_poison(&message, Some(&text)).await;
        }
        let (chaos, dice) = (&self.instance.options.chaos, &self.instance.dice);
        let about = format!("{}\n{text}", self.queue.name());
        if dice.happens(chaos.lost, "lost message", &about) {
            self.queue.delete(&message).await?;
            let lost = self.instance.lost.lock();
            let mut lost = lost.unwrap_or_else(PoisonError::into_inner);
            lost.push((self.queue.name().to_owned(), text));
            return Ok(());
        }
        let received = message.clone();
        let work = async {
            if dice.happens(chaos.late, "late message", &about) {
                let part = dice.fraction("delay", &about);
                tokio::time::sleep(chaos.longest_delay.mul_f64(part)).await;
            }
            if dice.happens(chaos.twice_at_once, "twice at once", &about) {
                let again = received_again(&received);
                let (first, _) = tokio::join!(
                    self.work.run(&received, &text),
                    self.work.run(&again, &text)
                );
                first
            } else {
                self.work.run(&received, &text).await
            }
        };
        let execution = self.while_leased(&mut message, work).await;
        self.settle(&mut message, &text, execution).await?;
        if dice.happens(chaos.again_later, "again later", &about) {
            self.work.run(&received_again(&received), &text).await;
        }
        Ok(())
    }

    /// Keeps others from the message for as long as it is worked on.
    async fn while_leased<T>(&self, message: &mut Message, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let lease = self.instance.options.lease;
        let mut pause = lease / 2;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(pause) => {
                    let renewed = self.queue.update(message, lease).await;
                    // What failed is tried again soon. Who has lost the message goes on nevertheless.
                    pause = if renewed.is_ok() { lease / 2 } else { lease / 8 };
                }
            }
        }
    }

    async fn settle(&self, message: &mut Message, text: &str, execution: Execution) -> Result<()> {
        match execution {
            Execution::Succeeded(_) => {
                self.queue.delete(message).await?;
            }
            Execution::Failed if self.work.poison(Some(text)).is_none() => {}
            Execution::Failed if message.dequeue_count >= self.settings.max_dequeue_count => {
                self.move_to_poison(message, Some(text)).await?;
            }
            Execution::Failed => {
                let timeout = self.settings.visibility_timeout;
                self.queue.update(message, timeout).await?;
            }
            Execution::Abandoned => {}
        }
        Ok(())
    }

    async fn move_to_poison(&self, message: &Message, text: Option<&str>) -> Result<()> {
        let Some(poison) = self.work.poison(text) else {
            return Ok(());
        };
        let (most, name) = (self.settings.max_dequeue_count, poison.name());
        if text.is_some() {
            self.instance.lines.of_host(
                Level::Warning,
                format!(
                    "Message has reached MaxDequeueCount of {most}. Moving message to queue '{name}'."
                ),
            );
        }
        poison.put_or_create(&message.text, Duration::ZERO).await?;
        self.instance.notify(poison.name());
        self.queue.delete(message).await?;
        Ok(())
    }

    fn reorder(&self, batch: &mut [Message]) {
        let (chaos, dice) = (&self.instance.options.chaos, &self.instance.dice);
        let about = self.queue.name();
        if dice.happens(chaos.reordered, "reordered batch", about) {
            dice.shuffle(batch, "order of batch", about);
        }
    }

    fn complain(&self, what: &str) {
        let text = format!("The host, on queue {}: {what}", self.queue.name());
        self.instance.lines.of_host(Level::Error, text);
    }
}

/// A message as somebody else receives it, too.
fn received_again(message: &Message) -> Message {
    Message {
        dequeue_count: message.dequeue_count + 1,
        ..message.clone()
    }
}

/// The waits between polls of an empty queue. The real host varies each by up to a fifth.
struct Wait {
    longest: Duration,
    current: Duration,
    exponent: u32,
}

impl Wait {
    fn new(longest: Duration) -> Self {
        Self {
            longest,
            current: Duration::ZERO,
            exponent: 0,
        }
    }

    fn found_something(&mut self) {
        self.exponent = 0;
        self.current = Duration::ZERO;
    }

    fn next(&mut self) -> Duration {
        if self.current < self.longest {
            let added = match self.exponent {
                0 => Duration::ZERO,
                exponent => FIRST_WAIT * 2_u32.saturating_pow(exponent - 1),
            };
            self.current = (FIRST_WAIT + added).min(self.longest);
            self.exponent += 1;
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_something_is_found() {
        let mut wait = Wait::new(Duration::from_secs(1));
        let mut next = || wait.next().as_millis();
        let waits = [next(), next(), next(), next(), next(), next(), next()];
        assert_eq!(waits, [100, 200, 300, 500, 900, 1_000, 1_000]);
        wait.found_something();
        assert_eq!(wait.next().as_millis(), 100);
    }
}
