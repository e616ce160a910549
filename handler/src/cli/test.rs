//! `softlabel test`: one message, and everything its answer says.

use super::screen::Screen;
use super::table::Table;
use super::{Exit, print};
use crate::config::{ProgressStyle, TestArgs, UsageError};
use crate::deployments as connect;
use crate::labeling::blank::is_blank;
use crate::run::progress::Progress;
use crate::run::turn::Labeler;
use anyhow::Context;
use serde_json::json;
use std::sync::Arc;

/// Labels the message of the arguments.
///
/// # Errors
/// Why the deployment cannot be asked, or gave no label.
pub(super) async fn run(mut args: TestArgs) -> anyhow::Result<Exit> {
    let screen = Screen::new(&args.log, ProgressStyle::None)?;
    if is_blank(&args.message) {
        return Err(UsageError("--message is empty; give a text to label".into()).into());
    }
    args.service = args.service.understood()?;
    let (service, labeling) = (&args.service, &args.labeling);
    let task = args.task.task()?;
    if let Some(assumed) = service.assumed() {
        screen.line(&assumed);
    }
    let transport = connect::transport(service).await?;
    let settled = connect::settle(&transport, labeling, service, &task).await?;
    let input = connect::message_input(&args.message, labeling, service)
        .context("the strategy finds no text in the message")?;
    let teacher = Arc::new(connect::teacher(
        transport,
        settled.profile.clone(),
        labeling,
        service,
        &task,
        connect::slots(service),
        connect::pace(service),
    )?);
    let labeler = Arc::new(Labeler::new(
        Arc::clone(&teacher),
        &connect::label_settings(labeling, service, &task),
        labeling.strategy.0,
        !labeling.no_dedupe,
        Arc::new(Progress::default()),
        service.tariff(settled.answered_by.as_deref()),
    ));
    let asked = labeler.ask_once(Arc::new(input)).await;
    if let Some(stop) = teacher.stopped() {
        return Err(stop.clone().into());
    }
    let (label, rationale) = asked?;
    let estimate = &label.estimate;
    let hard = labeling.hard_label.choose(estimate);
    let (rationale, rationale_error) = match rationale {
        Some(Ok(rationale)) => (Some(rationale.text.clone()), None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, None),
    };
    if args.json {
        let report = json!({
            "hard_label": u8::from(hard),
            "meaning": task.meaning(hard),
            "estimate": estimate,
            "rationale": rationale,
            "rationale_error": rationale_error,
            "latency_ms": label.latency_ms,
            "client_request_id": label.request_id,
            "service_request_id": label.service_request_id,
            "tokens": label.tokens,
            "api_profile": settled.profile,
            "api_profile_reasons": settled.reasons,
        });
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
        return Ok(Exit::Complete);
    }
    let mut table = Table::default();
    table.row(
        "hard label",
        format!("{} ({})", u8::from(hard), task.meaning(hard)),
    );
    table.row("soft label", format!("{:.6}", estimate.soft));
    let measured = if estimate.censored {
        "one label was not listed"
    } else {
        "both labels measured"
    };
    table.row(
        "bounds",
        format!("[{:.6}, {:.6}], {measured}", estimate.low, estimate.high),
    );
    table.row(
        "p0, p1, mass",
        format!(
            "{:.6}, {:.6}, {:.6}",
            estimate.p0, estimate.p1, estimate.mass
        ),
    );
    table.row("generated token", format!("{:?}", estimate.generated));
    if let Some(rationale) = rationale {
        table.row("rationale", rationale);
    }
    if let Some(error) = rationale_error {
        table.row("rationale failed", error);
    }
    table.row("latency", format!("{} ms", label.latency_ms));
    table.row("client request id", &label.request_id);
    let unknown = || "not given".to_owned();
    table.row(
        "service request id",
        label.service_request_id.clone().unwrap_or_else(unknown),
    );
    table.row("profile", serde_json::to_string(&settled.profile)?);
    table.row("  settled because", settled.reasons.join("\n"));
    print(&table.render())?;
    Ok(Exit::Complete)
}
