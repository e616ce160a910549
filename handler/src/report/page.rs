//! The page: what its template is given.

use super::Options;
use super::data::embedded;
use super::picture::svg;
use super::sample::{DRAWN, OF_A_KIND};
use crate::dataset::figures::Figures;
use crate::dataset::histogram::{BARS, Histogram};
use crate::dataset::metadata::Cost;
use crate::html::{Frame, REPORT, policy};
use crate::labeled::{Labeled, Metadata};
use crate::labeling::label::Label;
use crate::labeling::task::Task;
use crate::shown::{counted, number, percent, time};
use crate::text::visible;
use askama::Template;
use serde_json::{Value, json};
use std::sync::Arc;

/// Buckets that have a picture of their own; of very many the file would grow without a bound.
const PICTURES: usize = 60;

/// A name, a count and a share, as texts.
struct Count {
    name: String,
    count: String,
    share: String,
}

/// A bar of the histogram, as texts.
struct Bar {
    from: String,
    to: String,
    zeros: String,
    ones: String,
}

/// A bucket, as texts.
struct BucketRow {
    name: String,
    status: String,
    turns: String,
    labeled: String,
    failed: String,
    mean: String,
    censored: String,
    low_mass: String,
    contradicting: String,
    reused: String,
    picture: String,
}

