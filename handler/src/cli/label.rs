//! `softlabel label`.

use super::progress::{Bill, Display};
use super::screen::Screen;
use super::signals::Signals;
use super::table::{Table, counted, number, percent, time};
use super::{Exit, UsageError, connect, dry_run, places, print};
use crate::clock::Clock;
use crate::config::{LabelArgs, Only};
use crate::dataset::metadata::{Cost, Spending, Status};
use crate::run::progress::Progress;
use crate::run::report::Metadata;
use crate::run::settings::Method;
use crate::run::single_process::{Options, Run};
use crate::run::turn::Labeler;
use crate::teacher::meter::Reading;
use crate::teacher::transport::Transport;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Labels what the arguments name.
///
/// # Errors
/// Why the run could not begin or go on; what was labelled until then is kept.
pub(super) async fn run(args: LabelArgs) -> anyhow::Result<Exit> {
    let screen = Screen::new(&args.log, args.progress)?;
    let started = Instant::now();
    if args.restart && args.only.is_some() {
        return Err(UsageError("--only and --restart exclude each other; give one".into()).into());
    }
    let price = args.service.price();
    if args.max_cost.is_some() && price.is_none() {
        return Err(UsageError(format!(
            "--max-cost needs a price, and none is known for the model {}; set --price-input and \
             --price-output",
            args.service.model
        ))
        .into());
    }
    let places = places::resolve(&args).await?;
    // Before the files are read: what is wrong here is told at once.
    let transport = match args.dry_run {
        true => None,
        false => Some(connect::transport(&args.service).await?),
    };
    let progress = Arc::new(Progress::default());
    let settings = connect::label_settings(&args.labeling, &args.service);
    let options = options(&args);
    let planned = {
        let _display = Display::scanning(&screen, &progress);
        Run::plan(places, settings, options, Arc::clone(&progress)).await?
    };
    for warning in planned.warnings() {
        screen.line(&format!("warning: {warning}"));
    }
    let Some(transport) = transport else {
        return dry_run::run(&args, &planned, &screen, &progress).await;
    };
    let signals = Signals::listen();
    let claim = planned.claim().await?;
    let labeled = label(
        &args, planned, transport, signals, &screen, progress, started,
    )
    .await;
    claim.release().await;
    labeled
}

/// Labels a run that belongs to this process.
async fn label(
    args: &LabelArgs,
    mut planned: Run,
    transport: Transport,
    mut signals: Signals,
    screen: &Screen,
    progress: Arc<Progress>,
    started: Instant,
) -> anyhow::Result<Exit> {
    let method = match planned.pinned() {
        Some(pinned) => pinned.method.clone(),
        None => {
            let settled = tokio::select! {
                settled = connect::settle(&transport, &args.labeling, &args.service) => settled?,
                exit = signals.first() => {
                    screen.line("stopped before anything was labelled");
                    return Ok(exit);
                }
            };
            // The last one only says that it was answered.
            for reason in settled.reasons.iter().rev().skip(1).rev() {
                screen.line(&format!("the deployment wants other parameters: {reason}"));
            }
            Method {
                settings: planned.settings().clone(),
                api_profile: settled.profile,
                api_profile_reasons: settled.reasons,
                answered_by: settled.answered_by,
            }
        }
    };
    let profile = method.api_profile.clone();
    let before = planned.find_bills().await?;
    let teacher = Arc::new(connect::teacher(
        transport,
        profile,
        &args.labeling,
        &args.service,
        connect::slots(&args.service),
        connect::turnstile(&args.service),
    )?);
    let labeler = Arc::new(Labeler::new(
        Arc::clone(&teacher),
        planned.settings(),
        args.labeling.strategy.0,
        !args.labeling.no_dedupe,
        Arc::clone(&progress),
        args.service.tariff(method.answered_by.as_deref()),
    ));
    let stopped = signals.watch(screen, &teacher);
    let metadata_path = planned.places().metadata_path();
    let metadata = {
        let _display = Display::labeling(screen, &progress, &teacher, Bill { before });
        planned.label(method, labeler).await?
    };
    let seconds = started.elapsed().as_secs_f64();
    let summary = summary(&metadata, teacher.meter(), seconds);
    print(&format!("{summary}\nmetadata: {metadata_path}\n"))?;
    // With --restart the same command would forget what it is to continue.
    let again = match args.restart {
        true => "the same command without --restart",
        false => "the same command",
    };
    if let Some(stop) = teacher.stopped() {
        let text =
            format!("the run stopped early, what was answered is kept, and {again} continues");
        return Err(anyhow::Error::new(stop.clone()).context(text));
    }
    if let Some(exit) = stopped
        .exit()
        .filter(|_| metadata.status != Status::Complete)
    {
        screen.line(&format!(
            "stopped; everything answered is kept, and {again} continues"
        ));
        return Ok(exit);
    }
    Ok(exit(&metadata, screen))
}

