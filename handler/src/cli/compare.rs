//! `softlabel compare`.

use super::places::read::{self, Opened};
use super::screen::Screen;
use super::table::{Table, counted, number, percent};
use super::{Exit, print};
use crate::compare::{BINS, Comparison, Figures, Moved, compare};
use crate::config::{CompareArgs, ProgressStyle};
use crate::labeled::Metadata;
use crate::text::{excerpt, visible};
use anyhow::bail;
use serde_json::json;
use std::fmt::Write;

/// Characters of a message that are shown.
const SHOWN: usize = 400;

/// The settings that distinguish one labelling from another.
const SETTINGS: [&str; 6] = [
    "model",
    "deployment",
    "strategy",
    "prompt_version",
    "hard_label",
    "with_rationales",
];

/// Compares two labelled outputs.
///
/// # Errors
/// If one cannot be read, or they have no turn in common that is labelled in both.
pub(super) async fn run(args: CompareArgs) -> anyhow::Result<Exit> {
    let screen = Screen::new(&args.log, ProgressStyle::None)?;
    let sides = read::open_both(&args).await?;
    let [a, b] = sides.each_ref().map(|side| &side.labeled);
    let [raw, _] = sides.each_ref().map(Opened::raw);
    let [source_a, source_b] = [a, b].map(|side| side.metadata.source_dataset.as_str());
    let comparison = compare(a, b, raw).await?;
    if comparison.in_both == 0 {
        bail!(
            "A and B have no turn in common: A has {} of {}, B {} of {}; give two outputs of the same input",
            counted(comparison.turns[0], "turn"),
            visible(source_a),
            counted(comparison.turns[1], "turn"),
            visible(source_b)
        );
    }
    let Some(figures) = &comparison.figures else {
        bail!(
            "none of the {} that A and B have in common is labelled in both; label the failed \
             ones with --only failed",
            counted(comparison.in_both, "turn")
        );
    };
    for warning in warnings(&comparison, &sides) {
        screen.line(&format!("warning: {warning}"));
    }
    let text = match args.json {
        true => {
            let [a, b] = sides.each_ref().map(|side| {
                let metadata = &side.labeled.metadata;
                json!({
                    "path": side.place(),
                    "source_dataset": metadata.source_dataset,
                    "status": metadata.status,
                    "pilot": metadata.pilot,
                    "task": metadata.task_name,
                    "settings": settings(metadata).collect::<serde_json::Map<_, _>>(),
                })
            });
            let told = json!({"a": a, "b": b, "comparison": comparison});
            format!("{}\n", serde_json::to_string_pretty(&told)?)
        }
        false => rendered(&sides, &comparison, figures),
    };
    print(&text)?;
    Ok(Exit::Complete)
}

fn settings(metadata: &Metadata) -> impl Iterator<Item = (String, serde_json::Value)> {
    let of = |key: &str| Some((key.to_owned(), metadata.settings.get(key)?.clone()));
    SETTINGS.into_iter().filter_map(of)
}

/// What a person should know before trusting the figures.
fn warnings(comparison: &Comparison, sides: &[Opened; 2]) -> Vec<String> {
    let mut warnings = Vec::new();
    let [a, b] = sides.each_ref().map(|side| &side.labeled.metadata);
    if a.source_dataset != b.source_dataset && comparison.paired_by_ids > 0 {
        warnings.push(format!(
            "A labels {}, B labels {}: {} were paired by their ids.",
            visible(&a.source_dataset),
            visible(&b.source_dataset),
            counted(comparison.paired_by_ids, "turn")
        ));
    }
    if comparison.paired_by_order > 0 {
        warnings.push(format!(
            "{} have ids that occur more than once, and were paired in their order.",
            counted(comparison.paired_by_order, "turn")
        ));
    }
    for (name, side) in ["A", "B"].into_iter().zip(sides) {
        let buckets = side.labeled.buckets.iter();
        for bucket in buckets.filter(|bucket| bucket.report.published.is_none()) {
            warnings.push(format!("{} of {name} is not published yet.", bucket.name));
        }
    }
    warnings
}

