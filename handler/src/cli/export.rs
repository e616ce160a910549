//! `softlabel export`.

use super::places::read::{self, Opened, Work};
use super::screen::Screen;
use super::table::counted;
use super::{Exit, print_bytes};
use crate::config::{ExportArgs, ProgressStyle, UsageError};
use crate::export::{Choice, Format, Options, Origin, Sheet, Turn, draw, sheet};
use crate::store::{Publication, PutMode};
use std::collections::BinaryHeap;
use std::io::{self, IsTerminal};
use std::path::Path;

/// Bytes that are buffered before they are written.
const FLUSH_BYTES: usize = 256 << 10;

/// Writes the rows of a labelled dataset in another shape.
///
/// # Errors
/// If the dataset or RAW cannot be read, or the file cannot be written; then nothing appears.
pub(super) async fn run(args: ExportArgs) -> anyhow::Result<Exit> {
    let screen = Screen::new(&args.read.log, ProgressStyle::None)?;
    let options = Options {
        format: args.to,
        with_text: args.read.input.is_some(),
        with_context: args.context,
        exact: args.csv_exact,
    };
    let needs_texts = match args.to {
        _ if args.context => Some("--context"),
        Format::LabelStudio => Some("--to label-studio"),
        _ => None,
    };
    if let Some(flag) = needs_texts.filter(|_| !options.with_text) {
        let text = format!("{flag} needs the messages; give the RAW data with --input");
        return Err(UsageError(text).into());
    }
    let file = args
        .output
        .as_deref()
        .filter(|file| *file != Path::new("-"));
    if file.is_none() && args.to == Format::Parquet && io::stdout().is_terminal() {
        let text = "Parquet cannot be shown on a terminal; give the file to write with --output";
        return Err(UsageError(text.into()).into());
    }
    let sheet = sheet(options)?;
    let opened = read::open(&args.read, Work::Given).await?;
    let mut out = match file {
        None => Out::stdout(),
        Some(file) => {
            let (folder, name) = opened.for_file("--output", file, args.overwrite).await?;
            Out::file(folder.publish(&name).await?)
        }
    };
    let pending = opened.labeled.buckets.iter();
    let pending = pending.filter(|bucket| bucket.report.published.is_none());
    for bucket in pending {
        let what = match args.read.work {
            Some(_) => "only its labelled part is exported",
            None => "is left out; --work exports its labelled part",
        };
        screen.line(&format!(
            "warning: {} is not published yet, and {what}",
            bucket.name
        ));
    }
    let choice = choice(&args, &opened).await?;
    let rows = write(&opened, sheet, &choice, args.context, &mut out).await?;
    if out.commit().await? {
        screen.line(&format!("{} exported", counted(rows, "turn")));
    }
    Ok(Exit::Complete)
}

/// Where bytes go.
struct Out {
    file: Option<Publication>,
    held: Vec<u8>,
    /// What is written has a reader. The reader of a pipe may go having seen enough.
    is_read: bool,
}

impl Out {
    fn stdout() -> Self {
        Self {
            file: None,
            held: Vec::new(),
            is_read: true,
        }
    }

    fn file(file: Publication) -> Self {
        Self {
            file: Some(file),
            held: Vec::new(),
            is_read: true,
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        match &mut self.file {
            Some(file) => file.write(&self.held).await?,
            None => self.is_read &= print_bytes(&self.held)?,
        }
        self.held.clear();
        Ok(())
    }

    /// Ends it, and tells whether all of it was read.
    async fn commit(mut self) -> anyhow::Result<bool> {
        self.flush().await?;
        if let Some(file) = self.file {
            file.commit(PutMode::Overwrite).await?;
        }
        Ok(self.is_read)
    }
}

/// Which rows are wanted. For a sample the labels are read once before.
async fn choice(args: &ExportArgs, opened: &Opened) -> anyhow::Result<Choice> {
    let mut choice = Choice {
        uncertain: args.uncertain.clone(),
        sample: None,
    };
    let Some(wanted) = args.sample else {
        return Ok(choice);
    };
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut smallest = BinaryHeap::new();
    for bucket in &opened.labeled.buckets {
        let name = bucket.name.to_string();
        let mut rows = bucket.rows().await?;
        while let Some(row) = rows.next().await? {
            let drawn = draw(&name, row.number);
            if !choice.takes(row.label.soft_label, drawn) {
                continue;
            }
            smallest.push(drawn);
            if smallest.len() > wanted {
                smallest.pop();
            }
        }
    }
    match smallest.peek() {
        Some(greatest) => choice.sample = Some(*greatest),
        // A range that no soft label is in: no row is wanted, or there is none.
        None => choice.uncertain = Some(2.0..=2.0),
    }
    Ok(choice)
}

/// Writes the rows as long as there is a reader; gives how many.
async fn write(
    opened: &Opened,
    mut sheet: Box<dyn Sheet>,
    choice: &Choice,
    with_context: bool,
    out: &mut Out,
) -> anyhow::Result<u64> {
    let mut count = 0;
    for bucket in &opened.labeled.buckets {
        let name = bucket.name.to_string();
        let origin = Origin::new(&opened.labeled.metadata, bucket.report.settings.as_ref());
        let mut rows = bucket.rows().await?;
        let mut texts = opened.texts(bucket, with_context).await?;
        while let Some(row) = rows.next().await? {
            if !choice.takes(row.label.soft_label, draw(&name, row.number)) {
                if let Some(texts) = &mut texts {
                    texts.pass_over(&row).await?;
                }
                continue;
            }
            let said = match &mut texts {
                Some(texts) => Some(texts.of(&row).await?),
                None => None,
            };
            let turn = Turn {
                row: &row,
                said: said.as_ref(),
                origin: &origin,
            };
            sheet.add(&turn, &mut out.held)?;
            count += 1;
            if out.held.len() >= FLUSH_BYTES {
                out.flush().await?;
            }
            if !out.is_read {
                return Ok(count);
            }
        }
    }
    sheet.finish(&mut out.held)?;
    Ok(count)
}
