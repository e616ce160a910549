//! Watches containers and tells of what happens in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use super::destination::Destination;
use super::event::{Happened, event};
use super::filter::Filter;
use crate::dice::Dice;
use crate::storage::{BlobItem, BlobType, Container};

/// What is watched, and who is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The containers with the blobs.
    pub containers: Vec<Container>,
    /// What of it the subscription lets through.
    pub filter: Filter,
    /// Where the events go.
    pub destination: Destination,
    /// Time between two looks.
    pub polling: Duration,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

/// Rates, from 0 (never, the default) to 1 (always), of what may happen to an event, drawn from the seed
/// and the event's subject.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// What the draws start from.
    pub seed: u64,
    /// It comes twice, the second time after up to `longest_delay`.
    pub twice: f64,
    /// It comes after up to `longest_delay`.
    pub late: f64,
    /// The longest delay.
    pub longest_delay: Duration,
    /// Those of one look come in another order.
    pub reordered: f64,
    /// It never comes.
    pub lost: f64,
}

/// An event that the filter let through.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The event.
    pub event: Value,
    /// How often it is delivered: 1, unless something goes wrong on purpose.
    pub times: u32,
}

/// A running subscription. Dropping it ends it, and what was to come late does not come.
#[derive(Debug)]
pub struct EventGrid {
    watching: JoinHandle<()>,
    log: Arc<Mutex<Vec<Delivery>>>,
}

impl Options {
    /// One container, twenty looks a second, nothing going wrong.
    pub fn new(container: Container, filter: Filter, destination: impl Into<Destination>) -> Self {
        Self {
            containers: vec![container],
            filter,
            destination: destination.into(),
            polling: Duration::from_millis(50),
            faults: Faults::default(),
        }
    }
}

impl EventGrid {
    /// Starts to watch. What is there already causes no events.
    ///
    /// # Errors
    /// When the destination takes no events, or storage does not answer.
    pub async fn start(options: Options) -> Result<Self> {
        options.destination.validate().await?;
        let log = Arc::new(Mutex::default());
        let mut watch = Watch {
            known: Vec::new(),
            number: 0,
            dice: Dice::new(options.faults.seed),
            late: JoinSet::new(),
            log: Arc::clone(&log),
            options,
        };
        for container in &watch.options.containers {
            watch.known.push(list(container).await?);
        }
        Ok(Self {
            watching: tokio::spawn(watch.run()),
            log,
        })
    }

    /// What the filter let through so far, in order.
    pub fn log(&self) -> Vec<Delivery> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for EventGrid {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

struct Watch {
    options: Options,
    /// What was there at the last look, by container.
    known: Vec<BTreeMap<String, BlobItem>>,
    number: u64,
    dice: Dice,
    late: JoinSet<()>,
    log: Arc<Mutex<Vec<Delivery>>>,
}

impl Watch {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(self.options.polling).await;
            // Storage that does not answer now does so later, and then shows what happened meanwhile.
            let _ = self.look().await;
            while self.late.try_join_next().is_some() {}
        }
    }

    async fn look(&mut self) -> Result<()> {
        for index in 0..self.options.containers.len() {
            let container = self.options.containers[index].clone();
            let now = list(&container).await?;
            let mut events = Vec::new();
            for (blob, happened) in changes(&self.known[index], &now) {
                self.number += 1;
                let event = event(&container, blob, happened, self.number).await?;
                if self.options.filter.lets_through(&event) {
                    events.push(event);
                }
            }
            let about = container.name();
            let (faults, dice) = (&self.options.faults, &self.dice);
            if dice.happens(faults.reordered, "reordered events", about) {
                dice.shuffle(&mut events, "order of events", about);
            }
            for event in events {
                self.deliver(event).await;
            }
            self.known[index] = now;
        }
        Ok(())
    }

    async fn deliver(&mut self, event: Value) {
        let (faults, dice) = (&self.options.faults, &self.dice);
        let about = event["subject"].as_str().unwrap_or_default().to_owned();
        let delay = |what| faults.longest_delay.mul_f64(dice.fraction(what, &about));
        let late = dice.happens(faults.late, "late event", &about);
        let mut delays = vec![if late { delay("delay") } else { Duration::ZERO }];
        if dice.happens(faults.twice, "event twice", &about) {
            delays.push(delay("second delay"));
        }
        if dice.happens(faults.lost, "lost event", &about) {
            delays.clear();
        }
        let times = delays.len() as u32;
        let delivered = event.clone();
        self.note(Delivery { event, times });
        for delay in delays {
            let destination = self.options.destination.clone();
            // A queue takes it now; a webhook takes its time.
            if delay.is_zero() && matches!(destination, Destination::Queue(_)) {
                destination.deliver(&delivered, delay).await;
                continue;
            }
            let event = delivered.clone();
            self.late
                .spawn(async move { destination.deliver(&event, delay).await });
        }
    }

    fn note(&self, delivery: Delivery) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(delivery);
    }
}

async fn list(container: &Container) -> Result<BTreeMap<String, BlobItem>> {
    let blobs = container.list("").await?.into_iter();
    Ok(blobs.map(|blob| (blob.name.clone(), blob)).collect())
}

/// What happened between two looks.
fn changes<'a>(
    before: &'a BTreeMap<String, BlobItem>,
    now: &'a BTreeMap<String, BlobItem>,
) -> Vec<(&'a BlobItem, Happened)> {
    let written = now.values().filter(|blob| match before.get(&blob.name) {
        None => true,
        Some(known) => known.etag != blob.etag && was_written_whole(known, blob),
    });
    let written = written.map(|blob| (blob, Happened::Created));
    let gone = before.values().filter(|blob| !now.contains_key(&blob.name));
    written
        .chain(gone.map(|blob| (blob, Happened::Deleted)))
        .collect()
}

/// Changes of metadata and appended blocks cause no events. A blob that is written anew has another time of creation or
/// another content. Where both are the same, it was written in the second of the time before: its change then has the
/// time of its creation.
fn was_written_whole(known: &BlobItem, blob: &BlobItem) -> bool {
    let other_content = known.length != blob.length || known.md5 != blob.md5;
    let anew = other_content || blob.created == blob.last_modified;
    known.created != blob.created || (blob.kind != BlobType::Append && anew)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_written_anew_also_where_its_times_are_a_second_apart() {
        let known = BlobItem {
            name: "a.json".into(),
            etag: "1".into(),
            length: 1,
            md5: "x".into(),
            kind: BlobType::Block,
            content_type: String::new(),
            created: "second 1".into(),
            last_modified: "second 1".into(),
            copied: false,
        };
        let touched = BlobItem {
            last_modified: "second 2".into(),
            ..known.clone()
        };
        let of_blocks = BlobItem {
            length: 2,
            md5: String::new(),
            ..touched.clone()
        };
        let other = BlobItem {
            md5: "y".into(),
            ..touched.clone()
        };
        let later = BlobItem {
            created: "second 2".into(),
            ..touched.clone()
        };
        let appended = BlobItem {
            kind: BlobType::Append,
            ..of_blocks.clone()
        };
        for (blob, whole) in [
            (known.clone(), true),
            (of_blocks, true),
            (other, true),
            (later, true),
            (touched, false),
            (appended, false),
        ] {
            assert_eq!(was_written_whole(&known, &blob), whole, "{blob:?}");
        }
    }
}
