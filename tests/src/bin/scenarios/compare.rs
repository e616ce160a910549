//! The same app with a scripted worker under both hosts: what they send to it and do to the queues.
//!
//! The listeners of the real host are Microsoft's, so what they do is the measure of the double. How an invocation is
//! written down is not: that is code of this project on both sides, from the sources of the host. There a difference
//! shows that one of them is wrong, or leaves out what the app never reads: see `normal.rs`.

mod app;
mod normal;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use softlabel_doubles::functions_host::Host;
use softlabel_doubles::local_cloud::Instance;
use softlabel_doubles::real_host::RealHost;

use crate::report::Report;
use crate::stage::Stage;
use app::{App, Part};

/// What it is called.
pub(crate) const NAME: &str = "what both hosts do";

/// What one host did: for every request to the worker and every queue what it was about, and what it was.
type Deeds = BTreeMap<String, Vec<Value>>;

/// Runs the app under both and compares.
pub(crate) async fn both(stage: &Stage) -> Report {
    let mut report = Report::new(NAME, "real host and double");
    let outcome = async {
        let (real, double) = tokio::try_join!(deeds::<RealHost>(stage), deeds::<Host>(stage))?;
        let requests = real.values().map(Vec::len).sum::<usize>();
        report.figure(format!("{requests} requests and messages compared"));
        let differences = differences(&real, &double);
        report.expect(
            "both do the same",
            match differences.is_empty() {
                true => Ok(()),
                false => Err(anyhow::anyhow!(differences.join("\n         "))),
            },
        );
        Ok::<_, anyhow::Error>(())
    };
    let outcome = outcome.await;
    report.expect("it runs to its end", outcome);
    report
}

async fn deeds<H: Instance>(stage: &Stage) -> Result<Deeds> {
    let scans = of_part::<H>(Part::Scans, stage);
    let (mut all, events) = tokio::try_join!(scans, of_part::<H>(Part::Events, stage))?;
    all.extend(events);
    Ok(all)
}

async fn of_part<H: Instance>(part: Part, stage: &Stage) -> Result<Deeds> {
    let app = App::new(part).await?;
    let host = app.start::<H>(stage).await?;
    let done = app.live(&host, stage.long).await;
    host.stop().await;
    done?;
    let deeds = app.deeds().await?;
    ensure!(!deeds.is_empty(), "the worker was never asked");
    Ok(deeds)
}

/// Where they differ, in words.
fn differences(real: &Deeds, double: &Deeds) -> Vec<String> {
    let none = Vec::new();
    let mut differences = Vec::new();
    let abouts = real.keys().chain(double.keys());
    let abouts = abouts.collect::<std::collections::BTreeSet<_>>();
    for about in abouts {
        let of = |deeds: &Deeds| deeds.get(about).unwrap_or(&none).clone();
        let (real, double) = (of(real), of(double));
        if real.len() != double.len() {
            let counts = format!("{} times by the real host, {}", real.len(), double.len());
            differences.push(format!("{about}: {counts} by the double"));
        }
        for (real, double) in real.iter().zip(&double) {
            normal::differ(about, real, double, &mut differences);
        }
    }
    differences.sort();
    differences.dedup();
    differences
}

/// Longer than anything here takes but for what waits for ten minutes.
const PATIENCE: Duration = Duration::from_secs(120);
