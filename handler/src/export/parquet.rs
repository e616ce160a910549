//! Parquet: the columns with their types, compressed by zstd, in row groups that fit into memory.

use super::columns::{Cell, Column, Kind, columns};
use super::{ExportError, Options, Shared, Sheet, Turn};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use std::sync::Arc;

/// Rows of a row group at most,
const ROWS: usize = 64 << 10;

/// and bytes of text in it.
const BYTES: usize = 24 << 20;

/// The cells of one column of a row group: those that are there, and which are.
enum Held {
    Text(Vec<ByteArray>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
}

impl Held {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(Vec::new()),
            Kind::Int8 | Kind::Int32 => Self::Int32(Vec::new()),
            Kind::Int64 => Self::Int64(Vec::new()),
            Kind::Float => Self::Float(Vec::new()),
            Kind::Bool => Self::Bool(Vec::new()),
        }
    }

    /// Adds a cell; gives whether it is there, and its bytes.
    fn add(&mut self, cell: Cell<'_>) -> (bool, usize) {
        match (self, cell) {
            (Self::Text(held), Cell::Text(text)) => {
                let bytes = text.len();
                held.push(text.into_owned().into_bytes().into());
                return (true, bytes);
            }
            (Self::Int32(held), Cell::Int(number)) => {
                held.push(i32::try_from(number).unwrap_or(i32::MAX))
            }
            (Self::Int64(held), Cell::Int(number)) => held.push(number),
            (Self::Float(held), Cell::Float(number)) => held.push(number),
            (Self::Bool(held), Cell::Bool(flag)) => held.push(flag),
            _ => return (false, 0),
        }
        (true, 8)
    }
}

/// A Parquet file in the making.
pub(super) struct Parquet {
    columns: Vec<(Column, Held, Vec<i16>)>,
    rows: usize,
    bytes: usize,
    written: Shared,
    writer: SerializedFileWriter<Shared>,
}

fn failed(error: ParquetError) -> ExportError {
    ExportError::write("Parquet", error)
}

impl Parquet {
    pub(super) fn new(options: Options) -> Result<Self, ExportError> {
        let columns = columns(options);
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>();
        let schema = Type::group_type_builder("turn").with_fields(fields.map_err(failed)?);
        let schema = schema.build().map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Statistics of texts would only be long.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("softlabel ", env!("CARGO_PKG_VERSION")).to_owned());
        let written = Shared::default();
        let properties = Arc::new(properties.build());
        let writer = SerializedFileWriter::new(written.clone(), Arc::new(schema), properties);
        let columns = columns
            .into_iter()
            .map(|column| (column, Held::new(column.kind), Vec::new()));
        Ok(Self {
            columns: columns.collect(),
            rows: 0,
            bytes: 0,
            written,
            writer: writer.map_err(failed)?,
        })
    }

    /// Writes the row group that is held.
    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        if self.rows > 0 {
            let mut group = self.writer.next_row_group().map_err(failed)?;
            for (column, held, there) in &mut self.columns {
                let held = std::mem::replace(held, Held::new(column.kind));
                let there = std::mem::take(there);
                match held {
                    Held::Text(held) => put::<ByteArrayType>(&mut group, &held, &there),
                    Held::Int32(held) => put::<Int32Type>(&mut group, &held, &there),
                    Held::Int64(held) => put::<Int64Type>(&mut group, &held, &there),
                    Held::Float(held) => put::<DoubleType>(&mut group, &held, &there),
                    Held::Bool(held) => put::<BoolType>(&mut group, &held, &there),
                }
                .map_err(failed)?;
            }
            group.close().map_err(failed)?;
            (self.rows, self.bytes) = (0, 0);
        }
        out.extend(self.written.take());
        Ok(())
    }
}

fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Int8 => (Physical::INT32, Some(LogicalType::integer(8, true))),
        Kind::Int32 => (Physical::INT32, Some(LogicalType::integer(32, true))),
        Kind::Int64 => (Physical::INT64, Some(LogicalType::integer(64, true))),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Bool => (Physical::BOOLEAN, None),
    };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

/// Writes the next column of a row group.
fn put<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Shared>,
    held: &[T::T],
    there: &[i16],
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("there is no such column".into()));
    };
    column.typed::<T>().write_batch(held, Some(there), None)?;
    column.close()
}

impl Sheet for Parquet {
    fn add(&mut self, turn: &Turn<'_>, out: &mut Vec<u8>) -> Result<(), ExportError> {
        for (column, held, there) in &mut self.columns {
            let (is_there, bytes) = held.add((column.cell)(turn));
            there.push(i16::from(is_there));
            self.bytes += bytes;
        }
        self.rows += 1;
        match self.rows >= ROWS || self.bytes >= BYTES {
            true => self.write(out),
            false => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<(), ExportError> {
        self.write(out)?;
        self.writer.finish().map_err(failed)?;
        out.extend(self.written.take());
        Ok(())
    }
}
