//! `softlabel label --dry-run`: what a run will take, without a call.

use super::progress::Display;
use super::screen::Screen;
use super::table::{Table, number, percent, time};
use super::{Exit, print};
use crate::config::LabelArgs;
use crate::run::estimate::{Calls, Estimate, Pace, estimate};
use crate::run::progress::Progress;
use crate::run::single_process::Run;
use crate::teacher::model::Price;
use crate::teacher::profile::Profile;
use std::sync::Arc;

/// Reads everything, counts, and prints the estimate.
///
/// # Errors
/// If RAW cannot be read.
pub(super) async fn run(
    args: &LabelArgs,
    planned: &Run,
    screen: &Screen,
    progress: &Arc<Progress>,
) -> anyhow::Result<Exit> {
    let estimated = {
        let _display = Display::counting(screen, progress);
        estimate(
            &planned.places().raw,
            planned.manifests(),
            planned.settings(),
            args.labeling.strategy.0,
            &Profile::of_family(args.service.family()),
            !args.labeling.no_dedupe,
            |turns| progress.found_done(turns),
        )
        .await?
    };
    print(&render(args, planned, &estimated))?;
    Ok(Exit::Complete)
}

fn render(args: &LabelArgs, planned: &Run, estimate: &Estimate) -> String {
    let manifests = planned.manifests();
    let conversations = manifests.iter().map(|m| m.conversations).sum();
    let broken = manifests.iter().map(|m| m.broken_conversations).sum();
    let pace = Pace {
        tpm: u64::from(args.tpm),
        rpm: u64::from(args.rpm),
        concurrency: u64::from(args.service.concurrency),
        label_latency: args.label_latency,
        rationale_latency: args.rationale_latency,
    };
    let with_rationales = !args.labeling.no_rationales;
    let mut table = Table::default();
    table.row("bucket files", number(manifests.len() as u64));
    table.row("conversations", number(conversations));
    table.row("  not readable", number(broken));
    table.row("turns", number(estimate.turns));
    table.row("  not labelable (empty)", number(estimate.empty));
    let share = percent(estimate.identical, estimate.turns);
    table.row(
        "  identical to an earlier one",
        format!("{} ({share})", number(estimate.identical)),
    );
    table.row("label calls", calls(estimate.labels));
    table.row("rationale calls", calls(estimate.rationales));
    let price = args.service.price();
    table.row("price without rationales", cost(estimate, price, false));
    table.row("price with rationales", cost(estimate, price, true));
    let wait = |latency: std::time::Duration| time(latency.as_secs_f64());
    for (name, with) in [("without rationales", false), ("with rationales", true)] {
        let quota = estimate.seconds_at_quota(&pace, with);
        let flight = estimate.seconds_at_concurrency(&pace, with);
        table.row(
            format!("time {name}"),
            format!(
                "{} at the quota, {} at {} calls in flight",
                time(quota),
                time(flight),
                pace.concurrency
            ),
        );
    }
    let quota = estimate.seconds_at_quota(&pace, with_rationales);
    let flight = estimate.seconds_at_concurrency(&pace, with_rationales);
    let reach = if flight > quota {
        format!(
            "{} calls in flight use about {:.0} % of this quota; --concurrency {} would use all of it",
            pace.concurrency,
            100.0 * quota / flight,
            (pace.concurrency as f64 * flight / quota).ceil()
        )
    } else {
        format!(
            "{} calls in flight can use all of this quota",
            pace.concurrency
        )
    };
    table.row(
        "quota",
        format!(
            "{} tokens/min, {} requests/min: {reach}",
            number(pace.tpm),
            number(pace.rpm)
        ),
    );
    table.row(
        "assumed",
        format!(
            "{} to a label, {} to a rationale (--label-latency, --rationale-latency)",
            wait(pace.label_latency),
            wait(pace.rationale_latency)
        ),
    );
    let mut text = format!(
        "Nothing was sent. Labelling it all will take:\n\n{}",
        table.render()
    );
    if let Some((label, rationale)) = &estimate.example {
        for (name, prompt) in [("classification", label), ("rationale", rationale)] {
            text.push_str(&format!(
                "\nA {name} prompt, system:\n\n{}\n\nand user:\n\n{}\n",
                prompt.system, prompt.user
            ));
        }
    }
    text
}

fn calls(calls: Calls) -> String {
    let mean = calls.prompt_tokens.checked_div(calls.calls).unwrap_or(0);
    format!(
        "{}, {} prompt tokens each on average, {} at most; charged to the quota with {} for the \
         answer: {} tokens",
        number(calls.calls),
        number(mean),
        number(calls.longest),
        calls.answer_tokens,
        number(calls.charged())
    )
}

fn cost(estimate: &Estimate, price: Option<Price>, with_rationales: bool) -> String {
    match price {
        Some(price) => {
            format!(
                "at most {:.2} USD",
                price.of(estimate.tokens(with_rationales))
            )
        }
        None => "unknown; set --price-input and --price-output".into(),
    }
}
