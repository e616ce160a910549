//! Which pilot a command asks for.

use crate::config::{LabelArgs, UsageError};
use crate::dataset::pilot::{Pilot, Selection};
use crate::labeling::task::Task;

/// The longest name of a pilot: with it, and what is added to it, names of files stay below the 255 bytes
/// that file systems take.
const LONGEST_NAME: usize = 100;

/// The pilot that the arguments ask for; `None` for the run that labels all.
///
/// # Errors
/// If they contradict each other, or the name is none.
pub(super) fn wanted(args: &LabelArgs, task: &Task) -> Result<Option<Pilot>, UsageError> {
    let usage = |text: &str| Err(UsageError(text.to_owned()));
    let wanted = &args.pilot;
    let selection = match (wanted.sample, wanted.limit) {
        (Some(_), Some(_)) => {
            return usage("--sample and --limit exclude each other; give one");
        }
        (None, _) if wanted.seed.is_some() => {
            return usage("--seed selects a sample; give --sample too");
        }
        (None, None) if wanted.pilot.is_some() => {
            return usage("--pilot names a pilot; give --sample or --limit, too");
        }
        (None, None) => return Ok(None),
        (Some(sample), None) => Selection::Sample {
            sample,
            seed: wanted.seed.unwrap_or_default(),
        },
        (None, Some(limit)) => Selection::First { limit },
    };
    let name = match &wanted.pilot {
        Some(name) => checked(name)?,
        None => default_name(args, task, selection),
    };
    Ok(Some(Pilot {
        name,
        selection,
        of_turns: 0,
    }))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c)
}

fn checked(name: &str) -> Result<String, UsageError> {
    let begins_plainly = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_name = begins_plainly
        && name.len() <= LONGEST_NAME
        && name.chars().all(is_plain)
        && !name.ends_with('.');
    match is_name {
        true => Ok(name.to_owned()),
        false => Err(UsageError(format!(
            "--pilot becomes part of a folder's name: give up to {LONGEST_NAME} letters, digits, dots, - and _, \
             with a letter or digit first and no dot last, such as prompt-2"
        ))),
    }
}

/// A name that tells pilots apart that are worth comparing.
fn default_name(args: &LabelArgs, task: &Task, selection: Selection) -> String {
    let selection = match selection {
        Selection::Sample { sample, seed } => format!("sample{sample}-seed{seed}"),
        Selection::First { limit } => format!("first{limit}"),
    };
    let about = format!(
        "{}-{}-{}",
        task.name,
        args.service.model,
        args.labeling.strategy.0.name()
    );
    let plain = |c: char| if is_plain(c) { c } else { '-' };
    let room = LONGEST_NAME.saturating_sub(selection.len() + 1);
    let about = about.chars().map(plain).take(room);
    format!("{}-{selection}", about.collect::<String>())
}
