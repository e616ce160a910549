//! The dataset card of a labelled dataset: `README.md`, by which `datasets.load_dataset` of Hugging Face
//! knows the files, their splits and the types of their keys. Without the types a first error late in a file
//! breaks loading.

use super::report::Metadata;
use crate::dataset::layout::{self, BucketName};
use crate::dataset::metadata::BucketReport;
use crate::dataset::seal;
use crate::labeling::label::Label;
use crate::text::visible;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The keys of a line and their types, as Hugging Face writes them.
const FEATURES: &str = "\
dataset_info:
  features:
  - name: conversationId
    dtype: string
  - name: messageId
    dtype: string
  - name: split
    dtype: string
  - name: bucket
    dtype: string
  - name: hard_label
    dtype: int8
  - name: soft_label
    dtype: float64
  - name: rationale
    dtype: string
  - name: labeling_error
    struct:
    - name: code
      dtype: string
    - name: message
      dtype: string
";

/// The card of the dataset that `metadata` describes; `None` while no bucket of it is published.
pub fn card(metadata: &Metadata) -> Option<Vec<u8>> {
    let published = |report: &&BucketReport| report.published.is_some();
    let files = metadata.splits.iter().map(|(split, buckets)| {
        let there = buckets.iter().filter(|(_, report)| published(report));
        let files = there.map(|(bucket, _)| {
            layout::labeled_path(&BucketName {
                split: Some(split.clone()),
                bucket: Some(bucket.clone()),
            })
        });
        (split.as_str(), files.collect::<Vec<_>>())
    });
    let files = files.filter(|(_, files)| !files.is_empty());
    let files = files.collect::<BTreeMap<_, _>>();
    if files.is_empty() && !metadata.splits.is_empty() {
        return None;
    }
    let mut card = String::new();
    // Writing into a text never fails.
    let _ = head(&mut card, &files).and_then(|()| body(&mut card, metadata));
    Some(seal::sealed(card))
}

/// What is said of a card that is not ours.
pub fn foreign(place: &str) -> String {
    format!(
        "{place} is left as it is, since softlabel did not write it or it was changed afterwards, \
         so load_dataset may miss newer files; move it away, or replace it with --overwrite."
    )
}

fn head(card: &mut String, files: &BTreeMap<&str, Vec<String>>) -> std::fmt::Result {
    let nothing = if files.is_empty() { " []" } else { "" };
    writeln!(
        card,
        "---\nconfigs:\n- config_name: default\n  data_files:{nothing}"
    )?;
    let mut taken = BTreeSet::new();
    for (split, files) in files {
        writeln!(card, "  - split: {}", yaml(&split_name(split, &mut taken)))?;
        writeln!(card, "    path:")?;
        for file in files {
            writeln!(card, "    - {}", yaml(&literal(file)))?;
        }
    }
    writeln!(card, "{FEATURES}---\n")
}

/// What a split is called to Hugging Face: `validation` for a folder named `val`, and for others their name
/// in the characters that are allowed there.
fn split_name(folder: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let own = folder.chars().map(plain).collect::<String>();
    let common = match folder.to_ascii_lowercase().as_str() {
        "val" | "valid" | "dev" | "validation" => "validation".to_owned(),
        // Reserved for all of them together.
        "all" => "all_".to_owned(),
        _ => own.clone(),
    };
    let numbered = (2..).map(|n| format!("{own}_{n}"));
    let mut names = [common, own.clone()].into_iter().chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or(own);
    taken.insert(name.clone());
    name
}

/// A pattern that matches only this path.
fn literal(path: &str) -> String {
    path.chars().fold(String::new(), |mut pattern, c| {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            _ => pattern.push(c),
        }
        pattern
    })
}

/// A text in YAML.
fn yaml(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// A text in Markdown, in one line, that no character of it changes the look of.
fn markdown(text: &str) -> String {
    let shown = visible(text);
    shown.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii_punctuation() && !matches!(c, '.' | ',' | '/' | ':' | '-') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

fn body(card: &mut String, metadata: &Metadata) -> std::fmt::Result {
    let totals = &metadata.totals;
    let settings = &metadata.settings.settings;
    writeln!(
        card,
        "# {}\n\nLabels of the user turns of the chat dataset {}, made by {} with {}: strategy {}, prompts {}.\n\n\
         The dataset is **{}**: of {} turns {} are labelled, {} cannot be, {} failed.\n",
        markdown(&metadata.labeled_dataset),
        markdown(&metadata.source_dataset),
        markdown(&metadata.tool),
        markdown(
            metadata
                .settings
                .answered_by
                .as_deref()
                .unwrap_or(&settings.model)
        ),
        markdown(&settings.strategy),
        markdown(&settings.prompt_version),
        metadata.status.as_str(),
        totals.turns,
        totals.labeled,
        totals.not_labelable,
        totals.failed,
    )?;
    writeln!(
        card,
        "| split | bucket | status | turns | hard label 0 | hard label 1 | mean soft label |\n\
         |---|---|---|---|---|---|---|"
    )?;
    for (split, buckets) in &metadata.splits {
        for (bucket, report) in buckets {
            let figures = &report.figures;
            let status = match report.published {
                Some(_) => report.status.as_str(),
                None => "not there yet",
            };
            let mean = figures.mean_soft_label;
            writeln!(
                card,
                "| {} | {} | {status} | {} | {} | {} | {} |",
                markdown(split),
                markdown(bucket),
                figures.turns,
                figures.label_0,
                figures.label_1,
                mean.map_or_else(String::new, |mean| format!("{mean:.4}")),
            )?;
        }
    }
    let task = &metadata.settings.settings.task;
    writeln!(
        card,
        "\nA line is a user turn, in the order of the source:\n\n\
         | key | |\n|---|---|\n\
         | `conversationId`, `messageId` | as in the source |\n\
         | `split`, `bucket` | the folder and the file of the source |\n\
         | `hard_label` | 0: {}; 1: {} |\n\
         | `soft_label` | the probability of 1, from the token probabilities of the model, in (0, 1) |\n\
         | `rationale` | why, in the words of the model |\n\
         | `labeling_error` | why there is no label; `code` and `message` |\n\n\
         `details/` holds as many lines in the same order, with what else is known: where the turn stands in \
         the source, the bounds of the soft label, the probabilities, and marks. `labeling_metadata.json` \
         says how all of this came about.\n\n\
         Rationales may repeat what the users wrote: treat them as private as the chats.\n",
        markdown(task.meaning(Label::Zero)),
        markdown(task.meaning(Label::One)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_the_names_that_are_usual() {
        let mut taken = BTreeSet::new();
        let folders = [
            "dev", "my-split", "my_split", "test", "train", "val", "all", "\u{fc}",
        ];
        let names = folders.map(|folder| split_name(folder, &mut taken));
        let expected = [
            "validation",
            "my_split",
            "my_split_2",
            "test",
            "train",
            "val",
            "all_",
            "_",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_name_stays_a_name_whatever_is_in_it() {
        assert_eq!(
            yaml("a \"b\" \\ \u{e9}\n"),
            r#""a \"b\" \\ \U000000e9\U0000000a""#
        );
        assert_eq!(literal("train/a[1]*.jsonl"), "train/a[[]1][*].jsonl");
        assert_eq!(markdown("a|b`\n<i>"), "a\\|b\\`\\\\n\\<i\\>");
    }
}
