//! What a run says at its end.

use super::label::usd;
use super::table::{Table, counted, number, percent, time};
use crate::dataset::histogram::Histogram;
use crate::dataset::metadata::{Cost, Spending};
use crate::labeling::label::Label;
use crate::run::report::Metadata;
use crate::teacher::meter::Reading;
use crate::text::visible;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Characters of the longest bar.
const LONGEST: u64 = 40;

/// Terminal escapes; where there is no terminal, or `NO_COLOR` is set, they are left out.
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// Prints it: what matters first, then how the soft labels are distributed, then everything.
pub(super) fn print(metadata: &Metadata, meter: Reading, seconds: f64) -> io::Result<()> {
    let mut text = headline(metadata);
    text.push_str(&histogram(&metadata.totals.soft_labels));
    text.push('\n');
    text.push_str(&table(metadata, meter, seconds));
    let written = anstream::stdout().write_all(text.as_bytes());
    match written.and_then(|()| io::stdout().flush()) {
        // The reader may have gone.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Labelled, failed, cost.
fn headline(metadata: &Metadata) -> String {
    let totals = &metadata.totals;
    let failed = if totals.failed > 0 { RED } else { BOLD };
    let cost = match metadata.spending.cost_usd {
        Cost::Usd(usd) => format!("{usd:.4} USD"),
        Cost::Unknown(_) => "at an unknown cost".to_owned(),
    };
    format!(
        "{BOLD}{} labelled{PLAIN}, {failed}{} failed{PLAIN}, {BOLD}{cost}{PLAIN}\n",
        counted(totals.labeled, "turn"),
        number(totals.failed)
    )
}

/// Ten bars of soft labels; nothing where there is no label.
fn histogram(histogram: &Histogram) -> String {
    let bars = histogram
        .bars()
        .map(|(zeros, ones)| zeros + ones)
        .collect::<Vec<_>>();
    let tenths = bars
        .chunks(2)
        .map(|pair| pair.iter().sum::<u64>())
        .collect::<Vec<_>>();
    let highest = tenths.iter().copied().max().unwrap_or_default();
    let mut text = String::new();
    if highest == 0 {
        return text;
    }
    text.push_str("\nsoft labels\n");
    for (tenth, count) in tenths.iter().enumerate() {
        // A bar that is not empty has at least one character.
        let length = (count * LONGEST).div_ceil(highest);
        let bar = "█".repeat(usize::try_from(length).unwrap_or_default());
        // Writing into a text never fails.
        let _ = writeln!(
            text,
            "  {:.1}–{:.1}  {CYAN}{bar}{PLAIN} {}",
            tenth as f64 / 10.0,
            (tenth + 1) as f64 / 10.0,
            number(*count)
        );
    }
    text
}

/// What a person wants to know, in rows.
fn table(metadata: &Metadata, meter: Reading, seconds: f64) -> String {
    let totals = &metadata.totals;
    let tokens = totals.tokens;
    let mut table = Table::default();
    table.row("status", metadata.status.as_str());
    table.row("task", &metadata.settings.settings.task.name);
    table.row("labelled dataset", visible(&metadata.labeled_dataset));
    if let Some(pilot) = &metadata.pilot {
        let of = number(pilot.of_turns);
        table.row(
            "pilot",
            format!("{}: {} of {of} turns", pilot.name, number(totals.turns)),
        );
    }
    table.row("conversations", number(totals.conversations));
    if totals.broken_conversations > 0 {
        table.row("  not readable", number(totals.broken_conversations));
    }
    table.row("turns", number(totals.turns));
    table.row("  labelled", number(totals.labeled));
    for (label, turns) in [(Label::Zero, totals.label_0), (Label::One, totals.label_1)] {
        let name = format!("    {}", u8::from(label));
        let meaning = metadata.settings.settings.task.meaning(label);
        table.row(name, format!("{}: {meaning}", number(turns)));
    }
    for (kind, turns, is_not_labelable) in [
        ("  not labelable", totals.not_labelable, true),
        ("  failed", totals.failed, false),
    ] {
        table.row(kind, number(turns));
        for (code, count) in &totals.errors {
            if code.is_not_labelable() == is_not_labelable {
                table.row(format!("    {code}"), number(*count));
            }
        }
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
            "{} in {}, {} billed, {} failed and tried again, {} answered 429",
            counted(meter.sent, "request"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_two_bars_and_what_is_there_is_seen() {
        let mut soft = Histogram::default();
        (0..1_000).for_each(|_| soft.count(1, 0.97));
        soft.count(0, 0.04);
        soft.count(0, 0.06);
        let lines = histogram(&soft);
        assert!(
            lines.contains(&format!("0.0–0.1  {CYAN}█{PLAIN} 2\n")),
            "{lines}"
        );
        assert!(lines.contains(&format!("0.9–1.0  {CYAN}{}{PLAIN} 1,000\n", "█".repeat(40))));
        assert_eq!(lines.lines().filter(|line| line.contains('–')).count(), 10);
        assert_eq!(histogram(&Histogram::default()), "");
    }
}
