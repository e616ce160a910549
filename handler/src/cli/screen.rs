//! stderr, shared by progress and logs so that neither garbles the other.

use crate::config::{LogArgs, ProgressStyle, UsageError};
use crate::text::visible_lines;
use anstream::{AutoStream, ColorChoice};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing_subscriber::fmt::MakeWriter;

/// stderr with the live bars on it, if any.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    bars: MultiProgress,
    style: ProgressStyle,
    /// Bars are on the terminal, and the cursor is at the end of the last one.
    drawn: Arc<AtomicBool>,
}

impl Screen {
    /// Takes over stderr, and sets up logging through it.
    ///
    /// # Errors
    /// If the filter of `log` cannot be understood.
    pub(super) fn new(log: &LogArgs, style: ProgressStyle) -> anyhow::Result<Self> {
        let style = match style {
            ProgressStyle::Auto if io::stderr().is_terminal() => ProgressStyle::Bar,
            ProgressStyle::Auto => ProgressStyle::Lines,
            other => other,
        };
        let target = match style {
            ProgressStyle::Bar => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        };
        let screen = Self {
            bars: MultiProgress::with_draw_target(target),
            style,
            drawn: Arc::default(),
        };
        let filter = log.filter("warn").map_err(|error| {
            UsageError(format!(
                "SOFTLABEL_LOG or --log is not a log filter ({error}); try info"
            ))
        })?;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
            .with_writer(screen.clone())
            .finish();
        // Only a second call in one process fails, and there the first one stays.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Ok(screen)
    }

    /// How to show progress; never `Auto`.
    pub(super) fn style(&self) -> ProgressStyle {
        self.style
    }

    /// The bars.
    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Writes a line of text above the bars. File names may hold anything: what is not seen is escaped.
    pub(super) fn line(&self, text: &str) {
        if self.style == ProgressStyle::Json {
            return self.json(&json!({"message": text}));
        }
        let text = visible_lines(text);
        // stderr may be closed; then there is nowhere to report to.
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }
}

impl Screen {
    /// Writes a line for machines.
    pub(super) fn json(&self, value: &Value) {
        let _ = writeln!(io::stderr(), "{value}");
    }

    /// Says whether bars are on the terminal.
    pub(super) fn has_bars(&self, drawn: bool) {
        self.drawn.store(drawn, Relaxed);
    }

    /// The user may have pressed Ctrl-C. What a terminal shows of that goes into the line below the bars, which fill
    /// theirs: the cursor has to be back where they are cleared from. Two spaces put it into that line where nothing was
    /// shown.
    pub(super) fn interrupted(&self) {
        if self.drawn.load(Relaxed) {
            let _ = io::stderr().write_all(b"  \r\x1b[2K\x1b[A");
        }
    }

    /// Removes the bars, since the process ends.
    pub(super) fn clear(&self) {
        let _ = self.bars.clear();
    }
}

/// One log event on its way above the bars.
pub(super) struct LogLine {
    bars: MultiProgress,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine {
            bars: self.bars.clone(),
            text: Vec::new(),
        }
    }
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        self.bars.suspend(|| io::stderr().write_all(&text))
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}