#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page {
    title: String,
    policy: String,
    frame: Frame,
    status: &'static str,
    sentence: String,
    meanings: [String; 2],
    head: Vec<(&'static str, String)>,
    counts: Vec<Count>,
    picture: String,
    bars: Vec<Bar>,
    shares: Vec<Count>,
    errors: Vec<Count>,
    tokens: Vec<(&'static str, String)>,
    buckets: Vec<BucketRow>,
    warnings: Vec<String>,
    choice: String,
    privacy: String,
    data: String,
}

impl Page {
    pub(super) fn new(
        labeled: &Labeled,
        turns: &[Value],
        has_texts: bool,
        options: Options,
    ) -> Self {
        let metadata = &labeled.metadata;
        let totals = &metadata.totals;
        let task = task(metadata);
        let buckets = labeled.buckets.iter().map(|bucket| bucket.name.to_string());
        let buckets = buckets.collect::<Vec<_>>();
        Self {
            title: visible(&metadata.labeled_dataset).into_owned(),
            policy: policy(&[REPORT], &[]),
            frame: REPORT,
            status: metadata.status.as_str(),
            sentence: sentence(metadata),
            meanings: [Label::Zero, Label::One]
                .map(|label| visible(task.meaning(label)).into_owned()),
            head: head(metadata, &task),
            counts: counts(totals),
            picture: svg(&totals.soft_labels, "How the soft labels are distributed"),
            bars: bars(&totals.soft_labels),
            shares: shares(totals),
            errors: errors(totals),
            tokens: tokens(totals),
            buckets: rows(labeled),
            warnings: metadata
                .warnings
                .iter()
                .map(|text| visible(text).into_owned())
                .collect(),
            choice: format!(
                "The {OF_A_KIND} most uncertain turns, {OF_A_KIND} contradictions, {OF_A_KIND} \
                 turns without a label, and {DRAWN} at random, or fewer where there are not as \
                 many: {} in all.",
                counted(turns.len() as u64, "turn")
            ),
            privacy: privacy(has_texts, options),
            data: embedded(&json!({"buckets": buckets, "turns": turns})),
        }
    }

    pub(super) fn render(&self) -> Result<Vec<u8>, askama::Error> {
        let page = Template::render(self)?;
        Ok(crate::dataset::seal::sealed(page))
    }
}

fn setting(metadata: &Metadata, name: &str) -> String {
    let found = metadata.settings.get(name);
    let found = found.and_then(|value| value.as_str()).unwrap_or("unknown");
    visible(found).into_owned()
}

/// What was asked. The built-in task is not written into the metadata.
fn task(metadata: &Metadata) -> Arc<Task> {
    let written = metadata.settings.get("task");
    let task = written.and_then(|task| serde_json::from_value(task.clone()).ok());
    task.map_or_else(Task::built_in, Arc::new)
}

fn sentence(metadata: &Metadata) -> String {
    let totals = &metadata.totals;
    let left =
        totals.turns - (totals.labeled + totals.not_labelable + totals.failed).min(totals.turns);
    let left = match left {
        0 => String::new(),
        left => format!(", {} not done yet", number(left)),
    };
    format!(
        "{} was asked about {} of {}: {} labelled, {} not labelable, {} failed{left}.",
        setting(metadata, "model"),
        counted(totals.turns, "turn"),
        visible(&metadata.source_dataset),
        number(totals.labeled),
        number(totals.not_labelable),
        number(totals.failed),
    )
}

fn dollars(cost: Cost) -> String {
    match cost {
        Cost::Usd(usd) => format!("{usd:.4} USD"),
        Cost::Unknown(_) => "unknown".to_owned(),
    }
}

fn head(metadata: &Metadata, task: &Task) -> Vec<(&'static str, String)> {
    let seconds = metadata.completed.map(|completed| {
        let lasted = completed.duration_since(metadata.started);
        time(lasted.as_secs_f64())
    });
    let answered_by = match metadata.settings.get("answered_by") {
        Some(Value::String(model)) => format!(" (answered as {})", visible(model)),
        _ => String::new(),
    };
    vec![
        ("task", visible(&task.name).into_owned()),
        (
            "model",
            format!("{}{answered_by}", setting(metadata, "model")),
        ),
        ("deployment", setting(metadata, "deployment")),
        (
            "asked with",
            format!(
                "strategy {}, prompts {}",
                setting(metadata, "strategy"),
                setting(metadata, "prompt_version")
            ),
        ),
        ("spent", dollars(metadata.spending.cost_usd)),
        ("began", metadata.started.to_string()),
        (
            "took",
            seconds.unwrap_or_else(|| "not complete yet".to_owned()),
        ),
        ("made by", visible(&metadata.tool).into_owned()),
    ]
}

fn count(name: impl Into<String>, count: u64, whole: u64) -> Count {
    Count {
        name: name.into(),
        count: number(count),
        share: percent(count, whole),
    }
}

fn counts(totals: &Figures) -> Vec<Count> {
    // From 0.2 to below 0.8.
    let middle = totals.soft_labels.bars().skip(BARS / 5).take(BARS * 3 / 5);
    let uncertain = middle.map(|(zeros, ones)| zeros + ones).sum();
    vec![
        count("labelled", totals.labeled, totals.turns),
        count("not labelable", totals.not_labelable, totals.turns),
        count("failed", totals.failed, totals.turns),
        count("hard label 0", totals.label_0, totals.labeled),
        count("hard label 1", totals.label_1, totals.labeled),
        count(
            "uncertain: soft label from 0.2 to 0.8",
            uncertain,
            totals.labeled,
        ),
    ]
}

fn bars(histogram: &Histogram) -> Vec<Bar> {
    let edge = |bar: usize| format!("{:.2}", bar as f64 / BARS as f64);
    let bars = histogram.bars().enumerate();
    bars.map(|(bar, (zeros, ones))| Bar {
        from: edge(bar),
        to: edge(bar + 1),
        zeros: number(zeros),
        ones: number(ones),
    })
    .collect()
}

fn shares(totals: &Figures) -> Vec<Count> {
    vec![
        count(
            "only bounded: one of the two tokens was not listed",
            totals.censored,
            totals.labeled,
        ),
        count(
            "low mass: 0 and 1 together had less than half",
            totals.low_mass,
            totals.labeled,
        ),
        count(
            "contradicting: the hard label is not the more probable one",
            totals.contradictions,
            totals.labeled,
        ),
        count(
            "reused: took the answer of an identical turn",
            totals.reused,
            totals.turns,
        ),
        count("cut to the token limit", totals.cut_messages, totals.turns),
        count(
            "rationales that failed",
            totals.rationale_failures,
            totals.labeled,
        ),
    ]
}

fn errors(totals: &Figures) -> Vec<Count> {
    let errors = totals.errors.iter().map(|(code, errors)| {
        let kind = match code.is_not_labelable() {
            true => "not labelable",
            false => "failed",
        };
        count(format!("{code} ({kind})"), *errors, totals.turns)
    });
    errors.collect()
}

fn tokens(totals: &Figures) -> Vec<(&'static str, String)> {
    let tokens = totals.tokens;
    vec![
        ("calls", number(tokens.calls)),
        ("prompt tokens", number(tokens.prompt)),
        ("of these cached", number(tokens.cached)),
        ("completion tokens", number(tokens.completion)),
        ("charged to the quota", number(tokens.reserved)),
        ("cost", dollars(Cost::of(tokens))),
    ]
}

fn rows(labeled: &Labeled) -> Vec<BucketRow> {
    let rows = labeled.buckets.iter().enumerate().map(|(index, bucket)| {
        let figures = &bucket.report.figures;
        let name = visible(&bucket.name.to_string()).into_owned();
        let of_labeled = |count| percent(count, figures.labeled);
        BucketRow {
            status: match bucket.report.published {
                Some(_) => bucket.report.status.as_str().to_owned(),
                None => "not published yet".to_owned(),
            },
            turns: number(figures.turns),
            labeled: number(figures.labeled),
            failed: number(figures.failed),
            mean: figures
                .mean_soft_label
                .map_or_else(String::new, |mean| format!("{mean:.4}")),
            censored: of_labeled(figures.censored),
            low_mass: of_labeled(figures.low_mass),
            contradicting: of_labeled(figures.contradictions),
            reused: percent(figures.reused, figures.turns),
            picture: match index < PICTURES {
                true => svg(&figures.soft_labels, &format!("Soft labels of {name}")),
                false => String::new(),
            },
            name,
        }
    });
    rows.collect()
}

fn privacy(has_texts: bool, options: Options) -> String {
    let holds = match (has_texts, options.rationales) {
        (true, true) => "messages of users and rationales, which paraphrase them",
        (true, false) => "messages of users",
        (false, true) => "rationales, which paraphrase what users wrote, and no message",
        (false, false) => "neither messages nor rationales, but ids of turns",
    };
    format!(
        "Chats are private. This page holds {holds}: show it to nobody who may not read the dataset."
    )
}
