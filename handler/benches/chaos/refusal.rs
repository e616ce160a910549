//! A service that answers nobody, until runs are given up; then what they left is asked for.

use crate::check;
use crate::day::{Day, latency};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use softlabel_doubles::azure_openai::{AlwaysFail, Config, Fault, Latency};
use softlabel_doubles::until;
use std::time::Duration;

/// Every run must be given up in so long.
const GIVEN_UP_IN: Duration = Duration::from_secs(120);

/// How the service refuses everything.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    /// 503.
    Unavailable,
    /// 401: the keys are not known any more.
    UnknownKeys,
}

impl Refusal {
    fn begin(self, config: &mut Config) {
        match self {
            Self::Unavailable => {
                config.faults.always_fail = vec![AlwaysFail {
                    contains: String::new(),
                    fault: Fault::Status(503),
                    code: None,
                }];
            }
            Self::UnknownKeys => config.access.api_keys = vec!["of somebody else".to_owned()],
        }
    }

    fn end(config: &mut Config) {
        config.faults.always_fail.clear();
        config.access.api_keys.clear();
        config.latency = latency();
    }
}

impl Day {
    /// Has all buckets labelled anew, lets the service refuse everything meanwhile until all runs are
    /// at their end, and then asks for what failed.
    pub(crate) async fn refuse(&mut self, refusal: Refusal) -> Result<()> {
        let slow = |config: &mut Config| config.latency = Latency::Fixed { ms: 300.0 };
        self.cloud.service().update(slow)?;
        self.label_anew().await?;
        // A late event can still take the place of what was asked for.
        let under_way = async || {
            for bucket in &self.buckets {
                let run = self.current(bucket).await?;
                let status = check::status(&self.cloud, &run).await?;
                if status.get("chunks_done").and_then(Value::as_u64) == Some(0) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        until(GIVEN_UP_IN, "all runs have a finished chunk", under_way).await?;
        self.cloud
            .service()
            .update(|config| refusal.begin(config))?;
        let ended = self.cloud.until_all_ended(0, GIVEN_UP_IN).await;
        ended.context("the service refuses everything, so that every run is to be given up")?;
        self.cloud.service().update(Refusal::end)?;
        let mut current = Vec::new();
        for bucket in &self.buckets {
            current.push(json!(self.current(bucket).await?));
        }
        let mut records = check::records(&self.cloud).await?;
        records.retain(|record| record.get("run").is_some_and(|run| current.contains(run)));
        let mut given_up = 0;
        for record in records {
            let text = |key: &str| record.get(key).and_then(Value::as_str);
            let run = text("run").context("a record without a name")?;
            if record.get("given_up") == Some(&Value::Bool(true)) {
                self.given_up.insert(run.to_owned());
            }
            if check::state(&record) == "complete" {
                continue;
            }
            ensure!(
                check::state(&record) == "partial",
                "a run does not end as it should where the service refuses everything: {record}"
            );
            given_up += 1;
            let file = text("file").context("a record without a file")?;
            let bucket = self.buckets.iter().find(|bucket| bucket.file() == file);
            let (split, name) = bucket.context("a run of another file")?.parts();
            let body =
                json!({"dataset": "v4", "splits": [split], "buckets": [name], "only": "failed"});
            self.ask(&body).await?;
        }
        ensure!(given_up > 0, "no run was given up");
        self.tally
            .count("everything refused until runs were given up");
        self.cloud.until_all_ended(0, GIVEN_UP_IN).await?;
        for bucket in &self.buckets {
            let complaint = check::complaint(&self.cloud, bucket).await?;
            ensure!(
                complaint.is_none(),
                "what failed was asked for again, but {}: {complaint:?}; the records are {}",
                bucket.name,
                json!(check::records(&self.cloud).await?)
            );
        }
        Ok(())
    }
}
