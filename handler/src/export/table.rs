//! Tables of text: CSV and JSON Lines.

use super::columns::{Cell, Column, columns, context};
use super::{ExportError, Options, Shared, Sheet, Turn};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// CSV with a line of names, comma and quotes as RFC 4180 has them.
pub(super) struct Csv {
    columns: Vec<Column>,
    exact: bool,
    written: Shared,
    writer: csv::Writer<Shared>,
}

impl Csv {
    pub(super) fn new(options: Options) -> Result<Self, ExportError> {
        let (columns, written) = (columns(options), Shared::default());
        let mut writer = csv::Writer::from_writer(written.clone());
        let names = columns.iter().map(|column| column.name);
        writer
            .write_record(names)
            .map_err(|error| ExportError::write("CSV", error))?;
        Ok(Self {
            columns,
            exact: options.exact,
            written,
            writer,
        })
    }
}

/// A text that no spreadsheet takes for a formula.
fn guarded(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => Cow::Owned(format!("'{text}")),
        false => text,
    }
}

impl Sheet for Csv {
    fn add(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let cells = self.columns.iter().map(|column| match (column.cell)(turn) {
            Cell::Null => Cow::Borrowed(""),
            Cell::Text(text) if self.exact => text,
            Cell::Text(text) => guarded(text),
            Cell::Int(number) => number.to_string().into(),
            Cell::Float(number) => number.to_string().into(),
            Cell::Bool(flag) => flag.to_string().into(),
        });
        let cells = cells.collect::<Vec<_>>();
        let record = cells.iter().map(|cell| cell.as_bytes());
        self.writer
            .write_record(record)
            .map_err(|error| ExportError::write("CSV", error))?;
        out.extend(self.written.take());
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let flushed = self.writer.flush();
        flushed.map_err(|error| ExportError::write("CSV", error))?;
        out.extend(self.written.take());
        Ok(())
    }
}

/// One object a line, each with every key.
pub(super) struct Jsonl {
    columns: Vec<Column>,
    with_context: bool,
}

impl Jsonl {
    pub(super) fn new(options: Options) -> Self {
        // Here the turns before need not be a text.
        let flat = Options {
            with_context: false,
            ..options
        };
        Self {
            columns: columns(flat),
            with_context: options.with_context,
        }
    }
}

impl Sheet for Jsonl {
    fn add(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let cells = self.columns.iter().map(|column| {
            let value = match (column.cell)(turn) {
                Cell::Null => Value::Null,
                Cell::Text(text) => text.into_owned().into(),
                Cell::Int(number) => number.into(),
                Cell::Float(number) => number.into(),
                Cell::Bool(flag) => flag.into(),
            };
            (column.name.to_owned(), value)
        });
        let mut object = cells.collect::<Map<_, _>>();
        if self.with_context {
            let context = turn.said.map_or(Value::Null, context);
            object.insert("context".to_owned(), context);
        }
        serde_json::to_writer(&mut *out, &object)
            .map_err(|error| ExportError::write("JSON", error))?;
        out.push(b'\n');
        Ok(())
    }

    fn finish(self: Box<Self>, _: &mut Vec<u8>) -> Result<(), ExportError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_a_text() {
        for formula in ["=1+1", "+1", "-1", "@a", "\tx", "\rx"] {
            assert_eq!(guarded(formula.into()), format!("'{formula}"));
        }
        for text in ["", "a=1", "'", " =1", "5 - 3"] {
            assert_eq!(guarded(text.into()), text);
        }
    }
}
