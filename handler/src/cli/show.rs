//! `softlabel show`.

use super::places::read::{self, Opened, Work};
use super::screen::Screen;
use super::table::counted;
use super::{Exit, print};
use crate::config::{ProgressStyle, ShowArgs};
use crate::labeled::{Bucket, Row, said};
use crate::text::{excerpt, visible, visible_lines};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Characters of a message that are shown.
const SHOWN: usize = 4_000;

/// Prints some turns.
///
/// # Errors
/// If the dataset or RAW cannot be read.
pub(super) async fn run(args: ShowArgs) -> anyhow::Result<Exit> {
    let screen = Screen::new(&args.read.log, ProgressStyle::None)?;
    let opened = read::open(&args.read, Work::Given).await?;
    let (chosen, found) = choose(&args, &opened).await?;
    let chosen = with_texts(chosen, &opened).await?;
    let shown = chosen.len() as u64;
    for (bucket, row, said) in &chosen {
        if !print(&turn(bucket, row, said.as_deref()))? {
            return Ok(Exit::Complete);
        }
    }
    if shown == 0 {
        screen.line("there is no such turn");
    } else if !opened.has_texts() {
        screen.line("for the messages, give the RAW data with --input");
    }
    if found > shown {
        let text = format!(
            "{} of {}; --limit shows more",
            shown,
            counted(found, "turn")
        );
        screen.line(&text);
    }
    Ok(Exit::Complete)
}

/// A row that is asked for: how far in front it is shown, the number of its bucket, and itself.
type Chosen = (f64, usize, Row);

/// The rows that are asked for, and how many there are in all.
async fn choose(args: &ShowArgs, opened: &Opened) -> anyhow::Result<(Vec<Chosen>, u64)> {
    let (mut chosen, mut found) = (Vec::new(), 0);
    let most = args.uncertain.unwrap_or(args.limit);
    for (index, bucket) in opened.labeled.buckets.iter().enumerate() {
        let mut rows = bucket.rows().await?;
        while let Some(row) = rows.next().await? {
            let Some(rank) = rank(args, &row) else {
                continue;
            };
            found += 1;
            chosen.push((rank, index, row));
            if chosen.len() > most.saturating_mul(2) {
                keep_first(&mut chosen, most);
            }
        }
    }
    keep_first(&mut chosen, most);
    let found = args.uncertain.map_or(found, |_| chosen.len() as u64);
    Ok((chosen, found))
}

/// The chosen rows in the order in which they are shown, with their messages where RAW is there. RAW is read once,
/// from its beginning to its end.
async fn with_texts(
    chosen: Vec<Chosen>,
    opened: &Opened,
) -> anyhow::Result<Vec<(&Bucket, Row, Option<String>)>> {
    let mut by_bucket = BTreeMap::<_, Vec<_>>::new();
    for (rank, index, row) in chosen {
        by_bucket.entry(index).or_default().push((rank, row));
    }
    let mut with_texts = Vec::new();
    for (index, mut rows) in by_bucket {
        let Some(bucket) = opened.labeled.buckets.get(index) else {
            continue;
        };
        rows.sort_by_key(|(_, row)| row.number);
        let (ranks, rows) = rows.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let said = match opened.raw() {
            Some(raw) => said(raw, bucket, &rows).await?,
            None => Vec::new(),
        };
        let mut said = said.into_iter();
        for (rank, row) in ranks.into_iter().zip(rows) {
            let said = said.next().map(|said| excerpt(&said, SHOWN, "  "));
            with_texts.push((rank, bucket, row, said));
        }
    }
    with_texts.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    let shown = with_texts.into_iter();
    Ok(shown
        .map(|(_, bucket, row, said)| (bucket, row, said))
        .collect())
}

fn keep_first(chosen: &mut Vec<Chosen>, most: usize) {
    chosen.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    chosen.truncate(most);
}

/// How far in front a row is; `None` where it is not asked for.
fn rank(args: &ShowArgs, row: &Row) -> Option<f64> {
    let label = &row.label;
    let details = row.details.as_ref();
    let is_wanted = match &args.id {
        Some(id) => [&label.conversation_id, &label.message_id].contains(&id),
        None if args.errors => label.labeling_error.is_some(),
        None if args.contradictions => details.is_some_and(|details| details.contradicting),
        None => return label.soft_label.map(|soft| (soft - 0.5).abs()),
    };
    is_wanted.then_some(0.0)
}

/// One turn as a person reads it. Texts may hold anything: what is not seen is escaped.
fn turn(bucket: &Bucket, row: &Row, said: Option<&str>) -> String {
    let label = &row.label;
    let mut text = String::new();
    // Writing into a text never fails.
    let bucket = bucket.name.to_string();
    let _ = write!(text, "{}, line {}", visible(&bucket), row.number + 1);
    let _ = writeln!(
        text,
        "  {} / {}",
        visible(&label.conversation_id),
        visible(&label.message_id)
    );
    if let Some(said) = said {
        let _ = writeln!(text, "  {said}");
    }
    match (&label.labeling_error, label.hard_label, label.soft_label) {
        (Some(error), ..) => {
            let _ = writeln!(text, "  no label: {}", visible(&error.to_string()));
        }
        (None, Some(hard), Some(soft)) => {
            let _ = write!(text, "  label {hard}, soft {soft:.6}");
            if let Some(details) = &row.details {
                let _ = write!(text, "{}", measures(details));
            }
            text.push('\n');
        }
        _ => {}
    }
    if let Some(rationale) = &label.rationale {
        let _ = writeln!(
            text,
            "  why: {}",
            visible_lines(rationale).replace('\n', "\n  ")
        );
    }
    text.push('\n');
    text
}

/// Bounds, probabilities and marks.
fn measures(details: &crate::dataset::details::Details<'_>) -> String {
    let mut text = String::new();
    if let (true, Some(low), Some(high)) = (details.censored, details.low, details.high) {
        let _ = write!(text, " in [{low:.4}, {high:.4}]");
    }
    if let (Some(p0), Some(p1)) = (details.p0, details.p1) {
        let _ = write!(text, ", p0 {p0:.4}, p1 {p1:.4}");
    }
    let marks = [
        (details.censored, "only bounded"),
        (details.low_mass, "low mass"),
        (details.contradicting, "hard against soft"),
        (details.cut > 0, "cut"),
        (details.reused, "answer of an identical turn"),
    ];
    for (_, mark) in marks.iter().filter(|(is_set, _)| *is_set) {
        let _ = write!(text, ", {mark}");
    }
    text
}
