//! Functions that a timer wakes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::function::Function;
use super::instance::{Call, Instance};
use super::lines::Level;
use super::payload::{self, Payload};
use super::schedule::Schedule;
use super::singleton::{Alone, CONTAINER, HOST_ID, Singleton};
use crate::storage::Container;

/// Time until storage that failed is asked again.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct TimerFunction {
    pub(super) instance: Arc<Instance>,
    pub(super) function: Arc<Function>,
    pub(super) schedule: Schedule,
    pub(super) run_on_startup: bool,
    /// Whether occurrences are kept in storage, so that one that was missed is made up for.
    pub(super) monitored: bool,
}

/// When it ran, and when it is to run. Kept in storage.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    /// `None` before the first run.
    last: Option<Timestamp>,
    next: Timestamp,
    last_updated: Option<Timestamp>,
}

/// Goes on until the host stops. One of an app's hosts does it at a time.
pub(super) async fn run(timer: TimerFunction) -> Result<()> {
    let name = format!("Host.Functions.{}.Listener", timer.function.name);
    let singleton = Singleton::new(&timer.instance, &name).await?;
    singleton.hold(&timer).await;
    Ok(())
}

impl Alone for TimerFunction {
    async fn run(&self) {
        if let Err(reason) = self.run_alone().await {
            let text = format!("The host, on timer {}: {reason:#}", self.function.name);
            self.instance.lines.of_host(Level::Error, text);
            // Storage that fails now is asked again, but not at once.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl TimerFunction {
    async fn run_alone(&self) -> Result<()> {
        let container = self.instance.storage()?.container(CONTAINER);
        let stored = self.stored(&container).await?;
        let mut past_due = stored.is_some_and(|status| status.next < Timestamp::now());
        let mut at_once = past_due || self.run_on_startup;
        let mut status = stored.unwrap_or_else(|| Status {
            last: None,
            next: self.next(Timestamp::now()),
            last_updated: None,
        });
        if self.monitored {
            self.store(&container, status).await?;
        }
        loop {
            let wait = match at_once {
                true => Duration::ZERO,
                false => until(status.next),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.instance.stop_begun() => return Ok(()),
            }
            let now = Timestamp::now();
            self.execute(status, past_due).await;
            // A little early is taken for on time, or the same occurrence would come twice.
            let ran = if at_once { now } else { now.max(status.next) };
            status = Status {
                last: Some(ran),
                next: self.next(ran),
                last_updated: Some(ran),
            };
            (past_due, at_once) = (false, false);
            if self.monitored {
                self.store(&container, status).await?;
            }
        }
    }

    async fn execute(&self, status: Status, past_due: bool) {
        let value = json!({
            "Schedule": { "AdjustForDST": true },
            "ScheduleStatus": self.monitored.then(|| status.payload()),
            "IsPastDue": past_due,
        });
        let payload = Payload::new(&self.function.binding, value);
        let call = Call {
            function: &self.function,
            subject: &self.function.name,
            dequeue_count: None,
        };
        self.instance.execute(call, &payload).await;
    }

    fn next(&self, after: Timestamp) -> Timestamp {
        match self.instance.options.timer_periods.get(&self.function.name) {
            Some(period) => {
                let period = SignedDuration::try_from(*period).unwrap_or(SignedDuration::MAX);
                after.saturating_add(period).unwrap_or(Timestamp::MAX)
            }
            None => self.schedule.next(after),
        }
    }

    fn path(&self) -> String {
        format!(
            "timers/{HOST_ID}/Host.Functions.{}/status",
            self.function.name
        )
    }

    async fn stored(&self, container: &Container) -> Result<Option<Status>> {
        if !self.monitored {
            return Ok(None);
        }
        let blob = container.get(&self.path()).await?;
        let status = blob.map(|blob| serde_json::from_slice(&blob.content));
        status
            .transpose()
            .context("the timer's status cannot be read")
    }

    async fn store(&self, container: &Container, status: Status) -> Result<()> {
        container
            .put(&self.path(), serde_json::to_vec(&status)?)
            .await?;
        Ok(())
    }
}

impl Status {
    fn payload(self) -> Value {
        let never = "0001-01-01T00:00:00+00:00".to_owned();
        let date = |time: Option<Timestamp>| time.map_or(never.clone(), payload::iso);
        json!({
            "Last": date(self.last),
            "Next": date(Some(self.next)),
            "LastUpdated": date(self.last_updated),
        })
    }
}

fn until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}
