//! `softlabel report`.

use super::places::read::{self, Work};
use super::screen::Screen;
use super::{Exit, print, print_bytes};
use crate::config::{ProgressStyle, ReportArgs, UsageError};
use crate::dataset::layout;
use crate::dataset::seal;
use crate::report::{Options, report};
use crate::text::visible;
use std::path::Path;

/// Writes the report of a labelled dataset.
///
/// # Errors
/// If the dataset or RAW cannot be read, or the report cannot be written.
pub(super) async fn run(args: ReportArgs) -> anyhow::Result<Exit> {
    let _screen = Screen::new(&args.read.log, ProgressStyle::None)?;
    let mut opened = read::open(&args.read, Work::Usual).await?;
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    let place = match args.output.as_deref() {
        Some(_) if to_stdout => None,
        Some(file) => Some(opened.for_file("--output", file, true).await?),
        None => Some((opened.for_report().await?, layout::REPORT.to_owned())),
    };
    if let Some((folder, name)) = place.as_ref().filter(|_| !args.overwrite) {
        let there = folder.read(name).await?;
        if there.is_some_and(|there| !seal::is_ours(&there)) {
            let text = format!(
                "softlabel did not write {}, or it was changed afterwards; move it away, give \
                 another name with -o, or replace it with --overwrite",
                folder.locate(name)
            );
            return Err(UsageError(text).into());
        }
    }
    let options = Options {
        texts: opened.has_texts(),
        rationales: !args.no_rationales_in_report,
    };
    let raw = opened.raw().cloned();
    let page = report(&mut opened.labeled, raw.as_ref(), options).await?;
    match place {
        None => {
            print_bytes(&page)?;
        }
        Some((folder, name)) => {
            folder.replace(&name, page).await?;
            print(&format!("report: {}\n", visible(&folder.locate(&name))))?;
        }
    }
    Ok(Exit::Complete)
}