/// The options that the arguments ask for.
fn options(args: &LabelArgs) -> Options {
    Options {
        chunk: args.cut.limits(),
        salvage: args.cut.salvage,
        restart: args.restart,
        dry_run: args.dry_run,
        only_failed: args.only == Some(Only::Failed),
        window: connect::window(&args.cut, &args.service),
        clock: Clock::system(),
    }
}

fn exit(metadata: &Metadata, screen: &Screen) -> Exit {
    if metadata.status == Status::Complete {
        return Exit::Complete;
    }
    let totals = &metadata.totals;
    if totals.failed > 0 {
        screen.line(&format!(
            "{} failed, as their lines say (labeling_error); the same command with --only failed \
             asks again",
            counted(totals.failed, "turn")
        ));
    }
    if totals.failed == 0 && metadata.completed.is_none() {
        screen.line("some turns were not finished; the same command asks for them");
    }
    let reports = metadata.splits.values().flat_map(BTreeMap::values);
    for report in reports {
        if let Some(reason) = &report.salvaged {
            screen.line(&format!(
                "{} was labelled in part: {reason}",
                report.source.path
            ));
        }
    }
    if totals.broken_conversations > 0 {
        screen.line(&format!(
            "{} could not be read; the metadata says where",
            counted(totals.broken_conversations, "conversation")
        ));
    }
    Exit::Partial
}

fn usd(cost: Cost) -> String {
    match cost {
        Cost::Usd(usd) => format!("{usd:.4} USD"),
        Cost::Unknown(_) => "unknown; set --price-input and --price-output".into(),
    }
}

/// What a person wants to know at the end.
fn summary(metadata: &Metadata, meter: Reading, seconds: f64) -> String {
    let totals = &metadata.totals;
    let tokens = totals.tokens;
    let mut table = Table::default();
    table.row("status", metadata.status.as_str());
    table.row("labelled dataset", &metadata.labeled_dataset);
    table.row("conversations", number(totals.conversations));
    if totals.broken_conversations > 0 {
        table.row("  not readable", number(totals.broken_conversations));
    }
    table.row("turns", number(totals.turns));
    table.row(
        "  labelled",
        format!(
            "{} ({} × 0 requires reasoning, {} × 1 does not)",
            number(totals.labeled),
            number(totals.label_0),
            number(totals.label_1)
        ),
    );
    table.row("  not labelable", number(totals.not_labelable));
    table.row("  failed", number(totals.failed));
    for (code, count) in &totals.errors {
        table.row(format!("    {code}"), number(*count));
    }
    if let Some(mean) = totals.mean_soft_label {
        table.row("mean soft label", format!("{mean:.4}"));
    }
    table.row(
        "only bounded",
        format!(
            "{} ({})",
            number(totals.censored),
            percent(totals.censored, totals.labeled)
        ),
    );
    table.row(
        "hard against soft",
        format!(
            "{} ({})",
            number(totals.contradictions),
            percent(totals.contradictions, totals.labeled)
        ),
    );
    if metadata.settings.settings.with_rationales {
        table.row(
            "rationales",
            format!(
                "{}, {} failed",
                number(totals.rationales),
                number(totals.rationale_failures)
            ),
        );
    }
    if totals.cut_messages > 0 {
        table.row("cut to the token limit", number(totals.cut_messages));
    }
    table.row(
        "identical turns",
        format!(
            "{} ({}) took the answer of another",
            number(totals.reused),
            percent(totals.reused, totals.turns)
        ),
    );
    let buckets = || metadata.splits.values().flat_map(BTreeMap::values);
    let pending = buckets().filter(|bucket| bucket.published.is_none());
    let pending = pending.count() as u64;
    if pending > 0 {
        let text = format!("{}, not counted above or below", counted(pending, "bucket"));
        table.row("not published yet", text);
    }
    table.row("duplicate keys", number(totals.duplicate_keys));
    table.row(
        "tokens billed",
        format!(
            "{} in ({} cached), {} out, {} calls",
            number(tokens.prompt),
            number(tokens.cached),
            number(tokens.completion),
            number(tokens.calls)
        ),
    );
    table.row(
        "tokens charged to the quota",
        format!("{} (prompts and longest answers)", number(tokens.reserved)),
    );
    table.row("cost", usd(metadata.cost_usd));
    let Spending {
        cost_usd,
        projected_cost_usd,
        ..
    } = metadata.spending;
    if pending > 0 {
        let projected = match projected_cost_usd {
            Cost::Usd(usd) => format!(", about {usd:.4} USD at the end"),
            Cost::Unknown(_) => String::new(),
        };
        table.row("spent so far", format!("{}{projected}", usd(cost_usd)));
    }
    table.row(
        "this process",
        format!(
            "{} requests in {}, {} billed, {} failed and tried again, {} answered 429",
            number(meter.sent),
            time(seconds),
            match Cost::of(meter.tokens) {
                Cost::Usd(usd) => format!("{usd:.4} USD"),
                Cost::Unknown(_) => "an unknown sum".into(),
            },
            number(meter.retried),
            number(meter.throttled)
        ),
    );
    table.render()
}
