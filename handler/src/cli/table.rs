//! Two columns, aligned, for summaries.

pub(super) use crate::shown::{counted, number, percent, time};
use crate::text::visible_lines;
use std::fmt::Write;

/// Rows of a name and a value.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<(String, String)>);

impl Table {
    /// Adds a row.
    pub(super) fn row(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.push((name.into(), value.to_string()));
    }

    /// The table as text, each line indented by two spaces. Values may hold anything: what is not seen is
    /// escaped.
    pub(super) fn render(&self) -> String {
        let width = self
            .0
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        self.0
            .iter()
            .fold(String::new(), |mut text, (name, value)| {
                let indented =
                    visible_lines(value).replace('\n', &format!("\n{:1$}", "", width + 4));
                let _ = writeln!(text, "  {name:width$}  {indented}");
                text
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned() {
        let mut table = Table::default();
        table.row("turns", number(1_234_567));
        table.row("a", "b");
        assert_eq!(table.render(), "  turns  1,234,567\n  a      b\n");
    }

    #[test]
    fn values_stay_in_their_column_and_hold_no_escapes() {
        let mut table = Table::default();
        table.row("a", "b\n\u{1b}[31mc");
        assert_eq!(table.render(), "  a  b\n     \\u{1b}[31mc\n");
    }
}
