//! `softlabel label --dry-run`: the cost and time of a run, without a call.

use super::progress::Display;
use super::screen::Screen;
use super::table::{Table, counted, number, percent, time};
use super::{Exit, print};
use crate::config::LabelArgs;
use crate::run::forecast::{Calls, Forecast, Pace, forecast};
use crate::run::progress::Progress;
use crate::single_process::Job;
use crate::teacher::model::Price;
use crate::teacher::pacing::{Concurrency, Quota};
use crate::text::visible_lines;
use std::sync::Arc;

/// Reads everything, counts, and prints the forecast.
///
/// # Errors
/// If RAW cannot be read.
pub(super) async fn run(
    args: &LabelArgs,
    job: &Job,
    screen: &Screen,
    progress: &Arc<Progress>,
) -> anyhow::Result<Exit> {
    let raw = job.raw()?;
    let (of_pilot, of_whole) = {
        let _display = Display::counting(screen, progress);
        let profile = args.service.profile();
        let forecast = async |manifests: &[_]| {
            let count = |turns| progress.found_done(turns);
            let (strategy, dedupe) = (args.labeling.strategy.0, !args.labeling.no_dedupe);
            forecast(
                &raw,
                manifests,
                job.settings(),
                strategy,
                &profile,
                dedupe,
                count,
            )
            .await
        };
        let own = forecast(&job.manifests()).await?;
        match job.whole() {
            [] => (own, None),
            whole => (own, Some(forecast(whole).await?)),
        }
    };
    print(&render(args, job, &of_pilot, of_whole.as_ref()))?;
    Ok(Exit::Complete)
}

fn render(args: &LabelArgs, job: &Job, forecast: &Forecast, whole: Option<&Forecast>) -> String {
    let manifests = job.manifests();
    let conversations = manifests.iter().map(|m| m.conversations).sum();
    let broken = manifests.iter().map(|m| m.broken_conversations).sum();
    let pace = Pace {
        quota: args.service.quota(),
        concurrency: args.service.concurrency,
        label_latency: args.label_latency,
        rationale_latency: args.rationale_latency,
    };
    let with_rationales = !args.labeling.no_rationales;
    let mut table = Table::default();
    table.row("bucket files", number(manifests.len() as u64));
    table.row("conversations", number(conversations));
    table.row("  not readable", number(broken));
    table.row("turns", number(forecast.turns));
    table.row("  not labelable (empty)", number(forecast.empty));
    let share = percent(forecast.identical, forecast.turns);
    table.row(
        "  identical to an earlier one",
        format!("{} ({share})", number(forecast.identical)),
    );
    table.row("label calls", calls(forecast.labels));
    table.row("rationale calls", calls(forecast.rationales));
    let price = args.service.price();
    table.row("price without rationales", cost(forecast, price, false));
    table.row("price with rationales", cost(forecast, price, true));
    if let (Some(cap), Some(price)) = (args.max_cost, price) {
        let most = price.of(forecast.tokens(with_rationales));
        let verdict = match most <= cap {
            true => "enough".into(),
            false => format!(
                "the run stops after about {:.0} % of it",
                100.0 * cap.as_f64() / most.as_f64()
            ),
        };
        table.row("--max-cost", format!("{cap:.2} USD: {verdict}"));
    }
    let wait = |latency: std::time::Duration| time(latency.as_secs_f64());
    for (name, with) in [("without rationales", false), ("with rationales", true)] {
        let quota = forecast.seconds_at_quota(&pace, with);
        let flight = forecast.seconds_in_flight(&pace, with);
        table.row(
            format!("time {name}"),
            format!(
                "{} at the quota, {} at {} calls in flight",
                time(quota),
                time(flight),
                number(u64::from(forecast.in_flight(&pace, with)))
            ),
        );
    }
    let limit = |limit: f64| match limit < f64::from(Quota::NO_LIMIT) {
        true => number(limit as u64),
        false => "any number of".into(),
    };
    table.row(
        "quota",
        match pace.quota.is_limited() {
            true => format!(
                "{} tokens/min, {} requests/min: {}",
                limit(pace.quota.tpm),
                limit(pace.quota.rpm),
                reach(forecast, &pace, with_rationales)
            ),
            false => "none is set (--tpm, --rpm): only --concurrency limits the pace".into(),
        },
    );
    if args.service.encoding().label_ids().is_none() {
        table.row(
            "tokens",
            "estimates: the model's tokenizer is not known (--encoding)",
        );
    }
    table.row(
        "assumed",
        format!(
            "{} to a label, {} to a rationale (--label-latency, --rationale-latency)",
            wait(pace.label_latency),
            wait(pace.rationale_latency)
        ),
    );
    let what = match whole {
        None => "it all".to_owned(),
        Some(whole) => {
            table.row("the whole input", counted(whole.turns, "turn"));
            table.row("  price without rationales", cost(whole, price, false));
            table.row("  price with rationales", cost(whole, price, true));
            let quota = whole.seconds_at_quota(&pace, with_rationales);
            table.row("  time at the quota", time(quota));
            format!("{} of it", counted(forecast.turns, "turn"))
        }
    };
    let mut text = format!(
        "Nothing was sent. Labelling {what} will take:\n\n{}",
        table.render()
    );
    if let Some((label, rationale)) = &forecast.example {
        for (name, prompt) in [("classification", label), ("rationale", rationale)] {
            text.push_str(&format!(
                "\nA {name} prompt, system:\n\n{}\n\nand user:\n\n{}\n",
                prompt.system,
                visible_lines(&prompt.user)
            ));
        }
    }
    text
}

/// What share of the quota the calls in flight can reach.
fn reach(forecast: &Forecast, pace: &Pace, with_rationales: bool) -> String {
    let needed = forecast.needed(pace, with_rationales);
    let share = |calls: u32| format!("{:.0} % of it", 100.0 * f64::from(calls) / needed);
    let most = Concurrency::AUTO.most();
    match pace.concurrency {
        Concurrency::Fixed(calls) if f64::from(calls) >= needed => {
            format!("{calls} calls in flight can use all of it")
        }
        Concurrency::Fixed(calls) if f64::from(most) >= needed => format!(
            "{calls} calls in flight reach {}; --concurrency auto uses all of it",
            share(calls)
        ),
        Concurrency::Fixed(calls) => format!(
            "{calls} calls in flight reach {}, --concurrency auto, with {most} at most, {}",
            share(calls),
            share(most)
        ),
        Concurrency::Auto(most) if f64::from(most) < needed => format!(
            "--concurrency auto, with {most} calls in flight at most, reaches {}",
            share(most)
        ),
        Concurrency::Auto(_) => format!(
            "--concurrency auto uses all of it, with {} calls in flight",
            forecast.in_flight(pace, with_rationales)
        ),
    }
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

fn cost(forecast: &Forecast, price: Option<Price>, with_rationales: bool) -> String {
    match price {
        Some(price) => {
            format!(
                "at most {:.2} USD",
                price.of(forecast.tokens(with_rationales))
            )
        }
        None => "unknown; set --price-input and --price-output".into(),
    }
}