fn rendered(sides: &[Opened; 2], comparison: &Comparison, figures: &Figures) -> String {
    let mut table = Table::default();
    for (name, side) in ["A", "B"].into_iter().zip(sides) {
        let metadata = &side.labeled.metadata;
        let settings = settings(metadata).filter(|(key, _)| !key.starts_with("with"));
        let settings = settings.map(|(key, value)| match value {
            serde_json::Value::String(text) => format!("{key} {}", visible(&text)),
            other => format!("{key} {other}"),
        });
        let task = &metadata.task_name;
        let task = (!task.is_empty()).then(|| format!("task {}", visible(task)));
        let settings = task.into_iter().chain(settings);
        let settings = settings.collect::<Vec<_>>().join(", ");
        table.row(name, format!("{}\n{settings}", visible(&side.place())));
    }
    let Comparison {
        turns: [a, b],
        in_both,
        without_label: [none_a, none_b],
        ..
    } = comparison;
    table.row("turns in both", number(*in_both));
    table.row(
        "  only in A, only in B",
        format!("{}, {}", number(a - in_both), number(b - in_both)),
    );
    table.row(
        "  without a label in A, in B",
        format!("{}, {}", number(*none_a), number(*none_b)),
    );
    table.row("compared", number(figures.compared));
    let [[both_0, only_b], [only_a, both_1]] = figures.hard_labels;
    table.row(
        "hard labels agree",
        format!(
            "{} ({} × 0, {} × 1; {} × 0 in A and 1 in B, {} × 1 in A and 0 in B)",
            percent(both_0 + both_1, figures.compared),
            number(both_0),
            number(both_1),
            number(only_b),
            number(only_a)
        ),
    );
    let kappa = figures.kappa.map_or(
        "not defined: all hard labels of both are the same".to_owned(),
        |kappa| format!("{kappa:.4}"),
    );
    table.row("Cohen's κ", kappa);
    let [mean_a, mean_b] = figures.mean_soft_label;
    table.row(
        "mean soft label",
        format!("{mean_a:.4} in A, {mean_b:.4} in B"),
    );
    table.row(
        "mean difference",
        format!(
            "{:.4}, with its sign (B - A) {:+.4}",
            figures.mean_absolute_difference, figures.mean_difference
        ),
    );
    let rank = figures.rank_correlation.map_or(
        "not defined: the soft labels of A or of B are all the same".to_owned(),
        |rank| format!("{rank:.4} (Spearman)"),
    );
    table.row("rank correlation", rank);
    let mut text = format!("{}\n{}", table.render(), tenths(figures));
    match comparison.moved.as_slice() {
        [] => text.push_str("\n  No soft label differs.\n"),
        moved => {
            let count = counted(moved.len() as u64, "turn");
            let _ = writeln!(text, "\n  The {count} whose soft labels differ most:\n");
            moved.iter().for_each(|moved| text.push_str(&line(moved)));
            if moved.iter().all(|moved| moved.message.is_none()) {
                text.push_str("\n  For their messages, give the RAW data with --input.\n");
            }
        }
    }
    text
}

/// Turns by tenth of the soft label in A and in B.
fn tenths(figures: &Figures) -> String {
    let cells = figures.table.iter().flatten();
    let width = cells
        .map(|count| number(*count).len())
        .max()
        .unwrap_or(1)
        .max(3);
    let mut text = "  Turns by soft label, A down and B across, from:\n\n      ".to_owned();
    let tenth = |n: usize| format!("0.{n}");
    for column in 0..BINS {
        let _ = write!(text, "  {:>width$}", tenth(column));
    }
    text.push('\n');
    for (row, counts) in figures.table.iter().enumerate() {
        let _ = write!(text, "   {}", tenth(row));
        for count in counts {
            let shown = match count {
                0 => "·".to_owned(),
                count => number(*count),
            };
            let _ = write!(text, "  {shown:>width$}");
        }
        text.push('\n');
    }
    text
}

/// A turn in one line, with its message below. Invisible characters in texts are escaped.
fn line(moved: &Moved) -> String {
    let [hard_a, hard_b] = moved.hard_labels;
    let [soft_a, soft_b] = moved.soft_labels;
    let place = [&moved.split, &moved.bucket].into_iter().flatten();
    let place = place
        .map(|name| visible(name).into_owned())
        .collect::<Vec<_>>();
    let mut text = format!(
        "  {:+.4}  {soft_a:.4} ({hard_a}) → {soft_b:.4} ({hard_b})  {}{}{} / {}\n",
        soft_b - soft_a,
        place.join("/"),
        if place.is_empty() { "" } else { "  " },
        visible(&moved.conversation_id),
        visible(&moved.message_id)
    );
    if let Some(message) = &moved.message {
        let shown = excerpt(message, SHOWN, "           ");
        let _ = writeln!(text, "           {shown}");
    }
    text
}
